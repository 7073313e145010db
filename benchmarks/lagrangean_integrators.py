"""Gauss-Legendre in JAX against SciPy's DOP853 at equal energy drift, and the product rate.

Four ratios, each from one run:
  long      energy and norm drift of Gauss 4, N = 64, over --periods (10⁴: four minutes).
  single    one network, N = 64: seconds of SciPy's DOP853 over those of Gauss 6 at the same
            energy drift after --horizon periods. Both run in the frame that turns with the
            network, which is better for both.
  batch     the same for a batch, a network each (own) or one network from as many starts
            (shared, one matrix product for all); SciPy's time is that of one network times the
            batch, since its calls do not batch.
  matvec    N = 4096, dense complex Ω: products a second inside the inner solve, over those of
            NumPy's zgemv alone.

  JAX_NUM_CPU_DEVICES=2 python -m benchmarks.lagrangean_integrators batch
  python -m benchmarks.lagrangean_integrators [long single matvec]

What was tried for the product. The stages of Gauss 4 are two vectors, and reading Ω once for
both is what makes the solve faster than single products. Up to N ≈ 500 the real form (Re, Im)
of Ω, twice the memory, is three times faster than a complex product, which XLA does not
vectorise well on a CPU; beyond the caches two real matrices are. A batch of own networks goes
through one after the other on each device: each stays in the cache, where all of them under
one vmap (64 KiB each, and as many iterations as the slowest) took several times longer.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from lib.dynamics import couplings, integrate, lagrangean, trajectories
from lib.dynamics.nonlinearities import SATURATING

N = 64


def draw(seed, n=N):
  """(Ω, z, μ): a network with spectrum in 1 ± ½, a start, and how fast it turns."""
  rng = np.random.default_rng(seed)
  half = rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n))
  omega = (half + half.conj().T) * 0.5 / np.sqrt(16 * n) + np.eye(n)
  z = (rng.standard_normal(n) + 1j * rng.standard_normal(n)) / np.sqrt(2)
  net = lagrangean.network(jnp.asarray(omega))
  return omega, z, float(lagrangean.turning_rate(SATURATING, net, jnp.asarray(z)))


def numpy_energy(omega, z):
  """H without input."""
  b = z / np.sqrt(1 + np.abs(z) ** 2)
  return np.vdot(b, omega @ b).real


def scipy_run(omega, z, rate, duration, rtol):
  """(seconds, energy drift, norm drift) of DOP853 with a NumPy right-hand side."""
  from scipy.integrate import solve_ivp

  def field(t, z):
    g = 1 / np.sqrt(1 + (z.real**2 + z.imag**2))
    s = omega @ (g * z)
    return -1j * (g * s - (g**3 * (z.real * s.real + z.imag * s.imag) + rate) * z)

  start = time.perf_counter()
  end = solve_ivp(field, (0, duration), z, method="DOP853", rtol=rtol, atol=rtol).y[:, -1]
  seconds = time.perf_counter() - start
  energy = abs(numpy_energy(omega, end) / numpy_energy(omega, z) - 1)
  return seconds, energy, abs(np.vdot(end, end).real / np.vdot(z, z).real - 1)


def solver(duration, step, method, records=20):
  """A jitted (coupling, Ω, z, μ) -> (relative energy and norm changes, residual)."""
  substeps = max(1, round(duration / records / step))
  times = np.linspace(0, duration, records + 1)

  def solve(coupling, omega, z, rate):
    net = lagrangean.network(coupling)
    exact = lagrangean.network(omega)

    def save(t, z):
      return lagrangean.energy(SATURATING, exact, z), lagrangean.norm(z)

    field = lagrangean.field(SATURATING, net, frame=rate)
    solution = integrate(field, z, times, method=method, substeps=substeps, save=save)
    changes = [jnp.abs(v / v[0] - 1).max() for v in solution.saved]
    return (*changes, solution.residual, solution.evaluations)

  return solve


def best(function, *arguments, rounds=3):
  """(result, least seconds), compiled before."""
  result = jax.block_until_ready(function(*arguments))
  seconds = []
  for _ in range(rounds):
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    seconds.append(time.perf_counter() - start)
  return result, min(seconds)


def long(options):
  """The drift of Gauss 4."""
  omega, z, rate = draw(0)
  duration = options.periods * 2 * np.pi / abs(rate)
  method = trajectories.gauss_method(2, tolerance=2.0**-54)
  solve = jax.jit(solver(duration, options.step, method, records=1000))
  coupling = couplings.real_blocks(jnp.asarray(omega))
  compiled = solve.lower(coupling, omega, z, rate).compile()
  start = time.perf_counter()
  energy, norm, residual, evaluations = jax.device_get(compiled(coupling, omega, z, rate))
  seconds = time.perf_counter() - start
  print(
    f"long: Gauss 4, N = {N}, {options.periods:g} periods, step {options.step}: energy drift "
    f"{energy:.2g} (goal 1e-9), norm drift {norm:.2g} (goal 1e-12), residual {residual:.1g}, "
    f"{seconds:.0f} s, {1e6 * seconds / evaluations:.2f} us a field"
  )


def gauss(options, duration):
  """(seconds, energy drift) of Gauss 6 on one network, at the step of the options."""
  omega, z, rate = draw(0)
  method = trajectories.gauss_method(3, tolerance=options.tolerance)
  solve = jax.jit(solver(duration, options.fast_step, method))
  coupling = couplings.real_blocks(jnp.asarray(omega))
  (energy, norm, _, evaluations), seconds = best(solve, coupling, omega, z, rate)
  print(
    f"  Gauss 6, step {options.fast_step}: {seconds:.2f} s, energy {energy:.2g}, "
    f"norm {norm:.2g}, {int(evaluations)} fields"
  )
  return seconds, float(energy)


def scipy_at(drift, duration):
  """Seconds of DOP853 on one network at the loosest tolerance with no more than the drift."""
  omega, z, rate = draw(0)
  for rtol in 10.0 ** -np.arange(8, 14.0, 0.5):
    seconds, energy, norm = scipy_run(omega, z, rate, duration, rtol)
    if energy <= drift:
      again = [scipy_run(omega, z, rate, duration, rtol)[0] for _ in range(2)]
      seconds = min(seconds, *again)
      print(
        f"  SciPy DOP853, rtol {rtol:.1g}: {seconds:.2f} s, energy {energy:.2g}, "
        f"norm {norm:.2g}"
      )
      return seconds
  raise SystemExit("SciPy does not reach the drift at any tolerance.")


def single(options):
  """One network."""
  _, _, rate = draw(0)
  duration = options.horizon * 2 * np.pi / abs(rate)
  print(f"single: N = {N}, {options.horizon:g} periods")
  seconds, drift = gauss(options, duration)
  print(f"  ratio {scipy_at(drift, duration) / seconds:.1f} (goal 5)")


def batch(options):
  """Many networks at once over the devices there are."""
  _, _, rate = draw(0)
  periods = options.horizon / 10
  duration = periods * 2 * np.pi / abs(rate)
  print(
    f"batch: {options.batch} networks, N = {N}, {periods:g} periods, "
    f"{jax.device_count()} devices"
  )
  _, drift = gauss(options, duration)
  reference = scipy_at(drift, duration) * options.batch
  method = trajectories.gauss_method(3, tolerance=options.tolerance)
  solve = solver(duration, options.fast_step, method, records=2)
  each = [draw(seed) for seed in range(options.batch)]
  omegas, starts = np.stack([e[0] for e in each]), np.stack([e[1] for e in each])
  mesh = jax.sharding.Mesh(np.array(jax.devices()), ("batch",))
  spec, whole = jax.sharding.PartitionSpec("batch"), jax.sharding.PartitionSpec()

  def over(own, together):
    where = spec if own else whole

    def some(coupling, omega, starts):
      if own:
        return jax.lax.map(lambda x: solve(*x, rate), (coupling, omega, starts))
      return jax.lax.map(
        lambda z: solve(coupling, omega, z, rate), starts, batch_size=together
      )

    specs = (where, where, spec)
    return jax.jit(
      jax.shard_map(some, mesh=mesh, in_specs=specs, out_specs=spec, check_vma=False)
    )

  if "own" in options.kinds:
    blocks = jax.vmap(couplings.real_blocks)(jnp.asarray(omegas))
    (energy, *_), seconds = best(over(True, 1), blocks, omegas, starts, rounds=1)
    print(f"  own: {seconds:.2f} s, median energy {np.median(energy):.2g}")
    print(f"  ratio {reference / seconds:.0f} (goal 100)")
  if "shared" in options.kinds:
    coupling = couplings.real_blocks(jnp.asarray(omegas[0]))
    for together in (1, 10, 50):
      run = over(False, together)
      (energy, *_), seconds = best(run, coupling, omegas[0], starts, rounds=1)
      print(f"  shared, {together} starts together: {seconds:.2f} s, ", end="")
      print(
        f"median energy {np.median(energy):.2g}, ratio {reference / seconds:.0f} (goal 100)"
      )


def matvec(options):
  """The rate of products inside the solve, N = 4096."""
  n = options.large
  omega, z, rate = draw(0, n)
  start = time.perf_counter()
  for _ in range(5):
    omega @ z
  plain = (time.perf_counter() - start) / 5
  times = np.linspace(0, 0.6, 2)
  print(f"matvec: N = {n}, NumPy zgemv {1e3 * plain:.1f} ms")
  halves = (np.ascontiguousarray(omega.real), np.ascontiguousarray(omega.imag))
  for name, coupling in (
    ("complex", jnp.asarray(omega)),
    ("two real matrices", couplings.RealPair(*map(jnp.asarray, halves))),
  ):

    @jax.jit
    def solve(coupling, z):
      field = lagrangean.field(SATURATING, lagrangean.network(coupling), frame=rate)
      solution = integrate(field, z, times, substeps=6, save=lambda t, z: ())
      return solution.final, solution.evaluations

    (_, evaluations), seconds = best(solve, coupling, z, rounds=2)
    each = seconds / int(evaluations)
    print(f"  {name}: {1e3 * each:.1f} ms a field; ratio {plain / each:.2f} (goal 0.6)")


def main():
  """Prints what was asked for."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  names = {f.__name__: f for f in (single, batch, matvec, long)}
  parser.add_argument("what", nargs="*", default=list(names), choices=[*names, []])
  parser.add_argument("--periods", type=float, default=10_000.0)
  parser.add_argument("--step", type=float, default=0.07)
  parser.add_argument("--horizon", type=float, default=200.0)
  parser.add_argument("--fast_step", type=float, default=0.4)
  parser.add_argument("--tolerance", type=float, default=1e-13)
  parser.add_argument("--batch", type=int, default=1000)
  parser.add_argument("--kinds", nargs="*", default=["own", "shared"])
  parser.add_argument("--large", type=int, default=4096)
  options = parser.parse_args()
  with jax.enable_x64(True):
    for name in options.what:
      names[name](options)


if __name__ == "__main__":
  main()

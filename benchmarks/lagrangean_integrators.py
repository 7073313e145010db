"""Gauss-Legendre in JAX against SciPy's DOP853 at equal energy drift, and the product rate.

Ratios, each from one run:
  single    one network, N = 64, --periods long: seconds of DOP853 over those of Gauss 6.
  batch     --batch of them for --batch_periods, from as many starts: of one network (shared:
            one matrix product for all), or each of its own (own). SciPy's calls do not batch,
            so that its time is that of one call times the batch.
  matvec    N = 4096, dense complex Ω: products a second inside the inner solve, over those of
            NumPy's zgemv alone.
  long      energy and norm drift of Gauss 4, N = 64, over --long_periods.

Equal drift. Both solve the same problem, in the frame that turns with the network, which is
better for both. Gauss 6 has a fixed step; DOP853 runs at rising tolerances, and its time at
the drift of Gauss 6 is interpolated between the two around it (log time against log drift).
Times are the best of --rounds that alternate between both.

  JAX_NUM_CPU_DEVICES=2 python -m benchmarks.lagrangean_integrators batch
  python -m benchmarks.lagrangean_integrators [single matvec long]

What was tried for the product. The stages of a Gauss step are so many vectors, and reading Ω
once for all is what makes the solve faster than single products. Up to N ≈ 500 the real form
(Re, Im) of Ω, twice the memory, is several times faster than a complex product, which XLA does
not vectorise well on a CPU; beyond the caches two real matrices are. One network with many
starts is a real matrix product (`lagrangean.real_field`), in groups of 25 whose stages stay in
the second-level cache: 16 and 40 take about as long, 8 twice. A batch of own networks goes
through one after the other on each device: each stays in the cache, where all of them under
one vmap (64 KiB each, and as many iterations as the slowest) took several times longer.

Fields. At a drift of 3e-9 over 20 periods Gauss 6 takes 32 fields a unit of time, DOP853 24.
Neither forecasts from one, three or four steps instead of two, nor Gauss 4 take fewer.
Adams-Bashforth-Moulton of order 11 takes 16, but each also combines the slopes of ten steps: a
shared batch was 1.4 times faster (on a busy machine), which does not reach the goal either.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from lib.dynamics import couplings, hamiltonian, integrate, lagrangean, trajectories
from lib.dynamics.nonlinearities import SATURATING

N = 64
RTOLS = 10.0 ** -np.arange(8.0, 13.5, 0.5)


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
  """(seconds, energy drift, fields) of DOP853 with a NumPy right-hand side."""
  from scipy.integrate import solve_ivp

  def field(t, z):
    g = 1 / np.sqrt(1 + (z.real**2 + z.imag**2))
    s = omega @ (g * z)
    return -1j * (g * s - (g**3 * (z.real * s.real + z.imag * s.imag) + rate) * z)

  start = time.perf_counter()
  found = solve_ivp(field, (0, duration), z, method="DOP853", rtol=rtol, atol=rtol)
  seconds = time.perf_counter() - start
  energy = abs(numpy_energy(omega, found.y[:, -1]) / numpy_energy(omega, z) - 1)
  return seconds, energy, found.nfev


def solver(duration, step, method, records=20):
  """(coupling, x, μ) -> (relative energy and norm changes, residual, evaluations).

  The states x are (..., 2 N) real, the coupling is `RealBlocks`.
  """
  substeps = max(1, round(duration / records / step))
  times = np.linspace(0, duration, records + 1)

  def solve(coupling, x, rate):
    net = lagrangean.network(coupling)

    def save(t, x):
      return lagrangean.energy(SATURATING, net, hamiltonian.to_complex(x)), (x**2).sum(-1)

    field = lagrangean.real_field(SATURATING, net, frame=rate)
    solution = integrate(field, x, times, method=method, substeps=substeps, save=save)
    changes = [jnp.abs(v / v[0] - 1).max(0) for v in solution.saved]
    return (*changes, solution.residual, solution.evaluations)

  return solve


def timed(function, *arguments):
  """(result, seconds)."""
  start = time.perf_counter()
  result = jax.block_until_ready(function(*arguments))
  return result, time.perf_counter() - start


def best(function, *arguments, rounds=2):
  """(result, least seconds), compiled before."""
  result = jax.block_until_ready(function(*arguments))
  return result, min(timed(function, *arguments)[1] for _ in range(rounds))


def fast_method(options):
  """Gauss 6 with an inner tolerance."""
  return trajectories.gauss_method(3, tolerance=options.tolerance)


def interpolated(drift, table):
  """Seconds at a drift from rows (seconds, drift, fields) of falling drift."""
  seconds, drifts = (np.log(column) for column in np.array(table).T[:2])
  if not drifts.min() <= np.log(drift) <= drifts.max():
    raise SystemExit(f"DOP853 does not reach the drift {drift:.2g} at these tolerances.")
  return float(np.exp(np.interp(np.log(drift), drifts[::-1], seconds[::-1])))


def against_scipy(run, arguments, drift_of, duration, rounds):
  """(seconds of Gauss, its drift, seconds of DOP853 at that drift), bests of rounds.

  SciPy runs at the two tolerances around the drift, found by one call of each.
  """
  omega, z, rate = draw(0)
  drift = drift_of(jax.block_until_ready(run(*arguments)))
  table = []
  for rtol in RTOLS:
    table.append((rtol, *scipy_run(omega, z, rate, duration, rtol)))
    if table[-1][2] < drift:
      break
  around = [[row[0], []] for row in table[-2:]]
  ours = []
  for _ in range(rounds):
    ours.append(timed(run, *arguments)[1])
    for row in around:
      row[1].append(scipy_run(omega, z, rate, duration, row[0])[0])
  best = [
    (min(seconds), row[2], row[3])
    for (_, seconds), row in zip(around, table[-2:], strict=True)
  ]
  for (rtol, _), (seconds, energy, fields) in zip(around, best, strict=True):
    print(
      f"  SciPy DOP853, rtol {rtol:.1g}: {seconds:.3f} s, energy {energy:.2g}, "
      f"{fields} fields, {1e6 * seconds / fields:.1f} us each"
    )
  return min(ours), drift, interpolated(drift, best)


def single(options):
  """One network."""
  omega, z, rate = draw(0)
  duration = options.periods * 2 * np.pi / abs(rate)
  print(f"single: N = {N}, {options.periods:g} periods, t = {duration:.0f}")
  solve = jax.jit(solver(duration, options.step, fast_method(options)))
  arguments = couplings.real_blocks(jnp.asarray(omega)), real(z), rate
  fields = int(solve(*arguments)[3])
  seconds, drift, reference = against_scipy(
    solve, arguments, lambda found: float(found[0]), duration, options.rounds
  )
  print(
    f"  Gauss 6, step {options.step}: {seconds:.3f} s, energy {drift:.2g}, {fields} fields, "
    f"{1e6 * seconds / fields:.2f} us each; SciPy at equal drift {reference:.3f} s\n"
    f"  ratio {reference / seconds:.1f} (goal 5)"
  )


def real(z):
  """(..., 2 N) of (..., N), in NumPy."""
  return np.concatenate([z.real, z.imag], -1)


def batch(options):
  """Many starts at once over the devices there are."""
  omega, _, rate = draw(0)
  duration = options.batch_periods * 2 * np.pi / abs(rate)
  devices = jax.device_count()
  print(
    f"batch: {options.batch}, N = {N}, {options.batch_periods:g} periods, {devices} devices"
  )
  solve = solver(duration, options.step, fast_method(options), records=4)
  each = [draw(seed) for seed in range(options.batch)]
  starts = real(np.stack([z for _, z, _ in each]))
  mesh = jax.sharding.Mesh(np.array(jax.devices()), ("batch",))
  spec, whole = jax.sharding.PartitionSpec("batch"), jax.sharding.PartitionSpec()

  def shared(coupling, x):
    return jax.lax.map(lambda x: solve(coupling, x, rate), x)

  def own(coupling, x):
    return jax.lax.map(lambda pair: solve(*pair, rate), (coupling, x))

  group = next(k for k in range(options.group, 0, -1) if options.batch // devices % k == 0)
  one = couplings.real_blocks(jnp.asarray(omega))
  cases = {"shared": (shared, whole, one, starts.reshape(-1, group, 2 * N))}
  if "own" in options.kinds:
    blocks = jax.vmap(couplings.real_blocks)(jnp.asarray(np.stack([o for o, _, _ in each])))
    cases["own"] = (own, spec, blocks, starts)
  for kind in options.kinds:
    function, where, coupling, x = cases[kind]
    run = jax.jit(
      jax.shard_map(
        function, mesh=mesh, in_specs=(where, spec), out_specs=spec, check_vma=False
      )
    )
    placed = [
      jax.device_put(a, jax.sharding.NamedSharding(mesh, s))
      for a, s in ((coupling, where), (x, spec))
    ]
    seconds, drift, reference = against_scipy(
      run, placed, lambda found: float(np.median(found[0])), duration, options.batch_rounds
    )
    fields = float(np.mean(run(*placed)[3])) if kind == "shared" else np.nan
    print(
      f"  {kind}: {seconds:.2f} s, median energy {drift:.2g}, "
      f"{1e6 * seconds / options.batch / duration:.1f} us a unit of time and start; "
      f"SciPy {reference:.3f} s each"
      + (f"; {1e6 * seconds / options.batch / fields:.3f} us a field" if fields > 0 else "")
    )
    print(f"  ratio {reference * options.batch / seconds:.0f} (goal 100)")


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

    (_, evaluations), seconds = best(solve, coupling, z)
    each = seconds / int(evaluations)
    print(f"  {name}: {1e3 * each:.1f} ms a field; ratio {plain / each:.2f} (goal 0.6)")


def long(options):
  """The drift of Gauss 4, iterated to the last digit."""
  omega, z, rate = draw(0)
  duration = options.long_periods * 2 * np.pi / abs(rate)
  method = trajectories.gauss_method(2, tolerance=2.0**-54)
  solve = jax.jit(solver(duration, options.long_step, method, records=1000))
  arguments = couplings.real_blocks(jnp.asarray(omega)), real(z), rate
  compiled = solve.lower(*arguments).compile()
  (energy, norm, residual, evaluations), seconds = timed(compiled, *arguments)
  print(
    f"long: Gauss 4, N = {N}, {options.long_periods:g} periods, step {options.long_step}: "
    f"energy drift {energy:.2g} (goal 1e-9), norm drift {norm:.2g} (goal 1e-12), residual "
    f"{residual:.1g}, {seconds:.0f} s, {1e6 * seconds / evaluations:.2f} us a field"
  )


def main():
  """Prints what was asked for."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  names = {f.__name__: f for f in (single, batch, matvec, long)}
  parser.add_argument("what", nargs="*", default=list(names), choices=[*names, []])
  parser.add_argument("--periods", type=float, default=100.0)
  parser.add_argument("--step", type=float, default=0.6)
  parser.add_argument("--tolerance", type=float, default=1e-9)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--batch", type=int, default=1000)
  parser.add_argument("--batch_periods", type=float, default=20.0)
  parser.add_argument("--batch_rounds", type=int, default=2)
  parser.add_argument("--kinds", nargs="*", default=["shared", "own"])
  parser.add_argument("--group", type=int, default=25)
  parser.add_argument("--large", type=int, default=4096)
  parser.add_argument("--long_periods", type=float, default=10_000.0)
  parser.add_argument("--long_step", type=float, default=0.07)
  options = parser.parse_args()
  with jax.enable_x64(True):
    for name in options.what:
      names[name](options)


if __name__ == "__main__":
  main()

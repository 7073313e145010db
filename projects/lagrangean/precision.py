"""Work against precision of the methods; cost and drift of large networks (host timings)."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from lib.dynamics import couplings, integrate, invariants, lagrangean, splitting, trajectories
from projects.lagrangean import networks

# The coarsest setting of each method; each further point halves the step or divides the
# tolerance by 100.
STEPS = {"midpoint": 0.4, "gauss4": 0.8, "gauss6": 1.6, "splitting2": 0.2, "splitting4": 0.4}
STEPS |= {"rk4": 0.4}
TOLERANCE = 1e-4


def _solve(name, g, net, duration):
  """A compiled (z, point) -> `Solution` of a method; `point` sets its step or tolerance."""
  field = lagrangean.field(g, networks.fast(net))
  records = 20
  times = jnp.linspace(0, duration, records + 1)
  save = invariants.monitor(
    energy=lambda z: lagrangean.energy(g, net, z), norm=lagrangean.norm
  )
  options = {"save": save, "method": name}

  def setting(point):
    if name in trajectories.ADAPTIVE:
      return {"rtol": TOLERANCE / 100.0**point, "atol": TOLERANCE / 100.0**point}
    return {"substeps": max(1, round(duration / records / STEPS[name])) * 2**point}

  if name.startswith("splitting"):
    flow = splitting.strang(
      splitting.exact_flow(lagrangean.linear_flow(net.coupling)),
      splitting.gauss_flow(lagrangean.remainder_field(g, networks.fast(net))),
    )
    fourth = name == "splitting4"
    flow = splitting.triple_jump(flow) if fourth else flow
    options["method"] = splitting.method(flow, 4 if fourth else 2)
  solve = jax.jit(lambda z, now: integrate(field, z, times, **options, **now))
  return lambda z, point: jax.block_until_ready(solve(z, setting(point)))


def _scipy(g_name, omega, z, duration, rtol):
  """SciPy's DOP853 with a NumPy right-hand side: (final state, evaluations)."""
  from scipy.integrate import solve_ivp

  def field(t, z):
    x = z.real**2 + z.imag**2
    g = 1 / np.sqrt(1 + x)
    s = omega @ (g * z)
    return -1j * (g * s - g**3 * z * (z.real * s.real + z.imag * s.imag))

  if g_name != "saturating":
    return None
  solution = solve_ivp(field, (0, duration), z, method="DOP853", rtol=rtol, atol=rtol)
  return solution.y[:, -1], solution.nfev


def work(config):
  """Error at the end, drifts, evaluations and seconds of every method and setting.

  One network of the config's size in the laboratory frame; the reference is Gauss 6 with a
  sixteenth of its finest step. Seconds are the best of two runs, without compilation.

  Returns:
    For each method arrays (points,): error, energy, norm, evaluations, seconds.
  """
  g = networks.nonlinearity(config.nonlinearity)
  net, z = networks.draw(config, networks.draws(config), config.size)
  duration, points = config.precision.time, config.precision.points
  reference = _solve("gauss6", g, net, duration)(z, points + 4).final
  first = {"energy": lagrangean.energy(g, net, z), "norm": lagrangean.norm(z)}
  found = {}

  def distance(end):
    return float(jnp.linalg.norm(end - reference) / jnp.linalg.norm(reference))

  for name in config.precision.methods:
    rows = []
    solve = _solve(name, g, net, duration)
    for point in range(points):
      solution = solve(z, point)
      seconds = min(_time(lambda point=point, solve=solve: solve(z, point)) for _ in "12")
      drifts = {k: float(invariants.drift(v)) for k, v in solution.saved.items()}
      sound = bool(jnp.isinf(solution.failed_at))
      rows.append(
        {
          "error": distance(solution.final) if sound else np.nan,
          **(drifts if sound else dict.fromkeys(drifts, np.nan)),
          "evaluations": float(solution.evaluations),
          "seconds": seconds,
        }
      )
    found[name] = {k: np.array([row[k] for row in rows]) for k in rows[0]}
  rows = []
  for point in range(points):
    rtol = TOLERANCE / 100.0 ** (point + 1)
    start = time.perf_counter()
    end = _scipy(config.nonlinearity, np.asarray(net.coupling), np.asarray(z), duration, rtol)
    seconds = time.perf_counter() - start
    if end is None:
      return found
    state = jnp.asarray(end[0])
    rows.append(
      {
        "error": distance(state),
        "energy": abs(float(lagrangean.energy(g, net, state) / first["energy"]) - 1),
        "norm": abs(float(lagrangean.norm(state) / first["norm"]) - 1),
        "evaluations": float(end[1]),
        "seconds": seconds,
      }
    )
  found["scipy_dop853"] = {k: np.array([row[k] for row in rows]) for k in rows[0]}
  return found


def _time(function):
  start = time.perf_counter()
  function()
  return time.perf_counter() - start


def _network(config, kind: str, size: int):
  rng = np.random.default_rng([config.seed, 300, size])
  if kind == "dense":
    normals = rng.standard_normal((2, size, size))
    return networks.hermitian(normals, config.frequency, config.radius)
  if kind == "chain":
    hopping = jnp.full(size, config.radius / 2)
    return couplings.Chain(jnp.full(size, config.frequency), hopping)
  rank = 32
  re, im = rng.standard_normal((2, size, rank)) / np.sqrt(2 * size)
  weights = jnp.linspace(-config.radius, config.radius, rank)
  diagonal = jnp.full(size, config.frequency)
  return couplings.LowRank(diagonal, jnp.asarray(re + 1j * im), weights)


def scale(config, kind: str, size: int):
  """Drifts and seconds an evaluation of one large network with Gauss-Legendre 4.

  Returns:
    energy, norm, evaluations, seconds_per_evaluation: scalars.
  """
  g = networks.nonlinearity(config.nonlinearity)
  net = lagrangean.network(_network(config, kind, size))
  normals = np.random.default_rng([config.seed, 301, size]).standard_normal((2, size))
  z = networks.state(jnp.asarray(normals), config.amplitude)
  duration = config.scale.periods * 2 * np.pi / config.frequency
  times = jnp.linspace(0, duration, 11)
  substeps = max(1, round(duration / 10 / 0.1))
  save = invariants.monitor(
    energy=lambda z: lagrangean.energy(g, net, z), norm=lagrangean.norm
  )

  @jax.jit
  def solve(net, z):
    field = lagrangean.field(g, net)
    return integrate(field, z, times, substeps=substeps, save=save)

  compiled = solve.lower(net, z).compile()
  start = time.perf_counter()
  solution = jax.block_until_ready(compiled(net, z))
  seconds = time.perf_counter() - start
  drifts = {k: np.asarray(invariants.drift(v)) for k, v in solution.saved.items()}
  evaluations = np.asarray(solution.evaluations, float)
  return drifts | {
    "evaluations": evaluations,
    "seconds_per_evaluation": seconds / evaluations,
    "residual": np.asarray(solution.residual),
  }

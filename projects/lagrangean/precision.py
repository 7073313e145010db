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


def _solve(name, g, net, fast, duration):
  """A compiled (z, point) -> `Solution` of a method; `point` sets its step or tolerance."""
  field = lagrangean.field(g, fast)
  records = 20
  times = np.linspace(0, duration, records + 1)
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
      splitting.gauss_flow(lagrangean.remainder_field(g, fast)),
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

  @jax.jit  # one small program in place of many
  def begin(operands):
    net, z = networks.draw(config, operands, config.size)
    return net, networks.fast(net), z, lagrangean.energy(g, net, z)

  net, fast, z, energy = begin(networks.draws(config))
  duration, points = config.precision.time, config.precision.points
  names = {"gauss6", *config.precision.methods}
  solvers = {name: _solve(name, g, net, fast, duration) for name in names}
  reference = np.asarray(solvers["gauss6"](z, points + 4).final)
  found = {}

  def distance(end):
    return float(np.linalg.norm(end - reference) / np.linalg.norm(reference))

  for name in config.precision.methods:
    rows = []
    solve = solvers[name]
    for point in range(points):
      solution = solve(z, point)
      seconds = min(_time(lambda point=point, solve=solve: solve(z, point)) for _ in "12")
      saved = jax.device_get(solution.saved)
      drifts = {k: float(np.abs(v / v[0] - 1).max()) for k, v in saved.items()}
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
  energy_of = jax.jit(lambda z: lagrangean.energy(g, net, z))
  for point in range(points):
    rtol = TOLERANCE / 100.0 ** (point + 1)
    start = time.perf_counter()
    end = _scipy(config.nonlinearity, np.asarray(net.coupling), np.asarray(z), duration, rtol)
    seconds = time.perf_counter() - start
    if end is None:
      return found
    state = end[0]
    rows.append(
      {
        "error": distance(state),
        "energy": abs(float(energy_of(state) / energy) - 1),
        "norm": abs(np.vdot(state, state).real / np.vdot(z, z).real - 1),
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


RANK = 32


def _normals(config, kind: str, size: int) -> tuple[np.ndarray, np.ndarray]:
  """What the couplings and the state are made of."""
  rng = np.random.default_rng([config.seed, 300, size])
  shape = {"dense": (2, size, size), "low_rank": (2, size, RANK), "chain": (0,)}[kind]
  return rng.standard_normal(shape), rng.standard_normal((2, size))


def _coupling(config, kind: str, size: int, normals):
  """Dense Gaussian, a diagonal plus RANK random factors, or a chain."""
  if kind == "dense":
    return couplings.from_normals(normals, config.frequency, config.radius)
  diagonal = jnp.full(size, config.frequency)
  if kind == "chain":
    return couplings.Chain(diagonal, jnp.full(size, config.radius / 2))
  factors = jax.lax.complex(normals[0], normals[1]) / np.sqrt(2 * size)
  return couplings.LowRank(
    diagonal, factors, jnp.linspace(-config.radius, config.radius, RANK)
  )


def scale(config, kind: str, size: int):
  """Drifts and seconds an evaluation of one large network with Gauss-Legendre 4.

  Returns:
    energy, norm, evaluations, seconds_per_evaluation, residual: scalars.
  """
  g = networks.nonlinearity(config.nonlinearity)
  duration = config.scale.periods * 2 * np.pi / config.frequency
  times = np.linspace(0, duration, 11)
  substeps = max(1, round(duration / 10 / 0.1))

  @jax.jit
  def solve(normals, start):
    net = lagrangean.network(_coupling(config, kind, size, normals))
    save = invariants.monitor(
      energy=lambda z: lagrangean.energy(g, net, z), norm=lagrangean.norm
    )
    z = networks.state(start, config.amplitude)
    field = lagrangean.field(g, net)
    solution = integrate(field, z, times, substeps=substeps, save=save)
    drifts = {k: invariants.drift(v) for k, v in solution.saved.items()}
    return drifts, solution.evaluations, solution.residual

  arguments = _normals(config, kind, size)
  compiled = solve.lower(*arguments).compile()
  start = time.perf_counter()
  drifts, evaluations, residual = jax.block_until_ready(compiled(*arguments))
  seconds = time.perf_counter() - start
  evaluations = np.asarray(evaluations, float)
  return jax.tree.map(np.asarray, drifts) | {
    "evaluations": evaluations,
    "seconds_per_evaluation": np.asarray(seconds / evaluations),
    "residual": np.asarray(residual),
  }

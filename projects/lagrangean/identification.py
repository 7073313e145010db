"""System identification: Ω, Γ, g and the initial state from noisy trajectories.

A planted network with g = (1 + p x)^q and one known input V(t) is observed at equal times with
complex Gaussian noise. All unknowns are fitted at once by Levenberg-Marquardt, whose Jacobian
is the forward derivative of Gauss-Legendre 6, inner solve included. The data come from a step
four times finer. Every restart draws its first guess afresh; restarts, seeds, lengths and
noise levels are one compiled batch.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lib.dynamics import (
  couplings,
  integrate,
  lagrangean,
  linear_algebra,
  nonlinearities,
  trajectories,
)
from projects.lagrangean import networks

STRENGTH, EXPONENT = 1.0, -0.5
STEP = 0.25
FIT, DATA = (trajectories.gauss_method(3, tolerance=1e-10), 1), ("gauss6", 4)  # and refinement
RANGE = 3.0  # x = |z|² on which g is compared


def drive(t):
  """The known input V(t), (1,)."""
  return jnp.array([0.5 * jnp.sin(0.7 * t) + 0.5 * jnp.cos(1.9 * t)])


def simulate(unknowns, times, method=FIT):
  """States at the times, (T, N), for unknowns Ω (as N² real numbers), Γ, g and z(0)."""
  omega = hermitian(unknowns["omega"])
  n = omega.shape[0]
  net = lagrangean.network(omega, unknowns["gamma"])
  g = nonlinearities.power(jnp.exp(unknowns["log_strength"]), unknowns["exponent"])
  field = lagrangean.field(g, net, lambda t: (drive(t), jnp.zeros(n)))
  u, v = unknowns["start"]
  method, finer = method
  substeps = max(1, round(float(times[1] - times[0]) / STEP)) * finer
  start = jax.lax.complex(u, v)
  return integrate(field, start, times, method=method, substeps=substeps).saved


def hermitian(parts):
  """A Hermitian matrix from N² real numbers: symmetric part plus i times antisymmetric."""
  return jax.lax.complex((parts + parts.T) / 2, (parts - parts.T) / 2)


def counts(config, duration: float) -> int:
  """Samples after the first."""
  return round(duration / config.identify.spacing)


def draws(config) -> dict[str, np.ndarray]:
  """Standard normals of all seeds (first axis) and restarts, drawn on the host."""
  n, samples = config.identify.size, _samples(config)
  shapes = {
    "omega": (2, n, n),
    "gamma": (n, 1),
    "start": (2, n),
    "noise": (2, samples, n),
    "guess_omega": (config.identify.restarts, 2, n, n),
    "guess_gamma": (config.identify.restarts, n, 1),
  }
  found = {"first": np.asarray(config.seed)}
  for stream, (name, shape) in enumerate(shapes.items()):
    found[name] = np.stack(
      [
        np.random.default_rng([config.seed + k, 100 + stream]).standard_normal(shape)
        for k in range(config.seeds)
      ]
    )
  return found


def _samples(config) -> int:
  longest = counts(config, max(config.identify.times))
  return longest + longest // 4 + 1


def planted(config, numbers):
  """The unknowns' true values."""
  omega = couplings.from_normals(numbers["omega"], config.frequency, 2 * config.radius)
  return {
    "omega": omega.real + omega.imag,
    "gamma": numbers["gamma"],
    "log_strength": jnp.log(STRENGTH) * jnp.ones(()),
    "exponent": EXPONENT * jnp.ones(()),
    "start": numbers["start"],
  }


def guess(config, numbers, observed):
  """A first guess: a random matrix and gain, a weaker nonlinearity, the observed start."""
  restart = config.identify.restart
  omega = couplings.from_normals(
    numbers["guess_omega"][restart], config.frequency, config.radius
  )
  return {
    "omega": omega.real + omega.imag,
    "gamma": 0.5 * numbers["guess_gamma"][restart],
    "log_strength": jnp.log(0.5) * jnp.ones(()),
    "exponent": -0.3 * jnp.ones(()),
    "start": jnp.stack([observed[0].real, observed[0].imag]),
  }


def levenberg_marquardt(residuals, x, iterations: int):
  """Minimises |r(x)|² for x (P,): Marquardt's damping, a fixed number of trial steps.

  Batches of restarts run in lock step, so that no solver that stops by itself is used.

  Args:
    residuals: x -> (r, kept), with anything in `kept` that is wanted at the minimum.
    x: first guess.
    iterations: trial steps.

  Returns:
    (x, |r|²/2, kept).
  """

  def both(x):
    r, kept = residuals(x)
    return r, (r, kept)

  def step(carry, _):
    (x, gram, slope, cost, _), damping = carry
    scale = jnp.diag(gram) + 1e-12
    trial = x - linear_algebra.solve(gram + damping * jnp.diag(scale), slope)
    jacobian, (r, kept) = jax.jacfwd(both, has_aux=True)(trial)
    new = trial, jacobian.T @ jacobian, jacobian.T @ r, 0.5 * r @ r, kept
    better = new[3] < cost  # False for NaN
    point = jax.tree.map(lambda a, b: jnp.where(better, a, b), new, carry[0])
    damping = jnp.clip(jnp.where(better, damping / 3, damping * 4), 1e-12, 1e6)
    return (point, damping), None

  # The first step evaluates the start: without a slope it does not move.
  kept = jax.tree.map(jnp.zeros_like, jax.eval_shape(residuals, x)[1])
  infinite, damping = jnp.asarray([jnp.inf, 0.3], x.dtype)
  point = x, jnp.eye(x.shape[0], dtype=x.dtype), jnp.zeros_like(x), infinite, kept
  ((x, _, _, cost, kept), _), _ = jax.lax.scan(
    step, (point, damping), None, length=iterations + 1
  )
  return x, cost, kept


def member(config, operands):
  """One restart on one planted network at one noise level and length of the data.

  The data up to `time` are fitted; the states in a fifth of the longest time after it are
  forecast. Shorter data are a weight of 0 on the later samples, so that all lengths are one
  program.

  Returns:
    cost: mean square residual of the fit; identification_error: RMS error of Ω over the RMS of
    its entries; gain_error, likewise for Γ; g_error: max |g − ĝ| for x in [0, RANGE];
    forecast_error: RMS error of the forecast, against states without noise, over their RMS.
  """
  settings = config.identify
  numbers = networks.of_seed(config, operands)
  truth = planted(config, numbers)
  samples = _samples(config)
  times = settings.spacing * np.arange(samples)
  ahead = counts(config, max(settings.times)) // 4
  clean = simulate(truth, times, DATA)
  noise = jax.lax.complex(*numbers["noise"]) / np.sqrt(2)
  observed = clean + settings.noise * noise
  index, last = jnp.arange(samples), jnp.round(settings.time / settings.spacing)
  fitted = (index <= last).astype(float)
  later = ((index > last) & (index <= last + ahead)).astype(float)
  first, unravel = ravel_pytree(guess(config, numbers, observed))

  def residuals(x):
    states = simulate(unravel(x), times)
    difference = fitted[:, None] * (states - observed)
    return jnp.concatenate([difference.real.ravel(), difference.imag.ravel()]), states

  x, cost, states = levenberg_marquardt(residuals, first, settings.iterations)
  found = unravel(x)
  x_grid = jnp.linspace(0, RANGE, 31)

  def g_of(unknowns):
    strength = jnp.exp(unknowns["log_strength"])
    return nonlinearities.power(strength, unknowns["exponent"]).value(x_grid)

  def relative(a, b):
    return jnp.linalg.norm(a - b) / jnp.linalg.norm(b)

  omega, target = hermitian(found["omega"]), hermitian(truth["omega"])
  weight = later[:, None]
  return {
    "cost": 2 * cost / (2 * fitted.sum() * settings.size),
    "identification_error": relative(omega, target),
    "gain_error": relative(found["gamma"], truth["gamma"]),
    "g_error": jnp.abs(g_of(found) - g_of(truth)).max(),
    "forecast_error": relative(weight * states, weight * clean),
  }

"""The root bound as a differentiable function of the parameters, for training; and sampling.

In JAX, in whatever precision the parameters have, without rounding margins: these are terms of
a loss and lower bounds to compare with, not certificates.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

POWER_STEPS = 30  # of the power method; it converges like (σ_2/σ_1)^60, and U ≥ 0 has a gap


def root_bound(
  weights: Sequence[jax.Array],
  biases: Sequence[jax.Array],
  lower=None,
  upper=None,
  p: float = 2,
  slopes: tuple[float, float] = (0.0, 1.0),
) -> jax.Array:
  """‖U‖_p with U_ij ≥ |J_ij(x)| on a box: the first estimate of Algorithm 2, with gradients.

  Interval arithmetic decides which units are open on the box; gradients go through the weights
  of the interval matrix product, and not through that decision, which is piecewise constant.

  Args:
    weights: matrices (inputs, outputs) of x @ W + b.
    biases: vectors.
    lower, upper: the box, (n,); None for all of R^n, with every unit open.
    p: 1, 2 or ∞.
    slopes: of the activation below and above 0.

  Returns:
    () the bound.
  """
  least, most = min(slopes), max(slopes)
  centre, radius = weights[0].T, jnp.zeros_like(weights[0].T)
  if lower is not None:
    middle, spread = 0.5 * (lower + upper), 0.5 * (upper - lower)
  for i, weight in enumerate(weights[1:]):
    low, high = least, most
    if lower is not None:
      z = middle @ weights[i] + biases[i]
      reach = spread @ jnp.abs(weights[i])
      low = jnp.where(z - reach >= 0, slopes[1], jnp.where(z + reach <= 0, slopes[0], least))
      high = jnp.where(z - reach >= 0, slopes[1], jnp.where(z + reach <= 0, slopes[0], most))
      ends = [_apply(z + s * reach, slopes) for s in (-1, 1)]
      bottom, top = jnp.minimum(*ends), jnp.maximum(*ends)
      if slopes[0] < 0:
        bottom = jnp.where((z - reach < 0) & (z + reach > 0), 0.0, bottom)
      middle, spread = 0.5 * (bottom + top), 0.5 * (top - bottom)
      low, high = low[:, None], high[:, None]
    a, b = centre - radius, centre + radius
    products = jnp.stack([low * a, low * b, high * a, high * b])
    a, b = products.min(0), products.max(0)
    centre, radius = weight.T @ (0.5 * (a + b)), jnp.abs(weight).T @ (0.5 * (b - a))
  size = jnp.abs(centre) + radius
  if p == 1:
    return size.sum(0).max()
  if p == np.inf:
    return size.sum(1).max()
  if p == 2:
    return _perron_norm(size)
  raise ValueError(f"p is {p}; the differentiable bound takes 1, 2 or ∞.")


def _perron_norm(matrix):
  """‖U‖_2 of a matrix U ≥ 0 by the power method, whose vectors stay ≥ 0.

  No decomposition: batched ones on a CPU divided into devices can wait for each other for
  ever. At convergence the gradient with fixed vectors is that of the norm, u v'.
  """

  def step(v, _):
    v = matrix.T @ (matrix @ v)
    return v / jnp.maximum(jnp.linalg.norm(v), 1e-30), None

  start = jnp.ones(matrix.shape[1], matrix.dtype)
  v, _ = jax.lax.scan(step, start, length=POWER_STEPS)
  v = jax.lax.stop_gradient(v)
  return jnp.linalg.norm(matrix @ v) / jnp.maximum(jnp.linalg.norm(v), 1e-30)


def _apply(z, slopes):
  return jnp.where(z > 0, slopes[1] * z, slopes[0] * z)


def sampled_quotient(
  network, lower, upper, p: float, key: jax.Array, starts: int = 256, steps: int = 100
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """A lower bound of L_p by gradient ascent on ‖f(x) − f(y)‖_p / ‖x − y‖_p from many pairs.

  ‖J(x)‖ itself is piecewise constant and has no gradient to follow; the quotient has one, and
  no quotient exceeds L. All starts are one vmapped run. A step moves each coordinate by a
  hundredth of the box's width, falling to a tenth of that.

  Args:
    network: a `Network`.
    lower, upper: the box, (n,).
    p: of the norm.
    key: of the starts.
    starts: how many pairs.
    steps: of ascent.

  Returns:
    quotients (starts,), best of each run, and the last x and y, (starts, n) each.
  """
  low, high = (jnp.asarray(v, jnp.float64) for v in (lower, upper))
  width = high - low

  def f(x):
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
      x = jnp.asarray(weight) @ x + jnp.asarray(bias)
      if i < len(network.slopes):
        x = jnp.where(x > 0, network.slopes[i][1], network.slopes[i][0]) * x
    return x

  def quotient(pair):
    x, y = pair
    return _norm(f(x) - f(y), p) / jnp.maximum(_norm(x - y, p), 1e-300)

  def climb(key):
    pair = low + jax.random.uniform(key, (2, *low.shape), jnp.float64) * width
    pair = pair.at[1].set(pair[0] + 0.1 * (pair[1] - pair[0]))

    def step(carry, i):
      pair, best, at = carry
      value, slope = jax.value_and_grad(quotient)(pair)
      better = value > best
      best, at = jnp.where(better, value, best), jnp.where(better, pair, at)
      rate = 0.01 * 10 ** (-i / steps)
      pair = jnp.clip(pair + rate * width * jnp.sign(jnp.nan_to_num(slope)), low, high)
      return (pair, best, at), None

    (_, best, at), _ = jax.lax.scan(step, (pair, jnp.float64(0), pair), jnp.arange(steps))
    return best, at[0], at[1]

  return jax.vmap(climb)(jax.random.split(key, starts))


def _norm(v, p):
  if p == np.inf:
    return jnp.abs(v).max()
  if p == 1:
    return jnp.abs(v).sum()
  scale = jnp.maximum(jnp.abs(v).max(), 1e-300)
  return scale * ((jnp.abs(v) / scale) ** p).sum() ** (1 / p)

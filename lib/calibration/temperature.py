"""Temperature scaling: Guo et al., *On calibration of modern neural networks* (ICML 2017)."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
from jax import lax

LEAST, MOST = 1e-2, 1e2  # of the temperature; a separable set has its best at 0


def fit(logits: jax.Array, labels: jax.Array, iterations: int = 40) -> jax.Array:
  """T > 0 that minimises the mean of −log softmax(z / T)_y.

  The loss is convex in b = 1/T, with derivative E[E_p z − z_y] and curvature E[Var_p z], p =
  softmax(b z): Newton's method inside a bracket that halves (in log b) when a step leaves it.

  Args:
    logits: (n, K).
    labels: (n,) integers.
    iterations: of Newton's method.

  Returns:
    T, a scalar in [LEAST, MOST].
  """
  chex.assert_equal_shape_prefix([logits, labels], 1)
  logits = logits - jnp.max(logits, -1, keepdims=True)
  chosen = jnp.take_along_axis(logits, labels[:, None], -1)[:, 0]

  def step(carry, _):
    b, low, high = carry
    p = jax.nn.softmax(b * logits)
    mean = jnp.sum(p * logits, -1)
    slope = jnp.mean(mean - chosen)
    curvature = jnp.mean(jnp.sum(p * (logits - mean[:, None]) ** 2, -1))
    low, high = jnp.where(slope < 0, b, low), jnp.where(slope < 0, high, b)
    new = b - slope / jnp.maximum(curvature, 1e-30)
    inside = (new > low) & (new < high)
    return (jnp.where(inside, new, jnp.sqrt(low * high)), low, high), None

  ends = [jnp.asarray(x, logits.dtype) for x in (1.0, 1 / MOST, 1 / LEAST)]
  (b, _, _), _ = lax.scan(step, tuple(ends), None, length=iterations)
  return 1 / b


def scores(temperature: jax.Array, logits: jax.Array) -> jax.Array:
  """softmax(z / T); (…, K) -> (…, K)."""
  return jax.nn.softmax(logits / temperature)

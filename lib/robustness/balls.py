"""Balls around an input and the pixel range: projections that are exact in real arithmetic.

A perturbed input is a float32 number, and x + ε is rounded: the nearest float to x + ε can lie
outside of the ball. What these functions return lies inside in the exact sense, every
|x'_i − x_i| ≤ ε (or ‖x' − x‖₂ ≤ ε) as real numbers and low ≤ x'_i ≤ high. The Euclidean ones
promise that for float32 and float64, not for half precision.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

NORMS = ("linf", "l2")
_UNIT = 2.0**-24  # half the distance from 1 to the next float32


def check_norm(norm: str) -> str:
  """The norm's name.

  Raises:
    ValueError: it is not one of NORMS.
  """
  if norm not in NORMS:
    raise ValueError(f"norm must be one of {', '.join(NORMS)}, not {norm!r}")
  return norm


def _sum_error(a, b, total):
  """The exact a + b − total, for total = fl(a + b): Knuth's two-sum."""
  shadow = total - a
  return (a - (total - shadow)) + (b - shadow)


def bounds(x: jax.Array, radius) -> tuple[jax.Array, jax.Array]:
  """The least and the largest float within `radius` of every entry of x."""
  radius = jnp.asarray(radius, x.dtype)
  low, high = x - radius, x + radius
  low = jnp.where(_sum_error(x, -radius, low) > 0, jnp.nextafter(low, x), low)
  high = jnp.where(_sum_error(x, radius, high) < 0, jnp.nextafter(high, x), high)
  return low, high


def project_linf(perturbed, x, radius, low=0.0, high=1.0) -> jax.Array:
  """The point of {|x' − x| ≤ ε, low ≤ x' ≤ high} nearest to `perturbed`, entry by entry.

  Args:
    perturbed: (…), any shape.
    x: the same shape, within [low, high].
    radius: ε ≥ 0, broadcast against x.
    low, high: the pixel range.
  """
  chex.assert_equal_shape([perturbed, x])
  least, most = bounds(x, radius)
  return jnp.clip(perturbed, jnp.maximum(least, low), jnp.minimum(most, high))


def _norm(v, axes):
  """‖v‖₂ over axes, without overflow and underflow of the squares."""
  scale = jnp.max(jnp.abs(v), axes, keepdims=True)
  safe = jnp.where(scale > 0, scale, 1.0)
  return scale * jnp.sqrt(jnp.sum(jnp.square(v / safe), axes, keepdims=True))


def project_l2(perturbed, x, radius, low=0.0, high=1.0) -> jax.Array:
  """x + δ min(1, ε' / ‖δ‖) clipped to [low, high], δ = perturbed − x.

  ε' is ε less what rounding may add: n units of the norm's sum and one of every entry. The
  point is inside the ball and the range, and for a δ inside of both it is nearest; elsewhere
  scaling and clipping is the usual approximation of the nearest one.

  Args:
    perturbed: (n, …), a ball an example.
    x: the same shape, within [low, high].
    radius: ε ≥ 0, a number or (n,).
    low, high: the pixel range.
  """
  chex.assert_equal_shape([perturbed, x])
  axes = tuple(range(1, x.ndim))
  size = max(1, x[0].size)
  radius = jnp.reshape(jnp.asarray(radius, x.dtype), (-1,) + (1,) * len(axes))
  largest = jnp.maximum(jnp.abs(low), jnp.abs(high))
  slack = 2 * (size + 8) * _UNIT * radius + 2 * size**0.5 * _UNIT * largest
  allowed = jnp.maximum(radius - slack, 0.0)
  delta = perturbed - x
  length = _norm(delta, axes)
  scaled = delta * jnp.minimum(1.0, allowed / jnp.where(length > 0, length, 1.0))
  moved = x + jnp.where(allowed > 0, scaled, 0.0)
  return jnp.clip(jnp.where(length <= allowed, perturbed, moved), low, high)


def project(perturbed, x, radius, norm: str = "linf", low=0.0, high=1.0) -> jax.Array:
  """`project_linf` or `project_l2`."""
  function = {"linf": project_linf, "l2": project_l2}[check_norm(norm)]
  return function(perturbed, x, radius, low, high)


def project_perturbation(delta, radius, norm: str = "linf") -> jax.Array:
  """The point of the ball {‖δ‖ ≤ ε} about 0 nearest to δ, (…) one vector, without a range."""
  if check_norm(norm) == "linf":
    radius = jnp.asarray(radius, delta.dtype)
    return jnp.clip(delta, -radius, radius)
  radius = jnp.asarray(radius, delta.dtype)
  allowed = jnp.maximum(radius * (1 - 2 * (delta.size + 8) * _UNIT), 0.0)
  length = _norm(delta, None).reshape(())
  scaled = delta * jnp.minimum(1.0, allowed / jnp.where(length > 0, length, 1.0))
  return jnp.where(length <= allowed, delta, scaled)


def steepest(gradient, norm: str = "linf") -> jax.Array:
  """The direction v, ‖v‖ = 1, with the largest ⟨gradient, v⟩, an example at a time.

  sign(g) for the maximum norm, g / ‖g‖₂ for the Euclidean one; 0 where g is 0.

  Args:
    gradient: (n, …).
    norm: of the ball.
  """
  if check_norm(norm) == "linf":
    return jnp.sign(gradient)
  length = _norm(gradient, tuple(range(1, gradient.ndim)))
  return jnp.where(length > 0, gradient / jnp.where(length > 0, length, 1.0), 0.0)


def uniform(key, x, radius, norm: str = "linf") -> jax.Array:
  """Points of the balls about x, uniformly distributed, before any projection, (n, …)."""
  if check_norm(norm) == "linf":
    return x + radius * jax.random.uniform(key, x.shape, x.dtype, -1.0, 1.0)
  direction_key, length_key = jax.random.split(key)
  direction = steepest(jax.random.normal(direction_key, x.shape, x.dtype), "l2")
  draw = jax.random.uniform(length_key, (len(x),) + (1,) * (x.ndim - 1), x.dtype)
  radius = jnp.reshape(jnp.asarray(radius, x.dtype), (-1,) + (1,) * (x.ndim - 1))
  return x + radius * draw ** (1 / max(1, x[0].size)) * direction

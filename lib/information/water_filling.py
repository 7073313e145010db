"""Exact capacity of linear Gaussian channels by water filling.

The channel is Y = W X + ε with ε ~ N(0, I) and E‖X‖² ≤ P. All information is in nats.

References: El Gamal and Kim, Network Information Theory (2011), sec. 9.1; Cover and Thomas,
Elements of Information Theory, ch. 9; Ye and Lin, Channel Capacity of Neural Networks (2021),
Theorem 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class WaterFilling(NamedTuple):
  """level λ [...], powers p [..., d] and capacity [...] of d parallel channels."""

  level: jax.Array
  powers: jax.Array
  capacity: jax.Array


def _checked(name, value):
  value = jnp.asarray(value)
  if not jnp.issubdtype(value.dtype, jnp.floating):
    value = value.astype(jnp.result_type(float))
  if not isinstance(value, jax.core.Tracer) and np.any(np.asarray(value) < 0):
    raise ValueError(f"{name} must not be negative")
  return value


def water_filling(gains, power):
  """Optimal powers and capacity of parallel Gaussian channels with unit noise.

    max_p ½ Σ_i log(1 + p_i g_i)   subject to   Σ_i p_i = P, p ≥ 0
    p_i = max(λ − 1/g_i, 0),   capacity = ½ Σ_{active} log(λ g_i)          (Theorem 1)

  Works relative to the best channel (in units of 1/max g), so that neither a small nor a large
  P·g loses digits; everything is one sort and a cumulative sum. It is differentiable: the set
  of active channels is held fixed, which is the implicit derivative of the level. Because a
  channel enters with zero power, capacity is continuously differentiable across changes of
  that set (∂C/∂P = 1/2λ and ∂C/∂g_i = p_i/2λg_i, the latter p_i/2 = 0 at g_i = 0), while the
  level and the powers are piecewise smooth.

  Args:
    gains: g_i ≥ 0, squared singular values over the noise variance, [..., d].
    power: P ≥ 0, [...] or scalar.

  Returns:
    WaterFilling(level [...], powers [..., d], capacity [...]). Where all gains vanish no
    allocation carries information: level inf, powers 0 and capacity 0.

  Raises:
    ValueError: negative gains or power (traced negative power gives NaN), or no channel.
  """
  gains = _checked("gains", gains)
  power = _checked("power", power)
  if gains.ndim < 1 or gains.shape[-1] < 1:
    raise ValueError("water_filling needs at least one channel: gains of shape [..., d >= 1]")
  dtype = jnp.result_type(gains, power)
  gains, power = gains.astype(dtype), power.astype(dtype)
  power = jnp.where(power < 0, jnp.nan, power)[..., None]

  # A constant scale: the formulas hold in any unit, so no derivative runs through it.
  top = lax.stop_gradient(jnp.max(gains, axis=-1, keepdims=True))
  scale = jnp.where(top > 0, top, 1)
  ratio = gains / scale
  # A channel whose 1/ratio overflows can never be reached by the water.
  positive = ratio > 2 * jnp.finfo(dtype).tiny
  safe = jnp.where(positive, ratio, 1)
  floor = jnp.where(positive, (1 - safe) / safe, 0)  # 1/g_i − 1/max g, in units of 1/max g
  water = power * scale

  # k channels are active when P > Σ_{i≤k} (floor_k − floor_i): water covers the k-th floor.
  held_floor = lax.stop_gradient(jnp.where(positive, floor, jnp.inf))
  sorted_floor = jnp.sort(held_floor, axis=-1)
  finite = jnp.isfinite(sorted_floor)
  total = jnp.cumsum(jnp.where(finite, sorted_floor, 0), axis=-1)
  count = jnp.arange(1, gains.shape[-1] + 1, dtype=dtype)
  held_level = (lax.stop_gradient(water) + total) / count
  covered = finite & (held_level > sorted_floor)
  number = jnp.maximum(jnp.sum(covered, axis=-1, keepdims=True), 1)
  last = jnp.take_along_axis(sorted_floor, number - 1, axis=-1)
  active = positive & (held_floor <= last)

  k = jnp.maximum(jnp.sum(active, axis=-1, keepdims=True), 1)
  height = (water + jnp.sum(jnp.where(active, floor, 0), axis=-1, keepdims=True)) / k
  depth = jnp.where(active, height - floor, 0)
  # Rounding must not leave a negative power; where it is 0 the derivative stays one-sided.
  depth = depth + lax.stop_gradient(jnp.maximum(depth, 0) - depth)
  capacity = 0.5 * jnp.sum(jnp.where(active, jnp.log1p(depth * safe), 0), axis=-1)
  useful = top > 0
  powers = jnp.where(useful, depth / scale, 0 * power)
  level = jnp.where(useful, (1 + height) / scale, jnp.inf)[..., 0]
  level, capacity = jnp.broadcast_arrays(level, capacity)
  return WaterFilling(level, powers, capacity)


def mic_linear(weight, power):
  """Maximum information complexity (channel capacity) of a linear map, exactly.

    MIC(W) = ½ Σ_{i≤k} log(λ γ_i²),   Σ_i max(λ − 1/γ_i², 0) = P            (Theorem 1)

  with γ_i the singular values of W. The printed form ½ log(λ^k Π γ_i²) is the same number but
  overflows. The theorem prints W ∈ R^{n×m} for a map from R^n to R^m; any orientation will do
  here, since W and Wᵀ have the same singular values.

  Differentiable everywhere in W, also at equal and at zero singular values: the gradient is
  U diag(p_i γ_i / (1 + p_i γ_i²)) Vᵀ, and only the (unique) spectral function enters.
  Second derivatives are those of jnp.linalg.svd and do not exist at ties.

  Args:
    weight: [..., m, n].
    power: P ≥ 0 of E‖X‖² ≤ P, [...] or scalar.

  Returns:
    Capacity in nats, [...].
  """
  weight = jnp.asarray(weight)
  if weight.ndim < 2:
    raise ValueError(f"mic_linear needs a matrix [..., m, n], got shape {weight.shape}")
  singular = jnp.linalg.svd(weight, compute_uv=False)
  return water_filling(jnp.square(singular), power).capacity


def gaussian_information(weight, covariance):
  """I(X; WX + ε) in nats for X ~ N(0, K) and ε ~ N(0, I): ½ log det(I + W K Wᵀ).

  Args:
    weight: W [..., m, n].
    covariance: K [..., n, n], or its diagonal [..., n] where it has one axis less.
  """
  weight, covariance = jnp.asarray(weight), jnp.asarray(covariance)
  if covariance.ndim == weight.ndim:
    product = weight @ covariance @ jnp.swapaxes(weight, -1, -2)
  else:
    product = (weight * covariance[..., None, :]) @ jnp.swapaxes(weight, -1, -2)
  return 0.5 * jnp.linalg.slogdet(jnp.eye(weight.shape[-2], dtype=product.dtype) + product)[1]


class CapacityBounds(NamedTuple):
  """Logarithms of one plus the printed chain of bounds on 2 MIC (sec. 3.2), each [...].

  The chain reads 2 MIC = a ≤ e^a − 1 ≤ e^b − 1 ≤ e^c − 1 ≤ e^d − 1; its members overflow
  for any network's layer, so what is kept is a, b, c, d. All its steps hold; the first one
  (log x ≤ x − 1) throws away an exponential that the others never needed: a ≤ b ≤ c ≤ d.
  """

  twice_mic: jax.Array  # a = log(λ^k Π γ_i²)
  active: jax.Array  # b = Σ_{active} log(1 + P γ_i²)
  modes: jax.Array  # the same over all modes: no water filling needed, b ≤ modes ≤ c
  frobenius: jax.Array  # c = d log(1 + P ‖W‖_F²), d = rank of W
  spectral: jax.Array  # d log(1 + P d ‖W‖_2²)


def capacity_bounds(singular_values, power, tolerance=None):
  """The chain of bounds on 2 MIC of a linear map, as logarithms (see CapacityBounds).

  Args:
    singular_values: [..., d].
    power: P, [...] or scalar.
    tolerance: relative size under which a singular value does not count for the rank
      (default: d times the rounding unit).
  """
  singular_values = jnp.asarray(singular_values)
  gains = jnp.square(singular_values)
  filled = water_filling(gains, power)
  power = jnp.asarray(power, gains.dtype)[..., None]
  size = singular_values.shape[-1]
  if tolerance is None:
    tolerance = size * jnp.finfo(gains.dtype).eps
  top = jnp.max(singular_values, axis=-1, keepdims=True)
  rank = jnp.sum(singular_values > tolerance * top, axis=-1, keepdims=True)
  modes = jnp.log1p(power * gains)
  frobenius = rank * jnp.log1p(power * jnp.sum(gains, axis=-1, keepdims=True))
  spectral = rank * jnp.log1p(power * rank * jnp.square(top))
  return CapacityBounds(
    2 * filled.capacity,
    jnp.sum(jnp.where(filled.powers > 0, modes, 0), axis=-1),
    jnp.sum(modes, axis=-1),
    frobenius[..., 0],
    spectral[..., 0],
  )

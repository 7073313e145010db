"""Kernel density estimates on [0, 1] with reflecting ends, and rules for their bandwidth.

A density that is reflected at 0 and 1 is an even function of period 2, so it is a cosine
series, and smoothing it multiplies the coefficients by the kernel's characteristic function:

  f(x) = Σ_k (2 − δ_k0) a_k φ̂(π k h) cos(π k x),   a_k = (1/n) Σ_i cos(π k x_i)

The samples are first shared between the two nearest of G cells (linear binning). The cosine
transforms are matrix products: they batch well, and they run on several CPU devices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lib.metrics import binning

POINTS = 1024  # cells of the grid, 0.001 wide


def gaussian_hat(t: jax.Array) -> jax.Array:
  """Characteristic function of N(0, 1): exp(−t²/2)."""
  return jnp.exp(-0.5 * jnp.square(t))


def triweight_hat(t: jax.Array) -> jax.Array:
  """Characteristic function of 35/32 (1 − u²)³ on [−1, 1]: 105 j₃(t) / t³.

  j₃ is the spherical Bessel function. For small t its closed form cancels, and the power
  series 105 Σ_m (−t²/2)^m / (m! (2m + 7)!!) is used.
  """
  t = jnp.asarray(t)
  small = jnp.abs(t) < 4.0
  x = jnp.where(small, t, 0.0)
  term = series = jnp.ones_like(t)
  for m in range(1, 22):
    term = term * (-0.5 * jnp.square(x)) / (m * (2 * m + 7))
    series = series + term
  y = jnp.where(small, 4.0, t)
  bessel = (15 / y**4 - 6 / y**2) * jnp.sin(y) - (15 / y**3 - 1 / y) * jnp.cos(y)
  return jnp.where(small, series, 105 * bessel / y**3)


KERNELS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "gaussian": gaussian_hat,
  "triweight": triweight_hat,
}


def silverman(x: jax.Array, factor: float = (4 / 3) ** 0.2) -> jax.Array:
  """h = factor · min(std, IQR / 1.349) · n^(−1/5): Silverman (1986), section 3.4.

  The factor (4/3)^(1/5) = 1.06 is the best one for normal data and a Gaussian kernel; 0.9
  is Silverman's advice for others. Without an interquartile range the standard deviation
  alone counts.

  Args:
    x: (…, n) samples.
    factor: a number.

  Returns:
    (…) bandwidths; 0 where all samples are equal, as one is.
  """
  n = x.shape[-1]
  if n < 2:
    return jnp.zeros(x.shape[:-1], x.dtype)
  x = jnp.sort(x, -1)

  def quantile(q):  # linear interpolation, as in NumPy
    below, part = divmod(q * (n - 1), 1)
    below = int(below)
    return (1 - part) * x[..., below] + part * x[..., min(below + 1, n - 1)]

  deviation = jnp.std(x, -1, ddof=1)
  width = (quantile(0.75) - quantile(0.25)) / 1.349
  return factor * jnp.where(width > 0, jnp.minimum(deviation, width), deviation) * n**-0.2


def normal_reference(x: jax.Array) -> jax.Array:
  """h = 1.06 std n^(−1/5): the rule of Zhang et al. (ICML 2020); (…, n ≥ 2) -> (…)."""
  return 1.06 * jnp.std(x, -1, ddof=1) * x.shape[-1] ** -0.2


def grid(points: int = POINTS) -> jax.Array:
  """The centres (j + ½) / G of the cells."""
  return (jnp.arange(points) + 0.5) / points


def histogram(x: jax.Array, weights: jax.Array | None = None, points: int = POINTS):
  """Linear binning: every sample's weight shared between the two nearest cell centres.

  Beyond the first and last centre all of it goes to that cell, which is where reflection puts
  the other share.

  Args:
    x: (…, n) in [0, 1].
    weights: (…, n), by default 1.
    points: G.

  Returns:
    (…, G), summing to the sum of the weights.
  """
  weights = jnp.ones_like(x) if weights is None else jnp.asarray(weights, x.dtype)
  position = jnp.clip(x * points - 0.5, 0.0, points - 1.0)
  below = jnp.minimum(position.astype(jnp.int32), points - 2)
  part = position - below
  index = jnp.concatenate([below, below + 1], -1)
  shares = jnp.concatenate([weights * (1 - part), weights * part], -1)
  return binning.accumulate(index, shares, points)


@functools.lru_cache(maxsize=8)
def _cosines(points: int) -> np.ndarray:
  """cos(π k (j + ½) / G), (cells j, frequencies k)."""
  turns = np.outer(2 * np.arange(points) + 1, np.arange(points)) % (4 * points)
  return np.cos(np.pi / (2 * points) * turns).astype(np.float32)


def smooth(mass: jax.Array, bandwidth: jax.Array, kernel: str = "gaussian") -> jax.Array:
  """Density at the grid's centres of a histogram on the grid, smoothed and reflected.

  A bandwidth below a cell's width 1/G, where the grid cannot show the kernel, counts as 1/G.

  Args:
    mass: (…, G), see `histogram`.
    bandwidth: (…) or a number.
    kernel: a name in KERNELS.

  Returns:
    (…, G) values whose mean is the total mass.
  """
  points = mass.shape[-1]
  cosines = jnp.asarray(_cosines(points), mass.dtype)
  frequency = jnp.pi * jnp.arange(points, dtype=mass.dtype)
  bandwidth = jnp.maximum(jnp.asarray(bandwidth, mass.dtype), 1 / points)
  damping = KERNELS[kernel](frequency * bandwidth[..., None])
  twice = jnp.where(jnp.arange(points) > 0, 2.0, 1.0).astype(mass.dtype)
  precision = jax.lax.Precision.HIGHEST  # accelerators would round the products to 10 bits
  coefficients = jnp.matmul(mass, cosines, precision=precision)
  return jnp.matmul(coefficients * damping * twice, cosines.T, precision=precision)


def density(
  x: jax.Array, bandwidth: jax.Array, kernel: str = "gaussian", points: int = POINTS
) -> jax.Array:
  """Reflected kernel density estimate (…, G) at `grid(points)` of samples (…, n) in [0, 1]."""
  return smooth(histogram(x, points=points) / x.shape[-1], bandwidth, kernel)

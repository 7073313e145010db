"""Bounds on the rounding errors of float64, the outward margins of everything certified here.

Round to nearest is assumed, in any order of summation, with or without fused multiply-add:
a sum of n products is off by at most γ_n Σ|a_i b_i| with γ_n = n u/(1 − n u), u = 2⁻⁵³
(Higham, *Accuracy and Stability of Numerical Algorithms*, sec. 3.1). Margins here are more
than twice that, which covers the rounding of the margins themselves. Underflow adds TINY.

An array with an error is a pair (C, R): the true value lies in [C − R, C + R].
"""

import numpy as np

UNIT = 2.0**-53
TINY = 1e-290  # far above what underflow can lose in a sum, far below what matters


def gamma(n: int) -> float:
  """A margin of more than 2 γ_n for a sum of n products."""
  return (2 * n + 16) * UNIT


def namespace(*arrays):
  """NumPy, or jax.numpy when one of the arrays is JAX's."""
  if all(isinstance(a, np.ndarray | np.generic | float | int) for a in arrays):
    return np
  import jax.numpy as jnp

  return jnp


def first(mask, count: int):
  """Indices (..., count) of the last axis, those where the mask holds first and in order."""
  xp = namespace(mask)
  order = np.argsort(~mask, -1, kind="stable") if xp is np else xp.argsort(~mask, -1)
  return order[..., :count]


def up(x, n: int = 1):
  """At least x (1 + n u): x ≥ 0 after n more roundings."""
  return x * (1 + gamma(n)) + TINY


def affine(weight, centre, radius):
  """W (C ± R) ⊆ C' ± R' for a float matrix W (k, n) and C, R (..., n, d).

  In midpoint-radius form the product by a matrix of numbers is exact but for rounding.
  """
  xp = namespace(weight, centre)
  margin = gamma(weight.shape[1])
  radius = xp.abs(weight) @ (radius + margin * xp.abs(centre))
  return weight @ centre, up(radius, weight.shape[1])


def times(low, high, centre, radius):
  """[low, high] · (C ± R), elementwise, for floats low ≤ high that broadcast with C."""
  xp = namespace(low, centre)
  a, b = centre - radius, centre + radius
  products = (low * a, low * b, high * a, high * b)
  least = xp.minimum(
    xp.minimum(products[0], products[1]), xp.minimum(products[2], products[3])
  )
  most = xp.maximum(xp.maximum(products[0], products[1]), xp.maximum(products[2], products[3]))
  wide = xp.where(low == high, 0.0, 0.5 * (most - least))
  middle = xp.where(low == high, low * centre, 0.5 * (least + most))
  exact = xp.where(low == high, xp.abs(low) * radius, wide)
  size = xp.maximum(xp.abs(least), xp.abs(most))
  return middle, exact + 16 * UNIT * size

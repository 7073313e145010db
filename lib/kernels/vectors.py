"""Kernels of vectors: linear, polynomial and Gaussian, as matrices (n1, n2).

In float64 (`jax.enable_x64(True)`) where a quadratic program follows: differences of nearly
equal kernel values are all that it has.
"""

import jax
import jax.numpy as jnp

Array = jax.Array


def linear_kernel(x1: Array, x2: Array) -> Array:
  """K(x, x') = x·x'; (n1, d), (n2, d) -> (n1, n2)."""
  return jnp.matmul(x1, x2.T, precision=jax.lax.Precision.HIGHEST)


def polynomial_kernel(x1: Array, x2: Array, degree, offset=1.0) -> Array:
  """K(x, x') = (x·x' + offset)^degree; (n1, d), (n2, d) -> (n1, n2)."""
  return (linear_kernel(x1, x2) + offset) ** degree


def squared_distances(x1: Array, x2: Array) -> Array:
  """‖x − x'‖², never negative; (n1, d), (n2, d) -> (n1, n2)."""
  norms = jnp.sum(x1**2, 1)[:, None] + jnp.sum(x2**2, 1)
  return jnp.maximum(norms - 2 * linear_kernel(x1, x2), 0.0)


def rbf_kernel(x1: Array, x2: Array, gamma) -> Array:
  """K(x, x') = exp(−γ ‖x − x'‖²); (n1, d), (n2, d) -> (n1, n2)."""
  return jnp.exp(-gamma * squared_distances(x1, x2))


def median_gamma(x: Array, where: Array | None = None) -> Array:
  """γ = 1 / median of ‖x_i − x_j‖² over pairs i < j: the median heuristic; (n, d) -> ().

  A unit for γ that follows the scale of the inputs and their dimension. `where` (n,) of
  booleans says which rows count.
  """
  i, j = jnp.triu_indices(x.shape[0], 1)
  distances = squared_distances(x, x)[i, j]
  if where is None:
    return 1 / jnp.median(distances)
  return 1 / jnp.nanmedian(jnp.where(where[i] & where[j], distances, jnp.nan))

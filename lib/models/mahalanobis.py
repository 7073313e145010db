"""A Gaussian with a shrunk covariance: Mahalanobis distances from few examples."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lib import numerics

Array = jax.Array


class Gaussian(NamedTuple):
  """Mean (d,) and lower Cholesky factor (d, d) of the covariance."""

  mean: Array
  root: Array


def fit_gaussian(x: Array, shrinkage: float = 0.1, where: Array | None = None) -> Gaussian:
  """Mean and covariance S + shrinkage · tr(S)/d · I of the rows of (n, d), n ≥ 2.

  S has the divisor n − 1 and a rank of at most n − 1: without shrinkage it is singular for
  n ≤ d. `where` (n,) says which rows count.
  """
  weight = jnp.ones(len(x), x.dtype) if where is None else where.astype(x.dtype)
  count = weight.sum()
  mean = weight @ x / count
  centred = (x - mean) * weight[:, None]
  covariance = centred.T @ centred / (count - 1)
  scale = shrinkage * jnp.trace(covariance) / x.shape[1]
  shrunk = covariance + scale * jnp.eye(x.shape[1], dtype=x.dtype)
  return Gaussian(mean, numerics.one_at_a_time(jnp.linalg.cholesky)(shrunk))


def mahalanobis_distance(gaussian: Gaussian, x: Array) -> Array:
  """((x − μ)'Σ⁻¹(x − μ))^½; (m, d) -> (m,)."""

  def whiten(root, columns):
    return jax.scipy.linalg.solve_triangular(root, columns, lower=True)

  white = numerics.one_at_a_time(whiten)(gaussian.root, (x - gaussian.mean).T)
  return jnp.sqrt(jnp.sum(white**2, 0))

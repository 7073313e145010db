"""Principal components by a randomised range finder."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import lax

from lib import numerics

NORMALISATIONS = ("feature", "global")


class PCA(NamedTuple):
  """An affine projection x -> ((x − mean) / scale) components.

  Attributes:
    mean: (m,).
    scale: (m,).
    components: (m, d), orthonormal columns by decreasing variance; zero columns where there
      are fewer than d.
    variances: (d,) of the projected training examples.
  """

  mean: jax.Array
  scale: jax.Array
  components: jax.Array
  variances: jax.Array

  def __call__(self, x):
    """(n, m) -> (n, d)."""
    return ((x - self.mean) / self.scale) @ self.components


def pca(
  key, x, dimensions: int, *, normalise: str = "feature", powers: int = 3, extra: int = 10
) -> PCA:
  """The first principal components of normalised data.

  Halko, Martinsson and Tropp (2011), *Finding structure with randomness*, algorithms 4.4 and
  5.1: an orthonormal basis Q of (X Xᵀ)^q X Ω, then the eigenvectors of the small
  (Qᵀ X)(Qᵀ X)ᵀ. Where there are no more than `dimensions + extra` examples or features it is
  exact.

  Args:
    key: of the random directions Ω.
    x: (n, m).
    dimensions: d. Components beyond min(n, m) are zero.
    normalise: "feature" divides each feature by its own standard deviation (by 1 where that is
      below 10⁻⁶ of the largest: a ReLU that never fires), "global" all of them by that of the
      whole matrix after the features' means are taken out.
    powers: q.
    extra: directions drawn beyond d.

  Raises:
    ValueError: `normalise` is something else.
  """
  chex.assert_rank(x, 2)
  if normalise not in NORMALISATIONS:
    raise ValueError(f"normalise must be one of {NORMALISATIONS}, not {normalise!r}")
  n, m = x.shape
  mean = x.mean(0)
  centred = x - mean
  deviation = jnp.sqrt(jnp.mean(jnp.square(centred), 0))
  if normalise == "feature":
    largest = jnp.maximum(deviation.max(), 1e-30)
    scale = jnp.where(deviation > 1e-6 * largest, deviation, 1.0)
  else:
    overall = jnp.sqrt(jnp.mean(jnp.square(deviation)))
    scale = jnp.full(m, jnp.where(overall > 0, overall, 1.0))
  centred = centred / scale

  rank = min(n, m)
  width = min(dimensions + extra, rank)
  orthonormal = numerics.one_at_a_time(lambda a: jnp.linalg.qr(a)[0])
  basis = orthonormal(centred.T @ (centred @ jax.random.normal(key, (m, width))))
  basis = lax.fori_loop(  # of the rows, (m, width)
    0, powers, lambda _, basis: orthonormal(centred.T @ (centred @ basis)), basis
  )
  seen = centred @ basis
  values, vectors = numerics.one_at_a_time(jnp.linalg.eigh)(seen.T @ seen / n)
  kept = min(dimensions, width)
  missing = dimensions - kept
  components = basis @ vectors[:, ::-1][:, :kept]
  # The sign of a component is arbitrary: make its largest entry positive.
  pivot = jnp.take_along_axis(components, jnp.abs(components).argmax(0)[None], 0)[0]
  components = components * jnp.where(pivot < 0, -1.0, 1.0)
  return PCA(
    mean,
    scale,
    jnp.pad(components, ((0, 0), (0, missing))),
    jnp.pad(jnp.maximum(values[::-1][:kept], 0.0), (0, missing)),
  )

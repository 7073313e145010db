"""Similarities of the rows of a table, and the graph that joins those above the mean."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

NORMS = ("paper", "pairs")


def gower(values: jax.Array, present: jax.Array, numeric: jax.Array) -> jax.Array:
  """Gower's similarity of mixed rows: s_ij = Σ_k δ_ijk s_ijk / Σ_k δ_ijk (Gower 1971).

  s_ijk = 1 − |x_ik − x_jk| / r_k for a number with the range r_k of the rows given, and
  [x_ik = x_jk] for a category; δ_ijk = 1 where both values are present. A number that does not
  vary has s = 1. Rows that share no present value have similarity 0.

  Args:
    values: (n, c), numbers and indices of categories; whatever where not present.
    present: (n, c) booleans.
    numeric: (c,) booleans.

  Returns:
    (n, n) in [0, 1], symmetric.
  """
  chex.assert_rank([values, present, numeric], [2, 2, 1])
  chex.assert_equal_shape([values, present])
  high = jnp.max(values, 0, where=present, initial=-jnp.inf)
  low = jnp.min(values, 0, where=present, initial=jnp.inf)
  spread = jnp.where(high > low, high - low, 1.0)
  # 1 − min(|a − b| / r, 1) is both kinds at once: different indices are at least 1 apart.
  unit = jnp.where(present, values, 0.0) / jnp.where(numeric, spread, 1.0)
  both = present[:, None] & present[None]
  each = 1.0 - jnp.minimum(jnp.abs(unit[:, None] - unit[None]), 1.0)
  shared = jnp.sum(both, -1)
  return jnp.sum(jnp.where(both, each, 0.0), -1) / jnp.maximum(shared, 1)


def inverse_distance(x: jax.Array) -> jax.Array:
  """1 / (1 + ‖x_i − x_j‖₂); (n, d) -> (n, n)."""
  chex.assert_rank(x, 2)
  squares = jnp.sum(x**2, -1)
  squared = squares[:, None] + squares[None] - 2 * jnp.matmul(x, x.T, precision="highest")
  return 1 / (1 + jnp.sqrt(jnp.maximum(squared, 0.0)))


def mean_similarity(similarity: jax.Array, norm: str = "pairs") -> jax.Array:
  """Mean of the similarity over the pairs i < j; (n, n) -> ().

  Args:
    similarity: symmetric.
    norm: "pairs" divides by their number n(n − 1)/2; "paper" by n(n + 1)/2, as is printed in
      the paper on typicality curricula, which understates the mean by (n − 1)/(n + 1).

  Raises:
    ValueError: another norm.
  """
  if norm not in NORMS:
    raise ValueError(f"norm is {norm!r}, none of {NORMS}")
  chex.assert_rank(similarity, 2)
  n = similarity.shape[0]
  total = 0.5 * (jnp.sum(similarity) - jnp.trace(similarity))
  return total / (n * (n - 1) / 2 if norm == "pairs" else n * (n + 1) / 2)


def similarity_graph(similarity: jax.Array, norm: str = "pairs") -> jax.Array:
  """Rows i ≠ j are joined if s_ij is at least the mean; (n, n) -> (n, n) booleans."""
  joined = similarity >= mean_similarity(similarity, norm)
  return joined & ~jnp.eye(similarity.shape[0], dtype=bool)

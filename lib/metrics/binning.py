"""Bins on [0, 1] and sums over them.

A binning scheme is its edges t_0 ≤ … ≤ t_B. A mapping gives sample i the weights W_ij ≥ 0 in
the bins j, Σ_j W_ij = 1: all of it in the bin that holds the sample ("one"), or shared between
the two bins whose centres are nearest on either side ("convex", linear binning). Posocco and
Bonnefoy, *Estimating expected calibration errors* (ICANN 2021), definitions 4 and 5.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

MAPPINGS = ("one", "convex")
_FEW = 64  # up to so many points comparing with each is faster than a binary search


def square_root_bins(n: int) -> int:
  """B = ⌈√n⌉ bins for n samples; the paper does not say how it rounds, its program down."""
  return math.isqrt(max(n - 1, 0)) + 1


def uniform_edges(bins: int) -> jax.Array:
  """t_j = j / B; (B + 1,)."""
  return jnp.arange(bins + 1) / bins


def adaptive_edges(s: jax.Array, bins: int) -> jax.Array:
  """t_j = s_(⌊jN/B⌋), the j-th of the B-quantiles; t_0 = 0, t_B = 1.

  The print has the index N/i, which falls with i.

  Args:
    s: (…, N) in [0, 1].
    bins: B.

  Returns:
    (…, B + 1). Ties make bins of no width.
  """
  ordered = jnp.sort(s, -1)
  n = s.shape[-1]
  inner = ordered[..., jnp.array([j * n // bins for j in range(1, bins)], jnp.int32)]
  ends = jnp.zeros((*s.shape[:-1], 1), s.dtype)
  return jnp.concatenate([ends, inner, ends + 1], -1)


def count_below(points: jax.Array, s: jax.Array, side: str = "right") -> jax.Array:
  """How many of the sorted points are ≤ s (side "right") or < s ("left").

  Args:
    points: (…, B).
    s: (…, n).
    side: as in `jnp.searchsorted`.

  Returns:
    (…, n) integers.
  """
  if points.shape[-1] > _FEW:
    search = lambda a, v: jnp.searchsorted(a, v, side=side)  # noqa: E731
    return jnp.vectorize(search, signature="(b),(n)->(n)")(points, s)
  points, s = points[..., None, :], s[..., None]
  return jnp.sum(points <= s if side == "right" else points < s, -1, dtype=jnp.int32)


def accumulate(index: jax.Array, values: jax.Array, bins: int) -> jax.Array:
  """Σ_i values_i [index_i = j]; (…, n), (…, n) -> (…, bins)."""

  def one(index, values):
    return jnp.zeros(bins, values.dtype).at[index].add(values)

  return jnp.vectorize(one, signature="(n),(n)->(b)")(index, values)


def bin_sums(
  values: jax.Array, s: jax.Array, edges: jax.Array, mapping: str = "one", closed: str = "left"
) -> jax.Array:
  """Σ_i W_ij values_i.

  Args:
    values: (…, n).
    s: (…, n), where the samples are.
    edges: (B + 1,) or (…, B + 1).
    mapping: "one" or "convex".
    closed: which end belongs to a bin, "left": [t_{j−1}, t_j), or "right"; the outermost
      edges always do. It makes no difference to the convex mapping.

  Returns:
    (…, B).

  Raises:
    ValueError: unknown mapping or end.
  """
  if mapping not in MAPPINGS or closed not in ("left", "right"):
    raise ValueError(f"mapping {mapping!r} is none of {MAPPINGS}, or closed is {closed!r}")
  bins = edges.shape[-1] - 1
  if mapping == "one":
    side = "right" if closed == "left" else "left"
    return accumulate(count_below(edges[..., 1:-1], s, side), values, bins)
  below, part = convex_share(s, edges)
  lower, upper = jnp.maximum(below, 0), jnp.minimum(below + 1, bins - 1)
  return accumulate(lower, values * (1 - part), bins) + accumulate(upper, values * part, bins)


def convex_share(s: jax.Array, edges: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The bin j with c_j ≤ s < c_{j+1}, c the centres, and the share (s − c_j)/(c_{j+1} − c_j).

  The share belongs to bin j + 1, the rest to bin j. Below the first centre j is −1 and the
  share 1, above the last it is B − 1 and 0. (The print has the two shares the wrong way round:
  with it a sample at the centre of a bin counts in the next one only.)

  Returns:
    j and the share, both (…, n).
  """
  centres = 0.5 * (edges[..., :-1] + edges[..., 1:])
  below = count_below(centres, s)
  low = jnp.concatenate([centres[..., :1], centres], -1)
  high = jnp.concatenate([centres, centres[..., -1:]], -1)
  left, right = _take(low, below), _take(high, below)
  width = right - left
  part = jnp.where(width > 0, (s - left) / jnp.where(width > 0, width, 1), 0.0)
  part = jnp.where(below == 0, 1.0, part)
  return below - 1, part


def _take(table: jax.Array, index: jax.Array) -> jax.Array:
  """table[…, index] for (B,) or (…, B) and (…, n)."""
  return jnp.vectorize(lambda t, i: t[i], signature="(b),(n)->(n)")(table, index)

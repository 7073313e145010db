"""Two formulas as they are in print, where they differ from what the text describes."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lib.metrics import binning


def adaptive_edges(s: jax.Array, bins: int) -> jax.Array:
  """Definition 4 with its index N/i: the thresholds s_(N/B), …, s_(N/3), s_(N/2).

  In print they fall with i; here they are in order, with 0 and 1 at the ends. The last bin has
  half of the samples, the one before a sixth.
  """
  ordered = jnp.sort(s, -1)
  inner = ordered[..., jnp.array([s.shape[-1] // i for i in range(bins, 1, -1)], jnp.int32)]
  ends = jnp.zeros((*s.shape[:-1], 1), s.dtype)
  return jnp.concatenate([ends, inner, ends + 1], -1)


def convex_ece(s: jax.Array, h: jax.Array, edges: jax.Array) -> jax.Array:
  """Eq. 1 with the convex mapping of definition 5 as printed.

  Between c_j and c_{j+1} it gives bin j the share (s − c_j)/(c_{j+1} − c_j) and bin j + 1 the
  rest: a sample is counted in the bin that it is far from.
  """
  bins = edges.shape[-1] - 1
  below, share = binning.convex_share(s, edges)
  inside = (below >= 0) & (below < bins - 1)
  share = jnp.where(inside, 1 - share, share)
  gap = h - s
  lower, upper = jnp.maximum(below, 0), jnp.minimum(below + 1, bins - 1)
  sums = binning.accumulate(lower, gap * (1 - share), bins)
  sums += binning.accumulate(upper, gap * share, bins)
  return jnp.abs(sums).sum(-1) / s.shape[-1]

"""k-means with a number of clusters that may be traced, and silhouettes.

Clusters are padded to a static largest number, so that one compiled program serves every k: a
`vmap` over k chooses the best.
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import lax


class Clusters(NamedTuple):
  """A clustering by nearest centres.

  Attributes:
    centres: (largest, d); those from `k` on are padding, at infinity.
    k: how many there are.
    inertia: Σ_i ‖x_i − its centre‖² of the points it was fitted to.
  """

  centres: jax.Array
  k: jax.Array
  inertia: jax.Array

  def __call__(self, x):
    """Index of the nearest centre, (n, d) -> (n,) int32."""
    return _squared(x, self.centres).argmin(1).astype(jnp.int32)


def _squared(x, centres):
  """‖x_i − c_k‖², infinite for padded centres, (n, largest)."""
  finite = jnp.isfinite(centres[:, 0])
  c = jnp.where(finite[:, None], centres, 0.0)
  squared = jnp.sum(jnp.square(x[:, None] - c), -1)
  return jnp.where(finite, squared, jnp.inf)


def _plus_plus(uniform, x, k):
  """Arthur and Vassilvitskii (2007): each further centre is drawn ∝ squared distance."""

  def draw(carry, share_and_number):
    least, centres = carry
    share, number = share_and_number
    weights = jnp.where(jnp.isfinite(least), least, 1.0)  # uniform for the first
    total = weights.sum()
    weights = jnp.where(total > 0, weights, 1.0)  # all points are centres
    cumulative = jnp.cumsum(weights)
    chosen = jnp.searchsorted(cumulative, share * cumulative[-1])
    point = x[jnp.minimum(chosen, len(x) - 1)]
    used = number < k
    centres = centres.at[number].set(jnp.where(used, point, jnp.inf))
    least = jnp.where(used, jnp.minimum(least, jnp.sum(jnp.square(x - point), 1)), least)
    return (least, centres), None

  start = jnp.full(len(x), jnp.inf), jnp.full((len(uniform), x.shape[1]), jnp.inf)
  numbered = uniform, jnp.arange(len(uniform))
  return lax.scan(draw, start, numbered)[0][1]


def kmeans(key, x, k, *, largest: int, iterations: int = 30, restarts: int = 4) -> Clusters:
  """k-means by Lloyd's iteration from k-means++ centres, the best of several starts.

      c_j ← mean of the points nearest to c_j, and c_j as it was where there are none

  Args:
    key: of the starts.
    x: (n, d) points.
    k: number of clusters, 1 ≤ k ≤ largest; may be traced.
    largest: static number of rows of the result.
    iterations: of Lloyd's, all of which are done.
    restarts: starts, of which the one with the least inertia is kept.
  """
  chex.assert_rank(x, 2)
  return _kmeans(jax.random.uniform(key, (restarts, largest)), x, k, iterations)


def _kmeans(uniform, x, k, iterations):
  """`kmeans` with the numbers that its starts need, (restarts, largest) in [0, 1)."""
  largest = uniform.shape[1]

  def lloyd(_, centres):
    member = jax.nn.one_hot(_squared(x, centres).argmin(1), largest, dtype=x.dtype)
    size = member.sum(0)[:, None]
    return jnp.where(size > 0, (member.T @ x) / jnp.maximum(size, 1), centres)

  def attempt(uniform):
    centres = lax.fori_loop(0, iterations, lloyd, _plus_plus(uniform, x, k))
    return Clusters(centres, jnp.asarray(k), _squared(x, centres).min(1).sum())

  found = jax.vmap(attempt)(uniform)
  best = found.inertia.argmin()
  return jax.tree.map(lambda leaf: leaf[best], found)


def silhouettes(x, labels, largest: int) -> jax.Array:
  """s_i = (b_i − a_i) / max(a_i, b_i) of every point: Rousseeuw (1987).

  a_i is the mean distance to the other points of its cluster, b_i the least mean distance to
  those of another cluster; s_i = 0 where it is alone. With a single cluster all are 0, where
  scikit-learn raises.

  Args:
    x: (n, d) points; takes n² distances.
    labels: (n,) in 0..largest-1, not all of which need occur.
    largest: static bound of their number.
  """
  chex.assert_rank([x, labels], [2, 1])
  squared = jnp.sum(jnp.square(x[:, None] - x), -1)
  return _silhouettes(jnp.sqrt(squared), labels, largest)


def _silhouettes(distances, labels, largest):
  member = jax.nn.one_hot(labels, largest, dtype=distances.dtype)
  size = member.sum(0)
  sums = distances @ member  # (n, largest)
  own = member > 0
  inside = jnp.sum(jnp.where(own, sums, 0.0), 1)
  count = member @ size
  a = inside / jnp.maximum(count - 1, 1)
  others = jnp.where(own | (size == 0), jnp.inf, sums / jnp.maximum(size, 1))
  b = others.min(1)
  scale = jnp.maximum(a, b)
  defined = (count > 1) & jnp.isfinite(b) & (scale > 0)
  return jnp.where(defined, (b - a) / jnp.where(defined, scale, 1.0), 0.0)


class Choice(NamedTuple):
  """The k with the best silhouette: its clusters, that score, and all scores (ks,)."""

  clusters: Clusters
  silhouette: jax.Array
  scores: jax.Array


def choose_kmeans(
  key,
  x,
  *,
  least: int = 2,
  largest: int = 20,
  sample: int = 1000,
  iterations: int = 30,
  restarts: int = 4,
) -> Choice:
  """k-means for every k from `least` to `largest`; kept is the one with the best silhouette.

  Args:
    key: of the starts; the points are taken to be in random order.
    x: (n, d) points.
    least, largest: of k.
    sample: the silhouette is that of the first so many points, all of which are clustered.
    iterations, restarts: of `kmeans`.

  Raises:
    ValueError: `least` is not in 2..largest.
  """
  if not 2 <= least <= largest:
    raise ValueError(f"k from {least} to {largest}: a silhouette needs two clusters")
  ks = jnp.arange(least, largest + 1)
  shown = x[:sample]
  distances = jnp.sqrt(jnp.sum(jnp.square(shown[:, None] - shown), -1))

  uniform = jax.random.uniform(key, (len(ks), restarts, largest))

  def one(k_and_uniform):
    k, uniform = k_and_uniform
    found = _kmeans(uniform, x, k, iterations)
    return found, _silhouettes(distances, found(shown), largest).mean()

  found, scores = lax.map(one, (ks, uniform))
  best = scores.argmax()
  return Choice(jax.tree.map(lambda leaf: leaf[best], found), scores[best], scores)

"""Nearest neighbours by brute force, and Deep k-Nearest Neighbours."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
from jax import lax

_BLOCK = 500  # queries compared with all points at once


def in_blocks(function, x, block: int):
  """`function` of `block` rows at a time, (n, …) -> its rows stacked; n need not divide."""
  n = len(x)
  block = min(block, n)
  missing = -n % block
  padded = jnp.concatenate([x, jnp.broadcast_to(x[-1:], (missing, *x.shape[1:]))])
  found = lax.map(function, padded.reshape(-1, block, *x.shape[1:]))
  return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:n], found)


def nearest(queries, points, k: int, *, exclude_self: bool = False, exact: bool = True):
  """The k nearest points of every query in the Euclidean distance, the nearest first.

  ‖q − p‖² = ‖q‖² − 2⟨q, p⟩ + ‖p‖² as one matrix product a block of queries, then a partial
  sort. That form loses digits where the distance is small against the norms.

  Args:
    queries: (q, d).
    points: (n, d).
    k: at most n, with `exclude_self` n − 1.
    exclude_self: queries are the points themselves, none of which is its own neighbour.
    exact: take the distances of the k anew from the differences, q · k · d operations.

  Returns:
    (distances (q, k), indices (q, k) int32).

  Raises:
    ValueError: there are not so many points.
  """
  chex.assert_rank([queries, points], 2)
  if not 1 <= k <= len(points) - exclude_self:
    raise ValueError(f"{k} neighbours of {len(points)} points")
  norms = jnp.sum(jnp.square(points), 1)

  def of_block(rows):
    x = queries[rows]
    squared = jnp.sum(jnp.square(x), 1)[:, None] - 2 * x @ points.T + norms
    if exclude_self:
      squared = jnp.where(rows[:, None] == jnp.arange(len(points)), jnp.inf, squared)
    negative, index = lax.top_k(-squared, k)
    if not exact:
      return jnp.sqrt(jnp.maximum(-negative, 0.0)), index
    distance = jnp.sqrt(jnp.sum(jnp.square(x[:, None] - points[index]), -1))
    order = jnp.argsort(distance, axis=1)
    return tuple(jnp.take_along_axis(a, order, 1) for a in (distance, index))

  return in_blocks(of_block, jnp.arange(len(queries)), _BLOCK)


def nonconformity(neighbours, labels, classes: int) -> jax.Array:
  """α(x, j) = Σ_λ |{i ∈ Ω_λ(x): y_i ≠ j}|, (q, classes): DkNN's eq. 2.

  Papernot and McDaniel (2018), *Deep k-Nearest Neighbors: Towards Confident, Interpretable and
  Robust Deep Learning*.

  Args:
    neighbours: (layers, q, k) indices Ω_λ of the training examples nearest at each layer.
    labels: (n,) classes of the training examples.
    classes: their number.
  """
  chex.assert_rank(neighbours, 3)
  agree = jnp.sum(labels[neighbours][..., None] == jnp.arange(classes), (0, 2))
  return neighbours.shape[0] * neighbours.shape[2] - agree


def credibility(nonconformities, calibration) -> tuple[jax.Array, jax.Array]:
  """DkNN's prediction and its credibility, algorithm 1 of Papernot and McDaniel (2018).

      p_j(x) = |{α ∈ A: α ≥ α(x, j)}| / |A|,  prediction argmax_j p_j, credibility max_j p_j

  A ties among classes goes to the one with the smaller nonconformity.

  Args:
    nonconformities: (q, classes), see `nonconformity`.
    calibration: (m,) nonconformities A of held-out examples with their true labels.

  Returns:
    (predictions (q,) int32, credibilities (q,) in [0, 1]).
  """
  chex.assert_rank([nonconformities, calibration], [2, 1])
  ordered = jnp.sort(calibration)
  below = jnp.searchsorted(ordered, nonconformities, side="left")
  p = 1 - below / len(calibration)
  return nonconformities.argmin(1).astype(jnp.int32), p.max(1)

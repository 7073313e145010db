"""UMAP: fit and transform as pure functions that can be jitted and vmapped.

McInnes, Healy and Melville (2018), *UMAP: Uniform Manifold Approximation and Projection for
Dimension Reduction*. Where the article leaves a choice, that of the package umap-learn is
taken. The package itself compiles on the host at import and at the first call, and cannot be
vmapped over networks and layers.

The gradient steps differ from the package's in their order: it goes through the edges one by
one, here the edges of all points to their c-th neighbour move at once, one c after the other.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import lax

from lib.representations import neighbours

_BISECTIONS = 48
_CLIP = 4.0  # of every coordinate of an edge's gradient


class UMAP(NamedTuple):
  """A fitted embedding: what `transform` needs, which includes all training examples.

  Attributes:
    points: (n, d) training examples.
    embedding: (n, 2) where they went.
  """

  points: jax.Array
  embedding: jax.Array


@functools.cache
def curve(min_dist: float = 0.1, spread: float = 1.0) -> tuple[float, float]:
  """a, b of 1 / (1 + a d^{2b}), fitted to 1 up to min_dist and exp(−(d − min_dist)/spread) on.

  The fit is by least squares at 300 distances up to 3 · spread, on the host.
  """
  import numpy as np
  from scipy import optimize

  d = np.linspace(0, 3 * spread, 300)
  wanted = np.where(d < min_dist, 1.0, np.exp(-(d - min_dist) / spread))
  (a, b), _ = optimize.curve_fit(lambda d, a, b: 1 / (1 + a * d ** (2 * b)), d, wanted)
  return float(a), float(b)


def memberships(distances, total: float, *, connected: bool = True) -> jax.Array:
  """p_ij = exp(−max(d_ij − ρ_i, 0) / σ_i) with Σ_j p_ij = `total`, by bisection, (n, k).

  ρ_i is the least distance that is not 0, and σ_i at least a thousandth of the mean distance.

  Args:
    distances: (n, k) to the neighbours.
    total: log2 of the number of neighbours.
    connected: ρ_i as above; otherwise ρ = 0, as for points that were not in the fit.
  """
  positive = jnp.where(distances > 0, distances, jnp.inf).min(1, keepdims=True)
  rho = jnp.where(jnp.isfinite(positive), positive, 0.0) * connected
  beyond = jnp.maximum(distances - rho, 0.0)

  def halve(_, bounds):
    low, high, sigma = bounds
    more = jnp.sum(jnp.exp(-beyond / sigma), 1, keepdims=True) > total
    low, high = jnp.where(more, low, sigma), jnp.where(more, sigma, high)
    middle = jnp.where(jnp.isfinite(high), (low + high) / 2, 2 * sigma)
    return low, high, middle

  start = jnp.zeros_like(rho), jnp.full_like(rho, jnp.inf), jnp.ones_like(rho)
  sigma = lax.fori_loop(0, _BISECTIONS, halve, start)[2]
  least = jnp.where(rho > 0, distances.mean(1, keepdims=True), distances.mean())
  sigma = jnp.maximum(sigma, 1e-3 * jnp.maximum(least, 1e-30))
  return jnp.exp(-beyond / sigma)


def symmetric(p, index) -> tuple[jax.Array, jax.Array]:
  """p_ij + p_ji − p_ij p_ji of the edges i -> index[i], and whether j has i too, (n, k)."""
  there = index[index] == jnp.arange(len(index))[:, None, None]  # (n, k, k)
  back = jnp.sum(jnp.where(there, p[index], 0.0), -1)
  return p + back - p * back, there.any(-1)


def _squared(difference):
  return jnp.sum(jnp.square(difference), -1, keepdims=True)


def _attraction(difference, a, b):
  """Towards the other end: −2ab d^{2(b−1)} / (1 + a d^{2b}) (y_i − y_j), clipped."""
  squared = _squared(difference)
  safe = jnp.where(squared > 0, squared, 1.0)
  power = safe**b
  factor = jnp.where(squared > 0, -2 * a * b * power / safe / (1 + a * power), 0.0)
  return jnp.clip(factor * difference, -_CLIP, _CLIP)


def _repulsion(difference, a, b):
  """Away from a point that was drawn: 2b / ((0.001 + d²)(1 + a d^{2b})) (y_i − y_j)."""
  squared = _squared(difference)
  safe = jnp.where(squared > 0, squared, 1.0)
  factor = jnp.where(squared > 0, 2 * b / ((1e-3 + safe) * (1 + a * safe**b)), 0.0)
  return jnp.clip(factor * difference, -_CLIP, _CLIP)


def _due(weight, epoch, phase=0.0):
  """Whether an edge is used in this epoch: floor(weight · epoch) times until then."""
  return jnp.floor(weight * (epoch + 1) + phase) > jnp.floor(weight * epoch + phase)


class Graph(NamedTuple):
  """Edges from each point to its k nearest others, (n, k) each.

  Attributes:
    index: the other end.
    weight: symmetric membership over the largest one; 0 where it would never be used.
    mutual: whether the other end has the edge too.
  """

  index: jax.Array
  weight: jax.Array
  mutual: jax.Array


def graph(x, *, n_neighbors: int = 15, epochs: int = 200) -> Graph:
  """The neighbourhood graph of (n, d) points in random order.

  Args:
    x: (n, d).
    n_neighbors: of a point, itself among them as in umap-learn.
    epochs: that the layout will have.
  """
  import math

  distance, index = neighbours.nearest(x, x, n_neighbors - 1, exclude_self=True)
  p = memberships(distance, math.log2(n_neighbors))
  weight, mutual = symmetric(p, index)
  weight = weight / weight.max()
  return Graph(index, jnp.where(weight < 1 / epochs, 0.0, weight), mutual)


def initial(key, x) -> jax.Array:
  """The first two principal components x scaled to ±10, with a little noise."""
  y = x[:, :2]
  y = 10 * y / jnp.maximum(jnp.abs(y).max(), 1e-12)
  return y + 1e-4 * jax.random.normal(key, y.shape)


def epoch(
  y, edges: Graph, number, shifts, *, epochs: int, a, b, rate: float = 1.0
) -> jax.Array:
  """One epoch of the layout, (n, 2) -> (n, 2).

  Each edge is used with a frequency in proportion to its weight, in both of its directions;
  each use pulls its two ends together and pushes its first end away from some random points.
  Those of point i are at i + s modulo n, with shifts s that all points share. The step falls
  linearly to 0.

  Args:
    y: the layout.
    edges: see `graph`.
    number: of the epoch, from 0.
    shifts: (k, negatives) uniform in 1..n-1, of the negative samples of a use of an edge.
    epochs: how many there will be.
    a, b: see `curve`.
    rate: the first step.
  """
  n, k = edges.index.shape
  step = rate * (1 - number / epochs)
  # An edge that only one end has among its neighbours is walked back by its reverse, half a
  # period and half of the columns later, so that the two do not overshoot together.
  reverse = jnp.where(edges.mutual, 0.0, edges.weight)
  half = k // 2
  columns = (
    edges.index.T,
    _due(edges.weight, number).T,
    jnp.roll(edges.index.T, half, 0),
    jnp.roll(_due(reverse, number, 0.5).T, half, 0),
    shifts,
  )

  def column(y, edges):
    there, due, back, back_due, moved = edges
    pull = _attraction(y - y[there], a, b) * due[:, None]
    drawn = _attraction(y - y[back], a, b) * back_due[:, None]
    uses = jnp.stack([drawn[:, 0], drawn[:, 1], -back_due.astype(y.dtype)], 1)
    arrived = jnp.zeros((n, 3)).at[there].add(jnp.pad(pull, ((0, 0), (0, 1))))
    arrived = arrived.at[back].add(uses)
    twice = jnp.concatenate([y, y])
    others = jax.vmap(lambda s: lax.dynamic_slice_in_dim(twice, s, n))(moved)
    push = _repulsion(y - others, a, b).sum(0)
    count = due[:, None] - arrived[:, 2:]
    return y + step * (pull + drawn - arrived[:, :2] + count * push), None

  return lax.scan(column, y, columns)[0]


def fit(
  key,
  x,
  *,
  n_neighbors: int = 15,
  min_dist: float = 0.1,
  epochs: int = 200,
  negatives: int = 5,
) -> UMAP:
  """An embedding of (n, d) points in the plane.

  Args:
    key: of the initial noise and of negative samples.
    x: (n, d) in random order, principal components by decreasing variance.
    n_neighbors, epochs: see `graph`.
    min_dist: see `curve`.
    negatives: points that a use of an edge pushes its first end away from.
  """
  chex.assert_rank(x, 2)
  a, b = curve(min_dist)
  start_key, key = jax.random.split(key)
  edges = graph(x, n_neighbors=n_neighbors, epochs=epochs)
  shifts = jax.random.randint(key, (epochs, n_neighbors - 1, negatives), 1, len(x))

  def body(i, y):
    return epoch(y, edges, i, shifts[i], epochs=epochs, a=a, b=b)

  return UMAP(x, lax.fori_loop(0, epochs, body, initial(start_key, x)))


def transform(
  key,
  fitted: UMAP,
  x,
  *,
  n_neighbors: int = 15,
  min_dist: float = 0.1,
  epochs: int = 30,
  negatives: int = 5,
  rate: float = 0.25,
) -> jax.Array:
  """Where new points belong in a fitted embedding, (q, d) -> (q, 2).

  Each starts at the mean of its neighbours' places weighted by its memberships, and moves by
  the same forces with the training examples at rest. A point's place depends neither on the
  other new points nor on their number.

  Args:
    key: of the negative samples, which all new points share.
    fitted: see `fit`.
    x: (q, d).
    n_neighbors: among the training examples.
    min_dist: see `curve`.
    epochs: of the layout of the new points.
    negatives: as for `fit`.
    rate: the first step.
  """
  import math

  a, b = curve(min_dist)
  distance, index = neighbours.nearest(x, fitted.points, n_neighbors)
  p = memberships(distance, math.log2(n_neighbors), connected=False)
  places = fitted.embedding[index]  # (q, k, 2)
  y = jnp.sum(p[..., None] * places, 1) / p.sum(1, keepdims=True)
  weight = p / p.max(1, keepdims=True)
  weight = jnp.where(weight < 1 / epochs, 0.0, weight)

  drawn = jax.random.randint(key, (epochs, n_neighbors, negatives), 0, len(fitted.points))

  def body(i, y):
    step = rate * (1 - i / epochs)

    def column(y, edge):
      place, due, others = edge
      push = _repulsion(y - fitted.embedding[others][:, None], a, b).sum(0)
      return y + step * due[:, None] * (_attraction(y - place, a, b) + push), None

    edges = places.transpose(1, 0, 2), _due(weight, i).T, drawn[i]
    return lax.scan(column, y, edges)[0]

  return lax.fori_loop(0, epochs, body, y)

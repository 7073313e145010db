"""Pareto dominance, fronts and crowding (Deb et al., NSGA-II, 2002); objectives are minimised.

An objective that is the same for all points decides nothing, so that a search over some of the
objectives is one in which the others are set to zero.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def dominates(a, b):
  """Whether a is nowhere worse than b and somewhere better: (…, m), (…, m) -> (…) bool."""
  return jnp.all(a <= b, -1) & jnp.any(a < b, -1)


def non_dominated(objectives):
  """Which points no other dominates, (n, m) -> (n,) bool. Equal points do not dominate."""
  chex.assert_rank(objectives, 2)
  return ~jnp.any(dominates(objectives[:, None], objectives[None]), 0)


def front_rank(objectives):
  """The front of every point: 0 for those that none dominates, and so on once they are
  removed.

  The front is the length of the longest chain of points that dominate each other and end in
  this one, rank_i = max_{j dominates i} rank_j + 1. Whoever dominates precedes in
  lexicographic order, so one pass over the points in that order has it: n steps on n numbers
  after the n × n table, whatever the number of fronts (a loop that peels off the fronts takes
  as many steps on the whole table, under vmap as many as the worst member).

  Args:
    objectives: (n, m) finite or infinite, not NaN.

  Returns:
    (n,) int32.
  """
  chex.assert_rank(objectives, 2)
  n, m = objectives.shape
  order = jnp.lexsort([objectives[:, k] for k in reversed(range(m))])
  sorted_ = objectives[order]
  above = dominates(sorted_[:, None], sorted_[None])  # [j, i]: j dominates i

  def place(i, rank):
    found = jnp.max(jnp.where(above[:, i], rank + 1, 0))
    return rank.at[i].set(found)

  rank = lax.fori_loop(0, n, place, jnp.zeros(n, jnp.int32))
  return rank[jnp.argsort(order)]


def crowding_distance(objectives, rank):
  """Σ_m (f_m(next) − f_m(previous)) / (f_m^max − f_m^min) among the points of one's own front.

  The first and the last of a front in any objective have an infinite distance. An objective
  that does not vary within a front counts for nothing there.

  Args:
    objectives: (n, m), finite.
    rank: (n,) front of each point.

  Returns:
    (n,).
  """
  chex.assert_rank(objectives, 2)
  same = rank[:, None] == rank[None]
  edge = jnp.zeros(1, bool)

  def one(f):
    high = jnp.max(jnp.where(same, f[None], -jnp.inf), 1)
    low = jnp.min(jnp.where(same, f[None], jnp.inf), 1)
    order = jnp.lexsort((f, rank))
    value, front, spread = f[order], rank[order], (high - low)[order]
    together = front[1:] == front[:-1]
    inside = jnp.concatenate([edge, together]) & jnp.concatenate([together, edge])
    gap = jnp.append(value[1:], value[-1]) - jnp.append(value[0], value[:-1])
    distance = jnp.where(inside, gap / jnp.where(spread > 0, spread, 1.0), jnp.inf)
    return jnp.where(spread > 0, distance, 0.0)[jnp.argsort(order)]

  return jax.vmap(one, in_axes=1)(objectives).sum(0)


def pareto_front(objectives) -> np.ndarray:
  """The different non-dominated points of a large set, (n, m) -> (k, m); on the host.

  In lexicographic order a point can be dominated by earlier ones only, so that each block is
  compared with the front so far and with itself.
  """
  points = np.unique(np.asarray(objectives).reshape(-1, np.shape(objectives)[-1]), axis=0)
  front = points[:0]
  for start in range(0, len(points), 256):
    block = np.concatenate([front, points[start : start + 256]])
    no_worse = (block[:, None] <= block[None]).all(-1)
    np.fill_diagonal(no_worse, False)  # all are different: no worse is better somewhere
    front = block[~no_worse.any(0)]
  return front

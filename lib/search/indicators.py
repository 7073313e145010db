"""Quality of a set of points in the space of objectives, which are minimised.

Put objectives that have different units on a common scale first.
"""

import chex
import jax.numpy as jnp
from jax import lax


def hypervolume(points, reference):
  """Volume of what the points dominate, up to the reference point (Zitzler and Thiele, 1999).

  Exact for one, two and three objectives. In three, slabs of equal third objective: within
  each the area under the staircase of all points that reach into it, O(n²) altogether. A point
  that is not better than the reference in every objective adds nothing.

  Args:
    points: (n, m), m ≤ 3, dominated ones too.
    reference: (m,), worse than what should count.

  Returns:
    A number, in the product of the objectives' units.

  Raises:
    ValueError: for more than three objectives.
  """
  chex.assert_rank([points, reference], [2, 1])
  m = points.shape[1]
  chex.assert_shape(reference, (m,))
  if m > 3:
    raise ValueError(f"exact for at most three objectives, not {m}")
  inside = jnp.all(points < reference, 1, keepdims=True)
  points = jnp.where(inside, points, reference)  # which adds a volume of zero
  if m == 1:
    return reference[0] - points[:, 0].min()
  order = jnp.argsort(points[:, 0])
  x, y = points[order, 0], points[order, 1]
  widths = jnp.append(x[1:], reference[0]) - x
  if m == 2:
    return jnp.sum(widths * (reference[1] - lax.cummin(y)))
  z = points[order, 2]
  levels = jnp.sort(z)
  heights = jnp.append(levels[1:], reference[2]) - levels
  present = z[None] <= levels[:, None]  # [slab, point]
  stairs = lax.cummin(jnp.where(present, y[None], reference[1]), axis=1)
  return jnp.sum(heights * jnp.sum(widths * (reference[1] - stairs), 1))


def spacing(points):
  """√(Σ_i (d̄ − d_i)² / (n − 1)), d_i = min_j Σ_m |f_m(i) − f_m(j)| (Schott, 1995).

  How uneven the distances to the nearest neighbours are: 0 for an even spread, whatever its
  extent. (n, m) -> number.
  """
  chex.assert_rank(points, 2)
  distance = jnp.abs(points[:, None] - points[None]).sum(-1)
  nearest = jnp.min(jnp.where(jnp.eye(len(points), dtype=bool), jnp.inf, distance), 1)
  return jnp.std(nearest, ddof=1)


def pure_diversity(points, power: float = 0.1):
  """Pure diversity (Wang, Jin and Yao, 2017): dissimilarities along a tree over the points.

  PD(X) = max_i [PD(X without i) + min_j d(i, j)], d(i, j) = (Σ_m |f_m(i) − f_m(j)|^p)^{1/p}
  with p = 0.1, by the authors' greedy search: of all points not yet used take the one whose
  nearest neighbour is farthest; if the two are connected already, forget their distance and
  look again; otherwise connect them and add the distance. That ends with a tree of n − 1
  edges. Near duplicates add next to nothing, so that this is about how many different points
  there are.

  Args:
    points: (n, m), n ≥ 2.
    power: p > 0.

  Returns:
    A number.
  """
  chex.assert_rank(points, 2)
  n = len(points)
  distance = jnp.sum(jnp.abs(points[:, None] - points[None]) ** power, -1) ** (1 / power)
  distance = jnp.where(jnp.eye(n, dtype=bool), jnp.inf, distance)

  def search(state):
    distance, component, used, edges, total = state
    nearest, index = distance.min(1), distance.argmin(1)
    i = jnp.argmax(jnp.where(used, -jnp.inf, nearest))
    j = index[i]
    new = component[i] != component[j]
    merged = jnp.where(component == component[j], component[i], component)
    return (
      distance.at[i, j].set(jnp.inf).at[j, i].set(jnp.inf),
      jnp.where(new, merged, component),
      used.at[i].set(used[i] | new),
      edges + new,
      total + jnp.where(new, nearest[i], 0.0),
    )

  start = (
    distance,
    jnp.arange(n),
    jnp.zeros(n, bool),
    jnp.zeros([], jnp.int32),
    jnp.zeros([], distance.dtype),
  )
  return lax.while_loop(lambda state: state[3] < n - 1, search, start)[-1]

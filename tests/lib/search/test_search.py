"""NSGA-II and the indicators against slow obvious versions, hand-computed cases and limits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lib import search

# few different values, so that there are ties and duplicates
POINTS = arrays.arrays(
  np.float32, (9, 3), elements=st.integers(0, 4).map(float), fill=st.nothing()
)


# compiled as a whole: op by op the first call of each takes seconds
front_rank, non_dominated = jax.jit(search.front_rank), jax.jit(search.non_dominated)
crowding_distance, hypervolume = jax.jit(search.crowding_distance), jax.jit(search.hypervolume)
survivors = jax.jit(search.survivors, static_argnums=2)


def peeled(points):
  """Fronts as in the paper: what no other point dominates is taken away, again and again."""
  rank, left, front = np.zeros(len(points), int), set(range(len(points))), 0
  while left:
    best = {
      i
      for i in left
      if not any(
        (points[j] <= points[i]).all() and (points[j] < points[i]).any() for j in left
      )
    }
    for i in best:
      rank[i] = front
    left -= best
    front += 1
  return rank


@settings(deadline=None, max_examples=60)
@given(POINTS)
def test_fronts_are_those_of_peeling(points):
  rank = peeled(points)
  np.testing.assert_array_equal(front_rank(points), rank)
  np.testing.assert_array_equal(non_dominated(points), rank == 0)
  expected = np.unique(points[rank == 0], axis=0)
  np.testing.assert_array_equal(search.pareto_front(points), expected)


def test_the_front_of_many_points_goes_through_blocks():
  points = np.random.default_rng(0).normal(size=(700, 2))
  front = search.pareto_front(points)
  np.testing.assert_array_equal(front, np.unique(points[peeled(points) == 0], axis=0))


def test_dominates_by_hand():
  assert bool(search.dominates(jnp.array([1.0, 2.0]), jnp.array([1.0, 3.0])))
  assert not bool(search.dominates(jnp.array([1.0, 2.0]), jnp.array([1.0, 2.0])))
  assert not bool(search.dominates(jnp.array([0.0, 9.0]), jnp.array([1.0, 2.0])))


def slow_crowding(points, rank):
  distance = np.zeros(len(points))
  for front in set(rank.tolist()):
    members = np.flatnonzero(rank == front)
    for f in points[members].T:
      order = np.argsort(f)
      spread = f[order[-1]] - f[order[0]]
      if spread == 0:
        continue
      distance[members[order[[0, -1]]]] = np.inf
      for k in range(1, len(members) - 1):
        distance[members[order[k]]] += (f[order[k + 1]] - f[order[k - 1]]) / spread
  return distance


def test_crowding_distance_against_the_loop_and_by_hand():
  points = np.random.default_rng(1).normal(size=(30, 3)).astype(np.float32)
  rank = peeled(points)
  found = crowding_distance(jnp.asarray(points), jnp.asarray(rank))
  np.testing.assert_allclose(found, slow_crowding(points, rank), rtol=1e-5)
  line = jnp.array([[0.0, 4.0], [1.0, 3.0], [3.0, 1.0], [4.0, 0.0]])
  np.testing.assert_allclose(
    crowding_distance(line, jnp.zeros(4, jnp.int32)), [np.inf, 1.5, 1.5, np.inf]
  )


def test_an_objective_that_is_the_same_for_all_decides_nothing():
  points = jax.random.normal(jax.random.key(0), (20, 2))
  padded = jnp.insert(points, 1, 0.0, axis=1)
  rank = front_rank(points)
  np.testing.assert_array_equal(rank, front_rank(padded))
  np.testing.assert_array_equal(
    crowding_distance(points, rank), crowding_distance(padded, rank)
  )


def inclusion_exclusion(points, reference):
  """Volume of a union of boxes, over all subsets."""
  total = 0.0
  for size in range(1, len(points) + 1):
    for subset in itertools.combinations(points, size):
      sides = np.maximum(reference - np.max(subset, 0), 0)
      total += (-1) ** (size + 1) * np.prod(sides)
  return total


@pytest.mark.parametrize("m", [1, 2, 3])
def test_hypervolume_is_that_of_the_union_of_boxes(m):
  rng = np.random.default_rng(m)
  for trial in range(20):
    points = rng.uniform(0, 1.3, (7, m))
    if trial % 2:
      points = points.round(1)  # ties
    expected = inclusion_exclusion(points, np.full(m, 1.1))
    found = hypervolume(points.astype(np.float32), np.full(m, 1.1, np.float32))
    assert found == pytest.approx(expected, abs=1e-5)


def test_hypervolume_by_hand_and_its_limits():
  reference = jnp.full(3, 1.1)
  assert hypervolume(jnp.zeros((1, 3)), reference) == pytest.approx(1.331, rel=1e-6)
  assert hypervolume(jnp.full((4, 3), 2.0), reference) == 0
  two = jnp.array([[0.0, 1.0], [1.0, 0.0]])  # 2 · 2 − 1 · 1
  assert hypervolume(two, jnp.full(2, 2.0)) == pytest.approx(3.0)
  points = jax.random.uniform(jax.random.key(0), (5, 12, 3))
  batched = jax.jit(jax.vmap(search.hypervolume, (0, None)))(points, reference)
  alone = [hypervolume(p, reference) for p in points]
  np.testing.assert_allclose(batched, alone, rtol=1e-5)
  worse = jnp.concatenate([points[0], points[0] + 0.05])  # dominated points add nothing
  assert hypervolume(worse, reference) == pytest.approx(float(alone[0]), rel=1e-5)
  with pytest.raises(ValueError, match="three"):
    hypervolume(jnp.zeros((2, 4)), jnp.ones(4))


def test_spacing_by_hand():
  even = jnp.stack([jnp.arange(5.0), -jnp.arange(5.0)], 1)
  assert search.spacing(even) == 0
  uneven = jnp.array([[0.0, 0.0], [1.0, 0.0], [1.0, 3.0]])  # nearest: 1, 1, 3
  assert search.spacing(uneven) == pytest.approx(np.std([1, 1, 3], ddof=1), rel=1e-6)


def slow_diversity(points, power=0.1):
  """The greedy search with lists, and connections looked up along the edges."""
  n = len(points)
  distance = (np.abs(points[:, None] - points[None]) ** power).sum(-1) ** (1 / power)
  np.fill_diagonal(distance, np.inf)
  edges, used, total = {i: set() for i in range(n)}, set(), 0.0

  def connected(i, j):
    seen, stack = {i}, [i]
    while stack:
      for other in edges[stack.pop()] - seen:
        seen.add(other)
        stack.append(other)
    return j in seen

  while sum(map(len, edges.values())) < 2 * (n - 1):
    i = max((k for k in range(n) if k not in used), key=lambda k: distance[k].min())
    j, nearest = int(distance[i].argmin()), distance[i].min()
    new = not connected(i, j)
    distance[i, j] = distance[j, i] = np.inf
    if new:
      edges[i].add(j)
      edges[j].add(i)
      used.add(i)
      total += nearest
  return total


def test_pure_diversity_against_the_slow_search():
  rng = np.random.default_rng(3)
  for _ in range(5):
    points = rng.uniform(size=(11, 3))
    with jax.enable_x64(True):
      found = float(search.pure_diversity(jnp.asarray(points)))
    assert found == pytest.approx(slow_diversity(points), rel=1e-9)
  # two points: their dissimilarity; a third that is a duplicate adds nothing
  two = jnp.array([[0.0, 0.0], [1.0, 1.0]])
  assert search.pure_diversity(two) == pytest.approx(2**10, rel=1e-4)
  assert search.pure_diversity(two[jnp.array([0, 1, 1])]) == pytest.approx(2**10, rel=1e-4)
  batch = jax.random.uniform(jax.random.key(0), (3, 8, 3))
  np.testing.assert_allclose(
    jax.jit(jax.vmap(search.pure_diversity))(batch),
    [search.pure_diversity(p) for p in batch],
    rtol=1e-4,
  )


# --- NSGA-II ------------------------------------------------------------------------------


def test_survivors_are_the_best_by_front_and_then_by_crowding():
  line = [[0.0, 4.0], [0.1, 3.9], [1.0, 2.0], [4.0, 0.0]]
  objectives = jnp.array([[5.0, 5.0], *line, [9.0, 9.0]])
  kept, rank, crowding = survivors(jax.random.key(0), objectives, 4)
  # the ends are never crowded out; of the two inner points the less crowded comes first
  assert set(kept[:2].tolist()) == {1, 4} and kept[2:].tolist() == [3, 2]
  assert rank.tolist() == [0] * 4 and np.isinf(crowding[:2]).all()
  kept, rank, _ = survivors(jax.random.key(0), objectives, 6)
  assert kept[4:].tolist() == [0, 5] and rank[4:].tolist() == [1, 2]
  with pytest.raises(ValueError, match="survivors"):
    survivors(jax.random.key(0), objectives, 7)


def test_one_objective_keeps_the_lowest_and_a_diverged_model_is_the_worst():
  values = jnp.array([3.0, jnp.nan, 1.0, jnp.inf, 2.0])
  objectives = jnp.stack([values, jnp.zeros(5), jnp.zeros(5)], 1)
  kept, _, _ = survivors(jax.random.key(0), objectives, 3)
  assert kept.tolist() == [2, 4, 0]


def test_equals_stay_by_chance():
  kept = jax.jit(jax.vmap(lambda key: survivors(key, jnp.zeros((10, 2)), 5)[0]))(
    jax.random.split(jax.random.key(0), 400)
  )
  share = np.bincount(np.asarray(kept).ravel(), minlength=10) / 400
  assert np.all(np.abs(share - 0.5) < 5 * 0.025)


def test_tournaments_prefer_low_fronts_then_room():
  rank, crowding = jnp.array([0, 0, 1]), jnp.array([1.0, 2.0, 9.0])
  winners = np.asarray(search.tournament(jax.random.key(0), rank, crowding, 9000))
  share = np.bincount(winners, minlength=3) / 9000  # 1 wins unless not drawn: 1 − 4/9; 1/9
  np.testing.assert_allclose(share, [3 / 9, 5 / 9, 1 / 9], atol=0.03)


def vary(key, x):
  x = search.gaussian_mutation(key, x, 0.2)
  return x, jnp.stack([x["x"] ** 2, (x["x"] - 2) ** 2], 1)


def run(key, size=40, steps=80):
  x = {"x": jax.random.uniform(key, (size,), minval=-100, maxval=100)}
  state = search.nsga2_init(x, jnp.stack([x["x"] ** 2, (x["x"] - 2) ** 2], 1))
  return jax.lax.scan(
    lambda state, key: (search.nsga2_step(key, state, vary), None),
    state,
    jax.random.split(key, steps * 4),
  )[0]


def test_it_finds_and_spreads_over_a_known_front():
  """Schaffer's problem: x in [0, 2], √f_1 + √f_2 = 2, and its volume in closed form."""
  states = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 3))
  x = np.asarray(states.population["x"])
  assert x.min() > -0.1 and x.max() < 2.1
  volume = jax.jit(jax.vmap(search.hypervolume, (0, None)))(
    states.objectives, jnp.array([5.0, 5.0])
  )
  # ∫_0^4 (5 − (2 − √f)²) df, and the strip from 4 to 5 in which f_2 ≥ 0
  exact = 25 - 8 / 3
  assert np.all(volume > 0.985 * exact) and np.all(volume <= exact * (1 + 1e-6))
  np.testing.assert_allclose(
    states.objectives[..., 0], x**2, rtol=1e-5, atol=1e-6
  )  # the objectives stay with their individuals


def test_without_selection_offspring_replace_their_parents():
  x = {"x": jnp.arange(6.0)}
  state = search.nsga2_init(x, jnp.stack([x["x"], -x["x"]], 1))

  def later(key, x):
    del key
    return {"x": x["x"] + 100}, jnp.stack([x["x"], x["x"]], 1)

  after = jax.jit(lambda select: search.nsga2_step(jax.random.key(0), state, later, select))
  np.testing.assert_array_equal(after(False).population["x"], np.arange(6) + 100)
  assert not np.array_equal(after(True).population["x"], np.arange(6) + 100)
  fresh = search.nsga2_init(after(False).population, after(False).objectives)
  np.testing.assert_array_equal(after(False).rank, fresh.rank)
  np.testing.assert_array_equal(after(False).crowding, fresh.crowding)
  assert len(set(map(int, fresh.rank))) == 6  # the next tournament can tell them apart


def test_mutation_has_its_strength():
  x = {"a": jnp.zeros((100, 50)), "b": jnp.ones(100)}
  y = search.gaussian_mutation(jax.random.key(0), x, 0.3)
  assert np.std(y["a"]) == pytest.approx(0.3, rel=0.05)
  assert np.mean(y["b"]) == pytest.approx(1.0, abs=0.15)
  same = search.gaussian_mutation(jax.random.key(0), x, 0.0)
  np.testing.assert_array_equal(same["b"], x["b"])

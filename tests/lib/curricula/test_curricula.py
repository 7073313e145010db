"""Graphs, centralities and schedules by hand, by plain loops, and by what they must count."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import curricula

# --- similarity


def plain_gower(values, present, numeric):
  n, c = values.shape
  found = np.zeros((n, n))
  for i in range(n):
    for j in range(n):
      total = count = 0
      for k in range(c):
        if not (present[i, k] and present[j, k]):
          continue
        count += 1
        if numeric[k]:
          column = values[present[:, k], k]
          spread = column.max() - column.min()
          total += 1 - abs(values[i, k] - values[j, k]) / spread if spread else 1
        else:
          total += values[i, k] == values[j, k]
      found[i, j] = total / count if count else 0
  return found


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_gower_is_the_plain_loop(seed):
  rng = np.random.default_rng(seed)
  values = np.concatenate([10 * rng.normal(size=(8, 2)), rng.integers(0, 3, (8, 2))], 1)
  values[:, 1] = 7.0 if seed % 2 else values[:, 1]  # a number that does not vary
  present = rng.uniform(size=values.shape) < 0.7
  numeric = np.array([True, True, False, False])
  given_ = np.where(present, values, 1e6).astype(np.float32)
  found = curricula.gower(given_, present, numeric)
  np.testing.assert_allclose(found, plain_gower(values, present, numeric), atol=1e-5)
  np.testing.assert_array_equal(found, found.T)


def test_inverse_distance_and_means_by_hand():
  found = curricula.inverse_distance(jnp.array([[0.0, 0], [3, 4], [0, 1]]))
  expected = [[1, 1 / 6, 1 / 2], [1 / 6, 1, 1 / (1 + 18**0.5)], [1 / 2, 1 / (1 + 18**0.5), 1]]
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  total = 1 / 6 + 1 / 2 + 1 / (1 + 18**0.5)
  np.testing.assert_allclose(curricula.mean_similarity(found), total / 3, rtol=1e-5)
  np.testing.assert_allclose(curricula.mean_similarity(found, "paper"), total / 6, rtol=1e-5)
  graph = curricula.similarity_graph(found)
  np.testing.assert_array_equal(graph, [[0, 0, 1], [0, 0, 0], [1, 0, 0]])
  # the printed factor is half for n = 3, so that more pairs are joined
  assert curricula.similarity_graph(found, "paper").sum() == 6
  with pytest.raises(ValueError, match="none of"):
    curricula.mean_similarity(found, "rows")


# --- centralities


def hand_made():
  """Six nodes: 0, 1, 2 of class 0 joined with each other; 3 of class 1 joined with 1 and 2 of
  class 0; 4 of class 1 alone; 5 of class 1 joined with 0 and 4's place left empty.
  """
  edges = [(0, 1), (0, 2), (1, 2), (3, 1), (3, 2), (5, 0)]
  adjacent = np.zeros((6, 6), bool)
  for i, j in edges:
    adjacent[i, j] = adjacent[j, i] = True
  return jnp.array(adjacent), jnp.array([0, 0, 0, 1, 1, 1])


def test_centralities_by_hand():
  adjacent, labels = hand_made()
  shares = curricula.class_shares(adjacent, labels, 2)
  third = [2 / 3, 1 / 3]
  np.testing.assert_allclose(shares, [third, third, third, [1, 0], [0, 0], [1, 0]], rtol=1e-6)
  entropy = -(2 / 3) * np.log(2 / 3) - (1 / 3) * np.log(1 / 3)
  mixed = 1 / (1 + entropy)
  found = curricula.typicality(adjacent, labels, 2)
  np.testing.assert_allclose(found.degree, [3, 3, 3, 2, 0, 1])
  np.testing.assert_allclose(found.adjusted_entropy, [-mixed] * 3 + [1, 0, 1], rtol=1e-6)
  np.testing.assert_allclose(
    found.degree_adjusted, [2 + 3 * mixed] * 3 + [-2, 0, -1], rtol=1e-6
  )
  printed = curricula.typicality(adjacent, labels, 2, sign="printed")
  np.testing.assert_allclose(printed.adjusted_entropy, -found.adjusted_entropy)
  with pytest.raises(ValueError, match="none of"):
    curricula.typicality(adjacent, labels, 2, sign="plus")


def test_orders_run_from_typical_over_alone_to_atypical():
  adjacent, labels = hand_made()
  found = curricula.typicality(adjacent, labels, 2)
  assert curricula.ranking(found.degree, True).tolist() == [0, 1, 2, 3, 5, 4]
  assert curricula.ranking(found.adjusted_entropy).tolist() == [0, 1, 2, 4, 3, 5]
  assert curricula.ranking(found.degree_adjusted, True).tolist() == [0, 1, 2, 4, 5, 3]
  # as printed: the atypical come first, and typical nodes of any degree have 0
  printed = curricula.typicality(adjacent, labels, 2, sign="printed")
  assert curricula.ranking(printed.adjusted_entropy).tolist()[:2] == [3, 5]
  pure = jnp.ones((4, 4), bool) & ~jnp.eye(4, dtype=bool)
  same = curricula.typicality(pure, jnp.zeros(4, int), 2, sign="printed")
  np.testing.assert_allclose(same.degree_adjusted, 0, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_centralities_keep_their_bounds(seed, classes):
  rng = np.random.default_rng(seed)
  upper = np.triu(rng.uniform(size=(9, 9)) < rng.uniform(), 1)
  labels = jnp.asarray(rng.integers(0, classes, 9))
  found = curricula.typicality(jnp.asarray(upper | upper.T), labels, classes)
  degree = np.asarray(found.degree)
  least = 1 / (np.log(classes) + 1)
  size = np.abs(found.adjusted_entropy)
  assert np.all((size == 0) | ((size >= least - 1e-6) & (size <= 1 + 1e-6)))
  np.testing.assert_array_equal(size == 0, degree == 0)
  assert np.all(found.degree_adjusted <= 2 * degree + 1e-5)
  assert np.all(found.degree_adjusted >= -degree - 1e-5)


# --- schedules


# Few cases, not drawn ones: every new shape is compiled.
@pytest.mark.parametrize(
  ("n", "batch", "times", "increase"), [(70, 32, 4, 4), (64, 32, 2, 5), (20, 32, 4, 4)]
)
def test_schedules_have_the_sizes_and_coverage_of_the_table(n, batch, times, increase):
  order = jnp.asarray(np.random.default_rng(n).permutation(n))
  made = {
    "chunks": (curricula.chunks(order, batch), 1),
    "single": (curricula.single(order), 1),
    "repeated": (curricula.repeated(order, batch, times), times),
  }
  for name, (schedule, each) in made.items():
    count = curricula.updates(name, n, batch=batch, times=times)
    assert len(schedule.indices) == count == len(schedule.sizes)
    seen = np.bincount(np.asarray(schedule.indices)[np.asarray(schedule.mask)], minlength=n)
    np.testing.assert_array_equal(seen, each)
    taken = np.asarray(schedule.indices)[np.asarray(schedule.mask)]
    if name != "repeated":
      np.testing.assert_array_equal(taken, order)
  schedule = curricula.growing(order, batch, increase)
  sizes = np.asarray(schedule.sizes)
  assert len(sizes) == curricula.updates("growing", n, first=batch, increase=increase)
  assert sizes[0] == min(batch, n) and sizes[-1] == n
  for row, mask, size in zip(schedule.indices, schedule.mask, sizes, strict=True):
    np.testing.assert_array_equal(row[mask], order[:size])
  for before, after in itertools.pairwise(sizes):
    assert after == min(before + increase, n) and after > before


def test_numbers_of_updates_by_hand():
  """The paper's sizes for the breast cancer table: 381 training rows."""
  count = {s: curricula.updates(s, 381) for s in ("chunks", "single", "repeated", "growing")}
  assert count == {"chunks": 12, "single": 381, "repeated": 48, "growing": 89}
  with pytest.raises(ValueError, match="no scheduler"):
    curricula.updates("random", 10)
  with pytest.raises(ValueError, match="at least 1"):
    curricula.updates("chunks", 10, batch=0)


def test_repetition_and_padding_keep_the_updates_in_their_order():
  schedule = curricula.repeated(jnp.array([2, 0, 1]), 2, 3)
  assert schedule.sizes.tolist() == [2, 2, 2, 1, 1, 1]
  np.testing.assert_array_equal(schedule.indices[0], [2, 0])
  long = curricula.padded(curricula.chunks(jnp.array([2, 0, 1]), 2), 6, every=3)
  assert long.sizes.tolist() == [2, 0, 0, 1, 0, 0]
  with pytest.raises(ValueError, match="do not fit"):
    curricula.padded(schedule, 5)


def test_orders_can_be_traced_and_batched():
  orders = jnp.stack([jnp.arange(6), jnp.arange(6)[::-1]])
  made = jax.jit(jax.vmap(lambda o: curricula.chunks(o, 4)))(orders)
  np.testing.assert_array_equal(made.indices[1], [[5, 4, 3, 2], [1, 0, 0, 0]])

"""Splits are disjoint, exact in size, stratified, and reproducible; so are the device's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import data
from lib.data.dataset import Dataset, Examples, Info
from lib.experiment.errors import UserError


def _set(labels, classes, regression=False):
  """A set whose inputs are the example's number, so that a split shows what went where."""
  labels = np.asarray(labels)
  n = len(labels)
  info = Info("test", "regression" if regression else "classification", (1,), classes)
  targets = labels.astype(np.float32 if regression else np.int32)
  return Dataset(Examples(np.arange(n, dtype=np.float32)[:, None], targets), None, None, info)


_LABELS = st.integers(2, 6).flatmap(
  lambda k: st.tuples(
    st.just(k),
    st.lists(st.integers(0, k - 1), min_size=12, max_size=120),
    st.integers(0, 2**31),
  )
)


@settings(max_examples=60, deadline=None)
@given(_LABELS, st.booleans())
def test_split_is_a_partition_for_any_labels_and_seed(case, stratified):
  classes, labels, seed = case
  whole = _set(labels, classes)
  parts = data.split(whole, seed, validation=0.2, test=3, stratified=stratified)
  where = [p.inputs[:, 0].astype(int) for p in (parts.train, parts.validation, parts.test)]
  assert sorted(np.concatenate(where)) == list(range(len(labels)))
  assert len(where[1]) == max(1, round(0.2 * len(labels))) and len(where[2]) == 3
  for part in (parts.train, parts.validation, parts.test):
    np.testing.assert_array_equal(
      part.targets, np.array(labels)[part.inputs[:, 0].astype(int)]
    )
  if stratified:
    for part in (parts.train, parts.validation, parts.test):
      for k in range(classes):
        fair = labels.count(k) * part.size / len(labels)
        assert abs((part.targets == k).sum() - fair) < 3  # does not grow with the set


def test_split_depends_on_the_seed_alone():
  digits = data.load("sklearn:digits")
  one, again, other = (data.split(digits, s) for s in (3, 3, 4))
  np.testing.assert_array_equal(one.train.inputs, again.train.inputs)
  np.testing.assert_array_equal(one.test.targets, again.test.targets)
  assert not np.array_equal(one.train.targets, other.train.targets)
  shares = [np.bincount(p.targets, minlength=10) / p.size for p in (one.train, one.test)]
  np.testing.assert_allclose(shares[0], shares[1], atol=2.5 / one.test.size)


def test_every_example_is_held_out_equally_often():
  """Stratified sampling must not prefer positions: one of 7 is drawn in 1 of 7 splits."""
  whole = _set([0, 0, 0, 1, 1, 1, 1], 2)
  drawn = np.zeros(7)
  for seed in range(2000):
    part = data.split(whole, seed, validation=1, test=0).validation
    drawn[int(part.inputs[0, 0])] += 1
  assert (abs(drawn / 2000 - 1 / 7) < 4 * np.sqrt(6 / 49 / 2000)).all(), drawn


def test_official_splits_stay_and_training_sets_can_be_small():
  whole = data.load("synthetic:parity", n_train=200, n_test=50)
  parts = data.split(whole, 0, validation=0.25, test=0.5, train=40)
  assert parts.test is whole.test
  assert (parts.train.size, parts.validation.size) == (40, 50)


def test_regression_is_split_without_strata():
  whole = _set(np.random.default_rng(0).normal(size=50), 0, regression=True)
  parts = data.split(whole, 1, validation=10, test=10)
  assert (parts.train.size, parts.validation.size, parts.test.size) == (30, 10, 10)


@pytest.mark.parametrize(
  "sizes",
  [
    {"test": 1.5},
    {"validation": -1},
    {"test": 60},
    {"train": 90},
    {"validation": 30, "test": 30},
  ],
)
def test_sizes_that_do_not_fit_are_the_users_error(sizes):
  with pytest.raises(UserError):
    data.split(_set([0, 1] * 30, 2), 0, **sizes)


_CLASSES = np.array([0] * 30 + [1] * 15 + [2] * 6)
_plain = jax.jit(lambda k: data.random_split(k, 51, (17, 24)))
_stratified = jax.jit(lambda k: data.random_split(k, 51, (17, 24), jnp.asarray(_CLASSES)))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_random_split_on_the_device(seed, stratified):
  first, second = (_stratified if stratified else _plain)(jax.random.key(seed))
  assert first.shape == (17,) and second.shape == (24,)
  both = np.concatenate([first, second])
  assert len(set(both.tolist())) == 41 and 0 <= both.min() <= both.max() < 51
  if stratified:
    np.testing.assert_allclose(np.bincount(_CLASSES[first], minlength=3), [10, 5, 2], atol=1.5)


def test_random_split_on_the_device_prefers_nobody():
  labels = jnp.array([0, 0, 0, 1, 1, 1, 1])
  draw = jax.jit(jax.vmap(lambda k: data.random_split(k, 7, (1,), labels)[0][0]))
  drawn = np.bincount(draw(jax.random.split(jax.random.key(0), 5000)), minlength=7)
  assert (abs(drawn / 5000 - 1 / 7) < 4 * np.sqrt(6 / 49 / 5000)).all(), drawn


def test_random_split_under_vmap_equals_single_calls():
  keys = jax.random.split(jax.random.key(0), 5)
  labels = jnp.arange(20) % 2
  fn = jax.jit(lambda k: data.random_split(k, 20, (6, 14), labels))
  together = jax.jit(jax.vmap(fn))(keys)
  for i, key in enumerate(keys):
    for part, whole in zip(fn(key), together, strict=True):
      np.testing.assert_array_equal(part, whole[i])


def test_random_split_refuses_misuse():
  key = jax.random.key(0)
  with pytest.raises(ValueError, match="do not fit"):
    data.random_split(key, 10, (6, 5))
  with pytest.raises(ValueError, match="shape"):
    data.random_split(key, 10, (6,), labels=jnp.zeros(9, int))


def test_epoch_batches_visit_each_example_at_most_once():
  epochs = jax.jit(jax.vmap(lambda k: data.epoch_batches(k, 23, 5)))
  batches = epochs(jax.random.split(jax.random.key(1), 3))
  assert batches.shape == (3, 4, 5)
  for epoch in np.asarray(batches):
    assert len(np.unique(epoch)) == 20
  assert not np.array_equal(batches[0], batches[1])
  for wrong in (0, 24):
    with pytest.raises(ValueError, match="a batch of"):
      data.epoch_batches(jax.random.key(0), 23, wrong)

"""Moments of the training split only, checked against their definitions."""

import numpy as np
import pytest

from lib import data
from lib.data.dataset import Dataset, Examples, Info


def _table(train, test, y=None):
  train, test = np.asarray(train, np.float32), np.asarray(test, np.float32)
  y = np.zeros(len(train), np.float32) if y is None else np.asarray(y, np.float32)
  info = Info("test", "regression", train.shape[1:], bayes_mse=0.5)
  return Dataset(Examples(train, y), None, Examples(test, y[: len(test)]), info)


def test_by_hand():
  table = _table([[1.0, 10], [3, 30]], [[5.0, 20]], y=[2, 6])
  normal, statistics = data.normalise(table, targets=True)
  np.testing.assert_allclose(statistics.mean, [2, 20])
  np.testing.assert_allclose(statistics.scale, [1, 10])
  np.testing.assert_allclose(normal.train.inputs, [[-1, -1], [1, 1]])
  np.testing.assert_allclose(normal.test.inputs, [[3, 0]])
  np.testing.assert_allclose(normal.train.targets, [-1, 1])
  assert normal.info.bayes_mse == pytest.approx(0.5 / 4)


def test_the_test_split_has_no_influence():
  one, a = data.normalise(_table([[1.0], [2], [4]], [[0.0]]))
  two, b = data.normalise(_table([[1.0], [2], [4]], [[1e6]]))
  np.testing.assert_array_equal(one.train.inputs, two.train.inputs)
  assert a.mean == b.mean and a.scale == b.scale


@pytest.mark.parametrize("constant", [0.0, 7.0, 0.1, -1e6, 3e-20])
def test_constant_features_are_centred_and_stay_finite(constant):
  x = np.full((1000, 1), constant)
  normal, statistics = data.normalise(_table(x, [[constant + 1]]))
  assert statistics.scale == 1
  np.testing.assert_allclose(normal.train.inputs, 0, atol=1e-6 * max(1, abs(constant)))
  assert np.isfinite(normal.test.inputs).all()


def test_small_features_are_not_taken_for_constant():
  x = 1e-12 * np.random.default_rng(0).normal(size=(500, 1))
  normal, _ = data.normalise(_table(x, x))
  assert normal.train.inputs.std() == pytest.approx(1, rel=1e-5)


def test_statistics_can_be_reused():
  first = _table([[1.0], [3]], [[5.0]])
  _, statistics = data.normalise(first)
  again, same = data.normalise(_table([[7.0]], [[9.0]]), statistics)
  assert same is statistics
  np.testing.assert_allclose(again.train.inputs, [[5]])


def test_what_shares_a_mean():
  digits = data.split(data.load("sklearn:digits"), 0)
  x = digits.train.inputs.astype(np.float64)
  for over, axes in (("feature", 0), ("channel", (0, 1, 2)), ("all", None)):
    normal, statistics = data.normalise(digits, over=over)
    np.testing.assert_allclose(statistics.mean, x.mean(axis=axes), rtol=1e-6)
    assert abs(normal.train.inputs.mean()) < 1e-5
    assert normal.train.inputs.dtype == np.float32 and normal.info.maximum is None


def test_misuse():
  digits = data.load("sklearn:digits")
  with pytest.raises(ValueError, match="regression"):
    data.normalise(digits, targets=True)
  with pytest.raises(ValueError, match="over must be"):
    data.normalise(digits, over="pixel")


def test_scale_and_flatten():
  digits = data.load("sklearn:digits")
  scaled = data.scale(digits, -1, 1)
  np.testing.assert_allclose(
    scaled.train.inputs, digits.train.inputs.astype(float) / 8 - 1, atol=1e-6
  )
  assert scaled.train.inputs.dtype == np.float32
  flat = data.flatten(scaled)
  assert flat.train.inputs.shape == (1797, 64) and flat.info.input_shape == (64,)
  with pytest.raises(ValueError, match="normalise"):
    data.scale(scaled)

"""Rates, curves and thresholds of detection: by hand, and against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from sklearn import metrics

from lib.metrics import detection

POSITIVES = np.array([3.0, 1.0, 2.0, 0.0])
NEGATIVES = np.array([1.0, -1.0, 0.5, -2.0, 1.5])


@st.composite
def samples(draw):
  """Two samples of few different values, so that many are equal; few sizes, each compiled."""
  sizes = draw(st.sampled_from([(1, 1), (5, 2), (7, 11)]))
  values = st.integers(-5, 5)
  lists = [draw(st.lists(values, min_size=n, max_size=n)) for n in sizes]
  return tuple(np.array(scores, np.float32) / 4 for scores in lists)


def labelled(positives, negatives):
  y = np.concatenate([np.ones(len(positives)), np.zeros(len(negatives))])
  return y, np.concatenate([positives, negatives])


def test_by_hand():
  # a score equal to the threshold is rejected
  assert detection.false_accept_rate(NEGATIVES, 1.0) == pytest.approx(1 / 5)
  assert detection.false_reject_rate(POSITIVES, 1.0) == pytest.approx(2 / 4)
  assert detection.half_total_error_rate(POSITIVES, NEGATIVES, 1.0) == pytest.approx(0.35)
  # pairs won by 3, 1, 2, 0: 5, 3.5, 5, 2 of 5 each
  assert detection.auc(POSITIVES, NEGATIVES) == pytest.approx(15.5 / 20)
  # precisions when 3, 2, 1, 0 are the last to be accepted: 1, 1, 3/5, 4/7
  expected = (1 + 1 + 3 / 5 + 4 / 7) / 4
  assert detection.average_precision(POSITIVES, NEGATIVES) == pytest.approx(expected)
  # at 0.5: FAR 2/5, FRR 1/4; before it 2/5, 2/4 falls to it: FAR = FRR on the horizontal
  # step of the ROC curve between thresholds 1 (1/5, 1/2) and 0.5 (2/5, 1/4)
  assert detection.false_accept_rate(NEGATIVES, 0.5) == pytest.approx(2 / 5)
  assert detection.false_reject_rate(POSITIVES, 0.5) == pytest.approx(1 / 4)
  crossing = 1 / 5 + (1 / 5) * (0.3 / 0.45)
  assert detection.equal_error_rate(POSITIVES, NEGATIVES) == pytest.approx(crossing)
  assert detection.least_half_total_error_rate(POSITIVES, NEGATIVES) == pytest.approx(0.25)


def test_thresholds_by_hand():
  at = detection.threshold_at_false_accept_rate
  assert [float(at(NEGATIVES, r)) for r in (0, 0.19, 0.2, 0.4, 1)] == [
    1.5,
    1.5,
    1.0,
    0.5,
    -np.inf,
  ]
  assert at(np.arange(100.0), 0.29) == 70  # 29 are above, though 0.29 · 100 rounds to less
  at = detection.threshold_at_false_reject_rate
  for rate, first_accepted in ((0, 0.0), (0.25, 1.0), (0.3, 1.0), (0.75, 3.0)):
    threshold = at(POSITIVES, rate)
    assert threshold < first_accepted and float(threshold) == pytest.approx(first_accepted)
    assert detection.accept_rate(jnp.array([first_accepted]), threshold) == 1
  assert at(POSITIVES, 1.0) == np.inf
  assert detection.false_accept_rate_at(POSITIVES, NEGATIVES, 0.25) == pytest.approx(2 / 5)
  assert detection.false_reject_rate_at(POSITIVES, NEGATIVES, 0.2) == pytest.approx(1 / 2)


@settings(deadline=None, max_examples=60)
@given(samples())
def test_against_scikit_learn(both):
  positives, negatives = both
  y, s = labelled(positives, negatives)
  fpr, tpr, _ = metrics.roc_curve(y, s, drop_intermediate=False)
  np.testing.assert_allclose(
    detection.auc(positives, negatives), metrics.roc_auc_score(y, s), atol=1e-6
  )
  np.testing.assert_allclose(
    detection.average_precision(positives, negatives),
    metrics.average_precision_score(y, s),
    atol=1e-6,
  )
  found = detection.roc(positives, negatives)
  points = np.unique(np.stack([found.false_accept, 1 - found.false_reject], 1), axis=0)
  expected = np.unique(np.stack([fpr, tpr], 1).astype(np.float32), axis=0)
  np.testing.assert_allclose(points[np.lexsort(points.T[::-1])], expected, atol=1e-6)
  expected = optimize.brentq(lambda x: 1 - x - np.interp(x, fpr, tpr), 0, 1)
  np.testing.assert_allclose(
    detection.equal_error_rate(positives, negatives), expected, atol=1e-5
  )
  np.testing.assert_allclose(
    detection.least_half_total_error_rate(positives, negatives),
    np.min(fpr + 1 - tpr) / 2,
    atol=1e-6,
  )
  # FPR at 80 % TPR: the first point that has it
  np.testing.assert_allclose(
    detection.false_accept_rate_at(positives, negatives, 0.2),
    fpr[np.argmax(tpr >= 0.8 - 1e-9)],
    atol=1e-6,
  )
  np.testing.assert_allclose(
    detection.false_reject_rate_at(positives, negatives, 0.3),
    1 - tpr[fpr <= 0.3 + 1e-9].max(),
    atol=1e-6,
  )


@settings(deadline=None, max_examples=60)
@given(samples(), st.floats(0, 1))
def test_thresholds_keep_their_rate_and_are_the_best(both, rate):
  positives, negatives = both
  t = detection.threshold_at_false_accept_rate(negatives, rate)
  assert detection.false_accept_rate(negatives, t) <= rate + 1e-5
  below = np.float32(t) - np.float32(1e-3)  # scores are multiples of 1/4
  assert t == -np.inf or detection.false_accept_rate(negatives, below) > rate - 1e-5
  t = detection.threshold_at_false_reject_rate(positives, rate)
  assert detection.false_reject_rate(positives, t) <= rate + 1e-5
  above = np.float32(t) + np.float32(1e-3)
  assert t == np.inf or detection.false_reject_rate(positives, above) > rate - 1e-5


@settings(deadline=None, max_examples=20)
@given(samples())
def test_symmetries(both):
  positives, negatives = both
  np.testing.assert_allclose(
    detection.auc(-negatives, -positives), detection.auc(positives, negatives), atol=1e-6
  )
  np.testing.assert_allclose(
    detection.auc(negatives, positives), 1 - detection.auc(positives, negatives), atol=1e-6
  )
  np.testing.assert_allclose(
    detection.equal_error_rate(-negatives, -positives),
    detection.equal_error_rate(positives, negatives),
    atol=1e-6,
  )


def test_batches_are_what_their_members_are():
  rng = np.random.default_rng(0)
  positives, negatives = rng.normal(1, 1, (2, 3, 7)), rng.normal(0, 1, (3, 9))
  for function in (
    detection.auc,
    detection.average_precision,
    detection.equal_error_rate,
    detection.least_half_total_error_rate,
    lambda p, n: detection.false_accept_rate_at(p, n, 0.2),
    lambda p, n: detection.false_reject_rate_at(p, n, 0.2),
    lambda p, n: detection.half_total_error_rate(p, n, 0.4),
  ):
    found = jax.jit(function)(positives, negatives)
    each = [[function(positives[i, j], negatives[j]) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(found, each, rtol=1e-6)
  curve = detection.roc(positives, negatives)
  assert curve.false_accept.shape == (2, 3, 17)
  np.testing.assert_array_equal(curve.false_accept[..., 0], 0)
  np.testing.assert_array_equal(curve.false_reject[..., -1], 0)
  rates = jnp.array([0.0, 0.5, 1.0])
  each = [
    detection.threshold_at_false_accept_rate(negatives[j], float(rates[j])) for j in range(3)
  ]
  np.testing.assert_array_equal(
    detection.threshold_at_false_accept_rate(negatives, rates), jnp.stack(each)
  )


def test_masked_scores_do_not_count():
  where = np.array([True, False, True, True, False])
  found = detection.false_accept_rate(NEGATIVES, 0.0, where)
  assert found == pytest.approx(2 / 3)


def test_large_samples_stay_exact():
  rng = np.random.default_rng(0)
  positives, negatives = rng.normal(1, 1, 40_000), rng.normal(0, 1, 50_000)
  expected = metrics.roc_auc_score(*labelled(positives, negatives))
  assert detection.auc(positives, negatives) == pytest.approx(expected, abs=1e-5)


def test_float64_stays_float64():
  with jax.enable_x64(True):
    positives, negatives = jnp.asarray(POSITIVES), jnp.asarray(NEGATIVES)
    assert detection.auc(positives, negatives).dtype == jnp.float64
    assert detection.equal_error_rate(positives, negatives).dtype == jnp.float64


def test_what_is_refused():
  with pytest.raises(ValueError, match="not a number"):
    detection.auc([np.nan, 1.0], [0.0])
  with pytest.raises(ValueError, match="at least one score"):
    detection.auc([], [0.0])
  with pytest.raises(ValueError, match="between 0 and 1"):
    detection.threshold_at_false_accept_rate(NEGATIVES, 5)

"""Statistics against scipy, statsmodels' published rules and coverage by simulation."""

import numpy as np
import pytest
from scipy import stats

from lib.metrics import statistics


def test_mean_interval_is_students():
  x = np.array([[2.0, 1.0], [4.0, 5.0], [9.0, 3.0]])
  found = statistics.mean_interval(x)
  for column in range(2):
    expected = stats.ttest_1samp(x[:, column], 0).confidence_interval(0.95)
    assert found.low[column] == pytest.approx(expected.low)
    assert found.high[column] == pytest.approx(expected.high)
  assert statistics.mean_interval([5.0]).high == np.inf


def test_paired_test_is_scipys():
  rng = np.random.default_rng(0)
  a, b = rng.normal(size=12), rng.normal(size=12)
  found, expected = statistics.paired_test(a, b), stats.ttest_rel(a, b)
  assert found.p == pytest.approx(expected.pvalue)
  assert found.low == pytest.approx(expected.confidence_interval().low)
  assert statistics.paired_test([1, 2], [1, 2]).p == 1.0
  assert statistics.paired_test([2, 3], [1, 2]).p == 0.0


def test_holm_by_hand():
  # sorted .01 .02 .03 .04 -> x4 x3 x2 x1 -> .04 .06 .06 .06
  found = statistics.holm([0.04, 0.01, 0.03, 0.02])
  np.testing.assert_allclose(found, [0.06, 0.04, 0.06, 0.06])


def test_bootstrap_covers_at_its_level():
  rng = np.random.default_rng(1)
  hits = 0
  for trial in range(200):
    found = statistics.bootstrap(rng.normal(size=40), resamples=400, seed=trial)
    hits += found.low <= 0 <= found.high
  assert 0.88 <= hits / 200 <= 0.99


def test_exponent_is_exact_for_a_power_law_and_covers_with_noise():
  x = np.array([10.0, 100.0, 1000.0])
  exact = statistics.exponent_fit(x, 3 * x[:, None] ** -0.5 * np.ones((1, 4)))
  assert exact.exponent == pytest.approx(-0.5) and exact.high - exact.low < 1e-9
  assert np.exp(exact.log_prefactor) == pytest.approx(3)
  rng = np.random.default_rng(2)
  hits = 0
  for trial in range(100):
    y = x[:, None] ** -0.5 * rng.gamma(4, 1 / 4, (3, 30))
    fit = statistics.exponent_fit(x, y, resamples=300, seed=trial)
    hits += fit.low <= -0.5 <= fit.high
  assert hits >= 85


@pytest.mark.parametrize(
  "call",
  [
    lambda: statistics.mean_interval([1.0, np.nan]),
    lambda: statistics.paired_test([1.0, 2.0], [1.0, 2.0, 3.0]),
    lambda: statistics.exponent_fit([1.0, 2.0], [[1.0, 1.0], [-1.0, -2.0]]),
    lambda: statistics.exponent_fit([1.0, 1.0], [[1.0, 1.0], [1.0, 2.0]]),
    lambda: statistics.bootstrap([1.0]),
  ],
)
def test_what_cannot_be_computed_is_an_error(call):
  with pytest.raises(ValueError):
    call()


def test_rank_sum_by_hand_and_against_scipy():
  # all 3! 3! / 6! orders are equally likely; one of 20 has all of a first, and one all last
  found = statistics.rank_sum([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
  assert found.p == pytest.approx(2 / 20) and found.superiority == 0
  assert statistics.rank_sum([1.0, 2.0], [1.0, 2.0]).superiority == 0.5
  rng = np.random.default_rng(0)
  a, b = rng.normal(size=60), rng.normal(0.5, size=50)
  assert statistics.rank_sum(a, b).p == pytest.approx(stats.ranksums(a, b).pvalue, rel=0.02)
  assert statistics.rank_sum(b, a).superiority == pytest.approx(np.mean(b[:, None] > a[None]))

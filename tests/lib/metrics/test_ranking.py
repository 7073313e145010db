"""Rank tests against Demšar's worked example, printed tables of a paper, and plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from lib.metrics import ranking

# Demšar (2006), Table 6: AUC of four variants of C4.5 on fourteen data sets.
C45 = np.array(
  [
    [0.763, 0.768, 0.771, 0.798],
    [0.599, 0.591, 0.590, 0.569],
    [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898],
    [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685],
    [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000],
    [0.940, 0.962, 0.965, 0.962],
    [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975],
    [0.957, 0.978, 0.946, 0.970],
  ]
)


def test_a_textbook_example():
  """Its mean ranks 3.143, 2.000, 2.893, 1.964, χ² = 9.28 and critical difference 1.25."""
  np.testing.assert_allclose(
    ranking.ranks(C45).mean(0), [3.143, 2.000, 2.893, 1.964], atol=6e-4
  )
  averages = ranking.ranks(C45).mean(0)
  statistic, p = ranking.friedman_of_ranks(averages, 14)
  assert statistic == pytest.approx(9.28, abs=0.02)
  assert p == pytest.approx(special.gammaincc(1.5, statistic / 2))  # its closed form
  assert ranking.friedman(C45).statistic > statistic  # corrected for ties
  assert ranking.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
  # the largest difference, 1.18, is below it
  assert ranking.nemenyi(C45).min() > 0.05


PRINTED = {  # wins of row over column in Tables 4 to 7 of the paper on typicality curricula
  "mini-batch": [[0, 163, 163, 150], [95, 0, 130, 110], [98, 130, 0, 117], [110, 148, 138, 0]],
}


def test_printed_wins_give_the_printed_p_values():
  """Nemenyi's p-values of a paper's Table 3 from the counts of its Table 4, N = 270."""
  averages = ranking.mean_ranks(PRINTED["mini-batch"], 270)
  p = ranking.nemenyi_of_ranks(averages, 270)
  printed = {(0, 1): 0.001, (0, 2): 0.001, (0, 3): 0.0503}
  printed |= {(1, 2): 0.9, (1, 3): 0.1586, (2, 3): 0.2980}
  for pair, value in printed.items():
    assert np.clip(p[pair], 0.001, 0.9) == pytest.approx(value, abs=2e-4)
  with pytest.raises(ValueError, match="more than 200 wins"):
    ranking.mean_ranks(PRINTED["mini-batch"], 200)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(3, 6), st.integers(0, 10**6))
def test_wins_ranks_and_ties_agree(blocks, methods, seed):
  scores = np.random.default_rng(seed).integers(0, 4, (blocks, methods)) / 4
  won = ranking.wins(scores)
  for i in range(methods):
    for j in range(methods):
      assert won[i, j] == sum(row[i] > row[j] for row in scores)
  averages = ranking.ranks(scores).mean(0)
  np.testing.assert_allclose(ranking.mean_ranks(won, blocks), averages)
  assert averages.sum() == pytest.approx(methods * (methods + 1) / 2)
  found = ranking.friedman(scores)
  assert found.statistic >= ranking.friedman_of_ranks(averages, blocks)[0] - 1e-9
  p = ranking.nemenyi(scores)
  np.testing.assert_array_equal(p, p.T)
  assert np.all((p >= 0) & (p <= 1)) and np.all(np.diag(p) == 1)


def test_pairs_of_two_methods_are_a_normal_test():
  """For k = 2 the studentised range with ∞ degrees is |z| √2: two-sided normal p."""
  scores = np.array([[1.0, 0.0]] * 9 + [[0.0, 1.0]])
  difference = 0.8
  z = difference / np.sqrt(2 * 3 / 60)
  np.testing.assert_allclose(ranking.nemenyi(scores)[0, 1], 2 * special.ndtr(-z), rtol=1e-3)


def test_what_is_refused_and_all_ties():
  assert ranking.friedman(np.ones((5, 3))).p == 1
  with pytest.raises(ValueError, match="at least two blocks"):
    ranking.wins(np.ones((1, 3)))
  with pytest.raises(ValueError, match="three methods"):
    ranking.friedman(np.ones((4, 2)))
  with pytest.raises(ValueError, match="not finite"):
    ranking.ranks([[1.0, np.nan], [0.0, 1.0]])

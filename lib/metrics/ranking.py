"""Several methods compared over the same blocks: wins, mean ranks, Friedman and Nemenyi tests.

Scores are (blocks, methods), larger is better; a block is a data set, or a run on one, in
which all methods met the same conditions. Demšar, *Statistical comparisons of classifiers over
multiple data sets* (JMLR 2006).

Ranks, the Friedman test and the studentised range are SciPy's. Nemenyi's test is the two lines
that are left, so scikit-posthocs, which needs pandas, statsmodels and seaborn for it, is not.
Its older versions looked p-values up in a table that ends at 0.001 and 0.9.

>>> import numpy as np
>>> scores = np.array([[0.9, 0.8, 0.7], [0.6, 0.5, 0.5], [0.8, 0.9, 0.6], [0.7, 0.6, 0.4]])
>>> wins(scores)
array([[0, 3, 4],
       [1, 0, 3],
       [0, 0, 0]])
>>> ranks(scores).mean(0)
array([1.25 , 1.875, 2.875])
>>> f"{friedman(scores).p:.3f}"
'0.057'
"""

from typing import NamedTuple

import numpy as np


class Friedman(NamedTuple):
  """χ²_F with its correction for ties, its p-value (k − 1 degrees of freedom), mean ranks."""

  statistic: float
  p: float
  mean_ranks: np.ndarray


def _scores(scores) -> np.ndarray:
  scores = np.asarray(scores, np.float64)
  if scores.ndim != 2 or min(scores.shape) < 2:
    raise ValueError(f"needs at least two blocks of two methods, got {scores.shape}")
  if not np.isfinite(scores).all():
    raise ValueError("a score is not finite")
  return scores


def wins(scores) -> np.ndarray:
  """In how many blocks the row's method scores more than the column's.

  Args:
    scores: (N, k).

  Returns:
    (k, k) integers. N − wins − winsᵀ are the ties, off the diagonal.

  Raises:
    ValueError: fewer than two blocks or methods, or a score is not finite.
  """
  scores = _scores(scores)
  return (scores[:, :, None] > scores[:, None, :]).sum(0)


def ranks(scores) -> np.ndarray:
  """Ranks in each block, 1 for the largest score, ties sharing their mean; (N, k).

  Raises:
    ValueError: as `wins`.
  """
  from scipy import stats

  return stats.rankdata(-_scores(scores), axis=1)


def mean_ranks(won, blocks: int) -> np.ndarray:
  """Mean ranks from a table of wins: R_i = (k + 1)/2 − Σ_j (w_ij − w_ji) / 2N.

  In a block the rank of i is 1 + #(j better) + ½ #(j equal); summed over blocks only the wins
  are needed. So what a paper prints as counts determines its tests, but for the correction
  for ties.

  Args:
    won: (k, k), see `wins`.
    blocks: N.

  Raises:
    ValueError: a pair has more wins than blocks.
  """
  won = np.asarray(won, np.float64) * (1 - np.eye(len(won)))
  if (won + won.T).max() > blocks:
    raise ValueError(f"a pair of methods has more than {blocks} wins")
  return (len(won) + 1) / 2 - (won - won.T).sum(1) / (2 * blocks)


def friedman_of_ranks(averages, blocks: int) -> tuple[float, float]:
  """χ²_F = 12 N / (k (k + 1)) Σ_i (R_i − (k + 1)/2)² and its p-value, without a correction.

  With ties it is smaller than the corrected one, so p is an upper bound.
  """
  from scipy import special

  averages = np.asarray(averages, np.float64)
  k = len(averages)
  found = 12 * blocks / (k * (k + 1)) * np.sum((averages - (k + 1) / 2) ** 2)
  return float(found), float(special.chdtrc(k - 1, found))


def friedman(scores) -> Friedman:
  """Friedman's test of whether k ≥ 3 methods rank alike (Friedman 1937).

  Blocks in which all methods tie add nothing; where all do, the statistic is 0 and p is 1.

  Raises:
    ValueError: as `wins`, or fewer than three methods.
  """
  from scipy import stats

  scores = _scores(scores)
  if scores.shape[1] < 3:
    raise ValueError("the Friedman test needs at least three methods")
  averages = ranks(scores).mean(0)
  if np.all(scores == scores[:, :1]):
    return Friedman(0.0, 1.0, averages)
  found = stats.friedmanchisquare(*scores.T)
  return Friedman(float(found.statistic), float(found.pvalue), averages)


def nemenyi_of_ranks(averages, blocks: int) -> np.ndarray:
  """p-values of all pairs (Nemenyi 1963): P(Q_{k,∞} > √2 |R_i − R_j| / √(k (k + 1) / 6N)).

  Q is the studentised range, so that all pairs together keep the level.

  Args:
    averages: (k,) mean ranks.
    blocks: N.

  Returns:
    (k, k), ones on the diagonal.
  """
  from scipy import stats

  averages = np.asarray(averages, np.float64)
  k = len(averages)
  error = np.sqrt(k * (k + 1) / (6 * blocks))
  upper = np.triu_indices(k, 1)
  q = np.sqrt(2) * np.abs(averages[upper[0]] - averages[upper[1]]) / error
  p = np.eye(k)
  p[upper] = np.clip(stats.studentized_range.sf(q, k, np.inf), 0.0, 1.0)
  return np.maximum(p, p.T)


def nemenyi(scores) -> np.ndarray:
  """Nemenyi's p-values of all pairs of methods, (k, k).

  Raises:
    ValueError: as `wins`.
  """
  scores = _scores(scores)
  return nemenyi_of_ranks(ranks(scores).mean(0), len(scores))


def critical_difference(methods: int, blocks: int, level: float = 0.05) -> float:
  """The difference of mean ranks at which Nemenyi's p is `level`: q_α √(k (k + 1) / 6N)."""
  from scipy import stats

  q = stats.studentized_range.isf(level, methods, np.inf) / np.sqrt(2)
  return float(q * np.sqrt(methods * (methods + 1) / (6 * blocks)))

"""Statistics of measurements repeated over seeds: intervals, paired tests, exponents.

Everything here is host-side NumPy in float64: it runs once, on results that are already
measured. Samples have the seed axis where the docstring says; a non-finite sample is an error
rather than something to average over.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
  """A mean and its confidence interval [low, high] from n samples."""

  mean: float | np.ndarray
  low: float | np.ndarray
  high: float | np.ndarray
  n: int


class PairedTest(NamedTuple):
  """Mean of the paired differences, its confidence interval, and the two-sided p-value."""

  difference: float
  low: float
  high: float
  p: float
  n: int


class RankSum(NamedTuple):
  """Wilcoxon's rank-sum test: two-sided p, and P(a > b) + P(a = b) / 2 in the samples."""

  p: float
  superiority: float


class Fit(NamedTuple):
  """A power law y = exp(log_prefactor) x^exponent, with an interval for the exponent."""

  exponent: float
  low: float
  high: float
  log_prefactor: float
  n: int


def _samples(x, least: int, axis: int = 0) -> np.ndarray:
  x = np.asarray(x, dtype=np.float64)
  if x.ndim == 0 or x.shape[axis] < least:
    found = 1 if x.ndim == 0 else x.shape[axis]
    raise ValueError(f"needs at least {least} samples, got {found}")
  if not np.all(np.isfinite(x)):
    raise ValueError("a sample is not finite")
  return x


def mean_interval(x, axis: int = 0, confidence: float = 0.95) -> Interval:
  """Mean over `axis` with Student's t interval: mean ± t_{n-1} s / sqrt(n).

  With one sample the interval is the whole line: one measurement has no known spread.
  """
  from scipy import special  # scipy.stats takes seconds to import

  x = _samples(x, 1, axis)
  n = x.shape[axis]
  mean = x.mean(axis)
  if n == 1:
    half = np.full_like(mean, np.inf)
  else:
    half = special.stdtrit(n - 1, 0.5 + confidence / 2) * x.std(axis, ddof=1) / np.sqrt(n)
  low, high = mean - half, mean + half
  if mean.ndim == 0:
    return Interval(float(mean), float(low), float(high), n)
  return Interval(mean, low, high, n)


def paired_test(a, b, confidence: float = 0.95) -> PairedTest:
  """Paired t-test of a − b over the seed axis (1-D samples of equal length).

  When all differences are equal the interval has no width, and p is 0 or (for no difference
  at all) 1.
  """
  from scipy import special

  a, b = _samples(a, 2), _samples(b, 2)
  if a.shape != b.shape or a.ndim != 1:
    raise ValueError(f"paired samples need one equal axis, got {a.shape} and {b.shape}")
  d = a - b
  mean, low, high, n = mean_interval(d, confidence=confidence)
  error = d.std(ddof=1) / np.sqrt(n)
  if error == 0:
    p = 1.0 if mean == 0 else 0.0
  else:
    p = float(2 * special.stdtr(n - 1, -abs(mean) / error))
  return PairedTest(mean, low, high, p, n)


def rank_sum(a, b) -> RankSum:
  """Wilcoxon's rank-sum (Mann-Whitney) test of two independent samples, 1-D of any lengths.

  Exact for small samples without ties, else by the normal approximation (SciPy's rule).
  """
  from scipy import stats

  a, b = _samples(a, 2), _samples(b, 2)
  found = stats.mannwhitneyu(a, b, alternative="two-sided")
  return RankSum(float(found.pvalue), float(found.statistic) / (len(a) * len(b)))


def holm(p_values: Sequence[float]) -> np.ndarray:
  """Holm's step-down adjustment of p-values for several tests (Holm 1979)."""
  p = np.asarray(p_values, dtype=np.float64)
  order = np.argsort(p)
  steps = (len(p) - np.arange(len(p))) * p[order]
  adjusted = np.empty_like(p)
  adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
  return adjusted


def bootstrap(
  x,
  statistic: Callable[[np.ndarray], float] = np.mean,
  *,
  resamples: int = 2000,
  confidence: float = 0.95,
  seed: int = 0,
) -> Interval:
  """Percentile bootstrap of `statistic` over axis 0 (Efron 1979).

  `statistic` maps samples with the seed axis first to a number; `Interval.mean` is its value
  on the samples themselves.
  """
  x = _samples(x, 2)
  rng = np.random.default_rng(seed)
  n = x.shape[0]
  values = np.array([statistic(x[rng.integers(0, n, n)]) for _ in range(resamples)])
  low, high = np.quantile(values, [0.5 - confidence / 2, 0.5 + confidence / 2])
  return Interval(float(statistic(x)), float(low), float(high), n)


def exponent_fit(
  x, y, *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Fit:
  """Exponent of y ~ x^q by least squares of log mean(y) on log x.

  Args:
    x: (k,) positive abscissae, at least two different ones.
    y: (k, n) positive samples, n seeds for each abscissa (or a list of k one-dimensional
      sample arrays of different lengths).

  The interval is the percentile bootstrap over the seeds of each abscissa, which are
  resampled independently. It covers sampling error only, not that a power law may be wrong.
  """
  x = np.asarray(x, dtype=np.float64)
  rows = [_samples(row, 2) for row in y]
  if len(rows) != len(x) or len(np.unique(x)) < 2:
    raise ValueError("needs samples for at least two different abscissae")
  if np.any(x <= 0) or any(np.any(row.mean() <= 0) for row in rows):
    raise ValueError("a power law needs positive values")
  design = np.stack([np.log(x), np.ones_like(x)], 1)

  def fit(means):
    return np.linalg.lstsq(design, np.log(means), rcond=None)[0]

  exponent, log_prefactor = fit(np.array([row.mean() for row in rows]))
  rng = np.random.default_rng(seed)
  drawn = np.stack(
    [row[rng.integers(0, len(row), (resamples, len(row)))].mean(1) for row in rows]
  )
  exponents = fit(np.maximum(drawn, np.finfo(np.float64).tiny))[0]
  low, high = np.quantile(exponents, [0.5 - confidence / 2, 0.5 + confidence / 2])
  return Fit(
    float(exponent), float(low), float(high), float(log_prefactor), min(map(len, rows))
  )

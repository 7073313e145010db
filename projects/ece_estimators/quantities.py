"""What the claims and figures are about: medians over score distributions, and their spread.

The unit that is resampled is the mixture: its classifiers and training sets stay together.
"""

import numpy as np

from lib.experiment import claims as check

SETTINGS = {"conf": "confidence", "cw": "class-wise"}
RESAMPLES = 1000


def names(results) -> list[str]:
  """Names of all estimators."""
  return [str(name) for name in results["names"]]


def papers(results) -> list[str]:
  """Names of the paper's own."""
  return names(results)[: int(results["papers"])]


def index(results, name: str) -> int:
  """Its place on the last axis."""
  return names(results).index(name)


def error(results, setting: str, truth: str = "error"):
  """95th percentile of the relative error, (mixtures, classifiers, sizes, E)."""
  return np.asarray(results[setting][truth], np.float64)


def median(errors):
  """What Fig. 2 shows: the median over all score distributions, (sizes, E)."""
  return np.median(errors.reshape(-1, *errors.shape[2:]), axis=0)


def resampled(errors, count: int = RESAMPLES, seed: int = 0):
  """The medians of bootstrapped mixtures, (count, sizes, E); `run` keeps them."""
  rng = np.random.default_rng(seed)
  found = np.empty((count, *errors.shape[2:]))
  for i in range(count):
    found[i] = median(errors[rng.integers(0, len(errors), len(errors))])
  return found


def interval(results, setting, statistic):
  """A statistic of the medians (…, sizes, E) with its percentile interval, for a check."""
  errors = error(results, setting)
  if len(errors) < 2:
    return None
  drawn = np.asarray(results[setting]["resampled"], np.float64)
  low, high = np.percentile(statistic(drawn), [2.5, 97.5])
  return check.estimate(statistic(median(errors)), low, high, len(errors))


def over_best(results, setting, name: str, sizes, others=None):
  """log of the error of an estimator over the least of the others', mean over the sizes.

  Args:
    results: of the run.
    setting: "conf" or "cw".
    name: of the estimator.
    sizes: mask of the sizes that count.
    others: names to compare with, by default all of the paper's but itself.
  """
  others = [n for n in papers(results) if n != name] if others is None else others
  columns = [index(results, n) for n in others]
  own = index(results, name)

  def statistic(m):
    ratio = np.log(m[..., own]) - np.log(m[..., columns].min(-1))
    return ratio[..., sizes].mean(-1)

  return interval(results, setting, statistic)


def ratio(found):
  """An interval of a log ratio as one of the ratio."""
  if found is None:
    return None
  return check.estimate(np.exp(found.mean), np.exp(found.low), np.exp(found.high), found.n)


def compared(results, setting, a: str, b: str):
  """Error of a over error of b, the geometric mean over all sizes, with its interval."""
  every = np.ones(len(results["sizes"]), bool)
  return ratio(over_best(results, setting, a, every, [b]))


def wins(results, setting):
  """Share of the sizes at which each of the paper's estimators has the least error, (…, E)."""
  count = int(results["papers"])

  def statistic(m):
    best = m[..., :count].argmin(-1)
    return (best[..., None] == np.arange(count)).mean(-2)

  return statistic

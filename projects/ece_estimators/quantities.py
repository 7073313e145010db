"""What the claims and figures are about: medians over score distributions, and their spread.

The unit that is resampled is the mixture: its classifiers and training sets stay together.
"""

import numpy as np

from lib.experiment import claims as check
from projects.ece_estimators.estimators import CONVEX

SETTINGS = {"conf": "confidence", "cw": "class-wise"}
# The text has relative errors; the authors' program plots |estimate − true| itself. The third
# is relative to the paper's ground truth; the last two are what the relative error is made of.
READINGS = ("relative", "absolute", "labelled", "bias", "spread")
RESAMPLES = 1000


def names(results) -> list[str]:
  """Names of all estimators."""
  return [str(name) for name in results["names"]]


def papers(results, as_printed: bool = False) -> list[str]:
  """Names of the paper's own, the convex mappings as described or as printed."""
  found = names(results)[: int(results["papers"])]
  if not as_printed:
    return found
  return [f"{n}_printed" if n.partition("_")[0] in CONVEX else n for n in found]


def index(results, name: str) -> int:
  """Its place on the last axis."""
  return names(results).index(name)


def error(results, setting: str, reading: str = "relative"):
  """95th percentile of the error in a reading, (mixtures, classifiers, sizes, E).

  "bias" and "spread" are the mean and the standard deviation over the sets instead.
  """
  found = results[setting]
  if reading in ("labelled", "bias", "spread"):
    return np.asarray(found[{"labelled": "error_labelled"}.get(reading, reading)], np.float64)
  relative = np.asarray(found["error"], np.float64)
  if reading == "relative":
    return relative
  return relative * np.asarray(found["true_ece"], np.float64)[..., None, None]


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


def interval(results, setting, statistic, reading: str = "relative"):
  """A statistic of the medians (…, sizes, E) with its percentile interval, for a check."""
  errors = error(results, setting, reading)
  if len(errors) < 2:
    return None
  drawn = np.asarray(results[setting]["resampled"][reading], np.float64)
  low, high = np.percentile(statistic(drawn), [2.5, 97.5])
  return check.estimate(statistic(median(errors)), low, high, len(errors))


def over_best(results, setting, name: str, sizes, others=None, reading: str = "relative"):
  """log of the error of an estimator over the least of the others', mean over the sizes.

  Args:
    results: of the run.
    setting: "conf" or "cw".
    name: of the estimator.
    sizes: mask of the sizes that count.
    others: names to compare with, by default all of the paper's but itself.
    reading: of the error.
  """
  others = [n for n in papers(results) if n != name] if others is None else others
  columns = [index(results, n) for n in others]
  own = index(results, name)

  def statistic(m):
    ratio = np.log(m[..., own]) - np.log(m[..., columns].min(-1))
    return ratio[..., sizes].mean(-1)

  return interval(results, setting, statistic, reading)


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


def agreement(results, setting):
  """Spearman's rank correlation of the errors under the two ground truths, with its interval.

  Over the paper's estimators, the least of the sizes. Both are resampled alike.
  """
  from scipy import stats

  readings = ("relative", "labelled")
  found = [median(error(results, setting, reading)) for reading in readings]
  mixtures = len(error(results, setting))
  if mixtures < 2:
    return None
  count = int(results["papers"])

  def correlation(a, b):
    a, b = (stats.rankdata(x[..., :count], axis=-1) for x in (a, b))
    a, b = (x - x.mean(-1, keepdims=True) for x in (a, b))
    norms = np.sqrt(np.sum(a**2, -1) * np.sum(b**2, -1))
    return (np.sum(a * b, -1) / norms).min(-1)

  drawn = correlation(*(np.asarray(results[setting]["resampled"][r]) for r in readings))
  return check.estimate(correlation(*found), *np.percentile(drawn, [2.5, 97.5]), mixtures)

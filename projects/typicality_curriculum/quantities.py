"""What claims, metrics and figures are made of: accuracies of methods, compared over runs.

A run is a split of a table; all methods of a run share it. Arrays are (seeds, tables).
"""

import numpy as np

from lib.metrics import ranking
from projects.typicality_curriculum import methods

NAMES = methods.names()
READINGS = {  # what "validation accuracy" may mean: (epochs,) -> number
  "final": lambda curve: curve[..., -1],
  "mean": lambda curve: curve.mean(-1),
  "best": lambda curve: curve.max(-1),
}
LABELS = {"mb": "MB", "ogd": "OGD", "br": "BR", "rur": "RuR"}


def stacked(results, name):
  """A result of all tables, (seeds, tables, ...)."""
  return np.stack([np.asarray(t[name], np.float64) for t in results["tables"].values()], 1)


def curves(results, method):
  """Held-out accuracy after every epoch, (seeds, tables, epochs)."""
  return stacked(results, "accuracy")[..., NAMES.index(method)]


def accuracy(results, method, reading="final"):
  """Held-out accuracy, (seeds, tables)."""
  return READINGS[reading](curves(results, method))


def difference(results, a, b, reading="final"):
  """Accuracy of a − b in points, mean over the tables; (seeds,)."""
  return 100 * (accuracy(results, a, reading) - accuracy(results, b, reading)).mean(1)


def margin(results, a, b, reading="final"):
  """Share of the tables in which a beats b less that in which b beats a; (seeds,).

  Its mean over the seeds is (wins − losses) / runs. In counts of equal rows: float32 shares of
  the same number of rows are equal if the counts are.
  """
  return np.sign(accuracy(results, a, reading) - accuracy(results, b, reading)).mean(1)


def four(results, scheduler, reading="final", own_splits=False):
  """Scores of the paper's four groups, (runs, 4): baseline, degree, entropy, adjusted.

  With `own_splits` a run takes each group from another split of its table, which is how it
  would be if every training drew its own.
  """
  group = (methods.BASELINE, *(f"{scheduler}_{c}" for c in methods.CURRICULA))
  found = [accuracy(results, m, reading) for m in group]
  if own_splits:
    found = [np.roll(a, i, 0) for i, a in enumerate(found)]
  return np.stack([a.ravel() for a in found], 1)


def tied(results, scheduler, reading="final", own_splits=False):
  """Share of the runs in which two of the four groups tie, mean over the six pairs."""
  scores = four(results, scheduler, reading, own_splits)
  won = ranking.wins(scores)
  return 1 - (won + won.T)[np.triu_indices(4, 1)].mean() / len(scores)


def noise_difference(results, a, b, best_epoch=False):
  """Accuracy of a − b in points by share of wrong labels, (shares, seeds), over tables.

  With `best_epoch` each is taken at the epoch at which its own mean accuracy is largest, which
  spares a method that overfits.
  """
  found = 100 * np.asarray(results["noise"]["accuracy"], np.float64).mean(1)

  def one(method):
    curve = found[..., NAMES.index(method)]  # (shares, seeds, epochs)
    if not best_epoch:
      return curve[..., -1]
    epoch = curve.mean(1).argmax(-1)
    return np.take_along_axis(curve, epoch[:, None, None], 2)[..., 0]

  return one(a) - one(b)


def table_differences(results, a, b):
  """name of a table -> mean accuracy of a − b in points."""
  found = 100 * (accuracy(results, a) - accuracy(results, b)).mean(0)
  return dict(zip(results["tables"], found, strict=True))

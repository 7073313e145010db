"""Checks of the claims: pure functions of results, errors in per cent, paired over seeds."""

import numpy as np

from lib.experiment import claims as check
from projects.csls import quantities as q

HISTOGRAMS = ("histogram", "histogram_output")


def percent(results, method, metric, scaled=False):
  """A metric in per cent, (seeds,)."""
  return 100 * q.value(results, method, metric, scaled)


def missing(results, names, metrics=()):
  """An outcome that says what is lacking, or None."""
  absent = [name for name in names if name != "ts" and not q.there(results, name)]
  if absent:
    return check.not_tested(f"{', '.join(absent)} cannot be had with these data.")
  if "confidence_unseen" in set(metrics) - set(results["methods"]["onehot"]):
    return check.not_tested("no data of unseen classes; `unseen` names a set of them.")
  if len(results["seeds"]) < 2:
    return check.not_tested("one seed has no spread to compare with.")
  return None


def needs(*names):
  """A decorator: without these methods the claim is not tested."""

  def decorate(decide):
    return lambda results: missing(results, names) or decide(results)

  return decorate


def lower(a, b, metric, scaled=False):
  """The metric of a is lower than that of b."""

  def decide(results):
    factor, unit = (1, "nats") if metric == "divergence" else (100, "points")
    return missing(results, (a, b), (metric,)) or check.greater(
      factor * q.value(results, b, metric, scaled),
      factor * q.value(results, a, metric, scaled),
      quantity=f"{metric} of {b} − {a}, {unit}",
    )

  return decide


def all_lower(pairs, metrics=tuple(q.METRICS)):
  """Each a below its b by each of the metrics."""
  return lambda results: check.every(
    {f"{a} < {b}, {m}": lower(a, b, m)(results) for a, b in pairs for m in metrics}
  )


def lower_with_temperature(a, others):
  """a below each of the others when all get a temperature."""
  return lambda results: check.every(
    {f"{a} < {b}": lower(a, b, "histogram", scaled=True)(results) for b in others}
  )


def no_gain(a, b):
  """a is not better calibrated than b."""

  @needs(a, b)
  def decide(results):
    gains = {m: percent(results, b, m) - percent(results, a, m) for m in HISTOGRAMS}
    return check.every(
      {m: check.below(x, 0.0, quantity=f"{m} of {b} − {a}, points") for m, x in gains.items()}
    )

  return decide


# --- sweeps -------------------------------------------------------------------------------


def _alphas(results):
  return np.asarray(results["alphas"], float)


def alpha_best(results):
  """α = 0.1 against every other of the grid, for WE and ULS, prediction and output."""
  parts, alphas = {}, _alphas(results)
  here = int(np.argmin(np.abs(alphas - float(results["alpha"]))))
  for kind in ("we", "uls"):
    absent = missing(results, (kind,))
    if absent:
      parts[kind] = absent
      continue
    for metric in HISTOGRAMS:
      values = 100 * q.sweep(results, kind, "alpha", metric)
      for i in np.delete(np.arange(len(alphas)), here):
        parts[f"{kind}, α = {alphas[i]:g}, {metric}"] = check.greater(
          values[:, i], values[:, here], quantity="ECE there − at the paper's α, points"
        )
  return check.every(parts)


@needs("we")
def below_at_every_alpha(results):
  """WE with the paper's β below ULS at each α of the grid."""
  parts = {}
  for metric in HISTOGRAMS:
    ours, theirs = (100 * q.sweep(results, k, "alpha", metric) for k in ("we", "uls"))
    for i, alpha in enumerate(_alphas(results)):
      parts[f"α = {alpha:g}, {metric}"] = check.greater(
        theirs[:, i], ours[:, i], quantity="ECE of ULS − WE, points"
      )
  return check.every(parts)


def alpha_direction(results):
  """Confidence − accuracy is above 0 at the least α of the grid and below 0 at the largest."""
  parts, alphas = {}, _alphas(results)
  for kind in ("we", "uls"):
    absent = missing(results, (kind,))
    if absent:
      parts[kind] = absent
      continue
    confidence, accuracy = (
      100 * q.sweep(results, kind, "alpha", name) for name in ("confidence", "accuracy")
    )
    for end, sign in ((0, 1), (-1, -1)):
      parts[f"{kind}, α = {alphas[end]:g}"] = check.above(
        sign * (confidence - accuracy)[:, end],
        0.0,
        quantity="confidence − accuracy, points"
        if end == 0
        else "accuracy − confidence, points",
      )
  return check.every(parts)


@needs("we")
def u_shaped(results):
  """The inner β with the least validation error against β = 0 and the largest of the grid."""
  betas = np.r_[0.0, np.asarray(results["betas"], float)]
  if len(betas) < 3:
    return check.not_tested("the grid of β has nothing inside.")
  least = q.zero_beta(results, "validation_histogram").mean(0)
  inner = 1 + int(np.argmin(least[1:-1]))
  parts = {}
  for metric in HISTOGRAMS:
    values = 100 * q.zero_beta(results, metric)
    for end in (0, -1):
      parts[f"β = {betas[end]:g}, {metric}"] = check.greater(
        values[:, end],
        values[:, inner],
        quantity=f"ECE there − at β = {betas[inner]:g}, points",
      )
  return check.every(parts)


@needs("we", "shuffled")
def shuffled_at_equal_beta(results):
  """WE below the shuffled similarities at each β of the grid."""
  parts = {}
  for metric in HISTOGRAMS:
    ours, theirs = (100 * q.sweep(results, k, "beta", metric) for k in ("we", "shuffled"))
    for i, beta in enumerate(np.asarray(results["betas"], float)):
      parts[f"β = {beta:g}, {metric}"] = check.greater(
        theirs[:, i], ours[:, i], quantity="ECE of shuffled − WE, points"
      )
  return check.every(parts)


@needs("we", "we_other")
def fixed_beta(results):
  """WE with the paper's α and β, nothing chosen, below both kinds of uniform labels."""
  parts, beta = {}, float(results["beta"])
  here = int(np.argmin(np.abs(np.asarray(results["betas"], float) - beta)))
  for ours in ("we", "we_other"):
    for metric in HISTOGRAMS:
      value = 100 * q.sweep(results, ours, "beta", metric)[:, here]
      for other in ("uls", "uls_matched"):
        parts[f"{ours} < {other}, {metric}"] = check.greater(
          percent(results, other, metric), value, quantity=f"ECE of {other} − {ours}, points"
        )
  return check.every(parts)


@needs("we", "we_other")
def standardisation(results):
  """With β chosen, both readings of the standardisation are within a point."""
  return check.every(
    {
      metric: check.between(
        percent(results, "we_other", metric) - percent(results, "we", metric),
        -1.0,
        1.0,
        quantity="ECE of the other reading − this one, points",
      )
      for metric in HISTOGRAMS
    }
  )


# --- diagrams, estimators, accuracy -------------------------------------------------------


def _bins(results, method, which=""):
  """Score − hit of the bins that no seed leaves empty, in points, by the bin's number."""
  gap = 100 * (
    q.value(results, method, f"bin_score{which}") - q.value(results, method, f"bin_hit{which}")
  )
  full = np.isfinite(gap).all(0)
  return {f"bin {i + 1}{which.replace('_', ', ')}": gap[:, i] for i in np.flatnonzero(full)}


@needs("onehot")
def overconfident(results):
  """One-hot training hits less often than it says in every bin."""
  return check.every(
    {
      name: check.above(gap, 0.0, quantity="confidence − accuracy, points")
      for name, gap in _bins(results, "onehot").items()
    }
  )


@needs("we")
def on_diagonal(results):
  """Every bin of WE is within five points of the diagonal."""
  return check.every(
    {
      name: check.between(gap, -5.0, 5.0, quantity="score − hits, points")
      for which in ("", "_output")
      for name, gap in _bins(results, "we", which).items()
    }
  )


@needs("onehot")
def kde_differs(results):
  """|log KDE / histogram| of the output over that of the prediction."""
  gaps = []
  for metric in ("", "_output"):
    ratios = [
      np.abs(
        np.log(q.value(results, m, f"kde{metric}") / q.value(results, m, f"histogram{metric}"))
      )
      for m in q.TABLE
      if m == "ts" or q.there(results, m)
    ]
    gaps.append(np.mean(ratios, 0))
  return check.greater(gaps[1], gaps[0], quantity="|log KDE/histogram|, output − prediction")


@needs("onehot")
def normaliser(results):
  """Output over prediction ECE of one-hot training, divided by n."""
  ratio = q.value(results, "onehot", "histogram_output") / q.value(
    results, "onehot", "histogram"
  )
  return check.between(ratio, 1.5, 2.5, quantity="output / prediction ECE")


def accuracy_kept(results):
  """Accuracy of WE and ULS minus that of one-hot training."""
  parts = {}
  for method in ("we", "uls"):
    absent = missing(results, (method, "onehot"))
    change = absent is None and percent(results, method, "accuracy") - percent(
      results, "onehot", "accuracy"
    )
    parts[method] = absent or check.between(
      change, -1.0, 1.0, quantity="change of the accuracy, points"
    )
  return check.every(parts)


def _stopped(epoch, metrics):
  """WE below one-hot training stopped at an epoch; the loss in nats, ECE in points."""

  @needs("we", "onehot")
  def decide(results):
    at, parts = epoch(results), {}
    for metric, factor, unit in metrics:
      stopped, ours = q.stopped(results, at, metric), q.ended(results, "we", metric)
      parts[metric] = check.greater(
        factor * stopped, factor * ours, quantity=f"{metric} of stopped one-hot − WE, {unit}"
      )
    return check.every(parts)

  return decide


_ECE, _NLL = ("ece", 100, "points"), ("nll", 1, "nats")
equal_accuracy = _stopped(lambda results: q.epoch_of_equal_accuracy(results, "we"), (_ECE,))
early_stopping = _stopped(q.epoch_of_least_loss, (_ECE, _NLL))


def needs_truth(decide):
  """Not tested where the posterior is not known."""

  def run(results):
    if "true" not in results["methods"]["onehot"]:
      return check.not_tested("the posterior is known for the synthetic classes alone.")
    return decide(results)

  return run

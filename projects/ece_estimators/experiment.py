"""The benchmark of section 5: score distributions whose calibration error is known, evaluation
sets drawn from them, and the error of every estimator on those.
"""

import functools
import os
from concurrent import futures

import jax
import jax.numpy as jnp
import numpy as np

from lib.data import synthetic
from lib.experiment import Program, UserError, at_least
from lib.metrics import calibration
from projects.ece_estimators import estimators, quantities

MODELS = ("logistic", "naive_bayes", "svc", "forest")


def check(config):
  """Raises a UserError for numbers that make no sense."""
  for key in ("models", "classes", "dims", "sizes", "bins", "bandwidths"):
    if not config[key]:
      raise UserError(f"{key} is empty; name at least one.")
    if len(set(config[key])) < len(config[key]):
      raise UserError(f"{key} is {tuple(config[key])}; name each once.")
  for name in config.models:
    if name not in MODELS:
      raise UserError(f"models has '{name}'; choose from {', '.join(MODELS)}.")
  at_least(config, 1, "seeds", "sets", "train.sets", "holdout.bins", "few_bins")
  at_least(config, 1, "figure.bins", "figure.resamples")
  at_least(config, 2, "figure.size")
  for key in ("bins", "dims"):
    if min(config[key]) < 1:
      raise UserError(f"{key} has {min(config[key])}; all must be at least 1.")
  if config.few_bins in config.bins:
    raise UserError(f"few_bins is {config.few_bins}, which bins has already.")
  if not config.low < 1:
    raise UserError(f"low is {config.low}; the means need a range below 1.")
  if min(config.classes) < 2:
    raise UserError(f"classes is {tuple(config.classes)}; a classifier needs at least 2.")
  if config.train.size < 20 * max(config.classes):
    raise UserError(f"train.size is {config.train.size}; give 20 examples for each class.")
  if min(config.sizes) < 2 or list(config.sizes) != sorted(set(config.sizes)):
    raise UserError(f"sizes is {tuple(config.sizes)}; give rising sizes of at least 2.")
  if not 2 <= config.holdout.pool <= config.holdout.points:
    raise UserError("holdout.pool must be at least 2 and at most holdout.points.")
  if not 0 < config.percentile < 100:
    raise UserError(f"percentile is {config.percentile}; it must be between 0 and 100.")
  if min(*config.bandwidths, config.figure.bandwidth) <= 0 or config.points < 16:
    raise UserError("bandwidths must be positive, and points at least 16.")


# --- score distributions -----------------------------------------------------------------


def classifier(name: str, seed: int):
  """One of the four models, with scikit-learn's defaults."""
  from sklearn import calibration as platt
  from sklearn import ensemble, linear_model, naive_bayes, svm

  return {
    "logistic": lambda: linear_model.LogisticRegression(),
    "naive_bayes": lambda: naive_bayes.GaussianNB(),
    "svc": lambda: platt.CalibratedClassifierCV(svm.SVC(), ensemble=False),
    "forest": lambda: ensemble.RandomForestClassifier(100, random_state=seed),
  }[name]()


def all_pairs(scores, labels):
  """Confidence in row 0, then the classes: (C + 1, n) scores and hits."""
  s, h = calibration.confidence_pairs(scores, labels)
  each = calibration.class_pairs(scores, labels)
  return np.concatenate([[s], each.s]), np.concatenate([[h], each.h])


def all_probabilities(scores, posterior):
  """P(hit | x) of the same rows, from the exact posterior: (C + 1, n)."""
  predicted = scores.argmax(-1)
  top = np.take_along_axis(posterior, predicted[:, None], -1)[:, 0]
  return np.concatenate([[top], posterior.T])


def distribution(config, classes: int, dim: int, seed: int):
  """Score distributions of the models on one mixture, for each training set.

  Returns:
    dict of arrays with axes (sets, models, rows = C + 1, …): a pool of scores `s` and hits
    `h`, the true ECE from the exact posterior, and as in the paper from labels in bins.
  """
  task = synthetic.modal_gaussians(
    1000 * seed + 10 * classes + dim, classes=classes, dim=dim, low=config.low
  )
  rng = np.random.default_rng([seed, classes, dim])
  x, y = task.sample(rng, config.holdout.points)
  posterior = task.posterior(x)
  pool, bins = config.holdout.pool, config.holdout.bins
  true_ece = jax.jit(functools.partial(calibration.true_ece, bins=bins))
  legacy = jax.jit(functools.partial(calibration.ece, bins=bins))
  found = []
  for _ in range(config.train.sets):
    inputs, labels = _with_all_classes(task, rng, config.train.size)
    for name in config.models:
      model = classifier(name, seed).fit(inputs, labels)
      scores = model.predict_proba(x)
      scores = (scores / scores.sum(1, keepdims=True)).astype(np.float32)
      s, h = all_pairs(scores, y)
      p = all_probabilities(scores, posterior).astype(np.float32)
      found.append(
        {
          "s": s[:, :pool],
          "h": h[:, :pool].astype(bool),
          "true_ece": np.asarray(true_ece(s, p)),
          "labelled_ece": np.asarray(legacy(s, h)),
          "accuracy": np.float32(h[0].mean()),
        }
      )
  shape = (config.train.sets, len(config.models))
  return {
    name: np.stack([one[name] for one in found]).reshape(*shape, *np.shape(found[0][name]))
    for name in found[0]
  } | {"bayes_accuracy": np.float32(task.bayes)}


def _with_all_classes(task, rng, size):
  """A training set in which every class has the five examples that Platt's folds need."""
  for _ in range(100):
    x, y = task.sample(rng, size)
    if np.bincount(y, minlength=task.num_classes).min() >= 5:
      return x, y
  raise UserError(f"train.size is {size}: too few examples of some class; make it larger.")


def distributions(config, classes: int, dim: int, seeds):
  """All seeds of one shape, (seeds, sets, models, …), as many at once as there are cores."""
  work = functools.partial(distribution, config, classes, dim)
  with futures.ThreadPoolExecutor(os.cpu_count()) as threads:
    found = list(threads.map(work, seeds))
  found = {name: np.stack([one[name] for one in found]) for name in found[0]}
  if found["true_ece"].min() <= 0:
    raise UserError(
      f"a true error is estimated as {found['true_ece'].min():.3g}: give more "
      f"holdout.points than {config.holdout.points}, or fewer holdout.bins."
    )
  return found


# --- estimators on evaluation sets --------------------------------------------------------


def step(config, operands, state):
  """One evaluation set of `config.size` draws with replacement from a member's pool."""
  size, pool = config.size, operands["s"].shape[1]
  key = jax.random.fold_in(jax.random.fold_in(jax.random.key(size), config.draw), state)
  index = jax.random.randint(key, (size,), 0, pool)
  s, h = operands["s"][config.row, index], operands["h"][config.row, index]
  if config.calibrated:  # control: the same scores, with labels that they are true of
    h = jax.random.uniform(jax.random.fold_in(key, 1), (size,)) < s
  found = estimators.estimates(
    s, h.astype(s.dtype), config.bins, config.bandwidths, config.few_bins, config.points
  )
  return state + 1, {"estimates": jnp.stack(found)}


ESTIMATES = Program(
  init=lambda config, operands: jnp.zeros([], jnp.int32),
  step=step,
  finish=lambda config, operands, state, history: dict(history),
  steps=lambda config: config.sets,
)


def relative_errors(estimates, truth, percentile):
  """(estimate − truth) / truth over the sets: percentile of its size, mean, deviation.

  Args:
    estimates: (…, sets, E).
    truth: (…).
    percentile: of the absolute errors.

  Returns:
    All three (…, E).
  """
  error = estimates / truth[..., None, None] - 1
  return np.percentile(np.abs(error), percentile, axis=-2), error.mean(-2), error.std(-2)


def evaluate(config, ctx, groups, size):
  """Errors of all estimators at one size, (distributions, sets · models, E), by setting.

  `groups` are the score distributions by shape; the rows of one classifier are evaluated on
  the same draws, and the mean over its classes is the class-wise estimate.
  """
  rows, draws, pools, hits = [], [], [], []
  for group in groups:
    s = group["s"].reshape(-1, *group["s"].shape[-2:])
    pools.append(s.reshape(-1, s.shape[-1]))
    hits.append(group["h"].reshape(-1, s.shape[-1]))
    first = draws[-1] + 1 if draws else 0
    draws += list(np.repeat(np.arange(first, first + len(s)), s.shape[1]))
  rows = [(row, draw) for row, draw in enumerate(map(int, draws))]
  operands = {"s": np.concatenate(pools), "h": np.concatenate(hits)}
  over = {("row", "draw"): rows}
  found = ctx.members(
    f"{size} samples",
    ESTIMATES,
    config,
    operands,
    over=over,
    set={"size": size, "calibrated": False},
  )["estimates"].astype(np.float64)

  results = {"conf": [], "cw": []}
  start = 0
  for group in groups:
    shape = group["true_ece"].shape  # (seeds, sets, models, rows)
    count = int(np.prod(shape))
    part = found[start : start + count].reshape(shape[0], -1, shape[-1], *found.shape[1:])
    start += count
    settings = {"conf": part[:, :, 0], "cw": part[:, :, 1:].mean(2)}
    for setting, values in settings.items():
      truths = [truth_of(group, name, setting) for name in ("true_ece", "labelled_ece")]
      errors, bias, spread = relative_errors(values, truths[0], config.percentile)
      labelled, *_ = relative_errors(values, truths[1], config.percentile)
      results[setting].append(
        {"error": errors, "bias": bias, "spread": spread, "error_labelled": labelled}
      )
  return {
    setting: {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for setting, parts in results.items()
  }


def truth_of(group, name, setting):
  """The true ECE of a group's classifiers, (seeds, sets · models)."""
  truth = group[name].astype(np.float64).reshape(len(group[name]), -1, group[name].shape[-1])
  return truth[..., 0] if setting == "conf" else truth[..., 1:].mean(-1)


def calibrated(config, ctx, groups):
  """Control: confidence estimates of the same scores with labels drawn from them.

  Returns:
    (distributions, sets · models, E), the mean over the evaluation sets of the largest size.
  """
  pools = [group["s"][..., 0, :].reshape(-1, group["s"].shape[-1]) for group in groups]
  rows = [(row, row) for row in range(sum(map(len, pools)))]
  operands = {"s": np.concatenate(pools)}
  operands["h"] = np.zeros(operands["s"].shape, bool)
  found = ctx.members(
    f"{config.sizes[-1]} samples, calibrated",
    ESTIMATES,
    config,
    operands,
    over={("row", "draw"): rows},
    set={"size": config.sizes[-1], "calibrated": True},
  )["estimates"]
  count = config.train.sets * len(config.models)
  return found.mean(1).reshape(-1, count, found.shape[-1])


def figure_1(config, group):
  """Diagram, curve and bootstrapped curve of one classifier's confidence."""
  size = min(config.figure.size, group["s"].shape[-1])
  s, h = (group[name][0, 0, 0, 0, :size].astype(np.float32) for name in ("s", "h"))
  edges = np.linspace(0, 1, config.figure.bins + 1)
  band = calibration.reliability_band(
    jax.random.key(config.seed), s, h, config.figure.bandwidth, config.figure.resamples
  )
  parts = {
    "diagram": calibration.reliability_diagram(s, h, edges),
    "curve": calibration.reliability_curve(s, h, config.figure.bandwidth),
    "band": band,
  }
  return {
    name: {k: np.asarray(v) for k, v in x._asdict().items()} for name, x in parts.items()
  }


def run(config, ctx):
  """All score distributions, all sizes; results have the distributions first."""
  seeds = ctx.seeds(config)
  groups = [
    ctx.stage(f"scores, {c} classes, {d} dimensions", distributions, config, c, d, seeds)
    for c in config.classes
    for d in config.dims
  ]
  at = [evaluate(config, ctx, groups, size) for size in config.sizes]
  results = {
    setting: {name: np.stack([one[setting][name] for one in at], 2) for name in at[0][setting]}
    for setting in ("conf", "cw")
  }
  for setting, found in results.items():
    for name in ("true_ece", "labelled_ece"):
      found[name] = np.concatenate([truth_of(group, name, setting) for group in groups])
    found["resampled"] = {
      reading: quantities.resampled(quantities.error(results, setting, reading))
      for reading in quantities.READINGS
    }
  return results | {
    "names": np.array(estimators.names(config.bins, config.bandwidths, config.few_bins)),
    "few": np.array(config.few_bins),
    "papers": np.array(len(estimators.paper_names(config.bins, config.bandwidths))),
    "bins": np.array(config.bins),
    "sizes": np.array(config.sizes),
    "models": np.array(list(config.models) * config.train.sets),
    "accuracy": np.concatenate([g["accuracy"].reshape(len(seeds), -1) for g in groups]),
    "calibrated": calibrated(config, ctx, groups),
    "figure_1": ctx.stage("figure 1", figure_1, config, groups[-1]),
  }

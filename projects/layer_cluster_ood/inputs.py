"""Images to train on and to tell apart, and which numbers of a config make sense."""

import jax.numpy as jnp
import numpy as np

from lib import data, models, training
from lib.experiment import UserError, at_least

VARIANTS = ("flat", "pool", "global")
ATTACKS = ("fgsm", "bim", "pgd", "pgd_dlr")
SETS = ("test", "natural", *ATTACKS)  # what is to be told apart; the first is normal
OUTSIDE = SETS[1:]

_COUNTS = (
  *("seeds", "fit_examples", "test_examples", "calibration_examples", "attack_batch"),
  *("neighbours", "umap.epochs", "umap.transform_epochs", "tsne.batch", "tsne.epochs"),
  *("kmeans.iterations", "kmeans.restarts", "dbscan.min_samples", "tsne.perplexity"),
)
_NOT_NEGATIVE = (
  *("umap.negatives", "umap.min_dist", "timing.repeats"),
  *(f"attacks.{name}.radius" for name in ATTACKS),
  *(f"attacks.{name}.{key}" for name in ATTACKS[1:] for key in ("step", "steps")),
)


def check(config):
  """Raises a UserError for numbers that make no sense."""
  at_least(config, 1, *_COUNTS)
  at_least(config, 2, "dimensions", "umap.n_neighbors", "kmeans.least")
  at_least(config, config.kmeans.least, "kmeans.largest")
  at_least(config, 0, *_NOT_NEGATIVE)
  _check_choices(config)
  _check_sizes(config)


def _check_choices(config):
  """Lists of numbers and names."""
  if config.threshold not in config.thresholds:
    raise UserError(f"config.thresholds must contain config.threshold, {config.threshold}.")
  if len(set(config.thresholds)) < 2 or not all(0 <= t < 1 for t in config.thresholds):
    raise UserError(f"thresholds is {config.thresholds}: give two or more from 0 to below 1.")
  if not config.dbscan.quantiles or not all(0 <= q <= 1 for q in config.dbscan.quantiles):
    raise UserError(f"dbscan.quantiles is {config.dbscan.quantiles}: give some from 0 to 1.")
  if "flat" not in config.variants or set(config.variants) - set(VARIANTS):
    raise UserError(f"config.variants must be some of {', '.join(VARIANTS)}, flat among them.")


def _check_sizes(config):
  """Numbers of examples against each other."""
  if config.fit_examples > config.train_examples:
    raise UserError(
      f"fit_examples is {config.fit_examples}, more than train_examples, "
      f"{config.train_examples}."
    )
  needed = max(config.neighbours, config.umap.n_neighbors)
  least = max(needed, config.kmeans.largest, config.dbscan.min_samples)
  if config.fit_examples <= least:
    raise UserError(f"fit_examples is {config.fit_examples}: it must be more than {least}.")
  if config.attack_batch > config.test_examples:
    raise UserError(f"attack_batch is {config.attack_batch}, more than test_examples.")
  if config.tsne.perplexity >= min(config.tsne.batch, config.fit_examples):
    raise UserError(
      f"tsne.perplexity is {config.tsne.perplexity}: it must be less than tsne.batch and "
      "fit_examples."
    )
  timed = config.timing
  if timed.repeats == 1 or (timed.repeats and len(set(timed.examples)) < 2):
    raise UserError("timing needs two repeats and two numbers of examples, or 0 repeats.")
  if timed.repeats and min(timed.examples) <= needed:
    raise UserError(f"timing.examples is {timed.examples}: each must be more than {needed}.")


def _first(config, name, shape, without=()):
  """The first test_examples test examples of a set of other images, scaled to [0, 1]."""
  found = data.load(name)
  if tuple(found.info.input_shape) != tuple(shape):
    raise UserError(f"{name} has inputs of shape {found.info.input_shape}, dataset {shape}.")
  if found.test is None:
    raise UserError(f"{name} has no test split: choose a set that has one.")
  left_out = [i for i, label in enumerate(found.info.class_names) if label in without]
  found = data.scale(found) if found.info.maximum is not None else found
  kept = ~np.isin(found.test.targets, left_out)
  if kept.sum() < config.test_examples:
    raise UserError(
      f"{name} has {kept.sum()} test inputs, fewer than test_examples, {config.test_examples}."
    )
  return data.Examples(*(a[kept][: config.test_examples] for a in found.test))


def prepare(config):
  """Images in [0, 1]: training and calibration examples, the test set, natural outsiders.

  "known" are examples of the training classes in the style of the natural outsiders; there
  are none of them where `natural.known` is empty.
  """
  check(config)
  found = data.load_images(config.dataset)
  if found.info.maximum is not None:
    found = data.scale(found)
  found = data.split(
    found, 0, validation=int(config.calibration_examples), train=int(config.train_examples)
  )
  if found.test is None or found.test.size < config.test_examples:
    raise UserError(f"dataset has no {config.test_examples} test examples.")
  test = data.Examples(*(a[: config.test_examples] for a in found.test))
  shape, natural = found.info.input_shape, config.natural
  known = data.Examples(*(a[:0] for a in test))
  if natural.known:
    known = _first(config, natural.known, shape)
  splits = {
    "train": found.train,
    "calibration": found.validation,
    "test": test,
    "known": known,
  }
  operands = {name: training.Split(*map(jnp.asarray, part)) for name, part in splits.items()}
  outsiders = _first(config, natural.dataset, shape, tuple(natural.without)).inputs
  return operands | {
    "natural": jnp.asarray(outsiders),
    "classes": jnp.zeros((found.info.num_classes, 0)),
  }


def network(config, operands):
  """The CNN of the config."""
  return models.StridedCNN(
    tuple(config.model.channels), tuple(config.model.sizes), operands["classes"].shape[0]
  )

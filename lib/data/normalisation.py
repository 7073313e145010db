"""Normalisation with statistics of the training split only."""

import math
from typing import NamedTuple

import numpy as np

from lib.data.dataset import Dataset, map_inputs, replace_info


class Statistics(NamedTuple):
  """What was subtracted and divided by; float32, broadcastable against a batch without its
  axis.

  `target_mean` and `target_scale` are 0 and 1 where the targets were left alone.
  """

  mean: np.ndarray
  scale: np.ndarray
  target_mean: np.ndarray
  target_scale: np.ndarray


_ROWS = 2048  # in float64 at a time: a whole set of images would need gigabytes


def _moments(x, axes):
  """Mean and standard deviation over `axes` in float64; scale 1 where x does not vary."""
  count = math.prod(x.shape[a] for a in axes)
  blocks = [x[i : i + _ROWS] for i in range(0, len(x), _ROWS)]
  mean = sum(b.sum(axis=axes, dtype=np.float64) for b in blocks) / count
  deviation = np.sqrt(sum(((b - mean) ** 2).sum(axis=axes) for b in blocks) / count)
  # A constant feature has a deviation of rounding size, not exactly 0: dividing by it would
  # turn it into noise of size 1 on the training split, and into anything at all on the others.
  constant = deviation <= 1e-9 * np.abs(mean)
  return mean, np.where(constant, 1.0, deviation)


def normalise(
  dataset: Dataset,
  statistics: Statistics | None = None,
  *,
  over: str = "feature",
  targets: bool = False,
) -> tuple[Dataset, Statistics]:
  """Standardises inputs: x -> (x - mean) / scale, from the training split's moments.

  Args:
    dataset: inputs of any numeric type; they come out float32.
    statistics: use these and compute none (to treat new data as the training data was).
    over: what shares one mean and scale. "feature": every entry of the input has its own;
      "channel": one a channel, the last axis (images); "all": one number for the whole set.
    targets: standardise real targets too (regression).

  Returns:
    The dataset, and the statistics. A feature that is constant over the training split is
    centred and not scaled.

  Raises:
    ValueError: for another `over`, for `targets` with classes, or an empty training split.
  """
  if targets and dataset.info.task != "regression":
    raise ValueError("only the targets of a regression can be standardised")
  if statistics is None:
    x, y = dataset.train
    if len(x) == 0:
      raise ValueError("the training split is empty")
    every = tuple(range(x.ndim))
    axes = {"feature": (0,), "channel": every[:-1], "all": every}
    if over not in axes:
      raise ValueError(f"over must be one of {', '.join(axes)}, not {over!r}")
    moments = _moments(x, axes[over])
    moments += _moments(y, (0,)) if targets else (0.0, 1.0)
    statistics = Statistics(*(np.float32(m) for m in moments))
  # In float64: a feature far from zero keeps its digits through the subtraction.
  mean, deviation = np.float64(statistics.mean), np.float64(statistics.scale)

  def standardise(x):
    out = np.empty(x.shape, np.float32)
    for i in range(0, len(x), _ROWS):
      out[i : i + _ROWS] = (x[i : i + _ROWS] - mean) / deviation
    return out

  normalised = map_inputs(dataset, standardise)
  if targets:
    centre, spread = np.float64(statistics.target_mean), np.float64(statistics.target_scale)
    for name in ("train", "validation", "test"):
      part = getattr(normalised, name)
      if part is not None:
        part = part._replace(targets=((part.targets - centre) / spread).astype(np.float32))
        normalised = normalised._replace(**{name: part})
    if dataset.info.bayes_mse is not None:
      mse = dataset.info.bayes_mse / float(statistics.target_scale) ** 2
      normalised = replace_info(normalised, bayes_mse=mse)
  return replace_info(normalised, maximum=None), statistics

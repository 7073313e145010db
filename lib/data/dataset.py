"""What a data set is here: arrays by split, and what is known of them."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np


class Examples(NamedTuple):
  """One split: `inputs` (n, ...) and `targets` (n,), or (n, k) for several real targets."""

  inputs: np.ndarray
  targets: np.ndarray

  @property
  def size(self) -> int:
    return len(self.targets)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Info:
  """What is known of a data set. A pytree without leaves, so it passes through
  transformations.

  Attributes:
    name: as given to `load`, options included.
    task: "classification" (int32 targets 0..num_classes-1) or "regression" (float32 targets).
    input_shape: shape of one input.
    num_classes: 0 for a regression.
    class_names: one name a class; empty for a regression.
    feature_names: one name a feature of a table; empty for images.
    maximum: the largest value an integer input can take (255 for 8-bit images, 16 for digits);
      None where inputs are real numbers.
    bayes_accuracy: the best accuracy any classifier can have in expectation, where known.
    bayes_mse: the least mean squared error any regression can have, where known.
    target_name: name of the target.
  """

  name: str
  task: str
  input_shape: tuple[int, ...]
  num_classes: int = 0
  class_names: tuple[str, ...] = ()
  feature_names: tuple[str, ...] = ()
  maximum: int | None = None
  bayes_accuracy: float | None = None
  bayes_mse: float | None = None
  target_name: str = ""


class Dataset(NamedTuple):
  """A pytree of NumPy arrays; `validation` and `test` are None where the set has none."""

  train: Examples
  validation: Examples | None
  test: Examples | None
  info: Info


def replace_info(dataset: Dataset, **changes) -> Dataset:
  """The same examples with other entries of `info`."""
  return dataset._replace(info=dataclasses.replace(dataset.info, **changes))


def map_inputs(dataset: Dataset, function) -> Dataset:
  """Applies `function` to the inputs of every split that is there."""
  changed = {
    name: part._replace(inputs=function(part.inputs))
    for name in ("train", "validation", "test")
    if (part := getattr(dataset, name)) is not None
  }
  return dataset._replace(**changed)


def scale(dataset: Dataset, low: float = 0.0, high: float = 1.0) -> Dataset:
  """Maps integer inputs 0..maximum linearly to float32 in [low, high].

  x -> low + (high - low) x / maximum, with `info.maximum` (255 for 8-bit images).

  Raises:
    ValueError: if the inputs are real numbers already (use `normalise` for those).
  """
  maximum = dataset.info.maximum
  if maximum is None:
    raise ValueError(f"{dataset.info.name} holds real numbers, not integers: use normalise")
  slope = np.float32((high - low) / maximum)
  scaled = map_inputs(dataset, lambda x: x.astype(np.float32) * slope + np.float32(low))
  return replace_info(scaled, maximum=None)


def flatten(dataset: Dataset) -> Dataset:
  """Inputs (n, ...) -> (n, d), for models that take vectors."""
  flat = map_inputs(dataset, lambda x: x.reshape(len(x), -1))
  return replace_info(flat, input_shape=flat.train.inputs.shape[1:])

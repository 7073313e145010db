"""Training runs as pure functions."""

from lib.training import terms
from lib.training.augment import pad_crop_flip
from lib.training.classification import (
  Batch,
  Best,
  Data,
  Hypers,
  Split,
  Task,
  TrainState,
  epoch,
  evaluate,
  finish,
  init,
  minibatch,
  steps_per_epoch,
  train,
  variables,
)
from lib.training.config import from_config
from lib.training.optimizers import optimizer, optimizer_names, schedule

__all__ = [
  "Batch",
  "Best",
  "Data",
  "Hypers",
  "Split",
  "Task",
  "TrainState",
  "epoch",
  "evaluate",
  "finish",
  "from_config",
  "init",
  "minibatch",
  "optimizer",
  "optimizer_names",
  "pad_crop_flip",
  "schedule",
  "steps_per_epoch",
  "terms",
  "train",
  "variables",
]

"""Training runs as pure functions.

A `Task` is what is fixed (network, terms of the loss, optimiser), `Hypers` are the numbers
that may be swept, `Data` the splits. `train(task, key, hypers, data)` is a whole run: jit it,
and vmap it over keys and over every leaf of the numbers.

>>> import jax
>>> from lib import data, models
>>> moons = data.load("synthetic:two_moons?n_train=200&n_test=200")
>>> splits = Data(train=Split(*moons.train), test=Split(*moons.test))
>>> task = Task(models.MLP((32, 2)), epochs=20, batch_size=50)
>>> run = jax.jit(jax.vmap(lambda key: train(task, key, Hypers(1e-2), splits)[1]))
>>> results = run(jax.random.split(jax.random.key(0), 4))  # four seeds at once
>>> results["test_accuracy"].shape, bool((results["test_accuracy"] > 0.8).all())
((4,), True)
"""

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

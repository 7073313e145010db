"""A training run from a config."""

from __future__ import annotations

from collections.abc import Mapping

import jax
from flax import linen as nn

from lib.experiment.errors import UserError, did_you_mean
from lib.training.classification import Hypers, Task, Term

_TRAIN = ("epochs", "batch_size", "eval_batch", "remainder", "keep", "redraw")
_OPTIMIZER = ("name", "learning_rate", "weight_decay", "decay", "decay_mask")


def _is_number(value) -> bool:
  if isinstance(value, bool | str) or value is None:
    return False
  return isinstance(value, int | float | jax.Array) or hasattr(value, "dtype")


def _check_not_negative(name, value):
  # A traced value is a point of a sweep, which is checked where it is concrete.
  if isinstance(value, int | float) and value < 0:
    raise UserError(f"{name} is {value}: it must not be negative.")


def from_config(
  config, model: nn.Module, terms: Mapping[str, Term] | None = None, augment=None, **options
) -> tuple[Task, Hypers]:
  """The static part and the numbers of a training run, as a config says.

  Reads, all but the first three optional:

  - `config.train.epochs`, `config.train.batch_size` and `eval_batch`, `remainder`, `keep`,
    `redraw`: see `Task` (other keys of `config.train` are the project's);
  - `config.optimizer.learning_rate` and `name`, `weight_decay`, `decay`, `decay_mask`; every
    other key is an argument of the optax optimiser (`b1`, `momentum`, `nesterov`, …);
  - `config.schedule.name`; every other key is a number of the schedule;
  - `config.weights`: a weight ≥ 0 for each of `terms`.

  Numbers may be traced arrays (points of a sweep).

  Args:
    config: a ConfigDict or mapping.
    model: the network.
    terms: name -> term of the objective.
    augment: (key, inputs) -> inputs of a minibatch, or None.
    **options: fields of `Task` that no config can hold: `transform`, `project`.

  Raises:
    UserError: a name is unknown, or a number negative.
  """
  terms = dict(terms or {})
  train = dict(config["train"])
  optimizer = dict(config["optimizer"])
  schedule = dict(config.get("schedule", {}) or {"name": "constant"})
  weights = dict(config.get("weights", {}))
  if missing := sorted(set(terms) - set(weights)):
    raise UserError(f"config.weights has no weight for {', '.join(missing)}: add it.")
  for name, weight in weights.items():
    if name not in terms:
      raise UserError(
        f"config.weights.{name} is for no term of the objective: it has "
        f"{', '.join(terms) or 'none'}." + did_you_mean(name, terms)
      )
    _check_not_negative(f"config.weights.{name}", weight)
  for name in ("learning_rate", "weight_decay"):
    _check_not_negative(f"config.optimizer.{name}", optimizer.get(name, 0.0))

  extra = {name: value for name, value in optimizer.items() if name not in _OPTIMIZER}
  fixed = {name: value for name, value in extra.items() if not _is_number(value)}
  task = Task(
    model=model,
    terms=terms,
    optimizer=optimizer.get("name", "adam"),
    optimizer_options=fixed,
    **{name: optimizer[name] for name in ("decay", "decay_mask") if name in optimizer},
    schedule=schedule.pop("name", "constant"),
    augment=augment,
    **{name: train[name] for name in _TRAIN if name in train},
    **options,
  )
  hypers = Hypers(
    learning_rate=optimizer["learning_rate"],
    weight_decay=optimizer.get("weight_decay", 0.0),
    weights=weights,
    optimizer={name: value for name, value in extra.items() if _is_number(value)},
    schedule=schedule,
  )
  return task, hypers

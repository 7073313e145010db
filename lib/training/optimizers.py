"""Any optax optimiser and a schedule by name, with numbers that may be traced."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lib.experiment.errors import UserError, did_you_mean
from lib.losses import kernels_only

Schedule = Callable[[Any], Any]


@functools.cache
def optimizer_names() -> tuple[str, ...]:
  """Names of the optax aliases that take a learning rate and need gradients only."""
  names = []
  for name in dir(optax):
    alias = getattr(optax, name)
    if name.startswith("_") or not inspect.isfunction(alias):
      continue
    parameters = list(inspect.signature(alias).parameters)
    if parameters[:1] == ["learning_rate"] and name not in ("lbfgs", "optimistic_adam"):
      names.append(name)
  # Building blocks that also start with a learning rate are not optimisers.
  return tuple(name for name in names if not name.startswith("scale_by"))


def _decoupled(learning_rate: Schedule, weight_decay, mask) -> optax.GradientTransformation:
  """Adds −η_t λ w to the updates."""

  def update(updates, state, params):
    rate = learning_rate(state.count) * weight_decay
    kept = jax.tree.map(lambda _: True, params) if mask is None else mask(params)
    updates = jax.tree.map(lambda u, w, k: u - rate * w if k else u, updates, params, kept)
    return updates, optax.ScaleByScheduleState(optax.safe_increment(state.count))

  def init(params):
    del params
    return optax.ScaleByScheduleState(jnp.zeros([], jnp.int32))

  return optax.GradientTransformation(init, update)


def optimizer(
  name: str,
  learning_rate,
  weight_decay=0.0,
  decay: str = "l2",
  decay_mask: str = "all",
  **options,
) -> optax.GradientTransformation:
  """An optax optimiser by name; every number may be a traced array.

  Args:
    name: an optax alias with a learning rate ("adam", "sgd", "rmsprop", "lion", …).
    learning_rate: number, or function of the step.
    weight_decay: λ ≥ 0. An alias with a `weight_decay` of its own (adamw, lion, …) gets it.
    decay: otherwise "l2" adds λ w to the gradient before the optimiser, which is the gradient
      of λ/2 Σ w² and PyTorch's `weight_decay`; "decoupled" adds −η λ w to the update
      (Loshchilov and Hutter, 2019).
    decay_mask: "all" parameters (PyTorch's) or "kernels" only. Not for the alias's own.
    **options: arguments of the alias (`b1`, `momentum`, `nesterov`, …).

  Raises:
    UserError: a name, an option, `decay` or `decay_mask` is unknown.
  """
  if name not in optimizer_names():
    raise UserError(
      f"Unknown optimizer '{name}': give an optax optimiser such as adam or sgd."
      + did_you_mean(name, optimizer_names())
    )
  alias = getattr(optax, name)
  known = inspect.signature(alias).parameters
  for option in options:
    if option not in known:
      raise UserError(
        f"The optimizer {name} has no option '{option}': it has {', '.join(list(known)[1:])}."
        + did_you_mean(option, known)
      )
  if decay not in ("l2", "decoupled"):
    raise UserError(f"optimizer.decay must be 'l2' or 'decoupled', not '{decay}'.")
  if decay_mask not in ("all", "kernels"):
    raise UserError(f"optimizer.decay_mask must be 'all' or 'kernels', not '{decay_mask}'.")

  if "weight_decay" in known:
    return alias(learning_rate, weight_decay=weight_decay, **options)
  transformation = alias(learning_rate, **options)
  mask = kernels_only if decay_mask == "kernels" else None
  if decay == "l2":
    # The state must have the same structure whether λ is a plain 0 or traced.
    added = optax.add_decayed_weights(weight_decay, mask)
    if mask is None and isinstance(weight_decay, int | float) and weight_decay == 0:
      added = optax.identity()
    return optax.chain(added, transformation)
  rate = learning_rate if callable(learning_rate) else (lambda count: learning_rate)
  return optax.chain(transformation, _decoupled(rate, weight_decay, mask))


# Each is a function of (steps an epoch, epochs, its numbers) that returns step -> factor.


def _constant(per_epoch, epochs):
  del per_epoch, epochs
  return lambda step: jnp.ones([])


def _exponential(per_epoch, epochs, rate=0.97, every=1):
  del epochs
  return lambda step: jnp.asarray(rate) ** jnp.floor(step / per_epoch / every)


def _piecewise(per_epoch, epochs, at=(0.5, 0.75), factor=0.1):
  total = per_epoch * epochs
  return lambda step: (
    jnp.asarray(factor)
    ** sum((step >= jnp.round(part * total)).astype(jnp.int32) for part in at)
  )


def _cosine(per_epoch, epochs, final=0.0):
  return optax.cosine_decay_schedule(1.0, per_epoch * epochs, alpha=final)


def _linear(per_epoch, epochs, final=0.0):
  return optax.linear_schedule(1.0, final, per_epoch * epochs)


def _warmup_cosine(per_epoch, epochs, warmup=1, final=0.0):
  return optax.warmup_cosine_decay_schedule(
    0.0, 1.0, round(warmup * per_epoch), per_epoch * epochs, end_value=final
  )


_SCHEDULES = {
  "constant": _constant,
  "exponential": _exponential,
  "piecewise": _piecewise,
  "cosine": _cosine,
  "linear": _linear,
  "warmup_cosine": _warmup_cosine,
}


def schedule(name: str, steps_per_epoch: int, epochs: int, **numbers) -> Schedule:
  """Function step -> factor of the base learning rate, 1 at the start (0 with a warm-up).

  - "constant";
  - "exponential": rate^⌊epoch / every⌋, with rate = 0.97, every = 1;
  - "piecewise": factor^(number of parts of the training in `at` that have passed), with
    at = (0.5, 0.75), factor = 0.1;
  - "cosine": from 1 to final = 0 along half a cosine, per step;
  - "linear": from 1 to final = 0;
  - "warmup_cosine": from 0 to 1 in `warmup` = 1 epochs, then the cosine to final = 0.

  Args:
    name: one of these.
    steps_per_epoch: minibatches in an epoch.
    epochs: length of the training.
    **numbers: the constants above; all but `warmup` and the length of `at` may be traced.

  Raises:
    UserError: the name or a constant is unknown.
  """
  if name not in _SCHEDULES:
    raise UserError(
      f"Unknown schedule '{name}': choose one of {', '.join(_SCHEDULES)}."
      + did_you_mean(name, _SCHEDULES)
    )
  known = list(inspect.signature(_SCHEDULES[name]).parameters)[2:]
  for number in numbers:
    if number not in known:
      raise UserError(
        f"The schedule {name} has no number '{number}': it has {', '.join(known) or 'none'}."
        + did_you_mean(number, known)
      )
  return _SCHEDULES[name](steps_per_epoch, epochs, **numbers)

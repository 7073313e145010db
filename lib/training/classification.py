"""A classification training run as pure functions of (key, hyper-parameters).

`init`, `epoch` and `finish` are one run cut into its parts; `train` composes them. All of them
can be jitted, and vmapped over keys and over every leaf of `Hypers`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import traverse_util
from jax import lax

from lib import models
from lib.experiment.errors import UserError
from lib.training import optimizers


class Split(NamedTuple):
  """Examples: inputs (n, …) and integer labels (n,)."""

  inputs: jax.Array
  labels: jax.Array


class Data(NamedTuple):
  """The splits of a data set; what is None is not evaluated."""

  train: Split
  validation: Split | None = None
  test: Split | None = None


class Batch(NamedTuple):
  """What a term of the objective sees of a minibatch.

  `logits` (n, classes) is the network's output in train mode and `losses` holds the scalars
  that it sowed into the collection "losses", by name.
  """

  inputs: jax.Array
  labels: jax.Array
  logits: jax.Array
  losses: dict[str, jax.Array]


class Hypers(NamedTuple):
  """Numbers of a training run; every leaf may be traced, so that a sweep is a vmapped axis.

  Attributes:
    learning_rate: base learning rate, which the schedule multiplies.
    weight_decay: λ.
    weights: weight of every term of the objective, by name.
    optimizer: numbers of the optimiser, e.g. {"b1": 0.5}.
    schedule: numbers of the schedule, e.g. {"rate": 0.97, "every": 2}.
  """

  learning_rate: Any
  weight_decay: Any = 0.0
  weights: Mapping[str, Any] = {}
  optimizer: Mapping[str, Any] = {}
  schedule: Mapping[str, Any] = {}


Term = Callable[[Any, Any, jax.Array, Batch], jax.Array]


@dataclasses.dataclass(frozen=True)
class Task:
  """What is static in a training run; hashable, without arrays.

  Attributes:
    model: flax.linen module with a call (x, train).
    terms: name -> term (params, batch_stats, key, batch) -> scalar of the objective
      mean cross entropy + Σ weight · term; the running statistics are those before the step.
    optimizer: name of an optax optimiser.
    optimizer_options: its arguments that are not numbers, e.g. {"nesterov": True}.
    decay: "l2" or "decoupled", see `optimizer`.
    decay_mask: "all" or "kernels".
    schedule: name of a schedule, see `schedule`.
    epochs: length of the training, which schedules need.
    batch_size: examples in a minibatch, in an order drawn anew every epoch.
    remainder: what happens to the examples that do not fill a minibatch: "keep" makes a last
      smaller step of them (as PyTorch's loader does; the step is compiled a second time),
      "drop" leaves them out of that epoch.
    eval_batch: examples evaluated at once.
    augment: (key, inputs) -> inputs of a minibatch, or None.
    redraw: probability per step with which the terms get a new key; below 1 they see the same
      random numbers for several steps, as in the capacity authors' code (0.1).
    transform: optax transformation of the gradient before the optimiser and its weight decay,
      e.g. `lib.updates.centralise_gradients()`, or None.
    project: parameters -> parameters, applied to the initial ones and after every step (e.g.
      to keep the filters' means at zero), or None.
    keep: "last" keeps the final parameters, "best_validation" those of the first epoch with
      the highest validation accuracy.

  Raises:
    UserError: a name is unknown or a number impossible.
  """

  model: nn.Module
  terms: Mapping[str, Term] = dataclasses.field(default_factory=dict)
  optimizer: str = "adam"
  optimizer_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  decay: str = "l2"
  decay_mask: str = "all"
  schedule: str = "constant"
  epochs: int = 10
  batch_size: int = 100
  remainder: str = "keep"
  eval_batch: int = 1000
  augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None
  redraw: float = 1.0
  transform: optax.GradientTransformation | None = None
  project: Callable[[Any], Any] | None = None
  keep: str = "last"

  def __post_init__(self):
    """Checks the fields and makes the mappings hashable."""
    for name in ("terms", "optimizer_options"):
      value = getattr(self, name)
      pairs = value.items() if isinstance(value, Mapping) else value
      object.__setattr__(self, name, tuple(pairs))
    for name in ("epochs", "batch_size", "eval_batch"):
      if getattr(self, name) < 1:
        raise UserError(f"{name} must be at least 1, not {getattr(self, name)}.")
    for name, choices in (
      ("remainder", ("keep", "drop")),
      ("keep", ("last", "best_validation")),
      ("decay", ("l2", "decoupled")),
      ("decay_mask", ("all", "kernels")),
    ):
      if getattr(self, name) not in choices:
        raise UserError(
          f"{name} must be {' or '.join(map(repr, choices))}, not {getattr(self, name)!r}."
        )
    if not 0 <= self.redraw <= 1:
      raise UserError(f"redraw must be a probability, not {self.redraw}.")


class Best(NamedTuple):
  """Parameters with the highest validation accuracy so far."""

  params: Any
  batch_stats: Any
  accuracy: jax.Array


class TrainState(NamedTuple):
  """State of a run between two steps; `best` is None unless the task keeps the best."""

  params: Any
  batch_stats: Any
  opt_state: Any
  key: jax.Array
  term_key: jax.Array
  step: jax.Array
  best: Best | None = None


def steps_per_epoch(task: Task, examples: int) -> int:
  """Number of steps in an epoch of so many training examples.

  Raises:
    UserError: there is none, because the only batch is incomplete and dropped.
  """
  full, rest = divmod(examples, task.batch_size)
  steps = full + bool(rest and task.remainder == "keep")
  if not steps:
    raise UserError(
      f"{examples} training examples do not fill a batch of {task.batch_size}: "
      "make batch_size smaller or set remainder to 'keep'."
    )
  return steps


def _learning_rate(task: Task, hypers: Hypers, examples: int):
  factor = optimizers.schedule(
    task.schedule, steps_per_epoch(task, examples), task.epochs, **hypers.schedule
  )
  return lambda step: hypers.learning_rate * factor(step)


def _optimizer(task: Task, hypers: Hypers, examples: int) -> optax.GradientTransformation:
  optimizer = optimizers.optimizer(
    task.optimizer,
    _learning_rate(task, hypers, examples),
    hypers.weight_decay,
    task.decay,
    task.decay_mask,
    **dict(task.optimizer_options),
    **hypers.optimizer,
  )
  return optimizer if task.transform is None else optax.chain(task.transform, optimizer)


def _variables(params, batch_stats):
  return {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}


def init(task: Task, key: jax.Array, hypers: Hypers, data: Data) -> TrainState:
  """The state before the first epoch.

  Raises:
    ValueError: the weights of `hypers` are not for the terms of `task`.
    UserError: the best epoch on validation data is to be kept, and there are none.
  """
  if set(hypers.weights) != {name for name, _ in task.terms}:
    raise ValueError(
      f"weights for {sorted(hypers.weights)}, terms {sorted(name for name, _ in task.terms)}"
    )
  param_key, run_key, term_key = jax.random.split(key, 3)
  variables = models.init(task.model, param_key, data.train.inputs.shape[1:])
  params, batch_stats = variables["params"], variables.get("batch_stats", {})
  if task.project is not None:
    params = task.project(params)
  best = None
  if task.keep == "best_validation":
    if data.validation is None:
      raise UserError(
        "keep = 'best_validation' needs validation data: set aside a part of it."
      )
    best = Best(params, batch_stats, jnp.full([], -1.0))
  return TrainState(
    params=params,
    batch_stats=batch_stats,
    opt_state=_optimizer(task, hypers, len(data.train.labels)).init(params),
    key=run_key,
    term_key=term_key,
    step=jnp.zeros([], jnp.int32),
    best=best,
  )


def minibatch(
  task: Task, hypers: Hypers, state: TrainState, batch: Split, examples: int
) -> tuple[TrainState, dict[str, jax.Array]]:
  """One step of the optimiser on a minibatch; measurements are means over the minibatch.

  `examples` is the size of the training split, which the schedule needs.
  """
  key, augment_key, model_key, redraw_key = jax.random.split(state.key, 4)
  inputs, labels = batch
  if task.augment is not None:
    inputs = task.augment(augment_key, inputs)
  term_key = state.term_key
  if task.terms:
    fresh_key, coin_key = jax.random.split(redraw_key)
    if task.redraw == 1.0:
      term_key = fresh_key
    else:
      fresh = (state.step == 0) | jax.random.bernoulli(coin_key, task.redraw)
      term_key = jnp.where(fresh, fresh_key, term_key)

  def objective(params):
    sample_key, dropout_key = jax.random.split(model_key)
    logits, updated = task.model.apply(
      _variables(params, state.batch_stats),
      inputs,
      train=True,
      rngs={"sample": sample_key, "dropout": dropout_key},
      mutable=["batch_stats", "losses"],
    )
    example_losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
    cross_entropy = example_losses.mean()
    sown = traverse_util.flatten_dict(updated.get("losses", {}), sep="/")
    seen = Batch(inputs, labels, logits, sown)
    values = {
      name: term(params, state.batch_stats, jax.random.fold_in(term_key, index), seen)
      for index, (name, term) in enumerate(task.terms)
    }
    loss = cross_entropy + sum(hypers.weights[name] * value for name, value in values.items())
    accuracy = jnp.mean(logits.argmax(-1) == labels)
    measured = {"train_cross_entropy": cross_entropy, "train_accuracy": accuracy}
    measured |= {f"train_{name}": value for name, value in values.items()}
    return loss, (measured, updated.get("batch_stats", {}))

  (loss, (measured, batch_stats)), gradient = jax.value_and_grad(objective, has_aux=True)(
    state.params
  )
  optimizer = optax.with_extra_args_support(_optimizer(task, hypers, examples))
  updates, opt_state = optimizer.update(gradient, state.opt_state, state.params, value=loss)
  params = optax.apply_updates(state.params, updates)
  state = state._replace(
    params=params if task.project is None else task.project(params),
    batch_stats=batch_stats,
    opt_state=opt_state,
    key=key,
    term_key=term_key,
    step=state.step + 1,
  )
  return state, {"train_loss": loss, **measured}


def _score(model, variables, inputs, labels):
  """Sums of cross entropy and of hits over a chunk."""
  logits = models.apply(model, variables, inputs)
  losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
  return losses.sum(), jnp.sum(logits.argmax(-1) == labels).astype(losses.dtype)


def evaluate(
  model: nn.Module, variables, split: Split, chunk: int = 1000
) -> tuple[jax.Array, jax.Array]:
  """Mean cross entropy and accuracy of the network in eval mode over a whole split.

  Args:
    model: flax.linen module.
    variables: its variables.
    split: examples, all of which count, whether or not they fill the last chunk.
    chunk: examples evaluated at once.
  """
  n = len(split.labels)
  full, rest = divmod(n, chunk)

  def score(start, size):
    inputs, labels = (lax.dynamic_slice_in_dim(a, start, size) for a in split)
    return jnp.stack(_score(model, variables, inputs, labels))

  total = jnp.zeros(2)
  if full == 1:
    total += score(0, chunk)
  elif full:
    total += lax.map(lambda i: score(i * chunk, chunk), jnp.arange(full)).sum(0)
  if rest:
    total += score(full * chunk, rest)
  return total[0] / n, total[1] / n


def _shuffle(state: TrainState, examples: int) -> tuple[TrainState, jax.Array]:
  key, shuffle_key = jax.random.split(state.key)
  return state._replace(key=key), jax.random.permutation(shuffle_key, examples)


def _take(split: Split, rows) -> Split:
  # Rows are a permutation, so that out-of-bounds handling is not needed.
  take = functools.partial(jnp.take, indices=rows, axis=0, mode="clip")
  return Split(take(split.inputs), take(split.labels))


def _end_epoch(task, hypers, state, examples, measured, scores):
  """Adds the evaluation {split: (loss, accuracy)} to the means of an epoch, keeps the best."""
  measured = dict(measured)
  measured["learning_rate"] = _learning_rate(task, hypers, examples)(state.step - 1)
  for name, (loss, accuracy) in scores.items():
    measured |= {f"{name}_loss": loss, f"{name}_accuracy": accuracy}
  if task.keep == "best_validation":
    accuracy = measured["validation_accuracy"]
    new = Best(state.params, state.batch_stats, accuracy)
    better = accuracy > state.best.accuracy
    best = jax.tree.map(lambda a, b: jnp.where(better, a, b), new, state.best)
    state = state._replace(best=best)
  return state, measured


def _evaluated(data: Data) -> dict[str, Split]:
  splits = {"validation": data.validation, "test": data.test}
  return {name: split for name, split in splits.items() if split is not None}


def _mean(parts):
  """Mean of the measurements of full batches and of the last one, weighted by examples."""
  total = sum(size for size, _ in parts)
  shares = [size / total for size, _ in parts]
  return jax.tree.map(
    lambda *m: sum(share * x for share, x in zip(shares, m, strict=True)),
    *(measured for _, measured in parts),
  )


def epoch(
  task: Task, hypers: Hypers, state: TrainState, data: Data
) -> tuple[TrainState, dict[str, jax.Array]]:
  """One pass over the shuffled training split, then the evaluation of the others.

  Returns:
    The new state and scalars: `train_loss` (the objective), `train_cross_entropy`,
    `train_accuracy` and `train_<term>` (means over the steps of the epoch, in train mode,
    weighted by examples; terms without their weights), `learning_rate` (of the last step), and
    `validation_loss`, `validation_accuracy`, `test_loss`, `test_accuracy` (cross entropy and
    accuracy after the epoch, in eval mode) of the splits that there are.
  """
  examples, size = len(data.train.labels), task.batch_size
  steps_per_epoch(task, examples)  # raises if there is no step
  full, rest = divmod(examples, size)
  state, order = _shuffle(state, examples)

  def step(state, rows):
    return minibatch(task, hypers, state, _take(data.train, rows), examples)

  parts = []
  if full:
    state, measured = lax.scan(step, state, order[: full * size].reshape(full, size))
    parts.append((full * size, jax.tree.map(lambda m: m.mean(0), measured)))
  if rest and task.remainder == "keep":
    state, measured = step(state, order[full * size :])
    parts.append((rest, measured))

  current = _variables(state.params, state.batch_stats)
  scores = {
    name: evaluate(task.model, current, split, task.eval_batch)
    for name, split in _evaluated(data).items()
  }
  return _end_epoch(task, hypers, state, examples, _mean(parts), scores)


def variables(task: Task, state: TrainState):
  """The trained variables: the last ones, or the best ones if the task keeps those."""
  kept = state.best if task.keep == "best_validation" else state
  return _variables(kept.params, kept.batch_stats)


def finish(task: Task, state: TrainState, history: Mapping[str, jax.Array]):
  """Results of a run from the measurements of its epochs, stacked on a leading axis.

  Returns:
    `<name>_history` (epochs,) of every measurement and its last value under its own name. With
    validation data also `best_validation_epoch` (first epoch, from 0, with the highest
    validation accuracy) and, with test data too, `test_accuracy_at_best_validation`. With test
    data `test_accuracy_max_over_epochs`: the epoch is chosen on the test set: optimistic, and
    it is what the capacity authors' code keeps.
  """
  del task, state
  results = {f"{name}_history": jnp.asarray(values) for name, values in history.items()}
  results |= {name: jnp.asarray(values)[-1] for name, values in history.items()}
  test = results.get("test_accuracy_history")
  if "validation_accuracy_history" in results:
    best = jnp.argmax(results["validation_accuracy_history"])
    results["best_validation_epoch"] = best
    if test is not None:
      results["test_accuracy_at_best_validation"] = test[best]
  if test is not None:
    results["test_accuracy_max_over_epochs"] = test.max()
  return results


def train(
  task: Task, key: jax.Array, hypers: Hypers, data: Data, unroll: str = "scan"
) -> tuple[TrainState, dict[str, jax.Array]]:
  """A whole run: `init`, `task.epochs` times `epoch`, `finish`.

  Args:
    task: the static part.
    key: random key; the run is a function of it. With "host" also an array of keys (m,), for m
      runs at once; then every leaf of `hypers` has a leading axis m.
    hypers: the numbers.
    data: the splits.
    unroll: "scan" is one traced function, to be jitted and vmapped as a whole; "host" is a
      host loop over jitted steps, not to be jitted. Both give the same numbers to rounding.
      The host loop is for networks with `flax.linen.Conv` of their own on the CPU backend,
      where gradients of convolutions inside `lax.scan` are slow; the networks of `lib.models`
      avoid that (`lib.models.convolution`).

  Raises:
    ValueError: `unroll` is something else.
  """
  if unroll == "host":
    return _train_on_host(task, key, hypers, data)
  if unroll != "scan":
    raise ValueError(f"unroll must be 'scan' or 'host', not {unroll!r}")
  state = init(task, key, hypers, data)
  state, history = lax.scan(
    lambda state, _: epoch(task, hypers, state, data), state, length=task.epochs
  )
  return state, finish(task, state, history)


@functools.cache
def _host_functions(task: Task, many: bool):
  """The pieces of `epoch`, jitted, for one state or (`many`) for a batch of them."""
  over = jax.vmap if many else (lambda function: function)

  @jax.jit
  def start(key, hypers, data):
    return over(lambda key, hypers: init(task, key, hypers, data))(key, hypers)

  @functools.partial(jax.jit, static_argnames="examples", donate_argnums=0)
  def shuffle(state, examples):
    return over(lambda state: _shuffle(state, examples))(state)

  @functools.partial(jax.jit, static_argnames="size", donate_argnums=0)
  def step(state, hypers, order, position, train, size):
    def one(state, hypers, order):
      rows = lax.dynamic_slice_in_dim(order, position, size)
      return minibatch(task, hypers, state, _take(train, rows), len(train.labels))

    return over(one)(state, hypers, order)

  @functools.partial(jax.jit, static_argnames="size")
  def score(params, batch_stats, split, position, size):
    chunk = [lax.dynamic_slice_in_dim(a, position, size) for a in split]
    return over(lambda p, b: jnp.stack(_score(task.model, _variables(p, b), *chunk)))(
      params, batch_stats
    )

  @functools.partial(jax.jit, static_argnames="examples", donate_argnums=0)
  def end(state, hypers, measured, scores, examples):
    return over(lambda *args: _end_epoch(task, args[1], args[0], examples, *args[2:]))(
      state, hypers, measured, scores
    )

  return start, shuffle, step, score, end


def _pieces(total: int, size: int):
  """(start, length) of the pieces of at most `size` that cover `total`."""
  return [(start, min(size, total - start)) for start in range(0, total, size)]


def _train_on_host(task, key, hypers, data):
  many = bool(key.ndim)
  start, shuffle, step, score, end = _host_functions(task, many)
  hypers = jax.tree.map(jnp.asarray, hypers)
  examples = len(data.train.labels)
  steps_per_epoch(task, examples)  # raises if there is no step
  batches = _pieces(examples, task.batch_size)
  if task.remainder == "drop" and examples % task.batch_size:
    batches = batches[:-1]

  state, history = start(key, hypers, data), []
  for _ in range(task.epochs):
    state, order = shuffle(state, examples)
    parts = []
    for position, size in batches:
      state, measured = step(state, hypers, order, position, data.train, size)
      parts.append((size, measured))
    scores = {}
    for name, split in _evaluated(data).items():
      n = len(split.labels)
      pieces = _pieces(n, task.eval_batch)
      sums = [score(state.params, state.batch_stats, split, *piece) for piece in pieces]
      mean = sum(sums) / n
      scores[name] = (mean[..., 0], mean[..., 1])
    state, measured = end(state, hypers, _mean(parts), scores, examples)
    history.append(measured)
  axis = int(many)
  history = jax.tree.map(lambda *m: jnp.stack(m, axis), *history)
  summary = functools.partial(finish, task)
  return state, (jax.vmap(summary) if many else summary)(state, history)

"""Networks with four kinds of normalisation, and all ways to test them under noise.

Yin, Scholte and Bohte (2021). `PROGRAM` trains a network; `TESTS` classifies the test images
under every condition with every mode of its kind. A kind is one compiled program each.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from lib import data, training
from lib.experiment import Program, UserError, at_least
from lib.models import normalisation
from projects.localnorm import modes, network, noise

# --- data -------------------------------------------------------------------------------


def check(config):
  """Raises a UserError for numbers that make no sense."""
  at_least(config, 1, "seeds", "groups")
  if unknown := [k for k in (*config.kinds, config.kind) if k not in network.KINDS]:
    raise UserError(f"'{unknown[0]}' is no kind: choose {', '.join(network.KINDS)}.")
  batch = config.train.batch_size
  if batch % config.groups:
    raise UserError(
      f"train.batch_size, {batch}, must be a multiple of groups, {config.groups}."
    )
  if config.test_examples % batch:
    raise UserError(
      f"test_examples, {config.test_examples}, must be a multiple of the batch size, {batch}."
    )
  if config.agn_level not in config.levels.agn:
    raise UserError(f"levels.agn must contain agn_level, {config.agn_level}.")


def prepare(config):
  """Training images, and test images under every condition, standardised a channel."""
  check(config)
  found = data.load(config.dataset)
  if found.info.maximum is None or len(found.info.input_shape) != 3:
    raise UserError(f"dataset is '{config.dataset}', but localnorm needs images.")
  found = data.split(data.scale(found), 0, validation=0, train=config.train_examples or None)
  if found.test.size < config.test_examples:
    raise UserError(f"test_examples is more than the {found.test.size} images of the set.")
  images = jnp.asarray(found.test.inputs[: config.test_examples])
  shown = noise.show(config, images)
  mean, std = (np.asarray(f(found.train.inputs, (0, 1, 2))) for f in (np.mean, np.std))
  return {
    "train": training.Split(
      jnp.asarray((found.train.inputs - mean) / std), jnp.asarray(found.train.targets)
    ),
    "shown": (shown - mean) / std,
    "labels": jnp.asarray(found.test.targets[: config.test_examples]),
    "classes": jnp.zeros((found.info.num_classes, 0)),
  }


# --- training ---------------------------------------------------------------------------


class State(NamedTuple):
  """A network in training and the running averages of its layers."""

  params: dict
  opt_state: optax.OptState
  running: list
  key: jax.Array
  steps: jax.Array


def _optimizer(config, operands):
  steps = len(operands["train"].labels) // config.train.batch_size * config.train.epochs
  rate = optax.cosine_decay_schedule(config.sgd.learning_rate, steps)
  rule = optax.chain(
    optax.add_decayed_weights(config.sgd.weight_decay), optax.sgd(rate, config.sgd.momentum)
  )
  if config.kind != "ln":
    return rule

  def scaled(updates, state, params=None):
    del params
    layers = [
      {**layer, **{k: config.group_rate * layer[k] for k in ("scale", "shift")}}
      for layer in updates["layers"]
    ]
    return {**updates, "layers": layers}, state

  factor = optax.GradientTransformation(lambda params: optax.EmptyState(), scaled)
  return optax.chain(rule, factor)


def init(config, operands):
  """The network before training."""
  weights_key, key = jax.random.split(jax.random.key(config.seed))
  images = operands["train"].inputs
  params = network.init(
    weights_key,
    tuple(config.channels),
    len(operands["classes"]),
    images.shape[-1],
    config.kind,
    config.groups,
  )
  running = [
    normalisation.Statistics(jnp.zeros((1, 1, 1, c)), jnp.ones((1, 1, 1, c)))
    for c in config.channels
  ]
  opt_state = _optimizer(config, operands).init(params)
  return State(params, opt_state, running, key, jnp.zeros([], jnp.int32))


def minibatch(config, operands, state, rows):
  """One step of SGD; batch normalisation also moves its running averages."""
  x, y = (a[rows] for a in operands["train"])
  norm = network.training_norm(config.kind, config.groups)

  def loss(params):
    logits = network.apply(params, x, norm)
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()

  value, gradient = jax.value_and_grad(loss)(state.params)
  running = state.running
  if config.kind == "bn":
    used = network.batch_statistics(state.params, x)
    running = [normalisation.running(a, b) for a, b in zip(running, used, strict=True)]
  updates, opt_state = _optimizer(config, operands).update(
    gradient, state.opt_state, state.params
  )
  params = optax.apply_updates(state.params, updates)
  return state._replace(params=params, opt_state=opt_state, running=running), value


def spread(params):
  """Standard deviation of γ and β over the groups, mean over channels and layers."""
  return {
    name: jnp.stack([layer[name].std(0).mean() for layer in params["layers"]]).mean()
    for name in ("scale", "shift")
  }


def step(config, operands, state):
  """One epoch."""
  key, order_key = jax.random.split(state.key)
  rows = data.epoch_batches(order_key, len(operands["train"].labels), config.train.batch_size)
  state, losses = lax.scan(
    lambda state, rows: minibatch(config, operands, state, rows), state._replace(key=key), rows
  )
  apart = {f"spread_{name}": value for name, value in spread(state.params).items()}
  return state, {"train_loss": losses.mean(), **apart}


def finish(config, operands, state, history):
  """The network, its running averages, and Fig. 5."""
  del config, operands
  return {
    "params": {**state.params, "layers": dict(enumerate_text(state.params["layers"]))},
    "running": dict(enumerate_text([s._asdict() for s in state.running])),
    "train_loss": history["train_loss"],
    "spread": {name: history[f"spread_{name}"] for name in ("scale", "shift")},
  }


def enumerate_text(items):
  """("0", first), ("1", second), …: results are dicts, whose keys are text."""
  return ((str(i), item) for i, item in enumerate(items))


PROGRAM = Program(init, step, finish, steps=lambda config: config.train.epochs)

# --- tests ------------------------------------------------------------------------------


def trained_network(operands, member):
  """The network and the running averages of a member."""
  params, running = jax.tree.map(
    lambda leaf: leaf[member], (operands["params"], operands["running"])
  )
  count = len(params["layers"])
  params = {**params, "layers": [params["layers"][str(i)] for i in range(count)]}
  return params, [normalisation.Statistics(**running[str(i)]) for i in range(count)]


def classify(config, operands, state):
  """Accuracy of every mode under the next condition."""
  params, running, number = state
  images, key = operands["shown"][number], jax.random.key(config.seed)
  found = modes.of_kind(config.kind, config.train.batch_size // config.groups, config.groups)
  accuracy = {
    name: jnp.mean(
      mode(params, running, images, jax.random.fold_in(key, i)) == operands["labels"]
    )
    for i, (name, mode) in enumerate(found.items())
  }
  return (params, running, number + 1), accuracy


TESTS = Program(
  lambda config, operands: (
    *trained_network(operands, config.seed - operands["first_seed"]),
    jnp.zeros([], jnp.int32),
  ),
  classify,
  lambda config, operands, state, history: history,
  steps=lambda config: len(noise.conditions(config)),
)


def run(config, ctx):
  """Trains and tests every kind with every seed."""
  operands = prepare(config)
  seeds = ctx.seeds(config)
  results = {
    "seeds": np.asarray(seeds),
    "agn_level": np.asarray(config.agn_level),
    "accuracy": {},
    "train_loss": {},
  }
  for kind in config.kinds:
    options = {"over": {"seed": seeds}, "set": {"kind": kind}}
    trained = ctx.members(f"train {kind}", PROGRAM, config, operands, **options)
    tested = operands | {
      "params": jax.tree.map(jnp.asarray, trained["params"]),
      "running": jax.tree.map(jnp.asarray, trained["running"]),
      "first_seed": jnp.asarray(config.seed),
    }
    found = ctx.members(f"test {kind}", TESTS, config, tested, **options)
    names = noise.conditions(config)
    results["accuracy"][kind] = {
      mode: {name: values[:, i] for i, name in enumerate(names)}
      for mode, values in found.items()
    }
    results["train_loss"][kind] = trained["train_loss"]
    if kind == "ln":
      results["spread"] = trained["spread"]
  return results

"""Networks with six kinds of normalisation, and all ways to test them under noise.

Yin, Scholte and Bohte (2021). `PROGRAM` trains a network; `tests` classifies the test images
under every condition with every mode of its kind. A kind is one compiled program each.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from lib import data, training
from lib.experiment import Program, Stage, UserError, at_least, bind
from lib.models import normalisation
from lib.robustness import corruptions
from lib.training import augment
from projects.localnorm import modes, network, noise

# --- data -------------------------------------------------------------------------------


def check(config):
  """Raises a UserError for numbers that make no sense."""
  at_least(config, 1, "seeds", "groups", "group_channels", "train.epochs", "train.batch_size")
  at_least(config, 0, "train_examples", "test_examples")
  if not config.kinds:
    raise UserError(f"kinds is empty: choose of {', '.join(network.KINDS)}.")
  if unknown := [k for k in (*config.kinds, config.kind) if k not in network.KINDS]:
    raise UserError(f"'{unknown[0]}' is no kind: choose {', '.join(network.KINDS)}.")
  batch = config.train.batch_size
  if batch % config.groups:
    raise UserError(
      f"train.batch_size, {batch}, must be a multiple of groups, {config.groups}."
    )
  _check_layers(config)
  _check_conditions(config)


def _check_layers(config):
  counts = config.convolutions or [1] * len(config.channels)
  if not config.channels or min(*config.channels, *counts) < 1:
    raise UserError("channels and convolutions need numbers of at least 1.")
  if len(counts) != len(config.channels):
    raise UserError("convolutions needs as many numbers as channels, or none.")
  size = config.group_channels
  if bad := [c for c in config.channels if c % max(1, c // size)]:
    raise UserError(f"{bad[0]} channels cannot be cut into groups of {size}, group_channels.")


def _check_conditions(config):
  for name, levels in config.levels.items():
    high = noise.HIGHEST.get(name, np.inf)
    if bad := [level for level in levels if not 0 <= level <= high]:
      raise UserError(f"levels.{name} has {bad[0]}; a level is between 0 and {high:g}.")
  if config.agn_level not in config.levels.agn:
    raise UserError(f"levels.agn must contain agn_level, {config.agn_level}.")
  if unknown := [c for c in config.corruptions if c not in corruptions.FAMILIES]:
    known = ", ".join(corruptions.FAMILIES)
    raise UserError(f"'{unknown[0]}' is no corruption: choose {known}.")
  if bad := [s for s in config.severities if s not in range(1, 6)]:
    raise UserError(f"severities has {bad[0]}; a severity is 1 to 5.")
  names = noise.conditions(config)
  if len(set(names)) < len(names):
    raise UserError("a level, a corruption or a severity is named twice.")


def prepare(config):
  """Training images, standardised a channel, and test images under every condition."""
  check(config)
  found = data.load_images(config.dataset)
  side = min(found.info.input_shape[:2]) // 2 ** (len(config.channels) - 1)
  if side < 2:
    raise UserError(
      f"channels has {len(config.channels)} stages, too many for {config.dataset}: the last "
      "norm would see one position an image, whose variance is 0."
    )
  found = data.split(data.scale(found), 0, validation=0, train=config.train_examples or None)
  if found.test.size < config.test_examples:
    raise UserError(f"test_examples is more than the {found.test.size} images of the set.")
  if found.train.size < config.train.batch_size:
    raise UserError(f"{found.train.size} training images do not fill train.batch_size.")
  mean, std = (np.asarray(f(found.train.inputs, (0, 1, 2))) for f in (np.mean, np.std))
  count = config.test_examples or found.test.size
  return {
    "train": training.Split(
      jnp.asarray((found.train.inputs - mean) / std), jnp.asarray(found.train.targets)
    ),
    "shown": noise.show(config, jnp.asarray(found.test.inputs[:count])),
    "mean": jnp.asarray(mean),
    "std": jnp.asarray(std),
    "labels": jnp.asarray(found.test.targets[:count]),
    "classes": jnp.zeros((found.info.num_classes, 0)),
  }


# --- training ---------------------------------------------------------------------------


class State(NamedTuple):
  """A network in training and the running averages of its layers."""

  params: dict
  opt_state: optax.OptState
  running: dict
  key: jax.Array


def _optimizer(config, operands):
  """SGD with momentum and weight decay; of "ln_rate" the gradients of γ_k and β_k times K.

  The mean over the batch makes them K times smaller than those of one shared pair. Decay is
  added behind the factor, and is the same for all kinds.
  """
  steps = len(operands["train"].labels) // config.train.batch_size * config.train.epochs
  rate = optax.cosine_decay_schedule(config.sgd.learning_rate, steps)
  factor = config.groups if config.kind == "ln_rate" else 1
  return optax.chain(
    optax.stateless(lambda updates, _: network.over_groups(updates, lambda g: factor * g)),
    optax.add_decayed_weights(config.sgd.weight_decay),
    optax.sgd(rate, config.sgd.momentum),
  )


def init(config, operands):
  """The network before training."""
  weights_key, key = jax.random.split(jax.random.key(config.seed))
  shape = tuple(config.channels), tuple(config.convolutions)
  params = network.init(
    weights_key,
    shape[0],
    len(operands["classes"]),
    operands["train"].inputs.shape[-1],
    config.kind,
    config.groups,
    shape[1],
  )
  running = {
    name: normalisation.Statistics(jnp.zeros((1, 1, 1, c)), jnp.ones((1, 1, 1, c)))
    for name, c in network.names(*shape).items()
  }
  return State(params, _optimizer(config, operands).init(params), running, key)


def minibatch(config, operands, state, rows):
  """One step of SGD; batch normalisation also moves its running averages."""
  x, y = (a[rows] for a in operands["train"])
  key = state.key
  if config.augment:
    key, drawn = jax.random.split(key)
    x = augment.pad_crop_flip(drawn, x)

  def loss(params):
    used: dict = {}
    norm = network.training_norm(config.kind, config.groups, config.group_channels)
    logits = network.apply(params, x, network.recording(used) if config.kind == "bn" else norm)
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean(), used

  (value, used), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
  running = {
    name: normalisation.running(old, used[name]) if used else old
    for name, old in state.running.items()
  }
  updates, opt_state = _optimizer(config, operands).update(
    gradient, state.opt_state, state.params
  )
  return State(optax.apply_updates(state.params, updates), opt_state, running, key), value


def spread(params, relative=False):
  """Standard deviation of γ and β over the groups, mean over channels, then over layers.

  Relative: that of γ in shares of its mean absolute value, a layer.
  """
  layers = params["layers"].values()
  if relative:
    return jnp.stack(
      [layer["scale"].std(0).mean() / jnp.abs(layer["scale"]).mean() for layer in layers]
    ).mean()
  return {
    name: jnp.stack([layer[name].std(0).mean() for layer in layers]).mean()
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
    "params": state.params,
    "running": {name: found._asdict() for name, found in state.running.items()},
    "train_loss": history["train_loss"],
    "spread": {name: history[f"spread_{name}"] for name in ("scale", "shift")},
  }


PROGRAM = Program(init, step, finish, steps=lambda config: config.train.epochs)

# --- tests ------------------------------------------------------------------------------

_TEST_KEY = 0x7E57  # folded in, so that no draw of a test is one of the training


def trained_network(operands, member):
  """The network and the running averages of a member."""
  params, running = jax.tree.map(
    lambda leaf: leaf[member], (operands["params"], operands["running"])
  )
  return params, {name: normalisation.Statistics(**found) for name, found in running.items()}


def modes_of(config, alone):
  """{name: mode} of the config's kind, either those that see one test image or the others."""
  size = config.train.batch_size // config.groups
  found = modes.of_kind(config.kind, config.groups, size, config.group_channels)
  return {name: mode for name, mode in found.items() if modes.alone(name) == alone}


def tests(alone):
  """The program that gives the accuracy of every mode under the conditions, one a step.

  The modes that see one test image at a time leave out the corruptions: they take most of the
  passes, and no claim of the paper is about them there.
  """

  def begin(config, operands):
    network_ = trained_network(operands, config.seed - operands["first_seed"])
    return (*network_, jnp.zeros([], jnp.int32))

  def classify(config, operands, state):
    params, running, number = state
    images = (operands["shown"][number] - operands["mean"]) / operands["std"]
    key = jax.random.fold_in(jax.random.key(config.seed), _TEST_KEY)
    key = jax.random.fold_in(key, number)
    accuracy = {
      name: jnp.mean(
        mode(params, running, images, jax.random.fold_in(key, i)) == operands["labels"]
      )
      for i, (name, mode) in enumerate(modes_of(config, alone).items())
    }
    return (params, running, number + 1), accuracy

  return Program(
    begin,
    classify,
    lambda config, operands, state, history: history,
    steps=lambda config: len(noise.conditions(config, corrupted=not alone)),
  )


TESTS = {"batches": tests(alone=False), "one image": tests(alone=True)}


def _stages(config, operands, seeds, kind):
  """A kind's training and its tests, whose networks are given by their shapes."""
  options = {"over": {"seed": seeds}, "set": {"kind": kind}}
  bound = bind(config, options["set"])
  state = jax.eval_shape(lambda: init(bind(bound, {"seed": 0}), operands))
  running = {name: found._asdict() for name, found in state.running.items()}
  networks = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct((len(seeds), *leaf.shape), leaf.dtype),
    {"params": state.params, "running": running},
  )
  tested = operands | networks | {"first_seed": jnp.asarray(config.seed)}
  return Stage(f"train {kind}", PROGRAM, config, operands, **options), [
    Stage(f"test {kind}, {which}", program, config, tested, **options)
    for which, program in TESTS.items()
    if modes_of(bound, alone=which == "one image")
  ]


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
  names = noise.conditions(config)
  stages = {kind: _stages(config, operands, seeds, kind) for kind in config.kinds}
  for training_, tests_ in stages.values():
    ctx.compile_ahead(training_, *tests_)
  for kind, (training_, tests_) in stages.items():
    trained = ctx.members(*training_)
    networks = {k: jax.tree.map(jnp.asarray, trained[k]) for k in ("params", "running")}
    results["accuracy"][kind] = {}
    for stage in tests_:
      found = ctx.members(*stage._replace(operands=stage.operands | networks))
      results["accuracy"][kind] |= {
        mode: dict(zip(names, values.T, strict=False)) for mode, values in found.items()
      }
    results["train_loss"][kind] = trained["train_loss"]
    if kind == "ln":
      relative = jax.vmap(lambda params: spread(params, relative=True))(networks["params"])
      results["spread"] = trained["spread"]
      results["relative_spread"] = np.asarray(relative)
  return results

"""Networks that evolve for accuracy, individual and group fairness at once.

*Fairer Machine Learning Through Multi-objective Evolutionary Learning* (ICANN 2021). A member
of `PROGRAM` is one trial: a population of networks under NSGA-II (Algorithm 1), each partially
trained in every generation. The four variants, and the control without selection, differ in
the numbers that their objectives are multiplied by, so that all of them are one compiled
program.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from lib import data, models, search
from lib.data import sensitive
from lib.experiment import Program, UserError, at_least, by_name
from lib.metrics import fairness
from projects.moel_fairness import indicators

PARTS = ("train", "validation", "test")
# whether MSE, f_I and f_G are among the objectives; "none" trains without selection (a
# control)
VARIANTS = {
  "EIG": (1.0, 1.0, 1.0),
  "EI": (1.0, 1.0, 0.0),
  "EG": (1.0, 0.0, 1.0),
  "E": (1.0, 0.0, 0.0),
  "none": (0.0, 0.0, 0.0),
}

# --- data (sec. 4.1) ----------------------------------------------------------------------


def check(config):
  """Raises a UserError for numbers that make no sense."""
  at_least(config, 1, "seeds", "generations", "hidden", "partial.epochs", "partial.batch")
  at_least(config, 3, "population")
  at_least(config, 0, "mutation", "sees_groups")
  at_least(config, 0, "objectives.error", "objectives.individual", "objectives.group")
  if len(config.split) != 3 or min(config.split) <= 0:
    raise UserError(
      f"split is {tuple(config.split)}; give three positive shares: train, validation, test."
    )
  if config.alpha in (0, 1):
    raise UserError(
      f"alpha is {config.alpha:g}; the generalised entropy needs another, such as 2."
    )
  if config.partial.learning_rate <= 0:
    raise UserError(
      f"partial.learning_rate is {config.partial.learning_rate}; give more than 0."
    )
  if config.sees_groups > 1:
    raise UserError(f"sees_groups is {config.sees_groups}; it is between 0 and 1.")
  if not config.shifts:
    raise UserError("shifts is empty; give at least 0.0, which leaves the models as they are.")
  if config.partial.loss not in ("mse", "bce"):
    raise UserError(f"partial.loss is '{config.partial.loss}'; choose mse or bce.")
  if not config.sensitive:
    raise UserError("sensitive is empty: name at least one attribute, such as 'sex'.")


def prepare(config):
  """The table: inputs, labels, groups, and what is known of its columns.

  Rows that `config.rows` excludes and columns in `config.leave_out` are left out; columns that
  a sensitive attribute is made of are replaced by indicators of its groups, as in the paper's
  reference for preprocessing (age is then young or old, the status of a person a gender).
  """
  check(config)
  table = data.load(config.dataset)
  names = table.info.feature_names
  if table.info.task != "classification" or not names:
    raise UserError(f"dataset is '{config.dataset}', but this needs a table with classes.")
  if config.positive not in table.info.class_names:
    raise UserError(
      f"positive is '{config.positive}', but the classes are "
      f"{', '.join(table.info.class_names)}."
    )
  parts = [part for part in (table.train, table.validation, table.test) if part is not None]
  inputs = np.concatenate([part.inputs for part in parts])
  labels = np.concatenate([part.targets for part in parts])
  rows = np.ones(len(labels), bool)
  for text in config.rows:
    rows &= sensitive.compare(inputs, names, text)
  inputs, labels = inputs[rows], labels[rows]
  if len(labels) < 50:
    raise UserError(f"rows leaves {len(labels)} rows, fewer than 50.")
  if min(_part_sizes(config, len(labels))) < 1:
    raise UserError(
      f"split is {tuple(config.split)}; of {len(labels)} rows that leaves a part without any."
    )
  attributes = [sensitive.attribute(inputs, names, text) for text in config.sensitive]
  groups, group_names = sensitive.intersect(attributes)

  replaced = {column for attribute in attributes for column in attribute.columns}
  kept = [
    i
    for i, name in enumerate(names)
    if i not in replaced and not {name, name.partition("=")[0]} & set(config.leave_out)
  ]
  columns = [inputs[:, kept], *(np.eye(len(a.names))[a.codes] for a in attributes)]
  inputs = np.concatenate(columns, 1).astype(np.float32)
  is_number = [not np.isin(column, (0, 1)).all() for column in inputs.T]
  return {
    "inputs": jnp.asarray(inputs),
    "labels": jnp.asarray(
      labels == table.info.class_names.index(config.positive), jnp.float32
    ),
    "groups": jnp.asarray(groups),
    "members": jnp.asarray(np.bincount(groups, minlength=len(group_names))),
    "is_number": jnp.asarray(is_number),
    "is_sensitive": jnp.arange(inputs.shape[1]) >= len(kept),
  }


class Split(NamedTuple):
  """Rows of the three parts, and what the inputs are standardised with."""

  train: jax.Array
  validation: jax.Array
  test: jax.Array
  mean: jax.Array
  scale: jax.Array


def _part_sizes(config, count):
  """How many of so many rows are for training, validation and test."""
  sizes = [round(share / sum(config.split) * count) for share in config.split[1:]]
  return [count - sum(sizes), *sizes]


def split(config, operands, key) -> Split:
  """A random split of the trial; numbers get mean 0 and variance 1 over its training part."""
  count = len(operands["labels"])
  rows = data.random_split(key, count, _part_sizes(config, count))
  x = operands["inputs"][rows[0]]
  is_number = operands["is_number"]
  mean, deviation = jnp.where(is_number, x.mean(0), 0.0), x.std(0)
  return Split(*rows, mean, jnp.where(is_number & (deviation > 0), deviation, 1.0))


def part_of(config, operands, rows: Split, part: str):
  """Inputs, labels and groups of one part; without sight of groups their columns are zero."""
  index = getattr(rows, part)
  x = (operands["inputs"][index] - rows.mean) / rows.scale
  x = jnp.where(operands["is_sensitive"], config.sees_groups * x, x)
  return x, operands["labels"][index], operands["groups"][index]


# --- models, partial training, criteria (sec. 3.2) ----------------------------------------


def network(config):
  """One hidden layer, one logit."""
  return models.MLP((config.hidden, 1), "relu", "he")


def logits_of(config, params, x):
  """Logits of a population on the same inputs, (n, d) -> (population, n)."""
  model = network(config)
  return jax.vmap(lambda one: model.apply({"params": one}, x)[:, 0])(params)


def partial_training(config, key, params, x, y):
  """Some epochs of Adam, started afresh, for every network of a population.

  All networks see the same minibatches, so that their first layers are one matrix product;
  what makes them differ are their weights.
  """
  optimizer = optax.adam(config.partial.learning_rate)

  def loss(params, rows):
    logits = logits_of(config, params, x[rows])
    if config.partial.loss == "mse":
      losses = jnp.square(jax.nn.sigmoid(logits) - y[rows])
    else:
      losses = optax.losses.sigmoid_binary_cross_entropy(logits, y[rows])
    return losses.mean(1).sum()  # a sum over networks: each has the gradient of its own

  def update(carry, rows):
    params, opt_state = carry
    updates, opt_state = optimizer.update(jax.grad(loss)(params, rows), opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), None

  size = min(config.partial.batch, len(y))
  keys = jax.random.split(key, config.partial.epochs)
  rows = jax.vmap(lambda key: data.epoch_batches(key, len(y), size))(keys).reshape(-1, size)
  return lax.scan(update, (params, optimizer.init(params)), rows)[0][0]


def criteria(config, operands, logits, y, groups):
  """MSE, f_I (eq. 1), f_G (eq. 2) and the mean benefit: (population, n) -> (population, 4)."""
  b = fairness.benefits(jax.nn.sigmoid(logits), y)
  parts = fairness.decompose(b, groups, len(operands["members"]), config.alpha)
  mse = jnp.square(b - 1).mean(1)
  return jnp.stack([mse, parts.within, parts.between, b.mean(1)], 1)


def as_printed(operands, alpha, b, groups):
  """f_I and f_G by the sums of eqs. 1 and 2: benefits (population, n) -> (population, 2)."""
  member = jax.nn.one_hot(groups, len(operands["members"]), dtype=b.dtype)
  sizes = member.sum(0)
  share, scale = sizes / len(groups), alpha * (alpha - 1)
  of_groups = jnp.where(sizes > 0, (b @ member) / jnp.maximum(sizes, 1), 1.0)
  ratio = (of_groups / b.mean(1, keepdims=True)) ** alpha
  powers = (b**alpha @ member) / jnp.maximum(sizes, 1)
  entropies = (powers / of_groups**alpha - 1) / scale
  return jnp.stack([(ratio * entropies) @ share, ((ratio - 1) / scale) @ share], 1)


def objectives_of(config, measured):
  """The variant's objectives; one that it does not have is 0 for all and decides nothing."""
  wanted = config.objectives
  return measured[:, :3] * jnp.stack(
    [jnp.asarray(wanted[name], jnp.float32) for name in ("error", "individual", "group")]
  )


# --- Algorithm 1 --------------------------------------------------------------------------


class State(NamedTuple):
  """The population, with the criteria of each model on validation and test part."""

  search: search.NSGA2State
  generation: jax.Array
  rows: Split
  key: jax.Array


def init(config, operands):
  """Models M_1, …, M_λ before their first partial training."""
  rows_key, weights_key, key = jax.random.split(jax.random.key(config.seed), 3)
  count, width = config.population, operands["inputs"].shape[1]
  params = jax.vmap(lambda key: models.init(network(config), key, (width,))["params"])(
    jax.random.split(weights_key, count)
  )
  unknown = jnp.zeros((count, 4))
  population = {"params": params, "validation": unknown, "test": unknown}
  found = search.NSGA2State(
    population, unknown[:, :3], jnp.zeros(count, jnp.int32), jnp.zeros(count)
  )
  return State(found, jnp.zeros([], jnp.int32), split(config, operands, rows_key), key)


def step(config, operands, state):
  """One generation: parents, mutation, partial training, evaluation, selection.

  The first one is lines 1-4 of Algorithm 1: the models themselves, without selection or
  mutation. The criteria of the test part are measured and nothing is done with them.
  """
  key, order_key, search_key = jax.random.split(state.key, 3)
  first = state.generation == 0
  wanted = config.objectives
  select = ~first & (wanted["error"] + wanted["individual"] + wanted["group"] > 0)
  parts = {part: part_of(config, operands, state.rows, part) for part in PARTS}

  def vary(key, parents):
    strength = jnp.where(first, 0.0, config.mutation)
    params = search.gaussian_mutation(key, parents["params"], strength)
    params = partial_training(config, order_key, params, *parts["train"][:2])
    measured = {
      part: criteria(config, operands, logits_of(config, params, x), y, groups)
      for part, (x, y, groups) in parts.items()
      if part != "train"
    }
    return {"params": params, **measured}, objectives_of(config, measured["validation"])

  found = search.nsga2_step(search_key, state.search, vary, select)
  measured = {part: found.population[part] for part in ("validation", "test")}
  loss = measured["validation"][:, 0].mean()
  after = State(found, state.generation + 1, state.rows, key)
  return after, measured | {"validation_loss": loss}


def finish(config, operands, state, history):
  """Criteria of every generation, and controls on the final models.

  `printed`: f_I and f_G of the final test outputs by the sums of eqs. 1 and 2.
  `chance`: the f_G that probabilities like these would have on the test part were they true.
  `shifted`: instead of the models, copies of them with other output biases, of which the
  validation part selects as many by the same rule; their criteria on the test part.
  """
  params = state.search.population["params"]
  parts = {part: part_of(config, operands, state.rows, part) for part in PARTS[1:]}
  logits = {part: logits_of(config, params, x) for part, (x, _, _) in parts.items()}
  probabilities = jax.nn.sigmoid(logits["test"])
  chance = fairness.between_by_chance(
    probabilities, parts["test"][2], len(operands["members"])
  )

  benefits = fairness.benefits(probabilities, parts["test"][1])
  printed = as_printed(operands, config.alpha, benefits, parts["test"][2])

  def shifted(shift):
    return {
      part: criteria(config, operands, logits[part] + shift, *parts[part][1:])
      for part in parts
    }

  candidates = lax.map(shifted, jnp.asarray(config.shifts, jnp.float32))
  candidates = jax.tree.map(lambda x: x.reshape(-1, 4), candidates)
  kept, _, _ = search.survivors(state.key, candidates["validation"][:, :3], config.population)
  return {
    "validation": history["validation"],
    "test": history["test"],
    "chance": chance,
    "printed": printed,
    "shifted": candidates["test"][kept],
    "validation_loss": history["validation_loss"][-1],
  }


PROGRAM = Program(init, step, finish, steps=lambda config: config.generations + 1)

# --- the experiment -----------------------------------------------------------------------


def conditions(config):
  """Name -> the numbers of a member: the objectives, and whether the networks see the groups.

  Names with a star are the control with the opposite choice of inputs.
  """
  found = {name: (*wanted, config.sees_groups) for name, wanted in VARIANTS.items()}
  if config.control_inputs:
    found |= {f"{name}*": (*VARIANTS[name], 1.0 - config.sees_groups) for name in ("EIG", "E")}
  return found


_KEYS = ("objectives.error", "objectives.individual", "objectives.group", "sees_groups")


def run(config, ctx):
  """All variants and controls in all trials, then the indicators of their solutions."""
  operands = prepare(config)
  seeds = ctx.seeds(config)
  rows = [(seed, *numbers) for numbers in conditions(config).values() for seed in seeds]
  found = ctx.members("evolve", PROGRAM, config, operands, over={("seed", *_KEYS): rows})
  found = by_name(conditions(config), dict(found), each=len(seeds))
  return {
    "seeds": np.asarray(seeds),
    "members": np.asarray(operands["members"]),
    "alpha": np.asarray(config.alpha),
    "conditions": found,
    "indicators": ctx.stage("indicators", indicators.of_all, found),
    "against": ctx.stage("against", indicators.against, found),
  }

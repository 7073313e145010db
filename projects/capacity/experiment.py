"""Tables 1 and 2: classifiers with and without information-complexity regularisers.

Ye and Lin, Channel Capacity of Neural Networks (2021), sec. 4. A member of the experiment is
one training run of one cell. The experiment tunes every cell's last part on validation data
(the same number of values and seeds for each), then trains all cells on fresh seeds; a seed
fixes the split, the initial weights and the order of the examples, so that cells are paired.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lib import data, information, models, training
from lib.experiment import Program, UserError, at_least, bind
from projects.capacity import cells

# --- one member: a training run of one cell ------------------------------------------------


def prepare(config):
  """Loads the data and checks the numbers.

  Returns:
    {"pool": examples that each seed splits anew} or {"train", "validation", "test"}, and
    "classes", whose shape (number of classes, 0) says how many there are without being data.
  """
  check(config)
  found = data.load(config.dataset)
  if found.info.task != "classification":
    raise UserError(f"dataset is '{config.dataset}', a regression; capacity needs classes.")
  if found.info.maximum is not None:
    found = data.scale(found)
  sizes = config.split
  if sizes.each_seed:
    if found.test is not None:
      raise UserError(
        f"'{config.dataset}' has a test split of its own: set split.each_seed to false."
      )
    wanted = sizes.train + sizes.validation + sizes.test
    if min(sizes.train, sizes.validation, sizes.test) < 1 or wanted > found.train.size:
      raise UserError(
        f"split.train, split.validation and split.test ({sizes.train}, {sizes.validation}, "
        f"{sizes.test}) must be positive and together at most {found.train.size}."
      )
    pool = jax.tree.map(jnp.asarray, training.Split(*found.train))
    return {"pool": pool, "classes": jnp.zeros((found.info.num_classes, 0))}
  found = data.split(
    found, config.split_seed, train=sizes.train or None, validation=sizes.validation or 0.1
  )
  found, _ = data.normalise(found, over="channel" if config.model.name == "resnet" else "all")
  operands = {
    name: jax.tree.map(jnp.asarray, training.Split(*getattr(found, name)))
    for name in ("train", "validation", "test")
  }
  return operands | {"classes": jnp.zeros((found.info.num_classes, 0))}


def check(config):
  """Raises a UserError for numbers that make no sense."""
  at_least(config, 0, *cells.NUMBERS, "power_per_input")
  for name, grid in config.tune.items():
    if min(grid) < 0:
      raise UserError(f"tune.{name} has {min(grid)}: it must not be negative.")
  if config.regulariser.name not in ("none", "mic", "eic"):
    raise UserError(
      f"config.regulariser.name is '{config.regulariser.name}': choose none, mic or eic."
    )
  if config.model.name not in ("mlp", "resnet"):
    raise UserError(f"config.model.name is '{config.model.name}': choose mlp or resnet.")
  if config.model.bottleneck and config.model.name == "resnet":
    raise UserError("The bottleneck is for model.name = mlp; set model.bottleneck to false.")
  at_least(config, 1, "seeds", "tuning.seeds")
  if config.regulariser.laws < 1 or config.regulariser.samples < 2:
    raise UserError("regulariser.laws must be at least 1 and regulariser.samples at least 2.")


def split_rows(config, operands, key):
  """Rows of the pool for each split of a member, or () where the splits are given."""
  if "pool" not in operands:
    return ()
  sizes = (config.split.train, config.split.validation, config.split.test)
  return data.random_split(key, len(operands["pool"].labels), sizes)


def splits(config, operands, rows) -> training.Data:
  """The data of a member; drawn from the pool they are scaled by their train part."""
  if "pool" in operands:
    pool = operands["pool"]
    parts = [training.Split(pool.inputs[r], pool.labels[r]) for r in rows]
    mean, scale = parts[0].inputs.mean(), parts[0].inputs.std()
    parts = [part._replace(inputs=(part.inputs - mean) / scale) for part in parts]
    found = training.Data(*parts)
  else:
    found = training.Data(*(operands[name] for name in ("train", "validation", "test")))
  return found


def network(config, classes):
  """The classifier: MLP, pre-activation ResNet, or MLP encoder with a stochastic code."""
  settings = config.model
  if settings.name == "resnet":
    return models.PreActResNet(settings.depth, classes, settings.width)
  if settings.bottleneck:
    encoder = models.MLP((*settings.hidden, 2 * settings.code))
    return models.VIB(encoder, settings.code, classes, eval_samples=settings.eval_samples)
  return models.MLP((*settings.hidden, classes))


def channels(model, input_shape, by="layer"):
  """The channels whose complexity is penalised: the whole network and each of its pieces.

  Batch normalisation is in eval mode, so fake inputs leave its statistics alone. With a
  stochastic code there are two networks, encoder and classifier, as in the authors' program
  (the text does not say): the encoder whole and by layers, and the linear classifier.
  """
  if not isinstance(model, models.VIB):
    pieces = models.blocks(model, input_shape, by)
    whole = information.Block(functools.partial(models.apply, model), tuple(input_shape))
    return (whole, *_layers(pieces, hidden=not isinstance(model, models.PreActResNet)))

  def inside(apply):
    return lambda variables, x: apply({"params": variables["params"]["encoder"]}, x)

  def classifier(variables, x):
    dense = variables["params"]["classifier"]
    return x @ dense["kernel"] + dense["bias"]

  encoder = channels(model.encoder, input_shape, by)
  return (
    *(block._replace(apply=inside(block.apply)) for block in encoder),
    information.Block(classifier, (model.code,)),
  )


def _layers(pieces, hidden):
  return (
    information.Block(piece.apply, piece.input_shape, hidden=hidden and i > 0)
    for i, piece in enumerate(pieces)
  )


def reading(config) -> information.Reading:
  """The paper's reading with the config's numbers of laws and samples, or the program's."""
  settings = config.regulariser
  if settings.reading == "code":
    rate = 0.25 if config.model.name == "resnet" else 1.0
    return information.CODE._replace(rate=rate)
  if settings.reading != "paper":
    raise UserError(
      f"config.regulariser.reading is '{settings.reading}': choose paper or code."
    )
  return information.PAPER._replace(laws=settings.laws, samples=settings.samples)


def _measure(name):
  return {"mic": information.mic_surrogate, "eic": information.eic_trace}[name]


def complexity_term(config, model, input_shape):
  """β's factor: the surrogate of MIC or the trace bound of EIC, summed over the channels.

  Residual networks are cut into units (text: each layer) or three stages (program).
  """
  by = "stage" if config.regulariser.reading == "code" else "layer"
  term = information.regulariser(
    _measure(config.regulariser.name), channels(model, input_shape, by), reading(config)
  )
  return lambda params, batch_stats, key, batch: term(key, _variables(params, batch_stats))


def _variables(params, batch_stats):
  return {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}


def task_and_numbers(config, operands):
  """The training run of a cell: its objective's terms, with weights that may be traced.

  CE + β IC + β_CP (−H(p)) + β_LS KL(u ‖ p) + β_VIB KL(q(z|x) ‖ N(0, I)),  and λ/2 ‖θ‖²
  """
  split = operands.get("pool") or operands["train"]
  model = network(config, operands["classes"].shape[0])
  terms = {
    "confidence": training.terms.confidence_penalty,
    "smoothing": training.terms.uniform_kl,
  }
  weights = {name: config.penalties[name] for name in terms}
  if config.model.bottleneck:
    terms["bottleneck"] = training.terms.bottleneck
    weights["bottleneck"] = config.penalties.bottleneck
  if config.regulariser.name != "none":
    terms["complexity"] = complexity_term(config, model, split.inputs.shape[1:])
    weights["complexity"] = config.regulariser.beta
  redraw = information.CODE.redraw if config.regulariser.reading == "code" else 1.0
  settings = {
    "train": {**config.train, "redraw": redraw},
    "optimizer": config.optimizer,
    "schedule": config.schedule,
    "weights": weights,
  }
  augment = training.pad_crop_flip if config.augment else None
  return training.from_config(settings, model, terms, augment)


class State(NamedTuple):
  """A training run and the rows of its splits."""

  run: training.TrainState
  rows: tuple


def init(config, operands):
  """The state before the first epoch."""
  split_key, train_key = jax.random.split(jax.random.key(config.seed))
  task, numbers = task_and_numbers(config, operands)
  rows = split_rows(config, operands, split_key)
  found = splits(config, operands, rows)
  return State(training.init(task, train_key, numbers, found), rows)


def step(config, operands, state):
  """One epoch and its evaluation."""
  task, numbers = task_and_numbers(config, operands)
  found = splits(config, operands, state.rows)
  run, measured = training.epoch(task, numbers, state.run, found)
  return State(run, state.rows), measured


def finish(config, operands, state, history):
  """Accuracies, curves and the complexity of the trained network."""
  task, _ = task_and_numbers(config, operands)
  results = training.finish(task, state.run, history)
  kept = ("train_cross_entropy", "test_accuracy", "validation_accuracy")
  results = {
    name: value
    for name, value in results.items()
    if not name.endswith("_history") or name.removesuffix("_history") in kept
  }
  return results | complexity(config, state.run.params)


def complexity(config, params):
  """Exact complexity of every linear map of a network, by layers.

  MIC with power P = power_per_input · fan_in, ‖W‖_F, ‖W‖_2, and the printed chain of bounds.
  A convolution is taken as the linear map of one patch.
  """
  matrices = models.weight_matrices(params).values()
  singular = [jnp.linalg.svd(w, compute_uv=False) for w in matrices]
  chains = [
    jnp.stack(information.capacity_bounds(s, config.power_per_input * w.shape[0]))
    for s, w in zip(singular, matrices, strict=True)
  ]
  chains = jnp.stack(chains)
  square = jnp.stack([jnp.sum(jnp.square(s)) for s in singular])
  return {
    "bounds_layers": chains,
    "mic_layers": chains[:, 0] / 2,
    "mic_layer_sum": jnp.sum(chains[:, 0]) / 2,
    "frobenius_layers": jnp.sqrt(square),
    "frobenius_norm": jnp.sqrt(jnp.sum(square)),
    "spectral_layers": jnp.stack([jnp.max(s) for s in singular]),
    "spectral_norm_mean": jnp.stack([jnp.max(s) for s in singular]).mean(),
  }


PROGRAM = Program(init, step, finish, steps=lambda config: config.train.epochs)

# --- the experiment: tune on validation data, then train all cells on fresh seeds -----------


def static(cell):
  """The config keys of a cell that are not numbers; they make its compiled program."""
  group = cells.group(cell)
  return {
    "model.bottleneck": group.bottleneck,
    "regulariser.name": group.regulariser,
    "regulariser.reading": "code" if group.code else "paper",
  }


def numbers_of(config, cell, chosen):
  """The numbers of a cell; what is not one of its parts is off."""
  numbers = dict.fromkeys(cells.NUMBERS, 0.0)
  numbers["optimizer.learning_rate"] = config.optimizer.learning_rate
  if cell in cells.MATCHED:
    return numbers | {"optimizer.weight_decay": chosen[cell]}
  steps = cells.parts(cell)
  for i, part in enumerate(steps):
    numbers[cells.PARTS[part]] = chosen["+".join(steps[: i + 1])]
  return numbers


def train_cell(config, ctx, operands, name, cell, seeds, settings):
  """Trains a cell for each of the settings (numbers) and seeds: results (settings, seeds, …).

  The stages of a cell's program take the same number of members where they can (default:
  6 values × 3 tuning seeds, 18 seeds), so that it is compiled once.
  """
  rows = [(seed, *numbers.values()) for numbers in settings for seed in seeds]
  found = ctx.members(
    name,
    PROGRAM,
    config,
    operands,
    over={("seed", *cells.NUMBERS): rows},
    set=static(cell),
  )
  shape = (len(settings), len(seeds))
  return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), found)


def tune(config, ctx, operands, cell, chosen):
  """Validation results of a cell's last part over its grid, on top of its tuned parent.

  The test split is evaluated by the same program; nothing of it is kept here.
  """
  grid = config.tune[cells.parts(cell)[-1]]
  seeds = [config.tuning.seed + i for i in range(config.tuning.seeds)]
  settings = [numbers_of(config, cell, chosen | {cell: value}) for value in grid]
  if config.tuning.epochs:
    config = bind(config, {"train.epochs": config.tuning.epochs})
  found = train_cell(config, ctx, operands, f"tune {cell}", cell, seeds, settings)
  kept = ("validation_accuracy", "validation_loss", "frobenius_norm", "mic_layer_sum")
  results = {name: found[name] for name in kept}
  return results | {"values": np.asarray(grid, np.float64), "chosen": best_value(results)}


def best_value(results):
  """Index of the highest mean validation accuracy, among equals of the lowest mean loss."""
  accuracy = np.round(results["validation_accuracy"].mean(1), 6)
  return np.lexsort((results["validation_loss"].mean(1), -accuracy))[0]


def matching_decay(tuning, target):
  """The weight decay whose trained networks have the ‖W‖_F of the target cell, as tuned.

  Interpolates the norm on log λ between the values tried, held at the ends of the grid.
  """
  best = int(tuning[target]["chosen"])
  wanted = tuning[target]["frobenius_norm"][best].mean()
  norms = tuning["wd"]["frobenius_norm"].mean(1)
  order = np.argsort(norms)
  logs = np.log(tuning["wd"]["values"])[order]
  return float(np.exp(np.interp(wanted, norms[order], logs)))


def run(config, ctx):
  """All cells of the tables and of the controls; results by cell with a seed axis first."""
  operands = prepare(config)
  names = tuple(config.cells)
  known = (*cells.TABLE_1, *cells.TABLE_2, *cells.CONTROLS)
  if unknown := [name for name in names if name not in known]:
    raise UserError(f"config.cells has '{unknown[0]}'; the cells are {', '.join(known)}.")
  chosen: dict[str, float] = {}
  tuning = {}
  for cell in cells.tuned(names):
    tuning[cell] = tune(config, ctx, operands, cell, chosen)
    chosen[cell] = float(tuning[cell]["values"][tuning[cell]["chosen"]])
  for cell, target in cells.MATCHED.items():
    if cell in names:
      chosen[cell] = matching_decay(tuning, target)

  seeds = ctx.seeds(config)
  results = {}
  for cell in names:
    settings = [numbers_of(config, cell, chosen)]
    found = train_cell(config, ctx, operands, f"train {cell}", cell, seeds, settings)
    results[cell] = jax.tree.map(lambda x: x[0], found)
  return {
    "seeds": np.asarray(seeds),
    "tuning_seeds": np.asarray(config.tuning.seeds),
    "cells": results,
    "tuning": tuning,
    "chosen": {cell: np.asarray(value) for cell, value in chosen.items()},
  }

"""Class similarities, soft labels made of them, networks trained on those, and baselines."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from ml_collections import ConfigDict

from lib import calibration, data, losses, models, training
from lib.data import mixtures
from lib.experiment import Program, Stage, UserError, at_least, bind, by_name
from projects.csls import measures, methods

SYNTHETIC = "hierarchical"
DISTANCE_KINDS = methods.KINDS[: methods.KINDS.index("uniform")]
CURVE = 2000  # examples of a split with which the curves of the training are made


def check(config):
  """Raises a UserError for numbers that make no sense."""
  at_least(config, 1, "seeds", "data.train", "data.test", "bins", "dirichlet.iterations")
  at_least(config, 1, "train.epochs", "train.batch", "mixture.groups", "mixture.dim")
  for key in ("hidden", "latent", "steps", "batch"):
    at_least(config, 1, f"autoencoder.{key}")
  at_least(config, 2, "data.validation")  # one half selects what is fitted to the other
  at_least(config, 16, "points")
  at_least(config, 0, "grid.beta", "data.distances")
  for key in ("grid.alphas", "grid.betas", "grid.mixups", "dirichlet.penalties"):
    group, name = key.split(".")
    if not config[group][name]:
      raise UserError(f"{key} is empty; give at least one number.")
  for key in ("alpha", "alphas"):
    values = np.atleast_1d(config.grid[key])
    if not np.all((values > 0) & (values <= 1)):
      raise UserError(f"grid.{key} is {config.grid[key]}; α is in (0, 1].")
  if min(config.grid.betas) < 0 or min(config.grid.mixup, *config.grid.mixups) <= 0:
    raise UserError("grid.betas must not be negative, and grid.mixup(s) have to be positive.")
  if config.unseen and config.dataset == SYNTHETIC:
    raise UserError("unseen is for data sets; the synthetic ones draw their own.")
  if min(config.dirichlet.penalties) < 0:
    raise UserError("dirichlet.penalties must not be negative.")
  if config.model.name not in ("mlp", "resnet"):
    raise UserError(f"model.name is '{config.model.name}'; choose mlp or resnet.")
  if config.train.batch > config.data.train and config.dataset == SYNTHETIC:
    raise UserError("train.batch is larger than data.train.")
  if config.dataset == SYNTHETIC and config.mixture.classes < 3:
    raise UserError("mixture.classes must be at least 3: one class and two to compare.")


# --- data ---------------------------------------------------------------------------------


class Draw(NamedTuple):
  """The data of one seed: splits, inputs of no class, and what only a simulation knows."""

  train: training.Split
  validation: training.Split
  test: training.Split
  noise: jax.Array
  unseen: Any = None
  posterior: Any = None  # (n_test, K)
  mean_posterior: Any = None  # (K, K), row k is E[P(· | x) | y = k]
  embeddings: Any = None  # (K, d)


def prepare(config):
  """Nothing for the mixture, which each seed draws; otherwise the set and its embeddings."""
  check(config)
  if config.dataset == SYNTHETIC:
    return {}
  found = data.load(config.dataset)
  if found.info.task != "classification":
    raise UserError(f"dataset is '{config.dataset}', a regression; csls needs classes.")
  found = _scaled(found)
  operands = {"pool": jax.tree.map(jnp.asarray, training.Split(*found.train))}
  if found.test is not None:
    operands["test"] = jax.tree.map(jnp.asarray, training.Split(*found.test))
  operands["classes"] = jnp.zeros((found.info.num_classes, 0))  # a number as a shape
  if config.embeddings:
    operands["embeddings"] = _vectors(config.embeddings, found.info.num_classes)
  if config.unseen:
    other = _scaled(data.load(config.unseen))
    if other.info.input_shape != found.info.input_shape:
      shapes = other.info.input_shape, found.info.input_shape
      raise UserError(f"inputs of unseen have the shape {shapes[0]}; give one of {shapes[1]}.")
    operands["unseen"] = jnp.asarray((other.test or other.train).inputs[:2000])
  _refuse_sizes(config, len(found.train.targets), found.test is not None)
  return operands


def _scaled(found):
  return found if found.info.maximum is None else data.scale(found)


def _vectors(path, classes):
  """A vector of each class's name, (K, d)."""
  try:
    vectors = np.load(path)
  except (OSError, ValueError) as error:
    raise UserError(f"embeddings: '{path}' cannot be read.") from error
  if not isinstance(vectors, np.ndarray):
    raise UserError(f"embeddings: '{path}' holds several arrays; give a .npy of one.")
  if vectors.ndim != 2 or len(vectors) != classes:
    raise UserError(f"embeddings has the shape {vectors.shape}; give ({classes}, d).")
  return jnp.asarray(vectors, jnp.float32)


def _refuse_sizes(config, count, has_test):
  """Raises a UserError where so many examples cannot be split as the config says."""
  sizes = config.data
  if has_test:
    train, wanted = count - sizes.validation, sizes.validation + 1
  else:
    train, wanted = sizes.train, sizes.train + sizes.validation + sizes.test
  if wanted > count:
    raise UserError(
      f"{config.dataset} has {count} examples; make data.train, data.validation and data.test "
      "smaller (the preset digits has sizes for sklearn:digits)."
    )
  if config.train.batch > train:
    raise UserError(f"train.batch is larger than the {train} examples that train.")


def draw(config, operands) -> Draw:
  """The splits of `config.seed`, the same for all labels; `run` draws those of all seeds."""
  key = jax.random.fold_in(jax.random.key(config.seed), 1)
  sizes = config.data
  if "pool" in operands:
    return _split(config, operands, key)
  keys = jax.random.split(key, 7)
  shape = config.mixture
  spread = {k: shape[k] for k in ("between", "within", "noise")}
  make = functools.partial(
    mixtures.hierarchical,
    classes=shape.classes,
    groups=shape.groups,
    dim=shape.dim,
    **spread,
  )
  mixture, other = make(keys[0]), make(keys[1])
  counts = (sizes.train, sizes.validation, sizes.test)
  x, y = mixtures.sample(keys[2], mixture, sum(counts))
  parts = [
    training.Split(x[a:b], y[a:b])
    for a, b in zip(np.cumsum((0, *counts[:-1])), np.cumsum(counts), strict=True)
  ]
  posterior = mixtures.posterior(mixture, parts[2].inputs)
  member = jax.nn.one_hot(parts[2].labels, shape.classes)
  return Draw(
    *parts,
    unseen=mixtures.sample(keys[3], other, 2000)[0],
    noise=jax.random.uniform(keys[4], (2000, shape.dim), minval=-3.0, maxval=3.0),
    posterior=posterior,
    mean_posterior=(member / member.sum(0)).T @ posterior,
    embeddings=mixture.means[:, 0]
    + shape.embedding_noise * jax.random.normal(keys[5], mixture.means[:, 0].shape),
  )


def _split(config, operands, key):
  pool, sizes = operands["pool"], config.data
  split_key, noise_key = jax.random.split(key)
  counts = [sizes.train, sizes.validation, sizes.test]
  if "test" in operands:  # the official test split; the rest trains
    counts = [len(pool.labels) - sizes.validation, sizes.validation]
  rows = data.random_split(split_key, len(pool.labels), tuple(counts))
  parts = [training.Split(pool.inputs[r], pool.labels[r]) for r in rows]
  parts += [operands["test"]] if "test" in operands else []
  mean, scale = parts[0].inputs.mean(), parts[0].inputs.std()
  parts = [p._replace(inputs=(p.inputs - mean) / scale) for p in parts]
  noise = jax.random.uniform(noise_key, (2000, *pool.inputs.shape[1:]))
  noise = (noise - mean) / scale
  unseen = (operands["unseen"] - mean) / scale if "unseen" in operands else None
  return Draw(*parts, noise, unseen, embeddings=operands.get("embeddings"))


def of_seed(config, operands) -> Draw:
  """The draw of `config.seed` among those of all seeds."""
  return jax.tree.map(lambda x: x[config.seed - operands["first_seed"]], operands["draws"])


def number_of_classes(config, operands) -> int:
  """K."""
  return operands["classes"].shape[0] if "classes" in operands else config.mixture.classes


# --- class distances ----------------------------------------------------------------------


def available(config) -> tuple[str, ...]:
  """The similarities that the data allow."""
  if config.dataset == SYNTHETIC:
    return ("l1", "l2", "ae", "we", "shuffled", "we_other", "oracle")
  return ("l1", "l2", "ae", *(("we", "shuffled", "we_other") if config.embeddings else ()))


def latent(config, key, x):
  """Codes of an autoencoder d-h-latent-h-d trained on the inputs, Adam at 10⁻³."""
  x = x.reshape(len(x), -1)
  settings = config.autoencoder
  encoder = models.MLP((settings.hidden, settings.latent))
  decoder = models.MLP((settings.hidden, x.shape[-1]))
  keys = jax.random.split(key, 3)
  variables = (
    models.init(encoder, keys[0], x.shape[1:]),
    models.init(decoder, keys[1], (settings.latent,)),
  )
  optimizer = optax.adam(1e-3)

  def loss(variables, batch):
    code = encoder.apply(variables[0], batch)
    return jnp.mean((decoder.apply(variables[1], code) - batch) ** 2)

  def step(carry, key):
    variables, state = carry
    batch = x[jax.random.randint(key, (min(settings.batch, len(x)),), 0, len(x))]
    updates, state = optimizer.update(jax.grad(loss)(variables, batch), state)
    return (optax.apply_updates(variables, updates), state), None

  start = (variables, optimizer.init(variables))
  (variables, _), _ = lax.scan(step, start, jax.random.split(keys[2], settings.steps))
  return encoder.apply(variables[0], x)


def _kept(config, classes):
  """How many examples distances are taken of: the first of the (random) training split."""
  return config.data.distances * classes or None


def _refuse_absent(config, draws, classes):
  """Raises a UserError where a class has no example that a distance could be taken of."""
  labels = {"train": draws.train.labels[:, : _kept(config, classes)]}
  if draws.posterior is not None:
    labels["test"] = draws.test.labels
  for name, of in labels.items():
    for seed, row in enumerate(np.asarray(of), config.seed):
      absent = np.setdiff1d(np.arange(classes), row)
      if len(absent):
        raise UserError(
          f"class {absent[0]} has no example of which distances can be taken (seed {seed}); "
          f"make data.{name}" + (" or data.distances" if name == "train" else "") + " larger."
        )


def distances(config, operands):
  """What similarities are made of by name, (K, K): distances, and mean posteriors."""
  found = of_seed(config, operands)
  classes = number_of_classes(config, operands)
  x, y = jax.tree.map(lambda x: x[: _kept(config, classes)], found.train)
  key, order_key = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 2))
  codes = latent(config, key, found.train.inputs)[: len(x)]
  between = functools.partial(losses.class_distances, labels=y, classes=classes)
  result = {
    "l1": between(x, order=1),
    "l2": between(x, order=2),
    "ae": between(codes, order=2),
  }
  if found.embeddings is not None:
    result["we"] = losses.centre_distances(found.embeddings)
    # control: the same similarities, of other classes
    order = jax.random.permutation(order_key, classes)
    result["shuffled"] = result["we"][order][:, order]
    result["we_other"] = result["we"]  # standardised the other way
  if found.mean_posterior is not None:
    result["oracle"] = found.mean_posterior
  return result


DISTANCES = Program.once(distances)


def label_matrix(config, distances):
  """Y (K, K) of `config.labels`; every number may be traced, the kind too.

  Args:
    config: with `labels.kind`, `.alpha`, `.beta` (see `with_labels`).
    distances: (kinds, K, K) in the order of methods.KINDS, zeros where there is none.
  """
  settings = config.labels
  classes = distances.shape[-1]
  own = jnp.eye(classes)
  similar = [
    losses.class_similarities(d, settings.beta, settings.with_self ^ (kind == "we_other"))
    for kind, d in zip(methods.KINDS[: methods.KINDS.index("oracle")], distances, strict=False)
  ]
  oracle = distances[methods.KINDS.index("oracle")] * (1 - own)
  oracle = oracle / jnp.maximum(oracle.sum(-1, keepdims=True), 1e-12)
  uniform = jnp.ones((classes, classes)) / classes
  matched = (1 - own) / (classes - 1)
  each = jnp.stack([*similar, oracle, uniform, matched])
  return losses.similarity_labels(each[settings.kind], settings.alpha)


# --- training -----------------------------------------------------------------------------


class State(NamedTuple):
  """Network and optimiser between two epochs."""

  params: Any
  batch_stats: Any
  opt_state: Any
  key: jax.Array


def network(config, classes: int):
  """The classifier."""
  settings = config.model
  if settings.name == "resnet":
    return models.PreActResNet(settings.depth, classes, settings.width)
  return models.MLP((*settings.hidden, classes))


def _optimizer(config, examples: int):
  settings = config.train
  schedule = training.schedule(
    settings.schedule,
    max(1, examples // settings.batch),
    settings.epochs,
    **(
      {"at": tuple(settings.milestones), "factor": settings.factor}
      if settings.schedule == "piecewise"
      else {}
    ),
  )
  return training.optimizer(
    "sgd",
    lambda step: settings.learning_rate * schedule(step),
    settings.weight_decay,
    momentum=settings.momentum,
  )


def init(config, operands):
  """Initial weights, the same for all labels of a seed."""
  found = of_seed(config, operands)
  model = network(config, number_of_classes(config, operands))
  key, run_key = jax.random.split(jax.random.key(config.seed))
  variables = models.init(model, key, found.train.inputs.shape[1:])
  params, batch_stats = variables["params"], variables.get("batch_stats", {})
  optimizer = _optimizer(config, len(found.train.labels))
  return State(params, batch_stats, optimizer.init(params), run_key)


def _variables(params, batch_stats):
  return {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}


def step(config, operands, state):
  """One epoch of minibatches in random order, then the evaluation that curves are made of."""
  found = of_seed(config, operands)
  examples, size = len(found.train.labels), config.train.batch
  model = network(config, number_of_classes(config, operands))
  labels = label_matrix(config, operands["distances"][config.seed - operands["first_seed"]])
  optimizer = _optimizer(config, examples)
  key, order_key, mix_key = jax.random.split(state.key, 3)
  order = jax.random.permutation(order_key, examples)[: examples // size * size]

  def update(carry, inputs):
    params, batch_stats, opt_state = carry
    rows, key = inputs
    crop_key, mix_key = jax.random.split(key)
    x, y = found.train.inputs[rows], labels[found.train.labels[rows]]
    x = training.pad_crop_flip(crop_key, x) if config.train.augment else x
    x, y = losses.mixup(mix_key, x, y, config.labels.mixup)

    def objective(params):
      logits, updated = model.apply(
        _variables(params, batch_stats), x, train=True, mutable=["batch_stats"]
      )
      loss = optax.losses.softmax_cross_entropy(logits, y).mean()
      return loss, updated.get("batch_stats", {})

    (loss, batch_stats), gradient = jax.value_and_grad(objective, has_aux=True)(params)
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    return (optax.apply_updates(params, updates), batch_stats, opt_state), loss

  rows = order.reshape(-1, size)
  keys = jax.random.split(mix_key, len(rows))
  carry = (state.params, state.batch_stats, state.opt_state)
  (params, batch_stats, opt_state), loss = lax.scan(update, carry, (rows, keys))
  state = State(params, batch_stats, opt_state, key)
  variables = _variables(params, batch_stats)
  measured = {"train_loss": loss.mean()}
  for name in ("validation", "test"):
    split = jax.tree.map(lambda x: x[:CURVE], getattr(found, name))
    scores = jax.nn.softmax(_logits(config, operands, variables, split.inputs))
    measured |= {
      f"{name}_accuracy": jnp.mean(scores.argmax(-1) == split.labels),
      f"{name}_ece": measures.histogram(config, scores, split.labels),
      f"{name}_nll": measures.nll(scores, split.labels),
    }
  return state, measured


def _logits(config, operands, variables, x):
  model = network(config, number_of_classes(config, operands))
  run = functools.partial(models.apply, model, variables)
  whole = len(x) // 1000 * 1000
  if config.model.name == "mlp" or not whole:
    return run(x)
  parts = lax.map(run, x[:whole].reshape(-1, 1000, *x.shape[1:]))
  rest = [run(x[whole:])] if whole < len(x) else []
  return jnp.concatenate([parts.reshape(whole, -1), *rest])


# --- evaluation ---------------------------------------------------------------------------


def _outputs(config, operands, variables) -> dict[str, jax.Array]:
  """Logits of a trained network on what is measured and fitted, by name."""
  found = of_seed(config, operands)
  inputs = {
    "validation": found.validation.inputs,
    "test": found.test.inputs,
    "unseen": found.unseen,
    "noise": found.noise,
  }
  return {
    name: _logits(config, operands, variables, x)
    for name, x in inputs.items()
    if x is not None
  }


def _measured(config, operands, scores):
  """`quality` of the scores of the test split, and the mean confidence on the other inputs."""
  found = of_seed(config, operands)
  return measures.quality(config, scores["test"], found.test, found.posterior) | {
    f"confidence_{name}": scores[name].max(-1).mean() for name in scores if name != "test"
  }


def finish(config, operands, state, history):
  """Measures of the trained network, with and without a temperature, and its weights."""
  variables = _variables(state.params, state.batch_stats)
  logits = _outputs(config, operands, variables)
  held_out = logits.pop("validation"), of_seed(config, operands).validation.labels
  scaled = calibration.temperature
  temperature = scaled.fit(*held_out)

  def measured(t):
    return _measured(config, operands, {k: scaled.scores(t, z) for k, z in logits.items()})

  # in a loop, which is compiled once for both
  both = lax.map(measured, jnp.stack([jnp.ones_like(temperature), temperature]))
  plain, ts = by_name(("plain", "ts"), both).values()
  scores = jax.nn.softmax(held_out[0])
  plain["validation_histogram"] = measures.histogram(config, scores, held_out[1])
  kept = ("test_accuracy", "test_ece", "test_nll", "validation_accuracy", "validation_nll")
  for name in kept:
    plain[f"{name}_history"] = history[name]
  ts["temperature"] = temperature
  return {"plain": plain, "ts": ts, "network": variables}


def post_hoc(config, operands):
  """Ensemble temperatures and Dirichlet calibration of the seed's network of one-hot labels.

  Fitted on the validation split; λ = μ of the latter is chosen by the loss on one half of it
  after fitting on the other.
  """
  row = config.seed - operands["first_seed"]
  logits = _outputs(config, operands, jax.tree.map(lambda x: x[row], operands["networks"]))
  held_out = logits.pop("validation"), of_seed(config, operands).validation.labels
  maps, extra = [], {}
  for name, loss in (("ets", "nll"), ("ets_mse", "mse")):
    parameters = calibration.ensemble.fit(*held_out, loss)
    maps.append(functools.partial(calibration.ensemble.scores, parameters))
    extra[name] = {"weights": parameters.weights}
  parameters, penalty = _dirichlet(config, *held_out)
  maps.append(functools.partial(calibration.dirichlet.scores, parameters))
  extra["dirichlet"] = {"penalty": penalty}
  scores = {k: jnp.stack([scores(z) for scores in maps]) for k, z in logits.items()}
  # in a loop, which is compiled once for all maps
  found = lax.map(functools.partial(_measured, config, operands), scores)
  return {name: measures | extra[name] for name, measures in by_name(extra, found).items()}


def _dirichlet(config, logits, labels):
  """Parameters fitted to all of the examples, and the penalty with the least held-out loss."""
  count, half = len(labels), len(labels) // 2
  iterations, penalties = config.dirichlet.iterations, jnp.asarray(config.dirichlet.penalties)

  def fit(best, row):
    """On one half with the next penalty; in the last row on all examples with the best one."""
    tried, last = row
    penalty = jnp.where(last, best[1], tried)
    weights = jnp.where(last | (jnp.arange(count) < half), 1.0, 0.0)
    parameters = calibration.dirichlet.fit(
      logits, labels, penalty, penalty, iterations, weights
    )
    scores = calibration.dirichlet.scores(parameters, logits[half:])
    loss = measures.nll(scores, labels[half:])
    better = ~last & (loss < best[0])
    best = jax.tree.map(functools.partial(jnp.where, better), (loss, penalty), best)
    return best, parameters

  # one loop over the penalties and the last fit, so that the optimiser is compiled once
  tried = jnp.append(penalties, 0.0)
  last = jnp.arange(len(tried)) == len(penalties)
  (_, penalty), fitted = lax.scan(fit, (jnp.inf, penalties[0]), (tried, last))
  return jax.tree.map(lambda x: x[-1], fitted), penalty


TRAINING = Program(init, step, finish, steps=lambda config: config.train.epochs)
POST_HOC = Program.once(post_hoc)


def with_labels(config) -> ConfigDict:
  """The config with the numbers of `methods.Labels`, which every member replaces."""
  bound = ConfigDict(config.to_dict(), type_safe=False)
  bound.labels.update(methods.smooth("uniform", 0.0)._asdict())
  return bound


def run(config, ctx):
  """Class distances of each seed, then every kind of labels; results have the seeds first."""
  operands = prepare(config)
  config = with_labels(config)
  seeds = ctx.seeds(config)
  names = available(config)
  draws = jax.jit(jax.vmap(lambda seed: draw(bind(config, {"seed": seed}), operands)))
  numbers = jnp.asarray(seeds, jnp.int32)
  wanted = methods.members(config.grid, names)
  keys = ("seed", *(f"labels.{field}" for field in methods.Labels._fields))
  rows = [(seed, *labels) for labels in wanted.values() for seed in seeds]
  stages = {
    "labels": Stage("labels", TRAINING, config, None, {keys: rows}),
    "post_hoc": Stage("post-hoc calibrators", POST_HOC, config, None, {"seed": seeds}),
    "distances": Stage("distances", DISTANCES, config, None, {"seed": seeds}),
  }
  shared = {name: x for name, x in operands.items() if name not in ("pool", "test")}
  shared["first_seed"] = numbers[0]
  _compile_ahead(config, ctx, shared | {"draws": jax.eval_shape(draws, numbers)}, stages)
  shared["draws"] = draws(numbers)
  _refuse_absent(config, shared["draws"], number_of_classes(config, operands))
  stages = {name: stage._replace(operands=shared) for name, stage in stages.items()}
  raw = ctx.members(*stages["distances"])
  zero = np.zeros_like(raw["l2"])
  between = jnp.asarray(np.stack([raw.get(kind, zero) for kind in DISTANCE_KINDS], 1))
  found = ctx.members(*stages["labels"]._replace(operands=shared | {"distances": between}))
  found = by_name(wanted, found, each=len(seeds))
  networks = found["onehot"]["network"]
  fitted = ctx.members(*stages["post_hoc"]._replace(operands=shared | {"networks": networks}))
  return {
    "seeds": np.asarray(seeds),
    "alpha": np.asarray(config.grid.alpha),
    "beta": np.asarray(config.grid.beta),
    "alphas": np.asarray(sorted({*config.grid.alphas, config.grid.alpha})),
    "betas": np.asarray(sorted({*config.grid.betas, config.grid.beta})),
    "mixup": np.asarray(config.grid.mixup),
    "mixups": np.asarray(sorted({*config.grid.mixups, config.grid.mixup})),
    "penalties": np.asarray(config.dirichlet.penalties, float),
    "methods": {name: of["plain"] for name, of in found.items()} | fitted,
    # the same networks with a temperature fitted on validation data
    "scaled": {name: of["ts"] for name, of in found.items()},
    "distances": raw,
  }


def _compile_ahead(config, ctx, operands, stages):
  """All programs side by side, for the shapes of what the stages give to each other."""
  seeds, classes = len(stages["distances"].over["seed"]), number_of_classes(config, operands)

  def networks(operands):
    start = jax.vmap(lambda seed: init(bind(config, {"seed": seed}), operands))
    state = start(jnp.full(seeds, operands["first_seed"]))
    return _variables(state.params, state.batch_stats)

  between = (seeds, len(DISTANCE_KINDS), classes, classes)
  operands_of = {
    "distances": operands,
    "labels": operands | {"distances": jax.ShapeDtypeStruct(between, jnp.float32)},
    "post_hoc": operands | {"networks": jax.eval_shape(networks, operands)},
  }
  ctx.compile_ahead(*(stages[k]._replace(operands=x) for k, x in operands_of.items()))

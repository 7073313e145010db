"""Networks trained with centred weights, gradients and errors, and with what they rival.

Fuhl and Kasneci (2021). Every step goes: forward with the current (centred) weights, back
propagation, gradient centralisation, optimiser, and the weights are centred again in place.
Biases and the output layer are never centred; "fully" adds the penultimate dense layer.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax import lax

from lib import data, models, training, updates
from lib.experiment import Program, Stage, UserError, at_least, bind, by_name
from projects.weight_grad_centralization import methods
from projects.weight_grad_centralization.methods import NUMBERS, OFF, Method
from projects.weight_grad_centralization.network import network

# --- data -------------------------------------------------------------------


def check(config):
  """Raises a UserError for numbers that make no sense."""
  for key in ("methods", "tuned", "normalised"):
    if unknown := [name for name in config[key] if name not in methods.ALL]:
      raise UserError(
        f"config.{key} has '{unknown[0]}'; the rows are {', '.join(methods.ALL)}."
      )
  for key in ("methods", "tuned", "normalised"):
    if "base" not in config[key] and (config[key] or key != "normalised"):
      raise UserError(f"config.{key} must contain 'base', which all others are compared with.")
  if unknown := [row for row in config.normalised if row in methods.HOOKED]:
    raise UserError(f"config.normalised has '{unknown[0]}', which is for methods alone.")
  if unknown := [row for row in config.tuned if row in methods.HOOKED]:
    raise UserError(f"config.tuned has '{unknown[0]}', which is trained at one rate alone.")
  for name in ("rates", "normalised_rates"):
    if min(config[name], default=0) <= 0:
      raise UserError(f"config.{name} must be positive factors of the learning rate.")
  at_least(config, 1, "seeds", "equivalence.steps")
  for key, known in (
    ("optimizers", ("sgd", "adam")),
    ("equivalence.optimizers", (*LINEAR, *NOT_LINEAR)),
  ):
    chosen = config.optimizers if key == "optimizers" else config.equivalence.optimizers
    if unknown := [name for name in chosen if name not in known]:
      raise UserError(f"config.{key} has '{unknown[0]}': choose {', '.join(known)}.")


def prepare(config):
  """Images with zero mean and unit variance a channel, and "classes"."""
  check(config)
  found = data.load_images(config.dataset)
  found = data.split(
    found, 0, validation=config.validation, train=config.train_examples or None
  )
  found, _ = data.normalise(found, over="channel")
  operands = {
    name: training.Split(*map(jnp.asarray, getattr(found, name)))
    for name in ("train", "validation", "test")
  }
  return operands | {"classes": jnp.zeros((found.info.num_classes, 0))}


def method_of(config) -> Method:
  """The row's numbers, which may be traced."""
  return Method("", *(config.method[name] for name in NUMBERS))


# --- what is done to weights and gradients (eq. 1 - 4) ----------------------------------


def _chosen(fully, hidden):
  """How much of a method a parameter gets: (path, leaf) -> 0 or 1, for traced `fully`.

  All convolutions, and with `fully` the last hidden dense layer.
  """

  def share(path, leaf):
    if path[-1] != "kernel":
      return 0.0
    if leaf.ndim == 4:
      return 1.0
    return fully if path[0] == f"layer_{hidden - 1}" else 0.0

  return share


def _centred(kernel, area):
  """`updates.centre` over an area that may be traced; the kernel as it is where that is OFF.

  All means are means of the masks' means. A dense layer has no masks: there the area
  "instance" changes nothing.
  """
  masks = kernel.mean((0, 1)) if kernel.ndim == 4 else kernel
  instance = masks if kernel.ndim == 4 else jnp.zeros_like(masks)
  means = (masks.mean(), masks.mean(0), masks.mean(1, keepdims=True), instance)
  means = jnp.stack([jnp.broadcast_to(m, masks.shape) for m in means])
  return kernel - jnp.where(area == OFF, 0.0, means[area])


def _map(function, params, share):
  """Each kernel changed as far as its share says."""

  def apply(path, leaf):
    names = tuple(str(getattr(key, "key", key)) for key in path)
    part = share(names, leaf)
    if isinstance(part, float) and part == 0.0:
      return leaf
    return jnp.where(jnp.asarray(part) > 0, function(leaf), leaf)

  return jax.tree_util.tree_map_with_path(apply, params)


def project_weights(method: Method, hidden: int):
  """parameters -> parameters: eq. 1, 2 or 3 for the method's number, in place."""

  def function(kernel):
    options = [
      kernel,
      _centred(kernel, method.weight_area),
      updates.normalise(kernel),
      updates.standardise(kernel),
      updates.standardise(kernel, scaled=True),
    ]
    return jnp.stack(options)[method.weights]

  return lambda params: _map(function, params, _chosen(method.fully, hidden))


def centre_gradients(method: Method, hidden: int) -> optax.GradientTransformation:
  """Eq. 4 over the method's area, or nothing."""

  def update(gradient, state, params=None):
    del params
    share = _chosen(method.fully, hidden)
    return _map(lambda g: _centred(g, method.gradient_area), gradient, share), state

  return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


# --- one member: a training run of one row ----------------------------------------------


def task_and_numbers(config, operands):
  """The training run of a row."""
  method = method_of(config)
  hidden = len(config.model.hidden[:1] if config.model.batch_norm else config.model.hidden)
  settings = dict(config.sgd if config.optimizer == "sgd" else config.adam)
  settings["name"] = config.optimizer
  settings["learning_rate"] = settings["learning_rate"] * config.rate
  return training.from_config(
    {"train": config.train, "optimizer": settings, "schedule": config.schedule},
    network(config, method_of(config), operands["classes"].shape[0]),
    transform=centre_gradients(method, hidden),
    project=project_weights(method, hidden),
  )


def _data(operands):
  return training.Data(operands["train"])


def init(config, operands):
  """The state before the first epoch, its weights already centred."""
  task, numbers = task_and_numbers(config, operands)
  return training.init(task, jax.random.key(config.seed), numbers, _data(operands))


def step(config, operands, state):
  """One epoch."""
  task, numbers = task_and_numbers(config, operands)
  return training.epoch(task, numbers, state, _data(operands))


def finish(config, operands, state, history):
  """Accuracies after the last epoch, and how far the filters' means are from zero.

  A network whose outputs are no longer numbers classifies nothing: it counts as wrong.
  """
  task, _ = task_and_numbers(config, operands)
  variables = training.variables(task, state)
  found = {
    f"{name}_accuracy": _accuracy(task.model, variables, operands[name])
    for name in ("validation", "test")
  }
  kernels = [unit["conv"]["kernel"] for unit in variables["params"].values() if "conv" in unit]
  means = [jnp.abs(k.mean((0, 1, 2))).max() for k in kernels]
  return found | {
    "filter_mean": jnp.stack(means).max(),
    "train_loss_history": history["train_loss"],
    "train_accuracy": history["train_accuracy"][-1],
  }


def _accuracy(model: nn.Module, variables, split):
  def hit(example):
    x, label = example
    logits = models.apply(model, variables, x[None])[0]
    return (logits.argmax() == label) & jnp.all(jnp.isfinite(logits))

  return jnp.mean(lax.map(hit, tuple(split), batch_size=100))


PROGRAM = Program(init, step, finish, steps=lambda config: config.train.epochs, alone=True)

# --- WC and WC + GC are one algorithm under linear optimisers (control) ------------------

LINEAR = ("sgd", "momentum", "nesterov")
NOT_LINEAR = ("adam", "clipping")


def optimizer_named(name, rate):
  """Optimisers of the equivalence; those in LINEAR are linear in the gradient."""
  decay = optax.add_decayed_weights(5e-4)
  return {
    "sgd": optax.sgd(rate),
    "momentum": optax.chain(decay, optax.sgd(rate, 0.9)),
    "nesterov": optax.chain(decay, optax.sgd(rate, 0.9, nesterov=True)),
    "adam": optax.adam(0.1 * rate),
    "clipping": optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(rate)),
  }[name]


def equivalence(config, operands):
  """Largest difference between the weights of WC and of WC + GC, in float64.

  {optimiser: (networks)} after `equivalence.steps` steps from the same start. All networks,
  of both methods and all optimisers, have their gradients taken at once: one compiled program.
  """
  config = bind(config, {"model.batch_norm": False, "model.hooks": False})
  hidden = len(config.model.hidden)
  model = network(config, method_of(config), operands["classes"].shape[0])
  size = config.train.batch_size
  images, labels = (np.asarray(a[: 10 * size]) for a in operands["train"])
  project = project_weights(Method("", methods.CENTRE), hidden)
  optimizers = {
    (name, area): optax.chain(
      centre_gradients(Method("", methods.CENTRE, gradient_area=area), hidden),
      optimizer_named(name, config.sgd.learning_rate),
    )
    for name in config.equivalence.optimizers
    for area in (OFF, methods.TENSOR)
  }

  def differences(key):
    params = models.init(model, key, images.shape[1:])["params"]
    params = project(jax.tree.map(lambda w: w.astype(jnp.float64), params))

    def step(carry, i):
      params, states = carry
      rows = (i * size + jnp.arange(size)) % len(labels)
      x, y = jnp.asarray(images, jnp.float64)[rows], jnp.asarray(labels)[rows]

      def loss(params):
        logits = models.apply(model, {"params": params}, x)
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()

      each = (params[one] for one in optimizers)
      stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
      gradients = by_name(optimizers, jax.vmap(jax.grad(loss))(stacked))
      for one, optimizer in optimizers.items():
        change, state = optimizer.update(gradients[one], states[one], params[one])
        params = params | {one: project(optax.apply_updates(params[one], change))}
        states = states | {one: state}
      return (params, states), None

    start = (
      dict.fromkeys(optimizers, params),
      {one: optimizer.init(params) for one, optimizer in optimizers.items()},
    )
    (ends, _), _ = lax.scan(step, start, jnp.arange(config.equivalence.steps))

    def gap(name):
      pair = ends[name, OFF], ends[name, methods.TENSOR]
      gaps = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), *pair)
      return jnp.stack(jax.tree.leaves(gaps)).max()

    return {name: gap(name) for name in config.equivalence.optimizers}

  with jax.enable_x64(True):
    keys = jax.random.split(jax.random.key(config.seed), config.equivalence.networks)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(differences))(keys))


# --- the experiment ---------------------------------------------------------------------

NETWORKS = {"plain": False, "batch_norm": True}  # name -> model.batch_norm


def rows_of(config, network):
  """The rows of a network by how they are trained: {"tuned", "others", "hooks"}."""
  if network == "plain":
    rows, tuned = config.methods, config.tuned
  else:
    rows, tuned = config.normalised, ("base",)
  found = {"tuned": [], "others": [], "hooks": []}
  for row in rows:
    kind = "tuned" if row in tuned else "hooks" if row in methods.HOOKED else "others"
    found[kind].append(row)
  return {kind: rows for kind, rows in found.items() if rows}


def rates_of(config, network):
  """Factors of the learning rate that the tuned rows of a network are trained at."""
  return config.normalised_rates if NETWORKS[network] else config.rates


def stage(config, ctx, operands, network, optimizer, kind, rates) -> Stage:
  """Rows × rates × seeds of one network, optimiser and kind, as one compiled batch."""
  return Stage(
    f"{network} {optimizer} {kind}",
    PROGRAM,
    config,
    operands,
    over={
      tuple(f"method.{name}" for name in NUMBERS): [
        methods.ALL[row][1:] for row in rows_of(config, network)[kind]
      ],
      "rate": rates,
      "seed": ctx.seeds(config),
    },
    set={
      "optimizer": optimizer,
      "model.batch_norm": NETWORKS[network],
      "model.hooks": kind == "hooks",
    },
  )


def train_network(config, ctx, operands, network, optimizer):
  """Accuracies of all rows at the rate that is the baseline's best on validation data.

  The tuned rows are trained at every rate.

  Returns:
    ({row: results (seeds, …)}, {"factors" (rates,), "chosen", "rows": {row: (rates, seeds)}}).
  """
  rows, factors = rows_of(config, network), rates_of(config, network)

  def train(kind, rates):
    described = stage(config, ctx, operands, network, optimizer, kind, rates)
    return by_name(rows[kind], ctx.members(*described, tolerate_non_finite=True))

  at_rates = train("tuned", factors)
  chosen = int(at_rates["base"]["validation_accuracy"].mean(1).argmax())
  found = {row: _at(chosen, at_rates[row]) for row in rows["tuned"]}
  for kind in [kind for kind in rows if kind != "tuned"]:
    found |= {row: _at(0, one) for row, one in train(kind, [factors[chosen]]).items()}
  splits = ("validation_accuracy", "test_accuracy")
  rates = {
    "factors": np.asarray(factors),
    "chosen": np.asarray(chosen),
    "rows": {row: {split: at_rates[row][split] for split in splits} for row in rows["tuned"]},
  }
  return {row: found[row] for row in methods.ALL if row in found}, rates


def _at(i, results):
  return jax.tree.map(lambda leaf: leaf[i], results)


def run(config, ctx):
  """Both networks, both optimisers, all rows and seeds; then the exact control."""
  operands = prepare(config)
  pairs = [(n, o) for o in config.optimizers for n in NETWORKS if rows_of(config, n)]
  ctx.compile_ahead(
    *(
      stage(
        config,
        ctx,
        operands,
        *pair,
        kind,
        rates_of(config, pair[0]) if kind == "tuned" else [1.0],
      )
      for pair in pairs
      for kind in rows_of(config, pair[0])
    )
  )
  results = {
    "seeds": np.asarray(ctx.seeds(config)),
    "classes": np.asarray(len(operands["classes"])),
    "plain": {},
    "batch_norm": {},
    "rates": {"plain": {}, "batch_norm": {}},
  }
  for name, optimizer in pairs:
    found, rates = train_network(config, ctx, operands, name, optimizer)
    results[name][optimizer], results["rates"][name][optimizer] = found, rates
  results["equivalence"] = ctx.stage("equivalence", equivalence, config, operands)
  return results

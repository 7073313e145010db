"""Networks trained plainly, with a Jacobian penalty, and on universal perturbations; attacks.

Co, Martinez Rego and Lupu (2021). Three programs, whose members are trained networks:

- `PROGRAM` trains one network (sec. 4.1);
- `JACOBIANS` takes its exact input Jacobians (sec. 3.2 and 4.3);
- `ATTACKS` makes universal perturbations of it, one after the other (sec. 2.1 and 4.2).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from lib import data, models, robustness, training
from lib.experiment import Program, UserError, at_least, by_name

# --- data and network -------------------------------------------------------------------


def check(config):
  """Raises a UserError for numbers that make no sense."""
  at_least(config, 1, "seeds", "probes", "jacobian_images", "validation_examples")
  at_least(config, 1, "attack.steps", "attack.batch", "attack.restarts", "train.batch_size")
  at_least(config, 0, "penalty", "noise", "universal.radius", "universal.step")
  for name in ("step", "small_step", "clip"):
    if config.attack[name] <= 0:
      raise UserError(f"attack.{name} is {config.attack[name]}; it must be positive.")
  if config.attack.small_step >= config.attack.step:
    raise UserError("attack.small_step must be smaller than attack.step.")
  if config.jacobian and (config.noise or config.universal.radius):
    raise UserError(
      "jacobian trains with the penalty alone: set noise and universal.radius to 0."
    )
  if min(config.epsilons, default=0) <= 0 or min(config.penalties, default=0) < 0:
    raise UserError("config.epsilons must be positive, and config.penalties not negative.")
  if not config.universal_steps or min(config.universal_steps) <= 0:
    raise UserError("config.universal_steps needs one step or more, all above 0.")
  if config.epsilon not in config.epsilons:
    raise UserError(f"config.epsilons must contain config.epsilon, {config.epsilon}.")
  if min(config.train.epochs, config.universal_epochs) <= config.schedule.get("warmup", 0):
    raise UserError(
      f"train.epochs, {config.train.epochs}, and universal_epochs, {config.universal_epochs}, "
      f"must be more than schedule.warmup, {config.schedule.warmup}."
    )


def prepare(config):
  """Images in [0, 1] and labels: {"train", "validation", "test"} and "classes", (n, 0)."""
  check(config)
  found = data.load_images(config.dataset)
  if found.info.maximum is not None:
    found = data.scale(found)
  found = data.split(
    found, 0, validation=config.validation_examples, train=config.train_examples or None
  )
  test = found.test.inputs[: config.test_examples or None], found.test.targets
  found = found._replace(test=data.Examples(test[0], test[1][: len(test[0])]))
  if config.attack.batch > found.train.size:
    raise UserError(
      f"attack.batch is {config.attack.batch}, more than the {found.train.size} images."
    )
  if config.jacobian_images > found.test.size:
    raise UserError(
      f"jacobian_images is {config.jacobian_images}, more than the {found.test.size} of the "
      "test split."
    )
  operands = {
    name: training.Split(*map(jnp.asarray, getattr(found, name)))
    for name in ("train", "validation", "test")
  }
  return operands | {"classes": jnp.zeros((found.info.num_classes, 0))}


def network(config, operands):
  """The LeNet of the config."""
  return models.LeNet(
    tuple(config.model.channels), tuple(config.model.hidden), operands["classes"].shape[0]
  )


def logits_of(config, operands, params):
  """The network as a function of images, (n, …) -> (n, classes)."""
  model = network(config, operands)
  return lambda x: model.apply({"params": params}, x)


def predictions(logits, inputs):
  """Predicted classes of many images, (n, …) -> (n,)."""
  return lax.map(lambda x: logits(x[None])[0].argmax(-1), inputs, batch_size=100)


# --- training (sec. 2.2 and 4.1) --------------------------------------------------------


class Training(NamedTuple):
  """A network in training, with the perturbation it is trained against."""

  network: robustness.Training
  key: jax.Array


def optimizer(config, operands):
  """SGD with momentum and a schedule, by the config."""
  settings, schedule = dict(config.optimizer), dict(config.schedule)
  steps = len(operands["train"].labels) // config.train.batch_size
  factor = training.schedule(schedule.pop("name"), steps, config.train.epochs, **schedule)
  base = settings.pop("learning_rate")
  return training.optimizer(settings.pop("name"), lambda step: base * factor(step), **settings)


def objective(config, operands, key, labels):
  """(params, inputs) -> (loss, error rate) of a minibatch.

  Eq. 11: CE + λ/2 · 1/B Σ_i ‖J(x_i)‖_F², the norms by random projection.
  """

  def loss(params, inputs):
    logits = logits_of(config, operands, params)
    penalty = 0.0
    if config.jacobian:
      y, norms = robustness.projected_squared_norms(key, logits, inputs, config.probes)
      penalty = config.penalty / 2 * norms.mean()
    else:
      y = logits(inputs)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(y, labels)
    return losses.mean() + penalty, jnp.mean(y.argmax(-1) != labels)

  return loss


def minibatch(config, operands, state, rows):
  """One step of the optimiser, and with UAT of the perturbation."""
  key, noise_key, probe_key = jax.random.split(state.key, 3)
  inputs, labels = (a[rows] for a in operands["train"])
  loss, optimiser = objective(config, operands, probe_key, labels), optimizer(config, operands)
  if config.jacobian:
    before = state.network
    value, gradient = jax.value_and_grad(loss, has_aux=True)(before.params, inputs)
    updates, opt_state = optimiser.update(gradient, before.opt_state, before.params)
    params = optax.apply_updates(before.params, updates)
    after = before._replace(params=params, opt_state=opt_state)
  else:
    if config.noises:
      noise = config.noise * jax.random.normal(noise_key, inputs.shape)
      inputs = jnp.clip(inputs + noise, 0, 1)
    radius = config.universal.radius
    after, value = robustness.training_step(
      loss,
      optimiser,
      state.network,
      inputs,
      radius,
      config.universal.step * radius,
    )
  return Training(after, key), {"train_loss": value[0], "train_error": value[1]}


def init(config, operands):
  """The network before training."""
  weights_key, key = jax.random.split(jax.random.key(config.seed))
  shape = operands["train"].inputs.shape[1:]
  params = models.init(network(config, operands), weights_key, shape)["params"]
  state = robustness.training_init(params, optimizer(config, operands), shape)
  return Training(state, key)


def step(config, operands, state):
  """One epoch; measurements are means over its steps."""
  key, order_key = jax.random.split(state.key)
  rows = data.epoch_batches(order_key, len(operands["train"].labels), config.train.batch_size)
  state, measured = lax.scan(
    lambda state, rows: minibatch(config, operands, state, rows),
    state._replace(key=key),
    rows,
  )
  return state, jax.tree.map(lambda m: m.mean(0), measured)


def finish(config, operands, state, history):
  """The trained network and its error on test images, also with a random δ = ±ε."""
  params = state.network.params
  logits, (inputs, labels) = logits_of(config, operands, params), operands["test"]
  key = jax.random.fold_in(jax.random.key(config.seed), _RANDOM)
  random = config.epsilon * jax.random.rademacher(key, inputs.shape[1:], inputs.dtype)

  def error(delta):
    return jnp.mean(predictions(logits, robustness.perturb(inputs, delta)) != labels)

  return {
    "params": params,
    "uat_delta": state.network.delta,
    "uat_delta_error": error(state.network.delta),  # under the δ of its own training
    "test_error": error(jnp.zeros_like(random)),
    "random_evasion": error(random),
    "train_error": history["train_error"][-1],
    "train_loss": history["train_loss"],
  }


# Random numbers of attacks and of the random δ, apart from those of training.
_STREAM, _RANDOM = 1 << 20, 1 << 21
PROGRAM = Program(init, step, finish, steps=lambda config: config.train.epochs, alone=True)


# --- exact Jacobians (sec. 3 and 4.3) ---------------------------------------------------

_CHUNK = 20  # images whose Jacobians are taken at once


def _member(config, operands):
  return jax.tree.map(lambda leaf: leaf[config.member], operands["params"])


def _images(config, operands):
  return operands["test"].inputs[: config.jacobian_images]


def jacobian_chunk(config, operands, state):
  """Exact Jacobians of the next images."""
  params, position = state
  images = _images(config, operands)
  rows = (position + jnp.arange(_CHUNK)) % len(images)
  found = robustness.jacobian(logits_of(config, operands, params), images[rows])
  return (params, position + _CHUNK), {"jacobians": found}


def jacobian_statistics(config, operands, state, history):
  """Norms, similarities (eq. 10) and both sides of the bound (eq. 9)."""
  del operands, state
  found = history["jacobians"].reshape(-1, *history["jacobians"].shape[2:])
  found = found[: config.jacobian_images]
  norms = jnp.sqrt(robustness.squared_norms(found))
  similar = robustness.off_diagonal(robustness.similarities(found))
  centred = robustness.off_diagonal(robustness.similarities(robustness.centre_outputs(found)))
  return {
    "norm": norms.mean(),
    "similarity": jnp.median(similar),
    "similarity_centred": jnp.median(centred),
    "similarity_histogram": jnp.histogram(similar, bins=100, range=(-1.0, 1.0))[0],
    "stacked_squared": jnp.sum(jnp.square(norms)),  # ‖J_N‖_F²
    "bound_squared": jnp.sum(norms) ** 2,  # Σ_ij ‖J_i‖_F ‖J_j‖_F, eq. 9
    "inner_products": jnp.sum(jnp.square(found.sum(0))),  # Σ_ij ⟨J_i, J_j⟩, as printed
    "largest_eigenvalue": robustness.largest_eigenvalue(found),
  }


JACOBIANS = Program(
  lambda config, operands: (_member(config, operands), jnp.zeros([], jnp.int32)),
  jacobian_chunk,
  jacobian_statistics,
  steps=lambda config: -(-config.jacobian_images // _CHUNK),
)


# --- universal perturbations (sec. 2.1 and 4.2) -----------------------------------------


def attack(config, operands, state):
  """The next attack of operands["attacks"]: a δ from training images, tested on the others."""
  params, number = state
  radius, target, step, order = (operands["attacks"][name][number] for name in _ATTACK)
  logits = logits_of(config, operands, params)
  key = jax.random.fold_in(jax.random.key(operands["seeds"][config.member]), _STREAM)
  delta, _ = robustness.universal_perturbation(
    jax.random.fold_in(key, order),
    logits,
    *operands["train"],
    radius,
    step=step * radius,
    steps=config.attack.steps,
    batch=config.attack.batch,
    target=target,
    clip=config.attack.clip,
  )
  inputs, labels = operands["test"]
  found = predictions(logits, robustness.perturb(inputs, delta))
  held_out, right = operands["validation"]
  images = _images(config, operands)
  moved = lax.map(
    lambda image: jax.jvp(logits, (image[None],), (delta[None],))[1], images, batch_size=100
  )
  measured = {
    "evasion": jnp.mean(found != labels),
    "validation_evasion": jnp.mean(
      predictions(logits, robustness.perturb(held_out, delta)) != right
    ),
    "targeted_others": jnp.sum((found == target) & (labels != target))
    / jnp.sum(labels != target),  # among images of the other classes
    "predicted": jnp.mean(found[:, None] == jnp.arange(len(operands["classes"])), 0),
    "linear_effect": jnp.sqrt(jnp.sum(jnp.square(moved))),  # ‖J_N δ‖₂
    "size": jnp.abs(delta).max(),
    "delta": delta,
  }
  return (params, number + 1), measured


_ATTACK = ("radius", "target", "step", "order")
ATTACKS = Program(
  lambda config, operands: (_member(config, operands), jnp.zeros([], jnp.int32)),
  attack,
  lambda config, operands, state, history: history,
  steps=lambda config: config.attacks,
  alone=True,
)


def attack_list(rows):
  """Attacks (radius, target, step in radii, order) as arrays.

  Attacks with the same number `order` see the images in the same order.
  """
  radius, target, step, order = zip(*rows, strict=True)
  return {
    "radius": jnp.asarray(radius, jnp.float32),
    "target": jnp.asarray(target, jnp.int32),
    "step": jnp.asarray(step, jnp.float32),
    "order": jnp.asarray(order, jnp.int32),
  }


def attack_rows(config, classes):
  """{what for: its attacks}.

  ε by ε, then at the headline's ε: the sign of the step as printed in sec. 2.1, other orders
  of the images, all orders with small steps, all classes, and an order of its own by which
  UAT's step is chosen.
  """
  step, small, restarts = (config.attack[name] for name in ("step", "small_step", "restarts"))
  of_epsilon = config.epsilon, robustness.UNTARGETED
  return {
    "radii": [(e, robustness.UNTARGETED, step, 0) for e in config.epsilons],
    "printed": [(*of_epsilon, -step, 0)],
    "orders": [(*of_epsilon, step, order) for order in range(1, restarts)],
    "small steps": [(*of_epsilon, small, order) for order in range(restarts)],
    "targeted": [(config.epsilon, c, step, c) for c in range(classes)],
    "choice": [(*of_epsilon, step, restarts)],
  }


# --- the experiment ---------------------------------------------------------------------


def methods(config):
  """Name of every way to train -> (penalty, radius and step of UAT, noise).

  UAT is there once for every step; `run` keeps one.
  """
  step = config.universal.step
  found = {"standard": (0.0, 0.0, step, 0.0)}
  found |= {f"uat_{a:g}": (0.0, config.epsilon, a, 0.0) for a in config.universal_steps}
  found |= {f"noise_{sd:g}": (0.0, 0.0, step, sd) for sd in config.noises}
  return found | {f"jr_{penalty:g}": (penalty, 0.0, step, 0.0) for penalty in config.penalties}


def train_all(config, ctx, operands, seeds):
  """Results of every method, (seeds, …): plain, against perturbations, with a penalty."""
  groups = {"train": {}, "train against perturbations": {}, "train with penalty": {}}
  plain, universal, penalised = groups.values()
  for name, numbers in methods(config).items():
    penalty, radius, *_ = numbers
    (penalised if penalty > 0 else universal if radius > 0 else plain)[name] = numbers
  changes = (
    {"jacobian": False},
    {"jacobian": False, "train.epochs": config.universal_epochs},
    {"jacobian": True},
  )
  results = {}
  for (stage, chosen), change in zip(groups.items(), changes, strict=True):
    rows = [(seed, *numbers) for numbers in chosen.values() for seed in seeds]
    found = ctx.members(
      stage,
      PROGRAM,
      config,
      operands,
      over={("seed", "penalty", "universal.radius", "universal.step", "noise"): rows},
      set=change,
    )
    results |= by_name(chosen, found, each=len(seeds))
  return results


def of_networks(ctx, name, program, config, operands, trained, seeds, **changes):
  """A program's results for every trained network: {method: arrays (seeds, …)}."""
  params = jax.tree.map(lambda *p: np.concatenate(p), *(t["params"] for t in trained.values()))
  shared = operands | {
    "params": jax.tree.map(jnp.asarray, params),
    "seeds": jnp.asarray(seeds * len(trained), jnp.int32),
  }
  found = ctx.members(
    name, program, config, shared, over={"member": range(len(seeds) * len(trained))}, **changes
  )
  return by_name(trained, found, each=len(seeds))


def attack_all(ctx, name, config, operands, trained, seeds, parts):
  """The attacks of these parts of `attack_rows` on every trained network, in one stage.

  Returns:
    {method: {part: measurements (seeds, attacks of the part, …)}}.
  """
  chosen = attack_rows(config, len(operands["classes"]))
  rows = [row for part in parts for row in chosen[part]]
  shared = operands | {"attacks": attack_list(rows)}
  changes = {"attacks": len(rows)}
  found = of_networks(ctx, name, ATTACKS, config, shared, trained, seeds, set=changes)
  ends = np.cumsum([len(chosen[part]) for part in parts])

  def of_part(values, part, end):
    return jax.tree.map(lambda leaf: leaf[:, end - len(chosen[part]) : end], values)

  return {
    method: {part: of_part(values, part, end) for part, end in zip(parts, ends, strict=True)}
    for method, values in found.items()
  }


def choose_step(config, ctx, operands, trained, seeds):
  """UAT's step with the least evasion of held-out images, seed by seed: training can collapse.

  Returns:
    The trained networks with UAT at these steps alone, and what the choice is made of.
  """
  networks = {f"uat_{a:g}": trained[f"uat_{a:g}"] for a in config.universal_steps}
  held_out = {}
  if len(networks) > 1:
    found = attack_all(ctx, "step of UAT", config, operands, networks, seeds, ["choice"])
    evasions = [values["choice"]["validation_evasion"] for values in found.values()]
    held_out = {"validation_evasion": np.concatenate(evasions, 1)}
  best = np.argmin(held_out.get("validation_evasion", np.zeros((len(seeds), 1))), 1)
  uat = jax.tree.map(
    lambda *leaves: np.stack(leaves)[best, np.arange(len(seeds))], *networks.values()
  )
  kept = {"standard": trained["standard"], "uat": uat}
  kept |= {name: values for name, values in trained.items() if name not in (*kept, *networks)}
  return kept, {
    "steps": np.asarray(config.universal_steps),
    "step": np.asarray(config.universal_steps)[best],
    **held_out,
    **{
      name: np.stack([values[name] for values in networks.values()], 1)
      for name in ("test_error", "uat_delta_error")
    },
  }


def run(config, ctx):
  """Trains all methods with all seeds, then measures and attacks every network."""
  if config.penalty not in config.penalties:
    raise UserError(f"config.penalties must contain config.penalty, {config.penalty}.")
  operands = prepare(config)
  seeds = ctx.seeds(config)
  trained = train_all(config, ctx, operands, seeds)
  trained, choice = choose_step(config, ctx, operands, trained, seeds)
  jacobians = of_networks(ctx, "jacobians", JACOBIANS, config, operands, trained, seeds)

  headline = list(config.epsilons).index(config.epsilon)
  untargeted = ("radii", "printed", "orders", "small steps")
  attacked = attack_all(ctx, "attacks", config, operands, trained, seeds, untargeted)
  compared = {name: trained[name] for name in ("standard", "uat", f"jr_{config.penalty:g}")}
  aimed = attack_all(ctx, "targeted attacks", config, operands, compared, seeds, ["targeted"])

  def all_orders(found, name):
    return np.concatenate([found["radii"][name][:, [headline]], found["orders"][name]], 1)

  def measured(method):
    found = attacked[method]
    return {
      "test_error": trained[method]["test_error"],
      "train_error": trained[method]["train_error"],
      "random_evasion": trained[method]["random_evasion"],
      "jacobians": jacobians[method],
      "untargeted": {
        name: found["radii"][name] for name in ("evasion", "linear_effect", "size")
      },
      "as_printed": {"evasion": found["printed"]["evasion"][:, 0]},
      "restarts": {
        name: all_orders(found, name) for name in ("evasion", "validation_evasion")
      },
      "small_steps": {"evasion": found["small steps"]["evasion"]},
      "example": found["radii"]["delta"][0],
    }

  def targeted(method):
    found = aimed[method]["targeted"]
    return {
      # the share predicted as class c under the perturbation towards c, (seeds, classes)
      "success": np.diagonal(found["predicted"], axis1=1, axis2=2),
      "success_of_others": found["targeted_others"],
    }

  return {
    "seeds": np.asarray(seeds),
    "epsilons": np.asarray(config.epsilons),
    "epsilon": np.asarray(config.epsilon),
    "penalties": np.asarray(config.penalties),
    "penalty": np.asarray(config.penalty),
    "methods": {method: measured(method) for method in trained},
    "targeted": {method: targeted(method) for method in compared},
    "uat": choice,
  }

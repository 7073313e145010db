"""Ensembles of wide networks over widths, activations and parametrisations.

A member is one network: drawn, trained by gradient descent (or its flow), measured at equally
spaced times. Measured are the cumulative sums of its parameters, their moments over neurons,
and how far single parameters go. The ensemble over seeds is the Monte-Carlo estimate of
expectations over the initialisation.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lib import data, dynamics, kernels
from lib.experiment import Program, UserError
from projects.ntk import network, processes, theory

INTEGRATORS = ("descent", "rk4", "tsit5")
MEAN_FIELD = 1.0  # output_exponent
CURVE = 121  # points at which trained networks are drawn

# --- one member: a network, trained and measured -------------------------------------------


def prepare(config):
  """Checks the config and loads the training points.

  Points with equal x are merged into one with a larger weight and the mean target, which
  leaves the gradient as it is and the loss up to the constant `within`.

  Returns:
    data: network.Data; within: (); curve: (CURVE,) points to draw at;
    response: (records + 1, n), the infinite-width theory of B, see `theory.response_of_b`.
  """
  check(config)
  found = data.load(config.dataset)
  if found.info.task != "regression" or found.info.input_shape != (1,):
    raise UserError(
      f"dataset is '{config.dataset}'; ntk needs a regression with one input, such as "
      "synthetic:sine_regression or sklearn:diabetes/bmi."
    )
  if not config.dataset.startswith("synthetic:"):
    found, _ = data.normalise(found, targets=True)
  inputs = np.asarray(found.train.inputs[:, 0], np.float64)
  targets = np.asarray(found.train.targets, np.float64)
  x, index, count = np.unique(inputs, return_inverse=True, return_counts=True)
  y = np.bincount(index, targets) / count
  weight = count / len(inputs)
  margin = 0.1 * (x[-1] - x[0])
  response = theory.response_of_b(config.activation, x, weight, times(config))
  return {
    "data": network.Data(*(jnp.asarray(v, jnp.float32) for v in (x, y, weight))),
    "within": jnp.float32(np.mean((targets - y[index]) ** 2)),
    "curve": jnp.linspace(x[0] - margin, x[-1] + margin, CURVE, dtype=jnp.float32),
    "response": jnp.asarray(response, jnp.float32),
  }


def check(config):
  """Raises `UserError` for numbers and names out of range."""
  positive = ("width", "records", "grid", "tracked", "seeds", "max_seeds", "neurons")
  for key in (*positive, "step_size", "time"):
    value = config[key]
    if not isinstance(value, jax.core.Tracer) and not value > 0:
      raise UserError(f"{key} is {value}; it must be positive.")
  for key in ("widths", "control.widths", "real.widths"):
    group, _, leaf = key.rpartition(".")
    values = (config[group] if group else config)[leaf]
    if not values or any(w < 1 for w in values) or sorted(set(values)) != list(values):
      raise UserError(f"{key} is {tuple(values)}; give rising widths of at least 1.")
  for key in (
    *("mean_field.time", "mean_field.step_size", "real.time", "real.step_size"),
    *("flow.time", "flow.width", "flow.seeds"),
  ):
    group, leaf = key.split(".")
    if not config[group][leaf] > 0:
      raise UserError(f"{key} is {config[group][leaf]}; it must be positive.")
  if config.activation not in kernels.ACTIVATIONS:
    raise UserError(
      f"activation is '{config.activation}'; choose from {', '.join(kernels.ACTIVATIONS)}."
    )
  for key, name in (
    ("integrator", config.integrator),
    ("flow.integrator", config.flow.integrator),
  ):
    if name not in INTEGRATORS:
      raise UserError(f"{key} is '{name}'; choose from {', '.join(INTEGRATORS)}.")
  if config.flow.halvings < 0:
    raise UserError(f"flow.halvings is {config.flow.halvings}; it must not be negative.")
  if config.step_size > config.time / config.records:
    raise UserError(
      f"step_size {config.step_size} is longer than the time between two records, "
      f"{config.time / config.records:g}; lower it or `records`."
    )


def times(config) -> np.ndarray:
  """Flow times of the records, (records + 1,), the first at 0."""
  return np.linspace(0.0, config.time, config.records + 1)


def substeps(config) -> int:
  """Steps of descent between two records; the step is rounded to divide the interval."""
  return max(1, round(config.time / config.records / config.step_size))


def _scale(config):
  return network.scale(config.output_exponent, config.width)


def init(config, operands):
  """Draws the network: its parameters now, at the start, and its outputs."""
  theta = network.initial(jax.random.key(config.seed), config.width)
  sigma = network.activation_function(config.activation)
  found = network.outputs(sigma, _scale(config).output, theta, operands["data"].x)
  return {"theta": theta, "start": theta, "outputs": found, "before": found}


def step(config, operands, state):
  """Trains from one record to the next, and measures."""
  sigma, scale = network.activation_function(config.activation), _scale(config)
  points, theta, found = operands["data"], state["theta"], state["outputs"]
  interval = config.time / config.records
  steps = substeps(config)
  if config.integrator == "descent":
    theta, found = lax.fori_loop(
      0,
      steps,
      lambda _, s: network.descent_step(sigma, scale, points, interval / steps, *s),
      (theta, found),
    )
  else:

    def field(theta):
      return network.flow_field(sigma, scale, points, theta)

    if config.integrator == "rk4":
      rk4 = dynamics.rk4_step
      theta = dynamics.fixed_steps(rk4, field, theta, interval / steps, steps)
    else:
      theta = dynamics.tsit5(field, theta, interval, rtol=1e-6, atol=1e-8)
    found = network.outputs(sigma, scale.output, theta, points.x)
  state = {**state, "theta": theta, "outputs": found}
  return state, measure(config, operands, state)


def measure(config, operands, state):
  """The measurements of one time.

  Returns:
    loss: L. residual: (n,). For each of a, a0, b: shift (3, grid + 1), the process minus
    its start; mean (3,) over neurons; energy_change (3,), the mean of p² − p(0)²;
    change_max and change_rms (3,) over neurons; tracked (3, tracked), p − p(0) of the first
    neurons.
  """
  theta, start = state["theta"], state["start"]
  points, found = operands["data"], state["outputs"]
  change = network.neurons(theta - start)
  drift = (theta - start) * (theta + start)  # p² − p(0)², without cancellation
  squares = ((theta - start) ** 2).mean(-1).mean(0)
  return {
    "loss": network.loss(points, found) + operands["within"],
    "residual": found - points.y,
    "shift": processes.cumulative_sum(change, config.grid),
    "mean": theta.mean(-1).mean(0),
    "energy_change": drift.mean(-1).mean(0),
    "change_max": jnp.abs(theta - start).max((0, 2)),
    "change_rms": jnp.sqrt(squares),
    "tracked": _first(change, config.tracked),
  }


def _first(change, count):
  return jnp.pad(change[:, :count], ((0, 0), (0, max(0, count - change.shape[1]))))


def finish(config, operands, state, history):
  """Prepends the record at t = 0, adds what is measured once, and the member's numbers.

  Returns:
    The measurements with records + 1 times first; start (3, grid + 1), the processes at
    t = 0; second (3,), the mean of p(0)²; curve (2, CURVE), the function before and after
    training; b_line (records + 1,), the theory's B_1(t) − B_1(0); and the scalars
    final_loss, a_shift, a0_shift, b_shift: sup_s of the last shift, b_shift_error: sup_s of
    its distance to the theory line.
  """
  sigma, alpha = network.activation_function(config.activation), _scale(config).output
  start, points = state["start"], operands["data"]
  before = state["before"]
  zero = {name: jnp.zeros_like(values[0]) for name, values in history.items()}
  zero["loss"] = network.loss(points, before) + operands["within"]
  zero["residual"] = before - points.y
  zero["mean"] = start.mean(-1).mean(0)
  results = {name: jnp.concatenate([zero[name][None], history[name]]) for name in zero}
  results["start"] = processes.cumulative_sum(network.neurons(start), config.grid)
  results["second"] = (start**2).mean(-1).mean(0)
  results["curve"] = lax.map(
    lambda theta: network.outputs(sigma, alpha, theta, operands["curve"]),
    jnp.stack([start, state["theta"]]),
  )
  results["b_line"] = operands["response"] @ zero["residual"]
  results["final_loss"] = results["loss"][-1]
  last = results["shift"][-1]
  for name, process in zip(network.PARAMETERS, last, strict=True):
    results[f"{name}_shift"] = jnp.abs(process).max()
  s = jnp.asarray(processes.grid(config.grid), jnp.float32)
  results["b_shift_error"] = jnp.abs(last[network.B] - s * results["b_line"][-1]).max()
  return results


PROGRAM = Program(init, step, finish, lambda config: config.records)

# --- the experiment --------------------------------------------------------------------------


def ensemble(config, width) -> int:
  """Networks of a width: as many as `neurons` allows, between `seeds` and `max_seeds`."""
  return int(
    np.clip(config.neurons // width, config.seeds, max(config.seeds, config.max_seeds))
  )


def run(config, ctx):
  """All stages, as results[stage]["width_<m>"], dicts of the members' arrays, seeds first.

  Stages: relu (the paper); one for each odd activation and mean_field (controls); real, the
  diabetes set; and flow, the same networks by descent with several steps and by the flow.
  """
  settings = {"relu": (config, config.widths)}
  for name in config.control.odd:
    settings[name] = (_with(config, activation=name), config.control.widths)
  bound = _with(config, output_exponent=MEAN_FIELD, **config.mean_field)
  settings["mean_field"] = (bound, config.control.widths)
  real = {name: config.real[name] for name in ("dataset", "time", "step_size")}
  settings["real"] = (_with(config, **real), config.real.widths)
  results = {name: _widths(ctx, name, *setting) for name, setting in settings.items()}
  return results | {"flow": _flow(ctx, config)}


def _with(config, **changes):
  changed = config.copy_and_resolve_references()
  with changed.unlocked():
    changed.update(changes)
  return changed


def _widths(ctx, stage, config, widths):
  """The members of each width, and what claims and figures need to know beside them."""
  operands = prepare(config)
  points = {name: np.asarray(v) for name, v in operands["data"]._asdict().items()}
  found = {
    **points,
    "within": np.asarray(operands["within"]),
    "curve_x": np.asarray(operands["curve"]),
    "times": times(config),
    "s": processes.grid(config.grid),
    "step_size": np.asarray(config.time / config.records / substeps(config)),
  }
  for width in widths:
    seeds = range(config.seed, config.seed + ensemble(config, width))
    found[f"width_{width}"] = ctx.members(
      f"{stage} width {width}",
      PROGRAM,
      config,
      operands,
      over={"seed": seeds},
      set={"width": width},
    )
  return found


def _flow(ctx, config):
  """The same networks by descent with steps h, h/2, ..., and by the gradient flow."""
  config = _with(config, time=config.flow.time, records=1, width=config.flow.width)
  operands = prepare(config)
  steps = config.step_size / 2.0 ** np.arange(config.flow.halvings + 1)
  seeds = range(config.seed, config.seed + config.flow.seeds)
  found = {"step_sizes": steps, "width": np.asarray(config.width)}
  runs = [(f"descent_{i}", "descent", h) for i, h in enumerate(steps)]
  for name, integrator, h in [*runs, ("flow", config.flow.integrator, config.step_size)]:
    bound = _with(config, integrator=integrator, step_size=float(h))
    found[name] = ctx.members(f"flow {name}", PROGRAM, bound, operands, over={"seed": seeds})
  return found

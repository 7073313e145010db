"""Every statement of the paper on random networks, and what the model can be used for.

Everything is float64. A member is one random network; stages are the paper's statements
(`statements`), the lattice, the contrast with dissipative networks, the methods' cost, and
beyond the paper identification, memory and size.
"""

import functools

import jax
import numpy as np

from lib.dynamics import trajectories
from lib.experiment import Program, Stage, UserError
from projects.lagrangean import (
  contrast,
  identification,
  lattice,
  memory,
  networks,
  precision,
  statements,
)

FIXED = tuple(trajectories.METHODS)
SPLITTINGS = ("splitting2", "splitting4")


def check(config):
  """Raises `UserError` for numbers and names out of range."""
  for key in ("seeds", "size", "small_size", "states", "amplitude", "frequency"):
    if not config[key] > 0:
      raise UserError(f"{key} is {config[key]}; it must be positive.")
  for group in ("long", "compare", "input", "linear", "identify", "memory"):
    for leaf in ("periods", "step", "time", "records", "spacing", "size", "restarts"):
      value = config[group].get(leaf, 1)
      if not value > 0:
        raise UserError(f"{group}.{leaf} is {value}; it must be positive.")
  if not config.reversal.periods or not min(config.reversal.periods) > 0:
    raise UserError(f"reversal.periods is {config.reversal.periods}; give positive horizons.")
  if config.long.method not in FIXED:
    raise UserError(f"long.method is '{config.long.method}'; choose from {', '.join(FIXED)}.")
  known = (*FIXED, *trajectories.ADAPTIVE)
  for name in config.compare.methods:
    if name not in known:
      raise UserError(f"compare.methods has '{name}'; choose from {', '.join(known)}.")
  for name in config.precision.methods:
    if name not in (*precision.STEPS, *trajectories.ADAPTIVE):
      choice = ", ".join((*precision.STEPS, *trajectories.ADAPTIVE))
      raise UserError(f"precision.methods has '{name}'; choose from {choice}.")
  if not 0 < config.memory.flips < 0.5:
    raise UserError(f"memory.flips is {config.memory.flips}; it must be between 0 and 0.5.")
  loads = list(config.memory.loads)
  if not loads or sorted(set(loads)) != loads or not 0 < loads[0] <= loads[-1] < 1:
    raise UserError(f"memory.loads is {tuple(loads)}; give rising loads between 0 and 1.")
  networks.nonlinearity(config.nonlinearity)
  lattice.check(config)


def in_float64(function):
  """The function with 64-bit types inside, and only there."""

  @functools.wraps(function)
  def scoped(*args, **kwargs):
    with jax.enable_x64(True):
      return function(*args, **kwargs)

  return scoped


@in_float64
def run(config, ctx):
  """All stages, as nested dicts of arrays with the seeds first."""
  check(config)
  stages = _stages(config, {"seed": ctx.seeds(config)}, networks.draws(config))
  ctx.compile_ahead(*stages.values())
  results = {"long": ctx.members(*stages["long"])}
  _refuse_unconverged(config, results["long"])
  results |= {name: ctx.members(*stage) for name, stage in stages.items() if name != "long"}
  records = np.arange(1, config.long.records + 1)
  results["long"]["periods"] = config.long.periods * records / config.long.records
  results["identification"] |= {
    "noises": np.array(config.identify.noises),
    "times": np.array(config.identify.times),
  }
  results["compare"] = {
    name: results.pop(f"compare {name}") for name in config.compare.methods
  }
  results |= {
    "nonlinearities": np.array(statements.NAMES),
    "input_time": np.array(config.input.time),
    "horizons": np.array(config.reversal.periods),
    "compare_periods": np.linspace(0, config.compare.periods, config.compare.records + 1),
    "frequencies": np.array(config.lattice.frequencies),
    "lattice_time": np.array(config.lattice.time),
    "contrast_time": np.array(config.contrast.time),
    "loads": np.array(config.memory.loads),
    "flips": np.array(config.memory.flips),
    "precision": ctx.stage("precision", precision.work, config),
    "scale": _scale(config, ctx),
  }
  return results


def _stages(config, seeds, numbers):
  """What is computed of every seed, as stages of members."""
  stages = {"long": _long(config, seeds, numbers)}
  once = {
    "fields": statements.fields,
    "volume": statements.volume,
    "inputs": statements.inputs,
    "linear": statements.linear,
    "reversal": statements.reversal,
    "limit": lattice.limit,
    "pulse": lattice.pulse,
    "contrast": contrast.members,
  }
  stages |= {
    name: Stage(name, Program.once(function), config, numbers, seeds)
    for name, function in once.items()
  }
  for method in config.compare.methods:
    program, name = Program.once(statements.compare), f"compare {method}"
    stages[name] = Stage(name, program, config, numbers, seeds, {"compare.method": method})
  stages["identification"] = _identification(config, seeds)
  draws = memory.draws(config)
  stages["memory"] = Stage("memory", Program.once(memory.member), config, draws, seeds)
  return stages


def _long(config, seeds, numbers):
  """The long run, of the user's network where there is one."""
  if config.network:
    net = networks.read(config.network)
    config = config.copy_and_resolve_references()
    config.size = net.coupling.shape[0]
    numbers = networks.draws(config) | {"network": net}
  return Stage("long", statements.LONG, config, numbers, seeds)


def _refuse_unconverged(config, found):
  """Raises `UserError` if the inner solve of the long run did not converge."""
  failed = np.isfinite(found["failed_at"])
  if failed.any():
    seed, record = np.argwhere(failed)[0]
    raise UserError(
      f"The inner solve of '{config.long.method}' did not converge at t = "
      f"{found['failed_at'][seed, record]:.4g} (residual "
      f"{found['residual'][seed, record]:.2g}) for seed {config.seed + seed}; lower long.step."
    )


def _identification(config, seeds):
  """Members over seeds, noise levels, lengths of the data and restarts."""
  extended = config.copy_and_resolve_references()
  with extended.unlocked():
    extended.identify.update(noise=0.0, restart=0, time=0.0)
  settings = config.identify
  over = seeds | {
    "identify.noise": settings.noises,
    "identify.time": settings.times,
    "identify.restart": range(settings.restarts),
  }
  program, draws = Program.once(identification.member), identification.draws(config)
  return Stage("identification", program, extended, draws, over)


def _scale(config, ctx):
  """Large networks, one each."""
  cases = [("dense", n) for n in config.scale.dense]
  cases += [(kind, n) for n in config.scale.sparse for kind in ("low_rank", "chain")]
  return {
    f"{kind}_{n}": ctx.stage(f"scale {kind} {n}", precision.scale, config, kind, n)
    for kind, n in cases
  }

"""Every statement of the paper on random networks, and what the model can be used for.

Everything is float64. A member is one random network; stages are the paper's statements
(`statements`), the lattice, the contrast with dissipative networks, the methods' cost, and
beyond the paper identification, memory and size.
"""

import functools

import jax
import numpy as np

from lib.dynamics import trajectories
from lib.experiment import Program, UserError
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
  seeds, numbers = {"seed": ctx.seeds(config)}, networks.draws(config)

  def once(name, function, operands=numbers, **settings):
    program = Program.once(function)
    return ctx.members(name, program, config, operands, over=seeds, set=settings)

  results = {
    "nonlinearities": np.array(statements.NAMES),
    "fields": once("fields", statements.fields),
    "volume": once("volume", statements.volume),
    "inputs": once("inputs", statements.inputs),
    "input_time": np.array(config.input.time),
    "linear": once("linear", statements.linear),
    "reversal": once("reversal", statements.reversal),
    "horizons": np.array(config.reversal.periods),
    "compare": {
      name: once(f"compare {name}", statements.compare, **{"compare.method": name})
      for name in config.compare.methods
    },
    "compare_periods": np.linspace(0, config.compare.periods, config.compare.records + 1),
    "long": _long(config, ctx, seeds, numbers),
    "limit": once("lattice limit", lattice.limit),
    "frequencies": np.array(config.lattice.frequencies),
    "pulse": once("lattice pulse", lattice.pulse),
    "lattice_time": np.array(config.lattice.time),
    "contrast": once("contrast", contrast.members),
    "contrast_time": np.array(config.contrast.time),
    "precision": ctx.stage("precision", precision.work, config),
    "identification": _identification(config, ctx),
    "memory": once("memory", memory.member, memory.draws(config)),
    "loads": np.array(config.memory.loads),
    "flips": np.array(config.memory.flips),
    "scale": _scale(config, ctx),
  }
  return results


def _long(config, ctx, seeds, numbers):
  """The long run, of the user's network where there is one; it has to have converged."""
  if config.network:
    net = networks.read(config.network)
    config = config.copy_and_resolve_references()
    config.size = net.coupling.shape[0]
    numbers = networks.draws(config) | {"network": net}
  found = ctx.members("long", statements.LONG, config, numbers, over=seeds)
  failed = np.isfinite(found["failed_at"])
  if failed.any():
    seed, record = np.argwhere(failed)[0]
    raise UserError(
      f"The inner solve of '{config.long.method}' did not converge at t = "
      f"{found['failed_at'][seed, record]:.4g} (residual "
      f"{found['residual'][seed, record]:.2g}) for seed {config.seed + seed}; lower long.step."
    )
  return found | {
    "periods": config.long.periods
    * np.arange(1, config.long.records + 1)
    / config.long.records
  }


def _identification(config, ctx):
  """Members over seeds, noise levels, lengths of the data and restarts."""
  extended = config.copy_and_resolve_references()
  with extended.unlocked():
    extended.identify.update(noise=0.0, restart=0, time=0.0)
  settings = config.identify
  found = ctx.members(
    "identification",
    Program.once(identification.member),
    extended,
    identification.draws(config),
    over={
      "seed": ctx.seeds(config),
      "identify.noise": settings.noises,
      "identify.time": settings.times,
      "identify.restart": range(settings.restarts),
    },
  )
  return found | {"noises": np.array(settings.noises), "times": np.array(settings.times)}


def _scale(config, ctx):
  """Large networks, one each."""
  cases = [("dense", n) for n in config.scale.dense]
  cases += [(kind, n) for n in config.scale.sparse for kind in ("low_rank", "chain")]
  return {
    f"{kind}_{n}": ctx.stage(f"scale {kind} {n}", precision.scale, config, kind, n)
    for kind, n in cases
  }

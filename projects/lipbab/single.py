"""One network of the user's: bounds that close while watched, and can be interrupted."""

import time
import zipfile

import numpy as np
from absl import logging

from lib.experiment import UserError
from lib.experiment.context import Stopped
from lib.verification import as_network, baselines, lipschitz, lipschitz_constant


def problem(config):
  """(network, lower, upper, p) of the config.

  Raises:
    UserError: anything is wrong with them, in one sentence.
  """
  try:
    network = as_network(config.network, config.activation)
    if config.everywhere:
      low = high = None
    else:
      low, high = lipschitz.box(network, config.lower, config.upper)
  except ValueError as error:
    raise UserError(str(error)) from error
  return network, low, high, number(config.p)


def number(p: str) -> float:
  """The p of a norm from its text.

  Raises:
    UserError: it is no number, or below 1.
  """
  try:
    value = float(p)
  except ValueError as error:
    raise UserError(f"p is '{p}'; give 1, 2, inf or another number from 1 on.") from error
  if not value >= 1:
    raise UserError(f"p is {p}; a norm needs p of at least 1.")
  return value


def describe(result) -> str:
  """`19.4 ≤ L ≤ 21.3 (ratio 1.10), 120 sub-problems, 0.4 s`."""
  relation = (
    f"L = {result.upper_bound:.15g}"
    if result.exact
    else f"{result.lower_bound:.9g} ≤ L ≤ {result.upper_bound:.9g}"
    + (f" (ratio {result.upper_bound / result.lower_bound:.4f})" if result.lower_bound else "")
  )
  work = f"{result.nodes} sub-problems, {result.lps} linear programs, {result.seconds:.1f} s"
  return f"{relation}, {work}"


def run(config, ctx):
  """The bounds of one network; goes on from where an earlier run in the directory was."""
  network, low, high, p = problem(config)
  file = ctx.stage_directory("search") / "progress.npz"
  file.parent.mkdir(parents=True, exist_ok=True)
  saved = time.monotonic()

  with ctx.progress.line("certified") as show:

    def stop(result):
      nonlocal saved
      show(describe(result))
      if time.monotonic() - saved >= ctx.checkpoint_every_s:
        lipschitz.save(file, result.progress)
        saved = time.monotonic()
      return ctx.stop_requested

    try:
      result = lipschitz_constant(
        network,
        low,
        high,
        p,
        config.factor,
        config.time_limit or None,
        config.node_limit or None,
        batch=config.batch,
        frontier_limit=config.frontier_limit or None,
        progress=_earlier(file),
        backend=config.backend,
        stop=stop,
      )
    except ValueError as error:  # the file of the network holds another one now
      raise UserError(f"{error} Choose another --workdir.") from error
  lipschitz.save(file, result.progress)
  if ctx.stop_requested and not result.finished:
    raise Stopped(ctx.stop_requested, f"certified so far: {describe(result)}")
  print(f"certified: {describe(result)}")
  with lipschitz.threads(network):
    return {"single": _arrays(config, network, low, high, p, result)}


def _earlier(file):
  if not file.exists():
    return None
  try:
    return lipschitz.load(file)
  except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
    logging.warning("%s is damaged (%s); the search begins again", file, error)
    return None


def _arrays(config, network, low, high, p, result):
  found = {
    "lower": result.lower_bound,
    "upper": result.upper_bound,
    "first": result.first_estimate,
    "root": result.root_bound,
    "exact": result.exact,
    "finished": result.finished,
    "factor": config.factor,
    "nodes": result.nodes,
    "lps": result.lps,
    "seconds": result.seconds,
    "maximiser": result.maximiser,
    "layers": baselines.layer_norm_product(network, p),
    "relaxed": baselines.relaxed_bound(network, low, high, p),
    "sampled": sampled(network, low, high, p, config.samples, config.seed),
    "history": result.history,
  }
  return {k: v if isinstance(v, dict) else np.asarray(v) for k, v in found.items()}


def sampled(network, low, high, p, count: int, seed: int) -> float:
  """The largest ‖J(x)‖_p over uniform inputs (normal ones without a box)."""
  rng = np.random.default_rng([seed, 1])
  if low is None:
    x = rng.standard_normal((count, network.inputs)) * 10 ** rng.uniform(-1, 2, (count, 1))
  else:
    x = low + rng.random((count, network.inputs)) * (high - low)
    x = np.clip(x, low, high)
  return float(np.max(baselines.gradient_norms(network, x, p), initial=0.0))

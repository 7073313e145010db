"""Lipschitz constants of the networks of Table 1, exactly, with what they are compared with.

For each network and norm one best-first search runs until both bounds meet; that it passes a
factor of 2 and 1.5 on the way gives the columns of the table. Controls: the printed
algorithm and every step from it to ours, enumeration of all cells in rational arithmetic, a
digits classifier on growing boxes, and one that is trained with the bound as a penalty.
"""

import itertools
from fractions import Fraction

import jax
import numpy as np

from lib.experiment import UserError, at_least
from lib.verification import (
  Network,
  baselines,
  differentiable,
  from_arrays,
  lipschitz_constant,
  propagation,
)
from projects.lipbab import single, training

FACTORS = (2.0, 1.5)

# The algorithm as printed: symbolic propagation with fresh variables, units in order, two
# linear programs a unit, the interval bound, one sub-problem at a time.
PRINTED = {
  "score": "first",
  "reuse": False,
  "sector": False,
  "cuts": False,
  "signed": False,
  "symbolic": ("fresh",),
  "batch": 1,
}
# What is added to it, one after the other.
LADDER = {
  "printed": {},
  "points": {"reuse": True},
  "batches": {"batch": 32},
  "effect": {"score": "effect"},
  "signs": {"signed": True},
  "relaxation": {"relaxation": True},
  "cuts": {"cuts": True, "symbolic": ("parallel",)},
  "sector": {"sector": True, "relaxation": False},
}


def variants() -> dict[str, dict]:
  """Options of each rung of the ladder, the last of which is the default method."""
  options, found = dict(PRINTED), {}
  for name, change in LADDER.items():
    options = {**options, **change}
    found[name] = options
  return found


def check(config):
  """Raises `UserError` for a config that cannot be run."""
  at_least(config, 1, "seeds", "samples", "batch")
  for key in ("time_limit", "node_limit", "frontier_limit"):
    if config[key] < 0:
      raise UserError(f"{key} is {config[key]}; give 0 for no limit.")
  if not config.factor >= 1:
    raise UserError(f"factor is {config.factor}; an approximation factor is at least 1.")
  if config.backend not in ("numpy", "jax"):
    raise UserError(f"backend is '{config.backend}'; choose numpy or jax.")
  for p in (config.p, *config.norms):
    single.number(p)
  unknown = [
    n for n in (*config.networks, config.ablation.network) if n not in training.HIDDEN
  ]
  if unknown or not config.networks:
    known = ", ".join(training.HIDDEN)
    raise UserError(f"networks has {unknown or 'nothing'}; choose from {known}.")
  if config.network:
    single.problem(config)


def run(config, ctx):
  """One network of the user's, or Table 1, Fig. 1 and the controls."""
  if config.network:
    return ctx.processes.first_alone("search", lambda: single.run(config, ctx))
  seeds = ctx.seeds(config)
  results = {"table": {}, "ascent": {}, "ranges": {}, "curve": {}}
  for name in config.networks:
    arrays = ctx.stage(f"networks {name}", training.table_networks, name, seeds)
    box = np.zeros(arrays["W0"].shape[1]), np.full(arrays["W0"].shape[1], training.BOXES[name])
    results["table"][name] = {
      p: ctx.stage(f"table {name} p={p}", table, arrays, box, p, seeds, config)
      for p in config.norms
    }
    results["ascent"][name] = ctx.stage(f"ascent {name}", ascent, arrays, box, seeds, config)
    results["ranges"][name] = ctx.stage(f"ranges {name}", ranges, arrays, box, seeds)
    if name == config.networks[-1]:
      for p in config.norms:
        results["curve"][p] = ctx.stage(f"curve p={p}", curve, arrays, box, p)
  results["ablation"] = _ablation(ctx, config)
  results["enumeration"] = ctx.stage("enumeration", enumeration, config)
  results["digits"] = _digits(ctx, config)
  results["regulariser"] = _regulariser(ctx, config)
  return results


# --- Table 1 and Fig. 1 ----------------------------------------------------------------------


def table(arrays, box, p, seeds, config):
  """What the searches of one network and norm find, (seeds,) each; see `summary`."""
  found = []
  for i, seed in enumerate(seeds):
    network = training.network(arrays, i)
    result = lipschitz_constant(network, *box, float(p), batch=config.batch)
    row = summary(result)
    row["layers"] = baselines.layer_norm_product(network, float(p))
    row["relaxed"] = baselines.relaxed_bound(network, *box, float(p))
    row["sampled"] = single.sampled(network, *box, float(p), config.samples, seed)
    found.append(row)
  return {key: np.array([row[key] for row in found]) for key in found[0]}


def summary(result) -> dict[str, float]:
  """Numbers of one search.

  lower, upper, exact, first (interval bound), root, nodes, lps, expanded, seconds; upper_k and
  expanded_k when upper ≤ k · lower was first reached; and over the whole history the smallest
  (upper_t − L)/L and the largest (lower_t − L)/L, with L the lower (upper) end of what is
  known, and the largest rise of the upper and fall of the lower bound.
  """
  h = result.history
  row = {
    "lower": result.lower_bound,
    "upper": result.upper_bound,
    "exact": float(result.exact),
    "first": result.first_estimate,
    "root": result.root_bound,
    "nodes": result.nodes,
    "lps": result.lps,
    "expanded": h["expanded"][-1],
    "seconds": result.seconds,
    "least_upper": np.min(h["upper"]) / result.lower_bound - 1,
    "most_lower": np.max(h["lower"]) / result.upper_bound - 1,
    "rise": np.max(np.diff(h["upper"]), initial=0.0) / result.upper_bound,
    "fall": np.max(-np.diff(h["lower"]), initial=0.0) / result.upper_bound,
  }
  for factor in FACTORS:
    reached = np.flatnonzero(h["upper"] <= factor * h["lower"] * (1 + 1e-10))
    at = reached[0] if len(reached) else -1
    row[f"upper_{factor:g}"] = h["upper"][at]
    row[f"expanded_{factor:g}"] = h["expanded"][at]
  return row


def curve(arrays, box, p):
  """Fig. 1: the first seed's history, a sub-problem at a time, as printed and ours."""
  network = training.network(arrays, 0)
  found = {}
  for name in ("printed", "sector"):
    options = {**variants()[name], "batch": 1}
    result = lipschitz_constant(network, *box, float(p), node_limit=4000, **options)
    found[name] = {k: np.asarray(v) for k, v in result.history.items()}
  return found


def ascent(arrays, box, seeds, config):
  """Lower bounds from gradient ascent on pairs of inputs, p = 2, (seeds,)."""
  with jax.enable_x64(True):
    first = training.network(arrays, 0)

    def best(weights, biases, key):
      network = Network(weights, biases, first.slopes)
      found, _, _ = differentiable.sampled_quotient(
        network, *box, 2.0, key, config.ascent.starts, config.ascent.steps
      )
      return found.max()

    depth = len(first.weights)
    weights = tuple(np.swapaxes(arrays[f"W{i}"], 1, 2) for i in range(depth))
    biases = tuple(arrays[f"b{i}"] for i in range(depth))
    keys = jax.vmap(jax.random.key)(np.asarray(seeds))
    return {"quotient": np.asarray(jax.jit(jax.vmap(best))(weights, biases, keys))}


def ranges(arrays, box, seeds):
  """Width of the outputs' bounds by symbolic over that by interval propagation, (seeds,)."""
  found = []
  for i in range(len(seeds)):
    network = training.network(arrays, i)
    # The outputs as a layer whose bounds are asked for.
    size = network.outputs
    longer = Network(
      (*network.weights, np.eye(size)),
      (*network.biases, np.zeros(size)),
      (*network.slopes, np.ones((2, size))),
    )
    naive = propagation.intervals(longer, *box)[-1]
    symbolic = propagation.symbolic(longer, *box, relaxation="fresh")[-1]
    found.append(np.mean((symbolic.upper - symbolic.lower) / (naive.upper - naive.lower)))
  return {"ratio": np.array(found)}


# --- controls --------------------------------------------------------------------------------


def _ablation(ctx, config):
  settings = config.ablation
  seeds = range(config.seed, config.seed + settings.seeds)
  arrays = ctx.stage("networks ablation", training.table_networks, settings.network, seeds)
  size = arrays["W0"].shape[1]
  box = np.zeros(size), np.full(size, training.BOXES[settings.network])
  return {
    name: ctx.stage(f"ablation {name}", ablation, arrays, box, options, len(seeds), settings)
    for name, options in variants().items()
  }


def ablation(arrays, box, options, count, settings):
  """Sub-problems, linear programs and seconds of one rung, (seeds,) each."""
  found = [
    lipschitz_constant(
      training.network(arrays, i),
      *box,
      float(settings.p),
      node_limit=settings.node_limit,
      **options,
    )
    for i in range(count)
  ]
  return {
    "nodes": np.array([r.nodes for r in found]),
    "lps": np.array([r.lps for r in found]),
    "seconds": np.array([r.seconds for r in found]),
    "lower": np.array([r.lower_bound for r in found]),
    "upper": np.array([r.upper_bound for r in found]),
    "finished": np.array([r.finished for r in found]),
  }


def enumeration(config):
  """Bounds of small random networks on the plane against all of their cells, (count,) each.

  Returns:
    excess: upper / L − 1; deficit: 1 − lower / L (not over L where that is 0); both have to
    be ≥ 0 and, p being 1 or ∞, are differences of rationals, rounded once.
  """
  found = {"excess": [], "deficit": []}
  for i in range(config.enumeration.count):
    rng = np.random.default_rng([config.seed, i, 2])
    widths = [2, *rng.integers(2, 6, rng.integers(1, 4)), 2]
    pairs = list(itertools.pairwise(widths))
    weights = [rng.standard_normal(pair) for pair in pairs]
    biases = [rng.standard_normal(b) * rng.choice([0.0, 1e-12, 0.3]) for _, b in pairs]
    network = from_arrays(weights, biases)
    low = -rng.random(2)
    high = rng.random(2)
    p = (1, np.inf)[i % 2]
    cells = baselines.enumerate_cells(network, low, high)
    axis = 0 if p == 1 else 1
    constant = max(np.max(np.abs(j).sum(axis)) for j, _ in cells)
    result = lipschitz_constant(network, low, high, p)
    size = constant or 1  # a network may be dead
    found["excess"].append(float((Fraction(result.upper_bound) - constant) / size))
    found["deficit"].append(float((constant - Fraction(result.lower_bound)) / size))
  return {key: np.array(values) for key, values in found.items()}


def _digits(ctx, config):
  settings = config.digits
  seeds = range(config.seed, config.seed + settings.seeds)
  arrays = ctx.stage(
    "networks digits", training.digits_networks, settings.hidden, settings.iterations, seeds
  )
  return {
    name: ctx.stage(f"digits {name}", largest_box, arrays, variants()[rung], settings)
    for name, rung in (("interval", "effect"), ("ours", "sector"))
  }


def largest_box(arrays, options, settings):
  """Largest radius of a geometric sequence that reaches the factor, (seeds,); and nodes."""
  radii, nodes = [], []
  for i, centre in enumerate(arrays["centre"]):
    network = training.network(arrays, i)
    best, spent = 0.0, 0
    for step in range(settings.steps):
      radius = settings.smallest * settings.growth**step
      result = lipschitz_constant(
        network,
        centre - radius,
        centre + radius,
        2,
        settings.factor,
        node_limit=settings.node_limit,
        **options,
      )
      spent += result.nodes
      if not result.upper_bound <= settings.factor * result.lower_bound * (1 + 1e-9):
        break
      best = radius
    radii.append(best)
    nodes.append(spent)
  return {"radius": np.array(radii), "nodes": np.array(nodes)}


def _regulariser(ctx, config):
  operands = training.prepare(config)
  found = {}
  for name, weight in (("plain", 0.0), ("penalised", config.regulariser.weight)):
    members = ctx.members(
      f"digits {name}",
      training.REGULARISED,
      config,
      operands,
      over={"seed": ctx.seeds(config)},
      set={"regulariser.weight": weight},
    )
    bounds = ctx.stage(f"constant of digits {name}", constants, members, config)
    found[name] = {"accuracy": members["accuracy"], **bounds}
  return found


def constants(members, config):
  """Certified bounds on [0, 1]^64, p = 2, (seeds,)."""
  found = []
  for i in range(len(members["accuracy"])):
    network = from_arrays(
      [members["W0"][i], members["W1"][i]], [members["b0"][i], members["b1"][i]]
    )
    limit = config.regulariser.node_limit
    found.append(lipschitz_constant(network, 0.0, 1.0, 2, node_limit=limit))
  return {
    "lower": np.array([r.lower_bound for r in found]),
    "upper": np.array([r.upper_bound for r in found]),
  }

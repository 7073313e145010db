"""Certified Lipschitz constants of piecewise linear networks, on a box or everywhere.

L_p(f, X) = sup ‖J_f(x)‖_p over the x in X at which f is differentiable (sec. 3.2): the
smallest L with ‖f(x) − f(y)‖_p ≤ L ‖x − y‖_p on X, where X has an interior. The method is
branch and bound over activation patterns (LipBaB, Bhowmick, D'Souza and Raghavan 2021) with
bounds, branching and feasibility of our own; see `sector`, `cells` and `polytope`.

Certified means: with IEEE double precision, rounding to nearest and matrix products that add
up products in some order, every upper bound returned is at least the constant and every lower
bound at most, whatever the linear programming solver answers. Where X has no interior and lies
in a kink of f, both sides count in the upper bound and the result is not exact.
"""

import hashlib
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lib.verification import baselines, bounding, cells, networks, norms, polytope
from lib.verification import branch_and_bound as bab
from lib.verification.networks import Network

EXACT = 1e-9  # relative distance of the bounds below which the constant counts as known
FRONTIER_BYTES = 2**30  # that open sub-problems may take in memory


class Progress(NamedTuple):
  """Where a computation is: give it back to `lipschitz_constant` to go on.

  Attributes:
    search: the engine's state, a pytree of arrays.
    lps: linear programs solved so far.
    problem: a digest of the network, the box and p, without which bounds of another problem
      would be taken for this one's.
  """

  search: bab.State
  lps: int
  problem: str


class Result(NamedTuple):
  """Certified bounds of a Lipschitz constant.

  Attributes:
    lower_bound: at most L; the norm of a Jacobian that f has.
    upper_bound: at least L.
    exact: whether they agree to a relative 1e-9.
    maximiser: (n,) an input at which `lower_bound` is attained; NaN where it is known to exist
      in a cell too thin for a float.
    first_estimate: the bound before any branching by interval arithmetic alone, as the paper
      has it (Algorithms 1 and 2).
    root_bound: the bound before any branching.
    nodes: sub-problems whose bound was computed.
    lps: linear programs solved.
    seconds: spent, earlier attempts included.
    finished: whether upper ≤ factor · lower was reached or nothing is left to split.
    history: seconds, expanded, lower, upper of each round.
    progress: to go on from here.
  """

  lower_bound: float
  upper_bound: float
  exact: bool
  maximiser: np.ndarray
  first_estimate: float
  root_bound: float
  nodes: int
  lps: int
  seconds: float
  finished: bool
  history: dict[str, np.ndarray]
  progress: Progress


def as_network(network: Any, activation: str = "relu") -> Network:
  """A network from what people have.

  Args:
    network: a Network, (weights, biases) with x @ W + b, a flax MLP's parameters, a fitted
      scikit-learn MLP, or the path of an .npz with arrays W0, b0, W1, b1, ….
    activation: of the hidden layers, where the network does not say.

  Raises:
    ValueError: see the functions of `networks`.
  """
  if isinstance(network, Network):
    return network
  if isinstance(network, str | pathlib.Path):
    return networks.from_npz(network, activation)
  if isinstance(network, Mapping):
    return networks.from_flax(network, activation)
  if isinstance(network, Sequence) and len(network) == 2:
    return networks.from_arrays(*network, activation)
  if hasattr(network, "hidden_layer_sizes"):
    return networks.from_sklearn(network)
  raise ValueError(
    f"'{type(network).__name__}' is no network: give (weights, biases), the parameters of a "
    "flax MLP, a scikit-learn MLP, or the path of an .npz."
  )


def lipschitz_constant(
  network: Any,
  lower: Any = None,
  upper: Any = None,
  p: float = 2,
  factor: float = 1.0,
  time_limit: float | None = None,
  node_limit: int | None = None,
  *,
  activation: str = "relu",
  batch: int = 32,
  frontier_limit: int | None = None,
  progress: Progress | None = None,
  stop: Callable[[Result], Any] | None = None,
  **options: Any,
) -> Result:
  """Certified bounds of L_p(f, X), exact when nothing stops it and `factor` is 1.

  Args:
    network: see `as_network`.
    lower, upper: the box X, numbers or vectors (n,); None for the global constant.
    p: of the norm; 1, 2 and ∞ can become exact, for other p the bounds are certified but
      need not meet.
    factor: stop when upper ≤ factor · lower.
    time_limit: seconds; a sub-problem that was begun is finished.
    node_limit: sub-problems; the last batch may exceed it.
    activation: see `as_network`.
    batch: sub-problems split at once.
    frontier_limit: open sub-problems kept, by default as many as fit in FRONTIER_BYTES. Beyond
      it those with the smallest bounds are given up, and the largest of their bounds stays in
      the upper bound: that is safe, but may keep the bounds from meeting.
    progress: of an earlier result for the same arguments, to go on from there.
    stop: asked after every round with the result so far; anything true ends the search.
    **options: of `bounding.Setting`, for ablations.

  Raises:
    ValueError: p < 1, factor < 1, a limit that is negative, a box that is empty or not finite,
      a bad network, or the progress of another problem.
  """
  network = as_network(network, activation)
  p = norms.check_p(p)
  if not factor >= 1:
    raise ValueError(f"factor is {factor:g}; an approximation factor is at least 1.")
  for name, value, least in (
    ("time_limit", time_limit, 0),
    ("node_limit", node_limit, 0),
    ("batch", batch, 1),
    ("frontier_limit", frontier_limit, 1),
  ):
    if value is not None and not value >= least:
      raise ValueError(f"{name} is {value:g}; it must be at least {least}.")
  unknown = sorted(set(options) - set(bounding.Setting._fields))
  if unknown:
    raise TypeError(f"lipschitz_constant has no argument '{unknown[0]}'.")
  bounds = None if lower is None and upper is None else box(network, lower, upper)
  with threads(network):
    return _search(
      network,
      bounds,
      p,
      factor,
      _setting(network, bounds, p, options),
      progress,
      stop,
      batch=batch,
      frontier_limit=frontier_limit,
      node_limit=node_limit,
      time_limit=time_limit,
    )


def threads(network: Network):
  """One BLAS thread where matrices are small: waking a second costs more than it does."""
  from threadpoolctl import threadpool_limits

  small = max(network.inputs, network.outputs, *network.hidden, 1) < 256
  return threadpool_limits(1 if small else None, "blas")


def _search(network, bounds, p, factor, setting, progress, stop, **limits) -> Result:
  solver = polytope.Solver()
  problem = cells.problem(setting, solver)
  first = baselines.interval_bound(network, *(bounds or (None, None)), p)
  name = _digest(network, bounds, p)
  if progress is None:
    progress = Progress(_start(setting, problem), 0, name)
  elif progress.problem != name:
    raise ValueError("the progress to go on from is of another network, box or p.")
  before = progress.lps
  if limits["frontier_limit"] is None:
    limits["frontier_limit"] = max(1, FRONTIER_BYTES // _node_bytes(progress.search))

  def result(state):
    reached = Progress(state, before + solver.solved, name)
    return _result(network, bounds, p, factor, first, reached)

  state = bab.search(
    problem,
    progress.search,
    factor=factor,
    stop=(lambda state: stop(result(state))) if stop else (lambda state: False),
    **limits,
  )
  return result(state)


def _digest(network, bounds, p) -> str:
  """A name of the problem; two problems do not share it."""
  found = hashlib.sha256(repr(p).encode())
  for array in (*network.weights, *network.biases, *network.slopes, *(bounds or ())):
    found.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
  return found.hexdigest()


def _node_bytes(state: bab.State) -> int:
  """Memory of one sub-problem."""
  return sum(v.dtype.itemsize * int(np.prod(v.shape[1:])) for v in state.frontier.values())


def box(network: Network, lower: Any, upper: Any) -> tuple[np.ndarray, np.ndarray]:
  """(lower, upper) as vectors (n,).

  Raises:
    ValueError: one is missing, no number, not finite, of another length, or lower > upper.
  """
  if lower is None or upper is None:
    raise ValueError("give both ends of the box, or neither for the global constant.")
  n = network.inputs
  ends = []
  for name, value in (("lower", lower), ("upper", upper)):
    try:
      value = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
      raise ValueError(f"{name} is not a number or a vector of numbers.") from error
    if value.shape not in ((), (1,), (n,)):
      raise ValueError(f"{name} has shape {value.shape}; the network has {n} inputs.")
    if not np.all(np.isfinite(value)):
      raise ValueError(f"{name} is not finite; leave both out for the global constant.")
    ends.append(np.broadcast_to(value, n).astype(np.float64))
  if np.any(ends[0] > ends[1]):
    i = int(np.argmax(ends[0] > ends[1]))
    raise ValueError(f"lower > upper for input {i}: {ends[0][i]:g} > {ends[1][i]:g}.")
  return ends[0], ends[1]


def homogenised(network: Network) -> tuple[Network, np.ndarray, np.ndarray]:
  """f on all of R^n as a network without biases on boxes of R^{n+1}.

  With x = y / τ, τ > 0, a pattern of f is one of z̃(y, τ) = τ z(y/τ), a network whose biases
  are multiplied by an additional input τ. It is positively homogeneous, so that every cell
  meets a face of the cube max(|y_j|, τ) = 1, τ ≥ 0. The faces are boxes with one coordinate
  fixed.

  Returns:
    (network, lower, upper): the boxes have shape (2 n + 1, n + 1).
  """
  depth, n = len(network.weights), network.inputs
  weights, slopes = [], []
  for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
    weight = np.concatenate([weight, bias[:, None]], 1)
    if i + 1 < depth:
      carry = np.zeros((1, weight.shape[1]))
      carry[0, -1] = 1.0
      weight = np.concatenate([weight, carry])
      slopes.append(np.concatenate([network.slopes[i], np.ones((2, 1))], 1))
    weights.append(weight)
  biases = tuple(np.zeros(len(w)) for w in weights)
  low, high = np.full((2 * n + 1, n + 1), -1.0), np.ones((2 * n + 1, n + 1))
  low[:, -1] = 0.0
  for j in range(n):
    high[2 * j, j], low[2 * j + 1, j] = -1.0, 1.0
  low[-1, -1] = 1.0
  return Network(tuple(weights), biases, tuple(slopes)), low, high


def _setting(network, bounds, p, options) -> bounding.Setting:
  columns = network.inputs
  if not network.slopes:  # an affine function, as one with a layer that passes it through
    weight = network.weights[0]
    size = len(weight)
    network = Network(
      (weight, np.eye(size)), (network.biases[0], np.zeros(size)), (np.ones((2, size)),)
    )
  if bounds is None:
    network, low, high = homogenised(network)
  else:
    low, high = bounds[0][None], bounds[1][None]
  # Points are hints; they must not be what fills the memory.
  options = {"points": int(np.clip(4096 // network.inputs, 2, bounding.POINTS)), **options}
  return bounding.Setting(network, low, high, columns, p, **options)


def _start(setting, problem) -> bab.State:
  """The roots, with the best of up to 256 sampled inputs as the first value."""
  rng = np.random.default_rng(1)
  network = setting.network
  entries = network.inputs * max(network.outputs, *network.hidden)
  count = max(4, min(256, 1_000_000 // entries) // len(setting.lower))
  share = rng.random((count, len(setting.lower), setting.lower.shape[1]))
  share[: count // 4] = np.round(share[: count // 4])  # corners
  x = setting.lower + share * (setting.upper - setting.lower)
  x = np.clip(x, setting.lower, setting.upper).reshape(-1, x.shape[-1])
  values = cells.at_points(setting, x)
  best = int(np.argmax(values))
  return bab.start(problem, cells.roots(setting), float(values[best]), x[best])


def _result(network, bounds, p, factor, first, progress) -> Result:
  state = progress.search
  low, high = float(state.lower), state.upper
  point = np.asarray(state.point)
  if bounds is None:
    with np.errstate(divide="ignore", invalid="ignore"):
      point = point[:-1] / point[-1]
  return Result(
    low,
    high,
    bool(high - low <= EXACT * low or high < 1e-250),
    point,
    first,
    float(state.history["upper"][0]),
    int(state.bounded),
    progress.lps,
    float(state.seconds),
    bab.finished(state, factor),
    state.history,
    progress,
  )


def save(path: str | pathlib.Path, progress: Progress) -> None:
  """Writes a progress as .npz, whole or not at all."""
  path = pathlib.Path(path)
  state = progress.search
  arrays = {f"frontier/{k}": v for k, v in state.frontier.items()}
  arrays |= {f"history/{k}": v for k, v in state.history.items()}
  arrays |= {k: v for k, v in state._asdict().items() if not isinstance(v, Mapping)}
  temporary = path.with_name(f".{path.name}.{time.time_ns()}")
  with open(temporary, "wb") as file:
    np.savez(file, lps=progress.lps, problem=progress.problem, **arrays)
  temporary.replace(path)


def load(path: str | pathlib.Path) -> Progress:
  """The progress that `save` wrote.

  Raises:
    ValueError, OSError, KeyError, zipfile.BadZipFile: the file is damaged.
  """
  with np.load(path, allow_pickle=False) as file:
    arrays = {name: file[name] for name in file.files}
  groups: dict[str, dict[str, np.ndarray]] = {"frontier": {}, "history": {}}
  for name in list(arrays):
    group, _, leaf = name.partition("/")
    if leaf:
      groups[group][leaf] = arrays.pop(name)
  lps, problem = int(arrays.pop("lps")), str(arrays.pop("problem"))
  values = {k: (v if v.ndim else v[()]) for k, v in arrays.items()}
  return Progress(bab.State(**groups, **values), lps, problem)

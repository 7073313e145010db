"""Best-first branch and bound for a maximum, in batches, over any kind of sub-problem.

The engine knows nothing of what it maximises. A batch of sub-problems is a dict of arrays with
one leading axis; three functions split, bound and solve such batches. Its state is a pytree of
arrays: written to disk and read again, the search goes on as if it had not been interrupted.

At any time lower ≤ maximum ≤ upper, where upper is the largest bound of what is still open
(`frontier`), of what is closed with a bound of its own (`settled`), and `lower` itself.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Nodes = Mapping[str, np.ndarray]
_HISTORY = ("seconds", "expanded", "lower", "upper")


class Solutions(NamedTuple):
  """What a batch of sub-problems says of the maximum from below.

  Attributes:
    values: (b,) lower bounds of the maximum, −inf where there is none.
    points: (b, ...) where each is attained; NaN where that is not known.
    closed: (b,) whether a sub-problem cannot be split any further.
  """

  values: np.ndarray
  points: np.ndarray
  closed: np.ndarray


class Problem(NamedTuple):
  """The three functions that the engine is given.

  Attributes:
    split: (nodes, lower) -> children of a batch; those that are empty are left out. What it
      does may depend on `lower`, the best value known.
    bound: (nodes, lower) -> (nodes, (b,) upper bounds of the maximum on each), where nodes may
      be completed by what bounding found; −inf closes a sub-problem.
    solve: (nodes, bounds) -> Solutions.
  """

  split: Callable[[Nodes, float], Nodes]
  bound: Callable[[Nodes, float], tuple[Nodes, np.ndarray]]
  solve: Callable[[Nodes, np.ndarray], Solutions]


class State(NamedTuple):
  """Where a search is.

  Attributes:
    frontier: open sub-problems, a dict of arrays.
    bounds: (k,) their upper bounds.
    lower: the best value known.
    point: where it is attained.
    settled: the largest bound of a sub-problem that was closed or dropped, not below any value
      that such a sub-problem can have.
    bounded: how many sub-problems have been bounded.
    expanded: how many have been split.
    seconds: spent so far, earlier attempts included.
    history: for each round its seconds, expanded, lower and upper.
  """

  frontier: Nodes
  bounds: np.ndarray
  lower: np.ndarray
  point: np.ndarray
  settled: np.ndarray
  bounded: np.ndarray
  expanded: np.ndarray
  seconds: np.ndarray
  history: dict[str, np.ndarray]

  @property
  def upper(self) -> float:
    """The certified upper bound."""
    return float(max(np.max(self.bounds, initial=-np.inf), self.settled, self.lower))


def take(nodes: Nodes, index) -> dict[str, np.ndarray]:
  """The sub-problems at an index or mask."""
  return {name: values[index] for name, values in nodes.items()}


def join(first: Nodes, second: Nodes) -> dict[str, np.ndarray]:
  """Two batches as one."""
  return {name: np.concatenate([first[name], second[name]]) for name in first}


def size(nodes: Nodes) -> int:
  """How many sub-problems a batch has."""
  return len(next(iter(nodes.values())))


def start(problem: Problem, roots: Nodes, value: float = -np.inf, point=None) -> State:
  """The state before the first split: the roots, bounded, and a first value from elsewhere."""
  began = time.perf_counter()
  roots, bounds = problem.bound(roots, value)
  solutions = problem.solve(roots, bounds)
  point = np.full(solutions.points.shape[1:], np.nan) if point is None else np.asarray(point)
  history = {name: np.zeros(0) for name in _HISTORY}
  state = State(
    take(roots, slice(0, 0)),
    np.zeros(0),
    np.float64(value),
    point,
    np.float64(-np.inf),
    np.int64(size(roots)),
    np.int64(0),
    np.float64(0),
    history,
  )
  state = _absorb(state, roots, bounds, solutions, 1.0)
  return _record(state._replace(seconds=np.float64(time.perf_counter() - began)))


def finished(state: State, factor: float = 1.0, tolerance: float = 1e-10) -> bool:
  """Whether upper ≤ factor · lower, up to a relative tolerance, or nothing is left open."""
  return not len(state.bounds) or state.upper <= factor * state.lower * (1 + tolerance)


def search(
  problem: Problem,
  state: State,
  *,
  factor: float = 1.0,
  tolerance: float = 1e-10,
  batch: int = 32,
  frontier_limit: int | None = None,
  node_limit: int | None = None,
  time_limit: float | None = None,
  stop: Callable[[State], Any] = lambda state: False,
) -> State:
  """Splits the sub-problems with the largest bounds until upper ≤ factor · lower.

  Args:
    problem: see `Problem`.
    state: from `start`, or from an earlier search.
    factor: the approximation wanted, 1 for the maximum itself.
    tolerance: relative rounding allowed in that comparison.
    batch: how many sub-problems are split at once; fewer while the frontier is small.
    frontier_limit: how many stay open. Beyond it those with the smallest bounds are dropped
      and the largest of their bounds kept, so that `upper` remains valid.
    node_limit: how many sub-problems are bounded in all.
    time_limit: seconds for this call, exceeded by no more than a sub-problem or so: batches
      are cut to what the last one's pace leaves time for.
    stop: asked after every round; anything true ends the search.
  """
  began, before = time.perf_counter(), float(state.seconds)
  now = pace = 0.0  # seconds so far, and of the last round for each sub-problem split
  while not finished(state, factor, tolerance):
    count = min(batch, max(1, len(state.bounds) // 2))
    if node_limit is not None and state.bounded >= node_limit:
      break
    if time_limit is not None and pace:  # what is left of the time, not a whole batch
      count = min(count, max(1, int((time_limit - now) / pace)))
    best = np.argsort(-state.bounds, kind="stable")[:count]
    rest = np.ones(len(state.bounds), bool)
    rest[best] = False
    nodes = take(state.frontier, best)
    children = problem.split(nodes, float(state.lower))
    state = state._replace(
      frontier=take(state.frontier, rest),
      bounds=state.bounds[rest],
      expanded=state.expanded + count,
    )
    if size(children):
      children, bounds = problem.bound(children, float(state.lower))
      solutions = problem.solve(children, bounds)
      state = state._replace(bounded=state.bounded + size(children))
      state = _absorb(state, children, bounds, solutions, factor)
    if frontier_limit is not None and len(state.bounds) > frontier_limit:
      state = _drop(state, frontier_limit)
    last, now = now, time.perf_counter() - began
    pace = (now - last) / count
    state = _record(state._replace(seconds=np.float64(before + now)))
    if stop(state) or (time_limit is not None and now >= time_limit):
      break
  return state


def _absorb(state, nodes, bounds, solutions, factor) -> State:
  """Adds children to the frontier, or their bounds to what is settled."""
  lower, point = state.lower, state.point
  if len(bounds):
    best = int(np.argmax(solutions.values))
    if solutions.values[best] > lower:
      lower, point = np.float64(solutions.values[best]), solutions.points[best]
  # What cannot exceed factor · lower need not be split; its bound counts in `upper`.
  keep = (bounds > max(factor * lower, lower)) & ~solutions.closed
  settled = max(state.settled, np.max(bounds[~keep], initial=-np.inf))
  stay = state.bounds > max(factor * lower, lower)
  settled = max(settled, np.max(state.bounds[~stay], initial=-np.inf))
  return state._replace(
    frontier=join(take(state.frontier, stay), take(nodes, keep)),
    bounds=np.concatenate([state.bounds[stay], bounds[keep]]),
    lower=lower,
    point=point,
    settled=np.float64(settled),
  )


def _drop(state, limit) -> State:
  order = np.argsort(-state.bounds, kind="stable")
  kept, gone = np.sort(order[:limit]), order[limit:]
  settled = np.float64(max(state.settled, np.max(state.bounds[gone])))
  return state._replace(
    frontier=take(state.frontier, kept), bounds=state.bounds[kept], settled=settled
  )


def _record(state) -> State:
  row = (state.seconds, state.expanded, state.lower, state.upper)
  history = {
    name: np.append(state.history[name], value)
    for name, value in zip(_HISTORY, row, strict=True)
  }
  return state._replace(history=history)

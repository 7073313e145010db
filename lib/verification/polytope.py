"""Linear programs over {x in box: rows x + offsets ≥ 0}, with certified answers.

A solver's answer is only a proposal. What is used of it are its multipliers λ ≥ 0, from which
weak duality gives a bound that holds whatever the solver did:

  max c x + c0 ≤ c0 + λ d + max_{x in box} (c + λ H) x,

evaluated with an outward margin for rounding and for the rows' own errors. A child whose
half-space has a certified maximum ≤ 0 is empty; any other child stays.
"""

from typing import NamedTuple

import numpy as np

from lib.verification.rounding import gamma

DUAL, PRIMAL = 1, 4  # HiGHS' names of simplex methods
FEASIBILITY = 1e-9  # of the solver, on rows and coordinates scaled to [−1, 1]


class Polytope(NamedTuple):
  """{x: lower ≤ x ≤ upper, rows x + offsets ≥ 0}.

  Attributes:
    rows: (k, n) half-spaces, approximate.
    offsets: (k,).
    errors: (k,), by how much rows x + offsets may be off anywhere in the box.
    lower, upper: (n,), exact.
  """

  rows: np.ndarray
  offsets: np.ndarray
  errors: np.ndarray
  lower: np.ndarray
  upper: np.ndarray


class Optimum(NamedTuple):
  """What a solver proposes for max c x + c0, and what it proves.

  Attributes:
    value: the proposed maximum.
    bound: a certified upper bound of the maximum.
    point: (n,) the proposed maximiser.
    active: indices of rows that are active in the solver's basis.
    columns: coordinates that the basis leaves to the rows.
    at_upper: (n,) whether the solver has a coordinate at its upper bound.
  """

  value: float
  bound: float
  point: np.ndarray
  active: np.ndarray
  columns: np.ndarray
  at_upper: np.ndarray


def certified_bound(polytope: Polytope, c, c0: float, error: float, multipliers) -> float:
  """An upper bound of max c x + c0 for any multipliers (k,), by weak duality; never too low.

  `error` is by how much c x + c0 may be off anywhere in the box.
  """
  weights = np.maximum(np.nan_to_num(multipliers, posinf=0.0), 0.0)
  used = weights > 0
  weights, rows = weights[used], polytope.rows[used]
  offsets, errors = polytope.offsets[used], polytope.errors[used]
  reach = np.maximum(np.abs(polytope.lower), np.abs(polytope.upper))
  total = c + weights @ rows
  constant = c0 + weights @ offsets
  best = constant + np.maximum(total * polytope.lower, total * polytope.upper).sum()
  sizes = (np.abs(c) + weights @ np.abs(rows)) @ reach + abs(c0) + weights @ np.abs(offsets)
  slack = error + weights @ errors + gamma(len(weights) + len(reach) + 8) * sizes
  return float(best + slack * (1 + 1e-12) + 1e-290)


class Solver:
  """HiGHS on one polytope at a time; objectives in a row start from the last basis.

  It holds the solver's memory, so it belongs to one thread. `solved` counts programs.
  """

  def __init__(self):
    import highspy

    self._highspy = highspy
    self._highs = highspy.Highs()
    for name, value in (
      ("output_flag", False),
      ("presolve", "off"),
      ("threads", 1),
      ("simplex_strategy", PRIMAL),  # another objective keeps the basis feasible
      ("primal_feasibility_tolerance", FEASIBILITY),
      ("dual_feasibility_tolerance", FEASIBILITY),
      ("time_limit", 60.0),
    ):
      self._highs.setOptionValue(name, value)
    self.solved = 0
    self._polytope: Polytope | None = None

  def load(self, polytope: Polytope) -> None:
    """Takes a polytope; forgets all that was known of the last one."""
    self._polytope = polytope
    radius = 0.5 * (polytope.upper - polytope.lower)
    self._free = np.flatnonzero(radius > 0)
    self._middle = 0.5 * polytope.lower + 0.5 * polytope.upper
    self._radius = radius[self._free]
    if not len(self._free):
      return
    scaled = polytope.rows[:, self._free] * self._radius
    offsets = polytope.rows @ self._middle + polytope.offsets
    size = np.abs(scaled).max(1, initial=0.0)
    self._kept = np.flatnonzero(size > 0)
    self._size = size[self._kept]
    scaled = scaled[self._kept] / self._size[:, None]
    # A bound that holds everywhere on the box says nothing, and a huge one upsets the solver.
    least = np.maximum(-offsets[self._kept] / self._size, -1e3 - len(self._free))
    n = len(self._free)
    self._pass(scaled, least, np.zeros(n), np.full(n, -1.0))

  def _pass(self, rows, least, cost, low) -> None:
    """max cost t over low ≤ t ≤ 1, rows t ≥ least, from scratch."""
    highspy = self._highspy
    k, n = rows.shape
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = n, k
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, low, np.ones(n)
    lp.row_lower_, lp.row_upper_ = least, np.full(k, highspy.kHighsInf)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.arange(0, k * n + 1, n, dtype=np.int32)
    lp.a_matrix_.index_ = np.tile(np.arange(n, dtype=np.int32), k)
    lp.a_matrix_.value_ = rows.ravel()
    lp.sense_ = highspy.ObjSense.kMaximize
    self._highs.clearSolver()
    self._highs.passModel(lp)

  def centre(self) -> np.ndarray | None:
    """A point that is far from every row, in units of the row's range; then load again."""
    polytope = self._polytope
    if not len(self._free):
      return self._middle.copy()
    if not len(self._kept):
      return self._middle.copy()
    self.solved += 1
    rows = polytope.rows[self._kept][:, self._free] * self._radius / self._size[:, None]
    offsets = (polytope.rows @ self._middle + polytope.offsets)[self._kept] / self._size
    n = len(self._free)
    rows = np.concatenate([rows, -np.ones((len(rows), 1))], 1)
    least = np.maximum(-offsets, -1e3 - n)
    self._pass(rows, least, np.append(np.zeros(n), 1.0), np.append(np.full(n, -1.0), 0.0))
    self._highs.run()
    solution = self._highs.getSolution()
    if not solution.value_valid:
      return None
    point = self._middle.copy()
    point[self._free] += 0.999999 * np.array(solution.col_value)[:n] * self._radius
    return np.clip(point, polytope.lower, polytope.upper)

  def maximise(self, c: np.ndarray, c0: float, error: float = 0.0) -> Optimum:
    """max c x + c0 over the polytope; `error` as in `certified_bound`.

    A solver that fails still leaves a valid, if useless, bound.
    """
    polytope = self._polytope
    k, n = polytope.rows.shape
    multipliers = np.zeros(k)
    point = self._middle.copy()
    nothing = np.zeros(0, int)
    at_upper = np.zeros(n, bool)
    if not len(self._free):
      bound = certified_bound(polytope, c, c0, error, multipliers)
      return Optimum(float(c @ point + c0), bound, point, nothing, nothing, at_upper)
    cost = c[self._free] * self._radius
    size = np.abs(cost).max() or 1.0
    self.solved += 1
    self._highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost / size)
    self._highs.run()
    if self._highs.getModelStatus() != self._highspy.HighsModelStatus.kOptimal:
      self._highs.clearSolver()  # rare: another method, from the beginning
      self._highs.setOptionValue("simplex_strategy", DUAL)
      self._highs.run()
      self._highs.setOptionValue("simplex_strategy", PRIMAL)
    solution, basis = self._highs.getSolution(), self._highs.getBasis()
    active = columns = nothing
    if solution.value_valid:
      moved = np.clip(np.array(solution.col_value), -1.0, 1.0)
      point[self._free] = self._middle[self._free] + moved * self._radius
      point = np.clip(point, polytope.lower, polytope.upper)
    if solution.dual_valid:
      duals = (
        -np.array(solution.row_dual) * size / self._size if len(self._size) else np.zeros(0)
      )
      multipliers[self._kept] = duals
    if basis.valid:
      basic = self._highspy.HighsBasisStatus.kBasic
      upper = self._highspy.HighsBasisStatus.kUpper
      status = list(basis.col_status)
      columns = self._free[[i for i, s in enumerate(status) if s == basic]]
      at_upper[self._free] = [s == upper for s in status]
      active = self._kept[[i for i, s in enumerate(basis.row_status) if s != basic]]
    bound = certified_bound(polytope, c, c0, error, multipliers)
    return Optimum(float(c @ point + c0), bound, point, active, columns, at_upper)

"""Rational arithmetic for what float64 cannot tell: units that vanish on a cell, thin cells.

Floats are rationals, so a network's affine forms on a cell are exact over the integers up to a
power of two. It is slow, and asked only where certified floats leave a question open.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from lib.verification.networks import Network
from lib.verification.propagation import split

LARGEST = 40  # systems beyond this size are not solved, the question stays open
PIVOTS = 200


def integers(array) -> tuple[np.ndarray, int]:
  """Integers a (object array) and e with array = a 2^−e exactly."""
  array = np.asarray(array, np.float64)
  mantissa, exponent = np.frexp(array)
  mantissa = np.ldexp(mantissa, 53).astype(np.int64).astype(object)
  used = exponent[array != 0]
  least = int(used.min()) if used.size else 0
  shift = np.where(array != 0, exponent - least, 0).astype(object)
  return mantissa * 2**shift, 53 - least


class Forms(NamedTuple):
  """Exact (A | c) of z_l = A x + c for all units, up to a positive factor a layer.

  Attributes:
    rows: one object array of integers (n_l, n + 1) for each layer asked for.
    scales: A = rows 2^−scale.
    known: which rows are affine on the cell, (n_l,) each; others depend on an open unit.
  """

  rows: list[np.ndarray]
  scales: list[int]
  known: list[np.ndarray]


def forms(network: Network, signs: np.ndarray, last: int) -> Forms:
  """The affine forms of layers 0 … last on a cell with these signs.

  Args:
    network: the network.
    signs: (N,).
    last: index of the last layer wanted; len(slopes) is the output.
  """
  rows, scale = integers(np.concatenate([network.weights[0], network.biases[0][:, None]], 1))
  found = Forms([rows], [scale], [np.ones(len(rows), bool)])
  for layer, sign in enumerate(split(network, signs)[:last]):
    closed = (np.abs(sign) == 1) | ~np.any(rows != 0, -1)
    slopes = np.where(sign == 1, network.slopes[layer][1], network.slopes[layer][0])
    slope, slope_scale = integers(slopes)
    off = (np.abs(sign) == 1) & (slopes == 0)  # 0, whatever its form
    fine = (found.known[-1] & closed) | off
    weight, weight_scale = integers(network.weights[layer + 1])
    bias, bias_scale = integers(network.biases[layer + 1])
    rows = weight @ (np.where(fine, slope, 0)[:, None] * rows)
    scale += slope_scale + weight_scale
    common = max(scale, bias_scale)
    rows = rows * 2 ** (common - scale)
    rows[:, -1] = rows[:, -1] + bias * 2 ** (common - bias_scale)
    scale = common
    found.rows.append(rows)
    found.scales.append(scale)
    found.known.append(~np.any((network.weights[layer + 1] != 0) & ~fine, -1))
  return found


def jacobian(network: Network, signs: np.ndarray) -> np.ndarray | None:
  """The Jacobian of a cell, rounded once, (m, n); None if it depends on an open unit."""
  found = forms(network, signs, len(network.slopes))
  if not np.all(found.known[-1]):
    return None
  scale = found.scales[-1]
  return np.array([[_float(v, scale) for v in row[:-1]] for row in found.rows[-1]], np.float64)


def _float(value: int, scale: int) -> float:
  return float(Fraction(value, 1) / Fraction(2) ** scale)


def vertex_sign(
  objective: np.ndarray,
  rows: np.ndarray,
  lower: Sequence[float],
  upper: Sequence[float],
  active: Sequence[int],
  columns: Sequence[int],
  at_upper: Sequence[bool],
) -> int:
  """Sign of max c x + c0 over {x in box: rows x + d ≥ 0}, from a basis that a solver proposes.

  Args:
    objective: (n + 1,) integers, c and c0 up to a positive factor.
    rows: (k, n + 1) integers, each row up to a positive factor.
    lower, upper: the box, floats.
    active: rows that hold with equality at the vertex.
    columns: the coordinates that they determine; as many as rows.
    at_upper: (n,), for the other coordinates, whether they are at their upper bound.

  Returns:
    −1 where multipliers prove that the maximum is ≤ 0, 1 where the vertex is in the set and
    its value > 0, 0 where neither is so.
  """
  active, columns = list(active), list(columns)
  n = len(objective) - 1
  if len(active) != len(columns) or len(active) > LARGEST:
    return 0
  low, high = [Fraction(v) for v in lower], [Fraction(v) for v in upper]
  square = [[Fraction(int(rows[i][j])) for j in columns] for i in active]
  weights = solve(
    [list(column) for column in zip(*square, strict=True)],
    [Fraction(-int(objective[j])) for j in columns],
  )
  if weights is not None and all(w >= 0 for w in weights):
    total = [Fraction(int(v)) for v in objective]
    for w, i in zip(weights, active, strict=True):
      total = [t + w * int(v) for t, v in zip(total, rows[i], strict=True)]
    best = total[-1] + sum(
      max(t * a, t * b) for t, a, b in zip(total, low, high, strict=False)
    )
    if best <= 0:
      return -1
  point = [high[j] if at_upper[j] else low[j] for j in range(n)]
  known = [j for j in range(n) if j not in set(columns)]
  right = [
    Fraction(-int(rows[i][n])) - sum(int(rows[i][j]) * point[j] for j in known) for i in active
  ]
  solved = solve(square, right)
  if solved is None:
    return 0
  for j, value in zip(columns, solved, strict=True):
    if not low[j] <= value <= high[j]:
      return 0
    point[j] = value
  point.append(Fraction(1))

  def at(row):
    return sum(int(v) * x for v, x in zip(row, point, strict=True))

  if at(objective) > 0 and all(at(row) >= 0 for row in rows):
    return 1
  return 0


def maximum_sign(
  objective: np.ndarray, rows: np.ndarray, lower: Sequence[float], upper: Sequence[float]
) -> int:
  """Sign of max c x + c0 over {x in box: rows x + d ≥ 0}, by the dual simplex method.

  A box makes every basis dual feasible: a coordinate stays at the bound that its reduced cost
  prefers. Bland's rule keeps it from cycling.

  Args:
    objective: (n + 1,) integers.
    rows: (k, n + 1) integers.
    lower, upper: the box, floats.

  Returns:
    1 or −1 (for a maximum ≤ 0 or an empty set); 0 where the problem is too large.
  """
  n, k = len(objective) - 1, len(rows)
  if n * (k + 1) > LARGEST**2:
    return 0
  low = [Fraction(v) for v in lower] + [Fraction(0)] * k
  high: list[Fraction | None] = [Fraction(v) for v in upper] + [None] * k
  # Each basic variable is a combination of the nonbasic ones and a constant (the last entry).
  table = [[Fraction(int(v)) for v in row] for row in rows]
  cost = [Fraction(int(v)) for v in objective]
  basic, nonbasic = list(range(n, n + k)), list(range(n))
  value = [high[j] if cost[j] > 0 else low[j] for j in range(n)]
  for _ in range(PIVOTS):
    now = [sum(a * v for a, v in zip(row, value, strict=False)) + row[-1] for row in table]
    wrong = [
      (basic[i], i, low[basic[i]] if now[i] < low[basic[i]] else high[basic[i]])
      for i in range(k)
      if now[i] < low[basic[i]] or (high[basic[i]] is not None and now[i] > high[basic[i]])
    ]
    if not wrong:
      best = sum(a * v for a, v in zip(cost, value, strict=False)) + cost[-1]
      return 1 if best > 0 else -1
    _, i, target = min(wrong)
    rising = 1 if now[i] < target else -1
    candidates = []
    for j, name in enumerate(nonbasic):
      if low[name] == high[name] or not table[i][j]:
        continue
      up = value[j] == low[name]  # it can only rise
      if (table[i][j] * rising > 0) == up:
        candidates.append((abs(cost[j] / table[i][j]), name, j))
    if not candidates:
      return -1
    _, _, j = min(candidates)
    _pivot(table, cost, i, j)
    basic[i], nonbasic[j] = nonbasic[j], basic[i]
    value[j] = target
  return 0


def _pivot(table, cost, i, j):
  """Exchanges basic variable i with nonbasic variable j."""
  row = table[i]
  inverse = 1 / row[j]
  new = [-v * inverse for v in row]
  new[j] = inverse
  for other in (*(r for r in table if r is not row), cost):
    factor = other[j]
    if factor:
      other[j] = Fraction(0)
      for m, v in enumerate(new):
        other[m] += factor * v
  row[:] = new


def solve(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction] | None:
  """The solution of a square linear system, None when it is singular."""
  size = len(matrix)
  work = [[*row, value] for row, value in zip(matrix, right, strict=True)]
  for i in range(size):
    pivot = next((k for k in range(i, size) if work[k][i]), None)
    if pivot is None:
      return None
    work[i], work[pivot] = work[pivot], work[i]
    inverse = 1 / work[i][i]
    work[i] = [v * inverse for v in work[i]]
    for k in range(size):
      if k != i and work[k][i]:
        factor = work[k][i]
        work[k] = [a - factor * b for a, b in zip(work[k], work[i], strict=True)]
  return [row[-1] for row in work]

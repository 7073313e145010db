"""Sub-problems of the Lipschitz constant: cells of the input space with a partial activation.

A sub-problem is a set of inputs {x in box: s_k z_k(x) > 0 for the units k that were branched
on} and the signs of all units that are known on it. Its arrays, with a leading axis:

  signs (b, N) int8      1, −1, 0 or 2, see `jacobian`
  cut (b, N) bool        units whose half-space is part of the cell; the others' signs follow
  points (b, k, n)       inputs inside, NaN where none is known; hints, nothing rests on them
  certain (b,) bool      whether the cell is known to have an interior
  tested (b,) bool       whether the open units of the first open layer are known to be open
  box (b,) int32         index of its box
  bound (b,)             upper bound of ‖J‖_p on it

Units are branched on in the first layer that has an open one, where z is affine on the cell.
"""

import zlib

import numpy as np

from lib.verification import branch_and_bound as bab
from lib.verification import exact, jacobian, norms, polytope, propagation
from lib.verification.bounding import (
  ROUNDING,
  Lines,
  Setting,
  bound,
  cuts_of,
  evaluator,
  exact_ball,
  lines,
  most_cuts,
)
from lib.verification.rounding import gamma

WALK = 6  # steps of hit-and-run that refresh a cell's points


def problem(setting: Setting, solver: polytope.Solver) -> bab.Problem:
  """The three functions of the engine."""
  compute = evaluator(setting)
  return bab.Problem(
    lambda nodes, lower: split(setting, solver, nodes),
    lambda nodes, lower: bound(setting, compute, nodes),
    lambda nodes, bounds: solve(setting, nodes),
  )


def roots(setting: Setting) -> dict[str, np.ndarray]:
  """One sub-problem a box, about which nothing is known but some points."""
  count, n = setting.lower.shape
  signs = propagation.undecided(setting.network, (count,))
  rng = np.random.default_rng(0)
  share = rng.random((count, setting.points, n))
  spread = setting.upper - setting.lower
  points = setting.lower[:, None] + share * spread[:, None]
  points = np.clip(points, setting.lower[:, None], setting.upper[:, None])
  return {
    "signs": signs,
    "cut": np.zeros(signs.shape, bool),
    "points": points,
    "certain": np.ones(count, bool),
    "tested": np.zeros(count, bool),
    "box": np.arange(count, dtype=np.int32),
    "bound": np.full(count, np.inf),
  }


# --- values ----------------------------------------------------------------------------------


def solve(setting: Setting, nodes: bab.Nodes) -> bab.Solutions:
  """‖J‖_p from below at a point of each cell, and of whole cells where no unit is open."""
  signs, points = nodes["signs"], nodes["points"]
  closed = ~np.any(signs == 0, -1)
  chosen = points[:, 0]
  values = at_points(setting, chosen)
  for i in np.flatnonzero(closed & nodes["certain"]):
    form = jacobian.whole(setting.network, signs[i : i + 1])
    ball = jacobian.Ball(*(v[0, :, : setting.columns] for v in form))
    if np.max(ball.radius) > ROUNDING * np.max(np.abs(ball.centre), initial=0.0):
      ball = exact_ball(setting, signs[i]) or ball
    value = float(norms.lower(*ball, setting.p))
    values[i] = max(values[i], value)
  return bab.Solutions(values, chosen, closed)


def at_points(setting: Setting, x: np.ndarray) -> np.ndarray:
  """‖J(x)‖_p from below at inputs (b, n); −inf where x is NaN.

  Units whose sign rounding leaves open at x count with all their slopes.
  """
  network = setting.network
  known = np.all(np.isfinite(x), -1)
  values = np.full(len(x), -np.inf)
  if not np.any(known):
    return values
  x = x[known]
  signs = propagation.undecided(network, (len(x),))
  signs, _ = propagation.decide(network, propagation.intervals(network, x, x, signs), signs)
  last = jacobian.whole(network, signs)
  ball = jacobian.Ball(*(v[..., : setting.columns] for v in last))
  values[known] = norms.lower(ball.centre, ball.radius, setting.p)
  return values


# --- splitting -------------------------------------------------------------------------------


def split(setting: Setting, solver: polytope.Solver, nodes: bab.Nodes) -> bab.Nodes:
  """Splits a batch: first the units of a cell's first open layer are decided where they can
  be.

  A cell that this tells something new goes back with a smaller bound, to be branched on only
  if it is among the largest again; one whose open units are known to be open is cut in two.
  """
  nodes = dict(nodes)
  layers = np.repeat(np.arange(len(setting.network.hidden)), setting.network.hidden)
  forms = jacobian.forward(setting.network, nodes["signs"])
  effects = jacobian.backward(setting.network, nodes["signs"])
  low, high = setting.lower[nodes["box"]], setting.upper[nodes["box"]]
  known = lines(forms, low, high)
  nodes["points"] = _walk(setting, nodes, known)
  scores = _scores(setting, forms, effects)
  done = []
  for i in range(len(scores)):
    open_units = np.flatnonzero(nodes["signs"][i] == 0)
    units = open_units[layers[open_units] == layers[open_units[0]]]
    cell = _Cell(setting, solver, bab.take(nodes, i), Lines(*(v[i] for v in known)))
    done += cell.split(units, scores[i])
  return {name: np.stack([d[name] for d in done]) for name in done[0]}


def _scores(setting, forms, effects):
  """‖column of ∂f/∂x_l‖ ‖row of ∂z_l/∂x‖ (β − α): how much a unit can change J, (b, N)."""
  found = []
  for form, effect, slopes in zip(
    forms[:-1], effects[:-1], setting.network.slopes, strict=True
  ):
    row = np.sqrt((form.size[..., : setting.columns] ** 2).sum(-1))
    column = np.sqrt((effect.size**2).sum(-2))
    found.append(row * column * np.abs(slopes[1] - slopes[0]))
  return np.concatenate(found, -1)


def _walk(setting, nodes, forms):
  """Fresh points in each cell by hit-and-run; NaN stays NaN."""
  points = nodes["points"]
  low, high = setting.lower[nodes["box"]][:, None], setting.upper[nodes["box"]][:, None]
  count = most_cuts(nodes["cut"])
  rows, offsets, _ = cuts_of(nodes["signs"], nodes["cut"], forms, count)
  known = np.isfinite(points[..., :1])
  x = np.where(known, points, 0.5 * (low + high))
  rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(nodes["signs"]).tobytes()))
  spread = high - low
  t = np.swapaxes(rows, -1, -2)
  value = x @ t + offsets[:, None]
  for _ in range(WALK):
    step = rng.standard_normal(x.shape) * spread
    rate = step @ t
    with np.errstate(divide="ignore", invalid="ignore"):
      walls = np.concatenate([(low - x) / step, (high - x) / step, -value / rate], -1)
      speed = np.concatenate([-step, step, -rate], -1)
    ahead = np.where(speed > 0, walls, np.inf).min(-1)
    behind = np.where(speed < 0, walls, -np.inf).max(-1)
    share = rng.uniform(0.02, 0.98, ahead.shape)
    with np.errstate(invalid="ignore"):
      move = behind + share * (ahead - behind)
    move = np.where(np.isfinite(move) & (ahead >= 0) & (behind <= 0), move, 0.0)[..., None]
    x = np.clip(x + move * step, low, high)
    value = value + move * rate
  # A walk that rounding took out of its cell is undone.
  inside = np.all(x @ t + offsets[:, None] > 0, -1, keepdims=True)
  return np.where(known & inside, x, points)


class _Cell:
  """One sub-problem while it is being split."""

  def __init__(self, setting, solver, node, lines):
    self.setting, self.solver, self.node, self.lines = setting, solver, node, lines
    self.signs, self.points = node["signs"].copy(), node["points"].copy()
    self.cuts = np.flatnonzero(node["cut"])
    self.low, self.high = setting.lower[node["box"]], setting.upper[node["box"]]
    self.sides = {}  # (unit, sign) -> (known to be nonempty, a point or None)
    self._loaded = False
    self._integers = None

  def split(self, units, scores):
    """The cell with more signs, or its two sides along the unit with the largest score."""
    if not self.node["tested"] and self._decide(units):
      return [self._same()]
    unit = units[0] if self.setting.score == "first" else units[np.argmax(scores[units])]
    return [self._child(unit, sign) for sign in (1, -1)]

  def _decide(self, units):
    """Decides the units that have one sign on the cell; whether there was one."""
    lines = self.lines
    scale = np.abs(lines.rows[units]) @ (self.high - self.low)
    known = self.points[np.isfinite(self.points[:, 0])] if self.setting.reuse else []
    z = np.zeros((0, len(units)))
    if len(known):
      z = known @ lines.rows[units].T + lines.offsets[units]
    margin = 1e-7 * scale + 4 * lines.errors[units]
    above, below = np.any(z > margin, 0), np.any(z < -margin, 0)
    for j, unit in enumerate(units):
      seen = {1: bool(above[j]), -1: bool(below[j])}
      impossible = [s for s in (1, -1) if not seen[s] and not self._reachable(unit, s)]
      if len(impossible) == 1:
        self.signs[unit] = -impossible[0]
      elif len(impossible) == 2 and self._vanishes(unit):
        self.signs[unit] = 1  # z = 0 identically: either slope gives the same f
    return bool(np.any(self.signs != self.node["signs"]))

  def _same(self):
    """This cell, with the signs and points that were found."""
    layers = np.repeat(
      np.arange(len(self.setting.network.hidden)), self.setting.network.hidden
    )
    was = layers[np.flatnonzero(self.node["signs"] == 0)[0]]
    left = np.any((self.signs == 0) & (layers == was))
    return {
      "signs": self.signs,
      "cut": self.node["cut"],
      "points": self._with(self.points, [p for _, p in self.sides.values() if p is not None]),
      "certain": self.node["certain"],
      "tested": np.bool_(left),
      "box": self.node["box"],
      "bound": self.node["bound"],
    }

  def _with(self, points, found):
    """Points with those that were found in place of the last ones."""
    if found:
      points = points.copy()
      found = np.stack(found[: len(points) // 2])
      points[len(points) - len(found) :] = found
    return points

  def _reachable(self, unit, sign):
    """Whether s z can be > 0 on the cell; False only with a proof."""
    lines, solver = self.lines, self.solver
    if not self._loaded:
      signs = self.node["signs"][self.cuts].astype(float)
      solver.load(self._polytope(self.cuts, signs))
      self._loaded = True
    c, c0 = sign * lines.rows[unit], sign * lines.offsets[unit]
    found = solver.maximise(c, c0, lines.errors[unit])
    if found.bound <= 0:
      return False
    scale = np.abs(c) @ (self.high - self.low)
    if found.value > 1e-6 * scale + 8 * lines.errors[unit]:
      self.sides[unit, sign] = (None, self._inner(c, c0, found.point))
      return True
    known = self._exact_sign(unit, sign, found)
    if known < 0:
      return False
    self.sides[unit, sign] = (known > 0, self._inner(c, c0, found.point))
    return True

  def _inner(self, c, c0, vertex):
    """A point between a vertex with c x + c0 > 0 and a point of the cell, or None."""
    known = self.points[np.isfinite(self.points[:, 0])]
    if not len(known):
      return None
    values = known @ c + c0
    start = known[int(np.argmax(values))]
    top, bottom = float(c @ vertex + c0), float(values.max())
    share = 0.5 if bottom >= 0 else 0.5 * top / (top - bottom) if top > 0 else 1.0
    return vertex + share * (start - vertex)

  def _vanishes(self, unit):
    """Whether the unit's form is 0, constant and all, in rational arithmetic."""
    rows, known = self._exact_forms(unit)
    return bool(known[unit] and not np.any(rows[unit] != 0))

  def _exact_forms(self, unit):
    """Integer forms of the units up to the given one's layer, and which are affine here."""
    if self._integers is None:
      network = self.setting.network
      last = int(np.searchsorted(np.cumsum(network.hidden), unit, side="right"))
      forms = exact.forms(network, self.node["signs"], last)
      self._integers = np.concatenate(forms.rows), np.concatenate(forms.known)
    return self._integers

  def _exact_sign(self, unit, sign, found=None):
    """The sign of max s z on the cell in rational arithmetic, 0 where that stays open.

    Args:
      unit, sign: which half-space.
      found: what the solver proposes, whose basis is tried first.
    """
    rows, known = self._exact_forms(unit)
    if not known[unit] or not np.all(known[self.cuts]):
      return 0
    signs = self.node["signs"][self.cuts].astype(int).astype(object)
    objective, rows = rows[unit] * sign, rows[self.cuts] * signs[:, None]
    if found is not None:
      basis = found.active, found.columns, found.at_upper
      decided = exact.vertex_sign(objective, rows, self.low, self.high, *basis)
      if decided:
        return decided
    return exact.maximum_sign(objective, rows, self.low, self.high)

  def _child(self, unit, sign):
    """The side s z > 0 of the cell."""
    node = self.node
    signs, cut = self.signs.copy(), node["cut"].copy()
    signs[unit], cut[unit] = sign, True
    cuts = np.append(self.cuts, unit)
    direction = signs[cuts].astype(float)
    proven, extra = self.sides.get((unit, sign), (None, None))
    points = self.points[np.isfinite(self.points[:, 0])]
    if extra is not None:
      points = np.concatenate([extra[None], points])
    points, strict = self._inside(cuts, direction, points)
    if not np.any(strict):
      self._loaded = False
      self.solver.load(self._polytope(cuts, direction))
      centre = self.solver.centre()
      if centre is not None:
        points = np.concatenate([centre[None], points])
        points, strict = self._inside(cuts, direction, points)
    certain = bool(np.any(strict))
    if not certain and node["certain"]:
      certain = proven if proven is not None else self._exact_sign(unit, sign) > 0
    kept = np.full(self.points.shape, np.nan)
    if len(points):
      order = np.argsort(~strict, kind="stable")
      kept[:] = points[order[np.arange(len(kept)) % len(order)]]
    return {
      "signs": signs,
      "cut": cut,
      "points": kept,
      "certain": np.bool_(certain),
      "tested": np.bool_(False),
      "box": node["box"],
      "bound": node["bound"],
    }

  def _polytope(self, cuts, direction):
    lines = self.lines
    return polytope.Polytope(
      lines.rows[cuts] * direction[:, None],
      lines.offsets[cuts] * direction,
      lines.errors[cuts],
      self.low,
      self.high,
    )

  def _inside(self, cuts, direction, points):
    """The points that seem to be in the cell, and whether each surely is."""
    lines = self.lines
    rows, offsets = lines.rows[cuts], lines.offsets[cuts]
    slack = (points @ rows.T + offsets) * direction
    kept = np.all(slack > 0, -1)
    points, slack = points[kept], slack[kept]
    size = np.abs(points) @ np.abs(rows).T + np.abs(offsets)
    margin = lines.errors[cuts] + gamma(points.shape[-1]) * size
    return points, np.all(slack > margin, -1)

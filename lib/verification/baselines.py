"""What a constant is compared with: bounds without branching, sampling, enumeration."""

from fractions import Fraction
from typing import Any

import numpy as np

from lib.verification import jacobian, norms, propagation, sector
from lib.verification.networks import Network


def layer_norm_product(network: Network, p: float = 2) -> float:
  """Π_l ‖W_l‖_p max|slope_l|: global, certified, and far too large for deep networks."""
  p = norms.check_p(p)
  bound = 1.0
  for weight in network.weights:
    bound *= float(norms.upper(weight, np.zeros_like(weight), p)) * (1 + 1e-15)
  for slopes in network.slopes:
    bound *= float(np.max(np.abs(slopes), initial=0.0)) * (1 + 1e-15)
  return bound


def root_signs(network: Network, lower, upper, relaxation: str = "fresh") -> np.ndarray:
  """Signs of the units that symbolic propagation decides on a box (None: no box), (N,)."""
  signs = propagation.undecided(network)
  if lower is None:
    return signs
  bounds = propagation.symbolic(network, lower, upper, signs, relaxation)
  return propagation.decide(network, bounds, signs)[0]


def interval_bound(network: Network, lower, upper, p: float = 2) -> float:
  """The paper's first estimate: Algorithm 1, then ‖U‖ of Algorithm 2 (FastLip's bound)."""
  p = norms.check_p(p)
  signs = root_signs(network, lower, upper)
  ball = jacobian.forward(network, signs, offsets=False)[-1]
  return float(norms.upper(ball.size, np.zeros_like(ball.radius), p))


def relaxed_bound(network: Network, lower, upper, p: float = 2) -> float:
  """Backward linear relaxation of the Jacobian on the whole box (`jacobian.relaxed`).

  Entries are intersected with those of interval arithmetic, so that it is never looser.
  """
  p = norms.check_p(p)
  signs = root_signs(network, lower, upper)
  forms = jacobian.forward(network, signs)
  ball = jacobian.Ball(*(v[..., :-1] for v in forms[-1]))
  if network.slopes:
    ball = jacobian.intersect(ball, jacobian.relaxed(network, signs, forms))
  found = norms.upper(ball.centre, ball.radius, p)
  return float(min(found, interval_bound(network, lower, upper, p)))


def sector_bound(network: Network, lower, upper, p: float = 2) -> float:
  """Quadratic multipliers on the whole box (`sector.bound`), for p = 1, 2 or ∞."""
  p = norms.check_p(p)
  signs = root_signs(network, lower, upper)[None]
  forms = jacobian.forward(network, signs)
  effects = jacobian.backward(network, signs)
  ball = jacobian.Ball(*(v[..., :-1] for v in forms[-1]))
  start = norms.upper(ball.centre, ball.radius, p)
  form = sector.fraction(network, signs, forms, effects, network.inputs)
  return float(np.minimum(start, sector.bound(form, p, start))[0])


def gradient_norms(network: Network, x: np.ndarray, p: float = 2) -> np.ndarray:
  """‖J(x)‖_p at inputs (k, n), from below with rounding, (k,): lower bounds of the constant.

  A unit whose sign at x rounding leaves open counts with all its slopes.
  """
  signs = propagation.undecided(network, (len(x),))
  signs, _ = propagation.decide(network, propagation.intervals(network, x, x, signs), signs)
  ball = jacobian.whole(network, signs)
  return norms.lower(ball.centre, ball.radius, p)


def enumerate_cells(network: Network, lower, upper) -> list[tuple[np.ndarray, list]]:
  """All activation patterns with an interior on a box in R¹ or R², in rational arithmetic.

  A polygon is cut by every unit's line in turn; nothing is rounded, so that a pattern is
  listed if and only if its cell has an interior. For tests and tiny networks.

  Returns:
    [(J (m, n) of Fractions, vertices of the cell)].

  Raises:
    ValueError: the network has more than two inputs, or the box no interior.
  """
  n = network.inputs
  low, high = [Fraction(float(v)) for v in lower], [Fraction(float(v)) for v in upper]
  if n > 2 or any(a >= b for a, b in zip(low, high, strict=True)):
    raise ValueError("enumeration takes one or two inputs and a box with an interior.")
  if n == 1:
    corners = [(low[0],), (high[0],)]
  else:
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]

  def rational(array):
    return _fractions(np.asarray(array, np.float64))

  weights = [rational(w) for w in network.weights]
  biases = [rational(b) for b in network.biases]
  identity = _fractions(np.eye(n))
  cells = [(corners, identity, _fractions(np.zeros(n)))]
  for layer, slopes in enumerate(network.slopes):
    cells = [
      part
      for corners, a, c in cells
      for part in _cut(
        corners, weights[layer] @ a, weights[layer] @ c + biases[layer], rational(slopes)
      )
    ]
  return [(weights[-1] @ a, corners) for corners, a, _ in cells]


def _fractions(array):
  flat = np.array([Fraction(float(v)) for v in array.ravel()], dtype=object)
  return flat.reshape(array.shape)


def _cut(corners, rows, offsets, slopes):
  """The parts of a cell on which a layer's units keep their signs, with x_l = a x + c."""
  parts: list[tuple[Any, list[int]]] = [(corners, [])]
  for row, offset, low, high in zip(rows, offsets, *slopes, strict=True):
    new = []
    for polygon, signs in parts:
      values = [sum(r * v for r, v in zip(row, x, strict=True)) + offset for x in polygon]
      if low == high or all(v >= 0 for v in values):
        new.append((polygon, [*signs, 1]))
      elif all(v <= 0 for v in values):
        new.append((polygon, [*signs, -1]))
      else:
        for sign in (1, -1):
          new.append((_clip(polygon, [sign * v for v in values]), [*signs, sign]))
    parts = new
  found = []
  for polygon, signs in parts:
    slope = np.array(
      [s[1] if sign > 0 else s[0] for s, sign in zip(slopes.T, signs, strict=True)]
    )
    found.append((polygon, slope[:, None] * rows, slope * offsets))
  return found


def _clip(polygon, values):
  """The part of a segment or convex polygon where the values are ≥ 0."""
  kept = []
  edges = len(polygon) if len(polygon) > 2 else len(polygon) - 1
  for i in range(len(polygon)):
    if values[i] >= 0:
      kept.append(polygon[i])
    j = (i + 1) % len(polygon)
    if i < edges and values[i] * values[j] < 0:
      t = values[i] / (values[i] - values[j])
      kept.append(tuple(a + t * (b - a) for a, b in zip(polygon[i], polygon[j], strict=True)))
  return kept

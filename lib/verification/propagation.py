"""Bounds on pre-activations over a box: interval arithmetic and affine (symbolic) forms.

Every function is batched: signs (..., N) say what is known of each hidden unit (see
`jacobian`), so that one call bounds many sub-problems. Bounds hold for every x of the box that
agrees with the signs; they are outward rounded.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lib.verification import rounding
from lib.verification.networks import Network
from lib.verification.rounding import UNIT, gamma, namespace, up


class Bounds(NamedTuple):
  """l ≤ z ≤ u of the pre-activations of one layer, (..., n_l) each."""

  lower: np.ndarray
  upper: np.ndarray


class Cuts(NamedTuple):
  """Half-spaces that x lies in: rows x + offsets ≥ 0, each known up to an error over the box.

  Attributes:
    rows: (..., k, n); a row of zeros with a positive offset says nothing.
    offsets: (..., k).
    errors: (..., k).
  """

  rows: np.ndarray
  offsets: np.ndarray
  errors: np.ndarray


def split(network: Network, values):
  """Values of all hidden units (..., N) as a list of one array a layer."""
  edges = np.cumsum((0, *network.hidden))
  return [values[..., a:b] for a, b in itertools.pairwise(edges)]


def undecided(network: Network, batch: tuple[int, ...] = ()) -> np.ndarray:
  """Signs that say nothing: 0, and 1 for units that have no kink, (*batch, N) int8."""
  flat = [np.where(s[0] == s[1], 1, 0) for s in network.slopes]
  signs = np.concatenate([np.zeros(0), *flat]).astype(np.int8)
  return np.broadcast_to(signs, (*batch, len(signs))).copy()


def intervals(network: Network, lower, upper, signs=None) -> list[Bounds]:
  """[z_l] = W_l [x_{l-1}] + b_l, [x_l] = φ([z_l]) (sec. 4.1), layer by layer."""
  signs = undecided(network) if signs is None else signs
  xp = namespace(lower, signs)
  centre, radius = _midpoint(xp, lower, upper)
  found = []
  for weight, bias, slopes, sign in _layers(network, signs):
    z, error = _image(weight, bias, centre, radius)
    bounds = clip(Bounds(z - error, z + error), sign, slopes)
    found.append(bounds)
    ends = [slopes[0] * xp.minimum(v, 0) + slopes[1] * xp.maximum(v, 0) for v in bounds]
    low, high = xp.minimum(*ends), xp.maximum(*ends)
    # Between the ends an activation with a negative slope has its extreme at the kink.
    across = (bounds.lower < 0) & (bounds.upper > 0)
    low, high = (
      xp.where(across, xp.minimum(low, 0), low),
      xp.where(across, xp.maximum(high, 0), high),
    )
    centre, radius = _midpoint(xp, low, high)
    radius = radius + 4 * UNIT * xp.maximum(xp.abs(low), xp.abs(high))
  return found


def symbolic(
  network: Network,
  lower,
  upper,
  signs=None,
  relaxation: str = "parallel",
  cuts: Cuts | None = None,
  sweeps: int = 1,
) -> list[Bounds]:
  """Bounds by one affine form a unit, over the inputs and a new symbol for each open kink.

  A unit that is decided keeps its form (Algorithm 1). One that is not becomes λ z + κ ± ρ:
  with relaxation "fresh" λ = 0, a fresh variable over the unit's whole range, as in the paper;
  with "parallel" λ is the slope of the chord, which keeps the dependence on the inputs (the
  zonotope relaxation). Neither is always the tighter one; intersect them.

  Args:
    network: the network.
    lower, upper: the box, (..., n) or (n,).
    signs: (..., N), see `jacobian`; by default nothing is known.
    relaxation: "parallel" or "fresh".
    cuts: half-spaces that cut the box; the forms are then bounded on what is left of it.
    sweeps: of the coordinate descent that does so, see `on_cuts`.
  """
  if relaxation not in ("parallel", "fresh"):
    raise ValueError(f"relaxation is '{relaxation}', not 'parallel' or 'fresh'.")
  signs = undecided(network) if signs is None else signs
  xp = namespace(lower, signs)
  batch = signs.shape[:-1]
  middle, spread = _midpoint(xp, lower, upper)
  forms = np.eye(network.inputs) if xp is np else xp.eye(network.inputs)
  # A form is centre + symbols · s ± error with |s| ≤ 1.
  centre = xp.broadcast_to(middle, (*batch, network.inputs))
  symbols = xp.broadcast_to(forms * spread[..., None, :], (*batch, *forms.shape))
  error = 4 * UNIT * (xp.abs(centre) + xp.abs(symbols).sum(-1))
  scaled = None if cuts is None else _scaled(xp, cuts, middle, spread)
  found = []
  for weight, bias, slopes, sign in _layers(network, signs):
    margin = gamma(weight.shape[1])
    size = xp.abs(centre) + xp.abs(symbols).sum(-1)
    error = up((error + margin * size) @ xp.abs(weight).T + margin * xp.abs(bias), 8)
    centre = centre @ weight.T + bias
    symbols = weight @ symbols
    reach = up(xp.abs(symbols).sum(-1), symbols.shape[-1]) + error
    pad = 4 * UNIT * (xp.abs(centre) + reach)
    bounds = Bounds(centre - reach - pad, centre + reach + pad)
    if cuts is not None and cuts.rows.shape[-2]:
      bounds = _tighten(xp, bounds, sign, centre, symbols, error + pad, scaled, sweeps)
    bounds = clip(bounds, sign, slopes)
    found.append(bounds)
    slope, shift, extent, extra = _relax(xp, bounds, slopes, sign, relaxation)
    error = up(xp.abs(slope) * error + extra, 4)
    error = (
      error + 4 * UNIT * xp.abs(slope) * (xp.abs(centre) + reach) + 4 * UNIT * xp.abs(shift)
    )
    centre = slope * centre + shift
    fresh = extent[..., None] * xp.eye(extent.shape[-1])
    symbols = xp.concatenate([slope[..., None] * symbols, fresh], -1)
  return found


def _scaled(xp, cuts, middle, spread):
  """The cuts in coordinates t of x = middle + spread t, |t| ≤ 1."""
  rows = cuts.rows * spread[..., None, :]
  products = cuts.rows * middle[..., None, :]
  offsets = cuts.offsets + products.sum(-1)
  sizes = xp.abs(cuts.offsets) + xp.abs(products).sum(-1) + xp.abs(rows).sum(-1)
  return Cuts(rows, offsets, up(cuts.errors + gamma(rows.shape[-1] + 4) * sizes))


def _tighten(xp, bounds, sign, centre, symbols, error, cuts, sweeps):
  """Bounds on what the cuts leave of the box, for the units whose sign is still open."""
  n = cuts.rows.shape[-1]
  open_units = (sign == 0) & (bounds.lower < 0) & (bounds.upper > 0)
  count = int(open_units.sum(-1).max(initial=0)) if xp is np else open_units.shape[-1]
  if not count:
    return bounds
  order = rounding.first(open_units, count)
  chosen = xp.take_along_axis(symbols, order[..., None], -2)
  above, below = on_cuts(xp, chosen[..., :n], cuts, sweeps)

  def pick(values):
    return _pick(xp, values, order)

  rest = up(xp.abs(chosen[..., n:]).sum(-1), symbols.shape[-1]) + pick(error)
  low = xp.maximum(pick(bounds.lower), pick(centre) - below - rest)
  high = xp.minimum(pick(bounds.upper), pick(centre) + above + rest)
  if xp is np:
    lower, upper = bounds.lower.copy(), bounds.upper.copy()
    np.put_along_axis(lower, order, low, -1)
    np.put_along_axis(upper, order, high, -1)
    return Bounds(lower, upper)

  def put(values, new):
    return xp.put_along_axis(values, order, new, -1, inplace=False)

  return Bounds(put(bounds.lower, low), put(bounds.upper, high))


def on_cuts(xp, forms, cuts: Cuts, sweeps: int):
  """max and −min of a t over {|t| ≤ 1: rows t + offsets ≥ 0}, from above, (..., q) each.

  Weak duality: for λ ≥ 0, max a t ≤ λ e + Σ_j |a_j + λ h_j|. Each λ_i in turn is set to its
  minimiser with the others fixed, the weighted median of the kinks; whatever comes out is a
  valid bound.

  Args:
    xp: numpy or jax.numpy.
    forms: a, (..., q, n).
    cuts: e and h in the same coordinates.
    sweeps: over all multipliers.
  """
  a = xp.concatenate([forms, -forms], -2)
  start, constant = a, xp.zeros(a.shape[:-1])
  slack, sizes = xp.zeros(a.shape[:-1]), xp.abs(a).sum(-1)
  count = cuts.rows.shape[-2]
  weights = [constant] * count
  safe = [xp.where(h == 0, 1.0, h) for h in xp.moveaxis(cuts.rows, -2, 0)[..., None, :]]
  mass = [
    xp.broadcast_to(xp.abs(h), a.shape) for h in xp.moveaxis(cuts.rows, -2, 0)[..., None, :]
  ]
  for _ in range(sweeps):
    for i in range(count):
      h, e = cuts.rows[..., i, None, :], cuts.offsets[..., i, None] + cuts.errors[..., i, None]
      others = a - weights[i][..., None] * h
      kinks = -others / safe[i]
      order = xp.argsort(kinks, -1)
      passed = xp.cumsum(_pick(xp, mass[i], order), -1)
      # The slope of the bound in λ_i rises by 2 |h_j| at each kink.
      first = xp.argmax(2 * passed >= passed[..., -1:] - e[..., None], -1)
      at = xp.take_along_axis(order, first[..., None], -1)
      best = xp.take_along_axis(kinks, at, -1)[..., 0]
      # A cut that holds everywhere needs no weight; one that holds nowhere has no best one.
      weights[i] = xp.where(xp.abs(e) >= passed[..., -1], 0.0, xp.maximum(best, 0.0))
      a = others + weights[i][..., None] * h
  a = start
  for i in range(count):
    h, e, error = (
      cuts.rows[..., i, None, :],
      cuts.offsets[..., i, None],
      cuts.errors[..., i, None],
    )
    a = a + weights[i][..., None] * h
    constant = constant + weights[i] * e
    slack = slack + weights[i] * error
    sizes = sizes + weights[i] * (xp.abs(e) + xp.abs(h).sum(-1))
  value = constant + xp.abs(a).sum(-1) + slack + gamma(2 * count + a.shape[-1] + 8) * sizes
  half = a.shape[-2] // 2
  return value[..., :half], value[..., half:]


def _pick(xp, values, order):
  return xp.take_along_axis(values, order, -1)


def _relax(xp, bounds, slopes, sign, relaxation):
  """φ(z) ∈ λ z + κ ± ρ for z in [l, u]: λ, κ, ρ and a rounding error, (..., n_l)."""
  low, high = bounds
  alpha, beta = slopes
  # 2 marks a unit that nothing depends on; its kink is as open as that of 0.
  positive = (sign == 1) | (low >= 0)
  negative = (sign == -1) | (high <= 0)
  width = high - low
  chord = (beta * high - alpha * low) / xp.where(width > 0, width, 1.0)
  chord = xp.clip(chord, xp.minimum(alpha, beta), xp.maximum(alpha, beta))
  chord = chord if relaxation == "parallel" else 0.0 * chord
  slope = xp.where(positive, beta, xp.where(negative, alpha, chord))
  closed = positive | negative
  # What is left of the unit is piecewise linear: its extremes are at l, 0 and u.
  ends = [0.0 * low, (alpha - slope) * low, (beta - slope) * high]
  least, most = (
    xp.minimum(ends[0], xp.minimum(ends[1], ends[2])),
    xp.maximum(ends[0], xp.maximum(ends[1], ends[2])),
  )
  shift = xp.where(closed, 0.0, 0.5 * (least + most))
  extent = xp.where(closed, 0.0, 0.5 * (most - least))
  extra = xp.where(closed, 0.0, 16 * UNIT * (xp.abs(least) + xp.abs(most)))
  return slope, shift, extent, extra


def clip(bounds: Bounds, sign, slopes) -> Bounds:
  """Bounds cut at 0 for units whose sign is known; upper < lower where that is impossible.

  The sign of a unit without a kink says nothing of z.
  """
  xp = namespace(bounds.lower, sign)
  kink = slopes[0] != slopes[1]
  return Bounds(
    xp.where(kink & (sign == 1), xp.maximum(bounds.lower, 0), bounds.lower),
    xp.where(kink & (sign == -1), xp.minimum(bounds.upper, 0), bounds.upper),
  )


def intersect(first: Sequence[Bounds], second: Sequence[Bounds]) -> list[Bounds]:
  """The tighter of two lists of bounds, unit by unit."""
  pairs = zip(first, second, strict=True)
  xp = namespace(first[0].lower) if first else np
  return [Bounds(xp.maximum(a.lower, b.lower), xp.minimum(a.upper, b.upper)) for a, b in pairs]


def decide(network: Network, bounds: Sequence[Bounds], signs):
  """Signs that bounds add to what is known, and whether the signs are possible at all.

  Returns:
    (signs (..., N), possible (...,)): a unit is 1 where l ≥ 0 and −1 where u ≤ 0. A
    sub-problem is impossible where a unit that is 1 has u < 0, or one that is −1 has l > 0.
  """
  xp = namespace(signs)
  new, possible = [], xp.ones(signs.shape[:-1], bool)
  for bound, sign, slopes in zip(bounds, split(network, signs), network.slopes, strict=True):
    kink = slopes[0] != slopes[1]
    possible = possible & ~xp.any(kink & (bound.lower > bound.upper), -1)
    found = xp.where(bound.upper <= 0, -1, xp.where(bound.lower >= 0, 1, 0)).astype(sign.dtype)
    new.append(xp.where(sign == 0, found, sign))
  if not new:
    return signs, possible
  return xp.concatenate(new, -1), possible


def _layers(network, signs):
  hidden = split(network, signs)
  return zip(network.weights[:-1], network.biases[:-1], network.slopes, hidden, strict=True)


def _midpoint(xp, lower, upper):
  """Centre and radius with [lower, upper] inside."""
  centre = 0.5 * lower + 0.5 * upper
  radius = xp.maximum(upper - centre, centre - lower)
  return centre, radius * (1 + 4 * UNIT)


def _image(weight, bias, centre, radius):
  """W (c ± r) + b with an error that includes rounding."""
  xp = namespace(centre)
  margin = gamma(weight.shape[1])
  error = (radius + margin * xp.abs(centre)) @ xp.abs(weight).T + margin * xp.abs(bias)
  return centre @ weight.T + bias, up(error, weight.shape[1])

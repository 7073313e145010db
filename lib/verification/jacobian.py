"""Interval bounds on the Jacobian J = W_L Λ_{L-1} … Λ_1 W_1 of a sub-problem.

A sub-problem is what is known of each hidden unit, its sign: 1 (z > 0), −1 (z < 0), 0 (not
known) or 2 (not known, and of no consequence). Λ has the unit's slope where the sign is known
and the interval between both slopes where it is not. All bounds hold for every choice of
slopes in those intervals, are outward rounded and batched over leading axes.
"""

from typing import NamedTuple

import numpy as np

from lib.verification import rounding
from lib.verification.networks import Network
from lib.verification.propagation import split
from lib.verification.rounding import UNIT, gamma, namespace, up


class Ball(NamedTuple):
  """Matrices between centre − radius and centre + radius, entry by entry."""

  centre: np.ndarray
  radius: np.ndarray

  @property
  def size(self):
    """Largest absolute value of each entry, (..., rows, columns)."""
    return up(namespace(self.centre).abs(self.centre) + self.radius)


def slope_intervals(network: Network, signs):
  """[(low, high)] of each layer's slopes, (..., n_l) each (the interval matrices [Λ_l])."""
  xp = namespace(signs)
  found = []
  for slopes, sign in zip(network.slopes, split(network, signs), strict=True):
    least, most = np.minimum(*slopes), np.maximum(*slopes)
    low = xp.where(sign == 1, slopes[1], xp.where(sign == -1, slopes[0], least))
    high = xp.where(sign == 1, slopes[1], xp.where(sign == -1, slopes[0], most))
    found.append((low, high))
  return found


def forward(network: Network, signs, offsets: bool = True) -> list[Ball]:
  """∂z_l/∂x for each layer l = 1 … L, from the input on, (..., n_l, n).

  With `offsets` a last column holds the constant of the affine form z_l = A x + c, which is
  meaningful for layers before which every unit is decided (LinProp, sec. 4.3).
  """
  xp = namespace(signs)
  first = network.weights[0]
  if offsets:
    first = np.concatenate([first, network.biases[0][:, None]], 1)
  batch = signs.shape[:-1]
  centre = xp.broadcast_to(first, (*batch, *first.shape))
  found = [Ball(centre, xp.zeros_like(centre))]
  slopes = slope_intervals(network, signs)
  for weight, bias, (low, high) in zip(
    network.weights[1:], network.biases[1:], slopes, strict=True
  ):
    ball = rounding.times(low[..., None], high[..., None], *found[-1])
    centre, radius = rounding.affine(weight, *ball)
    if offsets:
      column = centre[..., -1:] + bias[:, None]
      radius_column = radius[..., -1:] + 2 * UNIT * xp.abs(column)
      centre = xp.concatenate([centre[..., :-1], column], -1)
      radius = xp.concatenate([radius[..., :-1], radius_column], -1)
    found.append(Ball(centre, radius))
  return found


def backward(network: Network, signs) -> list[Ball]:
  """∂f/∂x_l for hidden layers l = 1 … L−1, then ∂f/∂x, from the output on, (..., m, n_l)."""
  xp = namespace(signs)
  last = network.weights[-1]
  centre = xp.broadcast_to(last, (*signs.shape[:-1], *last.shape))
  found = [Ball(centre, xp.zeros_like(centre))]
  slopes = slope_intervals(network, signs)
  for weight, (low, high) in zip(network.weights[-2::-1], slopes[::-1], strict=True):
    centre, radius = rounding.times(low[..., None, :], high[..., None, :], *found[-1])
    margin = gamma(weight.shape[0])
    # As one product of matrices: BLAS is several times slower on a stack of small ones.
    shape = (*centre.shape[:-1], weight.shape[1])
    radius = (radius + margin * xp.abs(centre)).reshape(-1, weight.shape[0]) @ xp.abs(weight)
    radius = up(radius, weight.shape[0]).reshape(shape)
    found.append(Ball((centre.reshape(-1, weight.shape[0]) @ weight).reshape(shape), radius))
  return [*found[-2::-1], found[-1]]


def whole(network: Network, signs) -> Ball:
  """∂f/∂x alone, (..., m, n), from whichever end has fewer rows or columns."""
  if network.outputs < network.inputs:
    return backward(network, signs)[-1]
  return forward(network, signs, offsets=False)[-1]


def intersect(first: Ball, second: Ball) -> Ball:
  """A ball around the intersection of two that hold the same matrix."""
  xp = namespace(first.centre)
  low = xp.maximum(first.centre - first.radius, second.centre - second.radius)
  high = xp.minimum(first.centre + first.radius, second.centre + second.radius)
  size = xp.maximum(first.size, second.size)
  return Ball(0.5 * (low + high), xp.maximum(0.5 * (high - low), 0.0) + 8 * UNIT * size)


def relaxed(network: Network, signs, forms: list[Ball]) -> Ball:
  """Bounds on J by backward linear relaxation of the products λ y, (..., m, n).

  Column j of J comes from v_l = Λ_l y_l, y_{l+1} = W_{l+1} v_l, y_1 = W_1 e_j. For λ in
  [α, β] and y in [l, u] (from `forms`) the product lies between two lines in y, the chords of
  its hull. Substituting them from the output back to y_1, which is a number, bounds J_ij; for
  networks with one open layer the result is that of interval arithmetic, behind more it is
  tighter because the sign of an entry's coefficient is kept along the way (the idea of
  backward bound propagation, Shi et al. 2022, *Efficiently Computing Local Lipschitz
  Constants of Neural Networks via Bound Propagation*).

  Args:
    network: the network.
    signs: (..., N).
    forms: what `forward` found for them.
  """
  xp = namespace(signs)
  slopes = slope_intervals(network, signs)
  n = network.inputs
  batch = signs.shape[:-1]
  m = network.outputs
  last = xp.broadcast_to(network.weights[-1], (*batch, n, m, network.weights[-1].shape[1]))
  ends = []
  for side in (1.0, -1.0):  # of J and of −J
    a = side * last
    constant, error = xp.zeros((*batch, n, m)), xp.zeros((*batch, n, m))
    for layer in range(len(network.slopes) - 1, -1, -1):
      ball = Ball(forms[layer].centre[..., :n], forms[layer].radius[..., :n])
      above, below = _chords(xp, *slopes[layer], ball)
      up_slope, up_shift, down_slope, down_shift = (
        xp.swapaxes(v, -1, -2)[..., None, :] for v in (*above, *below)
      )
      positive, negative = xp.maximum(a, 0), xp.minimum(a, 0)
      width = a.shape[-1]
      terms = positive * up_shift + negative * down_shift
      sizes = positive * xp.abs(up_shift) - negative * xp.abs(down_shift)
      constant = constant + terms.sum(-1)
      error = error + gamma(width + 4) * (sizes.sum(-1) + xp.abs(constant))
      a = positive * up_slope + negative * down_slope
      reach = xp.swapaxes(ball.size, -1, -2)[..., None, :]
      error = error + 8 * UNIT * (xp.abs(a) * reach).sum(-1)
      if layer:
        weight = network.weights[layer]
        low, high = slopes[layer - 1]
        before = Ball(forms[layer - 1].centre[..., :n], forms[layer - 1].radius[..., :n])
        size = before.size * xp.maximum(xp.abs(low), xp.abs(high))[..., None]
        size = xp.swapaxes(size, -1, -2)[..., None, :]
        error = error + gamma(width) * ((xp.abs(a) @ xp.abs(weight)) * size).sum(-1)
        a = a @ weight
      else:
        start = xp.swapaxes(xp.asarray(network.weights[0]), 0, 1)[..., None, :]
        products = a * start
        value = constant + products.sum(-1)
        total = error + gamma(width + 4) * (xp.abs(products).sum(-1) + xp.abs(constant))
        ends.append(value + up(total, 64 * len(network.slopes)))
  if not ends:
    centre = xp.broadcast_to(network.weights[0], (*batch, m, n))
    return Ball(centre, xp.zeros_like(centre))
  high, low = xp.swapaxes(ends[0], -1, -2), -xp.swapaxes(ends[1], -1, -2)
  size = xp.maximum(xp.abs(high), xp.abs(low))
  return Ball(0.5 * (low + high), xp.maximum(0.5 * (high - low), 0.0) + 8 * UNIT * size)


def _chords(xp, low, high, ball):
  """Lines above and below λ y: ((slope, shift), (slope, shift)), each (..., n_l, n)."""
  low, high = low[..., None], high[..., None]
  left, right = ball.centre - ball.radius, ball.centre + ball.radius
  pad = 4 * UNIT * (xp.abs(left) + xp.abs(right))
  left, right = left - pad, right + pad
  width = xp.where(right > left, right - left, 1.0)
  crossing = (left < 0) & (right > 0)
  above = xp.where(
    crossing, (high * right - low * left) / width, xp.where(left >= 0, high, low)
  )
  below = xp.where(
    crossing, (low * right - high * left) / width, xp.where(left >= 0, low, high)
  )
  size = xp.maximum(xp.abs(low), xp.abs(high)) * xp.maximum(xp.abs(left), xp.abs(right))
  slack = xp.where(crossing, 16 * UNIT * size, 0.0)
  # Any slope will do if the shift makes the line right at both ends; at 0 it then is too.
  over = xp.maximum(low * left - above * left, high * right - above * right)
  under = xp.minimum(high * left - below * left, low * right - below * right)
  zero = xp.zeros_like(over)
  return (
    (above, xp.where(crossing, over + slack, zero)),
    (below, xp.where(crossing, under - slack, zero)),
  )

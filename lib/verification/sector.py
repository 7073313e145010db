"""Upper bounds on ‖J‖_p over all slopes of the open units, by quadratic multipliers.

With every open slope written as centre + half-width · δ, |δ| ≤ 1, the Jacobian is a linear
fractional map: for an input direction x there are w with |w_k| ≤ |y_k| for each open unit and

  y = B x + A w,   J x = D x + C w.

p = 2. If |Dx + Cw|² + Σ_k τ_k (y_k² − w_k²) ≤ γ² |x|² for all x, w and some τ ≥ 0, then
‖J‖_2 ≤ γ (S-procedure). It is what LipSDP optimises (Fazlyab et al. 2019), here for the units
that are open in a sub-problem.

p = ∞. For a row (d, c) of (D, C), if τ, μ ≥ 0 make dx + cw + Σ_k τ_k (y_k² − w_k²)
+ Σ_j μ_j (1 − x_j²) ≤ v for all x, w, then |Jx| ≤ v in that row for all |x_j| ≤ 1. p = 1 is
the same for the transposed map.

Instead of a semidefinite program, a sub-problem takes the multipliers that are optimal when
all interactions add up, from bounds of them: with reach_k ≥ ‖∂y_k/∂x‖ and effect_k ≥
‖∂f/∂w_k‖,

  τ_k = γ_0 effect_k / reach_k  (p = 2),   τ_k = effect_k / 2 reach_k, μ_j = U_j / 2  (p = ∞),

for which the result is not above the interval bound of the same quantities. A few
multiplicative steps towards w_k² = y_k² and x_j² = 1 improve them. Nothing rests on these
choices: definiteness is verified by a Cholesky decomposition with a shift that covers all
rounding (Rump 2006, *Verification of Positive Definiteness*).
"""

from typing import NamedTuple

import numpy as np

from lib.verification import jacobian, rounding
from lib.verification.networks import Network
from lib.verification.rounding import UNIT, gamma, namespace, up

STEPS = 4  # multipliers that are tried
POWER = 0.25  # of the multiplicative step
SLACK = 1e-9  # relative, by which a bound is enlarged so that its verification succeeds


class Fraction(NamedTuple):
  """J x = D x + C w, y = B x + A w, |w_k| ≤ |y_k|; k is the largest number of open units.

  Attributes:
    a, b, c, d: (..., k, k), (..., k, n), (..., m, k), (..., m, n); rows and columns of zeros
      where a sub-problem has fewer open units.
    errors: the same four, by how much each entry may be off.
    reach: (..., k, n), |∂y_k/∂x_j| at most.
    effect: (..., m, k), |∂f_i/∂w_k| at most.
    used: (..., k) whether there is such a unit.
  """

  a: np.ndarray
  b: np.ndarray
  c: np.ndarray
  d: np.ndarray
  errors: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
  reach: np.ndarray
  effect: np.ndarray
  used: np.ndarray


def fraction(network: Network, signs, forms, effects, columns: int) -> Fraction:
  """The linear fractional form of the sub-problems' Jacobians.

  Args:
    network: the network.
    signs: (b, N).
    forms, effects: what `jacobian.forward` and `backward` found for them.
    columns: how many of the inputs count.
  """
  xp = namespace(signs)
  n, units = columns, signs.shape[-1]
  first = network.weights[0][:, :n]
  ball = jacobian.Ball(
    *(xp.broadcast_to(v, (len(signs), *first.shape)) for v in (first, 0 * first))
  )
  rows, errors, widths = [], [], []
  slopes = jacobian.slope_intervals(network, signs)
  for weight, (low, high) in zip(network.weights[1:], slopes, strict=True):
    rows.append(_pad(ball.centre, n + units))
    errors.append(_pad(ball.radius, n + units))
    middle = 0.5 * (low + high)
    half = 0.5 * (high - low)
    half = xp.where(high > low, half + 8 * UNIT * (half + xp.abs(middle)), 0.0)
    widths.append(half)
    kept = middle[..., None] * ball.centre
    radius = xp.abs(middle)[..., None] * ball.radius + 4 * UNIT * xp.abs(kept)
    fresh = half[..., None] * xp.eye(half.shape[-1])
    centre = xp.concatenate([kept, fresh], -1)
    radius = xp.concatenate([radius, 0 * fresh], -1)
    radius = xp.abs(weight) @ (radius + gamma(weight.shape[1]) * xp.abs(centre))
    ball = jacobian.Ball(weight @ centre, up(radius, weight.shape[1]))
  wide = xp.concatenate(widths, -1)
  # Compiled code has to know the number beforehand: there it is that of all units.
  count = int((wide > 0).sum(-1).max(initial=0)) if xp is np else units
  order = rounding.first(wide > 0, count)
  used = xp.take_along_axis(wide > 0, order, -1)
  down, across = (order[..., None], used[..., None]), (order[:, None], used[:, None])

  def choose(values, axis):
    index, keep = down if axis == 1 else across
    return xp.where(keep, xp.take_along_axis(values, index, axis), 0.0)

  inner = [choose(xp.concatenate(v, 1), 1) for v in (rows, errors)]
  (b, a), (db, da) = ((v[..., :n], choose(v[..., n:], 2)) for v in inner)
  (d, c), (dd, dc) = ((v[..., :n], choose(v[..., n:], 2)) for v in ball)
  reach = choose(xp.concatenate([f.size[..., :n] for f in forms[:-1]], 1), 1)
  effect = xp.concatenate([e.size for e in effects[:-1]], -1) * wide[:, None]
  effect = up(choose(effect, 2))
  return Fraction(a, b, c, d, (da, db, dc, dd), reach, effect, used)


def _t(values):
  return values.swapaxes(-1, -2)


def _pad(values, width):
  return namespace(values).pad(values, ((0, 0), (0, 0), (0, width - values.shape[-1])))


def transpose(form: Fraction) -> Fraction:
  """The linear fractional form of J'."""
  da, db, dc, dd = form.errors
  return Fraction(
    _t(form.a),
    _t(form.c),
    _t(form.b),
    _t(form.d),
    (_t(da), _t(dc), _t(db), _t(dd)),
    _t(form.effect),
    _t(form.reach),
    form.used,
  )


def bound(form: Fraction, p: float, start: np.ndarray, steps: int = STEPS) -> np.ndarray:
  """‖J‖_p from above for p = 1, 2 or ∞, (b,); ∞ where the verification fails.

  Args:
    form: see `fraction`.
    p: of the norm.
    start: (b,) bounds that are already known, γ_0.
    steps: multipliers that are tried; the best is kept.
  """
  if not form.used.shape[-1]:
    return np.full(len(form.d), np.inf)
  if p == 2:  # of J or J', whichever has fewer inputs
    wide = form.d.shape[-1] > form.d.shape[-2]
    return _spectral(transpose(form) if wide else form, start, steps)
  return _rows(transpose(form) if p == 1 else form, steps)


def _ratio(top, bottom):
  """Squared ratios, kept away from 0 and ∞."""
  xp = namespace(top, bottom)
  top, bottom = top * top, bottom * bottom
  small = 1e-6 * (top.mean(-1, keepdims=True) + bottom.mean(-1, keepdims=True)) + 1e-290
  return xp.clip((top + small) / (bottom + small), 0.1, 10.0)


def _floored(values):
  """Positive values: none below 1e-9 of the largest."""
  xp = namespace(values)
  return xp.maximum(values, 1e-9 * values.max(-1, keepdims=True) + 1e-250)


def _solve(matrix, right):
  """matrix⁻¹ right where that exists, NaN or ∞ elsewhere."""
  xp = namespace(matrix)
  if xp is not np:
    return xp.linalg.solve(matrix, right)
  try:
    return np.linalg.solve(matrix, right)
  except np.linalg.LinAlgError:
    return np.full_like(right, np.nan)


def _diagonal(values):
  """Matrices with values (..., s) on the diagonal."""
  return values[..., None] * namespace(values).eye(values.shape[-1])


# --- p = 2 -----------------------------------------------------------------------------------


def _spectral(form, start, steps):
  xp = namespace(form.d)
  reach = _floored(xp.sqrt((form.reach**2).sum(-1)))
  effect = _floored(xp.sqrt((form.effect**2).sum(-2)))
  tau = xp.where(form.used, effect / reach * start[:, None], 1.0)
  best = xp.full(len(start), xp.inf)
  for step in range(steps):
    squared, w, y = _largest(form, tau)
    found = _verified(form, tau, squared)
    best = xp.minimum(best, found)
    if step + 1 < steps:
      factor = xp.where(xp.isfinite(found)[:, None], _ratio(w, y) ** POWER, 1.5)
      tau = xp.where(form.used, tau * xp.nan_to_num(factor, nan=1.5), 1.0)
  return best


def _largest(form, tau):
  """The smallest γ² for given multipliers, and the maximising w and y."""
  xp = namespace(form.d)
  a, b, c, d = form[:4]
  at, bt, dt = (_t(v) for v in (a, b, d))
  f = _diagonal(tau) - at @ (tau[..., None] * a) - _t(c) @ c
  tb = tau[..., None] * b
  e = _t(tb) @ a + dt @ c
  inverse = _solve(f, _t(e))
  q = bt @ tb + dt @ d + e @ inverse
  bad = ~xp.all(xp.isfinite(q), (-1, -2))
  q = xp.where(bad[:, None, None], 0.0, q)
  values, vectors = xp.linalg.eigh(0.5 * (q + _t(q)))
  x = vectors[..., -1:]
  w = inverse @ x
  y = b @ x + a @ w
  squared = xp.where(bad | ~(values[..., -1] > 0), xp.inf, values[..., -1])
  return squared, w[..., 0], y[..., 0]


def _verified(form, tau, squared):
  """γ enlarged by all that rounding may have done; ∞ where that cannot be shown."""
  xp = namespace(form.d)
  batch, count, n = form.b.shape
  a, b, c, d = form[:4]
  da, db, dc, dd = form.errors
  fine = xp.isfinite(squared)
  level = xp.where(fine, squared, 1.0) * (1 + SLACK)
  # z'Sz = γ²|x|² − |Dx + Cw|² − Σ τ_k (y_k² − w_k²), z = (x, w); S is to be positive definite.
  outputs, inner = xp.concatenate([d, c], -1), xp.concatenate([b, a], -1)
  matrix, sizes = _gram(outputs, inner, tau)
  diagonal = xp.concatenate([xp.broadcast_to(level[:, None], (batch, n)), tau], -1)
  fine = fine & definite(diagonal, matrix, sizes, count + d.shape[-2])
  # What the entries' own errors add: |w| ≤ ω|x|, so |z| ≤ Ω|x|.
  reach = up(xp.sqrt((form.reach**2).sum(-1)), 32 + n)
  omega = up(xp.sqrt(1 + (reach**2).sum(-1)), count + 8)
  row = up(xp.sqrt((db**2).sum(-1) + (da**2).sum(-1)) * omega[:, None], count + n + 8)
  lost = up((tau * (2 * reach * row + row * row) * form.used).sum(-1), count + 8)
  output = up(xp.sqrt((dd**2).sum((-1, -2)) + (dc**2).sum((-1, -2))) * omega, n + count + 8)
  return xp.where(fine, up(xp.sqrt(up(level + lost, 2)) + output, 4), xp.inf)


def _gram(outputs, inner, tau):
  """outputs' outputs + inner' T inner, and the same of absolute values."""
  xp = namespace(inner)
  matrix = _t(inner) @ (tau[..., None] * inner)
  sizes = _t(xp.abs(inner)) @ (tau[..., None] * xp.abs(inner))
  if outputs is not None:
    matrix = matrix + _t(outputs) @ outputs
    sizes = sizes + _t(xp.abs(outputs)) @ xp.abs(outputs)
  return matrix, sizes


def definite(diagonal, matrix, sizes, terms: int) -> np.ndarray:
  """Whether diag(diagonal) − matrix is positive definite, (...,); True only if it surely is.

  Args:
    diagonal: (..., s).
    matrix: (..., s, s) symmetric, each entry a sum of `terms` rounded products.
    sizes: (..., s, s) sums of the absolute values of the same products.
    terms: how many there are.
  """
  xp = namespace(diagonal, matrix)
  size = diagonal.shape[-1]
  matrix, sizes = _diagonal(diagonal) - matrix, _diagonal(xp.abs(diagonal)) + sizes
  lead = xp.diagonal(matrix, axis1=-2, axis2=-1)
  fine = xp.all(lead > 0, -1) & xp.all(xp.isfinite(matrix), (-1, -2))
  lead = xp.where(fine[..., None], lead, 1.0)
  scale = 2.0 ** xp.round(-0.5 * xp.log2(xp.clip(lead, 1e-200, 1e200)))
  matrix = scale[..., None] * matrix * scale[..., None, :]
  error = scale[..., None] * (gamma(terms + 8) * sizes) * scale[..., None, :]
  # Rump: if Cholesky succeeds after subtracting 2 γ_{s+1} trace, the matrix is definite.
  trace = 4.0 * size
  shift = up(error.sum(-1).max(-1), size) + gamma(2 * size + 8) * trace
  fine = fine & xp.isfinite(shift)
  shift = xp.where(fine, shift, 0.0)
  matrix = matrix - shift[..., None, None] * xp.eye(size)
  if xp is not np:
    return fine & xp.all(xp.isfinite(xp.linalg.cholesky(matrix)), (-1, -2))
  return _cholesky_succeeds(matrix.reshape(-1, size, size), fine.ravel()).reshape(fine.shape)


def _cholesky_succeeds(stack, wanted):
  """Whether each matrix of a stack has a Cholesky decomposition, False where not wanted."""
  found, index = np.zeros(len(stack), bool), np.flatnonzero(wanted)
  try:
    np.linalg.cholesky(stack[index])
    found[index] = True
  except np.linalg.LinAlgError:
    for i in index:
      try:
        np.linalg.cholesky(stack[i])
        found[i] = True
      except np.linalg.LinAlgError:
        continue
  return found


# --- p = ∞ -----------------------------------------------------------------------------------


def _rows(form, steps):
  """max over outputs of max {|J_i x| : |x_j| ≤ 1} from above, (b,)."""
  xp = namespace(form.d)
  a, b = form.a[:, None], form.b[:, None]
  c, d = form.c, form.d
  reach = _floored(up(form.reach.sum(-1), form.reach.shape[-1]))[:, None]
  tau = xp.where(form.used[:, None], _floored(form.effect) / (2 * reach), 1.0)
  coherent = xp.abs(d) + form.effect @ form.reach
  mu = 0.5 * _floored(coherent)
  best = xp.full(d.shape[:-1], xp.inf)
  g = xp.concatenate([d, c], -1)
  for step in range(steps):
    p, sizes = _quadratic(form, tau)
    full = _diagonal(xp.concatenate([mu, tau], -1)) - p
    z = 0.5 * _solve(full, g[..., None])[..., 0]
    value = mu.sum(-1) + 0.5 * (g * z).sum(-1)
    found = _verified_rows(form, tau, mu, value, p, sizes)
    best = xp.minimum(best, found)
    if step + 1 < steps:
      n = d.shape[-1]
      x, w = z[..., :n], z[..., n:]
      y = (b @ x[..., None] + a @ w[..., None])[..., 0]
      fine = xp.isfinite(found)[..., None]
      with np.errstate(invalid="ignore"):
        factor = xp.where(fine, _ratio(w, y) ** POWER, 1.5)
        stretch = xp.where(fine, xp.clip(x * x, 0.1, 10.0) ** POWER, 1.5)
      tau = xp.where(form.used[:, None], tau * xp.nan_to_num(factor, nan=1.5), 1.0)
      mu = mu * xp.nan_to_num(stretch, nan=1.5)
  return best.max(-1)


def _quadratic(form, tau):
  """(B A)' T (B A) for each row's multipliers, and the same of absolute values."""
  inner = namespace(tau).concatenate([form.b, form.a], -1)[:, None]
  return _gram(None, inner, tau)


def _verified_rows(form, tau, mu, value, p, sizes):
  """v enlarged by all that rounding may have done, (b, m); ∞ where that cannot be shown."""
  xp = namespace(form.d)
  n = form.d.shape[-1]
  da, db, dc, dd = form.errors
  fine = xp.isfinite(value) & (value > 0)
  level = xp.where(fine, value, 1.0) * (1 + SLACK)
  # [v − Σμ, −g'/2; −g/2, diag(μ, τ) − (B A)'T(B A)] positive definite bounds the row by v.
  g = xp.concatenate([form.d, form.c], -1)
  size = g.shape[-1] + 1
  total = up(mu.sum(-1), n)[..., None, None]
  half = 0.5 * g[..., None, :]

  def bordered(corner, border, block):
    top = xp.concatenate([corner, border], -1)
    return xp.concatenate([top, xp.concatenate([_t(border), block], -1)], -2)

  matrix, spread = bordered(total, half, p), bordered(total, 0 * half, sizes)
  diagonal = xp.concatenate([level[..., None], mu, tau], -1)
  fine = fine & definite(diagonal, matrix, spread, tau.shape[-1] + n)
  reach = up(form.reach.sum(-1), form.reach.shape[-1])  # |y_k|, and so |w_k|
  row = up(db.sum(-1) + (da @ reach[..., None])[..., 0], size)
  lost = up(
    ((tau * (2 * reach * row + row * row)[:, None]) * form.used[:, None]).sum(-1), size
  )
  output = up(dd.sum(-1) + (dc @ reach[..., None])[..., 0], size)
  return xp.where(fine, up(level + lost + output, 4), xp.inf)

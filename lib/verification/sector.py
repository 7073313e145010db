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

from lib.verification import jacobian
from lib.verification.networks import Network
from lib.verification.rounding import UNIT, gamma, up

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
  n, units = columns, signs.shape[-1]
  first = network.weights[0][:, :n]
  ball = jacobian.Ball(
    *(np.broadcast_to(v, (len(signs), *first.shape)) for v in (first, 0 * first))
  )
  rows, errors, widths = [], [], []
  slopes = jacobian.slope_intervals(network, signs)
  for weight, (low, high) in zip(network.weights[1:], slopes, strict=True):
    rows.append(_pad(ball.centre, n + units))
    errors.append(_pad(ball.radius, n + units))
    middle = 0.5 * (low + high)
    half = 0.5 * (high - low)
    half = np.where(high > low, half + 8 * UNIT * (half + np.abs(middle)), 0.0)
    widths.append(half)
    kept = middle[..., None] * ball.centre
    radius = np.abs(middle)[..., None] * ball.radius + 4 * UNIT * np.abs(kept)
    fresh = half[..., None] * np.eye(half.shape[-1])
    centre = np.concatenate([kept, fresh], -1)
    radius = np.concatenate([radius, 0 * fresh], -1)
    radius = np.abs(weight) @ (radius + gamma(weight.shape[1]) * np.abs(centre))
    ball = jacobian.Ball(weight @ centre, up(radius, weight.shape[1]))
  wide = np.concatenate(widths, -1)
  count = int((wide > 0).sum(-1).max(initial=0))
  order = np.argsort(~(wide > 0), axis=-1, kind="stable")[:, :count]
  used = np.take_along_axis(wide > 0, order, -1)
  down, across = (order[..., None], used[..., None]), (order[:, None], used[:, None])

  def choose(values, axis):
    index, keep = down if axis == 1 else across
    return np.where(keep, np.take_along_axis(values, index, axis), 0.0)

  inner = [choose(np.concatenate(v, 1), 1) for v in (rows, errors)]
  (b, a), (db, da) = ((v[..., :n], choose(v[..., n:], 2)) for v in inner)
  (d, c), (dd, dc) = ((v[..., :n], choose(v[..., n:], 2)) for v in ball)
  reach = choose(np.concatenate([f.size[..., :n] for f in forms[:-1]], 1), 1)
  effect = np.concatenate([e.size for e in effects[:-1]], -1) * wide[:, None]
  effect = up(choose(effect, 2))
  return Fraction(a, b, c, d, (da, db, dc, dd), reach, effect, used)


def _t(values):
  return np.swapaxes(values, -1, -2)


def _pad(values, width):
  return np.pad(values, ((0, 0), (0, 0), (0, width - values.shape[-1])))


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
  top, bottom = top * top, bottom * bottom
  small = 1e-6 * (top.mean(-1, keepdims=True) + bottom.mean(-1, keepdims=True)) + 1e-290
  return np.clip((top + small) / (bottom + small), 0.1, 10.0)


def _floored(values):
  """Positive values: none below 1e-9 of the largest."""
  return np.maximum(values, 1e-9 * values.max(-1, keepdims=True) + 1e-250)


def _solve(matrix, right):
  """matrix⁻¹ right where that exists, NaN elsewhere."""
  try:
    return np.linalg.solve(matrix, right)
  except np.linalg.LinAlgError:
    return np.full_like(right, np.nan)


# --- p = 2 -----------------------------------------------------------------------------------


def _spectral(form, start, steps):
  reach = _floored(np.sqrt((form.reach**2).sum(-1)))
  effect = _floored(np.sqrt((form.effect**2).sum(-2)))
  tau = np.where(form.used, effect / reach * start[:, None], 1.0)
  best = np.full(len(start), np.inf)
  for step in range(steps):
    squared, w, y = _largest(form, tau)
    found = _verified(form, tau, squared)
    best = np.minimum(best, found)
    if step + 1 < steps:
      factor = np.where(np.isfinite(found)[:, None], _ratio(w, y) ** POWER, 1.5)
      tau = np.where(form.used, tau * np.nan_to_num(factor, nan=1.5), 1.0)
  return best


def _largest(form, tau):
  """The smallest γ² for given multipliers, and the maximising w and y."""
  a, b, c, d = form[:4]
  at, bt, dt = (np.swapaxes(v, -1, -2) for v in (a, b, d))
  f = -(at @ (tau[..., None] * a)) - np.swapaxes(c, -1, -2) @ c
  f[:, range(f.shape[-1]), range(f.shape[-1])] += tau
  tb = tau[..., None] * b
  e = np.swapaxes(tb, -1, -2) @ a + dt @ c
  inverse = _solve(f, np.swapaxes(e, -1, -2))
  q = bt @ tb + dt @ d + e @ inverse
  bad = ~np.all(np.isfinite(q), (-1, -2))
  q = np.where(bad[:, None, None], 0.0, q)
  values, vectors = np.linalg.eigh(0.5 * (q + np.swapaxes(q, -1, -2)))
  x = vectors[..., -1:]
  w = inverse @ x
  y = b @ x + a @ w
  squared = np.where(bad | ~(values[..., -1] > 0), np.inf, values[..., -1])
  return squared, w[..., 0], y[..., 0]


def _verified(form, tau, squared):
  """γ enlarged by all that rounding may have done; ∞ where that cannot be shown."""
  batch, count, n = form.b.shape
  a, b, c, d = form[:4]
  da, db, dc, dd = form.errors
  fine = np.isfinite(squared)
  level = np.where(fine, squared, 1.0) * (1 + SLACK)
  # z'Sz = γ²|x|² − |Dx + Cw|² − Σ τ_k (y_k² − w_k²), z = (x, w); S is to be positive definite.
  outputs, inner = np.concatenate([d, c], -1), np.concatenate([b, a], -1)
  matrix, sizes = _gram(outputs, inner, tau)
  diagonal = np.concatenate([np.broadcast_to(level[:, None], (batch, n)), tau], -1)
  fine &= definite(diagonal, matrix, sizes, count + d.shape[-2])
  # What the entries' own errors add: |w| ≤ ω|x|, so |z| ≤ Ω|x|.
  reach = up(np.sqrt((form.reach**2).sum(-1)), 32 + n)
  omega = up(np.sqrt(1 + (reach**2).sum(-1)), count + 8)
  row = up(np.sqrt((db**2).sum(-1) + (da**2).sum(-1)) * omega[:, None], count + n + 8)
  lost = up((tau * (2 * reach * row + row * row) * form.used).sum(-1), count + 8)
  output = up(np.sqrt((dd**2).sum((-1, -2)) + (dc**2).sum((-1, -2))) * omega, n + count + 8)
  return np.where(fine, up(np.sqrt(up(level + lost, 2)) + output, 4), np.inf)


def _gram(outputs, inner, tau):
  """outputs' outputs + inner' T inner, and the same of absolute values."""
  matrix = _t(inner) @ (tau[..., None] * inner)
  sizes = _t(np.abs(inner)) @ (tau[..., None] * np.abs(inner))
  if outputs is not None:
    matrix = matrix + _t(outputs) @ outputs
    sizes = sizes + _t(np.abs(outputs)) @ np.abs(outputs)
  return matrix, sizes


def definite(diagonal, matrix, sizes, terms: int) -> np.ndarray:
  """Whether diag(diagonal) − matrix is positive definite, (...,); True only if it surely is.

  Args:
    diagonal: (..., s).
    matrix: (..., s, s) symmetric, each entry a sum of `terms` rounded products.
    sizes: (..., s, s) sums of the absolute values of the same products.
    terms: how many there are.
  """
  size = diagonal.shape[-1]
  index = range(size)
  matrix, sizes = -matrix, sizes.copy()
  matrix[..., index, index] += diagonal
  sizes[..., index, index] += np.abs(diagonal)
  lead = matrix[..., index, index]
  fine = np.all(lead > 0, -1) & np.all(np.isfinite(matrix), (-1, -2))
  lead = np.where(fine[..., None], lead, 1.0)
  scale = 2.0 ** np.round(-0.5 * np.log2(np.clip(lead, 1e-200, 1e200)))  # scaling is exact
  matrix = scale[..., None] * matrix * scale[..., None, :]
  error = scale[..., None] * (gamma(terms + 8) * sizes) * scale[..., None, :]
  # Rump: if Cholesky succeeds after subtracting 2 γ_{s+1} trace, the matrix is definite.
  trace = 4.0 * size
  shift = up(error.sum(-1).max(-1), size) + gamma(2 * size + 8) * trace
  matrix[..., index, index] -= shift[..., None]
  flat = np.flatnonzero(fine & np.isfinite(shift))
  found = np.zeros(fine.size, bool)
  stack = matrix.reshape(-1, size, size)
  if len(flat):
    try:
      np.linalg.cholesky(stack[flat])
      found[flat] = True
    except np.linalg.LinAlgError:
      for i in flat:
        try:
          np.linalg.cholesky(stack[i])
          found[i] = True
        except np.linalg.LinAlgError:
          continue
  return found.reshape(fine.shape)


# --- p = ∞ -----------------------------------------------------------------------------------


def _rows(form, steps):
  """max over outputs of max {|J_i x| : |x_j| ≤ 1} from above, (b,)."""
  a, b = form.a[:, None], form.b[:, None]
  c, d = form.c, form.d
  reach = _floored(up(form.reach.sum(-1), form.reach.shape[-1]))[:, None]
  tau = np.where(form.used[:, None], _floored(form.effect) / (2 * reach), 1.0)
  coherent = np.abs(d) + form.effect @ form.reach
  mu = 0.5 * _floored(coherent)
  best = np.full(d.shape[:-1], np.inf)
  g = np.concatenate([d, c], -1)
  for step in range(steps):
    p, sizes = _quadratic(form, tau)
    diagonal = np.concatenate([mu, tau], -1)
    full = -p
    size = full.shape[-1]
    full[..., range(size), range(size)] += diagonal
    z = 0.5 * _solve(full, g[..., None])[..., 0]
    value = mu.sum(-1) + 0.5 * (g * z).sum(-1)
    found = _verified_rows(form, tau, mu, value, p, sizes)
    best = np.minimum(best, found)
    if step + 1 < steps:
      n = d.shape[-1]
      x, w = z[..., :n], z[..., n:]
      y = (b @ x[..., None] + a @ w[..., None])[..., 0]
      fine = np.isfinite(found)[..., None]
      with np.errstate(invalid="ignore"):
        factor = np.where(fine, _ratio(w, y) ** POWER, 1.5)
        stretch = np.where(fine, np.clip(x * x, 0.1, 10.0) ** POWER, 1.5)
      tau = np.where(form.used[:, None], tau * np.nan_to_num(factor, nan=1.5), 1.0)
      mu = mu * np.nan_to_num(stretch, nan=1.5)
  return best.max(-1)


def _quadratic(form, tau):
  """(B A)' T (B A) for each row's multipliers, and the same of absolute values."""
  inner = np.concatenate([form.b, form.a], -1)[:, None]
  return _gram(None, inner, tau)


def _verified_rows(form, tau, mu, value, p, sizes):
  """v enlarged by all that rounding may have done, (b, m); ∞ where that cannot be shown."""
  batch, rows, n = form.d.shape
  da, db, dc, dd = form.errors
  fine = np.isfinite(value) & (value > 0)
  level = np.where(fine, value, 1.0) * (1 + SLACK)
  # [v − Σμ, −g'/2; −g/2, diag(μ, τ) − (B A)'T(B A)] positive definite bounds the row by v.
  g = np.concatenate([form.d, form.c], -1)
  size = g.shape[-1] + 1
  matrix = np.zeros((batch, rows, size, size))
  spread = np.zeros_like(matrix)
  matrix[..., 1:, 1:], spread[..., 1:, 1:] = p, sizes
  matrix[..., 0, 1:] = matrix[..., 1:, 0] = 0.5 * g
  total = up(mu.sum(-1), n)
  matrix[..., 0, 0] = total
  spread[..., 0, 0] = total
  diagonal = np.concatenate([level[..., None], mu, tau], -1)
  fine &= definite(diagonal, matrix, spread, tau.shape[-1] + n)
  reach = up(form.reach.sum(-1), form.reach.shape[-1])  # |y_k|, and so |w_k|
  row = up(db.sum(-1) + (da @ reach[..., None])[..., 0], size)
  lost = up(
    ((tau * (2 * reach * row + row * row)[:, None]) * form.used[:, None]).sum(-1), size
  )
  output = up(dd.sum(-1) + (dc @ reach[..., None])[..., 0], size)
  return np.where(fine, up(level + lost + output, 4), np.inf)

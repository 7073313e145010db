"""Induced norms ‖A‖_p = max ‖Ax‖_p / ‖x‖_p with certified bounds, batched over leading axes.

Bounds are for every matrix in C ± R: R holds the rounding errors of C and whatever is unknown.
For p = 1, 2, ∞ the bounds of a single matrix meet up to rounding. For other p they need not:
the p-norm of a matrix with mixed signs is hard to compute.
"""

import numpy as np

from lib.verification.rounding import gamma, namespace, up

ITERATIONS = 30  # of the power method for other p; any number gives valid bounds


def check_p(p: float) -> float:
  """p as a float.

  Raises:
    ValueError: p < 1 or not a number.
  """
  try:
    p = float(p)
  except (TypeError, ValueError) as error:
    raise ValueError(f"p is {p!r}; give 1, 2, inf or another number from 1 on.") from error
  if not p >= 1:
    raise ValueError(f"p is {p:g}; a norm needs p ≥ 1.")
  return p


def upper(centre, radius, p: float):
  """max ‖A‖_p over |A − C| ≤ R, bounded from above, (...,).

  The smaller of ‖|C| + R‖ (Lemma 1) and ‖C‖ + ‖R‖, which keeps the signs of C.
  """
  xp = namespace(centre)
  size = up(xp.abs(centre) + radius)
  if p == 1 or p == np.inf:
    axis = -2 if p == 1 else -1
    return up(size.sum(axis), centre.shape[axis]).max(-1)
  if p == 2:
    joined = spectral_upper(xp.stack([size, centre, radius]))
    return xp.minimum(joined[0], up(joined[1] + joined[2]))
  return xp.minimum(_other_upper(size, p), up(_other_upper(centre, p) + _schur(radius, p)))


def lower(centre, radius, p: float):
  """min ‖A‖_p over |A − C| ≤ R, bounded from below (not below 0), (...,)."""
  xp = namespace(centre)
  if p == 1 or p == np.inf:
    axis = -2 if p == 1 else -1
    sums = (xp.abs(centre) - radius).sum(axis)
    error = gamma(centre.shape[axis]) * (xp.abs(centre) + radius).sum(axis)
    return xp.maximum((sums - error).max(-1), 0.0)
  return xp.maximum(attained(centre, p) - up(upper(radius, 0 * radius, p)), 0.0)


def attained(matrix, p: float):
  """A lower bound of ‖A‖_p: the largest ‖Ax‖/‖x‖ among vectors that a power method visits."""
  xp = namespace(matrix)
  rows, columns = matrix.shape[-2:]
  if p == 1 or p == np.inf:
    return lower(matrix, 0 * matrix, p)
  if p == 2:
    _, _, right = xp.linalg.svd(matrix, full_matrices=False)
    x = right[..., 0, :]
  else:
    starts = xp.concatenate(
      [xp.swapaxes(matrix, -1, -2), xp.eye(columns) + 0 * matrix[..., :1, :]], -1
    )
    x = _boyd(matrix, starts, p)
  margin = gamma(2 * rows + 2 * columns + 64)
  x = x[..., None] if p == 2 else x
  # The error of A x by norm, then the relative errors of both norms.
  y = matrix @ x
  size = xp.abs(matrix) @ xp.abs(x)
  top = p_norm(y, p, -2) - margin * p_norm(size, p, -2)
  bottom = p_norm(x, p, -2)
  return xp.maximum((top * (1 - margin) / xp.where(bottom > 0, bottom, 1.0)).max(-1), 0.0)


def p_norm(x, p: float, axis: int):
  """‖x‖_p along an axis, without overflow, up to relative rounding."""
  xp = namespace(x)
  scale = xp.abs(x).max(axis, keepdims=True)
  safe = xp.where(scale > 0, scale, 1.0)
  power = (xp.abs(x / safe) ** p).sum(axis) ** (1 / p)
  return power * xp.squeeze(scale, axis)


def _boyd(matrix, x, p):
  """Boyd's power iteration from several starts, the columns of x (..., n, k)."""
  xp = namespace(matrix)
  q = p / (p - 1)

  def dual(v, r):  # the gradient of ‖v‖_r up to scale
    scale = xp.abs(v).max(-2, keepdims=True)
    v = v / xp.where(scale > 0, scale, 1.0)
    return xp.sign(v) * xp.abs(v) ** (r - 1)

  best = x
  for _ in range(ITERATIONS):
    back = xp.swapaxes(matrix, -1, -2) @ dual(matrix @ best, p)
    new = dual(back, q)
    keep = xp.abs(new).max(-2, keepdims=True) > 0
    best = xp.where(keep, new, best)
  return best


def spectral_upper(matrix):
  """‖A‖_2 from above, (...,).

  λ_max(G) of the smaller Gram matrix G by eigenvectors V, then verified: for x = V y,
  x'Gx / x'x ≤ ‖V'GV‖_∞ / (1 − ‖V'V − I‖_∞), whatever V is. The trace and √(‖A‖_1 ‖A‖_∞) bound
  it too.
  """
  xp = namespace(matrix)
  rows, columns = matrix.shape[-2:]
  scale = xp.abs(matrix).max((-2, -1), keepdims=True)
  safe = xp.where(scale > 0, scale, 1.0)
  scaled = matrix / safe
  if rows > columns:
    scaled = xp.swapaxes(scaled, -1, -2)
    rows, columns = columns, rows
  sizes = xp.abs(scaled)
  gram = scaled @ xp.swapaxes(scaled, -1, -2)
  _, v = xp.linalg.eigh(gram)
  t = xp.swapaxes(v, -1, -2)
  turned = t @ gram @ v
  # Rounding of the Gram matrix, of V'GV, and of the scaling by a number that is no power of 2.
  margin = gamma(columns + 4 * rows + 8)
  total = up((sizes * sizes).sum((-2, -1)), rows * columns)
  error = margin * rows * (1 + rows) * total
  identity = t @ v - xp.eye(rows)
  skew = xp.abs(identity).sum(-1).max(-1) + margin * rows
  largest = up(xp.abs(turned).sum(-1).max(-1), rows) + error
  bound = xp.where(skew < 0.5, up(largest / xp.where(skew < 0.5, 1 - skew, 1.0), 2), total)
  bound = xp.minimum(bound, total)
  sums = up(sizes.sum(-1), columns).max(-1) * up(sizes.sum(-2), rows).max(-1)
  bound = xp.minimum(bound, up(sums))
  return up(xp.sqrt(bound) * scale[..., 0, 0], 4)


def _other_upper(matrix, p):
  """‖A‖_p from above, for 1 < p < ∞, p ≠ 2.

  The smallest of: Riesz-Thorin between 1, 2 and ∞; Schur's test on |A|; and for a single row
  or column the vector norm that it is.
  """
  xp = namespace(matrix)
  sizes = xp.abs(matrix)
  one, infinity = upper(matrix, 0 * matrix, 1), upper(matrix, 0 * matrix, np.inf)
  two = spectral_upper(matrix)
  if p < 2:  # 1/p = (1 − t) + t/2
    t = 2 - 2 / p
    bound = one ** (1 - t) * two**t
  else:  # 1/p = (1 − t)/2
    t = 1 - 2 / p
    bound = two ** (1 - t) * infinity**t
  bound = xp.minimum(bound, one ** (1 / p) * infinity ** (1 - 1 / p))
  bound = up(bound, 64)  # of powers, good to a few units in the last place
  return xp.minimum(bound, _schur(sizes, p))


def _schur(matrix, p):
  """‖A‖_p of a matrix ≥ 0 from above: Schur's test with the vector that a power method finds.

  For h > 0 and g = (A h)^{p−1}: ‖A‖_p^p ≤ max_j (A'g)_j / h_j^{p−1}, with equality at the
  maximiser (Hölder).
  """
  xp = namespace(matrix)
  rows, columns = matrix.shape[-2:]
  scale = matrix.max((-2, -1), keepdims=True)
  safe = xp.where(scale > 0, scale, 1.0)
  a = matrix / safe
  t = xp.swapaxes(a, -1, -2)
  h = xp.ones_like(t[..., :1])
  best = None
  for _ in range(ITERATIONS):
    g = t @ (a @ h) ** (p - 1)
    ratio = (g / h ** (p - 1)).max((-2, -1))
    best = ratio if best is None else xp.minimum(best, ratio)
    h = g ** (1 / (p - 1))
    h = xp.maximum(h / xp.maximum(h.max(-2, keepdims=True), 1e-300), 1e-6)
  return up(best ** (1 / p) * safe[..., 0, 0], 8 * (rows + columns) + 64)

"""Support vector machines with a hard margin on one class: duals, and what they predict.

Labels are +1 for the class that may be sacrificed (genuine) and −1 for the one of which no
training example may be accepted (impostors); D(x) > 0 accepts. With h_i = (1 + y_i)/2, slack
ξ_i on genuine examples only, and a cost λ of it:

  SH-SVM    min ½‖w‖² + λ/2 Σ ξ²      s.t. y_i (w·φ_i + b) ≥ 1 − h_i ξ_i           (eq. 2-3)
  SH-SVDD   min R² + λ/2 Σ ξ²         s.t. y_i ‖φ_i − a‖² ≤ y_i R² − 1 + h_i ξ_i   (eq. 25-26)
  SH-TWSVM  min ½‖K(A, C) w + b‖²     s.t. K(B, C) w + b ≤ −1                      (eq. 14-15)

with genuine rows A, impostor rows B, C both. All have a dual of one form, min ½ α·Pα + q·α
over α ≥ 0 with a·α = b, so that machines of all kinds go through `numerics.solve_qp` in one
batch:

```
dual = margin_dual(k, y, ridge=h / lam)             # h / lam: SH-SVM; 1 / lam: the L2-SVM
alpha = numerics.solve_qp(*dual).x                  # in float64
machine = margin_machine(k, y, ridge, alpha)
decision(machine, k_cross)                          # (n, m) kernel of training and new inputs
```

`where` (n,) leaves training examples out without changing shapes (folds): their α is 0.

Reference: *Semi-hard margin support vector machines for personal authentication with an aerial
signature motion* (ICANN 2021). Departures from the print: the dual of SH-SVM has the factor ½
that eq. 10 lacks; SH-SVDD has a margin, ‖φ_i − a‖² = R² − y_i of support vectors without
slack, as the sentence before eq. 32 wants it, where eq. 26 has −y_i for −1 (`printed=True`
gives the dual of eq. 33, which with the radius of eq. 32 is that of spheres without a margin);
the matrix of SH-TWSVM, of rank at most that of A, gets a ridge.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lib import numerics

Array = jax.Array
SUPPORT = 1e-6  # α above this share of the largest is a support vector


class Dual(NamedTuple):
  """min ½ α·Pα + q·α over α ≥ 0 with a·α = b: the arguments of `numerics.solve_qp`."""

  p: Array
  q: Array
  a: Array
  b: Array


class Machine(NamedTuple):
  """D(x) = Σ_i coefficients_i K(x_i, x) + bias − quadratic · K(x, x)."""

  coefficients: Array
  bias: Array
  quadratic: Array


def decision(machine: Machine, k_cross: Array, k_self: Array | None = None) -> Array:
  """D of m inputs, (m,).

  Args:
    machine: with n training examples.
    k_cross: (n, m), K(x_i, x).
    k_self: (m,), K(x, x); needed by spheres only.
  """
  found = machine.coefficients @ k_cross + machine.bias
  return found if k_self is None else found - machine.quadratic * k_self


def _kept(dual: Dual, where) -> Dual:
  """The dual without some examples: min ½ α² + α has the solution 0."""
  if where is None:
    return dual
  both = where[:, None] & where[None]
  p = jnp.where(both, dual.p, jnp.eye(len(where), dtype=dual.p.dtype))
  return Dual(p, jnp.where(where, dual.q, 1.0), jnp.where(where, dual.a, 0.0), dual.b)


def _support_mean(values, alpha, where):
  support = alpha > SUPPORT * alpha.max()
  if where is not None:
    support &= where
  return jnp.sum(jnp.where(support, values, 0.0)) / jnp.sum(support)


def margin_dual(k: Array, y: Array, ridge: Array, where: Array | None = None) -> Dual:
  """max Σ α_i − ½ Σ_ij α_i α_j y_i y_j (K_ij + δ_ij ridge_i), α·y = 0 (eq. 10-12, with the ½).

  Args:
    k: (n, n).
    y: (n,) of ±1.
    ridge: (n,) ≥ 0, 1/λ_i of example i's squared slack λ_i ξ_i²/2; 0 is a hard margin.
    where: (n,) of booleans, which examples there are.
  """
  p = jnp.outer(y, y) * k + jnp.diag(ridge)
  return _kept(Dual(p, -jnp.ones_like(y), y, jnp.zeros((), k.dtype)), where)


def margin_machine(k, y, ridge, alpha, where: Array | None = None) -> Machine:
  """b = mean over support vectors of y_j − Σ_i α_i y_i K_ij − ridge_j α_j y_j (eq. 9)."""
  coefficients = alpha * y
  bias = _support_mean(y - k @ coefficients - ridge * coefficients, alpha, where)
  return Machine(coefficients, bias, jnp.zeros((), k.dtype))


def sphere_dual(
  k: Array, y: Array, ridge: Array, where: Array | None = None, printed: bool = False
) -> Dual:
  """max Σ α_i (1 + y_i K_ii) − Σ_ij α_i α_j y_i y_j (K_ij + δ_ij ridge_i/2), α·y = 1.

  Eq. 33-35, but for the 1, which the print leaves out and so does `printed`: both classes then
  have the boundary R² and there is no margin (`sphere_machine` with `margin=0`). Other
  arguments as in `margin_dual`.
  """
  p = 2 * jnp.outer(y, y) * k + jnp.diag(ridge)
  q = -y * jnp.diag(k) - (0.0 if printed else 1.0)
  return _kept(Dual(p, q, y, jnp.ones((), k.dtype)), where)


def sphere_machine(
  k, y, ridge, alpha, where: Array | None = None, margin: float = 1.0
) -> Machine:
  """R² = mean over support vectors of d_i² + margin y_i − ridge_i α_i y_i.

  D(x) = R² − ‖φ(x) − a‖² with a = Σ α_i y_i φ_i (eq. 36). `margin` is 1, d_i² = R² − y_i
  without slack; eq. 32 has no y_i, which is 0 and belongs to the printed dual. Together with 1
  that dual accepts impostors that it was trained on.
  """
  centre = alpha * y
  product = k @ centre
  norm = centre @ product
  distance = jnp.diag(k) - 2 * product + norm
  radius = _support_mean(distance + margin * y - ridge * centre, alpha, where)
  return Machine(2 * centre, radius - norm, jnp.ones((), k.dtype))


def _twin_rows(k, y, where, ridge):
  """L = [K(A, C), 1], R = [K(B, C), 1] with rows of zeros for other examples, and ε."""
  genuine, impostor = y > 0, y < 0
  if where is not None:
    genuine, impostor, k = genuine & where, impostor & where, jnp.where(where, k, 0.0)
  rows = jnp.concatenate([k, jnp.ones((len(y), 1), k.dtype)], 1)
  left = jnp.where(genuine[:, None], rows, 0.0)
  size = len(y) + 1 if where is None else jnp.sum(where) + 1
  return left, jnp.where(impostor[:, None], rows, 0.0), ridge * jnp.sum(left**2) / size


def _inverse(matrix, columns):
  return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(matrix), columns)


_solve = numerics.one_at_a_time(_inverse)


def twin_dual(k: Array, y: Array, where: Array | None = None, ridge: float = 1e-4) -> Dual:
  """max Σ α_i − ½ α·R (L'L + ε I)⁻¹ R'α over impostors (eq. 22); α of genuine ones is 0.

  Args:
    k, y, where: as in `margin_dual`.
    ridge: ε in units of the mean eigenvalue of L'L, which is singular; the paper has none.
  """
  left, right, epsilon = _twin_rows(k, y, where, ridge)
  # (L'L + ε I)⁻¹ = (I − L'(L L' + ε I)⁻¹ L) / ε
  small = left @ left.T + epsilon * jnp.eye(len(y), dtype=k.dtype)
  cross = left @ right.T
  p = (right @ right.T - cross.T @ _solve(small, cross)) / epsilon
  impostor = y < 0 if where is None else (y < 0) & where
  none = jnp.zeros_like(y)
  return _kept(Dual((p + p.T) / 2, -jnp.ones_like(y), none, jnp.zeros((), k.dtype)), impostor)


def twin_machine(k, y, alpha, where: Array | None = None, ridge: float = 1e-4) -> Machine:
  """[w; b] = −(L'L + ε I)⁻¹ R'α (eq. 21).

  Genuine training examples have D near 0 and impostors D ≤ −1, so that a threshold of 0
  rejects half of what is genuine; −1/2 is half way.
  """
  left, right, epsilon = _twin_rows(k, y, where, ridge)
  force = right.T @ alpha
  small = left @ left.T + epsilon * jnp.eye(len(y), dtype=k.dtype)
  inner = _solve(small, (left @ force)[:, None])[:, 0]
  found = -(force - left.T @ inner) / epsilon
  return Machine(found[:-1], found[-1], jnp.zeros((), k.dtype))

"""Convex quadratic programs with bounds and one equality, dense and small, by the thousand.

The duals of support vector machines have this form. The solver is an interior point method in
plain JAX, so that a grid of kernels, costs and folds is one vmapped call. The general solver
of this kind, qpax 0.1, finds the same margins; but it takes bounds as dense matrices, and
keeps slacks above a floor that left an absolute tolerance of 10⁻⁸ out of reach: it took all
of its 60 steps, and ten times as long (8 problems of 125 variables on a CPU).
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lib.numerics.linear_algebra import one_at_a_time

Array = jax.Array


# Steps without a better `kkt_error`: far starts need many, but near the end there is rounding.
_PATIENCE, _NEAR, _PATIENCE_NEAR = 60, 1e-7, 4
_CIRCLES = 20  # after so many of them steps are not Mehrotra's


class Solution(NamedTuple):
  """A minimiser and its multipliers, which satisfy P x + q = a y + z − v, z x = v (u − x) = 0.

  Attributes:
    x: (n,) the minimiser.
    y: multiplier of a·x = b; 0 without one.
    z: (n,) ≥ 0, multipliers of x ≥ 0.
    v: (n,) ≥ 0, multipliers of x ≤ u; 0 where there is no such bound.
    error: the largest of the relative residuals, see `kkt_error`.
    steps: how many were taken.
  """

  x: Array
  y: Array
  z: Array
  v: Array
  error: Array
  steps: Array


class _State(NamedTuple):
  x: Array
  y: Array
  z: Array
  v: Array
  steps: Array
  best: tuple[Array, ...]  # x, y, z, v and error of the smallest error so far
  stuck: Array  # steps without a better one


def kkt_error(p, q, a, b, upper, x, y, z, v) -> Array:
  """How far a point is from the conditions of Karush, Kuhn and Tucker, relative to its terms.

  The largest of three: the gradient P x + q − a y − z + v over the largest term in it, a·x − b
  over the largest a_i x_i or b, and the duality gap x·z + (u − x)·v over the objective's
  terms, or max q²/max P_ii where they are smaller (a minimiser of 0; there a·x − b counts over
  10⁻¹⁰ max a_i max q/max P_ii at least). x, z, v and u − x are taken to be non-negative.
  """
  px = p @ x
  gradient = px + q - a * y - z + v
  terms = jnp.stack([jnp.abs(term).max() for term in (px, q, a * y, z, v)])
  stationarity = jnp.abs(gradient).max() / jnp.maximum(terms.max(), 1e-300)
  size = jnp.maximum(jnp.abs(a * x).max(), jnp.abs(b))
  curvature = jnp.diag(p).max()
  usual = jnp.where(curvature > 0, jnp.abs(q).max() / curvature, 0.0)  # of x
  size = jnp.maximum(size, 1e-10 * usual * jnp.abs(a).max())
  equality = jnp.abs(a @ x - b) / jnp.maximum(size, 1e-300)
  slack = jnp.where(jnp.isinf(upper), 0.0, upper - x)
  gap = x @ z + slack @ v
  scale = jnp.where(curvature > 0, jnp.max(q**2) / curvature, 0.0)
  terms = jnp.stack([jnp.abs(x @ px) / 2, jnp.abs(q) @ x, scale])
  gap /= jnp.maximum(terms.max(), 1e-300)
  return jnp.maximum(jnp.maximum(stationarity, equality), gap)


def solve_qp(
  p,
  q,
  a=None,
  b=0.0,
  upper=None,
  *,
  tolerance: float = 1e-10,
  steps: int = 100,
) -> Solution:
  """min ½ x·P x + q·x over 0 ≤ x ≤ u with a·x = b, P positive semidefinite.

  Primal-dual interior point steps with Mehrotra's predictor and corrector (SIAM Journal on
  Optimization 2, 1992): each is a Cholesky factorisation of P + diag(z/x + v/(u − x)). It ends
  when `kkt_error` is below the tolerance, or no longer falls, and gives its best point. P may
  be singular: the minimiser is then one of several, but P x, and with it all that a kernel
  machine predicts, is unique.

  Can be jitted and vmapped over any arguments; on a CPU the problems of a batch are solved one
  after the other, each with as many steps as it needs. Meant for float64 (call it within
  `jax.enable_x64(True)`): float32 resolves multipliers over four orders of magnitude only.
  Has no reverse-mode gradient.

  Args:
    p: (n, n), symmetric.
    q: (n,).
    a: (n,) of the equality, None or zeros for none.
    b: its right-hand side.
    upper: (n,) u > 0, which may be infinite; None for no upper bounds.
    tolerance: of `kkt_error`.
    steps: at most so many.

  Returns:
    A `Solution`; compare its `error` with what you need. An infeasible or unbounded problem
    shows in it: nothing is raised.

  Raises:
    ValueError: an upper bound is not positive (arrays with values only).
  """
  p = jnp.asarray(p)
  chex.assert_rank(p, 2)
  n = p.shape[0]
  q = jnp.asarray(q, p.dtype)
  a = jnp.zeros(n, p.dtype) if a is None else jnp.asarray(a, p.dtype)
  upper = jnp.full(n, jnp.inf, p.dtype) if upper is None else jnp.asarray(upper, p.dtype)
  upper = jnp.broadcast_to(upper, (n,))
  chex.assert_shape([q, a, upper], (n,))
  if not isinstance(upper, jax.core.Tracer) and not (np.asarray(upper) > 0).all():
    raise ValueError("upper bounds have to be positive")
  b = jnp.asarray(b, p.dtype)
  limits = jnp.asarray(tolerance, p.dtype), jnp.asarray(steps, jnp.int32)
  return Solution(*_solve(p, q, a, b, upper, *limits))


def _solve_one(p, q, a, b, upper, tolerance, steps):
  n, dtype = p.shape[0], p.dtype
  bounded = jnp.isfinite(upper)
  count = n + jnp.sum(bounded)
  # Only in the factor: what it solves is refined by the next step's residuals.
  ridge = jnp.finfo(dtype).eps * jnp.maximum(jnp.trace(p) / n, 1e-300)
  constrained = jnp.any(a != 0)

  def factor(diagonal):
    return jax.scipy.linalg.cho_factor(p + jnp.diag(diagonal + ridge), lower=True)

  def solve(chol, ha, aha, r, s):
    """dx, dy of H dx − a dy = r and a·dx = s."""
    hr = jax.scipy.linalg.cho_solve(chol, r)
    dy = jnp.where(constrained, (s - a @ hr) / aha, 0.0)
    return hr + ha * dy, dy

  def with_equality(chol):
    ha = jax.scipy.linalg.cho_solve(chol, a)
    return ha, jnp.where(constrained, a @ ha, 1.0)

  def start():
    """Inside the bounds, on the scale of the minimiser of ½ x·(P + s I) x + q·x."""
    chol = factor(jnp.full(n, jnp.maximum(jnp.trace(p) / n, 1e-8)))
    x, y = solve(chol, *with_equality(chol), -q, b)
    x = jnp.full(n, jnp.maximum(jnp.abs(x).max(), 1e-8))
    x = jnp.where(bounded, jnp.minimum(x, upper / 2), x)
    z = jnp.full(n, jnp.maximum(jnp.abs(p @ x + q - a * y).max(), 1e-8))
    return x, y, z, jnp.where(bounded, z, 0.0)

  def slack_of(x):
    return jnp.where(bounded, upper - x, 1.0)

  def longest(value, change):
    """The largest step ≤ 1 that keeps a positive vector non-negative."""
    return jnp.min(jnp.where(change < 0, -value / change, jnp.inf), initial=1.0)

  def body(state):
    x, y, z, v, number, best, stuck = state
    w = slack_of(x)
    gradient = p @ x + q - a * y - z + v
    short = b - a @ x
    chol = factor(z / x + jnp.where(bounded, v / w, 0.0))
    ha, aha = with_equality(chol)

    def direction(lower, above):
      """Newton's step to x z = lower and w v = above, given as what is missing of them."""
      r = -gradient + lower / x - jnp.where(bounded, above / w, 0.0)
      dx, dy = solve(chol, ha, aha, r, short)
      dz = (lower - z * dx) / x
      dv = jnp.where(bounded, (above + v * dx) / w, 0.0)
      return dx, dy, dz, dv

    def room(dx, dz, dv):
      steps = (
        longest(x, dx),
        longest(w, jnp.where(bounded, -dx, 0.0)),
        longest(z, dz),
        longest(v, dv),
      )
      return jnp.min(jnp.stack(steps))

    def gap(x, z, v):
      return x @ z + jnp.where(bounded, upper - x, 0.0) @ v

    mean = gap(x, z, v) / count
    dx, _, dz, dv = direction(-x * z, -w * v)
    t = room(dx, dz, dv)
    centring = (gap(x + t * dx, z + t * dz, v + t * dv) / count / mean) ** 3
    target = centring * mean
    # The corrector can go in circles (Cartis, Applied Numerical Mathematics 59, 2009): after
    # many steps without progress plain ones are taken, towards products of half the mean.
    step = lax.cond(
      stuck < _CIRCLES,
      lambda: direction(target - x * z - dx * dz, target - w * v + dx * dv),
      lambda: direction(0.5 * mean - x * z, 0.5 * mean - w * v),
    )
    t = 0.995 * room(step[0], *step[2:])
    new = tuple(value + t * change for value, change in zip((x, y, z, v), step, strict=True))
    found = kkt_error(p, q, a, b, upper, *new)
    stuck = jnp.where(found < 0.9 * best[-1], 0, stuck + 1)
    best = jax.tree.map(lambda a, b: jnp.where(found < best[-1], a, b), (*new, found), best)
    usable = jnp.isfinite(found)
    kept = jax.tree.map(lambda one, other: jnp.where(usable, one, other), new, state[:4])
    stuck = jnp.where(usable, stuck, _PATIENCE)
    return _State(*kept, number + 1, best, stuck)

  def unfinished(state):
    patience = jnp.where(state.best[-1] < _NEAR, _PATIENCE_NEAR, _PATIENCE)
    return (state.best[-1] > tolerance) & (state.steps < steps) & (state.stuck < patience)

  begin = start()
  none = jnp.asarray(0, jnp.int32)
  state = _State(*begin, none, (*begin, kkt_error(p, q, a, b, upper, *begin)), none)
  end = lax.while_loop(unfinished, body, state)
  return *end.best, end.steps


_solve = one_at_a_time(_solve_one)

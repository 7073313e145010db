"""Gauss-Legendre collocation: implicit midpoint (order 2), Gauss 4 and Gauss 6.

    Y_i = y + h Σ_j a_ij K_j,   K_i = F(t + c_i h, Y_i),   y(t + h) = y + h Σ_i b_i K_i.

The methods are symplectic, time-reversible and keep every quadratic invariant (Hairer, Lubich
and Wanner, Geometric Numerical Integration, secs. II.1.3, IV.2, VI.4), as far as the equations
of the slopes K are solved: the solve goes on to the last digit and reports its residual.

States are pytrees of real or complex arrays; a complex leaf counts as its two real parts, so F
need not be holomorphic. Everything can be differentiated in both directions (the solve by the
implicit function theorem), jitted and vmapped.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

PyTree = Any
Field = Callable[[jax.typing.ArrayLike, PyTree], PyTree]  # (t, y) -> dy/dt

MAX_ITERATIONS = 100
_STAGNATION = 1e3  # units of rounding below which changes may stop shrinking


class Tableau(NamedTuple):
  """Butcher's a (s, s), b (s,) and c (s,) in float64."""

  matrix: np.ndarray
  weights: np.ndarray
  nodes: np.ndarray


class Inner(NamedTuple):
  """What became of an inner solve.

  Attributes:
    residual: max |K − F(K)| / max |K|, from the last two changes without one more evaluation.
    iterations: evaluations of all stages.
    converged: whether the residual came down to rounding.
  """

  residual: jax.Array
  iterations: jax.Array
  converged: jax.Array


def tableau(stages: int) -> Tableau:
  """The collocation method at the Gauss-Legendre nodes, order 2 s.

  Raises:
    ValueError: stages is not 1, 2 or 3.
  """
  if stages == 1:
    return Tableau(np.array([[0.5]]), np.array([1.0]), np.array([0.5]))
  if stages == 2:
    r = np.sqrt(3) / 6
    a = np.array([[0.25, 0.25 - r], [0.25 + r, 0.25]])
    return Tableau(a, np.array([0.5, 0.5]), np.array([0.5 - r, 0.5 + r]))
  if stages == 3:
    r = np.sqrt(15)
    a = np.array(
      [
        [5 / 36, 2 / 9 - r / 15, 5 / 36 - r / 30],
        [5 / 36 + r / 24, 2 / 9, 5 / 36 - r / 24],
        [5 / 36 + r / 30, 2 / 9 + r / 15, 5 / 36],
      ]
    )
    return Tableau(a, np.array([5, 8, 5]) / 18, np.array([0.5 - r / 10, 0.5, 0.5 + r / 10]))
  raise ValueError(f"Gauss-Legendre is given for 1, 2 and 3 stages, not {stages}")


def extrapolation(nodes: np.ndarray, steps: int) -> np.ndarray:
  """(s, steps s): values at the nodes of a step from those of the steps before it.

  The polynomial through all of them; the earliest step comes first.
  """
  known = np.concatenate([nodes - k for k in range(steps, 0, -1)])
  weights = np.ones((len(nodes), len(known)))
  for j, at in enumerate(known):
    for other in np.delete(known, j):
      weights[:, j] *= (nodes - other) / (at - other)
  return weights


def combine(weights, slopes: PyTree) -> PyTree:
  """Σ_j weights[..., j] slopes[j] for each leaf (stages first)."""

  def one(leaf):
    return jnp.tensordot(jnp.asarray(weights, leaf.real.dtype), leaf, 1)

  return jax.tree.map(one, slopes)


def add(y: PyTree, dy: PyTree, scale=1.0) -> PyTree:
  """y + scale dy, in the dtypes of y."""
  return jax.tree.map(lambda a, b: a + (scale * b).astype(a.dtype), y, dy)


def stages(
  field: Field,
  t,
  y: PyTree,
  h,
  table: Tableau,
  guess: PyTree,
  tolerance: float | None = None,
  iterations: int = MAX_ITERATIONS,
):
  """The slopes K (stages first) and how the solve went.

  A fixed-point iteration from the guess. It ends when the error that is left, estimated from
  the ratio of the last two changes, is below the tolerance (relative), or when the changes no
  longer shrink. By default that is a 64th of rounding, because what is left has a direction
  and would add up over millions of steps.
  """
  times = t + jnp.asarray(table.nodes, jnp.result_type(h, t, np.float32)) * h
  dtype = _real_dtype(guess)

  def evaluate(slopes):
    moved = combine(table.matrix, slopes)
    points = jax.tree.map(lambda a, b: a + (h * b).astype(a.dtype), y, moved)
    return jax.vmap(field)(times, points)

  def solve(_, guess):
    limit = _epsilon(guess) / 64 if tolerance is None else jnp.asarray(tolerance, dtype)

    def active(carry):
      _, change, before, count = carry
      # What the next iterations would still change: change · ratio / (1 − ratio).
      left = change**2 > limit * jnp.maximum(before - change, 0)
      stagnates = (change >= before) & (change < _STAGNATION * _epsilon(guess))
      return (count < 3) | ((count < iterations) & left & ~stagnates & (change > 0))

    def iterate(carry):
      slopes, change, _, count = carry
      new = evaluate(slopes)
      size = jnp.maximum(_largest(new), _tiny(new))
      difference = _largest(jax.tree.map(lambda a, b: a - b, new, slopes)) / size
      return new, difference, change, count + 1

    big = jnp.asarray(jnp.inf, limit.dtype)
    slopes, change, before, count = lax.while_loop(active, iterate, (guess, big, big, 0))
    left = change * jnp.minimum(change / before, 1)
    return slopes, (left, count.astype(change.dtype))  # floats, for custom_root

  def residual(slopes):
    return jax.tree.map(lambda a, b: a - b, evaluate(slopes), slopes)

  def tangent_solve(linear, target):  # linear(x) = J x − x
    return _neumann_solve(linear, target, iterations)

  slopes, (left, count) = lax.custom_root(residual, guess, solve, tangent_solve, has_aux=True)
  left, count = lax.stop_gradient((left, count))
  enough = jnp.maximum(_STAGNATION * _epsilon(guess), 0.0 if tolerance is None else tolerance)
  return slopes, Inner(left, count.astype(int), left <= enough)


def _neumann_solve(linear, target, iterations):
  """x with J x − x = target, by x ← J x − target; transposable."""

  def solve(matvec, target):
    limit = _epsilon(target)

    def active(carry):
      _, change, before, count = carry
      shrinks = (change < before) | (change > _STAGNATION * limit)
      return (count < 2) | ((count < iterations) & shrinks & (change > limit))

    def iterate(carry):
      x, change, _, count = carry
      new = jax.tree.map(lambda m, a, b: m + a - b, matvec(x), x, target)
      size = jnp.maximum(_largest(new), _tiny(new))
      difference = _largest(jax.tree.map(lambda a, b: a - b, new, x)) / size
      return new, difference, change, count + 1

    big = jnp.asarray(jnp.inf, limit.dtype)
    start = jax.tree.map(jnp.negative, target)
    return lax.while_loop(active, iterate, (start, big, big, 0))[0]

  return lax.custom_linear_solve(linear, target, solve, transpose_solve=solve)


def _largest(tree: PyTree):
  # Sums of |Re| and |Im| are within √2 of the modulus, without its square root.
  def one(x):
    return jnp.abs(x.real) + jnp.abs(x.imag) if jnp.iscomplexobj(x) else jnp.abs(x)

  return jnp.stack([one(x).max() for x in jax.tree.leaves(tree)]).max()


def _real_dtype(tree: PyTree):
  return jnp.result_type(*(x.real.dtype for x in jax.tree.leaves(tree)))


def _epsilon(tree: PyTree):
  dtype = _real_dtype(tree)
  return jnp.asarray(jnp.finfo(dtype).eps, dtype)


def _tiny(tree: PyTree):
  dtype = _real_dtype(tree)
  return jnp.asarray(jnp.finfo(dtype).tiny, dtype)


def gauss_step(field: Field, t, y: PyTree, h, *, stages_count: int = 2, guess: PyTree = None):
  """One step on its own: (y(t + h), Inner).

  Args:
    field: F(t, y).
    t, y: time and state, any pytree of floating or complex arrays.
    h: step, of either sign.
    stages_count: 1 (implicit midpoint), 2 (order 4), 3 (order 6).
    guess: slopes to start from, stages first; by default F(t, y) for each.
  """
  table = tableau(stages_count)
  guess = repeat(field(t, y), stages_count) if guess is None else guess
  slopes, inner = stages(field, t, y, h, table, guess)
  return add(y, combine(table.weights, slopes), h), inner


def implicit_midpoint_step(field: Field, t, y: PyTree, h):
  """y + h F(t + h/2, (y + y(t + h))/2): order 2. Returns (y(t + h), Inner)."""
  return gauss_step(field, t, y, h, stages_count=1)


def repeat(tree: PyTree, count: int) -> PyTree:
  """Leaves with a new leading axis of so many copies."""
  return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), tree)

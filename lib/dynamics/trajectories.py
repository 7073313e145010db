"""Trajectories on a grid of times by any method, behind one call.

A `Method` is a pair of pure functions: `start` makes what is carried from step to step, `step`
returns the increment of the state. Increments are added with compensation (Kahan), so that
over millions of steps rounding is a random walk of the increments, not of the state.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lib.dynamics import gauss, integrators
from lib.dynamics.gauss import Field, Inner, PyTree


class ConvergenceError(ValueError):
  """An inner solve did not converge: names the time and the residual."""


class Method(NamedTuple):
  """A one-step method.

  Attributes:
    start: (field, t, y, h) -> carry.
    step: (field, t, y, h, carry) -> (increment of y, carry, Inner).
    order: of convergence.
    symplectic: whether its map is symplectic for Hamiltonian fields.
  """

  start: Callable[..., PyTree]
  step: Callable[..., tuple[PyTree, PyTree, Inner]]
  order: int
  symplectic: bool


class Solution(NamedTuple):
  """A trajectory and how its inner solves went.

  Attributes:
    saved: what was saved, times first.
    final: the state at the last time.
    residual: the largest inner residual, up to the first failure.
    evaluations: of the field.
    failed_at: time of the first step whose inner solve did not converge, else infinity.
  """

  saved: PyTree
  final: PyTree
  residual: jax.Array
  evaluations: jax.Array
  failed_at: jax.Array


def gauss_method(
  stages: int, memory: int | None = None, tolerance: float | None = None
) -> Method:
  """Gauss-Legendre of so many stages.

  The inner solve starts from the polynomial through the slopes of the last `memory` steps,
  which halves its iterations, and goes on to the last digit unless a relative `tolerance` is
  given.
  """
  table = gauss.tableau(stages)
  memory = {1: 5, 2: 3, 3: 2}[stages] if memory is None else memory
  forecast = gauss.extrapolation(table.nodes, memory)

  def start(field, t, y, h):
    return gauss.repeat(field(t, y), stages * memory)

  def step(field, t, y, h, past):
    guess = gauss.combine(forecast, past)
    slopes, inner = gauss.stages(field, t, y, h, table, guess, tolerance)
    increment = jax.tree.map(lambda k: h * k, gauss.combine(table.weights, slopes))
    inner = inner._replace(iterations=inner.iterations * stages)
    past = jax.tree.map(lambda p, k: jnp.concatenate([p[stages:], k]), past, slopes)
    return increment, past, inner

  return Method(start, step, 2 * stages, True)


def explicit_method(step: integrators.Step, evaluations: int, order: int) -> Method:
  """An explicit step of `lib.dynamics.integrators`, with time as a part of the state."""

  def advance(field, t, y, h, carry):
    new = step(lambda s: (jnp.ones_like(s[0]), field(*s)), (t, y), h)[1]
    return jax.tree.map(lambda a, b: a - b, new, y), carry, exact_inner(y, evaluations)

  return Method(lambda field, t, y, h: (), advance, order, False)


def exact_inner(y: PyTree, evaluations: int) -> Inner:
  """The report of a step that solves nothing."""
  zero = jnp.zeros((), jax.tree.leaves(y)[0].real.dtype)
  return Inner(zero, jnp.asarray(evaluations), jnp.asarray(True))


METHODS = {
  "midpoint": gauss_method(1),
  "gauss4": gauss_method(2),
  "gauss6": gauss_method(3),
  "euler": explicit_method(integrators.euler_step, 1, 1),
  "rk4": explicit_method(integrators.rk4_step, 4, 4),
}
ADAPTIVE = ("tsit5", "dopri5", "dopri8")


def integrate(
  field: Field,
  y: PyTree,
  times,
  *,
  method: str | Method = "gauss4",
  substeps: int | jax.Array = 1,
  save: Callable[[Any, PyTree], PyTree] = lambda t, y: y,
  rtol: float = 1e-8,
  atol: float = 1e-10,
  max_steps: int = 1_000_000,
) -> Solution:
  """The solution of dy/dt = field(t, y) at given times.

  Args:
    field: F(t, y).
    y: state at times[0], a pytree of floating or complex arrays.
    times: (T,), rising or falling (backwards in time), T >= 2.
    method: a `Method`, or one of METHODS (fixed steps) or ADAPTIVE (diffrax).
    substeps: equal steps between two times, for a fixed step. Traced, it serves every step
      with one compilation, but cannot be differentiated backwards.
    save: (t, y) -> what is kept at each time, such as invariants alone.
    rtol, atol, max_steps: of the adaptive methods; the steps are those between two times.

  Raises:
    ValueError: an unknown method, fewer than two times, or substeps < 1.
  """
  times = jnp.asarray(times)
  if times.ndim != 1 or times.shape[0] < 2:
    raise ValueError(f"times must be a vector of at least two, got shape {times.shape}")
  if isinstance(method, str) and method in ADAPTIVE:
    return _adaptive(field, y, times, method, save, rtol, atol, max_steps)
  if isinstance(method, str):
    if method not in METHODS:
      names = ", ".join([*METHODS, *ADAPTIVE])
      raise ValueError(f"method is '{method}'; choose from {names}")
    method = METHODS[method]
  if not isinstance(substeps, jax.core.Tracer) and substeps < 1:
    raise ValueError(f"substeps must be at least 1, got {substeps}")
  y = jax.tree.map(jnp.asarray, y)
  dtype = jnp.result_type(*(x.real.dtype for x in jax.tree.leaves(y)))
  times = times.astype(dtype)
  first_h = (times[1] - times[0]) / substeps

  def interval(carry, ends):
    begin, end = ends
    h = (end - begin) / substeps

    def step(i, inside):
      y, lost, past, residual, evaluations, failed_at = inside
      t = begin + i * h
      increment, past, inner = method.step(field, t, y, h, past)
      y, lost = compensated_add(y, increment, lost)
      sound = jnp.isinf(failed_at)  # the first failure is what is reported
      residual = jnp.where(sound, jnp.maximum(residual, inner.residual), residual)
      failed_at = jnp.where(sound & ~inner.converged, t, failed_at)
      return y, lost, past, residual, evaluations + inner.iterations, failed_at

    carry = lax.fori_loop(0, substeps, step, carry)
    return carry, save(end, carry[0])

  zeros = jax.tree.map(jnp.zeros_like, y)
  carry = (
    y,
    zeros,
    method.start(field, times[0], y, first_h),
    jnp.zeros((), dtype),
    jnp.zeros((), int),
    jnp.asarray(jnp.inf, dtype),
  )
  carry, saved = lax.scan(interval, carry, (times[:-1], times[1:]))
  first = save(times[0], y)
  saved = jax.tree.map(lambda a, b: jnp.concatenate([jnp.asarray(a)[None], b]), first, saved)
  return Solution(saved, carry[0], *carry[3:])


def compensated_add(y: PyTree, dy: PyTree, lost: PyTree) -> tuple[PyTree, PyTree]:
  """(y + dy, what rounding lost), where `lost` is what it lost before (Kahan 1965)."""
  dy = jax.tree.map(lambda d, e: d + e, dy, lost)
  new = jax.tree.map(lambda a, d: a + d, y, dy)
  return new, jax.tree.map(lambda a, d, n: d - (n - a), y, dy, new)


def _adaptive(field, y, times, name, save, rtol, atol, max_steps) -> Solution:
  """diffrax between two times at a time, the step size carried on; complex leaves as pairs."""
  import diffrax

  solver = {"tsit5": diffrax.Tsit5, "dopri5": diffrax.Dopri5, "dopri8": diffrax.Dopri8}[name]()
  y = jax.tree.map(jnp.asarray, y)
  times = times.astype(jnp.result_type(*(x.real.dtype for x in jax.tree.leaves(y))))
  direction = jnp.sign(times[1] - times[0])

  def flow(s, parts, _):  # s runs forwards
    slope = field(direction * s, _complex_leaves(parts, y))
    return jax.tree.map(lambda x: direction * x, _real_leaves(slope))

  solution = diffrax.diffeqsolve(
    diffrax.ODETerm(flow),
    solver,
    t0=direction * times[0],
    t1=direction * times[-1],
    dt0=None,
    y0=_real_leaves(y),
    saveat=diffrax.SaveAt(
      ts=direction * times,
      fn=lambda s, parts, _: (
        save(direction * s, _complex_leaves(parts, y)),
        parts,
      ),
    ),
    stepsize_controller=diffrax.ClipStepSizeController(
      diffrax.PIDController(rtol=rtol, atol=atol), step_ts=direction * times
    ),
    max_steps=max_steps,
  )
  saved, parts = solution.ys
  final = _complex_leaves(jax.tree.map(lambda x: x[-1], parts), y)
  zero = jnp.zeros((), times.dtype)
  per_step = {"tsit5": 6, "dopri5": 6, "dopri8": 13}[name]
  evaluations = solution.stats["num_steps"] * per_step
  return Solution(saved, final, zero, evaluations, zero + jnp.inf)


def _real_leaves(tree: PyTree) -> PyTree:
  def one(x):
    return jnp.stack([x.real, x.imag]) if jnp.iscomplexobj(x) else x

  return jax.tree.map(one, tree)


def _complex_leaves(tree: PyTree, like: PyTree) -> PyTree:
  def one(x, l):
    return lax.complex(x[0], x[1]) if jnp.iscomplexobj(l) else x

  return jax.tree.map(one, tree, like)


def require_converged(solution: Solution) -> Solution:
  """The solution itself, if all inner solves converged (on the host, not under jit).

  Raises:
    ConvergenceError: names the time and the residual.
  """
  failed = np.asarray(solution.failed_at)
  if np.isfinite(failed).any():
    raise ConvergenceError(
      f"The inner solve did not converge at t = {failed.min():.6g} (residual "
      f"{np.max(np.asarray(solution.residual)):.2g}); take a smaller step."
    )
  return solution

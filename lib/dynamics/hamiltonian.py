"""Hamiltonian and Lagrangean systems: their fields by differentiation, and their flow.

Complex coordinates z = u + iv stand for 2 n real ones. The convention of the derivatives is
Wirtinger's,

    ∂f/∂z = ½ (∂f/∂u − i ∂f/∂v),   ∂f/∂z̄ = ½ (∂f/∂u + i ∂f/∂v),

so that df = ∂f/∂z dz + ∂f/∂z̄ dz̄. For a real f, `jax.grad` returns ∂f/∂u − i ∂f/∂v = 2 ∂f/∂z.

Fields are F(t, y), Hamiltonians H(t, y); both may ignore t.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lib import numerics
from lib.dynamics import trajectories
from lib.dynamics.gauss import Field, PyTree

Scalar = Callable[..., jax.Array]


def wirtinger(function: Scalar, z: PyTree) -> tuple[PyTree, PyTree]:
  """(∂f/∂z, ∂f/∂z̄) of a real function of complex arrays, with the shapes of z.

  The two are conjugates of each other. −2 ∂f/∂z̄ is the direction of steepest descent.

  Raises:
    TypeError: the function is not real (from JAX).
  """
  gradient = jax.grad(function)(z)
  return (
    jax.tree.map(lambda g: g / 2, gradient),
    jax.tree.map(lambda g: g.conj() / 2, gradient),
  )


def complex_field(hamiltonian: Scalar) -> Field:
  """i dz/dt = ∂H/∂z̄, the field of H(t, z) for z with the symplectic form i dz ∧ dz̄.

  In real terms du/dt = ½ ∂H/∂v, dv/dt = −½ ∂H/∂u.
  """

  def field(t, z):
    _, conjugate = wirtinger(lambda z: hamiltonian(t, z), z)
    return jax.tree.map(lambda c: -1j * c, conjugate)

  return field


def canonical_field(hamiltonian: Scalar) -> Field:
  """dq/dt = ∂H/∂p, dp/dt = −∂H/∂q for H(t, (q, p)) of real pytrees q and p."""

  def field(t, state):
    q, p = state
    dq, dp = jax.grad(lambda s: hamiltonian(t, s))((q, p))
    return dp, jax.tree.map(jnp.negative, dq)

  return field


# --- Lagrangeans -----------------------------------------------------------------------------


def euler_lagrange(lagrangean: Scalar, q, velocity, acceleration):
  """d/dt ∂L/∂q̇ − ∂L/∂q along a motion, for L(q, q̇) of real vectors (n,).

  It vanishes on solutions. The time derivative is ∂²L/∂q̇∂q q̇ + ∂²L/∂q̇² q̈.
  """
  momentum = jax.grad(lagrangean, argnums=1)
  _, change = jax.jvp(momentum, (q, velocity), (velocity, acceleration))
  return change - jax.grad(lagrangean, argnums=0)(q, velocity)


def first_order_velocity(lagrangean: Scalar, q):
  """q̇ from the Euler-Lagrange equations of an L that is linear in q̇, for real q (n,).

  Then q̈ drops out and what is left is linear in q̇: M q̇ = ∂L/∂q at q̇ = 0 with the
  antisymmetric M = ∂²L/∂q̇∂q − ∂²L/∂q∂q̇, solved densely, in O(n³).
  """
  zero = jnp.zeros_like(q)

  def equations(velocity):
    return euler_lagrange(lagrangean, q, velocity, zero)

  solve = numerics.one_at_a_time(jnp.linalg.solve)
  return solve(jax.jacfwd(equations)(zero), -equations(zero))


# --- real coordinates and what the flow does to volumes --------------------------------------


def to_real(z):
  """(..., n) complex -> (..., 2 n) real: u, then v."""
  return jnp.concatenate([z.real, z.imag], -1)


def to_complex(x):
  """(..., 2 n) real -> (..., n) complex, the inverse of `to_real`."""
  u, v = jnp.split(x, 2, -1)
  return jax.lax.complex(u, v)


def real_field(field: Field) -> Field:
  """The same field in the coordinates of `to_real`."""
  return lambda t, x: to_real(field(t, to_complex(x)))


def divergence(field: Field, t, y) -> jax.Array:
  """Trace of the Jacobian of F at a vector, in its real coordinates (autodiff, exact)."""
  if jnp.iscomplexobj(y):
    field, y = real_field(field), to_real(y)
  return jnp.trace(jax.jacfwd(lambda x: field(t, x))(y))


class Variation(NamedTuple):
  """A state and tangent vectors at it (directions first)."""

  state: Any
  tangents: Any


def variational_field(field: Field) -> Field:
  """F of a state together with DF along tangent vectors, so that both flow at once.

  A Runge-Kutta method on this field carries the exact derivative of its own map: for Gauss
  methods the tangents stay symplectic to rounding.
  """

  def joint(t, variation):
    def along(tangent):
      return jax.jvp(lambda y: field(t, y), (variation.state,), (tangent,))

    slopes, tangents = jax.vmap(along)(variation.tangents)
    return Variation(jax.tree.map(lambda x: x[0], slopes), tangents)

  return joint


def flow_jacobian(field: Field, y, times, **options):
  """D φ of the flow from times[0] to times[-1] at a vector y, (2 n, 2 n) or (n, n) real.

  Args:
    field: F(t, y).
    y: complex (n,) or real (n,).
    times, **options: see `trajectories.integrate`.

  Returns:
    (Jacobian in real coordinates, the `Solution`).
  """
  if jnp.iscomplexobj(y):
    field, y = real_field(field), to_real(y)
  start = Variation(y, jnp.eye(y.shape[0], dtype=y.dtype))
  solution = trajectories.integrate(
    variational_field(field), start, times, save=lambda t, s: (), **options
  )
  return solution.final.tangents.T, solution


def symplectic_error(jacobian) -> jax.Array:
  """max |Dᵀ J D − J| of a (2 n, 2 n) Jacobian in coordinates (u, v) or (q, p)."""
  n = jacobian.shape[0] // 2
  eye, zero = jnp.eye(n, dtype=jacobian.dtype), jnp.zeros((n, n), jacobian.dtype)
  form = jnp.block([[zero, eye], [-eye, zero]])
  return jnp.abs(jacobian.T @ form @ jacobian - form).max()

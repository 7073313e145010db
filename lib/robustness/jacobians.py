"""Input Jacobians of a batch: exactly, and by random projection where only norms are needed.

`function` maps a batch (n, …) to (n, d) and treats its examples independently (batch
normalisation in train mode does not, and would mix them).
"""

from __future__ import annotations

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

Function = Callable[[jax.Array], jax.Array]


def jacobian(function: Function, x: jax.Array) -> jax.Array:
  """J(x_i) = ∂f(x_i)/∂x_i of every example, (n, d, …): d backward passes.

  Args:
    function: (n, …) -> (n, d).
    x: (n, …).
  """
  y, pull = jax.vjp(function, x)
  chex.assert_rank(y, 2)
  rows = jnp.broadcast_to(jnp.eye(y.shape[1], dtype=y.dtype)[:, None], (y.shape[1], *y.shape))
  return jnp.moveaxis(jax.vmap(lambda v: pull(v)[0])(rows), 0, 1)


def squared_norms(jacobians: jax.Array) -> jax.Array:
  """‖J_i‖_F² of stacked Jacobians, (n, d, …) -> (n,)."""
  return jnp.sum(jnp.square(jacobians), tuple(range(1, jacobians.ndim)))


def unit_vectors(key, shape: tuple[int, ...]) -> jax.Array:
  """Vectors uniform on the unit sphere of the last axis."""
  v = jax.random.normal(key, shape)
  return v / jnp.linalg.norm(v, axis=-1, keepdims=True)


def projected_squared_norms(
  key, function: Function, x: jax.Array, projections: int = 1
) -> tuple[jax.Array, jax.Array]:
  """f(x) and unbiased estimates of ‖J(x_i)‖_F², from `projections` backward passes.

      ‖J‖_F² = d E ‖v'J‖²,  v uniform on the unit sphere of R^d

  Hoffman, Roberts and Yaida (2019), *Robust learning with Jacobian regularization*. The
  outputs come with it, so that a loss of both needs no second forward pass; differentiate with
  `jax.grad` for the regulariser. With d = 1 it is exact.

  Args:
    key: of the directions.
    function: (n, …) -> (n, d).
    x: (n, …).
    projections: draws an example.

  Returns:
    (n, d) outputs and (n,) estimates.
  """
  y, pull = jax.vjp(function, x)
  chex.assert_rank(y, 2)
  directions = unit_vectors(key, (projections, *y.shape))
  if projections == 1:
    rows = pull(directions[0])[0][None]
  else:
    rows = jax.vmap(lambda v: pull(v)[0])(directions)
  squares = jnp.sum(jnp.square(rows), tuple(range(2, rows.ndim)))
  return y, y.shape[1] * squares.mean(0)


def input_projected_squared_norms(
  key, function: Function, x: jax.Array, projections: int = 1
) -> tuple[jax.Array, jax.Array]:
  """f(x) and unbiased estimates of ‖J(x_i)‖_F² = E ‖J u‖², u ~ N(0, I), by forward mode.

  Hutchinson's estimator from the input's side; its variance 2 ‖J Jᵀ‖_F² an evaluation is that
  of Gaussian vectors at the output, and above that of the sphere.
  """
  noise = jax.random.normal(key, (projections, *x.shape), x.dtype)
  y, columns = jax.vmap(lambda u: jax.jvp(function, (x,), (u,)), out_axes=(None, 0))(noise)
  return y, jnp.square(columns).sum(-1).mean(0)


def centre_outputs(jacobians: jax.Array) -> jax.Array:
  """Jacobians of the logits less their mean: what a softmax can see of them, (n, d, …)."""
  return jacobians - jacobians.mean(1, keepdims=True)


def similarities(jacobians: jax.Array) -> jax.Array:
  """⟨J_i, J_j⟩_F / (‖J_i‖_F ‖J_j‖_F) of all pairs, (n, d, …) -> (n, n), 0 for a zero J.

  Co, Martinez Rego and Lupu (2021), eq. 10. A common shift of all logits changes it though no
  prediction: see `centre_outputs`.
  """
  rows = jacobians.reshape(len(jacobians), -1)
  length = jnp.linalg.norm(rows, axis=1, keepdims=True)
  rows = rows / jnp.where(length > 0, length, 1.0)
  return jnp.clip(rows @ rows.T, -1.0, 1.0)


def sketch(function: Function, x: jax.Array, directions: jax.Array) -> jax.Array:
  """vᵀJ(x_i) for directions that all examples share, scaled to keep inner products.

      ⟨J_i, J_j⟩_F = d E ⟨v'J_i, v'J_j⟩,  the same v for both

  `similarities` of the result estimate those of the Jacobians from k backward passes; for
  k = d orthonormal directions they are exact.

  Args:
    function: (n, …) -> (n, d).
    x: (n, …).
    directions: (k, d) unit vectors.

  Returns:
    (n, k, …).
  """
  y, pull = jax.vjp(function, x)
  k, d = directions.shape
  rows = jax.vmap(lambda v: pull(jnp.broadcast_to(v, y.shape))[0])(directions)
  return jnp.moveaxis(rows, 0, 1) * (d / k) ** 0.5


def off_diagonal(matrix: jax.Array) -> jax.Array:
  """The entries of pairs i < j of a symmetric matrix, (n, n) -> (n (n − 1) / 2,)."""
  return matrix[jnp.triu_indices(len(matrix), 1)]


def largest_eigenvalue(jacobians: jax.Array, steps: int = 50) -> jax.Array:
  """λ_max(Σ_i J_iᵀ J_i) = ‖stacked Jacobian‖₂² by the power iteration, (n, d, …) -> ().

  The most that a δ of unit length can move the linearised outputs, Σ_i ‖J_i δ‖². 0 for zeros.
  """
  rows = jacobians.reshape(-1, jacobians[0, 0].size)

  def unit(v):
    length = jnp.linalg.norm(v)
    return v / jnp.where(length > 0, length, 1.0)

  # Sums and lengths of the columns are a good start, but in symmetric cases orthogonal to what
  # is sought (outputs less their mean have sums of 0): a little noise is not.
  lengths = jnp.sqrt(jnp.sum(rows**2, 0))
  noise = 1e-3 * jax.random.normal(jax.random.key(0), lengths.shape, rows.dtype)
  start = jnp.sum(rows, 0) + lengths * (1 + noise)
  v = jax.lax.fori_loop(0, steps, lambda _, v: unit(rows.T @ (rows @ v)), unit(start))
  return jnp.sum(jnp.square(rows @ v))

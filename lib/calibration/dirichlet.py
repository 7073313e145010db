"""Dirichlet calibration with off-diagonal and intercept regularisation (ODIR).

Kull et al., *Beyond temperature scaling* (NeurIPS 2019).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax


class Dirichlet(NamedTuple):
  """Matrix W (K, K) and intercept b (K,) of softmax(W log p + b)."""

  matrix: jax.Array
  bias: jax.Array


def objective(
  parameters: Dirichlet,
  logits: jax.Array,
  labels: jax.Array,
  off_diagonal,
  intercept,
  weights: jax.Array | None = None,
) -> jax.Array:
  """mean −log q_y + λ/(K(K−1)) Σ_{i≠j} W_ij² + μ/K Σ_i b_i², q = softmax(W log p + b).

  The mean is over the examples, weighted where there are `weights`.
  """
  classes = logits.shape[-1]
  outputs = _outputs(parameters, logits)
  losses = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, labels)
  loss = jnp.average(losses, weights=weights)
  off = parameters.matrix * (1 - jnp.eye(classes))
  return (
    loss
    + off_diagonal * jnp.sum(off**2) / (classes * (classes - 1))
    + intercept * jnp.mean(parameters.bias**2)
  )


def _outputs(parameters, logits):
  return jax.nn.log_softmax(logits) @ parameters.matrix.T + parameters.bias


def fit(
  logits: jax.Array,
  labels: jax.Array,
  off_diagonal=1e-2,
  intercept=1e-2,
  iterations: int = 100,
  weights: jax.Array | None = None,
) -> Dirichlet:
  """Minimises `objective`, which is convex, by L-BFGS from the identity.

  Args:
    logits: (n, K).
    labels: (n,) integers.
    off_diagonal: λ, may be traced.
    intercept: μ, may be traced.
    iterations: of L-BFGS.
    weights: (n,) of the examples, by default equal; 0 leaves one out without changing shapes.
  """
  classes = logits.shape[-1]
  start = Dirichlet(jnp.eye(classes, dtype=logits.dtype), jnp.zeros(classes, logits.dtype))

  def value(parameters):
    return objective(parameters, logits, labels, off_diagonal, intercept, weights)

  solver = optax.lbfgs(linesearch=optax.scale_by_zoom_linesearch(max_linesearch_steps=15))
  value_and_grad = optax.value_and_grad_from_state(value)

  def step(carry, _):
    parameters, state = carry
    loss, gradient = value_and_grad(parameters, state=state)
    updates, state = solver.update(
      gradient, state, parameters, value=loss, grad=gradient, value_fn=value
    )
    return (optax.apply_updates(parameters, updates), state), None

  (found, _), _ = lax.scan(step, (start, solver.init(start)), None, length=iterations)
  return found


def scores(parameters: Dirichlet, logits: jax.Array) -> jax.Array:
  """softmax(W log softmax(z) + b); (…, K) -> (…, K)."""
  return jax.nn.softmax(_outputs(parameters, logits))

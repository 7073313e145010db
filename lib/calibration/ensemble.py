"""Ensemble temperature scaling: Zhang, Kailkhura and Han, *Mix-n-Match* (ICML 2020)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from lib.calibration import temperature as temperature_scaling

LOSSES = ("nll", "mse")


class Ensemble(NamedTuple):
  """T and the weights (3,) of softmax(z / T), softmax(z) and 1/K."""

  temperature: jax.Array
  weights: jax.Array


def _members(temperature, logits):
  """(3, …, K)."""
  scaled = temperature_scaling.scores(temperature, logits)
  plain = jax.nn.softmax(logits)
  return jnp.stack([scaled, plain, jnp.full_like(plain, 1 / logits.shape[-1])])


def fit(
  logits: jax.Array, labels: jax.Array, loss: str = "nll", iterations: int = 1000
) -> Ensemble:
  """T by temperature scaling, then the weights on the simplex that minimise the loss.

  Both problems in the weights are convex. "nll" is that of a mixture with known components,
  solved by expectation maximisation, w_j ← mean_i w_j p_j(y_i) / Σ_k w_k p_k(y_i), which
  starts at equal weights and cannot leave the simplex; "mse" is a quadratic in three weights,
  solved by projected gradient steps on its 3 × 3 matrix.

  Raises:
    ValueError: unknown loss.
  """
  if loss not in LOSSES:
    raise ValueError(f"loss {loss!r} is none of {LOSSES}")
  temperature = temperature_scaling.fit(logits, labels)
  members = _members(temperature, logits)
  weights = jnp.full(3, 1 / 3, logits.dtype)
  if loss == "nll":
    chosen = jnp.take_along_axis(members, labels[None, :, None], -1)[..., 0]

    def step(weights, _):
      shares = weights[:, None] * chosen
      return jnp.mean(shares / jnp.maximum(shares.sum(0), 1e-30), -1), None

  else:
    targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    flat = members.reshape(3, -1) / jnp.sqrt(labels.size)
    matrix, vector = flat @ flat.T, flat @ (targets.ravel() / jnp.sqrt(labels.size))
    size = 1 / jnp.trace(matrix)

    def step(weights, _):
      moved = weights - size * (matrix @ weights - vector)
      return optax.projections.projection_simplex(moved), None

  weights, _ = lax.scan(step, weights, None, length=iterations)
  return Ensemble(temperature, weights)


def scores(ensemble: Ensemble, logits: jax.Array) -> jax.Array:
  """w_1 softmax(z / T) + w_2 softmax(z) + w_3 / K; (…, K) -> (…, K)."""
  return jnp.tensordot(ensemble.weights, _members(ensemble.temperature, logits), 1)

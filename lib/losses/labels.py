"""Soft labels: what the targets of the cross entropy are instead of one-hot vectors.

A label matrix Y (K, K) has the target of class k in row k; the loss of an example of class y
is `optax.losses.softmax_cross_entropy(logits, Y[y])`.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
from jax import lax


def uniform_labels(classes: int, alpha, own_share: bool = True) -> jax.Array:
  """Row k is (1 − α) e_k + α u, Szegedy et al. (CVPR 2016).

  Args:
    classes: K.
    alpha: in [0, 1].
    own_share: whether u is uniform over all classes, so that α (K − 1)/K goes to the others;
      otherwise over the others, which then get all of α.

  Returns:
    (K, K).
  """
  eye = jnp.eye(classes)
  other = jnp.ones((classes, classes)) / classes
  if not own_share:
    other = (1 - eye) / (classes - 1)
  return (1 - alpha) * eye + alpha * other


def class_distances(
  x: jax.Array, labels: jax.Array, classes: int, order: int = 2
) -> jax.Array:
  """d_k(k') = mean of ‖x − x'‖_p over x in class k, x' in class k': Liu and JaJa, eq. 13-15.

  Args:
    x: (n, …) inputs or features of them.
    labels: (n,) integers.
    classes: K.
    order: p, 1 or 2.

  Returns:
    (K, K), symmetric. The diagonal counts each example's distance 0 to itself. The row and
    the column of a class without an example are NaN.

  Raises:
    ValueError: p is neither 1 nor 2.
  """
  x = x.reshape(x.shape[0], -1)
  chex.assert_shape(labels, (x.shape[0],))
  member = jax.nn.one_hot(labels, classes, dtype=x.dtype)
  count = member.sum(0)
  member = member / jnp.maximum(count, 1)
  if order == 1:  # one example against all at a time: (n, d) at once, not (n, n, d)
    sums = lax.map(lambda one: jnp.abs(x - one).sum(-1) @ member, x)
  elif order == 2:
    norms = jnp.sum(x**2, -1)
    square = norms[:, None] + norms - 2 * x @ x.T
    sums = jnp.sqrt(jnp.maximum(square, 0.0)) @ member
  else:
    raise ValueError(f"order is {order}, neither 1 nor 2")
  distances = member.T @ sums
  there = (count[:, None] > 0) & (count > 0)
  return jnp.where(there, 0.5 * (distances + distances.T), jnp.nan)


def centre_distances(centres: jax.Array) -> jax.Array:
  """‖V_k − V_k'‖₂ of a vector for each class, e.g. its name's embedding; (K, d) -> (K, K)."""
  return jnp.sqrt(jnp.sum((centres[:, None] - centres) ** 2, -1))


def class_similarities(distances: jax.Array, beta, with_self: bool = False) -> jax.Array:
  """s_k(k') ∝ exp(−β d̂_k(k')), s_k(k) = 0, Σ_k' s_k(k') = 1: Liu and JaJa, eq. 17.

  d̂_k is row k of the distances with mean 0 and standard deviation 1.

  Args:
    distances: (K, K), K ≥ 3.
    beta: ≥ 0; 0 makes all others equally similar.
    with_self: whether the distance of a class to itself counts in the standardisation, where
      it is an outlier that makes β smaller in effect; the paper does not say.

  Returns:
    (K, K) rows that sum to 1.
  """
  classes = distances.shape[0]
  chex.assert_shape(distances, (classes, classes))
  own = jnp.eye(classes, dtype=bool)
  counts = jnp.ones((classes, classes), bool) if with_self else ~own
  number = counts.sum(-1, keepdims=True)
  mean = jnp.sum(distances, -1, keepdims=True, where=counts) / number
  variance = jnp.sum((distances - mean) ** 2, -1, keepdims=True, where=counts) / number
  scaled = (distances - mean) / jnp.sqrt(jnp.maximum(variance, 1e-24))
  return jax.nn.softmax(jnp.where(own, -jnp.inf, -beta * scaled), -1)


def similarity_labels(similarities: jax.Array, alpha) -> jax.Array:
  """Row k is (1 − α) e_k + α s_k: Liu and JaJa, eq. 18; (K, K) -> (K, K)."""
  return (1 - alpha) * jnp.eye(similarities.shape[0]) + alpha * similarities


def mixup(
  key: jax.Array, inputs: jax.Array, targets: jax.Array, concentration
) -> tuple[jax.Array, jax.Array]:
  """λ x_i + (1 − λ) x_π(i), and the same of the targets, λ ~ Beta(a, a), π a permutation.

  Zhang et al., *mixup: beyond empirical risk minimization* (ICLR 2018), one λ a minibatch as
  in their program. It composes with any soft labels.

  Args:
    key: random key.
    inputs: (n, …).
    targets: (n, K).
    concentration: a ≥ 0, may be traced; 0 changes nothing.
  """
  share_key, order_key = jax.random.split(key)
  a = jnp.maximum(jnp.asarray(concentration, inputs.dtype), 1e-3)
  share = jax.random.beta(share_key, a, a, dtype=inputs.dtype)
  share = jnp.where(jnp.asarray(concentration) > 0, share, 1.0)
  order = jax.random.permutation(order_key, inputs.shape[0])
  return (
    share * inputs + (1 - share) * inputs[order],
    share * targets + (1 - share) * targets[order],
  )

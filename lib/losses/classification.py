"""Losses of a classifier, one number per example, in nats.

The cross entropy itself is `optax.losses.softmax_cross_entropy_with_integer_labels`.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import optax


def uniform_kl(logits: jax.Array) -> jax.Array:
  """KL(u ‖ p) = −log K − (1/K) Σ_k log p_k, with u uniform over the K classes, p = softmax.

  Label smoothing as an added loss, β KL(u ‖ p): Pereyra et al., *Regularizing neural networks
  by penalizing confident output distributions* (2017), and Ye and Lin, *Channel capacity of
  neural networks*, section 4.2. (Their code averages the terms of the sum over k too, so that
  its KL is 1/K of this one.)

  Args:
    logits: (…, K).

  Returns:
    (…) values, 0 where all logits are equal.
  """
  log_p = jax.nn.log_softmax(logits)
  return -jnp.log(logits.shape[-1]) - log_p.mean(-1)


def label_smoothing(logits: jax.Array, labels: jax.Array, alpha) -> jax.Array:
  """Cross entropy with the targets (1 − α) onehot(y) + α u.

  Szegedy et al., *Rethinking the inception architecture* (CVPR 2016), section 7. It equals
  (1 − α) CE(y, p) + α (KL(u ‖ p) + log K).

  Args:
    logits: (…, K).
    labels: (…) integers.
    alpha: weight of the uniform distribution, in [0, 1].

  Returns:
    (…) values.
  """
  chex.assert_equal_shape_prefix([logits, labels], labels.ndim)
  onehot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
  return optax.losses.softmax_cross_entropy(logits, optax.losses.smooth_labels(onehot, alpha))


def entropy(logits: jax.Array) -> jax.Array:
  """H(p) = −Σ_k p_k log p_k with p = softmax(logits); (…, K) -> (…)."""
  log_p = jax.nn.log_softmax(logits)
  p = jnp.exp(log_p)
  # A logit of −inf has p = 0 and adds 0; without the selection it would add 0 · inf.
  return -jnp.sum(jnp.where(p > 0, p * jnp.where(p > 0, log_p, 0.0), 0.0), -1)


def confidence_penalty(logits: jax.Array) -> jax.Array:
  """−H(p), to be added with a weight β: Pereyra et al. (2017); (…, K) -> (…).

  KL(p ‖ u) differs from it by the constant log K.
  """
  return -entropy(logits)

"""Variational information bottleneck: Alemi et al. (ICLR 2017)."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp


def gaussian_kl(mean: jax.Array, std: jax.Array) -> jax.Array:
  """KL(N(μ, diag σ²) ‖ N(0, I)) = ½ Σ_i (μ_i² + σ_i² − 1 − 2 log σ_i), in nats.

  The upper bound on I(Z; X) in eq. 14 and 17 of Alemi et al., whose r(z) is N(0, I).

  Args:
    mean: (…, d).
    std: (…, d), positive.

  Returns:
    (…) values, 0 for μ = 0, σ = 1.
  """
  chex.assert_equal_shape([mean, std])
  return 0.5 * jnp.sum(mean**2 + std**2 - 1.0 - 2.0 * jnp.log(std), -1)


def reparametrise(
  key: jax.Array, mean: jax.Array, std: jax.Array, samples: int | None = None
) -> jax.Array:
  """z = μ + σ ε with ε ~ N(0, I): Kingma and Welling (2014), section 2.4.

  Args:
    key: random key.
    mean: (…, d).
    std: (…, d).
    samples: number of draws, or None for one without the leading axis.

  Returns:
    (…, d), or (samples, …, d).
  """
  chex.assert_equal_shape([mean, std])
  shape = mean.shape if samples is None else (samples, *mean.shape)
  return mean + std * jax.random.normal(key, shape, mean.dtype)

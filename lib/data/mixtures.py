"""Mixtures of Gaussians as pure functions: draws and exact posteriors on the device.

x | y = c is one of M equally likely modes, μ_cm + A_cm ε with ε ~ N(0, I); all classes are
equally likely. Everything can be jitted and vmapped over keys and mixtures.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Mixture(NamedTuple):
  """Means (C, M, d) and square roots A of the covariances, (C, M, d, d), or () for A = a I."""

  means: jax.Array
  roots: jax.Array


def random_mixture(
  key: jax.Array, classes: int, dim: int, modes: int = 4, spread: float = 0.3
) -> Mixture:
  """Means uniform in [0, 1]^d, covariances A Aᵀ with A_ij ~ U[−spread, spread].

  The distributions of Posocco and Bonnefoy, *Estimating expected calibration errors* (ICANN
  2021), section 5.1, whose spread is 0.3.
  """
  mean_key, root_key = jax.random.split(key)
  means = jax.random.uniform(mean_key, (classes, modes, dim))
  roots = jax.random.uniform(
    root_key, (classes, modes, dim, dim), minval=-spread, maxval=spread
  )
  return Mixture(means, roots)


def hierarchical(
  key: jax.Array,
  classes: int = 20,
  groups: int = 5,
  dim: int = 32,
  between: float = 0.6,
  within: float = 0.3,
  noise: float = 1.0,
) -> Mixture:
  """Classes in groups: mean = a group's N(0, between² I) + the class's own N(0, within² I).

  Class c belongs to group c mod `groups`; the noise is isotropic.
  """
  group_key, own_key = jax.random.split(key)
  centres = between * jax.random.normal(group_key, (groups, dim))
  own = within * jax.random.normal(own_key, (classes, dim))
  means = centres[jnp.arange(classes) % groups] + own
  return Mixture(means[:, None], jnp.asarray(noise, means.dtype))


def sample(key: jax.Array, mixture: Mixture, n: int) -> tuple[jax.Array, jax.Array]:
  """n independent draws: inputs (n, d) and classes (n,)."""
  classes, modes, dim = mixture.means.shape
  class_key, mode_key, noise_key = jax.random.split(key, 3)
  y = jax.random.randint(class_key, (n,), 0, classes)
  mode = jax.random.randint(mode_key, (n,), 0, modes)
  noise = jax.random.normal(noise_key, (n, dim), mixture.means.dtype)
  if mixture.roots.ndim:
    noise = jnp.einsum("nij,nj->ni", mixture.roots[y, mode], noise)
  else:
    noise = mixture.roots * noise
  return mixture.means[y, mode] + noise, y


def log_densities(mixture: Mixture, x: jax.Array) -> jax.Array:
  """log p(x | c) for every class; (n, d) -> (n, C)."""
  classes, modes, dim = mixture.means.shape
  if mixture.roots.ndim:
    inverse = jnp.linalg.inv(mixture.roots)
    log_determinant = jnp.linalg.slogdet(mixture.roots)[1]
    shift = jnp.einsum("cmij,cmj->cmi", inverse, mixture.means)
    z = jnp.einsum("cmij,nj->ncmi", inverse, x) - shift
    square = jnp.sum(z**2, -1)
  else:
    means = mixture.means.reshape(-1, dim)
    square = jnp.sum(x**2, -1, keepdims=True) - 2 * x @ means.T + jnp.sum(means**2, -1)
    square = square.reshape(-1, classes, modes) / mixture.roots**2
    log_determinant = dim * jnp.log(mixture.roots)
  each = -0.5 * square - log_determinant - 0.5 * dim * jnp.log(2 * jnp.pi)
  return jax.nn.logsumexp(each, -1) - jnp.log(modes)


def posterior(mixture: Mixture, x: jax.Array) -> jax.Array:
  """P(c | x), the exact one; (n, d) -> (n, C)."""
  return jax.nn.softmax(log_densities(mixture, x), -1)

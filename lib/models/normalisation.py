"""Normalisation of activations as functions: statistics in, statistics out.

Batch normalisation is Ioffe and Szegedy's (2015); with statistics taken from the test batch it
is called dynamic. LocalNorm is Yin, Scholte and Bohte's (2021): a batch is cut into groups,
each with statistics, scale and shift of its own. There is no hidden state: running averages
are arguments and results.
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class Statistics(NamedTuple):
  """Mean and (biased) variance of every channel."""

  mean: jax.Array
  variance: jax.Array


def statistics(x: jax.Array, axes: tuple[int, ...] | None = None) -> Statistics:
  """Mean and variance over `axes`, by default all but the last, which are kept.

  One value alone, as a single image behind the last pooling has it, has a variance of 0: what
  is normalised with it is the shift, whatever the input was.
  """
  axes = tuple(range(x.ndim - 1)) if axes is None else axes
  mean = x.mean(axes, keepdims=True)
  return Statistics(mean, jnp.square(x - mean).mean(axes, keepdims=True))


def running(old: Statistics, new: Statistics, momentum=0.9) -> Statistics:
  """momentum · old + (1 − momentum) · new."""
  return jax.tree.map(lambda a, b: momentum * a + (1 - momentum) * b, old, new)


def normalise(x, found: Statistics, scale, shift, epsilon=1e-5) -> jax.Array:
  """γ (x − μ) / √(σ² + ε) + β.

  Args:
    x: (…, channels).
    found: statistics that broadcast against x.
    scale, shift: γ and β, which broadcast against x.
    epsilon: ε, inside the root only.
  """
  return scale * (x - found.mean) * jax.lax.rsqrt(found.variance + epsilon) + shift


def batch_norm(
  x, scale, shift, stored: Statistics | None = None, epsilon=1e-5
) -> tuple[jax.Array, Statistics]:
  """Batch normalisation with stored statistics, or with those of x itself.

  Args:
    x: (n, …, channels).
    scale, shift: (channels,).
    stored: running averages, for a test that goes by the training data; None takes the
      statistics of x: in training, and at test time for dynamic batch normalisation.
    epsilon: ε.

  Returns:
    The output and the statistics that were used (for `running`).
  """
  found = statistics(x) if stored is None else stored
  return normalise(x, found, scale, shift, epsilon), found


def local_norm(x, scale, shift, epsilon=1e-5) -> jax.Array:
  """LocalNorm in training, and LN-Batch at test time: contiguous groups, each for itself.

      y_k = γ_k (x_k − μ_k) / √(σ_k² + ε) + β_k,  group k of K

  The print has ε inside the root and outside; here it is inside only. Each γ_k, β_k gets the
  gradient of one group alone, 1/K of the batch: under a mean loss their step is K times
  smaller than that of one shared pair. With all γ_k and β_k equal this is ghost batch
  normalisation.

  Args:
    x: (n, …, channels), n a multiple of K.
    scale, shift: (K, channels).
    epsilon: ε.

  Raises:
    ValueError: the batch cannot be cut into K groups of equal size.
  """
  chex.assert_equal_shape([scale, shift])
  groups = len(scale)
  if len(x) % groups:
    raise ValueError(f"a batch of {len(x)} is not a multiple of {groups} groups")
  cut = x.reshape(groups, len(x) // groups, *x.shape[1:])
  inner = tuple(range(1, cut.ndim - 1))
  shape = (groups, *[1] * len(inner), x.shape[-1])
  found = statistics(cut, inner)
  return normalise(cut, found, scale.reshape(shape), shift.reshape(shape), epsilon).reshape(
    x.shape
  )


def local_norm_through(x, scale, shift, group, epsilon=1e-5) -> jax.Array:
  """The whole batch through one group's scale and shift, with its own statistics.

  Map it over `group` for LN-Voting; a batch of one image is LN-Single.

  Args:
    x: (n, …, channels).
    scale, shift: (K, channels).
    group: an index, which may be traced.
    epsilon: ε.
  """
  return normalise(x, statistics(x), scale[group], shift[group], epsilon)


def rotations(images: jax.Array) -> jax.Array:
  """Every image with its turns by 90, 180 and 270 degrees, (n, h, h, c) -> (n, 4, h, h, c).

  The first of each four is the image itself: the ROT90 modes take statistics over the four and
  classify the first. The print turns "width and channel"; height and width are meant.

  Raises:
    ValueError: the images are not square.
  """
  if images.shape[1] != images.shape[2]:
    raise ValueError(f"only square images can be turned, not {images.shape[1:3]}")
  return jnp.stack([jnp.rot90(images, k, (1, 2)) for k in range(4)], 1)


def majority_vote(key: jax.Array, votes: jax.Array, classes: int) -> jax.Array:
  """The class with the most votes, ties broken at random, (voters, n) -> (n,)."""
  counts = jax.nn.one_hot(votes, classes).sum(0)
  return jnp.argmax(counts + jax.random.uniform(key, counts.shape, maxval=0.5), -1)

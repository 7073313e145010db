"""Data augmentation on device: (key, inputs) -> inputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def pad_crop_flip(key: jax.Array, images: jax.Array, pad: int = 4) -> jax.Array:
  """Random crop of the zero-padded image, then a horizontal flip with probability ½.

  He et al. (CVPR 2016), section 4.2: 4 pixels on every side, a 32 × 32 crop.

  Args:
    key: random key.
    images: (n, height, width, channels), whose mean has been subtracted before, so that the
      padding is the mean.
    pad: pixels on every side.

  Returns:
    Images of the same shape.
  """
  n, height, width, _ = images.shape
  offset_key, flip_key = jax.random.split(key)
  offsets = jax.random.randint(offset_key, (2, n), 0, 2 * pad + 1)
  padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
  rows = offsets[0][:, None] + jnp.arange(height)
  columns = offsets[1][:, None] + jnp.arange(width)
  flip = jax.random.bernoulli(flip_key, shape=(n, 1))
  columns = jnp.where(flip, columns[:, ::-1], columns)
  return padded[jnp.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]

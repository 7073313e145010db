"""The hand-written gradients of a convolution against those that JAX derives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lib.models import convolution

LAYOUT = ("NHWC", "HWIO", "NHWC")


@pytest.mark.parametrize(
  ("size", "kernel", "stride", "padding"),
  [
    ((8, 8), (3, 3), (1, 1), ((1, 1), (1, 1))),
    ((8, 8), (3, 3), (2, 2), ((1, 1), (1, 1))),
    ((7, 9), (3, 3), (2, 2), ((1, 1), (1, 1))),
    ((8, 8), (1, 1), (2, 2), ((0, 0), (0, 0))),
    ((9, 7), (2, 4), (3, 1), ((0, 2), (1, 0))),
  ],
)
def test_value_and_gradients(size, kernel, stride, padding):
  keys = jax.random.split(jax.random.key(0), 3)
  x = jax.random.normal(keys[0], (2, *size, 3))
  k = jax.random.normal(keys[1], (*kernel, 3, 5))

  def original(x, k):
    return lax.conv_general_dilated(x, k, stride, padding, dimension_numbers=LAYOUT)

  def own(x, k):
    return convolution.conv_general_dilated(
      x, k, stride, padding, dimension_numbers=LAYOUT, lhs_dilation=(1, 1)
    )

  @jax.jit
  def compare(x, k, seed):
    expected, pull = jax.vjp(original, x, k)
    found, own_pull = jax.vjp(own, x, k)
    cotangent = jax.random.normal(seed, expected.shape)
    return (expected, *pull(cotangent)), (found, *own_pull(cotangent))

  for a, b in zip(*compare(x, k, keys[2]), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_it_can_be_batched_over_members():
  x = jax.random.normal(jax.random.key(0), (3, 2, 6, 6, 2))
  k = jax.random.normal(jax.random.key(1), (3, 3, 3, 2, 4))

  def gradient(x, k):
    y = lambda k: convolution.conv_general_dilated(  # noqa: E731
      x, k, (2, 2), ((1, 1), (1, 1)), dimension_numbers=LAYOUT
    )
    return jax.grad(lambda k: jnp.sum(jnp.sin(y(k))))(k)

  batched = jax.jit(jax.vmap(gradient))(x, k)
  alone = jax.jit(gradient)
  for i in range(3):
    np.testing.assert_allclose(batched[i], alone(x[i], k[i]), rtol=1e-4, atol=1e-4)

"""Both forms of a convolution, and their gradients, against XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lib.models import convolution

LAYOUT = ("NHWC", "HWIO", "NHWC")


FORMS = (convolution.conv_general_dilated, convolution.product_of_patches)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
  ("size", "kernel", "stride", "padding"),
  [
    ((8, 8), (3, 3), (1, 1), ((1, 1), (1, 1))),
    ((8, 8), (3, 3), (2, 2), ((1, 1), (1, 1))),
    ((7, 9), (3, 3), (2, 2), ((1, 1), (1, 1))),
    ((8, 8), (1, 1), (2, 2), ((0, 0), (0, 0))),
    ((9, 7), (2, 4), (3, 1), ((0, 2), (1, 0))),
    ((6, 40), (3, 5), (2, 1), ((0, 1), (2, 2))),  # four blocks of 10 outputs, stepping down
  ],
)
def test_value_and_gradients(size, kernel, stride, padding, form):
  keys = jax.random.split(jax.random.key(0), 3)
  x = jax.random.normal(keys[0], (2, *size, 3))
  k = jax.random.normal(keys[1], (*kernel, 3, 5))

  def original(x, k):
    return lax.conv_general_dilated(x, k, stride, padding, dimension_numbers=LAYOUT)

  def own(x, k):
    return form(x, k, stride, padding, dimension_numbers=LAYOUT, lhs_dilation=(1, 1))

  @jax.jit
  def compare(x, k, seed):
    expected, pull = jax.vjp(original, x, k)
    found, own_pull = jax.vjp(own, x, k)
    cotangent = jax.random.normal(seed, expected.shape)
    return (expected, *pull(cotangent)), (found, *own_pull(cotangent))

  for a, b in zip(*compare(x, k, keys[2]), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_it_can_be_batched_over_members(form):
  x = jax.random.normal(jax.random.key(0), (3, 2, 6, 6, 2))
  k = jax.random.normal(jax.random.key(1), (3, 3, 3, 2, 4))

  def gradient(x, k):
    y = lambda k: form(  # noqa: E731
      x, k, (2, 2), ((1, 1), (1, 1)), dimension_numbers=LAYOUT
    )
    return jax.grad(lambda k: jnp.sum(jnp.sin(y(k))))(k)

  batched = jax.jit(jax.vmap(gradient))(x, k)
  alone = jax.jit(gradient)
  for i in range(3):
    np.testing.assert_allclose(batched[i], alone(x[i], k[i]), rtol=1e-4, atol=1e-4)


def test_products_have_second_and_forward_derivatives():
  """What a penalty of an input gradient needs, against the original."""
  x = jax.random.normal(jax.random.key(0), (2, 6, 6, 2))
  k = jax.random.normal(jax.random.key(1), (3, 3, 2, 4))

  def penalty(form):
    def value(k):
      y = lambda x: jnp.sin(  # noqa: E731
        form(x, k, (1, 1), ((1, 1), (1, 1)), dimension_numbers=LAYOUT)
      )
      _, forward = jax.jvp(y, (x,), (jnp.cos(x),))
      return jnp.sum(jnp.square(jax.grad(lambda x: y(x).sum())(x))) + jnp.sum(forward**2)

    return jax.jit(jax.grad(value))

  np.testing.assert_allclose(
    penalty(convolution.product_of_patches)(k),
    penalty(lax.conv_general_dilated)(k),
    rtol=1e-3,
    atol=1e-3,
  )


def test_grouped_convolutions_are_the_original():
  x = jax.random.normal(jax.random.key(0), (2, 6, 6, 4))
  k = jax.random.normal(jax.random.key(1), (3, 3, 2, 4))
  options = {"dimension_numbers": LAYOUT, "feature_group_count": 2}
  for form in FORMS:
    np.testing.assert_allclose(
      form(x, k, (1, 1), ((1, 1), (1, 1)), **options),
      lax.conv_general_dilated(x, k, (1, 1), ((1, 1), (1, 1)), **options),
      rtol=1e-6,
    )

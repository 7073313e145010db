"""The small CNNs of Fig. 1, whose errors can be centred and kernels re-parametrised."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from lib import models, updates
from lib.models import convolution
from projects.weight_grad_centralization import methods
from projects.weight_grad_centralization.methods import Method


class ReparametrisedConv(nn.Module):
  """A convolution with the kernel W(V): V itself, or one of the published parametrisations.

      weight normalisation    W_j = g_j V_j / ‖V_j‖, g learned, g_j = ‖V_j‖ at first
      weight standardisation  W_j = (V_j − mean(V_j)) / (std(V_j) √n), n the fan-in

  Training moves V and g, so that gradients go through W(V); the paper changes weights in place
  instead. Salimans and Kingma (2016); Qiao et al. (2019), with the factor 1/√n that a network
  without batch normalisation needs.

  Attributes:
    which: methods.PLAIN, WEIGHT_NORMALISATION or WEIGHT_STANDARDISATION; it may be traced.
    features, kernel_size, padding, kernel_init, bias_init, conv_general_dilated: as those of
      `flax.linen.Conv`.
  """

  features: int
  kernel_size: tuple[int, int]
  which: jax.Array | int = methods.PLAIN
  padding: tuple = ((0, 0), (0, 0))
  kernel_init: nn.initializers.Initializer = nn.initializers.he_normal()
  bias_init: nn.initializers.Initializer = nn.initializers.zeros
  conv_general_dilated: object = convolution.product_of_patches

  @nn.compact
  def __call__(self, x):
    """(n, height, width, channels in) -> (n, height', width', features)."""
    shape = (*self.kernel_size, x.shape[-1], self.features)
    kernel = self.param("kernel", self.kernel_init, shape)
    norm = jnp.sqrt(jnp.sum(jnp.square(kernel), (0, 1, 2)))
    gain = self.param("gain", lambda key: norm)
    bias = self.param("bias", self.bias_init, (self.features,))
    options = (
      kernel,
      gain * updates.normalise(kernel),
      updates.standardise(kernel, scaled=True),
    )
    y = self.conv_general_dilated(
      x,
      jnp.stack(options)[self.which],
      (1, 1),
      self.padding,
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return y + bias


def network(config, method: Method, classes: int) -> models.CNN:
  """Model a (with batch normalisation) or c.

  With `model.hooks` the method's errors are centred going back, and its kernels may be
  re-parametrised: numbers, so that such rows are members of one program, which pays for all.
  """
  hidden = tuple(config.model.hidden)
  if config.model.batch_norm:
    hidden = hidden[:1]  # model c has one dense layer more than a
  options = {}
  if config.model.hooks:
    over = jnp.asarray([*methods.ERROR_AXES.values(), (0, 0, 0, 0)], jnp.float32)
    axes = over[method.error_area]
    options = {
      "after": lambda x: updates.centre_errors(x, axes) if x.ndim == 4 else x,
      "convolution": functools.partial(ReparametrisedConv, which=method.parametrisation),
    }
  return models.CNN(
    tuple(config.model.channels), hidden, classes, config.model.batch_norm, **options
  )

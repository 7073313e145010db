"""LeNet-5 as it is used today: ReLU, maximum pooling, no Gaussian outputs.

LeCun, Bottou, Bengio and Haffner, *Gradient-based learning applied to document recognition*
(1998), section II, for the sizes.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from lib.models import convolution, initialisers
from lib.models.mlp import DenseLayer


def max_pool(x):
  """Maximum of every 2 × 2 window, an odd last row or column left out.

  Halves are split and selected from. The gradient goes to one entry, the first of equals, and
  the transposed split is a concatenation: on the CPU backend that takes half the time of the
  gradient of a reduction, which XLA makes a loop of comparisons.
  """
  n, height, width, channels = x.shape
  x = x[:, : height // 2 * 2, : width // 2 * 2]
  x = x.reshape(n, height // 2, 2, width // 2, 2, channels)
  return _larger_half(_larger_half(x, 4), 2).reshape(n, height // 2, width // 2, channels)


def _larger_half(x, axis):
  """Elementwise maximum of the two entries along an axis, NaN where one is."""
  a, b = lax.split(x, (1, 1), axis)
  return jnp.where((a >= b) | jnp.isnan(a), a, b)


class ConvolutionLayer(nn.Module):
  """x ↦ pool(relu(W ∗ x + b))."""

  features: int
  size: int
  pad: int
  initialiser: str = "he"

  @nn.compact
  def __call__(self, x, train: bool = False):
    del train
    kernel_init, bias_init = initialisers.kernel_and_bias(
      self.initialiser, self.size**2 * x.shape[-1]
    )
    x = nn.Conv(
      self.features,
      (self.size, self.size),
      padding=((self.pad, self.pad), (self.pad, self.pad)),
      kernel_init=kernel_init,
      bias_init=bias_init,
      conv_general_dilated=convolution.product_of_patches,
      name="conv",
    )(x)
    return nn.relu(max_pool(x))  # relu is monotone: it commutes with the maximum


class LeNet(nn.Module):
  """Two convolutions 5 × 5 (the first keeps the size), each pooled, then three dense layers.

  On 28 × 28 grey images the defaults have 61,706 parameters.

  Attributes:
    channels: of the two convolutions.
    hidden: widths of the two hidden dense layers.
    classes: number of outputs.
    initialiser: see `initialisers.kernel_and_bias`.
  """

  channels: tuple[int, int] = (6, 16)
  hidden: tuple[int, int] = (120, 84)
  classes: int = 10
  initialiser: str = "he"

  def setup(self):
    """Makes the layers."""
    self.convolutions = [
      ConvolutionLayer(features, 5, pad, self.initialiser, name=f"conv_{i}")
      for i, (features, pad) in enumerate(zip(self.channels, (2, 0), strict=True))
    ]
    self.dense = [
      DenseLayer(width, nn.relu if i < 2 else None, self.initialiser, name=f"layer_{i}")
      for i, width in enumerate((*self.hidden, self.classes))
    ]

  def stages(self, by: str = "layer"):
    """(name, function of (x, train)) of the pieces whose composition is the network."""
    del by  # a layer is a stage
    return tuple((layer.name, layer) for layer in (*self.convolutions, *self.dense))

  def __call__(self, x, train: bool = False):
    """(n, height, width, channels) images -> (n, classes) logits."""
    for _, layer in self.stages():
      x = layer(x, train)
    return x

"""Three strided convolutions and one dense layer: the network of the Deep k-NN papers."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from lib.experiment.errors import UserError
from lib.models import convolution, initialisers
from lib.models.mlp import DenseLayer


class StridedConvolution(nn.Module):
  """x ↦ relu(W ∗ x + b)."""

  features: int
  size: int
  stride: int
  padding: str
  initialiser: str = "he"
  convolve: Callable[..., jax.Array] = convolution.product_of_patches

  @nn.compact
  def __call__(self, x, train: bool = False):
    del train
    kernel_init, bias_init = initialisers.kernel_and_bias(
      self.initialiser, self.size**2 * x.shape[-1]
    )
    pairs = jax.lax.padtype_to_pads(
      x.shape[1:3], (self.size,) * 2, (self.stride,) * 2, self.padding
    )
    x = nn.Conv(
      self.features,
      (self.size, self.size),
      strides=(self.stride, self.stride),
      padding=tuple(map(tuple, pairs)),
      kernel_init=kernel_init,
      bias_init=bias_init,
      conv_general_dilated=self.convolve,
      name="conv",
    )(x)
    return nn.relu(x)


class StridedCNN(nn.Module):
  """Convolutions with strides 2, 2 and 1, the first one padded, then a dense layer.

  Papernot and McDaniel (2018), *Deep k-Nearest Neighbors*, use it for MNIST and SVHN. On
  28 × 28 grey images the outputs of its layers have 12,544, 3,200, 128 and 10 entries.

  Attributes:
    channels: of the three convolutions.
    sizes: of their kernels.
    classes: number of outputs.
    initialiser: see `initialisers.kernel_and_bias`.

  Raises:
    UserError: there are not as many sizes as channels, or one is not positive.
  """

  channels: tuple[int, int, int] = (64, 128, 128)
  sizes: tuple[int, int, int] = (8, 6, 5)
  classes: int = 10
  initialiser: str = "he"

  def setup(self):
    """Makes the layers."""
    if len(self.channels) != 3 or len(self.sizes) != 3:
      raise UserError(
        f"Three convolutions need three channels and sizes, not {tuple(self.channels)} and "
        f"{tuple(self.sizes)}."
      )
    if min(*self.channels, *self.sizes, self.classes) < 1:
      raise UserError("Channels, sizes and classes must be positive.")
    self.convolutions = [
      StridedConvolution(features, size, stride, padding, self.initialiser, name=f"conv_{i}")
      for i, (features, size, stride, padding) in enumerate(
        zip(self.channels, self.sizes, (2, 2, 1), ("SAME", "VALID", "VALID"), strict=True)
      )
    ]
    self.dense = DenseLayer(self.classes, None, self.initialiser, name="dense")

  def stages(self, by: str = "layer"):
    """(name, function of (x, train)) of the pieces whose composition is the network."""
    del by  # a layer is a stage
    return tuple((layer.name, layer) for layer in (*self.convolutions, self.dense))

  def __call__(self, x, train: bool = False):
    """(n, height, width, channels) images -> (n, classes) logits."""
    for _, layer in self.stages():
      x = layer(x, train)
    return x

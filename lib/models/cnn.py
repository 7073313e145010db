"""Small plain convolutional network: convolutions, each pooled, then dense layers."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from lib.experiment.errors import UserError
from lib.models import convolution, initialisers
from lib.models.lenet import max_pool
from lib.models.mlp import DenseLayer


class ConvolutionUnit(nn.Module):
  """x ↦ pool(relu(BN(W ∗ x + b))), a 3 × 3 convolution that keeps the size."""

  features: int
  batch_norm: bool = False
  initialiser: str = "he"
  convolution: Callable[..., nn.Module] = nn.Conv

  @nn.compact
  def __call__(self, x, train: bool = False):
    kernel_init, bias_init = initialisers.kernel_and_bias(self.initialiser, 9 * x.shape[-1])
    x = self.convolution(
      self.features,
      (3, 3),
      padding=((1, 1), (1, 1)),
      kernel_init=kernel_init,
      bias_init=bias_init,
      conv_general_dilated=convolution.product_of_patches,
      name="conv",
    )(x)
    if self.batch_norm:
      x = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, name="norm")(
        x
      )
    return nn.relu(max_pool(x))


class CNN(nn.Module):
  """Convolutions 3 × 3 with ReLU and pooling, then dense layers.

  Attributes:
    channels: of the convolutions; each halves height and width.
    hidden: widths of the hidden dense layers.
    classes: number of outputs.
    batch_norm: whether to normalise before every activation but the output.
    initialiser: see `initialisers.kernel_and_bias`.
    after: function of every hidden layer's output, e.g. one that changes the error that is
      propagated back; None for none.
    convolution: makes the convolutions, of arguments that `flax.linen.Conv` takes.

  Raises:
    UserError: there is no layer, or a width is not positive.
  """

  channels: tuple[int, ...] = (32, 64, 128)
  hidden: tuple[int, ...] = (256,)
  classes: int = 10
  batch_norm: bool = False
  initialiser: str = "he"
  after: Callable[[jax.Array], jax.Array] | None = None
  convolution: Callable[..., nn.Module] = nn.Conv

  def setup(self):
    """Makes the layers."""
    if not self.channels or min(*self.channels, *self.hidden, self.classes) < 1:
      raise UserError(
        f"Channels {tuple(self.channels)}, hidden {tuple(self.hidden)} and classes "
        f"{self.classes} must be positive, with at least one convolution."
      )
    self.convolutions = [
      ConvolutionUnit(
        features, self.batch_norm, self.initialiser, self.convolution, name=f"conv_{i}"
      )
      for i, features in enumerate(self.channels)
    ]
    last = len(self.hidden)
    self.dense = [
      DenseLayer(
        width,
        nn.relu if i < last else None,
        self.initialiser,
        self.batch_norm and i < last,
        name=f"layer_{i}",
      )
      for i, width in enumerate((*self.hidden, self.classes))
    ]

  def stages(self, by: str = "layer"):
    """(name, function of (x, train)) of the pieces whose composition is the network."""
    del by  # a layer is a stage
    return tuple((layer.name, layer) for layer in (*self.convolutions, *self.dense))

  def __call__(self, x, train: bool = False):
    """(n, height, width, channels) images -> (n, classes) logits."""
    layers = self.stages()
    for i, (_, layer) in enumerate(layers):
      x = layer(x, train)
      if self.after is not None and i + 1 < len(layers):
        x = self.after(x)
    return x

"""Pre-activation residual networks for 32 × 32 images.

He, Zhang, Ren and Sun, *Identity mappings in deep residual networks* (ECCV 2016); depth 6n + 2
as in section 4.2 of *Deep residual learning for image recognition* (CVPR 2016).
"""

from __future__ import annotations

import functools

import jax.numpy as jnp
from flax import linen as nn

from lib.experiment.errors import UserError
from lib.models import convolution, initialisers


def _norm(train: bool, name: str):
  """Batch normalisation with PyTorch's constants (momentum 0.1 there is 0.9 here)."""
  return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, name=name)


class Convolution(nn.Module):
  """k × k convolution without bias, zero padding k // 2 on every side (as PyTorch's)."""

  features: int
  size: int = 3
  stride: int = 1
  initialiser: str = "he_fan_out"

  @nn.compact
  def __call__(self, x, train: bool = False):
    del train
    kernel_init, _ = initialisers.kernel_and_bias(self.initialiser, self.size**2 * x.shape[-1])
    pad = self.size // 2
    return nn.Conv(
      self.features,
      (self.size, self.size),
      (self.stride, self.stride),
      padding=((pad, pad), (pad, pad)),
      use_bias=False,
      kernel_init=kernel_init,
      conv_general_dilated=convolution.conv_general_dilated,
      name="conv",
    )(x)


class ResidualUnit(nn.Module):
  """x ↦ s(x) + conv(relu(BN(conv(relu(BN(x)))))); s is the identity where shapes allow it.

  Fig. 4(e), "full pre-activation". Where stride or width change, s is a 1 × 1 convolution of x
  (`shortcut="projection"`), or sub-sampling and zero channels ("pad", without parameters).
  """

  features: int
  stride: int = 1
  shortcut: str = "projection"
  initialiser: str = "he_fan_out"

  @nn.compact
  def __call__(self, x, train: bool = False):
    layer = functools.partial(Convolution, initialiser=self.initialiser)
    y = nn.relu(_norm(train, "norm_1")(x))
    y = layer(self.features, stride=self.stride, name="conv_1")(y)
    y = nn.relu(_norm(train, "norm_2")(y))
    y = layer(self.features, name="conv_2")(y)
    if self.stride == 1 and x.shape[-1] == self.features:
      return x + y
    if self.shortcut == "projection":
      return layer(self.features, 1, self.stride, name="shortcut")(x) + y
    x = x[:, :: self.stride, :: self.stride]
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.features - x.shape[-1]))) + y


class Head(nn.Module):
  """BN, ReLU, mean over the positions, linear layer."""

  classes: int

  @nn.compact
  def __call__(self, x, train: bool = False):
    x = nn.relu(_norm(train, "norm")(x)).mean((1, 2))
    kernel_init, bias_init = initialisers.kernel_and_bias("torch", x.shape[-1])
    return nn.Dense(self.classes, kernel_init=kernel_init, bias_init=bias_init, name="dense")(
      x
    )


class PreActResNet(nn.Module):
  """Pre-activation residual network of depth 6n + 2: stem, three stages of n units, head.

  The stages have `width`, 2 `width` and 4 `width` channels; the second and the third start
  with stride 2. With `shortcut="pad"` the 20- and 44-layer networks have the published 0.27
  and 0.66 million parameters; "projection", which the capacity authors use, adds 2,560.

  Attributes:
    depth: 6n + 2, e.g. 20 or 44.
    classes: number of outputs.
    width: channels of the first stage.
    shortcut: "projection" or "pad", see `ResidualUnit`.
    initialiser: initialiser of the convolutions; the last layer has PyTorch's default.

  Raises:
    UserError: depth, width or shortcut is impossible.
  """

  depth: int = 20
  classes: int = 10
  width: int = 16
  shortcut: str = "projection"
  initialiser: str = "he_fan_out"

  def setup(self):
    """Makes the stem, the units and the head."""
    if self.depth < 8 or self.depth % 6 != 2:
      raise UserError(f"depth must be 6n + 2 (8, 14, 20, …, 44, …), not {self.depth}")
    if self.width < 1 or self.classes < 1:
      raise UserError(
        f"width and classes must be at least 1, not {self.width} and {self.classes}"
      )
    if self.shortcut not in ("projection", "pad"):
      raise UserError(f"shortcut must be 'projection' or 'pad', not {self.shortcut!r}")
    self.stem = Convolution(self.width, initialiser=self.initialiser)
    n = self.depth // 6
    self.units = [
      ResidualUnit(
        self.width << stage,
        2 if stage and not i else 1,
        self.shortcut,
        self.initialiser,
        name=f"stage_{stage}_unit_{i}",
      )
      for stage in range(3)
      for i in range(n)
    ]
    self.head = Head(self.classes)

  def stages(self, by: str = "layer"):
    """(name, function of (x, train)) of the pieces whose composition is the network.

    `by="layer"`: the stem, every unit, the head. `by="stage"`: three pieces, the stem being
    part of the first one and the head of the last one, as in the capacity authors' code.
    """
    layers = [("stem", self.stem)]
    layers += [(unit.name, unit) for unit in self.units]
    layers += [("head", self.head)]
    if by == "layer":
      return tuple(layers)

    n = self.depth // 6
    parts = (layers[: n + 1], layers[n + 1 : 2 * n + 1], layers[2 * n + 1 :])

    def compose(part):
      def apply(x, train=False):
        for _, layer in part:
          x = layer(x, train)
        return x

      return apply

    return tuple((f"stage_{i}", compose(part)) for i, part in enumerate(parts))

  def __call__(self, x, train: bool = False):
    """(n, height, width, channels) images -> (n, classes) logits."""
    for _, layer in self.stages():
      x = layer(x, train)
    return x

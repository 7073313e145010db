"""Multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
from flax import linen as nn

from lib.experiment.errors import UserError
from lib.models import initialisers

Activation = Callable[[jax.Array], jax.Array]


def activation(name: str | Activation) -> Activation:
  """The elementwise function called `name` in flax.linen or jax.nn ("relu", "tanh", "erf"…).

  Raises:
    UserError: there is no such function.
  """
  if callable(name):
    return name
  for module in (nn, jax.nn, jax.numpy, jax.lax):
    if callable(found := getattr(module, name, None)):
      return found
  raise UserError(
    f"Unknown activation {name!r}: try relu, tanh, gelu, sigmoid, erf or identity"
  )


class DenseLayer(nn.Module):
  """x ↦ φ(BN(W x + b)), on inputs flattened to (n, d)."""

  features: int
  activation: Activation | None
  initialiser: str = "glorot_relu"
  batch_norm: bool = False

  @nn.compact
  def __call__(self, x, train: bool = False):
    x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    kernel_init, bias_init = initialisers.kernel_and_bias(self.initialiser, x.shape[-1])
    x = nn.Dense(self.features, kernel_init=kernel_init, bias_init=bias_init, name="dense")(x)
    if self.batch_norm:
      x = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, name="norm")(
        x
      )
    return x if self.activation is None else self.activation(x)


class MLP(nn.Module):
  """f(x) = W_L φ(… φ(W_1 x + b_1) …) + b_L.

  The network of the capacity paper is `MLP((1024, 1024, 10))` on 784 inputs.

  Attributes:
    features: widths of the layers after the input; the last one is the number of outputs.
    activation: a function or its name, after every layer but the last.
    initialiser: name of the initialiser, see `initialisers.kernel_and_bias`.
    batch_norm: whether to normalise before each activation.

  Raises:
    UserError: a width is not a positive integer, or a name is unknown.
  """

  features: tuple[int, ...]
  activation: str | Activation = "relu"
  initialiser: str = "glorot_relu"
  batch_norm: bool = False

  def setup(self):
    """Makes the layers."""
    if not self.features or any(width < 1 for width in self.features):
      raise UserError(
        f"Widths must be positive, not {tuple(self.features)}: set every width ≥ 1"
      )
    phi = activation(self.activation)
    last = len(self.features) - 1
    self.layers = [
      DenseLayer(
        width,
        phi if i < last else None,
        self.initialiser,
        self.batch_norm and i < last,
        name=f"layer_{i}",
      )
      for i, width in enumerate(self.features)
    ]

  def stages(self, by: str = "layer"):
    """(name, function of (x, train)) of the pieces whose composition is the network."""
    del by  # a layer is a stage
    return tuple((f"layer_{i}", layer) for i, layer in enumerate(self.layers))

  def __call__(self, x, train: bool = False):
    """(n, …) inputs -> (n, features[-1]) outputs."""
    for layer in self.layers:
      x = layer(x, train)
    return x

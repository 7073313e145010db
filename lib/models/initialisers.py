"""Weight initialisers by name, so that a config can choose one."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from lib.experiment.errors import UserError, did_you_mean

Initialiser = Callable[..., jax.Array]


def _torch_bias(fan_in: int) -> Initialiser:
  """U(−1/√fan_in, 1/√fan_in): PyTorch's default for a bias."""

  def init(key, shape, dtype=jnp.float32):
    bound = fan_in**-0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


# name -> (kernel initialiser, function of fan_in that gives the bias initialiser)
_INITIALISERS = {
  # U(−a, a), a = √2 √(6 / (fan_in + fan_out)), zero bias: the code of the capacity authors
  "glorot_relu": (
    nn.initializers.variance_scaling(2.0, "fan_avg", "uniform"),
    lambda fan_in: nn.initializers.zeros,
  ),
  # Glorot and Bengio (2010), eq. 16
  "glorot": (nn.initializers.glorot_uniform(), lambda fan_in: nn.initializers.zeros),
  # He et al. (2015), eq. 10: N(0, 2 / fan_in), not truncated
  "he": (
    nn.initializers.variance_scaling(2.0, "fan_in", "normal"),
    lambda fan_in: nn.initializers.zeros,
  ),
  # He et al. (2015), eq. 14: N(0, 2 / fan_out), what the residual networks for CIFAR use
  "he_fan_out": (
    nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
    lambda fan_in: nn.initializers.zeros,
  ),
  # U(−1/√fan_in, 1/√fan_in) for weights and biases: torch.nn.Linear and torch.nn.Conv2d
  "torch": (nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform"), _torch_bias),
  "lecun": (nn.initializers.lecun_normal(), lambda fan_in: nn.initializers.zeros),
}


def names() -> tuple[str, ...]:
  """The names that `kernel_and_bias` knows."""
  return tuple(_INITIALISERS)


def kernel_and_bias(name: str, fan_in: int) -> tuple[Initialiser, Initialiser]:
  """Initialisers of the kernel and of the bias of a layer with `fan_in` inputs a unit.

  Args:
    name: "glorot_relu" (Glorot uniform times √2, zero bias), "glorot", "he", "he_fan_out",
      "torch" (PyTorch's default) or "lecun".
    fan_in: number of inputs of one unit; only "torch" needs it, for the bias.

  Raises:
    UserError: the name is unknown.
  """
  if name not in _INITIALISERS:
    raise UserError(
      f"Unknown initialiser '{name}': choose one of {', '.join(_INITIALISERS)}."
      + did_you_mean(name, _INITIALISERS)
    )
  kernel, bias = _INITIALISERS[name]
  return kernel, bias(fan_in)

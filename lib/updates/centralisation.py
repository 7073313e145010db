"""Weight and gradient centralisation: the mean of every filter taken away, as parameter maps.

Kernels are in Flax's layout, (…, in, out) for dense layers and (height, width, in, out) for
convolutions. (`optax.centralize` takes the mean over all axes but the first, which is right
for PyTorch's (out, in, …); on Flax's kernels it centres other vectors than a unit's inputs.)

Fuhl and Kasneci (2021), *Weight and gradient centralization in deep neural networks*; gradient
centralisation is Yong et al.'s (2020), weight standardisation Qiao et al.'s (2019), weight
normalisation Salimans and Kingma's (2016).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

AREAS = ("global", "tensor", "channel", "instance")
Where = Callable[[tuple[str, ...], jax.Array], bool]


def axes(area: str, ndim: int) -> tuple[int, ...]:
  """The axes whose mean is taken, of a kernel with so many (Table 2).

  "global": all of them; "tensor": all but the outputs, a mean for every filter; "channel": all
  but the inputs; "instance": the two spatial ones, a mean for every mask.

  Raises:
    ValueError: the area is unknown, or "instance" for a kernel without spatial axes.
  """
  if area not in AREAS:
    raise ValueError(f"area must be one of {', '.join(AREAS)}, not {area!r}")
  every = tuple(range(ndim))
  if area == "instance":
    if ndim < 3:
      raise ValueError("a kernel without spatial axes has no masks to centre")
    return every[:-2]
  return {"global": every, "tensor": every[:-1], "channel": (*every[:-2], ndim - 1)}[area]


def centre(kernel: jax.Array, area: str = "tensor") -> jax.Array:
  """W − mean(W) over the area's axes: eq. 2 for weights and eq. 4 for gradients.

  A mask of one pixel (a 1 × 1 convolution) has nothing but its mean: "instance" makes it 0.
  """
  return kernel - kernel.mean(axes(area, kernel.ndim), keepdims=True)


def _root(x):
  """√x, and 1 with a gradient of 0 where x is 0."""
  return jnp.sqrt(jnp.where(x > 0, x, 1.0))


def normalise(kernel: jax.Array, length: float = 1.0) -> jax.Array:
  """k W_j / ‖W_j‖ for every filter: eq. 1."""
  square = jnp.sum(jnp.square(kernel), axes("tensor", kernel.ndim), keepdims=True)
  return kernel * length / _root(square)


def standardise(kernel: jax.Array, scaled: bool = False) -> jax.Array:
  """(W_j − mean) / std for every filter: eq. 3.

  As printed a unit's output has a variance of n times its inputs', n the fan-in. `scaled`
  divides by √n, which keeps them equal (Brock et al. (2021), *Characterizing signal
  propagation to close the performance gap in unnormalized ResNets*).
  """
  fan_in = math.prod(kernel.shape[:-1])
  centred = centre(kernel)
  found = centred / _root(
    jnp.mean(jnp.square(centred), axes("tensor", kernel.ndim), keepdims=True)
  )
  return found / fan_in**0.5 if scaled else found


def is_kernel(path: tuple[str, ...], leaf: jax.Array) -> bool:
  """Whether a parameter is a kernel of more than one weight a unit."""
  return path[-1] == "kernel" and leaf.ndim >= 2


def is_convolution(path: tuple[str, ...], leaf: jax.Array) -> bool:
  """Whether a parameter is the kernel of a convolution."""
  return path[-1] == "kernel" and leaf.ndim >= 3


def map_kernels(function: Callable[[jax.Array], jax.Array], params, where: Where = is_kernel):
  """`function` of the parameters that `where(path, leaf)` chooses; the others as they are.

  Args:
    function: kernel -> kernel of the same shape.
    params: nested dicts of arrays.
    where: of the keys from the root and the array.
  """

  def apply(path, leaf):
    names = tuple(str(getattr(key, "key", key)) for key in path)
    return function(leaf) if where(names, leaf) else leaf

  return jax.tree_util.tree_map_with_path(apply, params)


def centralise_gradients(
  area: str = "tensor", where: Where = is_kernel
) -> optax.GradientTransformation:
  """ΔW_j ← ΔW_j − mean(ΔW_j), to be chained before an optimiser: gradient centralisation.

  For `optax.chain(centralise_gradients(), optax.adam(1e-3))`.
  """

  def update(updates, state, params=None):
    del params
    return map_kernels(lambda g: centre(g, area), updates, where), state

  return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


@jax.custom_vjp
def centre_errors(x: jax.Array, over: Any) -> jax.Array:
  """The identity, whose back-propagated error loses its mean over axes: eq. 10 and 11.

  For feature maps (samples, height, width, channels). `over` is a (4,) vector of 0 and 1,
  which may be traced: 1 for an axis that the mean runs over. Sample (EL): (0, 1, 1, 1);
  channel (EB): (1, 1, 1, 0); global: ones; instance: (0, 1, 1, 0); zeros: none.
  """
  del over
  return x


def _centre_errors_forward(x, over):
  return x, over


def _centre_errors_backward(over, error):
  mean = error
  for axis in range(error.ndim):
    averaged = mean.mean(axis, keepdims=True)
    mean = jnp.where(over[axis] > 0, averaged, mean)
  return jnp.where(jnp.any(over > 0), error - mean, error), jnp.zeros_like(over)


centre_errors.defvjp(_centre_errors_forward, _centre_errors_backward)

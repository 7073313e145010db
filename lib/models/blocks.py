"""A network as a tuple of separately applicable functions; views of its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import traverse_util

Variables = dict[str, Any]


class Block(NamedTuple):
  """One piece of a network: `apply(variables, x)`, (n, *input_shape) -> (n, *output_shape).

  `variables` are those of the whole network.
  """

  name: str
  apply: Callable[[Variables, jax.Array], jax.Array]
  input_shape: tuple[int, ...]
  output_shape: tuple[int, ...]


def init(model: nn.Module, key: jax.Array, input_shape: tuple[int, ...]) -> Variables:
  """Initial variables {"params"} or {"params", "batch_stats"} for inputs (n, *input_shape)."""
  params, sample = jax.random.split(key)
  inputs = jnp.zeros((1, *input_shape))
  variables = model.init({"params": params, "sample": sample}, inputs, train=False)
  return {name: variables[name] for name in ("params", "batch_stats") if name in variables}


def apply(model: nn.Module, variables: Variables, x: jax.Array) -> jax.Array:
  """Outputs of the network in eval mode: deterministic, the statistics are read only."""
  return model.apply(variables, x, train=False)


def blocks(
  model: nn.Module, input_shape: tuple[int, ...], by: str = "layer"
) -> tuple[Block, ...]:
  """The pieces of a network in eval mode; their composition is `apply(model, variables, x)`.

  No variables are needed: the shapes come from abstract evaluation. Applying one block traces
  that block only.

  Args:
    model: a module with a method `stages(by)`: `MLP`, `PreActResNet`, `VIB`.
    input_shape: shape of one input.
    by: "layer" (dense layers, residual units) or "stage" (the three stages of a residual
      network).

  Raises:
    ValueError: `by` is something else.
  """
  if by not in ("layer", "stage"):
    raise ValueError(f"by must be 'layer' or 'stage', not {by!r}")

  def piece(index):
    def method(module, x):
      return module.stages(by)[index][1](x, False)

    return lambda variables, x: model.apply(variables, x, method=method)

  input_shape = tuple(input_shape)
  variables = jax.eval_shape(lambda key: init(model, key, input_shape), jax.random.key(0))
  names = model.apply(
    {}, method=lambda module: tuple(name for name, _ in module.stages(by)), mutable=False
  )
  found, shape = [], input_shape
  for index, name in enumerate(names):
    function = piece(index)
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    output = tuple(jax.eval_shape(function, variables, x).shape[1:])
    found.append(Block(name, function, shape, output))
    shape = output
  return tuple(found)


def activations(model: nn.Module, variables: Variables, x: jax.Array) -> dict[str, jax.Array]:
  """Outputs of every stage of the network in eval mode, by name, in one forward pass.

  The last one is what `apply` returns.

  Args:
    model: a module with a method `stages(by)`, see `blocks`.
    variables: its variables.
    x: (n, …) inputs.
  """

  def method(module, x):
    found = {}
    for name, layer in module.stages("layer"):
      found[name] = x = layer(x, False)
    return found

  return model.apply(variables, x, method=method)


def weight_matrices(params) -> dict[str, jax.Array]:
  """The kernels as matrices (fan_in, fan_out), by their path, in the order of the tree.

  A convolution's kernel (h, w, c_in, c_out) becomes (h · w · c_in, c_out): the linear map of
  one patch, not of the whole image.
  """
  return {
    path: kernel.reshape(-1, kernel.shape[-1])
    for path, kernel in traverse_util.flatten_dict(params, sep="/").items()
    if path.endswith("kernel")
  }


def count(params) -> int:
  """Number of parameters."""
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))

"""A run as pure functions: what sweeps batch, devices shard and checkpoints cut."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from ml_collections import ConfigDict

PyTree = Any
Arrays = Mapping[str, Any]


class Program(NamedTuple):
  """One run (a member of a sweep) as pure functions of its config.

  In the config that the functions are given every swept number, always `seed`, is a JAX
  tracer; what shapes and Python branches depend on has to stay unswept. `operands` are the
  arrays all members share, such as the data.

  Attributes:
    init: (config, operands) -> state.
    step: (config, operands, state) -> (state, measurements), one unit of work (an epoch,
      a hundred descent steps); measurements are a dict of arrays. One whose name ends in
      "loss" stops the run when it is not finite.
    finish: (config, operands, state, history) -> results, a dict of arrays; history holds
      the measurements of all steps, stacked on a leading axis.
    steps: (config) -> how many steps.
    chunk: steps in one compiled call, between which come progress and checkpoints; by
      default a twentieth of them. 1 runs each step from the host, which the CPU backend
      prefers for convolutions.
    alone: on a CPU device members advance one after the other, instead of as many at once as
      have their state in the cache. Faster where a member's activations alone fill it, as
      those of a convolution on a minibatch do.
  """

  init: Callable[[ConfigDict, PyTree], PyTree]
  step: Callable[[ConfigDict, PyTree, PyTree], tuple[PyTree, Arrays]]
  finish: Callable[[ConfigDict, PyTree, PyTree, Arrays], Arrays]
  steps: Callable[[ConfigDict], int]
  chunk: int | None = None
  alone: bool = False

  @classmethod
  def once(cls, function: Callable[[ConfigDict, PyTree], Arrays]) -> "Program":
    """A run short enough to be one call: (config, operands) -> results."""
    return cls(
      init=lambda config, operands: (),
      step=lambda config, operands, state: (state, {}),
      finish=lambda config, operands, state, history: function(config, operands),
      steps=lambda config: 0,
    )

  def advance(self, config: ConfigDict, operands: PyTree, state: PyTree, length: int):
    """`length` steps: (state, measurements stacked on a leading axis)."""
    if length == 1:
      state, measured = self.step(config, operands, state)
      return state, jax.tree.map(lambda x: jnp.asarray(x)[None], measured)
    return lax.scan(
      lambda carry, _: self.step(config, operands, carry), state, None, length=length
    )

  def __call__(self, config: ConfigDict, operands: PyTree) -> Arrays:
    """The whole run as one pure function, to be jitted and vmapped by the caller.

    For use from Python: `jax.jit(lambda seed: program(bind(config, {"seed": seed}), data))`.
    """
    steps = self.steps(config)
    state, history = self.init(config, operands), {}
    if steps:
      state, history = self.advance(config, operands, state, steps)
    return self.finish(config, operands, state, history)


def bind(config: ConfigDict, values: Mapping[str, Any]) -> ConfigDict:
  """A copy of the config with dotted keys replaced, by tracers too.

  Raises:
    KeyError: the config has no such key.
  """
  bound = ConfigDict(config.to_dict(), type_safe=False)
  for key, value in values.items():
    *path, leaf = key.split(".")
    node = bound
    for part in path:
      node = node[part]
    if leaf not in node:
      raise KeyError(key)
    node[leaf] = value
  return bound


def by_name(
  names: Iterable[Hashable], results: PyTree, each: int | None = None
) -> dict[Any, PyTree]:
  """{name: its results}, of results whose leading axis runs over the names.

  With `each` there are so many rows for every name, one block after the other.

  >>> by_name(("a", "b"), {"x": jnp.arange(4)}, each=2)["b"]["x"].tolist()
  [2, 3]
  """
  names = tuple(names)
  if each is not None:
    results = jax.tree.map(lambda x: x.reshape(len(names), each, *x.shape[1:]), results)
  return {name: jax.tree.map(lambda x, i=i: x[i], results) for i, name in enumerate(names)}

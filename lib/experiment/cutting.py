"""How members are cut: the grid of their values, batches, groups, shares of processes.

Nothing runs here and nothing is kept: `members` runs what these functions decide.
"""

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax import lax

from lib.experiment.errors import UserError

Key = str | tuple[str, ...]


class Plan(NamedTuple):
  """How members are cut; kept on disk, so that a resumed run repeats it exactly."""

  batch: int
  chunk: int


def grid(over: Mapping[Key, Sequence]) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
  """Every combination of the values, as flat columns, and the shape of the grid.

  A tuple of keys takes a sequence of tuples and is one axis of the grid.

  >>> columns, shape = grid({"seed": range(2), ("a", "b"): [(1.0, 2.0), (3.0, 4.0)]})
  >>> columns["seed"].tolist(), columns["b"].tolist(), shape
  ([0, 0, 1, 1], [2.0, 4.0, 2.0, 4.0], (2, 2))
  """
  if not over:
    raise ValueError("needs at least one axis of members")
  axes = [list(values) for values in over.values()]
  shape = tuple(len(values) for values in axes)
  columns: dict[str, list] = {}
  for combination in itertools.product(*axes):
    for key, value in zip(over, combination, strict=True):
      names, values = (key, value) if isinstance(key, tuple) else ((key,), (value,))
      for name, one in zip(names, values, strict=True):
        columns.setdefault(name, []).append(one)
  return {name: _numbers(name, column) for name, column in columns.items()}, shape


def _numbers(name: str, column: list) -> np.ndarray:
  array = np.asarray(column)
  if array.dtype.kind in "iu":
    if array.size and not (array.min() >= -(2**31) and array.max() < 2**31):
      raise UserError(f"'{name}' has values beyond 32 bits.")
    return array.astype(np.int32)
  if array.dtype.kind == "f":
    return array.astype(np.float32)
  if array.dtype.kind == "b":
    return array
  raise TypeError(f"'{name}' is not numeric, so it cannot be an axis of one program")


def memory_budget() -> int:
  """Bytes that one device's batch may take: 0.8 of an accelerator, half a host's memory.

  The total counts, not what happens to be free, so that the same machine cuts the same way.
  """
  device = jax.local_devices()[0]
  stats = device.memory_stats() if device.platform != "cpu" else None
  if stats and "bytes_limit" in stats:
    return int(0.8 * stats["bytes_limit"])
  total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  return int(0.5 * total / jax.local_device_count())


def deal(count: int, devices: Sequence[int]) -> list[int]:
  """How many of each process's devices share so many members: evenly, one at least.

  >>> deal(5, [4, 4]), deal(1, [4, 4]), deal(100, [4, 2])
  ([3, 2], [1, 1], [4, 2])
  """
  used = [1] * len(devices)
  for _ in range(min(count, sum(devices)) - len(devices)):
    free = [i for i, number in enumerate(devices) if used[i] < number]
    used[min(free, key=lambda i: used[i])] += 1
  return used


def one_by_one(function: Callable) -> Callable:
  """`function(value, operands, *state)` of each member, in a loop."""

  def run(values, operands, *state):
    return lax.map(lambda one: function(one[0], operands, *one[1:]), (values, *state))

  return run


def in_groups(batched: Callable, group: int) -> Callable:
  """`batched(values, operands, state)`, one group of members after the other."""

  def run(values, operands, state):
    if group == len(jax.tree.leaves(values)[0]):
      return batched(values, operands, state)
    groups = jax.tree.map(lambda x: x.reshape(-1, group, *x.shape[1:]), (values, state))
    out = lax.map(lambda one: batched(one[0], operands, one[1]), groups)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)

  return run


def nearest_divisor(count: int, target: float) -> int:
  """The divisor of `count` whose ratio to the target is nearest to one."""
  divisors = [d for d in range(1, count + 1) if count % d == 0]
  return min(divisors, key=lambda d: max(d / target, target / d))


def round_up(count: int, multiple: int) -> int:
  """The least multiple that is at least `count`."""
  return -(-count // multiple) * multiple


def round_down(count: int, multiple: int) -> int:
  """The largest multiple that is at most `count`, one at least."""
  return max(multiple, count // multiple * multiple)

"""The batches of an epoch as arrays: an order goes in, indices with a mask come out.

A schedule is U batches of at most B rows. Batches that are smaller are filled up with index 0
under a False mask; a batch without any row stands for no update. Shapes depend on static sizes
only, so that orders can be traced and batched.

| scheduler | batches of an epoch of n rows | their number |
|---|---|---|
| `chunks` (mini-batch) | B consecutive rows of the order | ⌈n/B⌉ |
| `single` (ordered gradient descent) | one row | n |
| `repeated` (batch repetition) | those of `chunks`, each t times in a row | t ⌈n/B⌉ |
| `growing` (repeat until remember) | the first m, m + r, m + 2r, ..., n | ⌈(n − m)/r⌉ + 1 |

The names in brackets, and the sizes, are those of "Curriculum Learning Revisited: Incremental
Batch Learning with Instance Typicality Ranking" (ICANN 2021), section 4.
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class Schedule(NamedTuple):
  """Batches of an epoch: `indices` (U, B) int32 and `mask` (U, B) booleans."""

  indices: jax.Array
  mask: jax.Array

  @property
  def sizes(self) -> jax.Array:
    """(U,) how many rows each batch has."""
    return jnp.sum(self.mask, -1)


def updates(scheduler: str, n: int, *, batch=32, times=4, first=32, increase=4) -> int:
  """How many updates an epoch of n rows has under a scheduler of the table above.

  Raises:
    ValueError: there is no such scheduler, or a size is not positive.
  """
  if min(n, batch, times, first, increase) < 1:
    raise ValueError("sizes of a schedule must be at least 1")
  counts = {
    "chunks": -(-n // batch),
    "single": n,
    "repeated": times * -(-n // batch),
    "growing": -(-max(n - first, 0) // increase) + 1,
  }
  if scheduler not in counts:
    raise ValueError(f"there is no scheduler {scheduler!r}, only {', '.join(counts)}")
  return counts[scheduler]


def chunks(order: jax.Array, batch: int) -> Schedule:
  """Consecutive rows of the order, `batch` at a time; the last may have fewer."""
  chex.assert_rank(order, 1)
  n = order.shape[0]
  count = updates("chunks", n, batch=batch)
  place = jnp.arange(count * batch).reshape(count, batch)
  mask = place < n
  return Schedule(jnp.where(mask, order[jnp.minimum(place, n - 1)], 0), mask)


def single(order: jax.Array) -> Schedule:
  """One row of the order at a time."""
  return chunks(order, 1)


def repeated(order: jax.Array, batch: int, times: int) -> Schedule:
  """The batches of `chunks`, each `times` in a row."""
  return Schedule(*(jnp.repeat(x, times, 0) for x in chunks(order, batch)))


def growing(order: jax.Array, first: int, increase: int) -> Schedule:
  """The first `first` rows, then `increase` more in every batch, the last of all n.

  `mask[u]` is a prefix: True for the rows of smallest rank.
  """
  chex.assert_rank(order, 1)
  n = order.shape[0]
  count = updates("growing", n, first=first, increase=increase)
  sizes = jnp.minimum(first + increase * jnp.arange(count), n)
  return Schedule(jnp.broadcast_to(order, (count, n)), jnp.arange(n) < sizes[:, None])


def padded(schedule: Schedule, count: int, every: int = 1) -> Schedule:
  """The same updates in a longer schedule of `count` places, at every `every`-th of them.

  The places between and behind are batches without rows. It lets schedules of different
  lengths run side by side in one loop.

  Raises:
    ValueError: they do not fit.
  """
  have, size = schedule.indices.shape
  if every < 1 or have * every > count:
    raise ValueError(f"{have} updates at every {every}th place do not fit into {count}")
  where = jnp.arange(have) * every

  def spread(x):
    return jnp.zeros((count, size), x.dtype).at[where].set(x)

  return Schedule(*map(spread, schedule))

"""Spike trains as padded event lists, with overflow detected."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


_STEP_BITS = 8


class Events(NamedTuple):
  """The spikes of one chunk of time, in any order; entries from `count` on are padding.

  An afferent that is listed twice in a step spikes twice.

  Attributes:
    code: (..., capacity) int32, afferent · 256 + step of the chunk, see `events`. One number
      a spike, because a compiled loop that reads two arrays draws both of them again.
    count: (...) int32, how many there are; more than the capacity is an overflow, in which
      case the list holds the first of them.
  """

  code: Array
  count: Array

  @property
  def afferent(self) -> Array:
    """(..., capacity) int32."""
    return self.code >> _STEP_BITS

  @property
  def step(self) -> Array:
    """(..., capacity) int32, step of the chunk."""
    return self.code & ((1 << _STEP_BITS) - 1)

  @property
  def valid(self) -> Array:
    """(..., capacity) bool, which entries are spikes."""
    return jnp.arange(self.code.shape[-1]) < self.count[..., None]

  @property
  def overflow(self) -> Array:
    """(...) int32, how many spikes did not fit."""
    return jnp.maximum(self.count - self.code.shape[-1], 0)


MAX_CHUNK = 1 << _STEP_BITS


def events(afferent: Array, step: Array, count: Array) -> Events:
  """Events from afferents and steps (< 256), arrays of the list's length."""
  return Events((afferent << _STEP_BITS) + step, count)


class Draw(NamedTuple):
  """A source of spikes: two functions, both the same whenever they are asked.

  Attributes:
    outline: chunk number -> a few numbers about the chunk.
    events: outline -> its `Events`. Apart from the outline because a compiled loop that
      computes both at once does the outline again for every spike.
  """

  outline: Callable[[Array], Any]
  events: Callable[[Any], Events]


def ahead(draw: Draw, chunk: Array) -> tuple[Events, Any]:
  """(events of a chunk, outline of the next): what a loop that draws a turn ahead starts with.

  As a loop of two turns, so that a program holds the code once.
  """
  start = nothing(draw)
  return jax.lax.fori_loop(
    0, 2, lambda turn, last: (draw.events(last[1]), draw.outline(chunk + turn)), start
  )


def nothing(draw: Draw) -> tuple[Events, Any]:
  """(no events, an outline of zeros), of the shapes that `ahead` returns."""
  outline = jax.eval_shape(draw.outline, jax.ShapeDtypeStruct((), jnp.int32))
  shapes = (jax.eval_shape(draw.events, outline), outline)
  return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def recorded(spikes: Events) -> Draw:
  """A source that replays events with a leading axis of chunks, see `from_lists`."""
  return Draw(lambda chunk: chunk, lambda chunk: jax.tree.map(lambda x: x[chunk], spikes))


def from_lists(afferent, time, *, chunk: int, chunks: int, capacity: int) -> Events:
  """Events of every chunk, with a leading axis of `chunks`, from host lists of spikes.

  Args:
    afferent, time: (spikes,) integers, times in steps from 0.
    chunk: steps in a chunk.
    chunks: how many; later spikes are left out.
    capacity: of each list; `Events.count` tells where it was too small.
  """
  afferent, time = np.asarray(afferent), np.asarray(time)
  found = np.zeros((2, chunks, capacity), np.int32)
  counts = np.zeros(chunks, np.int32)
  for index in range(chunks):
    inside = (time >= index * chunk) & (time < (index + 1) * chunk)
    counts[index] = inside.sum()
    kept = min(counts[index], capacity)
    found[0, index, :kept] = afferent[inside][:kept]
    found[1, index, :kept] = time[inside][:kept] - index * chunk
  return events(*map(jnp.asarray, (*found, counts)))


def raise_on_overflow(overflow, what: str = "input spikes") -> None:
  """Host-side check of counted overflows.

  Raises:
    OverflowError: any of them is positive.
  """
  lost = int(np.asarray(overflow).sum())
  if lost:
    raise OverflowError(f"{lost} {what} did not fit their list; raise its capacity.")


def poisson_capacity(mean: float, tail: float = 1e-9) -> int:
  """The smallest capacity that a Poisson count of this mean exceeds with probability < tail.

  >>> poisson_capacity(200.0)
  290
  """
  if mean < 0 or not 0 < tail < 1:
    raise ValueError(f"needs mean >= 0 and 0 < tail < 1, got {mean} and {tail}")
  # The tail is summed from above, where its terms are small: no cancellation.
  top = int(mean + 40 * math.sqrt(mean + 1) + 40)
  k = np.arange(top + 1)
  log_factorial = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
  mass = np.exp(k * math.log(max(mean, 1e-300)) - mean - log_factorial)
  above = np.cumsum(mass[::-1])[::-1]  # P(X >= k)
  return int(np.argmax(above < tail)) - 1 if above[-1] < tail else top


def poisson_cdf(mean: Array, capacity: int) -> Array:
  """P(X <= k) for k = 0 .. capacity − 1, (..., capacity), for Poisson means (...).

  Given X < capacity, so that the last is 1 whatever the rounding; take more than the lists
  hold, so that an overflow shows.
  """
  k = jnp.arange(capacity, dtype=jnp.float32)
  mean = jnp.asarray(mean, jnp.float32)[..., None]
  log_mass = k * jnp.log(jnp.maximum(mean, 1e-30)) - mean - jax.lax.lgamma(k + 1.0)
  below = jnp.cumsum(jnp.exp(log_mass - log_mass.max(-1, keepdims=True)), axis=-1)
  return below / below[..., -1:]


def poisson_count(uniform: Array, cdf: Array) -> Array:
  """The Poisson count of a uniform number in [0, 1) by inversion of `poisson_cdf`."""
  return jnp.sum(uniform[..., None] >= cdf, axis=-1, dtype=jnp.int32)

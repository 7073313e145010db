"""Spike patterns: one spike of each of some afferents, and what can be done to them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lib.dynamics import counter_random

Array = jax.Array


class Pattern(NamedTuple):
  """Spikes in the order of their times.

  Attributes:
    time: (..., spikes) ms from the start, ascending, inf for a spike that is left out.
    afferent: (..., spikes) int32.
  """

  time: Array
  afferent: Array


def uniform_pattern(key: Array, spikes: int, length: float) -> Pattern:
  """Each of the afferents 0 .. spikes − 1 fires once, at a time uniform over [0, length).

  Afferents are numbered by their firing time, which makes a learnt delay line visible and
  changes nothing for the neuron. `key` is a `jax.random.key` or the words of one.
  """
  counter = jnp.arange(spikes, dtype=jnp.uint32)
  bits, _ = counter_random.threefry(counter_random.words(key), counter, jnp.uint32(0))
  time = jnp.sort(counter_random.uniform(bits) * length)
  return Pattern(time, jnp.arange(spikes, dtype=jnp.int32))


def shuffle(key: Array, pattern: Pattern) -> Pattern:
  """The same times, with the afferents in a random order."""
  return pattern._replace(afferent=jax.random.permutation(key, pattern.afferent))


def stretch(pattern: Pattern, factor) -> Pattern:
  """m_i = mf s_i (eq. 5): slower for mf > 1, compressed for mf < 1."""
  return pattern._replace(time=pattern.time * factor)


def reverse(pattern: Pattern, length) -> Pattern:
  """r_i = L − s_i (eq. 6): the last spike becomes the first."""
  return Pattern(jnp.flip(length - pattern.time, -1), jnp.flip(pattern.afferent, -1))


def morph(pattern: Pattern, length, factor) -> Pattern:
  """Stretched by |factor|, and reversed first where the factor is negative."""
  forward, backward = pattern, reverse(pattern, length)
  chosen = jax.tree.map(lambda a, b: jnp.where(factor < 0, b, a), forward, backward)
  return stretch(chosen, jnp.abs(factor))


def jitter(bits: Array, pattern: Pattern, deviation, length) -> Pattern:
  """Adds independent Gaussian noise to the times; what leaves [0, length) is reflected.

  Reflection keeps the presentation's number of spikes, hence the balance of the input.
  The spikes come in the order of the undisturbed pattern.

  Args:
    bits: (spikes,) uint32 random bits.
    pattern: of length `length`.
    deviation: standard deviation, ms.
    length: ms.
  """
  time = pattern.time + deviation * counter_random.normal(bits)
  time = jnp.abs(time)
  time = jnp.where(time >= length, 2 * length - time, time)
  inside = jnp.clip(time, 0.0, jnp.nextafter(jnp.float32(length), jnp.float32(0)))
  return pattern._replace(time=jnp.where(jnp.isinf(pattern.time), jnp.inf, inside))


def drop(bits: Array, pattern: Pattern, probability) -> Pattern:
  """Leaves each spike out independently, by a time of inf.

  Args:
    bits: (spikes,) uint32 random bits.
    pattern: the pattern.
    probability: of leaving a spike out.
  """
  gone = counter_random.uniform(bits) < probability
  return pattern._replace(time=jnp.where(gone, jnp.inf, pattern.time))


def between(pattern: Pattern, low, high) -> Pattern:
  """Only the spikes with low ≤ time < high, in front, in the pattern's order.

  Behind them times are inf. This costs a fraction of sorting the spikes.
  """
  chosen = (pattern.time >= low) & (pattern.time < high)
  spikes = pattern.time.shape[0]
  place = jnp.where(chosen, jnp.cumsum(chosen) - 1, spikes)
  time = jnp.full(spikes, jnp.inf, pattern.time.dtype).at[place].set(pattern.time, mode="drop")
  afferent = jnp.zeros_like(pattern.afferent).at[place].set(pattern.afferent, mode="drop")
  return Pattern(time, afferent)

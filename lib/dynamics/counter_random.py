"""Random numbers as a function of (key, counter): Threefry-2x32 in one fused loop.

The same block cipher as `jax.random`'s (Salmon et al. 2011), written without its inner loop.
On the CPU backend `jax.random` runs the rounds as a loop over arrays in memory, which costs
more than simulating the spikes drawn from it (benchmarks/sdvl_step.py). A simulation that
draws from (key, time) instead of from a split key can draw any stretch of time again.
"""

import jax
import jax.numpy as jnp

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA

Array = jax.Array


def words(key: Array) -> Array:
  """The (2,) uint32 words of a `jax.random.key`."""
  return jax.random.key_data(key).astype(jnp.uint32)


def threefry(key_words: Array, first: Array, second: Array) -> tuple[Array, Array]:
  """Two uint32 arrays for each counter (first, second): Threefry-2x32 with 20 rounds.

  Args:
    key_words: (2,) uint32, see `words`.
    first, second: counters, uint32 arrays that broadcast against each other.
  """
  keys = (key_words[0], key_words[1], key_words[0] ^ key_words[1] ^ jnp.uint32(_PARITY))
  first, second = (jnp.asarray(x).astype(jnp.uint32) for x in (first, second))
  x, y = jnp.broadcast_arrays(first + keys[0], second + keys[1])
  for group in range(5):
    for turn in _ROTATIONS[group % 2]:
      x = x + y
      y = ((y << turn) | (y >> (32 - turn))) ^ x
    x = x + keys[(group + 1) % 3]
    y = y + keys[(group + 2) % 3] + jnp.uint32(group + 1)
  return x, y


def uniform(bits: Array) -> Array:
  """Uniform float32 in [0, 1) from 32 random bits, of which the upper 24 count."""
  return (bits >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)


def normal(first_bits: Array, second_bits: Array) -> Array:
  """Standard normal float32 by the method of Box and Muller; |value| < 5.8."""
  radius = jnp.sqrt(-2.0 * jnp.log1p(-uniform(first_bits)))
  return radius * jnp.cos(2.0 * jnp.pi * uniform(second_bits))

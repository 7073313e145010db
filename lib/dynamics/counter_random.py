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
  """The (2,) uint32 words of a `jax.random.key`; words stay as they are."""
  if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
    key = jax.random.key_data(key)
  return key.astype(jnp.uint32)


def from_seed(seed: jax.typing.ArrayLike, stream: int = 0) -> Array:
  """Words of an independent stream of a seed.

  Stream 0 are the words of `jax.random.key(seed)`; the others are one block of it.
  """
  start = jnp.stack([jnp.uint32(0), jnp.asarray(seed).astype(jnp.uint32)])
  if not stream:
    return start
  return jnp.stack(threefry(start, jnp.uint32(stream), jnp.uint32(0xFFFFFFFF)))


@jax.jit
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


def normal(bits: Array) -> Array:
  """Standard normal float32 by inversion, |value| < 5.5."""
  centred = (bits >> 8).astype(jnp.float32) * jnp.float32(2.0**-23) + jnp.float32(2.0**-24 - 1)
  return jnp.sqrt(jnp.float32(2)) * jax.lax.erf_inv(centred)

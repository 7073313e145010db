"""Workarounds where an operation of JAX is not safe or not fast on some backend.

>>> import jax, jax.numpy as jnp
>>> from lib import numerics
>>> determinants = jax.vmap(numerics.one_at_a_time(jnp.linalg.det))
>>> print(determinants(jnp.stack([jnp.eye(2), 2 * jnp.eye(2)])))
[1. 4.]
"""

from lib.numerics.linear_algebra import batched_lapack, one_at_a_time

__all__ = ["batched_lapack", "one_at_a_time"]

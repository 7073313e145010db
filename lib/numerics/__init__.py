"""Workarounds where an operation of JAX is not safe or fast, and quadratic programs.

>>> import jax, jax.numpy as jnp
>>> from lib import numerics
>>> determinants = jax.vmap(numerics.one_at_a_time(jnp.linalg.det))
>>> print(determinants(jnp.stack([jnp.eye(2), 2 * jnp.eye(2)])))
[1. 4.]
"""

from lib.numerics.linear_algebra import batched_lapack, one_at_a_time
from lib.numerics.quadratic import Solution, kkt_error, solve_qp

__all__ = ["Solution", "batched_lapack", "kkt_error", "one_at_a_time", "solve_qp"]

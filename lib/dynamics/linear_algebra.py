"""Dense linear algebra that is safe under vmap on several CPU devices.

jaxlib hands a batch of matrices of more than about 2·10⁵ operations in pieces to the thread
pool that XLA runs on, and waits for it there. When all threads of the pool wait like this, as
happens with members on several CPU devices, the program stands still for good (JAX 0.10.2,
`ParallelBatchMap` in jaxlib/cpu/lapack_kernels.cc). Here vmap becomes a loop over single
matrices, which LAPACK solves on the thread that asks.
"""

import jax.numpy as jnp
from jax.custom_batching import sequential_vmap


@sequential_vmap
def solve(matrix, right):
  """x with matrix x = right, for (n, n) and (n,) or (n, k)."""
  return jnp.linalg.solve(matrix, right)


@sequential_vmap
def det(matrix):
  """Determinant of (n, n)."""
  return jnp.linalg.det(matrix)


@sequential_vmap
def eigh(matrix):
  """(eigenvalues, eigenvectors) of a Hermitian (n, n)."""
  values, vectors = jnp.linalg.eigh(matrix)
  return values, vectors

"""Linear algebra of small matrices in batches on several CPU devices."""

import functools
import re
from collections.abc import Callable

import jax

# A call with an operand of more than two axes, of which the leading ones are not all 1.
_BATCHED = re.compile(r"@lapack_[^\n]*: \(tensor<(?:1x)*(?!1x)\d+x\d+x\d+x")


def one_at_a_time(function: Callable) -> Callable:
  """`function`, which `jax.vmap` on a CPU turns into a loop over its calls.

  Batched LAPACK calls (`jnp.linalg.solve`, `det`, `svd`, `eigh`, …) in a program of several
  CPU devices can stand still for ever: XLA cuts the batch into tasks for the thread pool that
  the devices themselves run on and waits for them there (JAX 0.10.2, `ParallelBatchMap` in
  jaxlib/cpu/lapack_kernels.cc). Calls of one matrix do not. There is no gradient in reverse
  mode.
  """
  # Without a signature, whose defaults would become arrays.
  in_turn = jax.custom_batching.sequential_vmap(lambda *arguments: function(*arguments))

  @functools.wraps(function)
  def call(*arguments):
    return (in_turn if jax.default_backend() == "cpu" else function)(*arguments)

  return call


def batched_lapack(program: str) -> bool:
  """Whether a lowered program, as text of StableHLO, has a LAPACK call of several matrices."""
  return _BATCHED.search(program) is not None

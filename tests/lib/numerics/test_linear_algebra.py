"""Batched linear algebra: the same numbers one at a time, and programs with such calls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lib import numerics


def _lowered(function, *arguments):
  return jax.jit(function).lower(*arguments).as_text()


@pytest.mark.parametrize(
  "function",
  [
    jnp.linalg.det,
    jnp.linalg.inv,
    lambda a: jnp.linalg.svd(a, compute_uv=False),
    lambda a: jnp.linalg.eigh(a + a.T).eigenvalues,
  ],
)
def test_one_at_a_time_equals_numpy(function):
  matrices = np.random.default_rng(0).standard_normal((5, 4, 4)).astype(np.float32)
  found = jax.jit(jax.vmap(numerics.one_at_a_time(function)))(matrices)
  np.testing.assert_allclose(found, [function(a) for a in matrices], rtol=1e-5, atol=1e-6)
  text = _lowered(jax.vmap(numerics.one_at_a_time(function)), matrices)
  assert "@lapack_" in text and not numerics.batched_lapack(text)


def test_batched_calls_are_seen():
  matrices = jnp.ones((5, 4, 4))
  assert numerics.batched_lapack(_lowered(jnp.linalg.det, matrices))
  assert numerics.batched_lapack(_lowered(jnp.linalg.det, matrices[None]))
  assert not numerics.batched_lapack(_lowered(jnp.linalg.det, matrices[0]))
  assert not numerics.batched_lapack(_lowered(jnp.linalg.det, matrices[:1]))
  assert not numerics.batched_lapack(_lowered(jnp.matmul, matrices, matrices))

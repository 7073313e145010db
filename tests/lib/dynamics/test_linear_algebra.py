"""Linear algebra under nested vmaps against NumPy; LAPACK is called on single matrices."""

import re

import jax
import jax.numpy as jnp
import numpy as np

from lib.dynamics import linear_algebra


def hermitian(*shape):
  rng = np.random.default_rng(0)
  half = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
  return half + np.swapaxes(half.conj(), -1, -2)


def test_against_numpy_under_vmap():
  a = hermitian(3, 2, 5, 5)
  b = hermitian(3, 2, 5, 5)[..., 0]
  with jax.enable_x64(True):
    twice = lambda f: jax.jit(jax.vmap(jax.vmap(f)))  # noqa: E731
    x, d = twice(linear_algebra.solve)(a, b), twice(linear_algebra.det)(a)
    values, vectors = map(np.asarray, twice(linear_algebra.eigh)(a))
  np.testing.assert_allclose(x, np.linalg.solve(a, b[..., None])[..., 0], rtol=1e-10)
  np.testing.assert_allclose(d, np.linalg.det(a), rtol=1e-10)
  np.testing.assert_allclose(values, np.linalg.eigvalsh(a), atol=1e-12)
  np.testing.assert_allclose(a @ vectors, vectors * values[..., None, :], atol=1e-12)


def test_lapack_never_sees_a_batch():
  a = jnp.asarray(hermitian(40, 20, 20).real, jnp.float32)
  functions = {"getrf": linear_algebra.det, "syevd": linear_algebra.eigh}
  for name, function in functions.items():
    text = jax.jit(jax.vmap(function)).lower(a).compile().as_text()
    calls = [line for line in text.splitlines() if f"lapack_s{name}_ffi" in line]
    assert calls and all(re.search(r"= \(f32\[(1,)?20,20\]", line) for line in calls)

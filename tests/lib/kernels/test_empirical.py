"""Empirical NTK against the explicit contraction of whole Jacobians, in float64."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lib import kernels
from lib.kernels import empirical

METHODS = empirical.METHODS


def jacobian(apply, params, x):
  """(n, o, p) with all of the batch at once: the slow and obvious way."""
  rows = jax.tree.leaves(jax.jacrev(lambda p: apply(p, x))(params))
  n, o = apply(params, x).shape
  return jnp.concatenate([r.reshape(n, o, -1) for r in rows], axis=-1)


def explicit(apply, params, x1, x2):
  return np.einsum("nop,mqp->nmoq", jacobian(apply, params, x1), jacobian(apply, params, x2))


def normal(shape, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@jax.jit
def block(w, b, h):
  return jnp.tanh(h @ w.T / 3 + b)


def network(params, x):
  """Dense layers of every sort: in jit, transposed, scaled, in a cast; and one used twice."""
  h = block(params["first"], params["b"], x)
  h = block(params["second"], params["b"], h)
  h = h + jnp.sin(jnp.einsum("nh,hk->nk", h, -params["scaled"] * 0.7))
  h = h + jnp.tanh((h @ params["twice"]) @ params["twice"])
  normed = params["normed"] / jnp.linalg.norm(params["normed"])
  h = h * (h @ normed)
  return jax.lax.dot(h, params["out"]) * params["gain"]


def network_params():
  shapes = {
    "first": (6, 4), "second": (6, 6), "b": (6,), "scaled": (6, 6), "twice": (6, 6),
    "normed": (6, 6), "out": (6, 3), "gain": (),
  }  # fmt: skip
  return {name: normal(shape, i) for i, (name, shape) in enumerate(shapes.items())}


@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("method", METHODS)
def test_equals_the_explicit_contraction(method, batch_size):
  with jax.enable_x64(True):
    params, x1, x2 = network_params(), normal((5, 4), 8), normal((7, 4), 9)
    expected = explicit(network, params, x1, x2)
    options = {"method": method, "batch_size": batch_size}

    @jax.jit
    def both(params):
      full = kernels.empirical_ntk(network, params, x1, x2, **options)
      return full, kernels.empirical_ntk(network, params, x1, trace_axes=(-1,), **options)

    full, traced = both(params)
    assert full.shape == (5, 7, 3, 3) and traced.shape == (5, 5)
    np.testing.assert_allclose(full, expected, rtol=1e-10, atol=1e-12)
    own = explicit(network, params, x1, x1)
    np.testing.assert_allclose(traced, np.trace(own, axis1=2, axis2=3) / 3, rtol=1e-10)


def test_finds_the_dense_layers_and_only_those():
  with jax.enable_x64(True):
    params, example = network_params(), jax.ShapeDtypeStruct((4,), float)
    leaves, treedef = jax.tree.flatten(params)

    def single(leaves, x):
      return network(treedef.unflatten(leaves), x[None])[0]

    closed = jax.make_jaxpr(single)(leaves, example)
    names = sorted(params)
    found = {names[i] for i in empirical._find_dense(closed, leaves, example)}
  assert found == {"first", "second", "scaled", "out"}


class Convolutional(nn.Module):
  @nn.compact
  def __call__(self, x):
    x = nn.relu(nn.Conv(3, (3, 3))(x))
    x = x.reshape(x.shape[0], -1)
    x = nn.LayerNorm()(nn.gelu(nn.Dense(8)(x)))
    return nn.Dense(2)(x)


def test_flax_with_convolution_and_normalisation():
  with jax.enable_x64(True):
    x = normal((4, 5, 5, 1))
    model = Convolutional()
    params = jax.tree.map(lambda a: a.astype(float), model.init(jax.random.key(0), x))
    kernel = jax.jit(functools.partial(kernels.empirical_ntk, model.apply))(params, x)
    np.testing.assert_allclose(kernel, explicit(model.apply, params, x, x), rtol=1e-9)


def test_by_hand():
  with jax.enable_x64(True):
    x = normal((4, 3))
    linear = kernels.empirical_ntk(lambda w, x: x @ w, normal((3, 2), 1), x)
    np.testing.assert_allclose(
      linear, np.einsum("ij,oq->ijoq", x @ x.T, np.eye(2)), atol=1e-14
    )


def test_outputs_of_several_axes_and_pytrees_of_inputs():
  with jax.enable_x64(True):
    params = {"w": normal((3, 8), 1), "v": normal((8, 6), 2)}
    inputs = {"a": normal((3, 3), 3), "b": normal((3, 1), 4)}

    def apply(params, x):
      hidden = jnp.tanh(x["a"] @ params["w"] + x["b"])
      return (hidden @ params["v"]).reshape(-1, 2, 3)

    def flat(p, x):
      return apply(p, x).reshape(-1, 6)

    full = explicit(flat, params, inputs, inputs).reshape(3, 3, 2, 3, 2, 3)
    for method in METHODS:
      ntk = jax.jit(functools.partial(kernels.empirical_ntk, apply, method=method))
      np.testing.assert_allclose(ntk(params, inputs), full, rtol=1e-10, atol=1e-12)
    ntk = functools.partial(kernels.empirical_ntk, apply, params, inputs)
    last = np.einsum("ijakbk->ijab", full) / 3
    np.testing.assert_allclose(ntk(trace_axes=(2,), batch_size=2), last, rtol=1e-10)
    both = np.einsum("ijakak->ij", full) / 6
    np.testing.assert_allclose(ntk(trace_axes=(-2, -1)), both, rtol=1e-10)


@pytest.mark.parametrize("batch_size", [None, 2, 5, 100])
def test_vector_product(batch_size):
  with jax.enable_x64(True):
    params, x1, x2, v = network_params(), normal((5, 4), 8), normal((7, 4), 9), normal((7, 3))
    expected = np.einsum("nmoq,mq->no", explicit(network, params, x1, x2), v)
    product = functools.partial(kernels.ntk_vector_product, network, batch_size=batch_size)
    np.testing.assert_allclose(jax.jit(product)(params, x1, x2, v), expected, rtol=1e-10)


def test_symmetric_positive_semidefinite_and_differentiable():
  with jax.enable_x64(True):
    params, x = network_params(), normal((6, 4), 8)
    kernel = jax.jit(functools.partial(kernels.empirical_ntk, network))(params, x)
    matrix = kernel.transpose(0, 2, 1, 3).reshape(18, 18)
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-10, atol=1e-12)
    values = np.linalg.eigvalsh(matrix)
    assert values[0] > -1e-12 * values[-1]

    total = jax.jit(
      lambda gain: kernels.empirical_ntk(network, {**params, "gain": gain}, x).sum()
    )
    difference = (total(0.7 + 1e-5) - total(0.7 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.jit(jax.grad(total))(0.7), difference, rtol=1e-7)


def mlp(params, x):
  for w in params[:-1]:
    x = jnp.tanh(x @ w / np.sqrt(w.shape[0]))
  return x @ params[-1] / np.sqrt(params[-1].shape[0])


def temporary_bytes(n, **options):
  params = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((16, 256), (256, 256), (256, 4))]
  x = jax.ShapeDtypeStruct((n, 16), jnp.float32)
  ntk = functools.partial(kernels.empirical_ntk, mlp, trace_axes=(-1,), **options)
  return jax.jit(ntk).lower(params, x).compile().memory_analysis().temp_size_in_bytes


def test_memory():
  p = 16 * 256 + 256 * 256 + 256 * 4
  whole = 4 * 128 * 4 * p  # bytes of the Jacobian of 128 inputs
  assert temporary_bytes(128, method="jacobian") > 0.9 * whole
  assert temporary_bytes(128) < whole / 20  # structured: never forms it
  # In blocks of 8 it does not grow with n, but for a few copies of the (n, n) result.
  for method in ("jacobian", "structured"):
    small, large = (temporary_bytes(n, batch_size=8, method=method) for n in (32, 256))
    assert large - small < 4 * 4 * 256**2
    assert small < 4 * 3 * 8 * 4 * p


def test_misuse():
  apply, w, x = lambda w, x: x @ w, np.ones((3, 2)), np.ones((4, 3))
  with pytest.raises(ValueError, match="unknown method"):
    kernels.empirical_ntk(apply, w, x, method="magic")
  with pytest.raises(ValueError, match="batch_size"):
    kernels.empirical_ntk(apply, w, x, batch_size=0)
  for axis in (0, 2, -2):
    with pytest.raises(ValueError, match="trace axis"):
      kernels.empirical_ntk(apply, w, x, trace_axes=(axis,))
  with pytest.raises(ValueError, match=r"vector has shape \(4,\)"):
    kernels.ntk_vector_product(apply, w, x, None, np.ones(4))

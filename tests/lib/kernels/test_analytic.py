"""Analytic NNGP and NTK: closed values, Monte Carlo, structure, gradients."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lib import kernels


def paper_network(params, x):
  """f(x) = m^{-1/2} Σ_j b_j relu(a_j x + a0_j) of scalar inputs x (n,)."""
  hidden = jax.nn.relu(x[:, None] * params["a"] + params["a0"])
  return hidden @ params["b"] / jnp.sqrt(params["b"].size)


def paper_params(key, width):
  keys = jax.random.split(key, 3)
  names = ("a", "a0", "b")
  return {n: jax.random.normal(k, (width,)) for n, k in zip(names, keys, strict=True)}


def test_the_two_layer_scalar_network_by_hand():
  x = np.linspace(-1, 1, 6)
  inner = np.outer(x, x) + 1
  norm = np.sqrt(np.outer(x**2 + 1, x**2 + 1))
  theta = np.arccos(np.clip(inner / norm, -1, 1))
  order1 = norm * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
  order0 = (np.pi - theta) / (2 * np.pi)
  with jax.enable_x64(True):
    kernel = kernels.fully_connected(1, "relu", 1.0, (1.0, 0.0))(x)
  np.testing.assert_allclose(kernel.nngp, order1, atol=1e-7)
  np.testing.assert_allclose(kernel.ntk, order1 + inner * order0, atol=1e-7)
  np.testing.assert_allclose(np.diag(kernel.ntk), x**2 + 1, rtol=1e-15)


def test_depth_by_hand():
  x = np.array([[1.0, 2.0], [0.5, -1.0]])
  inner = x @ x.T / 2
  with jax.enable_x64(True):
    linear = kernels.fully_connected(0, "relu", 3.0, 0.5)(x)
    np.testing.assert_allclose(linear.nngp, 3 * inner + 0.5)
    np.testing.assert_allclose(linear.ntk, 3 * inner + 0.5)
    deep_linear = kernels.fully_connected(4, "identity")(x)
    np.testing.assert_allclose(deep_linear.nngp, inner)
    np.testing.assert_allclose(deep_linear.ntk, 5 * inner)
    # He initialisation keeps the variance of ReLU layers: k each, and Θ = (depth + 1) k.
    relu = kernels.fully_connected(4, "relu", 2.0)(x)
    np.testing.assert_allclose(np.diag(relu.nngp), 2 * np.diag(inner), rtol=1e-14)
    np.testing.assert_allclose(np.diag(relu.ntk), 10 * np.diag(inner), rtol=1e-14)


def test_composition_equals_fully_connected():
  x = jax.random.normal(jax.random.key(0), (5, 3))
  composed = kernels.serial(
    kernels.dense(1.5, 0.1),
    kernels.activation("erf"),
    kernels.dense(0.7, 0.2),
    kernels.from_dual(kernels.erf_dual),
    kernels.dense(2.0, 0.0),
  )
  whole = kernels.fully_connected(2, "erf", (1.5, 0.7, 2.0), (0.1, 0.2, 0.0))
  for a, b in zip(composed(x), whole(x), strict=True):
    np.testing.assert_array_equal(a, b)


def mlp(params, x, activation, weight_variance, bias_variance):
  h = x
  for i, (w, b) in enumerate(params):
    h = activation(h) if i else h
    h = jnp.sqrt(weight_variance / w.shape[0]) * (h @ w) + jnp.sqrt(bias_variance) * b
  return h


def mlp_params(key, sizes):
  keys = jax.random.split(key, 2 * len(sizes))
  return [
    (jax.random.normal(keys[2 * i], (n, m)), jax.random.normal(keys[2 * i + 1], (m,)))
    for i, (n, m) in enumerate(itertools.pairwise(sizes))
  ]


@pytest.mark.parametrize("name", ["relu", "erf", "gelu"])
def test_two_hidden_layers_against_monte_carlo(name):
  """Empirical kernels of 24 networks of width 512, within 5 standard errors + O(1/width)."""
  width, seeds = 512, 24
  x = jax.random.normal(jax.random.key(1), (3, 4))
  function = kernels.activation_function(name)

  def one(key):
    params = mlp_params(key, (4, width, width, 1))

    def apply(p, x):
      return mlp(p, x, function, 1.7, 0.3)

    ntk = kernels.empirical_ntk(apply, params, x)[..., 0, 0]
    # Given the hidden layers, the output's covariance over the read-out is known exactly.
    hidden = function(mlp(params[:-1], x, function, 1.7, 0.3))
    return 1.7 * hidden @ hidden.T / width + 0.3, ntk

  samples = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), seeds))
  analytic = kernels.fully_connected(2, name, 1.7, 0.3)(x)
  for sample, expected in zip(samples, analytic, strict=True):
    error = np.std(sample, axis=0, ddof=1) / np.sqrt(seeds)
    assert error.max() < 0.05 * np.abs(expected).max()
    difference = np.abs(np.mean(sample, axis=0) - expected)
    assert (difference < 5 * error + 2 * np.abs(expected) / width).all()


def test_empirical_tends_to_analytic_as_one_over_root_width():
  x = jnp.linspace(-1, 1, 5)
  analytic = kernels.fully_connected(1, "relu", 1.0, (1.0, 0.0))(x).ntk
  widths, errors = (64, 512, 4096), []
  for width in widths:

    def sample(key, m=width):
      return kernels.empirical_ntk(paper_network, paper_params(key, m), x)

    keys = jax.random.split(jax.random.key(width), 64)
    difference = jax.jit(jax.vmap(sample))(keys) - analytic
    errors.append(np.sqrt(np.mean(difference**2)))
  slope = np.polyfit(np.log(widths), np.log(errors), 1)[0]
  assert abs(slope + 0.5) < 0.1, errors


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", kernels.ACTIVATIONS)
def test_symmetric_and_positive_semidefinite(name, dtype):
  with jax.enable_x64(dtype == "float64"):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(dtype)
    x[1] = x[0]  # a repeated, an opposite, a multiple and a zero input
    x[2], x[3], x[4] = -x[0], 3 * x[0], 0
    tolerance = 1e-9 if dtype == "float64" else 1e-4  # angles near 0 resolve to √eps
    for kernel in jax.jit(kernels.fully_connected(2, name, 1.2, 0.1))(x):
      kernel = np.asarray(kernel, np.float64)
      np.testing.assert_array_equal(kernel, kernel.T)
      values = np.linalg.eigvalsh(kernel)
      assert values[0] > -tolerance * values[-1]


def test_two_sets_and_one_set_agree():
  x = np.random.default_rng(1).normal(size=(6, 3))
  for name in ("relu", "erf", "tanh"):
    with jax.enable_x64(True):
      kernel_fn = jax.jit(kernels.fully_connected(2, name, 1.3, 0.1))
      one, two = kernel_fn(x), kernel_fn(x[:4], x)
      for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a[:4], b, atol=1e-7)  # angles of 0 to √eps


def test_single_against_double_precision():
  x = np.random.default_rng(2).normal(size=(10, 5))
  for name in ("relu", "erf", "gelu"):
    kernel_fn = jax.jit(kernels.fully_connected(3, name, 1.5, 0.1))
    single = kernel_fn(x.astype(np.float32))
    with jax.enable_x64(True):
      double = kernel_fn(x)
    for a, b in zip(single, double, strict=True):
      assert a.dtype == np.float32 and b.dtype == np.float64
      np.testing.assert_allclose(a, b, rtol=2e-5)


@pytest.mark.parametrize("name", ["relu", "erf", "tanh"])
def test_gradients(name):
  with jax.enable_x64(True):
    x = jnp.asarray(np.random.default_rng(3).normal(size=(3, 2)))

    @jax.jit
    def loss(x1, weight_variance, bias_variance):
      kernel = kernels.fully_connected(2, name, weight_variance, bias_variance)(x1, x + 0.5)
      return jnp.sum(jnp.sin(kernel.ntk)) + jnp.sum(kernel.nngp)

    check_grads(loss, (x, 1.3, 0.2), order=1, modes=("fwd", "rev"), rtol=1e-5)


def test_gradients_are_finite_at_repeated_and_zero_inputs():
  x = jnp.array([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]])
  for name in ("relu", "erf", "tanh"):

    def fn(x, n=name):
      return sum(k.sum() for k in kernels.fully_connected(2, n, 1.2, 0.0)(x))

    assert np.isfinite(jax.jit(jax.grad(fn))(x)).all(), name


def test_jit_and_vmap():
  x = jax.random.normal(jax.random.key(0), (3, 4, 2))
  kernel_fn = kernels.fully_connected(2, "relu", 2.0, 0.1)
  batched = jax.jit(jax.vmap(kernel_fn))(x)
  for i in range(3):
    np.testing.assert_allclose(batched.ntk[i], kernel_fn(x[i]).ntk, rtol=1e-5)
  sweep = jax.vmap(lambda w: kernels.fully_connected(1, "relu", w)(x[0]).nngp)(jnp.arange(3.0))
  np.testing.assert_allclose(sweep[2], kernels.fully_connected(1, "relu", 2.0)(x[0]).nngp)


def test_misuse():
  with pytest.raises(ValueError, match="3 entries"):
    kernels.fully_connected(2, "relu", (1.0, 2.0))
  with pytest.raises(ValueError, match="depth"):
    kernels.fully_connected(-1)
  with pytest.raises(ValueError, match=r"\(n, d\)"):
    kernels.fully_connected(1)(np.zeros((2, 3, 4)))
  with pytest.raises(ValueError, match="different dimension"):
    kernels.fully_connected(1)(np.zeros((2, 3)), np.zeros((2, 4)))

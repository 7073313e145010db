"""Dual activations against hand-computed values, quadrature and their own theory."""

import functools
import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import integrate

from lib import kernels

NAMED = ("relu", "leaky_relu", "abs", "erf", "sin", "identity", "tanh")
SMOOTH = ("erf", "sin", "tanh", "gelu", "softplus")
SLOPES = {"relu": (0.0, 1.0), "leaky_relu": (0.01, 1.0), "abs": (-1.0, 1.0)}
DTYPES = ("float32", "float64")


@functools.cache
def jitted_dual(name):
  return jax.jit(kernels.activation_dual(name))


def dual(name, k11, k12, k22, dtype="float64"):
  with jax.enable_x64(dtype == "float64"):
    out = jitted_dual(name)(*(np.asarray(k, dtype) for k in (k11, k12, k22)))
    assert out.kappa.dtype == out.kappa_dot.dtype == dtype
    return np.asarray(out.kappa), np.asarray(out.kappa_dot)


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_by_hand(dtype):
  # Angles 0, 60°, 90°, 180° between vectors of variance 4 and 9 (s = 6), and 0 at 4 and 4.
  k12 = 6 * np.array([0.5, 0.0, -1.0])
  kappa, kappa_dot = dual("relu", 4.0, k12, 9.0, dtype)
  third = 6 * (np.sqrt(3) / 2 + 2 * np.pi / 3 / 2) / (2 * np.pi)
  np.testing.assert_allclose(kappa, [third, 6 / (2 * np.pi), 0], rtol=2e-6, atol=1e-6)
  np.testing.assert_allclose(kappa_dot, [1 / 3, 1 / 4, 0], rtol=2e-6, atol=1e-6)
  kappa, kappa_dot = dual("relu", 4.0, 4.0, 4.0, dtype)
  assert kappa == 2.0 and kappa_dot == 0.5  # exactly


def test_erf_and_sin_by_hand():
  kappa, kappa_dot = dual("erf", 0.5, 0.5, 0.5)
  np.testing.assert_allclose(kappa, 2 / np.pi * np.pi / 6)  # arcsin(1/2)
  np.testing.assert_allclose(kappa_dot, 4 / np.pi / np.sqrt(3))
  kappa, kappa_dot = dual("sin", 1.0, 1.0, 1.0)
  np.testing.assert_allclose(kappa, (1 - np.exp(-2)) / 2)
  np.testing.assert_allclose(kappa_dot, (1 + np.exp(-2)) / 2)


def gaussian_expectation(f, g, k11, k12, k22):
  """E[f(u) g(v)] by scipy's adaptive two-dimensional quadrature."""
  c = k12 / np.sqrt(k11 * k22)
  s = np.sqrt(1 - c**2)

  def integrand(z2, z1):
    u, v = np.sqrt(k11) * z1, np.sqrt(k22) * (c * z1 + s * z2)
    return f(u) * g(v) * np.exp(-(z1**2 + z2**2) / 2) / (2 * np.pi)

  return integrate.dblquad(integrand, -8, 8, -8, 8, epsabs=1e-8, epsrel=1e-8)[0]


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_against_scipy_quadrature(name):
  from scipy import special

  def phi(x):
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)

  functions = {
    "erf": (special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2))),
    "sin": (np.sin, np.cos),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "gelu": (lambda x: x * special.ndtr(x), lambda x: special.ndtr(x) + x * phi(x)),
    "softplus": (lambda x: np.logaddexp(0, x), special.expit),
  }
  f, df = functions[name]
  ks = (0.7, -0.5, 1.1)
  kappa, kappa_dot = dual(name, *ks)
  np.testing.assert_allclose(kappa, gaussian_expectation(f, f, *ks), atol=1e-7)
  np.testing.assert_allclose(kappa_dot, gaussian_expectation(df, df, *ks), atol=1e-7)


@pytest.mark.parametrize("name", SLOPES)
@pytest.mark.parametrize("angle", [0.3, 1.4, 2.9])
def test_kinked_against_quadrature_over_the_angle(name, angle):
  # In polar coordinates the radial integrals are ∫ r³ e^{-r²/2} = 2 and ∫ r e^{-r²/2} = 1.
  a, b = SLOPES[name]

  def f(x):
    return np.where(x > 0, b * x, a * x)

  def df(x):
    return np.where(x > 0, b, a)

  kinks = sorted(x % (2 * np.pi) for x in (np.pi / 2, -np.pi / 2, np.pi / 2 + angle))
  kinks.append((angle - np.pi / 2) % (2 * np.pi))

  def expectation(g, radial):
    def pair(phi):
      return g(np.cos(phi)) * g(np.cos(phi - angle))

    edges = [0, *sorted(kinks), 2 * np.pi]
    total = sum(integrate.quad(pair, lo, hi)[0] for lo, hi in itertools.pairwise(edges))
    return radial * total / (2 * np.pi)

  kappa, kappa_dot = dual(name, 4.0, 6 * np.cos(angle), 9.0)
  np.testing.assert_allclose(kappa, 6 * expectation(f, 2), rtol=1e-8)
  np.testing.assert_allclose(kappa_dot, expectation(df, 1), rtol=1e-8)


@pytest.mark.parametrize("name", NAMED)
def test_gradients_by_finite_differences(name):
  with jax.enable_x64(True):
    fn = kernels.activation_dual(name)
    ks = tuple(jnp.array(k) for k in ([0.8, 1.3], [0.5, -0.9], [1.1, 0.9]))
    check_grads(
      jax.jit(lambda *ks: tuple(fn(*ks))), ks, order=1, modes=("fwd", "rev"), rtol=1e-5
    )


@pytest.mark.parametrize("name", NAMED)
def test_price_theorem_also_at_the_ends(name):
  # ∂κ/∂k12 = κ̇ for any activation, cosine −1 and 1 and vanishing inputs included.
  k11 = np.array([1.0, 1.0, 1.0, 2.0, 0.0, 0.0])
  k12 = np.array([1.0, -1.0, 0.3, 2.0, 0.0, 0.0])
  k22 = np.array([1.0, 1.0, 1.0, 2.0, 0.0, 1.0])
  with jax.enable_x64(True):
    fn = kernels.activation_dual(name)
    slope = jax.jit(jax.grad(lambda k: fn(k11, k, k22).kappa.sum()))(k12)
    np.testing.assert_allclose(slope, fn(k11, k12, k22).kappa_dot, atol=2e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", kernels.ACTIVATIONS)
def test_values_and_gradients_are_finite_at_the_edges(name, dtype):
  tiny, huge = (1e-30, 1e30) if name in ("relu", "abs", "erf", "sin") else (1e-12, 1e6)
  variances = [0.0, tiny, 1e-3, 1.0, 50.0, huge]
  k11, k22 = (k.ravel() for k in np.meshgrid(variances, variances))
  cosine = np.array([-1.0, -1 + 1e-7, 0.0, 1.0, 1 + 1e-7])[:, None]
  fn = kernels.activation_dual(name)

  @jax.jit
  def values_and_gradients(*ks):
    parts = [
      jax.value_and_grad(lambda *ks, i=i: fn(*ks)[i].sum(), (0, 1, 2))(*ks) for i in (0, 1)
    ]
    return fn(*ks), parts

  with jax.enable_x64(dtype == "float64"):
    ks = np.broadcast_arrays(k11, cosine * np.sqrt(k11) * np.sqrt(k22), k22)
    out = values_and_gradients(*(np.asarray(k, dtype) for k in ks))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(out))


positive = st.floats(1e-6, 1e6)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(positive, positive, st.floats(-1, 1), st.sampled_from(NAMED[:5]))
def test_symmetry_cauchy_schwarz_and_precision(k11, k22, cosine, name):
  k12 = cosine * np.sqrt(k11 * k22)
  kappa, kappa_dot = dual(name, k11, k12, k22)
  swapped = dual(name, k22, k12, k11)
  assert kappa == swapped[0] and kappa_dot == swapped[1]
  for part, value in enumerate((kappa, kappa_dot)):
    bound = np.sqrt(dual(name, k11, k11, k11)[part] * dual(name, k22, k22, k22)[part])
    assert abs(value) <= bound * (1 + 1e-7)
  # float32: κ to rounding of its inputs, κ̇ to √eps, the resolution of an angle near 0.
  single = dual(name, k11, k12, k22, "float32")
  if name != "sin":  # e^{-k}: relative error eps k
    scale = np.sqrt(dual(name, k11, k11, k11)[0] * dual(name, k22, k22, k22)[0])
    np.testing.assert_allclose(single[0], kappa, atol=1e-5 * scale)
  if name in SLOPES:
    np.testing.assert_allclose(single[1], kappa_dot, atol=2e-3)


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(st.floats(1e-12, 1e12), st.floats(-1, 1))
def test_relu_is_homogeneous(scale, cosine):
  one = dual("relu", 1.0, 2 * cosine, 4.0)
  many = dual("relu", scale, scale * 2 * cosine, scale * 4.0)
  np.testing.assert_allclose(many[0], scale * one[0], rtol=1e-7, atol=1e-10 * scale)
  np.testing.assert_allclose(many[1], one[1], atol=1e-7)


def test_hermite_series_equals_the_closed_forms():
  cosine = np.array([-1.0, -0.6, 0.0, 0.9, 1.0])
  with jax.enable_x64(True):
    for name in ("erf", "sin"):
      series = kernels.hermite_dual(kernels.activation_function(name))
      closed = kernels.activation_dual(name)
      for k22 in (0.5, 1.0):
        ks = (jnp.array(0.8), cosine * np.sqrt(0.8 * k22), jnp.array(k22))
        for a, b in zip(series(*ks), closed(*ks), strict=True):
          np.testing.assert_allclose(a, b, atol=1e-11)
    # A polynomial is exact: E[(u² − 1)(v² − 1)] = 2 k12² at unit variance.
    square = kernels.hermite_dual(lambda u: u**2 - 1, degree=8)
    np.testing.assert_allclose(square(1.0, cosine, 1.0).kappa, 2 * cosine**2, atol=1e-13)


@pytest.mark.parametrize("name", kernels.ACTIVATIONS)
def test_mean_against_quadrature(name):
  with jax.enable_x64(True):
    function = kernels.activation_function(name)
    z = np.linspace(-12, 12, 40_001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    for variance in (0.0, 0.3, 2.0):
      expected = integrate.simpson(np.asarray(function(np.sqrt(variance) * z)) * density, x=z)
      mean = kernels.activation_mean(name, variance)
      np.testing.assert_allclose(mean, expected, atol=1e-7)
      # and by name as by function, where a kink costs O(spacing²)
      np.testing.assert_allclose(kernels.activation_mean(function, variance), mean, atol=2e-5)


def test_misuse():
  with pytest.raises(ValueError, match="unknown activation 'rleu'"):
    kernels.activation_dual("rleu")
  with pytest.raises(ValueError, match="degree"):
    kernels.hermite_dual(jnp.tanh, degree=1)

"""Infinite-width dynamics against expm, an ODE solver and networks really trained."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, linalg

from lib import kernels


def random_kernel(n, seed=0, rank=None):
  a = np.random.default_rng(seed).normal(size=(n, rank or n))
  return a @ a.T


def test_flow_against_expm_and_an_ode_solver():
  theta, r0 = random_kernel(5), np.random.default_rng(1).normal(size=5)
  times = np.array([0.0, 0.3, 4.0])
  with jax.enable_x64(True):
    flow = jax.jit(kernels.gradient_flow)(theta, r0, times)
  solution = integrate.solve_ivp(
    lambda _, y: np.concatenate([-theta @ y[:5] / 5, y[:5]]),
    (0, 4.0), np.concatenate([r0, np.zeros(5)]), t_eval=times, rtol=1e-10, atol=1e-12,
  )  # fmt: skip
  for i, t in enumerate(times):
    np.testing.assert_allclose(flow.residual[i], linalg.expm(-theta * t / 5) @ r0, atol=1e-12)
    np.testing.assert_allclose(flow.integral[i], solution.y[5:, i], atol=1e-8)


def test_singular_kernels_and_infinite_time():
  # Rank 2 of 4: in the null space r stays, its integral is t r, and at inf it is left out.
  theta = random_kernel(4, rank=2)
  null = linalg.null_space(theta)
  r0 = np.random.default_rng(2).normal(size=(4, 3))
  with jax.enable_x64(True):
    flow = kernels.gradient_flow(theta, r0, 1e6, normalisation=1)
    np.testing.assert_allclose(null.T @ flow.integral, 1e6 * null.T @ r0, rtol=1e-8)
    np.testing.assert_allclose(flow.residual, null @ null.T @ r0, atol=1e-8)
    end = kernels.gradient_flow(theta, r0, jnp.inf, normalisation=1)
    np.testing.assert_allclose(end.residual, null @ null.T @ r0, atol=1e-12)
    np.testing.assert_allclose(end.integral, linalg.pinv(theta) @ r0, atol=1e-12)
    still = kernels.gradient_flow(np.zeros((2, 2)), np.ones(2), 3.0)
    np.testing.assert_array_equal(still.integral, [3.0, 3.0])


@pytest.mark.parametrize("t", [1e-3, 0.4, 30.0])
def test_gradients_also_at_repeated_eigenvalues(t):
  rng = np.random.default_rng(0)
  roots = {  # Θ = A Aᵀ, which stays positive semi-definite when A is moved
    "distinct": rng.normal(size=(4, 4)),
    "repeated": np.diag([1.0, 1.0, 2.0, 2.0]),
    "singular": rng.normal(size=(4, 2)) @ np.eye(2, 4),
  }
  with jax.enable_x64(True):
    flow = jax.jit(lambda a, r, t: kernels.gradient_flow(a @ a.T, r, t, 1))
    for root in roots.values():
      arguments = (jnp.asarray(root), jnp.array([1.0, -0.5, 2.0, 0.3]), jnp.array(t))
      # By hand: check_grads would step by the same length in t and in A.
      tangent = tuple(jnp.asarray(rng.normal(size=np.shape(v))) for v in arguments)
      tangent = (*tangent[:2], 0.1 * t * tangent[2])
      step = 1e-5
      ends = [
        flow(*(v + s * d for v, d in zip(arguments, tangent, strict=True)))
        for s in (step, -step)
      ]
      push = jax.jvp(flow, arguments, tangent)[1]
      for slope, high, low in zip(push, *ends, strict=True):
        size = np.abs(slope).max()
        np.testing.assert_allclose(slope, (high - low) / (2 * step), atol=1e-6 * size)
      weight = rng.normal(size=4)
      _, pull = jax.vjp(flow, *arguments)
      back = pull(kernels.Flow(*(jnp.asarray(weight),) * 2))
      forward = sum(weight @ slope for slope in push)
      np.testing.assert_allclose(
        sum(jnp.vdot(*p) for p in zip(back, tangent, strict=True)), forward
      )


def test_gradient_at_infinite_time_is_that_of_the_inverse():
  theta, r0 = random_kernel(4), jnp.arange(1.0, 5.0)
  with jax.enable_x64(True):

    def loss(k):
      return kernels.gradient_flow(k, r0, jnp.inf, 1).integral.sum()

    expected = jax.grad(lambda k: jnp.linalg.solve((k + k.T) / 2, r0).sum())(theta)
    np.testing.assert_allclose(jax.grad(loss)(theta), expected, rtol=1e-8)


def kernels_of(kernel_fn, train, test):
  return kernel_fn(train), kernel_fn(test, train), kernel_fn(test).nngp


def test_prediction_interpolates_and_starts_at_the_initial_function():
  train, test = np.linspace(-1, 1, 5), np.array([-0.3, 0.8])
  y = np.stack([np.sin(3 * train), train**2], axis=1)
  with jax.enable_x64(True):
    kernel_fn = jax.jit(kernels.fully_connected(1, "relu", 1.0, (1.0, 0.0)))
    theta, across = kernel_fn(train).ntk, kernel_fn(test, train).ntk
    f0 = np.array([[0.1, 0.2], [0.3, 0.4]])
    residual = -y
    at = functools.partial(kernels.predict, theta, across, f0, residual)
    np.testing.assert_allclose(at(0.0), f0)
    many = at(jnp.array([0.0, 2.0, jnp.inf]))
    assert many.shape == (3, 2, 2)
    np.testing.assert_allclose(many[2], f0 + across @ np.linalg.solve(theta, y), atol=1e-9)
    np.testing.assert_allclose(many[1, :, 0], kernels.predict(
      theta, across, f0[:, 0], residual[:, 0], 2.0), atol=1e-12)  # fmt: skip
    ends = kernels.predict(theta, theta, 0.0, residual, jnp.inf)
    np.testing.assert_allclose(ends, y, atol=1e-9)


def test_ensemble_limits():
  train, test = np.linspace(-1, 1, 4), np.array([-1.0, 0.1, 0.5])
  y = np.cos(train)
  with jax.enable_x64(True):
    kernel_fn = jax.jit(kernels.fully_connected(2, "erf", 1.5, 0.2))
    matrices = kernels_of(kernel_fn, train, test)
    ensemble = jax.jit(kernels.ensemble)
    start = ensemble(*matrices, y, 0.0)
    np.testing.assert_array_equal(start.mean, 0)
    np.testing.assert_allclose(start.covariance, matrices[2])
    end = ensemble(*matrices, y, jnp.inf)
    # The first test point is a training point: it is fitted by every network.
    np.testing.assert_allclose(end.mean[0], y[0], atol=1e-6)
    np.testing.assert_allclose(end.covariance[0], 0, atol=1e-6)
    assert np.linalg.eigvalsh(end.covariance).min() > -1e-9
    many = ensemble(*matrices, y[:, None], jnp.array([0.5, jnp.inf]))
    assert many.mean.shape == (2, 3, 1) and many.covariance.shape == (2, 3, 3)
    np.testing.assert_allclose(many.covariance[1], end.covariance, atol=1e-12)


def test_ensemble_of_trained_networks():
  """Mean and covariance of 300 networks of width 1024, trained, within 5 standard errors."""
  train, test = jnp.array([-0.8, 0.1, 0.9]), jnp.array([-0.3, 0.6])
  y = jnp.array([0.5, -0.5, 1.0])
  width, seeds, rate, steps = 1024, 300, 0.1, 60

  def apply(params, x):
    a, a0, b = params
    return jax.nn.relu(x[:, None] * a + a0) @ b / jnp.sqrt(width)

  def one(key):
    params = tuple(jax.random.normal(key, (3, width)))

    def loss(p):
      return 0.5 * jnp.mean((apply(p, train) - y) ** 2)

    def step(p, _):
      return jax.tree.map(lambda v, g: v - rate * g, p, jax.grad(loss)(p)), None

    return apply(jax.lax.scan(step, params, None, steps)[0], test)

  samples = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=50))(
    jax.random.split(jax.random.key(0), seeds)
  )
  with jax.enable_x64(True):
    kernel_fn = jax.jit(kernels.fully_connected(1, "relu", 1.0, (1.0, 0.0)))
    matrices = kernels_of(kernel_fn, *(np.asarray(x, float) for x in (train, test)))
    theory = kernels.ensemble(*matrices, np.asarray(y, float), rate * steps)
    theory = jax.tree.map(np.asarray, theory)
  samples = np.asarray(samples, float)
  covariance = np.cov(samples.T)
  diagonal = np.diag(theory.covariance)
  mean_error = np.sqrt(diagonal / seeds)
  np.testing.assert_array_less(np.abs(samples.mean(0) - theory.mean), 5 * mean_error)
  # Wishart: Var C_ij = (C_ii C_jj + C_ij²)/(seeds − 1).
  spread = np.sqrt((np.outer(diagonal, diagonal) + theory.covariance**2) / (seeds - 1))
  np.testing.assert_array_less(np.abs(covariance - theory.covariance), 5 * spread)
  assert (mean_error < 0.1).all()


def test_posterior_against_conditioning():
  joint = random_kernel(6)
  k, across, prior = joint[:4, :4], joint[4:, :4], joint[4:, 4:]
  y = np.random.default_rng(0).normal(size=4)
  with jax.enable_x64(True):
    for noise in (0.0, 0.3):
      posterior = kernels.nngp_posterior(k, across, prior, y, noise)
      gain = np.linalg.solve(k + noise * np.eye(4), across.T).T
      np.testing.assert_allclose(posterior.mean, gain @ y, atol=1e-10)
      np.testing.assert_allclose(posterior.covariance, prior - gain @ across.T, atol=1e-10)


def test_single_precision():
  theta, r0 = random_kernel(6), np.ones(6)
  single = kernels.gradient_flow(theta.astype(np.float32), r0.astype(np.float32), 2.0)
  with jax.enable_x64(True):
    double = kernels.gradient_flow(theta, r0, 2.0)
  assert single.residual.dtype == np.float32 and double.residual.dtype == np.float64
  for a, b in zip(single, double, strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5)


def test_misuse():
  with pytest.raises(ValueError, match=r"\(n, n\)"):
    kernels.gradient_flow(np.zeros((2, 3)), np.zeros(2), 1.0)
  with pytest.raises(ValueError, match=r"need \(2,\)"):
    kernels.gradient_flow(np.zeros((2, 2)), np.zeros(3), 1.0)

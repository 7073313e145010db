"""lib.losses: hand-computed numbers, identities and limits."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lib import losses

LOGITS = hnp.arrays(
  np.float32, (3, 4), elements=st.floats(-20, 20, width=32, allow_subnormal=False)
)


def test_uniform_kl_by_hand():
  # p = (1/2, 1/4, 1/4): KL(u‖p) = −log 3 + (log 2 + 2 log 4) / 3 = 5/3 log 2 − log 3
  logits = jnp.log(jnp.array([0.5, 0.25, 0.25]))
  np.testing.assert_allclose(
    losses.uniform_kl(logits), 5 / 3 * math.log(2) - math.log(3), rtol=1e-5
  )
  np.testing.assert_allclose(losses.uniform_kl(jnp.full((2, 7), 3.0)), 0, atol=1e-6)


def test_entropy_by_hand():
  logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]])) + 7
  expected = [1.5 * math.log(2), math.log(3)]
  np.testing.assert_allclose(losses.entropy(logits), expected, rtol=1e-5)
  np.testing.assert_allclose(losses.confidence_penalty(logits), -np.array(expected), rtol=1e-5)


def test_entropy_of_a_certain_prediction_is_zero_with_a_finite_gradient():
  logits = jnp.array([0.0, -jnp.inf])
  assert losses.entropy(logits) == 0
  sharp = jnp.array([0.0, 1000.0])
  assert losses.entropy(sharp) == 0
  assert jnp.isfinite(jax.grad(losses.entropy)(sharp)).all()


def test_confidence_penalty_gradient_by_finite_differences():
  logits = np.array([0.3, -1.2, 0.8, 0.1])
  gradient = jax.grad(losses.confidence_penalty)(jnp.asarray(logits, jnp.float32))

  def value(z):
    p = np.exp(z) / np.exp(z).sum()
    return (p * np.log(p)).sum()

  step = 1e-5
  numeric = [
    (value(logits + step * e) - value(logits - step * e)) / (2 * step) for e in np.eye(4)
  ]
  np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(LOGITS, st.floats(0, 1), st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_label_smoothing_is_a_mixture_of_cross_entropy_and_uniform_kl(logits, alpha, labels):
  labels = jnp.array(labels)
  cross_entropy = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
  mixture = (1 - alpha) * cross_entropy + alpha * (losses.uniform_kl(logits) + math.log(4))
  np.testing.assert_allclose(
    losses.label_smoothing(logits, labels, alpha), mixture, rtol=1e-4, atol=1e-4
  )


@settings(max_examples=25, deadline=None)
@given(LOGITS)
def test_bounds(logits):
  assert (losses.uniform_kl(logits) >= -1e-5).all()
  entropy = losses.entropy(logits)
  assert ((entropy >= -1e-6) & (entropy <= math.log(4) + 1e-5)).all()


def test_label_smoothing_by_hand():
  # logits 0, log 3 -> p = (1/4, 3/4); target (0.9, 0.1)
  value = losses.label_smoothing(jnp.array([[0.0, math.log(3)]]), jnp.array([0]), 0.2)
  np.testing.assert_allclose(value, [0.9 * math.log(4) + 0.1 * math.log(4 / 3)], rtol=1e-6)


def test_gaussian_kl_by_hand_and_by_sampling():
  mean, std = jnp.array([[1.0, -2.0], [0.0, 0.0]]), jnp.array([[1.0, 0.5], [1.0, 1.0]])
  expected = [0.5 * (1 + 4 + 0.25 - 1 - 2 * math.log(0.5)), 0.0]
  np.testing.assert_allclose(losses.gaussian_kl(mean, std), expected, rtol=1e-6)
  z = losses.reparametrise(jax.random.key(0), mean[0], std[0], samples=200_000)
  log_ratio = (-0.5 * ((z - mean[0]) / std[0]) ** 2 - jnp.log(std[0]) + 0.5 * z**2).sum(-1)
  np.testing.assert_allclose(log_ratio.mean(), expected[0], rtol=0.01)


def test_reparametrised_samples():
  mean, std = jnp.array([[1.0, -2.0]]), jnp.array([[2.0, 0.5]])
  key = jax.random.key(0)
  assert losses.reparametrise(key, mean, std).shape == (1, 2)
  z = losses.reparametrise(key, mean, std, samples=100_000)
  np.testing.assert_allclose(z.mean(0), mean, atol=0.03)
  np.testing.assert_allclose(z.std(0), std, rtol=0.01)
  # ∂z/∂μ = 1, and z is linear in σ
  np.testing.assert_allclose(
    jax.jacobian(lambda m: losses.reparametrise(key, m, std)[0])(mean)[:, 0], np.eye(2)
  )


def test_l2_by_hand():
  params = {"dense": {"kernel": jnp.array([[1.0, 2.0]]), "bias": jnp.array([3.0])}}
  assert losses.l2(params) == 7.0
  assert losses.l2(params, losses.kernels_only) == 2.5
  gradient = jax.grad(losses.l2)(params)
  np.testing.assert_array_equal(gradient["dense"]["bias"], params["dense"]["bias"])


def test_shapes_are_checked():
  with pytest.raises(AssertionError):
    losses.gaussian_kl(jnp.zeros((2, 3)), jnp.ones(3))
  with pytest.raises(AssertionError):
    losses.label_smoothing(jnp.zeros((2, 3)), jnp.zeros(3, int), 0.1)

"""Integrators against closed forms and their orders of convergence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lib import dynamics


def field(y):
  """A rotation with damping: y(t) = e^{-t/10} R(t) y(0)."""
  return {"u": -0.1 * y["u"] - y["v"], "v": y["u"] - 0.1 * y["v"]}


def exact(t):
  return np.exp(-0.1 * t) * np.array([np.cos(t), np.sin(t)])


def error(y, t):
  return np.hypot(*(np.array([y["u"], y["v"]]) - exact(t)))


@pytest.mark.parametrize(("step", "order"), [(dynamics.euler_step, 1), (dynamics.rk4_step, 4)])
def test_order_of_convergence(step, order):
  with jax.enable_x64(True):
    start = {"u": jnp.float64(1.0), "v": jnp.float64(0.0)}
    errors = [
      error(dynamics.fixed_steps(step, field, start, 2.0 / steps, steps), 2.0)
      for steps in (40, 80, 160)
    ]
  np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), order, atol=0.06)


def test_one_step_by_hand():
  y = jnp.float32(2.0)
  assert float(dynamics.euler_step(lambda y: -y, y, 0.5)) == 1.0
  # e^{-h} up to h⁴/24.
  expected = 2 * (1 - 0.5 + 0.5**2 / 2 - 0.5**3 / 6 + 0.5**4 / 24)
  np.testing.assert_allclose(dynamics.rk4_step(lambda y: -y, y, 0.5), expected, rtol=1e-6)


def test_tsit5_meets_its_tolerance():
  with jax.enable_x64(True):
    start = {"u": jnp.float64(1.0), "v": jnp.float64(0.0)}
    y = dynamics.tsit5(field, start, 5.0, rtol=1e-9, atol=1e-11)
    assert error(y, 5.0) < 1e-7


def test_no_steps_is_the_identity_and_negative_is_refused():
  y = {"u": jnp.ones(3), "v": jnp.zeros(3)}
  np.testing.assert_array_equal(
    dynamics.fixed_steps(dynamics.rk4_step, field, y, 0.1, 0)["u"], np.ones(3)
  )
  with pytest.raises(ValueError, match="negative"):
    dynamics.fixed_steps(dynamics.rk4_step, field, y, 0.1, -1)

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from lib import information

water_filling = jax.jit(information.water_filling)
mic_linear = jax.jit(information.mic_linear)
capacity_bounds = jax.jit(information.capacity_bounds)


@pytest.fixture(autouse=True)
def double():
  with jax.enable_x64(True):
    yield


def bisection(gains, power):
  """Slow, obvious water filling: bisect the level until the powers add up."""
  gains = np.asarray(gains, np.float64)
  floor = 1 / gains[gains > 0]
  level = optimize.brentq(
    lambda level: np.maximum(level - floor, 0).sum() - power,
    floor.min(),
    floor.max() + power + 1,
    xtol=1e-300,
    rtol=1e-15,
  )
  powers = np.zeros_like(gains)
  powers[gains > 0] = np.maximum(level - floor, 0)
  return level, powers, 0.5 * np.log1p(powers * gains).sum()


def test_hand_computed():
  # 1/g = (1, 2, 10): with P = 3 two are active, 2λ − 3 = 3, λ = 3, p = (2, 1, 0).
  level, powers, capacity = water_filling(jnp.array([1.0, 0.5, 0.1]), 3.0)
  np.testing.assert_allclose(level, 3.0, rtol=1e-14)
  np.testing.assert_allclose(powers, [2.0, 1.0, 0.0], atol=1e-14)
  np.testing.assert_allclose(capacity, 0.5 * (np.log(3.0) + np.log(1.5)), rtol=1e-14)


@pytest.mark.parametrize(
  "gains",
  [
    [1.0],
    [2.0, 2.0, 2.0],
    [5.0, 1.0, 1.0, 0.0],
    [1e-6, 1e6],
    [3.0, 3.0 + 1e-12, 1e-3, 0.0, 0.0],
    list(np.linspace(0.01, 4, 40)),
  ],
)
@pytest.mark.parametrize("power", [1e-6, 0.3, 1.0, 50.0, 1e6])
def test_agrees_with_bisection(gains, power):
  found = water_filling(jnp.array(gains), power)
  level, powers, capacity = bisection(gains, power)
  np.testing.assert_allclose(found.level, level, rtol=1e-9)
  np.testing.assert_allclose(found.powers, powers, rtol=1e-7, atol=1e-9 * power)
  np.testing.assert_allclose(found.powers.sum(), power, rtol=1e-12)
  np.testing.assert_allclose(found.capacity, capacity, rtol=1e-7)


@settings(max_examples=60, deadline=None)
@given(
  st.lists(st.floats(0, 1e3), min_size=4, max_size=4),
  st.floats(1e-3, 1e3),
  st.lists(st.floats(1e-3, 1), min_size=4, max_size=4),
)
def test_no_other_allocation_is_better(gains, power, other):
  gains = np.array(gains)
  found = water_filling(jnp.array(gains), power)
  other = np.array(other) * power / np.sum(other)
  assert found.capacity >= 0.5 * np.log1p(other * gains).sum() - 1e-12
  assert np.all(np.asarray(found.powers) >= 0)


@pytest.mark.parametrize("seed", range(3))
def test_convex_programs(seed):
  """The sum-log program over powers and the log-det program over covariances."""
  cvxpy = pytest.importorskip("cvxpy")
  rng = np.random.default_rng(seed)
  weight = rng.normal(size=(3, 4)) * np.array([2.0, 1.0, 0.2])[:, None]
  power = [0.2, 1.0, 10.0][seed]
  found = mic_linear(jnp.array(weight), power)

  gains = np.linalg.svd(weight, compute_uv=False) ** 2
  powers = cvxpy.Variable(3, nonneg=True)
  objective = 0.5 * cvxpy.sum(cvxpy.log1p(cvxpy.multiply(powers, gains)))
  problem = cvxpy.Problem(cvxpy.Maximize(objective), [cvxpy.sum(powers) <= power])
  problem.solve(solver="CLARABEL")
  np.testing.assert_allclose(found, problem.value, rtol=1e-5)
  filled = water_filling(jnp.array(gains), power)
  np.testing.assert_allclose(filled.powers, powers.value, atol=2e-4 * power)

  covariance = cvxpy.Variable((4, 4), PSD=True)
  objective = 0.5 * cvxpy.log_det(np.eye(3) + weight @ covariance @ weight.T)
  problem = cvxpy.Problem(cvxpy.Maximize(objective), [cvxpy.trace(covariance) <= power])
  problem.solve(solver="CLARABEL")
  np.testing.assert_allclose(found, problem.value, rtol=1e-5)


@pytest.mark.parametrize(
  ("singular", "power"),
  [
    ([2.0, 1.0, 0.5], 1.0),
    ([2.0, 2.0 - 1e-7, 0.5], 3.0),  # nearly equal
    ([2.0, 2.0, 2.0], 3.0),  # equal
    ([1.0, 0.5, 0.0], 5.0),  # rank-deficient
    ([1.0, 0.5, 1e-9], 5.0),
    ([1.0, 0.5, 1.0 / 3], 3.0 + 1e-6),  # the second mode has just come in
    ([0.7], 2.0),
    ([3.0, 1.0], 1e-4),
    ([3.0, 1.0], 1e6),
  ],
)
def test_gradient_by_finite_differences(singular, power):
  rng = np.random.default_rng(0)
  size = len(singular)
  left = np.linalg.qr(rng.normal(size=(size, size)))[0]
  right = np.linalg.qr(rng.normal(size=(size + 1, size)))[0]
  weight = jnp.array(left @ np.diag(singular) @ right.T)
  direction = rng.normal(size=weight.shape)

  value, gradient = jax.jit(jax.value_and_grad(information.mic_linear))(weight, power)
  h = 1e-6
  up, down = (mic_linear(weight + s * h * direction, power) for s in (1, -1))
  slope = float((up - down) / (2 * h))
  assert np.isfinite(value)
  np.testing.assert_allclose(
    np.sum(gradient * direction), slope, rtol=2e-5, atol=1e-7 * max(1, power)
  )

  # and in closed form: U diag(p γ / (1 + p γ²)) Vᵀ
  powers = bisection(np.square(singular), power)[1]
  factor = powers * np.array(singular) / (1 + powers * np.square(singular))
  np.testing.assert_allclose(gradient, left @ np.diag(factor) @ right.T, atol=1e-6)


def test_derivatives_of_level_and_powers():
  gains, power = jnp.array([4.0, 1.0, 0.3, 0.01]), 2.0
  jacobian = jax.jacobian(lambda g: water_filling(g, power).powers)(gains)
  h = 1e-6
  for i in range(4):
    step = h * np.eye(4)[i]
    slope = (
      water_filling(gains + step, power).powers - water_filling(gains - step, power).powers
    ) / (2 * h)
    np.testing.assert_allclose(jacobian[:, i], slope, atol=1e-7)
  # the level rises by 1/k with the power, and capacity by 1/(2λ)
  filled = water_filling(gains, power)
  level_slope = jax.grad(lambda p: water_filling(gains, p).level)(power)
  capacity_slope = jax.grad(lambda p: water_filling(gains, p).capacity)(power)
  np.testing.assert_allclose(level_slope, 1 / np.sum(filled.powers > 0))
  np.testing.assert_allclose(capacity_slope, 0.5 / filled.level)


def test_capacity_is_smooth_where_a_mode_comes_in():
  """g = (1, 1/2): the second mode comes in at P = 1; value and slope are continuous."""
  gains = jnp.array([1.0, 0.5])
  slope = jax.grad(lambda p: water_filling(gains, p).capacity)
  left, at, right = (float(slope(1.0 + e)) for e in (-1e-9, 0.0, 1e-9))
  np.testing.assert_allclose([left, at, right], 0.25, rtol=1e-8)


def test_nothing_to_carry():
  for gains, power in (([0.0, 0.0], 1.0), ([1.0, 2.0], 0.0)):
    level, powers, capacity = water_filling(jnp.array(gains), power)
    assert capacity == 0 and np.all(np.asarray(powers) == 0)
    assert level == (np.inf if gains[0] == 0 else 0.5)
  gradient = jax.grad(information.mic_linear)(jnp.zeros((3, 2)), 1.0)
  np.testing.assert_array_equal(gradient, 0)
  # at P = 0 all of the first drop goes to the best channel
  slope = jax.grad(lambda p: water_filling(jnp.array([1.0, 2.0]), p).capacity)(0.0)
  np.testing.assert_allclose(slope, 1.0)


def test_small_power_keeps_its_digits_in_single_precision():
  with jax.enable_x64(False):
    found = water_filling(jnp.array([1.0, 0.5], jnp.float32), 1e-9)
    assert found.capacity.dtype == jnp.float32
    np.testing.assert_allclose(found.capacity, 0.5e-9, rtol=1e-6)
    found = water_filling(jnp.array([1e-30, 1e30, 0.0], jnp.float32), 1.0)
    np.testing.assert_allclose(found.capacity, 0.5 * np.log(1e30), rtol=1e-6)
    np.testing.assert_allclose(found.powers, [0, 1, 0])


def test_batched_and_jitted():
  rng = np.random.default_rng(0)
  weights, powers = (
    jnp.array(rng.normal(size=(5, 2, 6, 4))),
    jnp.array(rng.uniform(size=(5, 2))),
  )
  batched = mic_linear(weights, powers)
  assert batched.shape == (5, 2)
  single = [[mic_linear(weights[i, j], powers[i, j]) for j in range(2)] for i in range(5)]
  np.testing.assert_allclose(batched, single, rtol=1e-12)
  mapped = jax.vmap(jax.vmap(information.mic_linear))(weights, powers)
  np.testing.assert_allclose(mapped, single, rtol=1e-12)
  np.testing.assert_allclose(
    mic_linear(jnp.swapaxes(weights, -1, -2), powers), batched, rtol=1e-12
  )


def test_gaussian_information_is_capacity_at_the_optimal_law():
  rng = np.random.default_rng(1)
  weight, power = jnp.array(rng.normal(size=(3, 5))), 2.0
  _, singular, right = np.linalg.svd(weight, full_matrices=False)
  powers = water_filling(jnp.square(singular), power).powers
  best = right.T @ np.diag(powers) @ right
  capacity = mic_linear(weight, power)
  np.testing.assert_allclose(information.gaussian_information(weight, best), capacity)
  for _ in range(20):
    root = rng.normal(size=(5, 5))
    law = root @ root.T
    law *= power / np.trace(law)
    assert information.gaussian_information(weight, law) < capacity
  variances = jnp.array(rng.uniform(size=5))
  np.testing.assert_allclose(
    information.gaussian_information(weight, variances),
    information.gaussian_information(weight, jnp.diag(variances)),
  )


@settings(max_examples=80, deadline=None)
@given(
  st.lists(st.floats(1e-3, 3.0), min_size=1, max_size=5),
  st.floats(1e-2, 20.0),
)
def test_every_printed_inequality_holds(singular, power):
  """The chain of sec. 3.2 as printed, with its products and powers written out."""
  gamma = np.array(singular + [0.0] * (6 - len(singular)))
  level, powers, _ = bisection(gamma**2, power)
  active = gamma[powers > 0]
  k, d = len(active), len(singular)
  np.testing.assert_allclose(level, (power + (1 / active**2).sum()) / k, rtol=1e-8)
  chain = [
    np.log(level**k * np.prod(active**2)),
    np.prod((power + (1 / active**2).sum()) / k * active**2) - 1,
    np.prod(power * active**2 + 1) - 1,
    (power * np.sum(gamma**2) + 1) ** d - 1,
    (power * d * np.max(gamma**2) + 1) ** d - 1,
  ]
  for smaller, larger in itertools.pairwise(chain):
    assert smaller <= larger * (1 + 1e-9) + 1e-9

  bounds = capacity_bounds(jnp.array(gamma), power)
  np.testing.assert_allclose(bounds.twice_mic, chain[0], rtol=1e-7, atol=1e-9)
  np.testing.assert_allclose(np.expm1(bounds.twice_mic), chain[1], rtol=1e-6, atol=1e-9)
  np.testing.assert_allclose(np.expm1(bounds.active), chain[2], rtol=1e-6)
  np.testing.assert_allclose(np.expm1(bounds.frobenius), chain[3], rtol=1e-6)
  np.testing.assert_allclose(np.expm1(bounds.spectral), chain[4], rtol=1e-6)
  logs = [float(b) for b in bounds]
  assert logs == sorted(logs) or np.all(np.diff(logs) > -1e-9)


def test_misuse():
  with pytest.raises(ValueError, match="gains must not be negative"):
    information.water_filling(jnp.array([-1.0]), 1.0)
  with pytest.raises(ValueError, match="power must not be negative"):
    information.water_filling(jnp.array([1.0]), -1.0)
  with pytest.raises(ValueError, match="at least one channel"):
    information.water_filling(jnp.zeros((2, 0)), 1.0)
  with pytest.raises(ValueError, match="matrix"):
    information.mic_linear(jnp.zeros(3), 1.0)
  assert np.isnan(jax.jit(information.water_filling)(jnp.array([1.0]), -1.0).capacity)

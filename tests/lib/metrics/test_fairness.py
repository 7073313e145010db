"""Unfairness against the printed formulas in float64, and the identities that they imply."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.metrics import fairness


def entropy(b, alpha):
  return np.mean((b / b.mean()) ** alpha - 1) / (alpha * (alpha - 1))


@functools.partial(jax.jit, static_argnums=2)
def both(b, groups, alpha):
  return fairness.decompose(b, groups, 3, alpha), fairness.generalised_entropy(b, alpha)


def slow(b, groups, alpha):
  """Both sums group by group, as printed."""
  within = between = 0.0
  for g in np.unique(groups):
    own = b[groups == g]
    ratio = (own.mean() / b.mean()) ** alpha
    within += len(own) / len(b) * ratio * entropy(own, alpha)
    between += len(own) / (len(b) * alpha * (alpha - 1)) * (ratio - 1)
  return within, between


@settings(deadline=None, max_examples=40)
@given(
  st.integers(0, 10_000), st.sampled_from([2.0, 0.5, 3.0, -1.0]), st.booleans(), st.booleans()
)
def test_parts_are_the_printed_sums(seed, alpha, soft, empty):
  rng = np.random.default_rng(seed)
  y = rng.integers(0, 2, 60)
  p = rng.uniform(0.05, 0.95, 60) if soft else rng.integers(0, 2, 60).astype(float)
  if alpha < 0 and not soft:  # a benefit of 0 has no negative power
    p = np.maximum(p, 0.5)
  groups = rng.choice([0, 2] if empty else 3, 60)
  b = fairness.benefits(p, y)
  with jax.enable_x64(True):
    found, total = both(jnp.asarray(b), jnp.asarray(groups), alpha)
  within, between = slow(b, groups, alpha)
  assert found.within == pytest.approx(within, abs=1e-12)
  assert found.between == pytest.approx(between, abs=1e-12)
  assert total == pytest.approx(entropy(b, alpha), abs=1e-12)
  assert total == pytest.approx(within + between, abs=1e-12)


def test_by_hand():
  """Two groups with benefits (1, 1) and (2, 0): μ = 1, E_2 = ½ mean((b − 1)²) = ¼, all within;
  with (1, 1) and (2, 2): μ = 1.5, ½ (0.5/1.5)² = 1/18, all between.
  """
  groups = jnp.array([0, 0, 1, 1])
  first = fairness.decompose(jnp.array([1.0, 1.0, 2.0, 0.0]), groups, 2)
  np.testing.assert_allclose(first, (0.25, 0.0), atol=1e-7)
  second = fairness.decompose(jnp.array([1.0, 1.0, 2.0, 2.0]), groups, 2)
  np.testing.assert_allclose(second, (0.0, 1 / 18), atol=1e-7)
  np.testing.assert_array_equal(fairness.benefits(jnp.array([1.0, 0.0]), 1), [1, 0])


def test_errors_and_mean_benefit_give_the_sum():
  rng = np.random.default_rng(0)
  p, y = rng.uniform(size=(5, 200)), rng.integers(0, 2, 200)
  groups = rng.integers(0, 4, 200)
  b = fairness.benefits(p, y).astype(np.float32)
  found = jax.jit(lambda b: fairness.decompose(b, groups, 4))(b)
  mse = ((p - y) ** 2).mean(1)
  expected = fairness.inequality_of_errors(mse, b.mean(1))
  np.testing.assert_allclose(found.within + found.between, expected, rtol=1e-5)


def test_small_differences_between_groups_keep_their_digits():
  """In float32, μ_g/μ that differ by 10⁻⁴: the square of that is below the rounding of 1."""
  rng = np.random.default_rng(0)
  groups = np.arange(4000) % 4
  b = 1 + 1e-4 * groups + 0.2 * rng.standard_normal(1000).repeat(4)
  _, between = slow(b, groups, 2.0)
  found = fairness.decompose(jnp.asarray(b, jnp.float32), jnp.asarray(groups), 4)
  assert found.between == pytest.approx(between, rel=0.02)


def test_chance_is_the_mean_over_labels_that_the_probabilities_are_true_of():
  rng = np.random.default_rng(1)
  n = 600
  groups = rng.choice(5, n, p=[0.4, 0.3, 0.2, 0.1, 0.0])
  p = rng.uniform(0.1, 0.9, n)
  y = rng.uniform(size=(3000, n)) < p
  found = fairness.decompose(jnp.asarray(p - y + 1, jnp.float32), jnp.asarray(groups), 5)
  expected = fairness.between_by_chance(jnp.asarray(p), jnp.asarray(groups), 5)
  spread = float(np.std(found.between)) / 3000**0.5
  assert np.mean(found.between) == pytest.approx(float(expected), abs=5 * spread + 1e-5)


def test_zero_and_one_are_refused():
  for alpha in (0, 1.0):
    with pytest.raises(ValueError, match="alpha"):
      fairness.generalised_entropy(jnp.ones(3), alpha)

"""Normalisation against Flax's, against loops, and in its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from lib.models import normalisation

X = jax.random.normal(jax.random.key(0), (8, 5, 5, 3)) * 2 + 1
SCALE = jnp.array([[1.0, 2.0, 0.5], [0.3, 1.5, 1.0]])
SHIFT = jnp.array([[0.0, 1.0, -1.0], [2.0, 0.5, 0.0]])


def test_batch_norm_is_flax_s():
  """Training, running averages, and test with them."""
  model = nn.BatchNorm(momentum=0.9, epsilon=1e-5)
  variables = model.init(jax.random.key(0), X, use_running_average=False)
  variables = {
    "params": {"scale": SCALE[0], "bias": SHIFT[0]},
    "batch_stats": variables["batch_stats"],
  }
  expected, updated = model.apply(
    variables, X, use_running_average=False, mutable=["batch_stats"]
  )
  found, used = normalisation.batch_norm(X, SCALE[0], SHIFT[0])
  np.testing.assert_allclose(found, expected, atol=1e-5)
  old = normalisation.Statistics(jnp.zeros(3), jnp.ones(3))
  stored = normalisation.running(old, used)
  np.testing.assert_allclose(stored.mean.ravel(), updated["batch_stats"]["mean"], rtol=1e-5)
  np.testing.assert_allclose(stored.variance.ravel(), updated["batch_stats"]["var"], rtol=1e-4)
  expected = model.apply(variables | updated, X, use_running_average=True)
  found, again = normalisation.batch_norm(X, SCALE[0], SHIFT[0], stored)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  assert again is stored


def test_dynamic_statistics_undo_a_change_of_brightness_and_contrast():
  """Stored statistics do not: a b x + c at the input is another input to them."""
  ones, zeros = jnp.ones(3), jnp.zeros(3)
  plain, used = normalisation.batch_norm(X, ones, zeros)
  changed = X * jnp.array([3.0, 0.5, 2.0]) + 1.0
  np.testing.assert_allclose(
    normalisation.batch_norm(changed, ones, zeros)[0], plain, atol=1e-3
  )
  assert np.abs(normalisation.batch_norm(changed, ones, zeros, used)[0] - plain).max() > 1


def test_local_norm_against_a_loop():
  found = np.asarray(normalisation.local_norm(X, SCALE, SHIFT))
  x = np.asarray(X, np.float64)
  for k in range(2):
    group = x[4 * k : 4 * k + 4]
    for c in range(3):
      values = group[..., c]
      y = (values - values.mean()) / np.sqrt(values.var() + 1e-5)
      y = y * float(SCALE[k, c]) + float(SHIFT[k, c])
      np.testing.assert_allclose(found[4 * k : 4 * k + 4, ..., c], y, atol=1e-5)


def test_one_group_is_batch_norm_and_groups_are_batches():
  np.testing.assert_allclose(
    normalisation.local_norm(X, SCALE[:1], SHIFT[:1]),
    normalisation.batch_norm(X, SCALE[0], SHIFT[0])[0],
    atol=1e-6,
  )
  halves = [
    normalisation.local_norm_through(X[4 * k : 4 * k + 4], SCALE, SHIFT, k) for k in range(2)
  ]
  np.testing.assert_allclose(
    normalisation.local_norm(X, SCALE, SHIFT), jnp.concatenate(halves), atol=1e-6
  )
  every = jax.vmap(normalisation.local_norm_through, (None, None, None, 0))(
    X, SCALE, SHIFT, jnp.arange(2)
  )
  np.testing.assert_allclose(
    every[1], normalisation.local_norm_through(X, SCALE, SHIFT, 1), atol=1e-6
  )


def test_gradients_of_a_group_come_from_it_alone():
  def loss(scale, x):
    return jnp.sin(normalisation.local_norm(x, scale, SHIFT)).mean()

  gradient = jax.grad(loss)(SCALE, X)
  other = jax.grad(loss)(SCALE, X.at[4:].multiply(X[4:]))
  np.testing.assert_allclose(gradient[0], other[0], atol=1e-7)
  assert np.abs(gradient[1] - other[1]).max() > 1e-4


def test_a_single_value_leaves_the_shift():
  """One image at 1 × 1: its variance is 0 and what it was is lost."""
  x = jnp.array([[[[3.0, -1.0, 7.0]]]])
  np.testing.assert_allclose(
    normalisation.local_norm_through(x, SCALE, SHIFT, 1), SHIFT[1].reshape(1, 1, 1, 3)
  )


def test_rotations():
  x = jnp.arange(4.0).reshape(1, 2, 2, 1)
  found = normalisation.rotations(x)[0, ..., 0]
  np.testing.assert_array_equal(found[0], [[0, 1], [2, 3]])
  np.testing.assert_array_equal(found[2], [[3, 2], [1, 0]])
  turns = {tuple(np.asarray(f).ravel().tolist()) for f in found}
  assert turns == {(0, 1, 2, 3), (1, 3, 0, 2), (3, 2, 1, 0), (2, 0, 3, 1)}
  np.testing.assert_array_equal(np.sort(np.asarray(found).reshape(4, 4)), [[0, 1, 2, 3]] * 4)
  with pytest.raises(ValueError, match="square"):
    normalisation.rotations(jnp.ones((1, 2, 3, 1)))


def test_votes():
  votes = jnp.array([[0, 1, 2], [0, 1, 0], [1, 1, 1], [0, 2, 1]])
  keys = jax.random.split(jax.random.key(0), 2000)
  found = np.asarray(jax.vmap(lambda k: normalisation.majority_vote(k, votes, 4))(keys))
  assert np.all(found[:, 0] == 0) and np.all(found[:, 1] == 1) and np.all(found[:, 2] == 1)
  tie = jnp.array([[0], [3]])
  found = jax.vmap(lambda k: normalisation.majority_vote(k, tie, 4))(keys)
  assert abs(np.mean(found == 0) - 0.5) < 0.05 and np.all((found == 0) | (found == 3))


def test_mistakes_are_named():
  with pytest.raises(ValueError, match="not a multiple of 3"):
    normalisation.local_norm(X, jnp.ones((3, 3)), jnp.ones((3, 3)))

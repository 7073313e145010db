"""Soft labels and mixup: hand-computed, identities, slow loops."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import losses


def test_uniform_labels_are_label_smoothing():
  labels = losses.uniform_labels(4, 0.2)
  np.testing.assert_allclose(labels[1], [0.05, 0.85, 0.05, 0.05], rtol=1e-6)
  others = losses.uniform_labels(4, 0.3, own_share=False)
  np.testing.assert_allclose(others[1], [0.1, 0.7, 0.1, 0.1], rtol=1e-6)
  logits = jax.random.normal(jax.random.key(0), (6, 4))
  y = jnp.array([0, 1, 2, 3, 0, 1])
  np.testing.assert_allclose(
    optax.losses.softmax_cross_entropy(logits, labels[y]),
    losses.label_smoothing(logits, y, 0.2),
    rtol=1e-5,
  )


@pytest.mark.parametrize("order", [1, 2])
def test_class_distances_against_a_loop(order):
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(17, 2, 3)), rng.integers(3, size=17)
  y[:3] = [0, 1, 2]
  flat = x.reshape(17, -1)
  slow = np.zeros((3, 3))
  for a in range(3):
    for b in range(3):
      slow[a, b] = np.mean(
        [np.linalg.norm(u - v, order) for u in flat[y == a] for v in flat[y == b]]
      )
  found = losses.class_distances(jnp.asarray(x), jnp.asarray(y), 3, order)
  np.testing.assert_allclose(found, slow, rtol=1e-3, atol=1e-3)
  with pytest.raises(ValueError, match="order is 3"):
    losses.class_distances(jnp.asarray(x), jnp.asarray(y), 3, 3)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_a_class_without_an_example_has_no_distance(order, wrap):
  labels = jnp.array([0, 0, 2])
  distances = wrap(lambda x: losses.class_distances(x, labels, 3, order))
  found = distances(jnp.array([[0.0], [1.0], [3.0]]))
  assert jnp.isnan(found[1]).all() and jnp.isnan(found[:, 1]).all()
  np.testing.assert_allclose(found[0, 2], 2.5, rtol=1e-6)


def test_distances_of_centres():
  found = losses.centre_distances(jnp.array([[0.0, 0.0], [3.0, 4.0]]))
  np.testing.assert_allclose(found, [[0, 5], [5, 0]])


def test_similarities_by_hand():
  """Distances 1, 2, 3 to the others: standardised −√1.5, 0, √1.5."""
  distances = jnp.array([[0.0, 1, 2, 3], [1, 0, 5, 5], [2, 5, 0, 5], [3, 5, 5, 0]])
  found = losses.class_similarities(distances, 2.0)
  weights = np.exp(-2 * np.array([-np.sqrt(1.5), 0, np.sqrt(1.5)]))
  np.testing.assert_allclose(found[0], np.r_[0, weights / weights.sum()], rtol=1e-5)
  # with the distance to itself: mean 1.5, standard deviation √1.25
  scaled = (np.array([1.0, 2, 3]) - 1.5) / np.sqrt(1.25)
  weights = np.exp(-2 * scaled)
  found = losses.class_similarities(distances, 2.0, with_self=True)
  np.testing.assert_allclose(found[0], np.r_[0, weights / weights.sum()], rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 8), st.floats(0, 6), st.floats(0, 1), st.integers(0, 100))
def test_similarity_labels_are_distributions(classes, beta, alpha, seed):
  centres = jax.random.normal(jax.random.key(seed), (classes, 3))
  distances = losses.centre_distances(centres)
  s = losses.class_similarities(distances, beta)
  labels = losses.similarity_labels(s, alpha)
  np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-5)
  np.testing.assert_allclose(jnp.diag(labels), 1 - alpha, rtol=1e-5, atol=1e-6)
  # nearer is more similar, and the scale of the distances is of no account
  order = np.argsort(np.asarray(distances[0])[1:])
  assert np.all(np.diff(np.asarray(s)[0, 1:][order]) <= 1e-6)
  np.testing.assert_allclose(losses.class_similarities(7 * distances, beta), s, atol=1e-4)


def test_equal_distances_are_uniform_over_the_others():
  s = losses.class_similarities(1 - jnp.eye(5), 3.0)
  np.testing.assert_allclose(
    losses.similarity_labels(s, 0.1), losses.uniform_labels(5, 0.1, own_share=False), atol=1e-6
  )


def test_mixup_mixes_inputs_and_targets_alike():
  x = jax.random.normal(jax.random.key(0), (20, 20))
  run = jax.jit(losses.mixup)
  mixed, targets = run(jax.random.key(1), x, jnp.eye(20), 1.0)
  np.testing.assert_allclose(mixed, targets @ x, atol=1e-5)  # targets name what was mixed
  np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
  same, kept = run(jax.random.key(1), x, jnp.eye(20), 0.0)
  np.testing.assert_array_equal(same, x)
  np.testing.assert_array_equal(kept, jnp.eye(20))
  keys = jax.random.split(jax.random.key(2), 4000)
  shares = jax.vmap(lambda k: losses.mixup(k, x[:2], jnp.eye(2), 0.4)[1].max())(keys)
  # λ' = max(λ, 1 − λ) or 1 for the identity: E over Beta(0.4, 0.4), variance 1/(4 · 1.8)
  lam = np.random.default_rng(0).beta(0.4, 0.4, 400_000)
  expected = 0.5 * np.maximum(lam, 1 - lam).mean() + 0.5
  np.testing.assert_allclose(shares.mean(), expected, atol=0.01)

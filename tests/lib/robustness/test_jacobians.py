"""Jacobians against jax.jacfwd, estimators against what they estimate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lib import models, robustness
from lib.robustness import jacobians


@pytest.fixture(scope="module")
def case():
  model = models.MLP((9, 4), activation="tanh")
  variables = models.init(model, jax.random.key(0), (3, 2))
  function = lambda x: models.apply(model, variables, x)  # noqa: E731
  x = jax.random.normal(jax.random.key(1), (6, 3, 2))
  return function, x, robustness.jacobian(function, x)


def test_exact_jacobian(case):
  function, x, found = case
  expected = jax.vmap(jax.jacfwd(lambda one: function(one[None])[0]))(x)
  assert found.shape == (6, 4, 3, 2)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(
    robustness.squared_norms(found), np.square(expected).sum((1, 2, 3)), rtol=1e-5
  )


@pytest.mark.parametrize(
  "estimator", [jacobians.projected_squared_norms, jacobians.input_projected_squared_norms]
)
def test_projected_norms_are_unbiased(case, estimator):
  function, x, exact = case
  y, draws = jax.vmap(lambda key: estimator(key, function, x))(
    jax.random.split(jax.random.key(2), 4000)
  )
  np.testing.assert_allclose(y[0], function(x), rtol=1e-5)
  error = draws.mean(0) - robustness.squared_norms(exact)
  assert np.all(np.abs(error) < 5 * draws.std(0) / 4000**0.5)
  y, several = estimator(jax.random.key(3), function, x, 50)
  assert several.shape == (6,) and y.shape == (6, 4)
  assert np.all(np.abs(several - draws.mean(0)) < 6 * draws.std(0) / 50**0.5)


def test_variances_of_the_two_sides(case):
  """The input's side has 2 ‖JJᵀ‖_F², the sphere at the output less."""
  function, x, exact = case
  keys = jax.random.split(jax.random.key(4), 4000)
  by_input = jax.vmap(lambda k: jacobians.input_projected_squared_norms(k, function, x)[1])(
    keys
  )
  by_sphere = jax.vmap(lambda k: jacobians.projected_squared_norms(k, function, x)[1])(keys)
  flat = exact.reshape(6, 4, 6)
  gram = flat @ flat.transpose(0, 2, 1)
  np.testing.assert_allclose(by_input.var(0), 2 * np.square(gram).sum((1, 2)), rtol=0.25)
  assert np.all(by_sphere.var(0) < by_input.var(0))


def test_penalty_gradient_by_finite_differences():
  """d/dθ of the projected norm, a derivative of a derivative, on a convolutional path."""
  key = jax.random.key(0)
  x = jax.random.normal(key, (2, 5))
  w = jax.random.normal(jax.random.key(1), (5, 3))

  def penalty(w):
    function = lambda x: jnp.tanh(x @ w)  # noqa: E731
    return jacobians.projected_squared_norms(key, function, x)[1].mean()

  direction = jax.random.normal(jax.random.key(2), w.shape)
  with jax.enable_x64(True):
    w, x, direction = (np.asarray(a, np.float64) for a in (w, x, direction))
    gradient = jax.grad(penalty)(w)
    h = 1e-6
    difference = (penalty(w + h * direction) - penalty(w - h * direction)) / (2 * h)
    np.testing.assert_allclose((gradient * direction).sum(), difference, rtol=1e-6)


def test_similarities(case):
  function, x, exact = case
  found = robustness.similarities(exact)
  flat = np.asarray(exact, np.float64).reshape(6, -1)
  for i in range(6):
    for j in range(6):
      cosine = flat[i] @ flat[j] / np.linalg.norm(flat[i]) / np.linalg.norm(flat[j])
      np.testing.assert_allclose(found[i, j], cosine, atol=1e-6)
  assert robustness.off_diagonal(found).shape == (15,)
  # orthonormal directions, as many as outputs: exact
  basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
  sketched = robustness.sketch(function, x, jnp.asarray(basis, jnp.float32))
  np.testing.assert_allclose(robustness.similarities(sketched), found, atol=1e-5)
  # random ones, their inner products on average
  directions = jacobians.unit_vectors(jax.random.key(5), (4000, 4))
  sketched = np.asarray(robustness.sketch(function, x, directions), np.float64).reshape(6, -1)
  scale = np.square(flat).sum() / 6
  np.testing.assert_allclose(sketched @ sketched.T, flat @ flat.T, atol=0.1 * scale)


def test_a_common_shift_of_the_logits(case):
  """Adding g(x) to every logit changes no prediction; centred Jacobians do not see it."""
  function, x, exact = case
  shifted = lambda x: function(x) + 3 * jnp.square(x).sum((1, 2))[:, None]  # noqa: E731
  other = robustness.jacobian(shifted, x)
  assert np.abs(robustness.similarities(other) - robustness.similarities(exact)).max() > 0.1
  np.testing.assert_allclose(
    robustness.centre_outputs(other), robustness.centre_outputs(exact), atol=1e-4
  )


def test_norms_of_the_stacked_jacobian(case):
  _, _, exact = case
  stacked = np.asarray(exact, np.float64).reshape(-1, 6)
  np.testing.assert_allclose(
    robustness.largest_eigenvalue(exact), np.linalg.norm(stacked, 2) ** 2, rtol=1e-4
  )
  # stacked, the squares add up; Σ_ij ⟨J_i, J_j⟩ is the norm of the sum instead
  squares = robustness.squared_norms(exact)
  np.testing.assert_allclose(np.square(stacked).sum(), squares.sum(), rtol=1e-5)
  flat = np.asarray(exact, np.float64).reshape(6, -1)
  np.testing.assert_allclose((flat @ flat.T).sum(), np.square(flat.sum(0)).sum(), rtol=1e-6)
  assert abs((flat @ flat.T).sum() / squares.sum() - 1) > 0.1


def test_the_largest_eigenvalue_of_symmetric_cases():
  """Outputs less their mean: rows g and −g, with |g| orthogonal to g; and nothing at all."""
  g = jnp.array([1.0, -1.0, 2.0, -2.0])
  found = robustness.largest_eigenvalue(jnp.stack([g, -g])[None])
  np.testing.assert_allclose(found, 2 * 10, rtol=1e-5)
  assert robustness.largest_eigenvalue(jnp.zeros((3, 2, 4))) == 0

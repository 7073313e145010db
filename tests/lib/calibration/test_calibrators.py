"""Post-hoc calibrators against SciPy and scikit-learn, and on scores that need no change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from lib.calibration import dirichlet, ensemble, temperature
from lib.metrics import calibration


def draws(n=1500, classes=5, sharpness=3.0, seed=0):
  """Labels drawn from softmax(z); the logits shown are `sharpness` z."""
  rng = np.random.default_rng(seed)
  z = rng.normal(size=(n, classes)) * 1.5
  p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
  y = (p.cumsum(1) > rng.uniform(size=(n, 1))).argmax(1)
  return jnp.asarray(sharpness * z, jnp.float32), jnp.asarray(y)


def nll(p, y):
  return -np.mean(np.log(np.asarray(p, np.float64)[np.arange(len(y)), np.asarray(y)]))


def test_temperature_is_the_minimum_and_undoes_the_sharpening():
  logits, y = draws(20_000)
  found = float(jax.jit(temperature.fit)(logits, y))
  np.testing.assert_allclose(found, 3.0, rtol=0.05)
  z = np.asarray(logits, np.float64)

  def loss(t):
    return np.mean(np.log(np.exp(z / t).sum(1)) - z[np.arange(len(y)), np.asarray(y)] / t)

  best = optimize.minimize_scalar(loss, bounds=(0.5, 10), method="bounded")
  np.testing.assert_allclose(found, best.x, rtol=1e-3)
  before, after = (
    calibration.confidence(calibration.ece)(temperature.scores(t, logits), y)
    for t in (1.0, found)
  )
  assert after < 0.02 < 0.1 < before


@pytest.mark.parametrize("factor", [1e-3, 0.1, 1.0, 30.0])
def test_temperature_follows_the_scale_of_the_logits(factor):
  logits, y = draws(500, sharpness=1.0)
  base = temperature.fit(logits, y)
  expected = np.clip(base * factor, temperature.LEAST, temperature.MOST)
  np.testing.assert_allclose(temperature.fit(factor * logits, y), expected, rtol=2e-3)


def test_temperature_of_separable_logits_stays_finite():
  logits = 5 * jnp.eye(4)
  assert temperature.LEAST <= temperature.fit(logits, jnp.arange(4)) < 0.2


def test_temperature_of_a_batch():
  both = [draws(300, sharpness=s, seed=int(s)) for s in (1.0, 4.0)]
  logits, y = (jnp.stack(part) for part in zip(*both, strict=True))
  one = [temperature.fit(*pair) for pair in both]
  np.testing.assert_allclose(jax.vmap(temperature.fit)(logits, y), one, rtol=1e-4)


@pytest.mark.parametrize("loss", ensemble.LOSSES)
def test_ensemble_weights_against_scipy(loss):
  logits, y = draws(800, sharpness=4.0)
  found = ensemble.fit(logits, y, loss)
  np.testing.assert_allclose(found.weights.sum(), 1, rtol=1e-5)
  members = np.asarray(ensemble._members(found.temperature, logits), np.float64)
  targets = np.eye(5)[np.asarray(y)]

  def value(w):
    p = np.tensordot(w, members, 1)
    if loss == "mse":
      return np.mean(np.sum((p - targets) ** 2, -1))
    return nll(np.maximum(p, 1e-12), y)

  best = optimize.minimize(
    value,
    np.full(3, 1 / 3),
    bounds=[(0, 1)] * 3,
    constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
    method="SLSQP",
    tol=1e-12,
  )
  assert value(np.asarray(found.weights, np.float64)) <= best.fun + 2e-5
  p = ensemble.scores(found, logits)
  np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
  with pytest.raises(ValueError, match="none of"):
    ensemble.fit(logits, y, "hinge")


def test_dirichlet_against_scikit_learn():
  """Without regularisation it is multinomial regression on log p; so is its loss."""
  from sklearn.linear_model import LogisticRegression

  logits, y = draws(600, classes=3, sharpness=2.0)
  found = jax.jit(dirichlet.fit)(logits, y, 0.0, 0.0)
  inputs = np.asarray(jax.nn.log_softmax(logits), np.float64)
  reference = LogisticRegression(C=1e8, max_iter=5000, tol=1e-10).fit(inputs, y)
  exact = nll(reference.predict_proba(inputs), y)
  np.testing.assert_allclose(nll(dirichlet.scores(found, logits), y), exact, atol=1e-5)


def test_dirichlet_penalty_shrinks_what_it_names():
  logits, y = draws(400)
  fit = jax.jit(dirichlet.fit)
  free, heavy = fit(logits, y, 0.0, 0.0), fit(logits, y, 1e4, 1e4)

  def off(d):
    return float(jnp.abs(d.matrix - jnp.diag(jnp.diag(d.matrix))).max())

  assert off(heavy) < 0.05 * off(free)
  assert jnp.abs(heavy.bias).max() < 0.05 * jnp.abs(free.bias).max() + 1e-3
  # what is left is vector scaling, at least as good as the temperature it contains
  t = temperature.fit(logits, y)
  assert nll(dirichlet.scores(heavy, logits), y) < nll(temperature.scores(t, logits), y) + 1e-4
  objective = dirichlet.objective(free, logits, y, 2.0, 3.0)
  matrix = np.asarray(free.matrix, np.float64)
  penalty = 2 * (np.sum(matrix**2) - np.sum(np.diag(matrix) ** 2)) / 20
  penalty += 3 * np.mean(np.asarray(free.bias, np.float64) ** 2)
  np.testing.assert_allclose(
    objective, nll(dirichlet.scores(free, logits), y) + penalty, rtol=1e-4
  )


def test_dirichlet_without_the_examples_of_weight_zero():
  logits, y = draws(300)
  fit = jax.jit(dirichlet.fit)
  weights = jnp.where(jnp.arange(300) < 200, 1.0, 0.0)
  found = fit(logits, y, 0.1, 0.2, weights=weights)
  expected = fit(logits[:200], y[:200], 0.1, 0.2)
  np.testing.assert_allclose(found.matrix, expected.matrix, atol=2e-3)
  assert jnp.abs(found.matrix - fit(logits, y, 0.1, 0.2).matrix).max() > 0.01


def test_calibrated_logits_are_left_alone():
  logits, y = draws(20_000, sharpness=1.0)
  np.testing.assert_allclose(temperature.fit(logits, y), 1.0, atol=0.03)
  found = dirichlet.fit(logits[:5000], y[:5000], 1.0, 1.0, iterations=50)
  p = dirichlet.scores(found, logits)
  np.testing.assert_allclose(p, jax.nn.softmax(logits), atol=0.08)

"""Mixtures with exact posteriors, on the device and as data sets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lib import data
from lib.data import mixtures, synthetic


def test_posterior_against_scipy():
  mixture = mixtures.random_mixture(jax.random.key(0), classes=3, dim=2)
  x, y = mixtures.sample(jax.random.key(1), mixture, 50)
  assert x.shape == (50, 2) and set(np.asarray(y)) <= {0, 1, 2}
  means, roots = (np.asarray(a, np.float64) for a in mixture)
  dense = np.array(
    [
      np.mean(
        [stats.multivariate_normal(m, a @ a.T).pdf(x) for m, a in zip(*c, strict=True)], 0
      )
      for c in zip(means, roots, strict=True)
    ]
  ).T
  np.testing.assert_allclose(
    mixtures.posterior(mixture, x), dense / dense.sum(1, keepdims=True), atol=2e-4
  )
  np.testing.assert_allclose(mixtures.log_densities(mixture, x), np.log(dense), rtol=2e-3)


def test_isotropic_mixture_is_the_general_one():
  plain = mixtures.hierarchical(jax.random.key(0), classes=6, groups=3, dim=4, noise=0.7)
  general = plain._replace(roots=0.7 * jnp.broadcast_to(jnp.eye(4), (6, 1, 4, 4)))
  x, y = mixtures.sample(jax.random.key(1), plain, 400)
  same, _ = mixtures.sample(jax.random.key(1), general, 400)
  np.testing.assert_allclose(x, same, rtol=1e-5)
  np.testing.assert_allclose(
    mixtures.posterior(plain, x), mixtures.posterior(general, x), atol=1e-5
  )
  # class c is in group c mod 3, nearer to its own group's classes
  gaps = np.linalg.norm(plain.means[:, None, 0] - plain.means[None, :, 0], axis=-1)
  assert gaps[0, 3] < np.delete(gaps[0], [0, 3]).min()
  del y


@pytest.mark.parametrize(
  "generator", ["gaussian_mixture", "modal_gaussians", "hierarchical_gaussians"]
)
def test_exact_posteriors_are_calibrated(generator):
  """Mean posterior = class frequency, in bins of the posterior too; Bayes accuracy."""
  task = synthetic.GENERATORS[generator](3, 0.5)
  x, y = task.sample(np.random.default_rng(0), 40_000)
  p = task.posterior(x)
  np.testing.assert_allclose(p.sum(1), 1, rtol=1e-9)
  accuracy = (p.argmax(1) == y).mean()
  assert abs(accuracy - task.bayes) < 4 * np.sqrt(0.25 / 40_000) + 0.002
  for low, high in ((0.2, 0.4), (0.6, 0.8), (0.9, 1.0)):
    inside = (p[:, 0] >= low) & (p[:, 0] < high)
    error = (y[inside] == 0).mean() - p[inside, 0].mean()
    assert abs(error) < 4 * np.sqrt(0.25 / max(inside.sum(), 1))


@pytest.mark.parametrize("generator", ["modal_gaussians", "hierarchical_gaussians"])
def test_mixtures_as_data_sets(generator):
  found = data.load(f"synthetic:{generator}?difficulty=0.4&classes=5&n_train=30")
  assert found.train.inputs.shape[0] == 30 and found.info.num_classes == 5
  easy, hard = (synthetic.GENERATORS[generator](0, d).bayes for d in (0.1, 0.9))
  assert 1 >= easy > hard > 0.05
  with pytest.raises(ValueError, match="difficulty > 0"):
    synthetic.GENERATORS[generator](0, 0.0)

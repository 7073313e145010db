"""Mahalanobis distances against scipy and the covariance of NumPy."""

import jax
import numpy as np
from scipy.spatial import distance

from lib.models import mahalanobis


def test_distances_agree_with_scipy():
  rng = np.random.default_rng(0)
  x, new = rng.standard_normal((5, 8)), rng.standard_normal((6, 8))
  with jax.enable_x64(True):
    gaussian = mahalanobis.fit_gaussian(x, 0.1)
    found = mahalanobis.mahalanobis_distance(gaussian, new)
    padded = np.concatenate([x, 100 + x[:2]])
    where = np.arange(7) < 5
    again = mahalanobis.mahalanobis_distance(mahalanobis.fit_gaussian(padded, 0.1, where), new)
  covariance = np.cov(x.T) + 0.1 * np.trace(np.cov(x.T)) / 8 * np.eye(8)
  inverse = np.linalg.inv(covariance)
  expected = [distance.mahalanobis(one, x.mean(0), inverse) for one in new]
  np.testing.assert_allclose(found, expected, rtol=1e-8)
  np.testing.assert_allclose(again, expected, rtol=1e-8)

"""semi_hard_svm: numbers against something independent, and each claim both ways."""

import jax
import numpy as np
import pytest

from configs.semi_hard_svm import get_config
from lib.experiment import UserError, bind
from projects.semi_hard_svm import claims, experiment


def test_a_run_equals_a_plain_loop():
  config = bind(get_config("smoke"), {"steps": 30, "burn_in": 0.0})
  found = experiment.PROGRAM(config, ())
  key, x, path = jax.random.key(config.seed), 0.0, []
  for _ in range(30):
    key, drawn = jax.random.split(key)
    x = (1 - config.step_size) * x + config.step_size * float(jax.random.normal(drawn))
    path.append(x)
  np.testing.assert_allclose(found["start"], path, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(found["variance"], np.var(path), rtol=1e-3)


def _results(scale, correlation):
  sizes = np.array([0.1, 0.5])
  spread = np.linspace(0.99, 1.01, 6)
  return {
    "step_sizes": sizes,
    "variance": scale * claims.theory(sizes)[:, None] * spread,
    "autocorrelation": correlation * np.stack([spread, spread]),
  }


@pytest.mark.parametrize(
  ("scale", "correlation", "verdict"),
  [(1.0, 0.9, "reproduced"), (1.5, 0.2, "not_reproduced")],
)
def test_claims_come_out_both_ways(scale, correlation, verdict):
  found = _results(scale, correlation)
  assert [claim.check(found).verdict for claim in claims.CLAIMS] == [verdict, verdict]


def test_impossible_numbers_are_refused():
  with pytest.raises(UserError, match="step_size"):
    experiment.check(bind(get_config(), {"step_size": 2.5}))

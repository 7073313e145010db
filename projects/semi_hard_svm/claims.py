"""Metrics and claims: pure functions of the results of `experiment.run`."""

from lib.experiment import Claim
from lib.experiment import claims as check


def theory(step_size):
  """The stationary variance η / (2 − η)."""
  return step_size / (2 - step_size)


def metrics(results):
  """Means over the seeds."""
  means = results["variance"].mean(1)
  return {
    f"variance/step_size_{eta:g}": value
    for eta, value in zip(results["step_sizes"], means, strict=True)
  }


def _variance(results):
  outcomes = {
    f"step size {eta:g}": check.between(
      samples / theory(eta), 0.9, 1.1, quantity="variance / theory"
    )
    for eta, samples in zip(results["step_sizes"], results["variance"], strict=True)
  }
  return check.every(outcomes, quantity="variance / theory")


CLAIMS = (
  Claim(
    "variance_follows_theory",
    source="eq. 1",
    statement="The stationary variance is η / (2 − η).",
    expected="each 95 % interval within 10 % of it",
    check=_variance,
  ),
  Claim(
    "small_steps_remember",
    source="control",
    statement="The iterates of the smallest step size are correlated.",
    expected="autocorrelation at lag 1 above 0.5",
    check=lambda results: check.above(
      results["autocorrelation"][0], 0.5, quantity="autocorrelation at lag 1"
    ),
    control=True,
  ),
)

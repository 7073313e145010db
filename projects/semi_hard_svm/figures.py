"""Figures: pure functions of the results of `experiment.run`."""

import numpy as np

from lib import plotting
from lib.experiment import Figure
from lib.metrics import statistics
from projects.semi_hard_svm import claims


def variance(results):
  """Measured variance over the step size, with the theory's line."""
  figure, axes = plotting.figure()
  line = np.linspace(0.05, max(1.0, results["step_sizes"].max()), 100)
  axes.plot(line, claims.theory(line), color="0.6", label="η / (2 − η)")
  mean, low, high, _ = statistics.mean_interval(results["variance"], axis=1)
  errors = np.stack([mean - low, high - mean])
  axes.errorbar(results["step_sizes"], mean, errors, fmt="o", capsize=3, label="measured")
  axes.set(xlabel="step size η", ylabel="stationary variance of x")
  axes.legend()
  return figure


FIGURES = (Figure("variance", "Stationary variance, mean and 95 % interval.", variance),)

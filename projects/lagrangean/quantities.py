"""What claims, figures and metrics derive from the measured results: arrays, seeds first."""

import numpy as np

from lib.dynamics import invariants
from projects.lagrangean import memory


def long_drift(results, name):
  """max_t |change| of the long run, (seeds,)."""
  return np.abs(results["long"][name]).max(-1)


def drift(results, method, name):
  """max_t |change| of a method in the comparison, (seeds,)."""
  return np.abs(results["compare"][method][name]).max(-1)


def growth(results, method):
  """Power of time with which the energy error of a method grows, (seeds,)."""
  return invariants.growth(results["compare"][method]["energy"])


def long_growth(results):
  """The same for the long run, (seeds,)."""
  changes = results["long"]["energy"]
  return invariants.growth(np.concatenate([np.zeros_like(changes[:, :1]), changes], -1))


def power_of(x, y):
  """Exponent of y ~ x^p for each seed, (seeds,), by least squares of the logarithms."""
  x = np.log(x)
  x = x - x.mean()
  return np.log(np.asarray(y, np.float64)) @ x / (x @ x)


def best_restart(found, name):
  """(seeds, noises, times): a measurement of the restart with the least cost."""
  cost = np.where(np.isfinite(found["cost"]), found["cost"], np.inf)
  best = cost.argmin(-1)[..., None]
  return np.take_along_axis(found[name], best, -1)[..., 0]


def success(found):
  """Share of restarts within 5 % of Ω or three times the best's error, (seeds, ...)."""
  best = best_restart(found, "identification_error")[..., None]
  return (found["identification_error"] < np.maximum(3 * best, 0.05)).mean(-1)


def capacity(loads, overlaps) -> np.ndarray:
  """The load at which the overlap first falls below SUCCESS, (seeds,), by interpolation.

  With an overlap below it at the smallest load the capacity counts as 0.
  """
  found = []
  for row in np.asarray(overlaps, np.float64):
    below = np.flatnonzero(row < memory.SUCCESS)
    if not below.size:
      found.append(loads[-1])
    elif below[0] == 0:
      found.append(0.0)
    else:
      i = below[0]
      share = (row[i - 1] - memory.SUCCESS) / (row[i - 1] - row[i])
      found.append(loads[i - 1] + share * (loads[i] - loads[i - 1]))
  return np.array(found)


def metrics(results):
  """The plain numbers; drifts are the mean over seeds of the largest in time."""
  found = {}
  for method in results["compare"]:
    found[f"energy_drift_{method}"] = drift(results, method, "energy").mean()
    found[f"norm_drift_{method}"] = drift(results, method, "norm").mean()
    found[f"energy_growth_{method}"] = growth(results, method).mean()
  found["energy_drift_long"] = long_drift(results, "energy").max()
  found["norm_drift_long"] = long_drift(results, "norm").max()
  found["energy_growth_long"] = long_growth(results).mean()
  found["residual_long"] = results["long"]["residual"].max()
  fields, volume, inputs = results["fields"], results["volume"], results["inputs"]
  found["divergence_max"] = fields["divergence"].max()
  found["field_difference_max"] = max(fields[k].max() for k in ("hamilton", "euler_lagrange"))
  found["printed_hamilton_ratio"] = fields["printed"].mean()
  found["divergence_dcm"] = fields["divergence_dcm"].mean()
  found["divergence_hopfield"] = fields["divergence_hopfield"].mean()
  for name, value in volume.items():
    found[name] = value.mean()
  for case, values in inputs.items():
    for name in ("energy", "norm", "energy_balance", "norm_balance"):
      found[f"input_{name}/{case}"] = values[name].mean()
  found["reversal_error"] = results["reversal"]["gauss4"][:, 0].mean()
  for i, periods in enumerate(results["horizons"]):
    for method in ("gauss4", "rk4"):
      error = np.median(results["reversal"][method][:, i])
      found[f"reversal_error/{method}_periods_{periods:g}"] = error
  found["linear_exact_error"] = results["linear"]["splitting"].mean()
  found["linear_exact_error_gauss4"] = results["linear"]["gauss4"].mean()
  for i, frequency in enumerate(results["frequencies"]):
    found[f"nls_distance/frequency_{frequency:g}"] = results["limit"]["error"][:, i].mean()
  pulse = results["pulse"]
  found["pulse_velocity_ratio"] = (
    pulse["nonlinear"]["velocity"] / pulse["theory_velocity"]
  ).mean()
  for name in ("nonlinear", "linear"):
    found[f"pulse_spread_{name}"] = pulse[name]["spread"].mean()
  for name, values in results["contrast"].items():
    found[f"persistence_{name}"] = values["persistence"].mean()
    found[f"growth_decades_{name}"] = values["growth"].mean()
  identified = results["identification"]
  for i, noise in enumerate(identified["noises"]):
    for j, duration in enumerate(identified["times"]):
      where = f"noise_{noise:g}_time_{duration:g}"
      for name in ("identification_error", "gain_error", "g_error", "forecast_error"):
        found[f"{name}/{where}"] = np.median(best_restart(identified, name)[:, i, j])
      found[f"restart_success/{where}"] = success(identified)[:, i, j].mean()
  last = best_restart(identified, "identification_error")[:, -1, -1]
  found["identification_error"] = np.median(last)
  for name in memory.MODELS:
    found[f"memory_capacity_{name}"] = capacity(
      results["loads"], results["memory"][name]
    ).mean()
  for name, values in results["scale"].items():
    found[f"norm_drift/{name}"] = float(values["norm"])
    found[f"energy_drift/{name}"] = float(values["energy"])
    found[f"evaluation_s/{name}"] = float(values["seconds_per_evaluation"])
  return {name: float(value) for name, value in found.items() if np.isfinite(value)}

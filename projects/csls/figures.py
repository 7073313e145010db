"""Table 1 as points, Fig. 1 to 3, and training curves behind the equal-accuracy control."""

import numpy as np

from lib import plotting
from lib.experiment import Figure
from lib.metrics import statistics
from projects.csls import checks, methods
from projects.csls import quantities as q

_SHOWN = (*q.TABLE, "shuffled", "oracle", "uls_tuned", "mixup_tuned", "we_tuned")
_COLOURS = {
  "onehot": "#555555",
  "ts": "#CC79A7",
  "uls": "#E69F00",
  "mixup": "#56B4E9",
  "we": "#0072B2",
  "l1": "#009E73",
  "l2": "#D55E00",
  "ae": "#8C564B",
  "shuffled": "#999999",
}


def _there(results, names):
  return [m for m in names if m == "ts" or q.there(results, m)]


def _points(ax, results, names, metric, **kwargs):
  found = [statistics.mean_interval(100 * q.value(results, m, metric)) for m in names]
  mean = np.array([f.mean for f in found])
  spread = np.array([[f.mean - f.low, f.high - f.mean] for f in found]).T
  spread = np.where(np.isfinite(spread), spread, 0)
  ax.errorbar(mean, np.arange(len(names)), xerr=spread, fmt="o", ms=3.5, lw=1, **kwargs)


def table(results):
  """Table 1: all methods, four measures."""
  names = _there(results, _SHOWN)
  fig, axes = plotting.figure(2, sharey=True, height=3.2)
  pairs = (("histogram", "kde"), ("histogram_output", "kde_output"))
  for ax, (histogram, kde), title in zip(axes, pairs, ("prediction", "output"), strict=True):
    _points(ax, results, names, histogram, color="#0072B2", label="histogram")
    _points(ax, results, names, kde, color="#D55E00", mfc="none", label="KDE")
    ax.set(xlabel="ECE, %", title=title, xscale="log")
    plotting.plain_log(ax.xaxis)
    ax.grid(axis="y", lw=0.3, alpha=0.5)
  axes[0].set_yticks(range(len(names)), [methods.LABELS[m] for m in names])
  axes[0].invert_yaxis()
  axes[0].legend()
  return fig


def parameters(results):
  """Fig. 2: error over α and over β, prediction and output."""
  fig, axes = plotting.figure(2, 2, height=4.6, sharex="col")
  alphas, betas = results["alphas"], results["betas"]
  for row, metric in zip(axes, checks.HISTOGRAMS, strict=True):
    for kind in _there(results, ("uls", "we")):
      values = 100 * q.sweep(results, kind, "alpha", metric)
      style = {"label": methods.LABELS[kind], "color": _COLOURS[kind], "marker": "o", "ms": 3}
      plotting.band(row[0], alphas, values, **style)
    for kind in _there(results, (*methods.SIMILARITIES, "shuffled")):
      values = 100 * q.sweep(results, kind, "beta", metric)
      style = {"color": _COLOURS[kind], "marker": "o", "ms": 3}
      plotting.band(row[1], betas, values, label=methods.LABELS[kind], **style)
    name = "output" if metric.endswith("output") else "prediction"
    row[0].set(ylabel=f"{name} ECE, %", xscale="log", ylim=(0, None))
    row[1].set(ylim=(0, None))
  axes[1, 0].set_xticks(alphas, [f"{a:g}" for a in alphas])
  axes[1, 0].minorticks_off()
  for ax in axes[:, 0]:
    ax.set(xlabel=f"α (β = {float(results['beta']):g})")
  for ax in axes[:, 1]:
    ax.set(xlabel=f"β (α = {float(results['alpha']):g})")
  axes[0, 0].legend()
  axes[0, 1].legend()
  return fig


def reliability(results):
  """Fig. 1: mean hit over mean score of each bin, prediction and output."""
  fig, axes = plotting.figure(2, height=3.2)
  for ax, which, name in zip(axes, ("", "_output"), ("prediction", "output"), strict=True):
    for method in _there(results, ("onehot", "ts", "uls", "mixup", "l1", "l2", "ae", "we")):
      score, hit = (
        q.value(results, method, f"bin_{part}{which}") for part in ("score", "hit")
      )
      full = np.isfinite(score).all(0)
      style = {"lw": 1, "color": _COLOURS[method], "label": methods.LABELS[method]}
      ax.plot(score[:, full].mean(0), hit[:, full].mean(0), "o-", ms=2.5, **style)
    plotting.reliability.diagonal(ax)
    ax.set(xlabel="score", ylabel="hits", title=name)
  axes[0].legend()
  return fig


def confidence(results):
  """Fig. 3: mean confidence on seen classes, unseen ones and noise."""
  names = _there(results, ("onehot", "ts", "uls", "mixup", "l1", "l2", "ae", "we"))
  fig, ax = plotting.figure(height=2.6)
  groups = (
    ("confidence", "test", "#0072B2"),
    ("confidence_unseen", "unseen", "#D55E00"),
    ("confidence_noise", "noise", "#009E73"),
  )
  for metric, label, colour in (g for g in groups if g[0] in results["methods"]["onehot"]):
    _points(ax, results, names, metric, color=colour, label=label)
  ax.set_yticks(range(len(names)), [methods.LABELS[m] for m in names])
  ax.invert_yaxis()
  ax.set(xlabel="mean confidence, %")
  ax.legend()
  return fig


def curves(results):
  """Calibration over accuracy along the training."""
  fig, axes = plotting.figure(2, height=2.6)
  for method in _there(results, ("onehot", "uls", "mixup", "we")):
    accuracy, error = (
      100 * q.value(results, method, f"test_{n}_history") for n in ("accuracy", "ece")
    )
    label = methods.LABELS[method]
    epochs = np.arange(1, accuracy.shape[1] + 1)
    plotting.band(axes[0], epochs, error, label=label, color=_COLOURS[method])
    axes[1].plot(accuracy.mean(0), error.mean(0), lw=1, color=_COLOURS[method])
    axes[1].plot(*(x.mean(0)[-1] for x in (accuracy, error)), "o", color=_COLOURS[method])
  axes[0].set(xlabel="epoch", ylabel="prediction ECE, %")
  axes[1].set(xlabel="accuracy, %", ylabel="prediction ECE, %")
  axes[0].legend()
  return fig


FIGURES = (
  Figure(
    "table", "ECE of all methods, mean and 95 % interval over the seeds (Table 1).", table
  ),
  Figure("parameters", "ECE over α and over β, prediction and output (Fig. 2).", parameters),
  Figure(
    "reliability",
    "Hits over scores, prediction and output, means over the seeds (Fig. 1).",
    reliability,
  ),
  Figure(
    "confidence",
    "Mean confidence on test data, unseen classes and noise (Fig. 3).",
    confidence,
  ),
  Figure(
    "curves",
    "ECE along the training, over the epoch and over the accuracy; dots are the ends.",
    curves,
  ),
)

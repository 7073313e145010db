"""Figures: pure functions of the results of `experiment.run`."""

import numpy as np

from lib import plotting
from lib.experiment import Figure
from projects.typicality_curriculum import methods
from projects.typicality_curriculum import quantities as q

_COLOURS = {
  "degree": "#0072B2",
  "entropy": "#D55E00",
  "adjusted": "#009E73",
  "random": "#E69F00",
  "shuffled": "#CC79A7",
  "long": "#000000",
  "fast": "#56B4E9",
}
_NAMES = {
  "adjusted": "degree-adjusted",
  "random": "random, fixed",
  "shuffled": "reshuffled",
  "long": "baseline, as many updates",
  "fast": "baseline, ten times the rate",
}


def _group(scheduler):
  """Methods of a scheduler with its controls: (kind, method)."""
  kinds = [(o, f"{scheduler}_{o}") for o in (*methods.CURRICULA, "random")]
  if scheduler == "mb":
    kinds += [("fast", "fast_baseline")]
  else:
    kinds += [("shuffled", f"{scheduler}_shuffled"), ("long", f"long_{scheduler}")]
  return kinds


def _shared_legend(fig, axes):
  found = {}
  for axis in axes:
    found |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
  fig.legend(found.values(), found.keys(), loc="outside lower center", ncols=4, fontsize=6)
  return fig


def gains(results):
  """Accuracy over the baseline's for curricula and controls, mean and interval over seeds."""
  from lib.metrics import statistics

  fig, axes = plotting.figure(ncols=2, height=3.0, width="page")
  left, right = axes
  for axis, values, unit in (
    (left, q.difference, "accuracy − baseline's, points"),
    (right, q.margin, "(wins − losses) / runs against the baseline"),
  ):
    at, ticks, seen = 0.0, [], set()
    for scheduler, label in q.LABELS.items():
      group, start = _group(scheduler), at
      for kind, method in group:
        found = statistics.mean_interval(values(results, method, methods.BASELINE))
        error = np.array([[found.mean - found.low], [found.high - found.mean]])
        error = error if np.all(np.isfinite(error)) else None
        fill = _COLOURS[kind] if kind in methods.CURRICULA else "white"
        axis.errorbar(
          at,
          found.mean,
          error,
          fmt="o" if kind in methods.CURRICULA else "D",
          color=_COLOURS[kind],
          markerfacecolor=fill,
          ms=4,
          capsize=2,
          label=_NAMES.get(kind, kind) if kind not in seen else None,
        )
        seen.add(kind)
        at += 1
      ticks.append(((start + at - 1) / 2, label))
      at += 1.5
    axis.axhline(0, color="0.6", lw=0.8)
    axis.set_xticks(*zip(*ticks, strict=True))
    axis.set_ylabel(unit)
  left.legend(loc="lower right", fontsize=6)
  return fig


def learning(results):
  """Accuracy over the epochs, mean over tables and splits."""
  fig, axes = plotting.figure(ncols=4, height=2.4, sharey=True)
  base = 100 * q.curves(results, methods.BASELINE).mean((0, 1))
  epochs = np.arange(1, len(base) + 1)
  for axis, (scheduler, label) in zip(axes, q.LABELS.items(), strict=True):
    axis.plot(epochs, base, color="0.6", label="baseline")
    for kind, method in _group(scheduler):
      curve = 100 * q.curves(results, method).mean((0, 1))
      dashes = "-" if kind in methods.CURRICULA else "--"
      axis.plot(epochs, curve, dashes, color=_COLOURS[kind], label=_NAMES.get(kind, kind))
    axis.set(title=label, xlabel="epoch")
  axes[0].set_ylabel("held-out accuracy, %")
  return _shared_legend(fig, axes)


def by_table(results):
  """For every table and scheduler: best curriculum and controls, over the baseline."""
  names = list(results["tables"])
  fig, axes = plotting.figure(ncols=4, height=1.2 + 0.22 * len(names), sharey=True)
  rows = np.arange(len(names))
  for axis, (scheduler, label) in zip(axes, q.LABELS.items(), strict=True):
    group = _group(scheduler)
    for i, (kind, method) in enumerate(group):
      found = list(q.table_differences(results, method, methods.BASELINE).values())
      axis.plot(
        found,
        rows + 0.6 * (i / len(group) - 0.5),
        "o" if kind in methods.CURRICULA else "D",
        color=_COLOURS[kind],
        markerfacecolor=_COLOURS[kind] if kind in methods.CURRICULA else "white",
        ms=3,
        label=_NAMES.get(kind, kind),
      )
    axis.axvline(0, color="0.6", lw=0.8)
    axis.set(title=label, xlabel="points over baseline")
  axes[0].set_yticks(rows, [n.removeprefix("sklearn:").replace("_", " ") for n in names])
  axes[0].invert_yaxis()
  return _shared_legend(fig, axes)


def wrong_labels(results):
  """RuR by typicality over the share of wrong labels, against two controls."""
  fig, axes = plotting.figure(ncols=2, height=2.4, sharey=True)
  share = 100 * results["noise"]["flips"]
  for axis, other, label in (
    (axes[0], "rur_random", "a random order, fixed"),
    (axes[1], "long_rur", "the baseline with as many updates"),
  ):
    for c in methods.CURRICULA:
      found = q.noise_difference(results, f"rur_{c}", other).T
      plotting.band(
        axis, share, found, label=_NAMES.get(c, c), color=_COLOURS[c], marker="o", ms=3
      )
    axis.axhline(0, color="0.6", lw=0.8)
    axis.set(title=f"against {label}", xlabel="wrong labels, %", xticks=share)
  axes[0].set_ylabel("accuracy of RuR − control, points")
  axes[0].legend()
  return fig


FIGURES = (
  Figure(
    "gains",
    "Accuracy and wins over the baseline: typicality orders (filled) and controls (open).",
    gains,
  ),
  Figure(
    "learning", "Held-out accuracy over the epochs, mean over tables and splits.", learning
  ),
  Figure("by_table", "Accuracy over the baseline's for every table.", by_table),
  Figure(
    "wrong_labels",
    "Repeat until remember: what a typicality order gains, over the share of wrong labels.",
    wrong_labels,
  ),
)

"""Figures of the project, drawn from the measured results alone."""

import numpy as np

from lib import plotting
from lib.experiment import Figure
from projects.weight_grad_centralization import claims

_COLOURS = {"sgd": "#0072B2", "adam": "#D55E00"}
_NAMES = {"sgd": "SGD with momentum", "adam": "Adam"}
_NETWORKS = {"plain": "without batch normalisation", "batch_norm": "with batch normalisation"}


def accuracies(results):
  """All rows with both optimisers."""
  networks = [name for name in _NETWORKS if results.get(name)]
  rows = {name: list(next(iter(results[name].values()))) for name in networks}
  tallest = max(len(found) for found in rows.values())
  fig, axes = plotting.figure(ncols=len(networks), height=0.19 * tallest + 1.0, squeeze=False)
  for ax, network in zip(axes[0], networks, strict=True):
    for shift, optimizer in zip((-0.14, 0.14), results[network], strict=False):
      found = claims.table(results, network, optimizer)
      base = found["base"][0]
      for i, row in enumerate(rows[network]):
        mean, half = found[row]
        ax.errorbar(
          mean,
          i + shift,
          xerr=half,
          fmt="o",
          ms=3,
          capsize=1.5,
          color=_COLOURS[optimizer],
          label=_NAMES[optimizer] if i == 0 else None,
        )
      ax.axvline(base, color=_COLOURS[optimizer], lw=0.7, ls=":")
    ax.set_yticks(range(len(rows[network])), [claims.label(row) for row in rows[network]])
    ax.invert_yaxis()
    ax.set_xlim(left=max(0.0, ax.get_xlim()[0]))
    ax.set_title(_NETWORKS[network])
    ax.set_xlabel("test accuracy, %")
  handles = axes[0][0].get_legend_handles_labels()
  fig.legend(*handles, loc="outside lower center", ncols=2)
  return fig


def rates(results):
  """Accuracy over the learning rate, of the rows that were trained at several."""
  networks = [name for name in _NETWORKS if results["rates"].get(name)]
  fig, axes = plotting.figure(ncols=len(networks), height=2.6, sharey=True, squeeze=False)
  for ax, network in zip(axes[0], networks, strict=True):
    for optimizer, found in results["rates"][network].items():
      for row, style in zip(found["rows"], ("-", "--", ":"), strict=False):
        values = 100 * found["rows"][row]["test_accuracy"]
        label = f"{claims.label(row)}, {_NAMES[optimizer]}"
        ax.plot(
          found["factors"],
          values.mean(1),
          style,
          marker="o",
          ms=3,
          color=_COLOURS[optimizer],
          label=label,
        )
    ax.set_xscale("log", base=2)
    ax.set_xticks(found["factors"], [f"{f:g}" for f in found["factors"]])
    ax.set_title(_NETWORKS[network])
    ax.set_xlabel("factor of the learning rate")
  axes[0][0].set_ylabel("test accuracy, %")
  fig.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
  return fig


def equivalence(results):
  """Difference between the weights of WC and WC + GC in float64."""
  fig, ax = plotting.figure(width="column", height=2.2)
  names = list(results["equivalence"])
  for i, name in enumerate(names):
    gaps = np.maximum(results["equivalence"][name], 1e-17)
    ax.plot(np.full(len(gaps), i), gaps, "o", ms=4, color="#0072B2")
  ax.set_yscale("log")
  ax.set_xlim(-0.5, len(names) - 0.5)
  ax.set_xticks(range(len(names)), names, rotation=20)
  ax.set_xlabel("optimiser")
  ax.set_ylabel("largest difference of weights")
  return fig


FIGURES = (
  Figure(
    "accuracies",
    "Test accuracy of every row, mean and 95 % interval over seeds; dotted: the baselines.",
    accuracies,
  ),
  Figure(
    "rates",
    "Mean test accuracy over seeds at every learning rate.",
    rates,
  ),
  Figure(
    "equivalence",
    "Largest difference between the weights of WC and of WC with GC after some steps from one "
    "start in float64, a point a network.",
    equivalence,
  ),
)

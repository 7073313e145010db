"""Figures of the capacity project, drawn from the measured results alone."""

import numpy as np

from lib import plotting
from lib.experiment import Figure
from lib.metrics import statistics
from projects.capacity import cells, claims

_MARKERS = {"none": "o", "wd": "s", "cp": "^", "ls": "v"}
_COLOURS = {"none": "#555555", "wd": "#009E73", "mic": "#0072B2", "eic": "#D55E00"}


def _colour(cell):
  last = (cells.parts(cell) or ("none",))[-1].removesuffix("_code")
  last = "wd" if cell in cells.MATCHED else last
  return _COLOURS.get(last, _COLOURS["none"])


def _interval(samples):
  found = statistics.mean_interval(samples)
  return found.mean, (found.high - found.low) / 2 if np.isfinite(found.low) else 0.0


def accuracy_table(results):
  """Both tables as means with 95 % intervals, cells that share a base side by side."""
  names = [
    c for c in (*cells.TABLE_1, *cells.TABLE_2, *cells.CONTROLS) if c in results["cells"]
  ]
  fig, ax = plotting.figure(width="page", height=0.17 * len(names) + 0.9)
  for i, cell in enumerate(names):
    mean, half = _interval(claims.accuracy(results, cell))
    ax.errorbar(mean, i, xerr=half, fmt="o", ms=3.5, capsize=2, color=_colour(cell))
  for i in range(1, len(names)):
    first = [name.split("+")[0] in ("cp", "ls", "vib") and "+" not in name for name in names]
    if first[i] or names[i] in ("wd", cells.CONTROLS[0]):
      ax.axhline(i - 0.5, color="#cccccc", lw=0.6, zorder=0)
  if "none" in results["cells"]:
    ax.axvline(claims.accuracy(results, "none").mean(), color="#555555", lw=0.8, ls=":")
  ax.set_yticks(range(len(names)), [cells.label(c) for c in names])
  ax.invert_yaxis()
  ax.set_xlabel(
    f"test accuracy, per cent (mean, 95 % interval, {len(results['seeds'])} seeds)"
  )
  return fig


def gains(results):
  """Paired differences to the cell without the addition."""
  fig, ax = plotting.figure(width="column", height=2.6)
  offsets = {"wd": -0.22, "mic": 0.0, "eic": 0.22}
  bases = [b for b in cells.BASES if b in results["cells"]]
  for addition, offset in offsets.items():
    first = True
    for i, base in enumerate(bases):
      cell = cells.added(base, addition)
      if cell not in results["cells"] or cell == base:
        continue
      difference = claims.accuracy(results, cell) - claims.accuracy(results, base)
      mean, half = _interval(difference)
      ax.errorbar(
        i + offset,
        mean,
        yerr=half,
        fmt="o",
        ms=3.5,
        capsize=2,
        color=_COLOURS[addition],
        label=f"+{addition.upper()}" if first else None,
      )
      first = False
  ax.axhline(0, color="#555555", lw=0.8, ls=":")
  ax.set_xticks(range(len(bases)), [cells.label(b) for b in bases])
  ax.set_ylabel("paired gain in accuracy, points")
  ax.set_xlabel("added to")
  ax.legend()
  return fig


def training_curves(results):
  """Fig. 1: training cross entropy with and without the terms; one seed drawn thin."""
  fig, axes = plotting.figure(ncols=2, width="page", sharey=True)
  for ax, base, title in zip(
    axes, ("none", "wd"), ("no weight decay", "weight decay"), strict=True
  ):
    for addition in ("none", "mic", "eic"):
      cell = base if addition == "none" else cells.added(base, addition)
      if cell not in results["cells"]:
        continue
      curves = results["cells"][cell]["train_cross_entropy_history"]
      epochs = np.arange(1, curves.shape[1] + 1)
      label = {"none": "no term", "mic": "MIC", "eic": "EIC"}[addition]
      ax.plot(epochs, curves.mean(0), color=_COLOURS[addition], label=label)
      ax.plot(epochs, curves[0], color=_COLOURS[addition], lw=0.5, alpha=0.7)
    ax.set_yscale("log")
    ax.set_title(title)
    ax.set_xlabel("epoch")
    ax.set_ylim(bottom=max(ax.get_ylim()[0], 1e-4))
  axes[0].set_ylabel("training cross entropy, nats")
  if axes[0].lines:
    axes[0].legend()
  return fig


def complexity_and_accuracy(results):
  """Exact complexity of the trained layers against accuracy."""
  fig, axes = plotting.figure(ncols=2, width="page", sharey=True)
  names = [c for c in results["cells"] if "vib" not in c]  # another network, other layers
  quantities = (
    ("mic_layer_sum", "sum of the layers' exact MIC, nats"),
    ("frobenius_norm", "Frobenius norm of the weights"),
  )
  for ax, (quantity, label) in zip(axes, quantities, strict=True):
    for cell in names:
      x, dx = _interval(results["cells"][cell][quantity])
      y, dy = _interval(claims.accuracy(results, cell))
      base = cells.parts(cell)[0] if "+" in cell or cell in cells.BASES[2:] else "none"
      marker = _MARKERS.get(base, "o") if cell not in cells.CONTROLS else "D"
      ax.errorbar(
        x, y, xerr=dx, yerr=dy, fmt=marker, ms=4, lw=0.5, alpha=0.9, color=_colour(cell)
      )
    ax.set_xlabel(label)
  axes[0].set_ylabel("test accuracy, per cent")
  for text, colour in (("no addition", "none"), ("WD", "wd"), ("MIC", "mic"), ("EIC", "eic")):
    axes[1].plot([], [], "o", ms=4, color=_COLOURS[colour], label=text)
  bases = [("plain", "o"), ("on WD", "s"), ("on CP", "^"), ("on LS", "v"), ("control", "D")]
  for text, marker in bases:
    axes[1].plot([], [], marker, ms=4, mfc="none", mec="#555555", label=text)
  axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
  return fig


def selection(results):
  """Validation accuracy over each grid on the tuning seeds; the chosen value is ringed."""
  panels = {
    "MIC": [c for c in results["tuning"] if cells.parts(c)[-1] == "mic"],
    "EIC": [c for c in results["tuning"] if cells.parts(c)[-1] == "eic"],
    "weight decay": [c for c in results["tuning"] if cells.parts(c)[-1] == "wd"],
    "others": [c for c in results["tuning"] if cells.parts(c)[-1] not in ("mic", "eic", "wd")],
  }
  panels = {title: members for title, members in panels.items() if members}
  fig, axes = plotting.figure(
    ncols=min(2, len(panels)), nrows=-(-len(panels) // 2), width="page", squeeze=False
  )
  for ax, (title, members) in zip(axes.flat, panels.items(), strict=False):
    for cell in members:
      tuning = results["tuning"][cell]
      mean = 100 * tuning["validation_accuracy"].mean(1)
      (line,) = ax.plot(tuning["values"], mean, marker=".", label=cells.label(cell))
      best = int(tuning["chosen"])
      ax.plot(
        tuning["values"][best], mean[best], "o", ms=7, mfc="none", color=line.get_color()
      )
    ax.set_xscale("log")
    ax.set_title(title)
    ax.set_xlabel("weight of the last part")
    ax.legend(fontsize=5.5)
  for ax in axes[:, 0]:
    ax.set_ylabel("validation accuracy, per cent")
  for ax in axes.flat[len(panels) :]:
    ax.remove()
  return fig


FIGURES = (
  Figure(
    "tables",
    "Test accuracy of the cells of Tables 1 and 2 and of the controls: mean and 95 % interval "
    "over seeds. The dotted line is the baseline.",
    accuracy_table,
  ),
  Figure(
    "gains",
    "What weight decay, MIC and EIC add to each base, paired over seeds (95 % intervals).",
    gains,
  ),
  Figure(
    "fig1_training_curves",
    "Fig. 1: training cross entropy with and without the terms, mean over seeds and (thin) "
    "one seed.",
    training_curves,
  ),
  Figure(
    "complexity_accuracy",
    "Complexity measured after training against test accuracy, by cell (95 % intervals).",
    complexity_and_accuracy,
  ),
  Figure(
    "selection",
    "Validation accuracy over each grid, mean over tuning seeds; rings mark what was chosen.",
    selection,
  ),
)

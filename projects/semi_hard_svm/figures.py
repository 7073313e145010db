"""Fig. 2 and Table 2 as pictures, and the trade between the two errors."""

import numpy as np

from lib import plotting
from lib.experiment import Figure
from projects.semi_hard_svm import experiment, quantities

_COLOURS = {
  "svm": "#555555",
  "weighted": "#E69F00",
  "sh_svm": "#0072B2",
  "sh_twsvm": "#CC79A7",
  "sh_svdd": "#009E73",
  "cm": "#D55E00",
}
_ZERO, _LEAST = (quantities.ZERO, "o"), (quantities.LEAST, "s")
_SHOWN = {  # thresholds; semi-hard machines have nothing to shift
  "svm": (_ZERO, (quantities.SHIFTED, "^"), _LEAST),
  "weighted": (_ZERO,),
} | dict.fromkeys(quantities.SEMI_HARD, (_ZERO, _LEAST))
# FAR and FRR, means of Table 2
_PAPER = {
  "cm": (1.33, 77.20),
  "svm": (15.60, 37.20),
  "sh_svm": (5.53, 51.20),
  "sh_twsvm": (2.73, 87.60),
  "sh_svdd": (6.27, 46.40),
}


def regions(results):
  """Decision regions of the first seed."""
  shown = ("svm", "sh_svm", "sh_twsvm", "sh_svdd")
  fig, axes = plotting.figure(ncols=4, height=2.2, sharex=True, sharey=True)
  axis = np.linspace(*experiment.EXTENT, experiment.GRID)
  names = quantities.mapped(results)
  x = results["banana_train"]
  half = len(x) // 2
  for ax, machine in zip(axes, shown, strict=True):
    values = results["banana"]["map"][0, names.index(machine)]
    values = values.reshape(experiment.GRID, experiment.GRID)
    ax.contourf(axis, axis, np.sign(values), levels=[-2, 0, 2], colors=["#F6D5C3", "#CFE3F1"])
    ax.contour(axis, axis, values, levels=[0], colors="black", linewidths=0.8)
    ax.plot(*x[:half].T, "o", ms=1.8, color="#0072B2", label="genuine")
    ax.plot(*x[half:].T, "D", ms=1.6, color="#D55E00", label="impostor")
    ax.set_title(
      f"{quantities.NAMES[machine]}\ntraining FAR "
      f"{100 * quantities.plane(results, 'train_far', machine)[0]:.0f} %",
      fontsize=7,
    )
  axes[0].legend(fontsize=5, loc="upper left", handletextpad=0.1)
  return fig


def _cross(ax, far, frr, **kwargs):
  ax.errorbar(
    100 * far.mean(),
    100 * frr.mean(),
    100 * frr.std(ddof=1) / np.sqrt(len(frr)) if len(frr) > 1 else None,
    100 * far.std(ddof=1) / np.sqrt(len(far)) if len(far) > 1 else None,
    capsize=2,
    lw=0.8,
    **kwargs,
  )


def errors(results):
  """FAR and FRR of every machine and threshold; signatures left, crescents right."""
  fig, (left, right) = plotting.figure(ncols=2, height=3.0)
  for machine, colour in _COLOURS.items():
    if machine == "cm":
      continue
    name = quantities.NAMES[machine]
    for threshold, mark in _SHOWN[machine]:
      suffix = {"^": ", shifted", "s": ", least threshold"}.get(mark, "")
      filled = {"mfc": colour if mark == "o" else "white", "ms": 5, "fmt": mark}
      for ax, value in ((left, quantities.mean), (right, quantities.plane)):
        pair = (value(results, n, machine, threshold) for n in ("far", "frr"))
        _cross(ax, *pair, color=colour, label=name + suffix, **filled)
  cm = (results["cm"][n][..., quantities.ZERO].mean(1) for n in ("far", "frr"))
  _cross(left, *cm, color=_COLOURS["cm"], fmt="o", ms=5, label="CM (Mahalanobis)")
  for machine, (far, frr) in _PAPER.items():
    left.plot(far, frr, "x", ms=5, color=_COLOURS[machine])
  left.plot([], [], "x", color="0.3", label="paper's Table 2, its own data")
  left.set(xlabel="test FAR, %", ylabel="test FRR, %", title="signatures, selected by CV")
  lam = float(results["banana_lam"])
  right.set(xlabel="test FAR, %", ylabel="test FRR, %", title=f"banana, λ = {lam:g}")
  left.set(xlim=(0, None), ylim=(0, 100))
  right.set(xlim=(0, None), ylim=(0, None))
  left.legend(fontsize=5, loc="upper right")
  return fig


def costs(results):
  """Over λ, nothing selected: FAR, FRR and AUC of Gaussian kernels on signatures."""
  fig, axes = plotting.figure(ncols=3, height=2.3)
  kernels = quantities.rbf(results) or [0]
  for machine in ("svm", "weighted", "sh_svm", "sh_svdd"):
    rows = quantities.of(results, machine)
    lams = results["row_lams"][rows]
    for ax, name in zip(axes, ("far", "frr", "auc"), strict=True):
      values = results["machines"][name][:, :, kernels][:, :, :, rows]
      values = values[..., quantities.ZERO] if values.ndim == 5 else values
      plotting.band(
        ax,
        lams,
        (1 if name == "auc" else 100) * values.mean((1, 2)),
        label=quantities.NAMES[machine],
        color=_COLOURS[machine],
        marker="o",
        ms=2.5,
      )
  for ax, text in zip(axes, ("test FAR, %", "test FRR, %", "AUC"), strict=True):
    ax.set(xscale="log", xlabel="λ", ylabel=text)
  axes[0].legend(fontsize=6)
  return fig


FIGURES = (
  Figure(
    "regions",
    "Regions where D > 0 (blue) and training examples, first seed, as in Fig. 2.",
    regions,
  ),
  Figure(
    "errors",
    "FAR and FRR, means and standard errors over seeds; triangles: threshold raised to zero "
    "training FAR; squares: the least threshold that accepts no training impostor (−1 for "
    "semi-hard machines).",
    errors,
  ),
  Figure(
    "costs",
    "Signatures over λ, mean over Gaussian kernels and targets, 95 % intervals over seeds.",
    costs,
  ),
)

"""Fig. 1 and 2 of the paper, and what the errors are made of."""

import types

import numpy as np

from lib import plotting
from lib.experiment import Figure
from projects.ece_estimators import claims
from projects.ece_estimators import quantities as q

_COLOURS = {"ece": "#555555", "a": "#E69F00", "c": "#56B4E9", "ac": "#009E73", "d": "#D55E00"}
_LABELS = {
  "ece": "ECE",
  "a": "ECE$_a$",
  "c": "ECE$_c$",
  "ac": "ECE$_{ac}$",
  "d": "ECE$_d$",
}
_MODELS = {
  "logistic": "logistic regression",
  "naive_bayes": "naive Bayes",
  "svc": "SVC",
  "forest": "random forest",
}
_MARKS = ("o", "s", "^", "v", "D", "P")


def _text(name):
  family, _, option = name.partition("_")
  if option == "silverman":
    return f"{_LABELS[family]}, Silverman"
  if family == "d":
    return f"{_LABELS[family]}, h = {option}"
  return f"{_LABELS[family]}, " + ("√N bins" if option == "sqrt" else f"{option} bins")


def _lines(ax, results, values, chosen):
  count = {}
  for name in chosen:
    family = name.split("_")[0]
    place = count[family] = count.get(family, -1) + 1
    rule = name.endswith(("sqrt", "silverman"))
    ax.plot(
      results["sizes"],
      values[:, q.index(results, name)],
      color=_COLOURS[family],
      marker=_MARKS[place % len(_MARKS)],
      ms=3,
      lw=1.8 if rule else 0.8,
      ls="-" if rule else (0, (4, 2)),
      label=_text(name),
    )
  ax.set(xscale="log", xlabel="samples N")
  ax.set_xticks(results["sizes"], [str(n) for n in results["sizes"]])
  ax.minorticks_off()


def _shown(results):
  """A small and a middle number of bins, the rules, and all bandwidths."""
  bins = [str(b) for b in results["bins"][:: max(1, len(results["bins"]) - 2)]]
  kept = ("sqrt", *bins)
  return [n for n in q.papers(results) if n.startswith("d_") or n.split("_")[1] in kept]


def errors(results):
  """Fig. 2: the median of the 95th percentile of the relative error over N."""
  fig, axes = plotting.figure(2, sharey=True, height=3.4)
  for ax, (setting, text) in zip(axes, q.SETTINGS.items(), strict=True):
    _lines(ax, results, q.median(q.error(results, setting)), _shown(results))
    ax.set_title(text)
    ax.set_yscale("log")
    plotting.plain_log(ax.yaxis)
  axes[0].set_ylabel("relative error, 95th percentile")
  _legend_below(fig, axes[0])
  return fig


def _legend_below(fig, ax):
  fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4)


def biases(results):
  """Bias of the estimators, and what they report for a calibrated model."""
  fig, axes = plotting.figure(2, height=3.8)
  bias = q.median(np.asarray(results["conf"]["bias"], np.float64))
  _lines(axes[0], results, bias, _shown(results))
  axes[0].axhline(0, color="#555555", lw=0.5)
  axes[0].set(ylabel="mean relative error (bias)", title="confidence")
  chosen = q.papers(results)
  means = results["calibrated"].mean((0, 1))
  colours = [_COLOURS[name.split("_")[0]] for name in chosen]
  places = np.arange(len(chosen))
  axes[1].barh(places, [means[q.index(results, n)] for n in chosen], color=colours)
  axes[1].set_yticks(places, [_text(n) for n in chosen], fontsize=5)
  axes[1].invert_yaxis()
  axes[1].set(xlabel=f"estimate at a true error of 0, N = {results['sizes'][-1]}")
  _legend_below(fig, axes[0])
  return fig


def truths(results):
  """The paper's ground truth against the exact one."""
  fig, axes = plotting.figure(2, height=2.8)
  for ax, (setting, text) in zip(axes, q.SETTINGS.items(), strict=True):
    exact = np.asarray(results[setting]["true_ece"])
    ratio = claims.labelled_ratio(results, setting)
    for model in dict.fromkeys(map(str, results["models"])):
      kept = results["models"] == model
      label = _MODELS.get(model, model)
      ax.plot(exact[:, kept].ravel(), ratio[:, kept].ravel(), ".", ms=4, label=label)
    ax.axhline(1, color="#555555", lw=0.7)
    ax.set(xlabel="true ECE", title=text, xscale="log", yscale="log")
    plotting.plain_log(ax.xaxis)
    plotting.plain_log(ax.yaxis)
  axes[0].set_ylabel("ground truth by labels / exact")
  axes[0].legend()
  return fig


def diagrams(results):
  """Fig. 1: diagram, curve, and the curve with its uncertainty."""
  fig, axes = plotting.figure(3, sharey=True, height=2.6)
  found = {k: types.SimpleNamespace(**v) for k, v in results["figure_1"].items()}
  plotting.reliability.diagram(axes[0], found["diagram"])
  axes[1].plot(found["curve"].grid, found["curve"].accuracy, color="#0072B2")
  plotting.reliability.diagonal(axes[1])
  plotting.reliability.band(axes[2], found["band"])
  for ax, title in zip(
    axes, ("reliability diagram", "reliability curve", "bootstrapped curve"), strict=True
  ):
    ax.set_title(title)
    ax.set_xlabel("confidence")
  for ax in axes[1:]:
    ax.set_ylabel("")
  axes[0].set_ylabel("accuracy")
  return fig


FIGURES = (
  Figure(
    "errors",
    "Median over score distributions of the 95th percentile of the relative error (Fig. 2).",
    errors,
  ),
  Figure(
    "reliability",
    "Reliability diagram, curve, and bootstrapped curve with 5th to 95th percentile (Fig. 1).",
    diagrams,
  ),
  Figure(
    "bias",
    "Left: median over the score distributions of the mean relative error. Right: mean "
    "estimate when the labels are drawn from the scores.",
    biases,
  ),
  Figure(
    "ground_truth",
    "The paper's ground truth (labels, 1000 samples a bin) over the exact one.",
    truths,
  ),
)

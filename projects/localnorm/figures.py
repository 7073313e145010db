"""Figures of the localnorm project, drawn from the measured results alone."""

import numpy as np

from lib import plotting
from lib.experiment import Figure
from projects.localnorm import claims

_ROWS = {  # (kind, mode) -> label, colour, line
  ("bn", "stored"): ("BN", "#555555", "-"),
  ("bn", "dynamic_whole"): ("dynamic BN", "#E69F00", "-"),
  ("bn", "dynamic_vote"): ("dynamic BN, votes", "#E69F00", "--"),
  ("ghost", "dynamic_vote"): ("ghost BN, votes", "#009E73", "--"),
  ("group", "plain"): ("group norm", "#CC79A7", "-"),
  ("ln", "batch"): ("LN-Batch", "#0072B2", ":"),
  ("ln", "vote"): ("LN-Voting", "#0072B2", "-"),
}
_SINGLE = {
  ("bn", "stored"): ("BN", "#555555", "-"),
  ("bn", "dynamic_single"): ("dynamic BN, one image", "#E69F00", ":"),
  ("bn", "dynamic_rotated"): ("dynamic BN, its turns", "#E69F00", "-."),
  ("ln", "single_vote"): ("LN-Single-Voting", "#56B4E9", ":"),
  ("ln", "rotated_vote"): ("LN-Single-Voting, its turns", "#56B4E9", "-."),
  ("ghost", "dynamic_rotated"): ("ghost BN, its turns", "#009E73", "-."),
}


def _curves(results, ax, name, wanted):
  levels = [float(c.rpartition("_")[2]) for c in claims.noises(results, name)]
  names = ["clean", *claims.noises(results, name)]
  for row, (label, colour, style) in wanted.items():
    if row in claims.rows(results):
      samples = np.stack([claims.accuracy(results, row, c) for c in names], 1)
      plotting.band(ax, [0.0, *levels], samples, label=label, color=colour, ls=style)
  ax.set(ylim=(0, 100), xlabel="level σ")


def noise(results):
  """Fig. 6 and 8: accuracy over the level of noise."""
  names = [name for name in ("agn", "apn", "mbn") if claims.noises(results, name)]
  titles = {
    "agn": "x (1 + N(0, σ²))",
    "apn": "x (1 + Poisson(σ))",
    "mbn": "x · Bernoulli(1 − σ)",
  }
  fig, axes = plotting.figure(ncols=len(names) + 1, height=3.2, sharey=True)
  for ax, name in zip(axes, names, strict=False):
    _curves(results, ax, name, _ROWS)
    ax.set_title(titles[name], fontsize=8)
  axes[0].set_ylabel("test accuracy, %")
  _curves(results, axes[-1], "agn", _SINGLE)
  axes[-1].set_title("one image at a time,\nx (1 + N(0, σ²))", fontsize=8)
  known = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
  known |= dict(zip(*reversed(axes[-1].get_legend_handles_labels()), strict=True))
  fig.legend(known.values(), known, loc="outside lower center", ncols=4, fontsize=6)
  return fig


def corruptions(results):
  """Accuracy under the corruptions, mean over severities, and Fig. 5."""
  families = claims.corrupted(results)
  fig, (left, right) = plotting.figure(ncols=2, height=3.1, width_ratios=(2.2, 1))
  shown = [row for row in _ROWS if row in claims.rows(results)]
  for i, row in enumerate(shown):
    label, colour, style = _ROWS[row]
    values = [
      np.mean([claims.accuracy(results, row, c).mean() for c in names])
      for names in families.values()
    ]
    shift = 0.1 * (i - (len(shown) - 1) / 2)
    filled = colour if style == "-" else "none"
    left.plot(
      np.arange(len(values)) + shift, values, "o", ms=3, color=colour, mfc=filled, label=label
    )
  left.set_xticks(range(len(families)), [n.replace("_", "\n") for n in families], fontsize=5)
  left.set(ylabel="test accuracy, %", xlabel="corruption (mean over severities)")
  handles = left.get_legend_handles_labels()
  fig.legend(*handles, loc="outside lower center", ncols=7, fontsize=6)
  if "spread" in results:
    for name, symbol in (("scale", "γ"), ("shift", "β")):
      values = results["spread"][name]
      plotting.band(right, np.arange(1, values.shape[1] + 1), values, label=symbol)
    right.legend()
  right.set(xlabel="epoch", ylabel="standard deviation over the groups", ylim=(0, None))
  return fig


FIGURES = (
  Figure(
    "noise",
    "Accuracy over the level of the three noises, mean and 95 % interval over seeds; right: "
    "modes that see one test image at a time.",
    noise,
  ),
  Figure(
    "corruptions",
    "Accuracy under corruptions of CIFAR-10-C's families, and how far the groups' scales and "
    "shifts are from each other in training.",
    corruptions,
    applies=lambda results: bool(claims.corrupted(results)),
  ),
)

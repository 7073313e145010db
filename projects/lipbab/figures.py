"""Fig. 1 and Table 1, and what the paper lacks: where the saving comes from, controls."""

import numpy as np

from lib import plotting
from lib.experiment import Figure

_UPPER, _LOWER, _PRINTED, _GREY = "#D55E00", "#0072B2", "#999999", "#555555"
_LABELS = {
  "iris": "(4,5,5,3)",
  "sd1": "(10,15,10,3)",
  "sd2": "(10,20,15,10,3)",
  "sd3": "(10,30,30,30,3)",
}
_RUNGS = {
  "printed": "as printed",
  "points": "+ known points",
  "batches": "+ batches",
  "effect": "+ branch on effect",
  "signs": "+ signed norm",
  "relaxation": "+ linear relaxation",
  "cuts": "+ bounds on cuts",
  "sector": "+ quadratic bound",
}


def _norm(p):
  return {"inf": "$p = \\infty$"}.get(p, f"$p = {p}$")


def _plain_ticks(axis, minor="235"):
  """Logarithmic ticks at powers of ten and some multiples, as plain numbers."""
  axis.set_major_formatter(lambda v, _: f"{v:g}")
  axis.set_minor_formatter(lambda v, _: f"{v:g}" if f"{v:.0e}"[0] in minor else "")
  axis.set_tick_params(which="minor", labelsize=7)


def _bounds(ax, history, colour_up, colour_low, label, x):
  ax.step(history[x], history["upper"], where="post", color=colour_up, label=f"upper{label}")
  ax.step(history[x], history["lower"], where="post", color=colour_low, label=f"lower{label}")


def closing(results):
  """Fig. 1: both bounds over the sub-problems split."""
  curves = results["curve"]
  fig, axes = plotting.figure(ncols=len(curves), squeeze=False, height=2.8)
  for ax, (p, found) in zip(axes[0], curves.items(), strict=True):
    for name, style, up, low, label in (
      ("printed", "--", _PRINTED, _PRINTED, ", as printed"),
      ("sector", "-", _UPPER, _LOWER, ""),
    ):
      h = found[name]
      at = h["expanded"] + 1
      ax.step(at, h["upper"], where="post", color=up, ls=style, label=f"upper{label}")
      ax.step(at, h["lower"], where="post", color=low, ls=style, label=f"lower{label}")
    ours = found["sector"]
    ax.fill_between(
      ours["expanded"] + 1, ours["lower"], ours["upper"], step="post", color=_UPPER, alpha=0.12
    )
    ax.set_xscale("log")
    ax.set_yscale("log")
    _plain_ticks(ax.yaxis)
    ax.set_title(_norm(p))
    ax.set_xlabel("sub-problems split + 1")
  axes[0, 0].set_ylabel("bounds of $L_p$")
  handles, labels = axes[0, 0].get_legend_handles_labels()
  labels = ["as printed" if "printed" in text else f"{text} bound" for text in labels]
  fig.legend(handles[1:], labels[1:], loc="outside upper center", ncols=3)
  return fig


def table(results):
  """Table 1: every bound over the constant."""
  columns = (
    ("layers", "product of layer norms", "#555555"),
    ("first", "first estimate", "#D55E00"),
    ("relaxed", "linear relaxation", "#E69F00"),
    ("root", "our root bound", "#009E73"),
    ("upper_2", "2-approximation", "#56B4E9"),
    ("upper_1.5", "1.5-approximation", "#0072B2"),
    ("sampled", "sampled gradients", "#CC79A7"),
  )
  names = [n for n in _LABELS if n in results["table"]]
  norms = list(results["table"][names[0]])
  fig, axes = plotting.figure(ncols=len(norms), sharey=True, squeeze=False, height=3.4)
  for ax, p in zip(axes[0], norms, strict=True):
    for i, (key, label, colour) in enumerate(columns):
      for j, name in enumerate(names):
        row = results["table"][name][p]
        ratio = np.asarray(row[key]) / row["lower"]
        x = j + (i - 3) * 0.12
        ax.scatter(np.full(len(ratio), x), ratio, s=4, lw=0, color=colour, alpha=0.4)
        ax.scatter(
          x, np.exp(np.mean(np.log(ratio))), s=14, color=colour, label=label if not j else None
        )
    ax.axhline(1, color="black", lw=0.6)
    ax.set_yscale("log")
    ax.set_title(_norm(p))
    ax.set_xticks(range(len(names)), [_LABELS[n] for n in names], rotation=25, ha="right")
    ax.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
  axes[0, 0].set_ylabel("bound / constant")
  fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
  return fig


def saving(results):
  """Sub-problems and linear programs of each rung from the printed algorithm to ours."""
  found = results["ablation"]
  fig, axes = plotting.figure(ncols=3, sharey=True, height=2.6)
  names = list(_RUNGS)
  for ax, what, label in zip(
    axes,
    ("nodes", "lps", "seconds"),
    ("sub-problems", "linear programs", "time [s]"),
    strict=True,
  ):
    for i, name in enumerate(names):
      values = np.maximum(np.asarray(found[name][what], float), 1e-3)
      centre = np.exp(np.mean(np.log(values)))
      ax.barh(i, centre, color=_PRINTED if name == "printed" else _LOWER, alpha=0.85)
      ax.scatter(
        values, np.full(len(values), i), s=4, color="black", lw=0, alpha=0.5, zorder=3
      )
    ax.set_xscale("log")
    _plain_ticks(ax.xaxis, "2" if what == "seconds" else "")
    ax.set_xlabel(label)
  axes[0].set_yticks(range(len(names)), [_RUNGS[n] for n in names])
  axes[0].invert_yaxis()
  return fig


def controls(results):
  """Digits: the largest certified box, and what the penalty does."""
  fig, axes = plotting.figure(ncols=2, height=2.6)
  ax = axes[0]
  for i, name in enumerate(("interval", "ours")):
    radius = results["digits"][name]["radius"]
    ax.scatter(np.full(len(radius), i), radius, s=14, color=(_PRINTED, _LOWER)[i], alpha=0.8)
  for a, b in zip(
    *(results["digits"][n]["radius"] for n in ("interval", "ours")), strict=True
  ):
    ax.plot([0, 1], [a, b], color=_GREY, lw=0.5, alpha=0.6)
  ax.set_yscale("log")
  ax.set_xticks([0, 1], ["interval bounds", "ours"])
  ax.set_xlim(-0.5, 1.5)
  ax.set_ylabel("largest radius with upper ≤ 1.5 lower")
  ax.set_title("digits, boxes around an image")
  ax = axes[1]
  for name, colour in (("plain", _PRINTED), ("penalised", _LOWER)):
    found = results["regulariser"][name]
    middle = 0.5 * (found["upper"] + found["lower"])
    half = 0.5 * (found["upper"] - found["lower"])
    ax.errorbar(
      middle,
      100 * found["accuracy"],
      xerr=half,
      fmt="o",
      ms=3,
      lw=0.8,
      color=colour,
      label=name,
    )
  ax.set_xscale("log")
  _plain_ticks(ax.xaxis)
  ax.set_xlabel("certified bounds of $L_2$ on $[0, 1]^{64}$")
  ax.set_ylabel("test accuracy [%]")
  ax.set_title("digits, trained with the bound")
  ax.legend(title="cross entropy")
  return fig


def single_closing(results):
  """Both bounds of the user's network over sub-problems and time."""
  one = results["single"]
  fig, axes = plotting.figure(ncols=2, sharey=True, height=2.6)
  for ax, x, label in zip(
    axes, ("expanded", "seconds"), ("sub-problems split", "time [s]"), strict=True
  ):
    h = one["history"]
    _bounds(ax, h, _UPPER, _LOWER, " bound", x)
    ax.fill_between(h[x], h["lower"], h["upper"], step="post", color=_UPPER, alpha=0.1, lw=0)
    ax.axhline(float(one["first"]), color=_GREY, lw=0.7, ls=":", label="first estimate")
    ax.set_xlabel(label)
    ax.set_yscale("log")
    _plain_ticks(ax.yaxis)
  axes[0].set_ylabel("Lipschitz constant $L_p$")
  axes[0].legend()
  return fig


def single_bounds(results):
  """Every bound of the user's network."""
  one = results["single"]
  names = ("layers", "first", "relaxed", "root", "upper", "lower", "sampled")
  labels = (
    "layer norms",
    "first estimate",
    "relaxation",
    "root",
    "upper",
    "lower",
    "sampled",
  )
  fig, ax = plotting.figure(width="column", height=2.4)
  values = [float(one[n]) for n in names]
  ax.barh(range(len(names)), values, color=[_GREY] * 4 + [_UPPER, _LOWER, _GREY])
  ax.set_yticks(range(len(names)), labels)
  ax.invert_yaxis()
  for i, value in enumerate(values):
    ax.text(value, i, f" {value:.4g}", va="center", fontsize=6)
  ax.set_xlim(0, 1.18 * max(values))
  ax.set_xlabel("bound of $L_p$")
  return fig


def is_single(results):
  """Whether one network of the user's was run."""
  return "single" in results


def is_table(results):
  """Whether Table 1 was run."""
  return "single" not in results


FIGURES = (
  Figure(
    "fig1_bounds_close",
    "Fig. 1: certified bounds while the search runs, over the sub-problems split: ours "
    "(filled) and the algorithm as printed (dashed).",
    closing,
    is_table,
  ),
  Figure(
    "table1_bounds",
    "Table 1: every bound over the exact constant; a small dot is a network, a large one the "
    "geometric mean.",
    table,
    is_table,
  ),
  Figure(
    "ablation",
    "From the printed algorithm to ours: geometric means (bars) and single networks (dots).",
    saving,
    is_table,
  ),
  Figure(
    "digits",
    "Controls on digits: certified boxes, and the bound as a penalty.",
    controls,
    is_table,
  ),
  Figure(
    "bounds_close",
    "Certified bounds while the search runs; the dotted line is the interval bound.",
    single_closing,
    is_single,
  ),
  Figure(
    "bounds", "The certified bounds and what they compare with.", single_bounds, is_single
  ),
)

"""Figures of the jacreg_uap project, drawn from the measured results alone."""

import numpy as np

from lib import plotting
from lib.experiment import Figure
from projects.jacreg_uap import claims

_COLOURS = {"standard": "#555555", "uat": "#D55E00", "noise": "#E69F00"}
_BLUES = ("#56B4E9", "#0072B2", "#004C7A", "#00263D", "#000000")


def label(method):
  """For legends."""
  kind, _, number = method.partition("_")
  return {"jr": f"JR, λ = {number}", "noise": f"noise, σ = {number}", "uat": "UAT"}.get(
    kind, kind
  )


def colour(results, method):
  """Grey, orange, and blues that darken with the penalty."""
  kind = method.partition("_")[0]
  if kind in _COLOURS:
    return _COLOURS[kind]
  penalties = sorted(results["penalties"])
  order = [claims.penalised(results, penalty) for penalty in penalties]
  return _BLUES[min(order.index(method), len(_BLUES) - 1)]


def rates(results):
  """Fig. 2, Table 1's targeted rates and Fig. 4 side by side."""
  fig, (left, middle, right) = plotting.figure(ncols=3, height=2.8)
  for method in results["methods"]:
    samples = np.stack([claims.evasion(results, method, e) for e in results["epsilons"]], 1)
    plotting.band(
      left,
      results["epsilons"],
      samples,
      label=label(method),
      color=colour(results, method),
      marker="o",
      ms=2.5,
    )
  left.set(xlabel="ε, maximum norm", ylabel="universal evasion rate, %", ylim=(0, 100))
  left.legend(loc="upper left", fontsize=6)

  names = list(results["targeted"])
  for i, method in enumerate(names):
    by_class = 100 * results["targeted"][method]["success"].mean(0)
    middle.bar(i, by_class.mean(), 0.6, color=colour(results, method), alpha=0.4)
    spread = np.linspace(-0.2, 0.2, len(by_class))
    middle.plot(i + spread, by_class, "o", ms=2.5, color=colour(results, method))
  middle.set_xticks(range(len(names)), [label(name).replace(", ", "\n") for name in names])
  middle.set(ylabel=f"targeted success at ε = {results['epsilon']:g}, %", ylim=(0, 100))
  middle.set_xlabel("dots: classes, mean over seeds")

  edges = np.linspace(-1, 1, 101)
  centres = (edges[1:] + edges[:-1]) / 2
  for method in ("standard", claims.penalised(results)):
    counts = results["methods"][method]["jacobians"]["similarity_histogram"].sum(0)
    right.step(
      centres,
      counts / counts.sum() / (edges[1] - edges[0]),
      where="mid",
      color=colour(results, method),
      label=label(method),
    )
    median = claims.jacobian(results, method, "similarity").mean()
    right.axvline(median, color=colour(results, method), lw=0.8, ls=":")
  right.set(xlabel="similarity of two Jacobians", ylabel="density", ylim=(0, None))
  right.legend(loc="upper left")
  return fig


def penalties(results):
  """Fig. 1 with the evasion rate beside it, and what predicts it."""
  fig, axes = plotting.figure(ncols=3, height=2.5)
  plain = ["standard", *(claims.penalised(results, p) for p in sorted(results["penalties"]))]
  ticks = ["0", *(f"{p:g}" for p in sorted(results["penalties"]))]
  x = np.arange(len(plain))
  for measure, name, tone in (
    (claims.test_error, "test error", "#555555"),
    (claims.evasion, f"evasion at ε = {results['epsilon']:g}", "#0072B2"),
  ):
    samples = np.stack([measure(results, method) for method in plain], 1)
    plotting.band(axes[0], x, samples, label=name, color=tone, marker="o", ms=2.5)
  axes[0].set_xticks(x, ticks)
  axes[0].set(xlabel="λ", ylabel="per cent", yscale="log")
  plotting.plain_log(axes[0].yaxis)
  axes[0].legend()
  for ax, name, text in (
    (axes[1], "similarity", "median similarity of Jacobians"),
    (axes[2], "norm", "mean $‖J‖_F$ of the logits"),
  ):
    for method in results["methods"]:
      ax.plot(
        claims.jacobian(results, method, name),
        claims.evasion(results, method),
        "o",
        ms=3,
        color=colour(results, method),
        label=label(method),
      )
    ax.set(xlabel=text, ylabel=f"evasion at ε = {results['epsilon']:g}, %")
  axes[2].set_xscale("log")
  plotting.plain_log(axes[2].xaxis)
  axes[1].legend(fontsize=6)
  return fig


def perturbations(results):
  """The untargeted perturbations of the first seed."""
  methods = list(results["methods"])
  columns = int(np.argmin(np.abs(results["epsilons"] - results["epsilon"])))
  fig, axes = plotting.figure(ncols=len(methods), height=1.5)
  for ax, method in zip(axes, methods, strict=True):
    delta = results["methods"][method]["example"][columns].mean(-1)
    shown = ax.imshow(delta, cmap="RdBu", vmin=-results["epsilon"], vmax=results["epsilon"])
    ax.set_title(label(method).replace(", ", "\n"), fontsize=7)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel(f"{claims.evasion(results, method)[0]:.0f} % evade", fontsize=6)
  fig.colorbar(shown, ax=axes, shrink=0.7, label="δ")
  return fig


FIGURES = (
  Figure(
    "rates",
    "Evasion rate over the radius (mean and 95 % interval over seeds), targeted success of "
    "the ten classes, and similarities of all pairs of Jacobians with their medians (dotted).",
    rates,
  ),
  Figure(
    "penalties",
    "Clean error and evasion over the penalty; evasion over two statistics of Jacobians, a "
    "point a network.",
    penalties,
  ),
  Figure(
    "perturbations", "Untargeted universal perturbations of the first seed.", perturbations
  ),
)

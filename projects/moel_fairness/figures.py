"""Figures: pure functions of the results of `experiment.run`."""

import numpy as np

from lib import plotting
from lib.experiment import Figure
from lib.metrics import fairness
from projects.moel_fairness import quantities as q

COLOURS = {
  "EIG": "#000000",
  "EI": "#0072B2",
  "EG": "#009E73",
  "E": "#D55E00",
  "none": "#999999",
}
LABELS = {name: f"F_{name}" for name in COLOURS} | {"none": "no selection"}


def volumes(results):
  """Fig. 2 and 3: hypervolumes over the generations."""
  fig, axes = plotting.figure(ncols=3, height=2.5)
  panels = (
    ("hv_validation", "HV, own objectives, validation", ("EIG", "EI", "EG")),
    ("hv", "HV, test, front of all trials", tuple(COLOURS)),
    ("hv_own", "HV, test, front of the trial", tuple(COLOURS)),
  )
  for ax, (which, text, names) in zip(axes, panels, strict=True):
    for name in names:
      values = q.indicator(results, name, which)
      ax.plot(values.mean(0), color=COLOURS[name], label=LABELS[name], lw=1.2)
    ax.set(xlabel="generation", ylabel=text)
  axes[1].legend(fontsize=6, loc="lower right")
  return fig


def solutions(results):
  """The space of Fig. 1 and 4: final solutions of the first trial; of what f_I is made."""
  fig, axes = plotting.figure(ncols=3, height=2.5)
  for name in ("none", "E", "EG", "EI", "EIG"):
    points = q.final(results, name)[0]
    style = {"color": COLOURS[name], "label": LABELS[name], "ms": 3, "mew": 0}
    axes[0].plot(points[:, 0], points[:, 1], "o", **style)
    axes[1].plot(points[:, 0], points[:, 2], "o", **style)
    axes[2].plot(points[:, 3], points[:, 1], "o", **style)
  axes[0].set(xlabel="MSE", ylabel="f_I, individual unfairness")
  axes[1].set(xlabel="MSE", ylabel="f_G, group unfairness")
  chance = results["conditions"]["E"]["chance"][0].mean()
  axes[1].axhline(chance, color="#555555", ls=":", lw=1)
  mse = q.final(results, "E")[0, :, 0].min()
  mean = np.linspace(*axes[2].get_xlim(), 100)
  axes[2].plot(mean, fairness.inequality_of_errors(mse, mean), color="0.6", lw=1, zorder=0)
  axes[2].set(xlabel="mean benefit μ", ylabel="f_I, individual unfairness")
  axes[2].legend(fontsize=6, loc="lower left")
  return fig


def selected(results):
  """Table 2 and 3: the models that are best in one objective; diversity and spacing."""
  fig, axes = plotting.figure(ncols=3, height=2.5)
  names = [name for name in COLOURS if name in results["conditions"]]
  for ax, objective in zip(axes[:2], ("f_I", "f_G"), strict=True):
    i = q.OBJECTIVES.index(objective)
    for x, name in enumerate(names):
      for shift, chosen, face in (
        (-0.15, "test", COLOURS[name]),
        (0.15, "validation", "white"),
      ):
        values = q.selected(results, name, objective, chosen)[:, i]
        ax.plot(
          np.full(len(values), x + shift), values, "o", ms=3, color=COLOURS[name], mfc=face
        )
        ax.plot([x + shift - 0.12, x + shift + 0.12], [values.mean()] * 2, color=COLOURS[name])
    ax.set_xticks(range(len(names)), [LABELS[n].replace(" ", "\n") for n in names])
    ax.set(ylabel=f"test {objective} of the best model")
    ax.set_xlabel("filled: chosen on test, open: on validation", fontsize=7)
  for name in names:
    axes[2].plot(
      q.indicator(results, name, "spacing"),
      q.indicator(results, name, "pd"),
      "o",
      ms=3,
      color=COLOURS[name],
    )
  axes[2].set(xlabel="spacing", ylabel="pure diversity")
  return fig


FIGURES = (
  Figure(
    "volumes",
    "Hypervolume over the generations, mean over the trials: in the variant's own objectives "
    "on the validation part; in all three on the test part, scaled by the front of all trials "
    "as printed, and by the front of each trial.",
    volumes,
  ),
  Figure(
    "solutions",
    "Final models of the first trial on its test part. Dotted: the f_G that "
    "true probabilities would have by chance. Grey: f_I + f_G over the mean benefit at the "
    "least MSE of F_E.",
    solutions,
  ),
  Figure(
    "selected",
    "The fairest model of every trial (line: mean), chosen on the test part as in Table 2 and "
    "on the validation part; pure diversity over spacing of final solutions, same colours.",
    selected,
  ),
)

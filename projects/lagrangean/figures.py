"""Figures of the measured results."""

import numpy as np

from lib import plotting
from lib.experiment import Figure
from projects.lagrangean import contrast, memory, quantities

_LABELS = {
  "midpoint": "implicit midpoint",
  "gauss4": "Gauss 4",
  "gauss6": "Gauss 6",
  "splitting2": "splitting 2",
  "splitting4": "splitting 4",
  "rk4": "Runge-Kutta 4",
  "tsit5": "Tsit5",
  "dopri5": "Dopri5",
  "dopri8": "Dopri8",
  "scipy_dop853": "SciPy DOP853",
  "lagrangean": "Lagrangean",
  "linear": "linear (FFML)",
  "hopfield": "Hopfield",
  "dcm": "DCM",
  "dcm_damped": "DCM, damped",
  "nonlinear": "dephasing, nonlinear",
  "four_phases": "dephasing, four phases",
  "one_product": "one product $\\Omega z$",
  "pseudo_inverse": "Hopfield, pseudo-inverse",
}
_COLOURS = {
  "midpoint": "#E69F00",
  "gauss4": "#0072B2",
  "gauss6": "#009E73",
  "splitting2": "#56B4E9",
  "splitting4": "#CC79A7",
  "rk4": "#D55E00",
  "dopri8": "#555555",
  "scipy_dop853": "black",
}
_GREY = "#9aa0a6"


def _ordered(names):
  return [name for name in _LABELS if name in names]


def _plain_ticks(ax, values):
  """Ticks of a logarithmic axis at the values alone."""
  ax.set_xticks(values, [f"{v:g}" for v in values])
  ax.set_xticks([], minor=True)


def _drift_axes(ax, ylabel):
  ax.set_xscale("log")
  ax.set_yscale("log")
  ax.set_xlabel("periods")
  ax.set_ylabel(ylabel)


def drifts(results):
  """Energy and norm errors of all methods over time, running maximum, mean over seeds."""
  fig, axes = plotting.figure(ncols=2)
  periods = results["compare_periods"][1:]
  for name in _ordered(results["compare"]):
    found = results["compare"][name]
    for ax, quantity in zip(axes, ("energy", "norm"), strict=True):
      top = np.maximum.accumulate(np.abs(found[quantity]), -1).mean(0)[1:]
      ax.plot(periods, np.maximum(top, 1e-17), color=_COLOURS.get(name), label=_LABELS[name])
  _drift_axes(axes[0], "$\\max_t |H(t) - H(0)| / |H(0)|$")
  _drift_axes(axes[1], "$\\max_t |\\mathcal{N}(t) - \\mathcal{N}(0)| / \\mathcal{N}(0)$")
  axes[1].legend(*axes[0].get_legend_handles_labels(), loc="center", ncols=2)
  return fig


def long_run(results):
  """The long run of every seed."""
  found = results["long"]
  fig, axes = plotting.figure(ncols=2)
  axes[0].plot(found["periods"], found["energy"].T * 1e10, lw=0.4, alpha=0.7, color="#0072B2")
  axes[0].set_ylabel("energy change $/|H(0)|$, $10^{-10}$")
  axes[1].plot(found["periods"], found["norm"].T * 1e15, lw=0.4, alpha=0.7, color="#009E73")
  axes[1].set_ylabel("norm change $/\\mathcal{N}(0)$, $10^{-15}$")
  for ax in axes:
    ax.axhline(0, color="black", lw=0.5)
    ax.set_xlabel("periods")
  return fig


def precision(results):
  """Error at the end and largest energy error against wall time, one network."""
  fig, axes = plotting.figure(ncols=2)
  for name in _ordered(results["precision"]):
    found = results["precision"][name]
    style = {"color": _COLOURS.get(name), "label": _LABELS[name], "marker": "o", "ms": 2.5}
    axes[0].plot(found["seconds"], np.maximum(found["error"], 1e-16), **style)
    axes[1].plot(found["seconds"], np.maximum(found["energy"], 1e-16), **style)
  for ax in axes:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("seconds")
  axes[0].set_ylabel("relative error of the state")
  axes[1].set_ylabel("largest relative energy error")
  fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
  return fig


def balances(results):
  """Energy and norm under a changing input, with the integrals that they should follow."""
  found = results["inputs"]["changing"]["curves"]
  fig, axes = plotting.figure(ncols=2)
  count = min(4, len(found["energy"]))
  t = np.linspace(0, float(results["input_time"]), found["energy"].shape[1])
  for ax, value, integral, label in (
    (axes[0], "energy", "work", "$H(t) - H(0)$"),
    (axes[1], "norm", "gained", "$\\mathcal{N}(t) - \\mathcal{N}(0)$"),
  ):
    for k in range(count):
      (line,) = ax.plot(t, found[value][k] - found[value][k, 0], lw=1.0)
      ax.plot(
        t[::3], found[integral][k][::3], ls="", marker="o", ms=2.2, color=line.get_color()
      )
    ax.plot([], [], color="black", lw=1.0, label="simulated")
    ax.plot([], [], ls="", marker="o", ms=2.2, color="black", label="integral of the rate")
    ax.set_xlabel("time")
    ax.set_ylabel(label)
  axes[0].legend()
  return fig


def lattice(results):
  """The pulse on the nonlinear and the linear chain, and the limit of large frequency."""
  fig, axes = plotting.figure(ncols=3)
  pulse = results["pulse"]
  top = pulse["nonlinear"]["intensity"][0].max()
  for ax, name, title in zip(
    axes, ("nonlinear", "linear"), ("saturating $g$", "$g = 1$"), strict=False
  ):
    image = pulse[name]["intensity"][0]
    extent = (0, image.shape[1], 0, float(results["lattice_time"]))
    shown = ax.imshow(
      image / top, origin="lower", aspect="auto", extent=extent, cmap="viridis", vmin=0, vmax=1
    )
    ax.set_title(title)
    ax.set_xlabel("neuron $j$")
  axes[0].set_ylabel("time")
  fig.colorbar(shown, ax=axes[1], label="$|z_j|^2$ / initial peak")
  ax = axes[2]
  frequencies = results["frequencies"]
  ax.plot(frequencies, results["limit"]["error"].T, color=_GREY, lw=0.6)
  mean = results["limit"]["error"].mean(0)
  ax.plot(frequencies, mean, marker="o", ms=3, color="#0072B2", label="mean")
  ax.plot(frequencies, mean[0] * frequencies[0] / frequencies, ls="--", color="black", lw=0.8)
  ax.set_xscale("log")
  ax.set_yscale("log")
  _plain_ticks(ax, frequencies)
  ax.set_xlabel("$\\omega_0$")
  ax.set_ylabel("distance to discrete NLS")
  ax.plot([], [], ls="--", color="black", lw=0.8, label="$1/\\omega_0$")
  ax.legend()
  return fig


def contrasts(results):
  """Trajectories and spectra of the models with equal couplings."""
  found = results["contrast"]
  fig, axes = plotting.figure(ncols=len(found), nrows=2, height=3.6)
  end = float(results["contrast_time"])
  for column, name in zip(axes.T, contrast.MODELS, strict=True):
    values = found[name]
    slow = 0.1 if name.startswith("dcm") else 1.0
    x = values["shown"][0]
    t = np.linspace(0, end * slow, len(x))
    keep = t <= (40.0 if slow == 1.0 else end * slow)
    shown = np.abs(x) if name == "dcm" else x
    column[0].plot(t[keep], shown[keep], lw=0.8)
    column[0].set_title(f"{_LABELS[name]}, $|x_j|$" if name == "dcm" else _LABELS[name])
    column[0].set_xlabel("time")
    if name == "dcm":
      column[0].set_yscale("log")
      column[0].set_ylim(bottom=1e-2)
    power = values["spectrum"].mean(0)
    omega = 2 * np.pi * np.arange(len(power)) / (end * slow / 2)
    shown = omega <= 3
    column[1].plot(omega[shown], np.maximum(power[shown], 1e-30), color="#0072B2", lw=0.9)
    column[1].set_yscale("log")
    column[1].set_xlim(0, 3)
    column[1].set_xlabel("angular frequency")
  axes[0, 0].set_ylabel("$u_j$ or $x_j$")
  axes[1, 0].set_ylabel("power, last half")
  return fig


def identification(results):
  """Errors against noise, best restart, and how many restarts get there."""
  found = results["identification"]
  fig, axes = plotting.figure(ncols=3)
  noises = found["noises"]
  noisy = noises > 0
  for ax, name, label in (
    (axes[0], "identification_error", "relative error of $\\Omega$"),
    (axes[1], "g_error", "largest error of $g$"),
  ):
    for j, duration in enumerate(found["times"]):
      errors = quantities.best_restart(found, name)[:, noisy, j]
      (line,) = ax.plot(
        noises[noisy], np.median(errors, 0), marker="o", ms=3, label=f"$T = {duration:g}$"
      )
      low, high = np.quantile(errors, [0.25, 0.75], axis=0)
      ax.fill_between(noises[noisy], low, high, color=line.get_color(), alpha=0.2, lw=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    _plain_ticks(ax, noises[noisy])
    ax.set_xlabel("noise $\\sigma$")
    ax.set_ylabel(label)
  axes[0].legend()
  share = quantities.success(found)
  for j in range(len(found["times"])):
    axes[2].plot(range(len(noises)), share[:, :, j].mean(0), marker="o", ms=3)
  axes[2].set_xticks(range(len(noises)), [f"{v:g}" for v in noises])
  axes[2].set_ylim(0, 1)
  axes[2].set_xlabel("noise $\\sigma$")
  axes[2].set_ylabel("share of restarts that succeed")
  return fig


def memories(results):
  """Overlap with the stored pattern against the load."""
  fig, ax = plotting.figure(height=2.8)
  found, loads = results["memory"], results["loads"]
  styles = {"linear": ("o", "dephasing, $g = 1$"), "four_phases": ("s", None)}
  styles |= {
    "one_product": ("x", None),
    "nonlinear": ("^", None),
    "hopfield": ("v", None),
    "pseudo_inverse": ("D", None),
  }
  for name in memory.MODELS:
    marker, label = styles[name]
    line = plotting.band(ax, loads, found[name], label=label or _LABELS[name])
    line.set_marker(marker)
    line.set_markersize(3)
  fine = np.linspace(loads[0], loads[-1], 100)
  ax.plot(
    fine,
    memory.theory(fine, float(results["flips"])),
    color="black",
    ls="--",
    lw=0.8,
    label="projection, $N \\to \\infty$",
  )
  ax.axhline(found["cue"].mean(), color=_GREY, lw=0.8, ls=":", label="cue")
  ax.set_xlabel("load $\\alpha = P/N$")
  ax.set_ylabel("overlap with the pattern")
  ax.set_ylim(top=1.02)
  fig.legend(loc="outside right center")
  return fig


FIGURES = (
  Figure(
    "drift",
    "Largest error of energy and norm so far, all methods, mean over networks: bounded for "
    "the symplectic ones, secular for the explicit ones.",
    drifts,
  ),
  Figure("long_run", "Energy and norm of every network in the long run.", long_run),
  Figure(
    "work_precision",
    "Error and energy error against wall time on one network, compilation not counted.",
    precision,
  ),
  Figure(
    "balances",
    "Energy and norm under a changing input follow the integrals of their rates (four seeds).",
    balances,
  ),
  Figure(
    "lattice",
    "A pulse on a chain with saturating g and on the linear chain; distance of the network to "
    "the discrete NLS equation.",
    lattice,
  ),
  Figure(
    "contrast", "The same couplings in conservative and dissipative networks.", contrasts
  ),
  Figure(
    "identification",
    "Recovered couplings and nonlinearity against noise: median and quartiles over networks.",
    identification,
  ),
  Figure("memory", "Recall by dephasing and by Hopfield networks of equal size.", memories),
)

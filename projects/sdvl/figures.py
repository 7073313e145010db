"""The paper's four figures, and what it lacks: accuracy map, search, controls, robustness."""

import numpy as np

from lib import plotting
from lib.experiment import Figure
from lib.metrics import statistics
from projects.sdvl import quantities as q

_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555"]
_TITLES = {"detector": "τ = 3 ms", "integrator": "τ = 20 ms"}
_LABELS = {
  "detector": "SDVL, τ = 3",
  "integrator": "SDVL, τ = 20",
  "detector_accurate": "integral 0.38, τ = 3",
  "detector_constant": "constant integral, τ = 3",
  "detector_print": "printed α2, τ = 3",
  "integrator_print": "printed α2, τ = 20",
  "detector_kernel": "printed kernel, τ = 3",
  "integrator_kernel": "printed kernel, τ = 20",
  "detector_frozen": "frozen variance, τ = 3",
  "integrator_frozen": "frozen variance, τ = 20",
  "stdp": "STDP",
  "untrained": "untrained",
}
_KINDS = {
  "taught": "one taught neuron a word",
  "inhibited": "layer, inhibition",
  "free": "layer, no inhibition",
}


def _neurons(results):
  return [n for n in _TITLES if n in results["conditions"]]


def raster(results):
  """Fig. 1: a stretch of input around a presentation."""
  part = results["raster"]
  fig, ax = plotting.figure(width="page", height=2.6)
  onsets = part["onsets"]
  alone = [o for o in onsets if o >= 60 and np.sum(np.abs(onsets - o) < 140) == 1]
  onset = int((alone or list(onsets) or [60])[0])
  low, high = onset - 60, onset + 120
  near = (part["time"] >= low) & (part["time"] < high)
  time, afferent = part["time"][near], part["afferent"][near]
  members = len(results["conditions"]["detector"]["time"][0])
  inside = (afferent < members) & np.zeros(len(time), bool)
  for start in onsets:
    inside |= (afferent < members) & (time >= start) & (time < start + results["length"])
  ax.scatter(time[~inside], afferent[~inside], s=0.6, color="#999999", lw=0)
  ax.scatter(time[inside], afferent[inside], s=1.6, color=_COLOURS[1], lw=0, label="pattern")
  ax.set(xlabel="time (ms)", ylabel="afferent", xlim=(low, high))
  ax.legend(loc="upper right", frameon=True, markerscale=4)
  return fig


def learning(results):
  """Fig. 2: learnt delays, output spikes in presentations, mean voltage, of one neuron."""
  names = _neurons(results)
  fig, axes = plotting.figure(
    ncols=3, nrows=len(names), height=2.3 * len(names), squeeze=False
  )
  for row, name in zip(axes, names, strict=True):
    part = results["conditions"][name]
    seed = int(np.argsort(q.correlation(part))[len(part["time"]) // 2])  # the median one
    spikes = part["time"].shape[1]
    known = q.learnt(part)[seed]
    delay = part["delay"][seed, :spikes]
    index = np.arange(spikes)
    row[0].scatter(index[~known], delay[~known], s=2, color="#bbbbbb", lw=0, label="wide")
    row[0].scatter(index[known], delay[known], s=4, color=_COLOURS[0], lw=0, label="learnt")
    row[0].set(xlabel="pattern input (by firing time)", ylabel="delay μ (ms)")
    row[0].legend(loc="lower left", markerscale=3)

    latency = part["latency"][seed].astype(int)
    interval = float(results["interval"])
    for i, values in enumerate(latency):
      real = values[values != -2]
      when = interval * (i + np.arange(len(real)) / max(len(real), 1))
      hit = real >= 0
      row[1].scatter(when[hit], real[hit], s=1.2, color=_COLOURS[0], lw=0)
    row[1].set(xlabel="training time (s)", ylabel="spike after onset (ms)")

    at = int(np.argmin(np.abs(results["morphs"] - 1.0)))
    response = part["response"]
    time = np.arange(response["voltage"].shape[-1])
    row[2].plot(time, response["voltage"][seed, at], color=_COLOURS[1], label="no threshold")
    row[2].plot(time, response["firing"][seed, at], color=_COLOURS[0], label="firing")
    row[2].axhline(-55, color="#555555", lw=0.6, ls=":")
    row[2].axvspan(0, float(results["length"]), color="#999999", alpha=0.15, lw=0)
    row[2].set(xlabel="time after onset (ms)", ylabel="mean voltage (mV)", xlim=(0, 70))
    row[2].legend(loc="upper left", frameon=True, framealpha=1, edgecolor="none")
    row[0].set_title(_TITLES[name], loc="left")
  return fig


def voltages(results):
  """Fig. 3: mean voltages without a threshold, forward and reversed, of one neuron.

  Neurons fire at times of their own, so that an average over them would flatten the peaks.
  """
  names = _neurons(results)
  fig, axes = plotting.figure(
    ncols=2, nrows=len(names), height=2.6 * len(names), squeeze=False
  )
  for row, name in zip(axes, names, strict=True):
    voltage = results["conditions"][name]["response"]["voltage"]
    peaks = q.peaks(results, name, 1.0)
    seed = int(np.argsort(peaks)[len(peaks) // 2])
    time = np.arange(voltage.shape[-1])
    for ax, sign in zip(row, (1, -1), strict=True):
      factors = sorted((m for m in results["morphs"] if m * sign > 0), key=abs)
      for colour, factor in zip(_COLOURS, factors, strict=False):
        at = int(np.argmin(np.abs(results["morphs"] - factor)))
        found = statistics.mean_interval(q.peaks(results, name, factor))
        half = (found.high - found.low) / 2
        label = f"mf = {factor:g}: {found.mean:.1f} ± {half:.1f} mV"
        ax.plot(time, voltage[seed, at, : len(time)], color=colour, lw=1, label=label)
      for level in (-55, -52):
        ax.axhline(level, color="#555555", lw=0.6, ls=":")
      ax.set(xlabel="time after onset (ms)", ylabel="mean voltage (mV)")
      ax.set_title(f"{_TITLES[name]}, {'forward' if sign > 0 else 'reversed'}", loc="left")
      ax.legend(loc="upper right", frameon=True, framealpha=1, edgecolor="none")
    low, high = (f(ax.get_ylim()[i] for ax in row) for i, f in ((0, min), (1, max)))
    for ax in row:
      ax.set_ylim(low, high + 0.15 * (high - low))
  return fig


def thresholds(results):
  """Fig. 4: detections against the threshold, for every morph of the paper."""
  names = _neurons(results)
  fig, axes = plotting.figure(
    ncols=2, nrows=len(names), height=2.4 * len(names), squeeze=False
  )
  for row, name in zip(axes, names, strict=True):
    part = results["conditions"][name]
    factors = sorted((m for m in results["morphs"]), key=lambda m: (m < 0, abs(m)))
    half = max(1, sum(m > 0 for m in factors))
    for i, factor in enumerate(factors):
      at = q.at_morph(part, factor)
      if at is None:
        continue
      style = {"color": _COLOURS[i % half], "ls": "-" if factor > 0 else "--"}
      for ax, kind in zip(row, ("accuracy", "detected"), strict=True):
        plotting.band(
          ax, results["thresholds"], part["test"][kind][:, at], f"{factor:g}", **style
        )
    for ax, label in zip(row, ("accuracy", "presentations detected"), strict=True):
      ax.axvline(-55, color="#555555", lw=0.6, ls=":")
      ax.axvline(-52, color="#555555", lw=0.6, ls=":")
      ax.set(xlabel="threshold (mV)", ylabel=label, ylim=(-0.03, 1.03))
      low = max(-58.0, float(results["thresholds"][0]))
      ax.set_xlim(low - 0.5, float(results["thresholds"][-1]) + 0.5)
      ax.set_xticks(np.arange(low, float(results["thresholds"][-1]) + 0.5, 2))
      ax.set_title(_TITLES[name], loc="left")
  handles, labels = axes[0][1].get_legend_handles_labels()
  fig.legend(handles, labels, title="morph", loc="outside right center")
  return fig


def accuracy_map(results):
  """Accuracy over threshold and morph factor; below, the share of detected presentations."""
  names = _neurons(results)
  fig, axes = plotting.figure(
    ncols=len(names), nrows=2, height=4.6, squeeze=False, sharex=True, sharey=True
  )
  for column, name in zip(axes.T, names, strict=True):
    part = results["conditions"][name]
    order = np.argsort(part["test_morphs"])
    factors = part["test_morphs"][order]
    for ax, kind in zip(column, ("accuracy", "detected"), strict=True):
      levels = results["thresholds"] >= -58
      mean = part["test"][kind].mean(0)[order][:, levels].T
      image = ax.imshow(
        mean,
        origin="lower",
        aspect="auto",
        cmap="viridis",
        vmin=0,
        vmax=1,
        interpolation="none",
      )
      step = max(1, len(factors) // 8)
      ticks = np.arange(0, len(factors), step)
      ax.set_xticks(ticks, [f"{m:g}" for m in factors[ticks]])
      shown = results["thresholds"][levels]
      rows = np.arange(0, len(shown), max(1, len(shown) // 6))
      ax.set_yticks(rows, [f"{v:g}" for v in shown[rows]])
      ax.axvline(np.searchsorted(factors, 0) - 0.5, color="white", lw=1)
      ax.set_title(f"{_TITLES[name]}: {kind}", loc="left")
    column[-1].set_xlabel("morph factor (negative: reversed)")
  for ax in axes[:, 0]:
    ax.set_ylabel("threshold (mV)")
  fig.colorbar(image, ax=axes, shrink=0.6, label="share")
  return fig


def search(results):
  """The search for the fixed global integral of the coincidence detector."""
  part = results["search"]
  accuracy = q.slot_accuracy(part)
  constant, falls = len(part["constant"]), len(part["falls"])
  fig, axes = plotting.figure(ncols=3, height=2.6)
  end = accuracy[..., -2:].mean(-1)
  for ax, values in ((axes[0], end), (axes[1], part["peak"])):
    plotting.band(ax, part["constant"], values[:, :constant], "constant", marker="o", ms=3)
    for i, fall in enumerate(part["falls"]):
      rows = constant + i + falls * np.arange(len(part["ends"]))
      label = f"falling in {fall:g} s"
      plotting.band(ax, part["ends"], values[:, rows], label, marker="s", ms=3)
    ax.set(xlabel="global integral at the end")
  axes[0].set(ylabel="accuracy at the end of training", ylim=(-0.03, 1.03))
  axes[1].set(ylabel="peak mean voltage (mV)")
  axes[1].axhline(-38, color="#555555", lw=0.6, ls=":")
  axes[1].legend(loc="lower right")
  time = float(results["interval"]) * (1 + np.arange(accuracy.shape[-1]))
  best = int(end[:, :constant].mean(0).argmax())
  falling = constant + int(end[:, constant:].mean(0).argmax())
  i, j = divmod(falling - constant, falls)
  for row, label in (
    (best, f"constant {part['constant'][best]:g}"),
    (falling, f"falling to {part['ends'][i]:g}\nin {part['falls'][j]:g} s"),
  ):
    plotting.band(axes[2], time, accuracy[:, row], label)
  axes[2].set(xlabel="training time (s)", ylabel="accuracy by slots", ylim=(-0.03, 1.03))
  axes[2].legend(loc="lower right")
  return fig


def words(results):
  """Which word is named, by taught neurons and by a layer, and how tempo matters."""
  part = results["words"]
  kinds = q.word_kinds(part)
  maps = kinds[:2]
  fig, axes = plotting.figure(ncols=len(maps) + 1, height=2.6)
  names = [f"{n:g}" for n in part["lengths"]]
  for ax, kind in zip(axes, maps, strict=False):
    shares = q.confusion(part, kind).mean(0)
    ax.imshow(shares, vmin=0, vmax=1, cmap="viridis")
    for (i, j), value in np.ndenumerate(shares):
      colour = "black" if value > 0.6 else "white"
      ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="named (length, ms)", ylabel="word (length, ms)")
    ax.set_title(_KINDS[kind], loc="left")
  for kind in kinds:
    correct = q.words_recognised(part, kind)
    if np.all(np.isfinite(correct)):
      plotting.band(axes[-1], part["tempos"], correct, _KINDS[kind], marker="o", ms=3)
  axes[-1].axhline(1 / len(names), color="#555555", lw=0.6, ls=":")
  axes[-1].set(xlabel="tempo (times the length)", ylabel="words recognised", ylim=(0, 1.03))
  axes[-1].legend(loc="lower right", fontsize=6)
  return fig


def conditions(results):
  """Readings and controls: detections of the pattern and of its reversal, learnt delays."""
  names = [n for n in _LABELS if n in results["conditions"]]
  fig, axes = plotting.figure(ncols=3, height=0.9 + 0.3 * len(names), sharey=True)
  y = np.arange(len(names))[::-1]
  rows = ((-55.0, 0.22, _COLOURS[0]), (-52.0, 0.0, _COLOURS[1]), (None, -0.22, _COLOURS[6]))
  for threshold, offset, colour in rows:
    for ax, factor in zip(axes[:2], (1.0, -1.0), strict=True):
      for level, name in zip(y, names, strict=True):
        at = q.best_threshold(results, name) if threshold is None else threshold
        values = None if at is None else q.score(results, name, "detected", factor, at)
        if values is None:
          continue
        found = statistics.mean_interval(values)
        bars = [[found.mean - found.low], [found.high - found.mean]]
        bars = np.where(np.isfinite(bars), bars, 0)
        text = "most accurate" if threshold is None else f"{threshold:g} mV"
        label = text if level == y[0] and factor > 0 else None
        ax.errorbar(
          found.mean, level + offset, xerr=bars, fmt="o", ms=3, color=colour, label=label
        )
  for level, name in zip(y, names, strict=True):
    values = q.correlation(results["conditions"][name])
    axes[2].scatter(values, np.full(len(values), level), s=5, color=_COLOURS[2], lw=0)
  axes[0].set_yticks(y, [_LABELS[n] for n in names])
  for ax, label in zip(axes, ("pattern detected", "reversed detected"), strict=False):
    ax.set(xlabel=label, xlim=(-0.03, 1.03))
  axes[2].set(xlabel="correlation (delay, time)", xlim=(-1.05, 1.05))
  fig.legend(title="threshold", loc="outside upper center", ncols=3)
  return fig


def robustness(results):
  """Jitter and dropped spikes of the pattern in the test of trained neurons."""
  fig, axes = plotting.figure(ncols=2, height=2.4, sharey=True)
  for i, (name, part) in enumerate(results["robustness"].items()):
    for threshold, style in ((-55.0, "-"), (-52.0, "--")):
      level = q.at_threshold(results, threshold)
      if level is None:
        continue
      accuracy = part["accuracy"][:, :, level]
      jitters = len(part["jitter"])
      label = f"{_TITLES[name]}, {threshold:g} mV"
      options = {"color": _COLOURS[i], "ls": style, "marker": "o", "ms": 3}
      plotting.band(axes[0], part["jitter"], accuracy[:, :jitters], label, **options)
      plotting.band(axes[1], 100 * part["dropout"], accuracy[:, jitters:], label, **options)
  axes[0].set(xlabel="jitter of each spike (ms)", ylabel="accuracy", ylim=(-0.03, 1.03))
  axes[1].set(xlabel="spikes of the pattern dropped (%)")
  axes[1].legend(loc="center left")
  return fig


FIGURES = (
  Figure(
    "fig1_input",
    "Input around a presentation: pattern afferents fire once each in order, the rates of all "
    "others are adjusted so that nothing but the timing tells.",
    raster,
  ),
  Figure(
    "fig2_learning",
    "The neuron with the median correlation: learnt delays against the input index, output "
    "spikes in presentations during training, and its mean voltage afterwards.",
    learning,
  ),
  Figure(
    "fig3_voltages",
    "Mean voltage over the presentations without a threshold, for morphed (left) and reversed "
    "patterns (right), of the neuron with the median peak; in the legend the mean peak over "
    "neurons with its 95 % interval. Dotted: -55 and -52 mV.",
    voltages,
  ),
  Figure(
    "fig4_thresholds",
    "Accuracy and detected presentations against the threshold; dashed: reversed.",
    thresholds,
  ),
  Figure(
    "accuracy_map",
    "Accuracy, and share of presentations detected, over threshold and morph factor; means "
    "over neurons.",
    accuracy_map,
  ),
  Figure(
    "integral_search",
    "The fixed global integral at τ = 3 ms, on seeds of its own: constant values, and ones "
    "that fall from the start's to the value shown. Dotted: the paper's peak of -38 mV.",
    search,
  ),
  Figure(
    "conditions",
    "Both readings of the rule and the controls; bars: 95 % intervals over neurons.",
    conditions,
  ),
  Figure(
    "robustness",
    "Jittered and dropped spikes in the test, neurons trained without either.",
    robustness,
  ),
  Figure(
    "words",
    "Words of different length on the same afferents: named by one taught neuron each (left), "
    "by as many neurons of a layer without a teacher (middle), and at tempos that were not "
    "trained (right). Dotted: chance.",
    words,
  ),
)

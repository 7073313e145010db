"""The paper's seven figures in its layout, and what it lacks: scaling, theory, controls.

Panels are widths, from left to right; the paper's are 100, 1000 and 10000.
"""

import numpy as np

from lib import plotting
from lib.experiment import Figure
from projects.ntk import claims
from projects.ntk import quantities as q
from projects.ntk.quantities import A0, PARAMETERS, A, B

_SYMBOLS = {A: "a", A0: "a_0", B: "b"}
_COLOURS = {A: "#0072B2", A0: "#009E73", B: "#D55E00"}
_GREY, _BEFORE, _AFTER = "#555555", "#9aa0a6", "#D55E00"
_SHOWN = 5  # realisations in a panel


def _power(width):
  exponent = np.log10(width)
  if abs(exponent - round(exponent)) < 1e-9:
    return f"$m = 10^{{{round(exponent)}}}$"
  return f"$m = {width}$"


def _panels(stage, nrows=1, count=3, **kwargs):
  """A row of panels, one a width: the paper's widths where they were run."""
  shown = [m for m in q.widths(stage) if m in claims.PAPER_WIDTHS] or q.widths(stage)
  shown = shown[:count]
  fig, axes = plotting.figure(ncols=len(shown), nrows=nrows, squeeze=False, **kwargs)
  for ax, m in zip(axes[0], shown, strict=True):
    ax.set_title(_power(m))
  return fig, axes, shown


def outputs(results):
  """Fig. 1: functions after training, of some networks of each width."""
  return _outputs(results["relu"], "$f(x;\\theta)$")


def _outputs(stage, ylabel, xlabel="$x$"):
  fig, axes, shown = _panels(stage, sharey=True)
  for ax, m in zip(axes[0], shown, strict=True):
    before, after = np.moveaxis(q.members(stage, m)["curve"][:_SHOWN], 1, 0)
    ax.plot(stage["curve_x"], before.T, color=_BEFORE, lw=0.6, alpha=0.7)
    ax.plot(stage["curve_x"], after.T, color=_AFTER, lw=0.8, alpha=0.9)
    size = 6 + 40 * (stage["weight"] / stage["weight"].max() if len(stage["x"]) > 30 else 0.3)
    ax.scatter(stage["x"], stage["y"], s=size, color="black", zorder=3, lw=0, alpha=0.75)
    ax.set_xlabel(xlabel)
  ax = axes[0, 0]
  ax.set_ylabel(ylabel)
  ax.plot([], [], color=_BEFORE, label="before training")
  ax.plot([], [], color=_AFTER, label="after")
  ax.scatter([], [], s=14, color="black", label="data")
  ax.legend(loc="upper left")
  return fig


def _changes(results, parameter):
  stage, symbol = results["relu"], _SYMBOLS[parameter]
  fig, axes, shown = _panels(stage, sharey=True)
  for ax, m in zip(axes[0], shown, strict=True):
    change = q.members(stage, m)["tracked"][0, :, parameter]
    change = change[:, np.abs(change[-1]) > 0]
    ax.plot(stage["times"], change, lw=0.8, alpha=0.9)
    ax.axhline(0, color=_GREY, lw=0.5, zorder=0)
    ax.set_xlabel("flow time $t$")
  axes[0, 0].set_ylabel(
    f"${symbol}_{{j}}(t) - {symbol}_{{j}}(0)$".replace("a_0_{j}", "a_{0,j}")
  )
  return fig


def changes_a(results):
  """Fig. 2: each line is one neuron's a."""
  return _changes(results, A)


def changes_b(results):
  """Fig. 4: each line is one neuron's b."""
  return _changes(results, B)


def _sums(results, parameter):
  """Above: a realisation before and after. Below: the shifts of several, with the theory."""
  stage, symbol = results["relu"], {A: "A", A0: "A^0", B: "B"}[parameter]
  fig, axes, shown = _panels(stage, nrows=2, sharex=True, sharey="row", height=4.2)
  s = stage["s"]
  for column, m in zip(axes.T, shown, strict=True):
    member = q.members(stage, m)
    start, shift = member["start"][:, parameter], member["shift"][:, -1, parameter]
    for i, alpha in ((0, 1.0), (1, 0.35)):
      column[0].plot(s, start[i], color=_BEFORE, lw=1.0, alpha=alpha)
      column[0].plot(s, start[i] + shift[i], color=_COLOURS[parameter], lw=0.9, alpha=alpha)
    for i in range(min(_SHOWN, len(shift))):
      column[1].plot(s, shift[i], color=_COLOURS[parameter], lw=0.8, alpha=0.8)
      line = s * (member["b_line"][i, -1] if parameter == B else 0.0)
      if parameter == B or i == 0:
        column[1].plot(s, line, color="black", lw=0.7, ls=(0, (4, 3)))
    column[1].set_xlabel("$s$")
  axes[0, 0].set_ylabel(f"${symbol}_s(t)$")
  axes[1, 0].set_ylabel(f"${symbol}_s(t) - {symbol}_s(0)$")
  axes[0, 0].plot([], [], color=_BEFORE, label="before training")
  axes[0, 0].plot([], [], color=_COLOURS[parameter], label="after")
  axes[0, 0].legend()
  axes[1, 0].plot([], [], color="black", lw=0.7, ls=(0, (4, 3)), label="infinite width")
  axes[1, 0].legend()
  return fig


def sums_a(results):
  """Fig. 3."""
  return _sums(results, A)


def sums_b(results):
  """Fig. 5."""
  return _sums(results, B)


def _energies(results, parameter):
  stage, symbol = results["relu"], _SYMBOLS[parameter]
  fig, axes, shown = _panels(stage, sharey=True)
  for ax, m in zip(axes[0], shown, strict=True):
    values = q.energy(stage, m).value[:, :, parameter]
    ax.plot(stage["times"], values[:20].T, color=_COLOURS[parameter], lw=0.5, alpha=0.4)
    ax.plot(stage["times"], values.mean(0), color="black", lw=1.2, label="ensemble mean")
    band = 1.96 * np.sqrt(2 / m)
    ax.axhspan(
      1 - band, 1 + band, color=_BEFORE, alpha=0.2, lw=0, label="95 % of $\\chi^2_m/m$"
    )
    ax.axhline(1, color=_GREY, lw=0.6, ls=":")
    ax.set_xlabel("flow time $t$")
  axes[0, 0].set_ylabel(f"energy of ${symbol}$")
  axes[0, 0].legend(loc="upper left")
  return fig


def energies_a(results):
  """Fig. 6."""
  return _energies(results, A)


def energies_b(results):
  """Fig. 7."""
  return _energies(results, B)


def energies_a0(results):
  """What the paper states and does not show."""
  return _energies(results, A0)


def _scaling(ax, stage, samples, label, colour, marker="o", **kwargs):
  """Means over networks with 95 % bootstrap bars, and the fitted power."""
  at = np.array(q.widths(stage), float)
  rows = [np.asarray(samples(q.members(stage, m)), np.float64) for m in q.widths(stage)]
  mean = np.array([row.mean() for row in rows])
  rng = np.random.default_rng(0)
  drawn = [row[rng.integers(0, len(row), (400, len(row)))].mean(1) for row in rows]
  low, high = np.quantile(np.array(drawn), [0.025, 0.975], axis=1)
  bars = np.maximum([mean - low, high - mean], 0)
  text = label
  if len(at) > 1 and np.all(mean > 0):
    fit = q.exponent(stage, samples)
    text = f"{label}: $m^{{{fit.exponent:.2f}}}$ [{fit.low:.2f}, {fit.high:.2f}]"
    ax.plot(at, np.exp(fit.log_prefactor) * at**fit.exponent, color=colour, lw=0.8, alpha=0.7)
  ax.errorbar(
    at,
    mean,
    bars,
    fmt=marker,
    ms=3.5,
    lw=0,
    elinewidth=0.8,
    color=colour,
    label=text,
    **kwargs,
  )


def _slope(ax, power, at, anchor):
  """A dotted guide m^power through (at[0], anchor)."""
  at = np.asarray(at, float)
  ax.plot(at, anchor * (at / at[0]) ** power, color="black", lw=0.7, ls=":", zorder=0)
  ax.annotate(
    {-0.5: "$m^{-1/2}$", -1.0: "$m^{-1}$", 0.0: "$m^0$"}[power],
    (at[-1], anchor * (at[-1] / at[0]) ** power),
    xytext=(2, 3),
    textcoords="offset points",
    fontsize=7,
  )


def scaling(results):
  """All that depends on the width, log-log, with fitted exponents and theory's slopes."""
  stage = results["relu"]
  at = q.widths(stage)
  fig, axes = plotting.figure(ncols=2, nrows=2, height=5.6, sharex=True)
  quantities = (
    (axes[0, 0], claims._change, "$\\max_j|p_j(t) - p_j(0)|$", (-0.5,)),
    (
      axes[0, 1],
      lambda i: claims._shift(PARAMETERS[i]),
      "$\\sup_s|P_s(t) - P_s(0)|$",
      (-0.5, 0.0),
    ),
    (axes[1, 0], claims._deviation, "$\\max_t|E(t) - 1|$", (-0.5,)),
    (axes[1, 1], claims._energy_change, "$\\max_t|E(t) - E(0)|$", (-1.0,)),
  )
  for ax, samples, title, slopes in quantities:
    ax.set(xscale="log", yscale="log", title=title)
    for i in (A, A0, B):
      _scaling(ax, stage, samples(i), f"${_SYMBOLS[i]}$", _COLOURS[i], "os^"[i])
    first = [np.mean(samples(i)(q.members(stage, at[0]))) for i in (A, A0, B)]
    for power in slopes:
      steep = max(first[:B] if len(slopes) > 1 else first)
      _slope(ax, power, at, 1.6 * (first[B] if power == 0 else steep))
    _room_below(ax, -0.1)
  for ax in axes[1]:
    ax.set_xlabel("width $m$")
  return fig


def theory(results):
  """The closed form against the simulation: over time, network by network, and by width."""
  stage, real = results["relu"], results["real"]
  fig, axes = plotting.figure(ncols=3, height=2.7)
  m = q.widths(real)[-1]
  member = q.members(real, m)
  for i in range(min(5, len(member["b_line"]))):
    shift = member["shift"][i, :, B, -1]
    axes[0].plot(real["times"], shift, color=f"C{i}", lw=1.8, alpha=0.6)
    axes[0].plot(real["times"], member["b_line"][i], color="black", lw=0.8, ls=(0, (4, 3)))
  axes[0].set(
    xlabel="flow time $t$", ylabel="$B_1(t) - B_1(0)$", title=f"diabetes, {_power(m)}"
  )
  axes[0].plot([], [], color="black", lw=0.8, ls=(0, (4, 3)), label="infinite width")
  axes[0].legend(loc="center right", bbox_to_anchor=(1.0, 0.62))
  shown = [w for w in q.widths(stage) if q.networks(stage, w) >= 8] or q.widths(stage)
  shades = np.linspace(0.25, 0.95, len(shown))
  for w, shade in zip(shown, shades, strict=True):
    member = q.members(stage, w)
    axes[1].scatter(
      member["b_line"][:100, -1],
      member["shift"][:100, -1, B, -1],
      s=5,
      lw=0,
      color=_map(shade),
      alpha=0.8,
      label=_power(w),
    )
  limits = axes[1].get_xlim()
  axes[1].plot(limits, limits, color="black", lw=0.7, ls=":")
  axes[1].set(xlabel="predicted $B_1$ shift", ylabel="simulated", title="each network its own")
  axes[1].legend(handletextpad=0.1)
  axes[2].set(
    xscale="log", yscale="log", xlabel="width $m$", title="relative error of the line"
  )
  _scaling(axes[2], stage, q.theory_error, "toy, ReLU", _COLOURS[B])
  if len(q.widths(real)) > 1:
    _scaling(axes[2], real, q.theory_error, "diabetes", _COLOURS[A], "s")
  _room_below(axes[2])
  return fig


def _room_below(ax, factor=0.12):
  """Space under log-scaled data for a legend in the lower left."""
  low, high = ax.get_ylim()
  ax.set_ylim(low * (low / high) ** (factor + 0.25), high)
  ax.legend(loc="lower left", fontsize=6.5, handletextpad=0.1, borderpad=0)


def _map(shade):
  import matplotlib as mpl

  return mpl.colormaps["viridis_r"](shade)


def controls(results):
  """What moves where: ReLU, odd activations, and the mean-field parametrisation."""
  fig, axes = plotting.figure(ncols=3, height=2.7)
  colours = {"relu": _COLOURS[B], "tanh": _COLOURS[A], "erf": _COLOURS[A0]}
  names = {"relu": "ReLU", "tanh": "tanh", "erf": "erf"}
  for name, marker in zip(colours, "os^", strict=True):
    if name in results:
      _scaling(axes[0], results[name], claims._shift("b"), names[name], colours[name], marker)
  axes[0].set(title="$\\sup_s|B_s(t) - B_s(0)|$")
  pair = (("relu", "NTK", _COLOURS[A], "o"), ("mean_field", "mean field", "#CC79A7", "s"))
  for name, label, colour, marker in pair:
    if q.widths(results[name]):
      _scaling(axes[1], results[name], claims._rms_change(B), label, colour, marker)
      _scaling(axes[2], results[name], claims._energy_change(B), label, colour, marker)
  axes[1].set(title="RMS change of $b_j$")
  axes[2].set(title="$\\max_t|E_b(t) - E_b(0)|$")
  for ax in axes:
    ax.set(xscale="log", yscale="log", xlabel="width $m$")
    _room_below(ax)
  return fig


def moments(results):
  """Theorem 1: fourth moments of increments by lag, at the start and at the end."""
  stage, other = results["relu"], results["mean_field"]
  fig, axes = plotting.figure(ncols=3, height=2.6)
  enough = [m for m in q.widths(stage) if q.networks(stage, m) >= claims.ENOUGH]
  enough = enough or q.widths(stage)
  for ax, parameter, title in ((axes[0], A, "$A$, end of training"), (axes[1], B, "$B$")):
    for m, shade in zip(enough, np.linspace(0.25, 0.95, len(enough)), strict=True):
      lags, samples = q.fourth_moments(q.members(stage, m), parameter)
      ax.plot(
        lags, samples[:, -1].mean(0), color=_map(shade), marker="o", ms=2, label=_power(m)
      )
    ax.axhline(3, color="black", lw=0.7, ls=":")
    ax.set(xscale="log", xlabel="$|s - u|$", title=title, ylim=(0, None))
  axes[0].set_ylabel("$E|P_s - P_u|^4/|s - u|^2$")
  axes[1].set_title("$B$, end of training")
  axes[0].legend()
  for stage_, label, colour, marker in (
    (stage, "NTK", _COLOURS[A], "o"),
    (other, "mean field", "#CC79A7", "s"),
  ):
    at = [m for m in q.widths(stage_) if q.networks(stage_, m) >= claims.ENOUGH]
    if not at:
      continue
    sups = np.stack([q.sup_fourth_moment(q.members(stage_, m), B) for m in at])
    low, high = np.quantile(sups[:, 1:], [0.025, 0.975], axis=1)
    bars = np.maximum([sups[:, 0] - low, high - sups[:, 0]], 0)
    axes[2].errorbar(
      at, sups[:, 0], bars, fmt=marker + "-", ms=3.5, lw=0.8, color=colour, label=label
    )
  axes[2].set(xscale="log", yscale="log", xlabel="width $m$", title="supremum, $B$")
  axes[2].legend()
  return fig


def real_data(results):
  """The diabetes regression: outputs of the networks."""
  return _outputs(
    results["real"], "progression (standardised)", "body-mass index (standardised)"
  )


FIGURES = (
  Figure("fig1_outputs", "Outputs before and after training (Fig. 1).", outputs),
  Figure("fig2_changes_a", "Changes of single a_j during training (Fig. 2).", changes_a),
  Figure(
    "fig3_cumulative_sums_a",
    "Cumulative sums of a before and after training, and their shifts (Fig. 3).",
    sums_a,
  ),
  Figure("fig4_changes_b", "Changes of single b_j during training (Fig. 4).", changes_b),
  Figure(
    "fig5_cumulative_sums_b",
    "Cumulative sums of b before and after training, and their shifts with the "
    "infinite-width line of each network (Fig. 5).",
    sums_b,
  ),
  Figure("fig6_energy_a", "Energy of a during training (Fig. 6).", energies_a),
  Figure("fig7_energy_b", "Energy of b during training (Fig. 7).", energies_b),
  Figure("energy_a0", "Energy of a0 during training.", energies_a0),
  Figure("scaling", "Everything against the width, with fitted exponents.", scaling),
  Figure("theory", "The infinite-width prediction of B against the simulation.", theory),
  Figure("controls", "Odd activations and the mean-field parametrisation.", controls),
  Figure("tightness", "Fourth moments of increments (Theorem 1).", moments),
  Figure(
    "real_outputs",
    "Networks on the diabetes regression; a point is the mean of the patients of equal index, "
    "its area their number.",
    real_data,
  ),
)

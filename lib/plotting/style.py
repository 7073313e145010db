"""House style: sizes of a two-column paper, colour-blind safe colours, no chart junk."""

import pathlib

import numpy as np

WIDTHS = {"column": 3.5, "page": 7.0}  # inches: one and two columns of a paper
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555"]
_STYLE = {
  "axes.spines.right": False,
  "axes.spines.top": False,
  "axes.titlesize": 9,
  "axes.labelsize": 8,
  "font.size": 8,
  "legend.fontsize": 7,
  "legend.frameon": False,
  "lines.linewidth": 1.2,
  "savefig.dpi": 200,
  "xtick.labelsize": 7,
  "ytick.labelsize": 7,
}


def style():
  """Context in which what is drawn follows the house style; the runs draw in it."""
  import matplotlib as mpl

  return mpl.rc_context({**_STYLE, "axes.prop_cycle": mpl.cycler(color=_COLOURS)})


def figure(ncols: int = 1, nrows: int = 1, width: str = "page", height=None, **kwargs):
  """A figure and its axes in the house style.

  Args:
    ncols, nrows: the grid of axes.
    width: "column" or "page", the width in a paper.
    height: in inches; by default each row is 0.75 as high as it is wide, at most 2.6.
    **kwargs: passed to `Figure.subplots` (sharex, sharey, squeeze, ...).

  Returns:
    (figure, axes), where axes is what `Figure.subplots` returns.
  """
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  inches = WIDTHS[width]
  if height is None:
    height = nrows * min(0.75 * inches / ncols + 0.3, 2.6)
  with style():
    fig = Figure(figsize=(inches, height), layout="constrained")
    FigureCanvasAgg(fig)
    axes = fig.subplots(nrows, ncols, **kwargs)
  return fig, axes


def band(ax, x, samples, label: str | None = None, **kwargs):
  """Mean over axis 0 of the samples (seeds, len(x)) with its 95 % t interval as a band."""
  from lib.metrics import statistics

  found = statistics.mean_interval(samples)
  (line,) = ax.plot(x, found.mean, label=label, **kwargs)
  if np.all(np.isfinite(found.low)):
    ax.fill_between(x, found.low, found.high, color=line.get_color(), alpha=0.2, lw=0)
  return line


def plain_log(axis):
  """Ticks of a logarithmic axis (`ax.xaxis`, `ax.yaxis`) at 1, 2 and 5 times powers of ten.

  They are plain numbers; Matplotlib's own are 6 × 10⁰ where an axis covers one decade.
  """
  from matplotlib import ticker

  axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
  axis.set_major_formatter("{x:g}")
  axis.set_minor_formatter(ticker.NullFormatter())


def save(fig, path) -> pathlib.Path:
  """Writes a PNG whose bytes depend on the drawing alone (no date, no version)."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  with style():
    fig.savefig(path, metadata={"Software": None})
  return path

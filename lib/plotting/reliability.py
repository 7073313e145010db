"""Reliability diagrams and curves (the data are made by `lib.metrics.calibration`)."""

import numpy as np

_GREY = "#555555"


def diagonal(ax):
  """The line of perfect calibration, with the axes of a reliability diagram."""
  ax.plot([0, 1], [0, 1], color=_GREY, lw=0.7, ls=(0, (4, 3)), label="calibrated")
  ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="score", ylabel="share of hits", aspect="equal")


def diagram(ax, found, colour="#0072B2", label=None):
  """Bars of the mean hit of each bin, with a tick at its mean score.

  Args:
    ax: the axes.
    found: `lib.metrics.calibration.Diagram` of one set of pairs.
    colour: of the bars.
    label: of the bars, for a legend.
  """
  edges, accuracy = np.asarray(found.edges), np.asarray(found.accuracy)
  ax.bar(
    edges[:-1],
    np.nan_to_num(accuracy),
    np.diff(edges),
    align="edge",
    color=colour,
    alpha=0.45,
    edgecolor=colour,
    lw=0.7,
    label=label,
  )
  ax.plot(np.asarray(found.confidence), accuracy, ".", ms=4, color=colour)
  diagonal(ax)


def band(ax, found, colour="#0072B2", label=None):
  """A bootstrapped reliability curve (`lib.metrics.calibration.Band`): median and band."""
  grid = np.asarray(found.grid)
  ax.plot(grid, np.asarray(found.median), color=colour, label=label)
  ax.fill_between(
    grid, np.asarray(found.low), np.asarray(found.high), color=colour, alpha=0.2, lw=0
  )
  diagonal(ax)

"""Figures in one house style, drawn without a display.

`figure` makes a figure and its axes; `band` draws a mean over seeds with its interval;
`plain_log` labels a logarithmic axis with plain numbers; `save` writes a PNG whose bytes
depend on the drawing alone.

>>> import numpy as np
>>> fig, ax = figure(width="column")
>>> samples = np.random.default_rng(0).normal(size=(8, 3))  # seeds first
>>> line = band(ax, np.arange(3), samples, label="8 seeds")
>>> ax.get_legend_handles_labels()[1]
['8 seeds']
"""

from lib.plotting import reliability
from lib.plotting.style import band, figure, plain_log, save, style

__all__ = ["band", "figure", "plain_log", "reliability", "save", "style"]

"""Figures in one house style, drawn without a display."""

from lib.plotting import reliability
from lib.plotting.style import band, figure, save, style

__all__ = ["band", "figure", "reliability", "save", "style"]

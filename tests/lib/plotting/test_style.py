"""Ticks of logarithmic axes."""

import pytest

from lib import plotting


@pytest.mark.parametrize(
  ("limits", "expected"),
  [((0.45, 7), ["0.5", "1", "2", "5"]), ((0.002, 0.3), ["0.002", "0.005", "0.01", "0.02",
   "0.05", "0.1", "0.2"])],
)  # fmt: skip
def test_plain_log_has_plain_numbers(limits, expected):
  fig, ax = plotting.figure(width="column")
  ax.set(yscale="log", ylim=limits)
  plotting.plain_log(ax.yaxis)
  fig.canvas.draw()
  low, high = limits
  ticks = [t for t in ax.get_yticks() if low <= t <= high]
  assert [ax.yaxis.get_major_formatter()(t) for t in ticks] == expected
  assert not any(label.get_text() for label in ax.yaxis.get_minorticklabels())

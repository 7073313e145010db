"""What a run shows on a terminal: live lines beside bars, and the table of claims."""

import io

from rich.console import Console

from lib.experiment import progress, report


class Terminal(io.StringIO):
  """A stream that says it is a terminal."""

  def isatty(self):
    """True."""
    return True


def test_live_line_is_its_text_alone():
  stream = Terminal()
  with progress.Progress(stream) as bars, bars.line("certified") as show:
    show("1 ≤ L ≤ 2")
  assert "certified  1 ≤ L ≤ 2" in stream.getvalue()
  assert "left" not in stream.getvalue() and "0/?" not in stream.getvalue()


def test_bars_show_how_far_they_are():
  stream = Terminal()
  with progress.Progress(stream) as bars, bars.task("training", 10) as bar:
    bar.advance(4)
  assert "training" in stream.getvalue() and "4/10" in stream.getvalue()


def row(name, verdict, why=""):
  return {
    "id": name,
    "source": "Table 1",
    "quantity": "",
    "measured": None if verdict == "not_tested" else 1.0,
    "interval": None,
    "seeds": 1,
    "expected": "one",
    "verdict": verdict,
    "why": why,
  }


def test_claims_that_were_not_tested_are_one_line_a_reason():
  console = Console(file=io.StringIO(), width=120)
  rows = [
    row("a", "reproduced"),
    row("b", "not_tested", "no b."),
    row("c", "not_tested", "no b."),
  ]
  report.print_claims("title", rows, console)
  text = console.file.getvalue()
  assert "not tested: b, c: no b." in text and "3 claims: 1 reproduced, 2 not tested." in text

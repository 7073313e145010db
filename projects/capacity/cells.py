"""The cells of Tables 1 and 2 and of the controls, as data.

A cell is written as the parts that are added to plain cross entropy, "cp+mic" being confidence
penalty with MIC on top. Its last part is tuned on top of the tuned cell of the others, so that
every addition costs the same number of trials.
"""

from typing import NamedTuple

PARTS = {  # part -> the number that is tuned
  "wd": "optimizer.weight_decay",
  "lr": "optimizer.learning_rate",
  "mic": "regulariser.beta",
  "eic": "regulariser.beta",
  "mic_code": "regulariser.beta",
  "eic_code": "regulariser.beta",
  "cp": "penalties.confidence",
  "ls": "penalties.smoothing",
  "vib": "penalties.bottleneck",
}
NUMBERS = tuple(dict.fromkeys(PARTS.values()))

TABLE_1 = ("none", "mic", "eic", "wd", "wd+mic", "wd+eic")
TABLE_2 = tuple(
  f"{base}{addition}"
  for base in ("cp", "ls", "vib")
  for addition in ("", "+wd", "+mic", "+eic")
)
CONTROLS = ("lr", "mic_code", "eic_code", "wd_matched_mic", "wd_matched_eic")
MATCHED = {"wd_matched_mic": "mic", "wd_matched_eic": "eic"}
BASES = ("none", "wd", "cp", "ls", "vib")  # what MIC and EIC are added to

LABELS = {
  "none": "baseline",
  "wd": "WD",
  "mic": "MIC",
  "eic": "EIC",
  "cp": "CP",
  "ls": "LS",
  "vib": "VIB",
  "lr": "baseline, tuned rate",
  "mic_code": "MIC (code)",
  "eic_code": "EIC (code)",
  "wd_matched_mic": "WD, norm of MIC",
  "wd_matched_eic": "WD, norm of EIC",
}


class Group(NamedTuple):
  """What is static in a cell: cells of one group share a compiled program."""

  bottleneck: bool
  regulariser: str
  code: bool


def parts(cell: str) -> tuple[str, ...]:
  """The parts of a cell; () for the baseline."""
  return () if cell == "none" else tuple(cell.split("+"))


def parent(cell: str) -> str:
  """The cell without its last part."""
  return "+".join(parts(cell)[:-1]) or "none"


def added(base: str, addition: str) -> str:
  """The cell with an addition, e.g. ("none", "mic") -> "mic"."""
  return addition if base == "none" else f"{base}+{addition}"


def label(cell: str) -> str:
  """For tables and figures."""
  return LABELS.get(cell) or " + ".join(LABELS[part] for part in parts(cell))


def group(cell: str) -> Group:
  """The compiled program that a cell belongs to."""
  if cell in MATCHED:
    return Group(False, "none", False)
  found = [p for p in parts(cell) if p.startswith(("mic", "eic"))]
  name, _, reading = found[0].partition("_") if found else ("none", "", "")
  return Group("vib" in parts(cell), name, reading == "code")


def tuned(names) -> tuple[str, ...]:
  """The cells with a number to tune, and those that they stand on, parents first."""
  wanted: dict[str, None] = {}
  for name in names:
    for leaf in ("wd", MATCHED[name]) if name in MATCHED else (name,):
      steps = parts(leaf)
      wanted.update(dict.fromkeys("+".join(steps[: i + 1]) for i in range(len(steps))))
  return tuple(wanted)

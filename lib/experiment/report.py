"""From measured results to `results.json`, figures, `report.md` and the table on screen."""

import importlib.metadata
import pathlib
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from lib.experiment import accelerators
from lib.experiment import claims as claims_module

_PACKAGES = ("ansatz", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
WORDS = {
  "reproduced": "reproduced",
  "partly": "partly",
  "not_reproduced": "not reproduced",
  "not_tested": "not tested",
}
_COLOURS = {
  "reproduced": "green",
  "partly": "yellow",
  "not_reproduced": "red",
  "not_tested": "dim",
}


class Figure(NamedTuple):
  """A figure drawn from the measured results alone.

  Attributes:
    name: of the PNG file, without its ending.
    caption: one or two sentences.
    draw: results -> matplotlib figure.
    applies: results -> whether there is anything to draw.
  """

  name: str
  caption: str
  draw: Callable[[Mapping[str, Any]], Any]
  applies: Callable[[Mapping[str, Any]], bool] = lambda results: True


def versions() -> dict[str, str]:
  """Versions of Python, this code and the libraries that decide numbers."""
  found = {"python": platform.python_version()}
  for name in _PACKAGES:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  root = pathlib.Path(__file__).resolve().parents[2]
  git = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
  try:
    commit = subprocess.run(git, capture_output=True, text=True, timeout=5, check=True)
    found["commit"] = commit.stdout.strip()
  except (OSError, subprocess.SubprocessError):
    pass
  return found


def flat_metrics(found: Mapping[str, Any]) -> dict[str, float | int]:
  """Metrics as JSON numbers; one that is not finite is left out with a warning."""
  flat = {}
  for key, value in found.items():
    number = np.asarray(value)
    if number.ndim:
      raise TypeError(f"metric '{key}' is not a single number")
    if not np.isfinite(number):
      logging.warning("metric %s is not finite and left out", key)
      continue
    flat[key] = number.item()
  return flat


def without_times(results: Mapping[str, Any]) -> dict[str, Any]:
  """`results.json` but for what differs between two identical runs.

  That is times, the memory taken, and the commit.
  """
  costs = ("wall_s", "compile_s", "peak_memory")
  kept = {k: v for k, v in results.items() if k not in costs}
  kept["versions"] = {k: v for k, v in results["versions"].items() if k != "commit"}
  kept["metrics"] = {
    key: value
    for key, value in results["metrics"].items()
    if not key.split("/")[0].endswith(("_s", "_per_second"))
  }
  return kept


def draw(directory: pathlib.Path, figures: Sequence[Figure], results) -> list[pathlib.Path]:
  """Draws every figure into `directory/figures`."""
  from lib import plotting

  paths = []
  for figure in figures:
    with plotting.style():
      drawn = figure.draw(results)
      paths.append(plotting.save(drawn, directory / "figures" / f"{figure.name}.png"))
  return paths


def measured_text(row: Mapping[str, Any]) -> str:
  """`0.123 [0.1, 0.15]`, or what stands for it when nothing was measured."""
  if row["measured"] is None:
    return "-"
  text = f"{row['measured']:.4g}"
  if row["interval"] is not None:
    low, high = ("?" if x is None else f"{x:.3g}" for x in row["interval"])
    text += f" [{low}, {high}]"
  return text


def print_claims(title: str, rows: Sequence[Mapping[str, Any]], console) -> None:
  """The claim table; under it those that were not tested, by their reasons."""
  from rich.table import Table
  from rich.text import Text

  table = Table(title=title, title_justify="left", expand=False)
  for column in ("claim", "source", "measured", "seeds", "expected", "verdict"):
    table.add_column(column, overflow="fold")
  untested: dict[str, list[str]] = {}
  for row in rows:
    if row["verdict"] == "not_tested":
      untested.setdefault(row["why"], []).append(row["id"])
      continue
    quantity = f"{row['quantity']}\n" if row["quantity"] else ""
    table.add_row(
      Text(row["id"]),
      Text(row["source"]),
      Text(quantity + measured_text(row)),
      Text(str(row["seeds"])),
      Text(row["expected"]),
      Text(WORDS[row["verdict"]], style=_COLOURS[row["verdict"]]),
    )
  console.print(table)
  for why, names in untested.items():
    console.print(f"not tested: {', '.join(names)}: {why}")
  counts = [f"{n} {WORDS[v]}" for v in claims_module.VERDICTS if (n := _count(rows, v))]
  console.print(f"{len(rows)} claims: {', '.join(counts)}.")


def _count(rows, verdict: str) -> int:
  return sum(row["verdict"] == verdict for row in rows)


def cost(results: Mapping[str, Any]) -> list[str]:
  """Lines on what a run took: seconds, devices, memory."""
  count = len(results["devices"])
  where = f"{count} {results['backend']} device{'s' if count > 1 else ''}"
  lines = [
    f"{results['wall_s']:.1f} s, of which {results['compile_s']:.1f} s compiling",
    f"{where} ({results['devices'][0].rsplit(' ', 1)[0]}), precision {results['precision']}",
  ]
  if results.get("peak_memory"):  # directories of earlier versions have none
    lines.append(accelerators.memory_text(results["peak_memory"]))
  return lines


def markdown(results: Mapping[str, Any], figures: Sequence[Figure], summary: str) -> str:
  """`report.md`: claims with their reasons, figures, metrics, and how it was run."""
  lines = [f"# {results['project']} ({results['preset']})", "", summary, "", "## Claims", ""]
  lines += ["| claim | source | expected | measured | seeds | verdict |", "|---|" + "---|" * 5]
  for row in results["claims"]:
    cells = [
      f"**{row['id']}**: {row['statement']}" + (" *(control)*" if row["control"] else ""),
      row["source"],
      row["expected"],
      f"{row['quantity']} {measured_text(row)}".strip(),
      str(row["seeds"]),
      WORDS[row["verdict"]],
    ]
    lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
  lines += ["", "### Why", ""]
  lines += [f"- **{r['id']}**, {WORDS[r['verdict']]}: {r['why']}" for r in results["claims"]]
  lines += ["", "## Figures", ""]
  for figure in figures:
    lines += [f"![{figure.name}](figures/{figure.name}.png)", "", figure.caption, ""]
  lines += ["## Metrics", "", "| metric | value |", "|---|---|"]
  lines += [f"| {key} | {value:.6g} |" for key, value in results["metrics"].items()]
  lines += ["", "## Run", ""]
  lines += [
    *(f"- {line}" for line in cost(results)),
    f"- {', '.join(f'{k} {v}' for k, v in results['versions'].items())}",
  ]
  return "\n".join(lines) + "\n"

"""The ledger: the claims of finished runs as data, as Markdown and as a page of HTML."""

import base64
import html
import io
import json
import pathlib
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lib.experiment import UserError, configs
from lib.experiment.claims import VERDICTS
from lib.experiment.report import WORDS, measured_text
from projects.__main__ import projects

_TEMPLATE = pathlib.Path(__file__).with_name("ledger.html")


class Run(NamedTuple):
  """A finished run.

  Attributes:
    directory: the run directory.
    results: its `results.json`.
    finished: when that was written, seconds since the epoch.
    changes: keys and values of its config that differ from the preset's.
  """

  directory: pathlib.Path
  results: dict[str, Any]
  finished: float
  changes: dict[str, Any]

  @property
  def project(self) -> str:
    """Name of the project."""
    return self.results["project"]

  @property
  def preset(self) -> str:
    """Name of the preset."""
    return self.results["preset"]

  @property
  def figures(self) -> list[pathlib.Path]:
    """The PNG files, in the order of their names."""
    return sorted((self.directory / "figures").glob("*.png"))

  def count(self, verdict: str, *, control: bool | None = None) -> int:
    """How many claims have the verdict, all or only (not) the controls."""
    return sum(
      row["verdict"] == verdict and control in (None, row["control"])
      for row in self.results["claims"]
    )


def collect(folders: Iterable[str | pathlib.Path]) -> list[Run]:
  """The finished runs in these folders and below, by project and preset.

  Of several runs of a project's preset the one that finished last is taken, among those with
  the preset's own settings if there are any. Sweeps judge no claims and do not count.

  Raises:
    UserError: a folder is not there or has no finished run, or a `results.json` is damaged.
  """
  best: dict[tuple[str, str], Run] = {}
  for folder in map(pathlib.Path, folders):
    if not folder.is_dir():
      raise UserError(f"'{folder}' is not a folder; give run directories or what holds them.")
    files = sorted(folder.rglob("results.json"))
    if not files:
      raise UserError(f"There is no finished run in '{folder}' (no results.json).")
    found = [run for run in map(_load, files) if "sweep" not in run.results]
    if not found:
      raise UserError(f"All runs in '{folder}' are sweeps, which judge no claims.")
    for run in found:
      known = best.get((run.project, run.preset))
      if known is None or _rank(run) > _rank(known):
        best[run.project, run.preset] = run
  return [best[key] for key in sorted(best)]


def _rank(run: Run) -> tuple[bool, float]:
  return not run.changes, run.finished


def _changes(results: Mapping[str, Any]) -> dict[str, Any]:
  """Keys and values of a run's config that are not those of its preset as it is now."""
  try:
    config = configs.load(f"configs/{results['project']}.py:{results['preset']}")
  except UserError:  # a project or preset that is no longer there
    return {}
  preset = configs.flatten(configs.as_json(config))
  own = configs.flatten(results["config"])
  return {key: value for key, value in own.items() if value != preset.get(key, value)}


def _load(file: pathlib.Path) -> Run:
  try:
    results = json.loads(file.read_text("utf-8"))
    for row in results["claims"]:
      if row["verdict"] not in VERDICTS:
        raise ValueError(f"unknown verdict {row['verdict']!r}")
    run = Run(file.parent, results, file.stat().st_mtime, _changes(results))
    _ = run.project, run.preset, results["wall_s"], results["versions"]
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(f"'{file}' is not the results of a run ({error}).") from error
  return run


# --- Markdown --------------------------------------------------------------------------------


def markdown(runs: Sequence[Run]) -> str:
  """The ledger as Markdown: a table of the projects, then the claims of each."""
  lines = ["# The ledger", ""]
  lines += [
    "Each paper's claims, measured. *Reproduced*: the whole 95 % interval is where the claim "
    "says; *not reproduced*: none of it is; *partly*: anything between. Controls are what the "
    "paper lacks. `python -m launch.report` made this page from finished runs.",
    "",
  ]
  lines += [_row(["project", "preset", "claims", *(WORDS[v] for v in VERDICTS), "time"])]
  lines += ["|---|---|" + "---:|" * (len(VERDICTS) + 2)]
  for run in runs:
    counts = [run.count(verdict) for verdict in VERDICTS]
    link = f"[{run.project}](#{_anchor(run)})"
    cells = [link, run.preset, sum(counts), *counts, duration(run.results["wall_s"])]
    lines.append(_row(cells))
  missing = sorted(set(projects()) - {run.project for run in runs})
  if missing:
    lines += ["", f"Not run: {', '.join(missing)}."]
  for run in runs:
    lines += ["", f"## {run.project}, {run.preset}", "", _summary(run), "", _how(run), ""]
    lines += [_row(["claim", "source", "expected", "measured", "seeds", "verdict", "why"])]
    lines += ["|---|---|---|---|---:|---|---|"]
    for row in run.results["claims"]:
      statement = f"**{row['id']}**: {row['statement']}"
      cells = [
        statement + (" *(control)*" if row["control"] else ""),
        row["source"],
        row["expected"],
        f"{row['quantity']} {measured_text(row)}".strip(),
        row["seeds"],
        WORDS[row["verdict"]],
        row["why"],
      ]
      lines.append(_row(cells))
  return "\n".join(lines) + "\n"


def _row(cells) -> str:
  texts = (str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
  return "| " + " | ".join(texts) + " |"


def _anchor(run: Run) -> str:
  return f"{run.project}-{run.preset}".lower()  # what GitHub makes of the heading


def _summary(run: Run) -> str:
  return projects().get(run.project, "")


def _how(run: Run) -> str:
  """How the run was made, in a line."""
  results = run.results
  kept = ("jax", "python", "commit")
  versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items() if k in kept)
  changes = ", ".join(f"{key} = {value}" for key, value in run.changes.items())
  changed = f" Not the preset's own settings: {changes}." if changes else ""
  return (
    f"{duration(results['wall_s'])}, of which {duration(results['compile_s'])} compiling, on "
    f"{len(results['devices'])} {results['backend']} device(s); {versions}.{changed}"
  )


def duration(seconds: float) -> str:
  """Seconds, minutes or hours with two or three digits."""
  for unit, size in (("h", 3600), ("min", 60)):
    if seconds >= 2 * size:
      return f"{seconds / size:.1f} {unit}"
  return f"{seconds:.1f} s"


# --- HTML ------------------------------------------------------------------------------------


def page(runs: Sequence[Run]) -> str:
  """The ledger as one page of HTML that needs no other file.

  Its table of all claims is sorted by a click on a column's head and filtered by text,
  project, verdict and whether it is a control; the figures of the runs follow, inside.
  """
  rows = [_claim_row(run, row) for run in runs for row in run.results["claims"]]
  options = "".join(
    f"<option>{html.escape(name)}</option>" for name in sorted({run.project for run in runs})
  )
  counts = {v: sum(run.count(v) for run in runs) for v in VERDICTS}
  buttons = "".join(
    f'<button type="button" class="{v}" data-verdict="{v}" aria-pressed="true">'
    f"{WORDS[v]} <b>{n}</b></button>"
    for v, n in counts.items()
  )
  return string.Template(_TEMPLATE.read_text("utf-8")).substitute(
    total=len(rows),
    projects=options,
    verdicts=buttons,
    rows="\n".join(rows),
    runs="\n".join(_section(run) for run in runs),
  )


def _claim_row(run: Run, row) -> str:
  def cell(text, sort=None, kind=""):
    attributes = f' class="{kind}"' if kind else ""
    attributes += "" if sort is None else f' data-sort="{sort}"'
    return f"<td{attributes}>{text}</td>"

  escape = html.escape
  measured = row["measured"]
  quantity = f"<small>{escape(row['quantity'])}</small><br>" if row["quantity"] else ""
  cost = run.results["wall_s"]
  cells = [
    cell(
      f'<a href="#{_anchor(run)}">{escape(run.project)}</a><br><small>{run.preset}</small>'
    ),
    cell(f"<b>{escape(row['id'])}</b><br>{escape(row['statement'])}"),
    cell(escape(row["source"])),
    cell(escape(row["expected"])),
    cell(
      quantity + escape(measured_text(row)), "" if measured is None else measured, "number"
    ),
    cell(row["seeds"], row["seeds"], "number"),
    cell(
      f'<span class="verdict {row["verdict"]}">{WORDS[row["verdict"]]}</span>'
      f"<details><summary>why</summary>{escape(row['why'])}</details>",
      VERDICTS.index(row["verdict"]),
    ),
    cell("control" if row["control"] else "claim"),
    cell(duration(cost), cost, "number"),
  ]
  attributes = (
    f'data-project="{escape(run.project)}" data-verdict="{row["verdict"]}" '
    f'data-control="{int(bool(row["control"]))}"'
  )
  return f"<tr {attributes}>{''.join(cells)}</tr>"


def _embedded(path: pathlib.Path) -> str:
  """A figure as a data URL: WebP of at most 1200 pixels, a tenth of the PNG's size."""
  from PIL import Image

  file = io.BytesIO()
  with Image.open(path) as image:
    image.thumbnail((1200, 1200))
    image.convert("RGB").save(file, "WEBP", quality=85)
  return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def _section(run: Run) -> str:
  figures = "".join(
    f'<figure><img alt="{html.escape(path.stem)}" loading="lazy" '
    f'src="{_embedded(path)}">'
    f"<figcaption>{html.escape(path.stem.replace('_', ' '))}</figcaption></figure>"
    for path in run.figures
  )
  title = f"{html.escape(run.project)} <small>{html.escape(run.preset)}</small>"
  return (
    f'<section id="{_anchor(run)}"><h2>{title}</h2><p>{html.escape(_summary(run))}</p>'
    f'<p class="how">{html.escape(_how(run))}</p>'
    f'<div class="figures">{figures}</div></section>'
  )

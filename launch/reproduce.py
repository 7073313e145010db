"""Runs every project and writes the ledger.

    python -m launch.reproduce [--projects=ntk,capacity] [--preset=default] [--jobs=1]
                               [--runs=runs] [--out=runs/LEDGER.md]

Each project runs in a process and a run directory of its own, RUNS/PROJECT_PRESET, with its
output in `log.txt` there. One that fails does not stop the others; the table at the end says
which and why. The same command goes on where an earlier one was ended: what is finished stays.
The ledger is written of what is finished, as Markdown and as a page of HTML.
"""

import pathlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from launch import ledger, report
from launch.command_line import Parser, mistakes_in_one_line
from launch.processes import Ended, Processes
from lib.experiment import UserError
from lib.experiment.accelerators import PRECISION, PRECISIONS
from lib.experiment.errors import did_you_mean
from projects.__main__ import projects


class Outcome(NamedTuple):
  """How a project's run ended."""

  project: str
  directory: pathlib.Path
  ended: Ended


def _chosen(names: str) -> list[str]:
  known = projects()
  if not names:
    return list(known)
  chosen = [name.strip() for name in names.split(",") if name.strip()]
  for name in chosen:
    if name not in known:
      raise UserError(f"There is no project '{name}'.{did_you_mean(name, known)}")
  return chosen


def reproduce(
  processes: Processes,
  chosen: Sequence[str],
  preset: str,
  runs: pathlib.Path,
  jobs: int,
  precision: str,
) -> list[Outcome]:
  """Runs the projects, `jobs` at a time, with one line of progress for all."""
  from rich.console import Console
  from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
  from rich.progress import TimeElapsedColumn as Elapsed

  console = Console(stderr=True)
  columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Elapsed())
  running: set[str] = set()
  with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
    task = progress.add_task("projects", total=len(chosen))

    def one(project: str) -> Outcome:
      folder = runs / f"{project}_{preset}"
      folder.mkdir(parents=True, exist_ok=True)
      running.add(project)
      progress.update(task, description=", ".join(sorted(running)))
      command = ["-m", f"projects.{project}.main", f"--workdir={folder}"]
      command += [f"--config=configs/{project}.py:{preset}", f"--precision={precision}"]
      ended = processes.run(command, folder / "log.txt")
      running.discard(project)
      progress.update(task, advance=1, description=", ".join(sorted(running)) or "done")
      state = "finished" if ended.status == 0 else f"exit status {ended.status}"
      print(f"{project}: {state} after {ledger.duration(ended.seconds)}", flush=True)
      return Outcome(project, folder, ended)

    with ThreadPoolExecutor(jobs) as pool:
      return list(pool.map(one, chosen))


@mistakes_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
  """Parses the command line; 0 when every project finished, 1 otherwise, 2 for mistakes."""
  parser = Parser("launch.reproduce", __doc__)
  parser.add_argument("--projects", default="", help="names with commas (default: all)")
  parser.add_argument("--preset", default="default")
  parser.add_argument("--jobs", type=int, default=1, help="projects at a time (default 1)")
  parser.add_argument("--runs", default="runs", help="folder of the run directories")
  parser.add_argument("--out", help="the ledger (default: LEDGER.md in RUNS)")
  parser.add_argument(
    "--precision",
    choices=tuple(PRECISIONS),
    default=PRECISION,
    help="of products on accelerators",
  )
  options = parser.parse_args(arguments)
  runs = pathlib.Path(options.runs).resolve()
  out = pathlib.Path(options.out) if options.out else runs / "LEDGER.md"
  if options.jobs < 1:
    raise UserError(f"--jobs has to be at least 1, not {options.jobs}.")
  chosen = _chosen(options.projects)
  try:
    runs.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f"Cannot write in '{runs}': {error.strerror}.") from error
  processes = Processes()
  with processes.ended_by_signals():
    outcomes = reproduce(
      processes, chosen, options.preset, runs, options.jobs, options.precision
    )
  finished = [o.directory for o in outcomes if o.ended.status == 0]
  if finished:
    report.write(ledger.collect(finished), out, out.with_suffix(".html"))
    print(f"{len(finished)} of {len(outcomes)} projects: {out}, {out.with_suffix('.html')}")
  failed = [o for o in outcomes if o.ended.status != 0]
  for project, folder, ended in failed:
    print(f"{project}: exit status {ended.status}: {ended.last} ({folder / 'log.txt'})")
  if failed:
    print("The same command runs again what is not finished.")
  return 1 if failed else 0


if __name__ == "__main__":
  sys.exit(main())

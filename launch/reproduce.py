"""Runs every project and writes the ledger.

    python -m launch.reproduce [--projects=ntk,capacity] [--preset=default] [--jobs=1]
                               [--runs=runs] [--out=runs/LEDGER.md]

Each project runs in a process and a run directory of its own, RUNS/PROJECT_PRESET, with its
output in `log.txt` there. One that fails does not stop the others; the table at the end says
which and why. The same command goes on where an earlier one was ended: what is finished stays.
The ledger is written of what is finished, as Markdown and as a page of HTML.
"""

import argparse
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from launch import ledger, report
from lib.experiment import UserError
from lib.experiment.errors import did_you_mean
from projects.__main__ import projects


class Outcome(NamedTuple):
  """How a project's run ended: exit status, seconds, and the last line it wrote."""

  project: str
  status: int
  seconds: float
  last: str


class Runner:
  """Runs projects in processes, and ends them all when asked to."""

  def __init__(self, runs: pathlib.Path, preset: str, extra: Sequence[str] = ()):
    self.runs, self.preset, self.extra = runs, preset, list(extra)
    self._processes: set[subprocess.Popen] = set()
    self._lock = threading.Lock()
    self._stopping = False

  def directory(self, project: str) -> pathlib.Path:
    """The run directory of a project."""
    return self.runs / f"{project}_{self.preset}"

  def run(self, project: str) -> Outcome:
    """Runs a project to its end, with its output in `log.txt`."""
    folder = self.directory(project)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", f"projects.{project}.main", f"--workdir={folder}"]
    command += [f"--config=configs/{project}.py:{self.preset}", *self.extra]
    root = pathlib.Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    started = time.monotonic()
    with (folder / "log.txt").open("wb") as log:
      with self._lock:
        if self._stopping:
          return Outcome(project, 143, 0.0, "not started")
        process = subprocess.Popen(
          command, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        self._processes.add(process)
      status = process.wait()
      with self._lock:
        self._processes.discard(process)
    return Outcome(project, status, time.monotonic() - started, _last(folder / "log.txt"))

  def stop(self) -> None:
    """Asks what is running to save and leave, and starts nothing more."""
    with self._lock:
      self._stopping = True
      for process in self._processes:
        process.send_signal(signal.SIGTERM)


def _last(log: pathlib.Path) -> str:
  lines = log.read_text("utf-8", "replace").strip().splitlines()
  return lines[-1].strip() if lines else ""


def _chosen(names: str) -> list[str]:
  known = projects()
  if not names:
    return list(known)
  chosen = [name.strip() for name in names.split(",") if name.strip()]
  for name in chosen:
    if name not in known:
      raise UserError(f"There is no project '{name}'.{did_you_mean(name, known)}")
  return chosen


@contextlib.contextmanager
def _ended_by_signals(runner: Runner):
  """Ctrl-C and SIGTERM stop the runner for as long as this lasts."""
  numbers = (signal.SIGTERM, signal.SIGINT)
  before = {n: signal.signal(n, lambda *_: runner.stop()) for n in numbers}
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def reproduce(runner: Runner, chosen: Sequence[str], jobs: int) -> list[Outcome]:
  """Runs the projects, `jobs` at a time, with one line of progress for all."""
  from rich.console import Console
  from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
  from rich.progress import TimeElapsedColumn as Elapsed

  console = Console(stderr=True)
  columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Elapsed())
  outcomes: list[Outcome] = []
  running: set[str] = set()
  with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
    task = progress.add_task("projects", total=len(chosen))

    def one(project: str) -> Outcome:
      running.add(project)
      progress.update(task, description=", ".join(sorted(running)))
      outcome = runner.run(project)
      running.discard(project)
      progress.update(task, advance=1, description=", ".join(sorted(running)) or "done")
      state = "finished" if outcome.status == 0 else f"exit status {outcome.status}"
      print(f"{project}: {state} after {ledger.duration(outcome.seconds)}", flush=True)
      return outcome

    with ThreadPoolExecutor(jobs) as pool:
      outcomes = list(pool.map(one, chosen))
  return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
  """Parses the command line; 0 when every project finished, 1 otherwise, 2 for mistakes."""
  parser = argparse.ArgumentParser(
    prog="python -m launch.reproduce",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("--projects", default="", help="names with commas (default: all)")
  parser.add_argument("--preset", default="default")
  parser.add_argument("--jobs", type=int, default=1, help="projects at a time (default 1)")
  parser.add_argument("--runs", default="runs", help="folder of the run directories")
  parser.add_argument("--out", help="the ledger (default: LEDGER.md in RUNS)")
  options = parser.parse_args(arguments)
  runs = pathlib.Path(options.runs).resolve()
  out = pathlib.Path(options.out) if options.out else runs / "LEDGER.md"
  try:
    if options.jobs < 1:
      raise UserError(f"--jobs has to be at least 1, not {options.jobs}.")
    chosen = _chosen(options.projects)
    runner = Runner(runs, options.preset)
    with _ended_by_signals(runner):
      outcomes = reproduce(runner, chosen, options.jobs)
    finished = [o.project for o in outcomes if o.status == 0]
    if finished:
      report.write(
        ledger.collect(map(runner.directory, finished)), out, out.with_suffix(".html")
      )
      print(f"{len(finished)} of {len(outcomes)} projects: {out}, {out.with_suffix('.html')}")
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  except OSError as error:
    print(f"error: cannot write '{error.filename}': {error.strerror}.", file=sys.stderr)
    return 2
  failed = [o for o in outcomes if o.status != 0]
  for outcome in failed:
    log = runner.directory(outcome.project) / "log.txt"
    print(f"{outcome.project}: exit status {outcome.status}: {outcome.last} ({log})")
  if failed:
    print("The same command runs again what is not finished.")
  return 1 if failed else 0


if __name__ == "__main__":
  sys.exit(main())

"""Kills runs at random moments and compares what the resumed ones end with.

    python -m benchmarks.killed_runs [PROJECT ...] [--kills=4] [--preset=smoke] [--seed=0]

For every project (by default all): one undisturbed run, then `--kills` runs that get SIGKILL
at a moment drawn uniformly from the time a run takes, and are started again with the same
command. Each has to end with the same `results.json`, apart from times and memory. A run that
ends before its moment shows how long a run takes by now (its programs are compiled) and does
not count; another one takes its place. Exits with 1 if a result differs.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

from lib.experiment import report
from projects.__main__ import projects

ROOT = pathlib.Path(__file__).resolve().parents[1]


def start(project: str, preset: str, folder: pathlib.Path) -> subprocess.Popen:
  """A run of the project in a process group of its own."""
  command = [sys.executable, "-m", f"projects.{project}.main", f"--workdir={folder}"]
  command += [f"--config=configs/{project}.py:{preset}", "--checkpoint_every_s=0"]
  return subprocess.Popen(
    command,
    cwd=ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
  )


def finish(process: subprocess.Popen) -> None:
  """Waits for a run that has to succeed."""
  _, error = process.communicate()
  if process.returncode:
    raise SystemExit(f"exit status {process.returncode}: {error.decode().strip()}")


def outcome(folder: pathlib.Path) -> dict:
  """The run's results but for what may differ between two runs."""
  return report.without_times(json.loads((folder / "results.json").read_text("utf-8")))


def main() -> None:
  """Prints a line a kill."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("projects", nargs="*")
  parser.add_argument("--kills", type=int, default=4)
  parser.add_argument("--preset", default="smoke")
  parser.add_argument("--seed", type=int, default=0)
  options = parser.parse_args()
  draw = random.Random(options.seed)
  different = 0
  for project in options.projects or projects():
    with tempfile.TemporaryDirectory() as place:
      base = pathlib.Path(place)
      started = time.monotonic()
      finish(start(project, options.preset, base / "whole"))
      took = time.monotonic() - started
      expected = outcome(base / "whole")
      killed = 0
      while killed < options.kills:
        folder = pathlib.Path(tempfile.mkdtemp(dir=place))
        moment, started = draw.uniform(0, took), time.monotonic()
        process = start(project, options.preset, folder)
        try:
          process.communicate(timeout=moment)
          took = min(took, time.monotonic() - started)
        except subprocess.TimeoutExpired:
          process.kill()
          process.communicate()
          finish(start(project, options.preset, folder))
          killed += 1
        same = outcome(folder) == expected
        different += not same
        state = f"killed after {moment:.1f} of {took:.1f} s" if process.returncode else "whole"
        print(f"{project}: {state}: {'the same' if same else 'DIFFERENT'}", flush=True)
  sys.exit(bool(different))


if __name__ == "__main__":
  main()

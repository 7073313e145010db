"""Kills runs at random moments and compares what the resumed ones end with.

    python -m benchmarks.killed_runs [PROJECT ...] [--kills=4] [--preset=smoke] [--seed=0]

For every project (by default all): one undisturbed run, then `--kills` runs that get SIGKILL
at a moment drawn uniformly from the time the first one took, and are started again with the
same command. Each has to end with the same `results.json`, apart from times. Exits with 1 if
one does not.
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
      for number in range(options.kills):
        folder = base / str(number)
        moment = draw.uniform(0, took)
        process = start(project, options.preset, folder)
        try:
          process.wait(moment)
          state = "had ended"
        except subprocess.TimeoutExpired:
          process.kill()
          process.wait()
          state = "killed"
        process.stderr.close()
        finish(start(project, options.preset, folder))
        same = outcome(folder) == expected
        different += not same
        verdict = "the same" if same else "DIFFERENT"
        print(f"{project}: {state} after {moment:.1f} of {took:.1f} s: {verdict}", flush=True)
  sys.exit(bool(different))


if __name__ == "__main__":
  main()

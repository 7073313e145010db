"""Many seeds as one program against as many processes, and the same on eight devices.

    python -m benchmarks.seeds_sweep [PROJECT ...] [--seeds=64] [--processes=8] [--devices=8]

For every project (by default ntk and capacity): `--sweep=seed=0:SEEDS` of its default config
in one process, against processes with a seed each, as many at a time as there are cores, each
on one device. Times are from the shell to the results. Every program has been run before, so
that the processes, which would each compile it again, find it in the cache on disk. Of the
processes the first few are run, and the time of all follows from theirs, which hardly differ.
Then the sweep is run again with the CPU divided into more devices, and both tables of members
are compared with each other and with what the processes found.
"""

import argparse
import csv
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[1]


def sweep(project: str, folder: pathlib.Path, seeds: str, *flags: str) -> float:
  """Runs a sweep over seeds in a process of its own; seconds."""
  command = [sys.executable, "-m", f"projects.{project}.main", f"--workdir={folder}"]
  command += [f"--config=configs/{project}.py", f"--sweep=seed={seeds}", *flags]
  started = time.perf_counter()
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  if done.returncode:
    raise SystemExit(done.stderr)
  return time.perf_counter() - started


def members(folder: pathlib.Path) -> dict[int, dict[str, float]]:
  """Seed -> its numbers."""
  with (folder / "sweep.csv").open(encoding="utf-8", newline="") as file:
    rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
  return {int(row.pop("seed")): row for row in rows}


def difference(ours: dict, theirs: dict) -> str:
  """How two tables of members compare, on the seeds that both have."""
  pairs = [
    (ours[seed][key], theirs[seed][key])
    for seed in ours.keys() & theirs.keys()
    for key in ours[seed]
  ]
  different = sum(a != b for a, b in pairs)
  if not different:
    return f"all {len(pairs)} numbers identical"
  largest = max(abs(a - b) / max(abs(a), abs(b)) for a, b in pairs if a != b)
  return f"{different} of {len(pairs)} numbers differ, by {largest:.1e} of their size at most"


def measure(
  project: str, seeds: int, processes: int, devices: int, base: pathlib.Path
) -> None:
  """Prints the lines of a project."""
  cores = os.cpu_count()
  every = f"0:{seeds}"
  divided = f"--devices={devices}"
  # Compiles everything, so that nothing below does.
  sweep(project, base / "first", every)
  sweep(project, base / "first_one", "0", "--devices=1")
  sweep(project, base / "first_divided", every, divided)

  one = min(sweep(project, base / f"one_{i}", every) for i in range(3))
  started = time.perf_counter()
  with ThreadPoolExecutor(cores) as pool:
    alone = [base / f"alone_{seed}" for seed in range(processes)]
    list(pool.map(lambda i: sweep(project, alone[i], str(i), "--devices=1"), range(processes)))
  some = time.perf_counter() - started
  all_of_them = some * seeds / processes
  print(
    f"{project}: {seeds} seeds as one program {one:.1f} s; {processes} processes, {cores} "
    f"at a time, {some:.1f} s, so {seeds} take {all_of_them:.0f} s: {all_of_them / one:.1f} x",
    flush=True,
  )

  wide = sweep(project, base / "divided", every, divided)
  found = members(base / "one_0")
  separate = {k: v for folder in alone for k, v in members(folder).items()}
  print(
    f"{project}: on {devices} devices {wide:.1f} s; against {cores}: "
    f"{difference(found, members(base / 'divided'))}; against a process each: "
    f"{difference(found, separate)}",
    flush=True,
  )


def main() -> None:
  """Prints two lines for each project."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("projects", nargs="*", default=["ntk", "capacity"])
  parser.add_argument("--seeds", type=int, default=64)
  parser.add_argument("--processes", type=int, default=8)
  parser.add_argument("--devices", type=int, default=8)
  options = parser.parse_args()
  for project in options.projects:
    with tempfile.TemporaryDirectory() as folder:
      measure(project, options.seeds, options.processes, options.devices, pathlib.Path(folder))


if __name__ == "__main__":
  main()

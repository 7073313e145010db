"""Seconds from the shell to the first steps, with a cold and a warm compilation cache.

  python benchmarks/startup.py [PROJECT ...]

Starts `python -m projects.PROJECT.main` with the smoke preset in a process of its own and
waits for the first line of `metrics.jsonl`, which is written after the first compiled chunk
of steps. The first start of each project has an empty compilation cache, the others find it
filled; the best of three warm starts is shown.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def first_step_s(project: str, folder: pathlib.Path, cache: pathlib.Path) -> float:
  """Starts a run, waits for its first metrics, and ends it."""
  command = [sys.executable, "-m", f"projects.{project}.main"]
  command += [f"--config=configs/{project}.py:smoke", f"--workdir={folder}"]
  environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)}
  started = time.perf_counter()
  process = subprocess.Popen(
    command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
  )
  try:
    while not (folder / "metrics.jsonl").exists():
      if process.poll() is not None:
        raise SystemExit(process.stderr.read().decode())
      time.sleep(0.005)
    first = time.perf_counter() - started
    process.wait()  # lets it fill the cache
    return first
  finally:
    process.kill()


def main() -> None:
  """Prints a line for each project."""
  for project in sys.argv[1:] or ["ntk", "capacity"]:
    with tempfile.TemporaryDirectory() as folder:
      base = pathlib.Path(folder)
      times = [first_step_s(project, base / str(i), base / "cache") for i in range(4)]
    print(
      f"{project}: cold cache {times[0]:.1f} s, warm cache {min(times[1:]):.1f} s", flush=True
    )


if __name__ == "__main__":
  main()

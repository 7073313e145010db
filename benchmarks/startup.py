"""Seconds from the shell to the first steps, to the help, and to the imported library.

    python -m benchmarks.startup first [PROJECT ...]
    python -m benchmarks.startup help
    python -m benchmarks.startup import

`first` starts `python -m projects.PROJECT.main` (by default ntk and capacity) with the smoke
preset in a process of its own and waits for the first line of `metrics.jsonl`, which is
written after the first compiled chunk of steps. The first start of each project has an empty
compilation cache, the others find it filled; the best of three warm starts is shown. `help`
is the best of three of every command's `--help`. `import` is what all subjects of `lib` take
to import when JAX has been imported already, and what JAX takes.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from projects.__main__ import projects

ROOT = pathlib.Path(__file__).resolve().parents[1]
IMPORT = """
import time
start = time.perf_counter()
import jax, jax.numpy
middle = time.perf_counter()
import {subjects}
end = time.perf_counter()
print(middle - start, end - middle)
"""


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


def run(*arguments: str) -> tuple[float, str]:
  """Best of three: seconds of `python ARGUMENTS`, and its output."""
  times, out = [], ""
  for _ in range(3):
    started = time.perf_counter()
    command = [sys.executable, *arguments]
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    times.append(time.perf_counter() - started)
  return min(times), out


def measure_first(names: list[str]) -> None:
  """Prints a line for each project."""
  for project in names or ["ntk", "capacity"]:
    with tempfile.TemporaryDirectory() as folder:
      base = pathlib.Path(folder)
      times = [first_step_s(project, base / str(i), base / "cache") for i in range(4)]
    print(
      f"{project}: cold cache {times[0]:.1f} s, warm cache {min(times[1:]):.1f} s", flush=True
    )


def measure_help() -> None:
  """Prints a line for each command."""
  names = sorted(path.stem for path in (ROOT / "launch").glob("*.py"))
  sources = {name: (ROOT / "launch" / f"{name}.py").read_text("utf-8") for name in names}
  commands = [[f"projects.{name}.main", "--help"] for name in sorted(projects())]
  commands += [[f"launch.{n}", "--help"] for n in names if '"__main__":' in sources[n]]
  for command in [["projects"], *commands]:
    print(f"{run('-m', *command)[0]:.2f} s: python -m {' '.join(command)}", flush=True)


def measure_import() -> None:
  """Prints a line for JAX and one for the library."""
  folders = sorted(path.parent.name for path in (ROOT / "lib").glob("*/__init__.py"))
  code = IMPORT.format(subjects=", ".join(f"lib.{name}" for name in folders))
  found = [tuple(map(float, run("-c", code)[1].split())) for _ in range(3)]
  print(f"JAX {min(jax for jax, _ in found):.2f} s")
  print(f"all {len(folders)} subjects of lib beyond it {min(own for _, own in found):.2f} s")


def main() -> None:
  """Prints what was asked for."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("what", choices=("first", "help", "import"))
  parser.add_argument("projects", nargs="*")
  options = parser.parse_args()
  if options.what == "first":
    measure_first(options.projects)
  elif options.what == "help":
    measure_help()
  else:
    measure_import()


if __name__ == "__main__":
  main()

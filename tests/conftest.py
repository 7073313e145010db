"""What the tests share."""

import fcntl
import json
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple

import pytest

# Compiling is most of the suite's time: tests in this process keep and find compiled programs
# where the commands that they start do. It is set before JAX is imported.
_CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE / "ansatz" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

from lib.experiment import claims, report  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def pytest_collection_modifyitems(items):
  """Skips what needs the development data where it is not there."""
  if SHARED.is_dir():
    return
  for item in items:
    if "shared" in item.keywords:
      item.add_marker(pytest.mark.skip(reason="needs the development data in ../shared"))


class CommandLine:
  """Runs the repository's commands in processes of their own."""

  def environment(self, **extra):
    """This environment, one device, and a compilation cache shared by the tests."""
    return {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), **extra}

  def start(self, *arguments, prefix=(), **extra):
    """A running process with its output captured; `prefix` is a command that starts it."""
    return subprocess.Popen(
      [*prefix, sys.executable, *map(str, arguments)],
      cwd=ROOT,
      env=self.environment(**extra),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  def run(self, *arguments, timeout=300, **extra):
    """A finished process: returncode, stdout, stderr."""
    process = self.start(*arguments, **extra)
    out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def without_times(path):
  """results.json without what may differ between two identical runs."""
  return report.without_times(json.loads(pathlib.Path(path).read_text()))


@pytest.fixture
def command():
  """Runs the repository's commands."""
  return CommandLine()


class Smoke(NamedTuple):
  """A finished smoke run that nothing disturbed: its directory, and what it printed."""

  workdir: pathlib.Path
  output: str


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
  """name of a project -> its `Smoke`, run once for all tests of all workers."""
  base = tmp_path_factory.getbasetemp()
  if os.environ.get("PYTEST_XDIST_WORKER"):  # which has a folder of its own in there
    base = base.parent

  def run(name):
    workdir, printed = base / f"smoke_{name}", base / f"smoke_{name}.txt"
    with open(base / f"smoke_{name}.lock", "w") as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)
      if not printed.exists():
        config = f"--config=configs/{name}.py:smoke"
        done = CommandLine().run("-m", f"projects.{name}.main", config, f"--workdir={workdir}")
        assert done.returncode == 0, done.stderr
        printed.write_text(done.stdout)
    return Smoke(workdir, printed.read_text())

  return run


@pytest.fixture
def comparable():
  """results.json without times, for comparing runs."""
  return without_times


@pytest.fixture(scope="session")
def both_ways():
  """`both_ways(claim, good, bad)`: good results reproduce a claim, and bad ones do not."""

  def decide(claim, good, bad, not_run=None):
    found = claim.check(good), claim.check(bad)
    wanted = (claims.REPRODUCED, claims.NOT_REPRODUCED)
    if claim.id == not_run:
      wanted = (claims.NOT_TESTED, claims.NOT_TESTED)
    assert tuple(x.verdict for x in found) == wanted, [x.why for x in found]

  return decide

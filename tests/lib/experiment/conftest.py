"""The toy project of these tests, as the shell starts it, and a finished run of it."""

import pathlib
import time

import pytest

from tests.conftest import CommandLine

TOY = pathlib.Path(__file__).parent / "toy"
MAIN = (TOY / "main.py", f"--config={TOY / 'config.py'}")
SLOW = (TOY / "main.py", f"--config={TOY / 'config.py'}:slow", "--checkpoint_every_s=0")


def wait_for(condition, process, seconds=120):
  """Waits until a running process has made the condition true."""
  deadline = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, process.communicate()
    assert time.monotonic() < deadline, "the run did not get there"
    time.sleep(0.02)


def written(workdir):
  """Lines of a run's metrics: one for each compiled chunk of steps."""
  file = workdir / "metrics.jsonl"
  return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
  """A finished slow run that nothing disturbed."""
  workdir = tmp_path_factory.mktemp("finished")
  done = CommandLine().run(*SLOW, f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  return workdir

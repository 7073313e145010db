"""What the surroundings do to a run: disks, clocks, data, memory."""

import json
import os
import shutil
import signal
import subprocess
import time

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from lib.experiment import Context, Program, UserError, members, progress, rundir
from tests.conftest import ROOT
from tests.lib.experiment.conftest import MAIN, SLOW, wait_for, written

pytestmark = pytest.mark.xdist_group("toy")  # they share a finished run

# Changes the calendar by up to ten days either way every time somebody looks at it.
JUMPING_CLOCK = """
import itertools, time
real, days = time.time, itertools.cycle((0, 3, -7, 10, -1, 2))
time.time = lambda: real() + 86400 * next(days)
time.time_ns = lambda: int(1e9 * time.time())
"""

# A sweep whose members take 1 GiB at once, in a process that may have a little less.
LITTLE_MEMORY = """
import pathlib, resource, sys
import jax, jax.numpy as jnp
from absl import logging
from ml_collections import ConfigDict
from lib.experiment import Context, Program

size = 2**20

def step(config, operands, state):
  return 0.5 * state + config.seed, {}

program = Program(
  init=lambda config, operands: jnp.full(size, 1.0 * config.seed),
  step=step,
  finish=lambda config, operands, state, history: {"last": state[-1]},
  steps=lambda config: 2,
)
logging.set_verbosity(logging.WARNING)
ctx = Context(sys.argv[1], memory_gb=100)
config = ConfigDict({"seed": 0})
ctx.members("warm", program, config, (), {"seed": range(4)})
status = pathlib.Path("/proc/self/status").read_text()
taken = 1024 * int(status.split("VmSize:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_AS, (taken + 15 * 2**26, resource.RLIM_INFINITY))
found = ctx.members("sweep", program, config, (), {"seed": range(256)})
print(abs(found["last"] - [s / 4 + 1.5 * s for s in range(256)]).max())
"""


class Closed:
  """Directories closed for writing, and what makes root mind that."""

  def __init__(self):
    self.prefix, self._closed = (), []
    if os.geteuid() == 0:  # mode bits do not hold root, unless it gives up this capability
      self.prefix = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")
      try:
        subprocess.run([*self.prefix, "true"], check=True, capture_output=True)
      except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs setpriv, to have root mind mode bits")

  def close(self, folder):
    """Makes a directory and all below it read-only."""
    for path in [folder, *(p for p in folder.rglob("*") if p.is_dir())]:
      self._closed.append((path, path.stat().st_mode))
      path.chmod(0o555)

  def open(self):
    """Undoes it."""
    while self._closed:
      path, mode = self._closed.pop()
      path.chmod(mode)


@pytest.fixture
def closed():
  """Closes directories, and opens them again in the end."""
  made = Closed()
  yield made
  made.open()


def test_read_only_directories_end_in_one_sentence(command, closed, finished, tmp_path):
  copy, empty = tmp_path / "finished", tmp_path / "empty"
  shutil.copytree(finished, copy)
  empty.mkdir()
  closed.close(tmp_path)
  for folder in (copy, empty, tmp_path / "new"):
    done = command.run(*SLOW, f"--workdir={folder}", prefix=closed.prefix)
    assert done.returncode == 2, done.stderr
    words = "Cannot write to the run directory", "cannot be written"
    assert f"'{folder}" in done.stderr and any(w in done.stderr for w in words)
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_directory_that_becomes_read_only_loses_nothing(
  command, comparable, closed, finished, tmp_path
):
  folder = tmp_path / "run"
  process = command.start(*SLOW, f"--workdir={folder}", prefix=closed.prefix)
  wait_for(lambda: written(folder) >= 4, process)
  process.send_signal(signal.SIGSTOP)  # so that no directory is made meanwhile
  closed.close(folder)
  process.send_signal(signal.SIGCONT)
  _, err = process.communicate(timeout=60)
  assert process.returncode == 2, err
  last = err.strip().splitlines()[-1]  # stopped inside orbax, that has something to say too
  assert last.startswith("error:")
  assert "cannot be written; what was written before is kept" in last
  closed.open()
  done = command.run(*SLOW, f"--workdir={folder}")
  assert done.returncode == 0, done.stderr
  assert comparable(folder / "results.json") == comparable(finished / "results.json")


def test_a_clock_that_jumps_changes_nothing(command, comparable, finished, tmp_path):
  (tmp_path / "sitecustomize.py").write_text(JUMPING_CLOCK)
  folder, started = tmp_path / "run", time.monotonic()
  done = command.run(
    *SLOW,
    "--checkpoint_every_s=0.2",
    f"--workdir={folder}",
    PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]),
  )
  took = time.monotonic() - started
  assert done.returncode == 0, done.stderr
  results = json.loads((folder / "results.json").read_text())
  assert 0 < results["compile_s"] < results["wall_s"] < took
  assert comparable(folder / "results.json") == comparable(finished / "results.json")


def test_compile_time_is_no_longer_than_the_time_that_passed():
  clock = progress.Clock()
  for duration in (3600.0, -3600.0, 0.0):
    clock._listen("/jax/core/compile/backend_compile_duration", duration)
  assert 0 <= clock.compile_s <= clock.wall_s
  clock._heard -= 5.0  # five seconds of silence, two of them compiling
  clock._listen("/jax/core/compile/backend_compile_duration", 2.0)
  assert clock.compile_s == pytest.approx(2.0, abs=0.1)


def test_nan_in_the_data_is_found_before_anything_runs(tmp_path):
  program = Program.once(lambda config, operands: {"sum": jnp.sum(operands["images"])})
  images = np.ones((4, 3), np.float32)
  images[2, 1:] = np.nan
  data = {"labels": np.arange(4), "images": images}
  with pytest.raises(UserError, match=r"\(images\).*hold 2 NaN, the first at \(2, 1\)"):
    Context(tmp_path).members("sum", program, ConfigDict({"seed": 0}), data, {"seed": [0]})
  data["images"] = jnp.asarray(np.nan_to_num(images, nan=np.inf))  # a bound may be infinite
  found = Context(tmp_path).members(
    "sum", program, ConfigDict({"seed": 0}), data, {"seed": [0]}
  )
  assert np.isinf(found["sum"]).all()


def test_out_of_memory_in_a_sweep_goes_on_in_smaller_batches(command, tmp_path):
  done = command.run("-c", LITTLE_MEMORY, tmp_path, MALLOC_ARENA_MAX="1")
  assert done.returncode == 0, done.stderr
  assert "sweep: out of memory; going on in batches of" in done.stderr
  plan = json.loads((tmp_path / "checkpoints" / "sweep" / "plan.json").read_text())
  assert plan["batch"] < 256
  assert float(done.stdout) == 0.0


@pytest.mark.parametrize(
  "error", [MemoryError(), RuntimeError("INTERNAL: Out of memory allocating")]
)
def test_what_counts_as_out_of_memory(error):
  assert members._out_of_memory(error)
  assert not members._out_of_memory(RuntimeError("INTERNAL: something else"))


def test_precision_belongs_to_the_directory(command, finished):
  results = json.loads((finished / "results.json").read_text())
  assert results["precision"] == "highest"
  done = command.run(*SLOW, f"--workdir={finished}", "--precision=high")
  assert done.returncode == 2
  assert "--precision was highest, now high" in done.stderr
  done = command.run(*MAIN, "--precision=double")
  assert done.returncode == 2 and "should be one of" in done.stderr


def test_directories_made_before_a_key_was_recorded_go_on(tmp_path):
  with rundir.RunDirectory(tmp_path, {"seed": 0}):
    pass
  earlier = {"--precision": "highest"}
  with rundir.RunDirectory(tmp_path, {"seed": 0, "--precision": "highest"}, earlier):
    pass
  with pytest.raises(UserError, match="--precision was highest, now high"):
    rundir.RunDirectory(tmp_path, {"seed": 0, "--precision": "high"}, earlier)


def test_precision_reaches_the_compiled_program(command, tmp_path):
  """The toy has no product, so the setting itself is looked at, where a run makes it."""
  code = (
    "import sys, jax, jax.numpy as jnp; from lib.experiment import entry; "
    "entry._configure_jax(None, sys.argv[1]); x = jnp.ones((2, 2)); "
    "print(jax.jit(lambda x: x @ x).lower(x).as_text())"
  )
  texts = {p: command.run("-c", code, p).stdout for p in ("default", "high", "highest")}
  assert "precision = [HIGHEST, HIGHEST]" in texts["highest"]
  assert "precision = [HIGH, HIGH]" in texts["high"]
  assert "HIGH" not in texts["default"] and "dot_general" in texts["default"]


def test_peak_memory_is_told(finished):
  results = json.loads((finished / "results.json").read_text())
  peak = results["peak_memory"]
  assert 0.1 < peak["host_gib"] < 10 and peak["devices_gib"] is None
  report = (finished / "report.md").read_text()
  assert f"peak memory: {peak['host_gib']:.2f} GiB of the host" in report


def test_a_platform_that_is_not_there_ends_in_one_sentence(command, tmp_path):
  done = command.run(*MAIN, f"--workdir={tmp_path}", JAX_PLATFORMS="cuda")
  assert done.returncode == 2, done.stderr
  assert "JAX finds no device on the platform 'cuda'" in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1

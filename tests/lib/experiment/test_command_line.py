"""The entry point as a user meets it: in a process of its own."""

import csv
import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.lib.experiment.conftest import MAIN, SLOW, TOY, wait_for, written

pytestmark = pytest.mark.xdist_group("toy")  # they share a finished run


def test_run_leaves_everything(finished):
  results = json.loads((finished / "results.json").read_text())
  assert results["project"] == "toy" and results["preset"] == "slow"
  assert results["claims"][0]["verdict"] == "partly"  # one seed: no interval
  assert results["claims"][0]["seeds"] == 1
  assert 0 < results["compile_s"] < results["wall_s"]
  assert results["versions"]["jax"] and results["backend"] == "cpu"
  assert (finished / "figures" / "loss.png").read_bytes()[:4] == b"\x89PNG"
  assert "| **converges**" in (finished / "report.md").read_text()
  rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
  assert [r["step"] for r in rows if r["stage"] == "first"] == list(range(10, 101, 10))
  assert list((finished / "tensorboard").iterdir())


@pytest.mark.parametrize("lines", [3, 14])
def test_killed_run_resumes_to_the_identical_end(
  command, comparable, finished, tmp_path, lines
):
  process = command.start(*SLOW, f"--workdir={tmp_path}")
  wait_for(lambda: written(tmp_path) >= lines, process)
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert not (tmp_path / "results.json").exists()
  done = command.run(*SLOW, f"--workdir={tmp_path}")
  assert done.returncode == 0, done.stderr
  assert comparable(tmp_path / "results.json") == comparable(finished / "results.json")
  with (
    np.load(tmp_path / "measured.npz") as ours,
    np.load(finished / "measured.npz") as theirs,
  ):
    for name in theirs.files:
      np.testing.assert_array_equal(ours[name], theirs[name])
  assert (tmp_path / "metrics.jsonl").read_text() == (finished / "metrics.jsonl").read_text()


def test_sigterm_saves_and_leaves(command, comparable, finished, tmp_path):
  arguments = [a for a in SLOW if "checkpoint_every" not in str(a)]  # no periodic checkpoint
  process = command.start(*arguments, f"--workdir={tmp_path}")
  wait_for(lambda: written(tmp_path) >= 3, process)
  process.send_signal(signal.SIGTERM)
  _, err = process.communicate(timeout=60)
  assert process.returncode == 143
  assert "Stopped by SIGTERM" in err and "Traceback" not in err
  assert list(tmp_path.glob("checkpoints/first/steps_*/step_*.json"))
  done = command.run(*arguments, f"--workdir={tmp_path}")
  assert done.returncode == 0, done.stderr
  assert comparable(tmp_path / "results.json") == comparable(finished / "results.json")


def test_damaged_newest_checkpoint_is_skipped(command, comparable, finished, tmp_path):
  process = command.start(*SLOW, f"--workdir={tmp_path}")
  wait_for(lambda: written(tmp_path) >= 6, process)
  process.send_signal(signal.SIGKILL)
  process.wait()
  manifests = sorted(tmp_path.glob("checkpoints/first/steps_*/step_*.json"))
  assert len(manifests) >= 2
  folder = manifests[-1].with_suffix("")
  largest = max((f for f in folder.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
  os.truncate(largest, largest.stat().st_size // 2)
  done = command.run(*SLOW, f"--workdir={tmp_path}")
  assert done.returncode == 0, done.stderr
  assert "is skipped" in done.stderr and folder.name in done.stderr
  assert comparable(tmp_path / "results.json") == comparable(finished / "results.json")


def test_finished_run_is_not_run_again(command, comparable, finished):
  before = comparable(finished / "results.json")
  started = time.monotonic()
  done = command.run(*SLOW, f"--workdir={finished}")
  assert done.returncode == 0, done.stderr
  assert "reading" not in done.stderr
  assert comparable(finished / "results.json") == before
  assert time.monotonic() - started < 60


def test_second_run_on_a_directory_is_refused(command, tmp_path):
  first = command.start(*SLOW, f"--workdir={tmp_path}")
  wait_for(lambda: (tmp_path / "config.json").exists(), first)
  second = command.run(*SLOW, f"--workdir={tmp_path}")
  first.kill()
  first.communicate()
  assert second.returncode == 2
  assert "Another process is running" in second.stderr


def test_full_disk(command, tmp_path):
  disk = tmp_path / "disk"
  disk.mkdir()
  mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
  try:
    mounted = subprocess.run(mount, capture_output=True).returncode == 0
  except FileNotFoundError:
    mounted = False
  if not mounted:
    pytest.skip("mounting a small tmpfs needs root")
  try:
    arguments = ("--config.width=6000", "--config.seeds=2")
    done = command.run(*SLOW, *arguments, f"--workdir={disk / 'run'}")
    assert done.returncode == 2, done.stderr
    assert "No space left" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert json.loads((disk / "run" / "config.json").read_text())["width"] == 6000
    subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
    again = command.run(*SLOW, *arguments, f"--workdir={disk / 'run'}")
    assert again.returncode == 0, again.stderr
  finally:
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    (("--config.sede=1",), "no key 'sede'. Did you mean 'seed'?"),
    (("--config.steps=many",), "'steps' takes an integer, not 'many'"),
    (("--config.step_size=-1",), "step_size has to be positive"),
    (("--sweep=step_size=0.1,-1",), "step_size has to be positive"),
    (("--config.noise",), "has no value"),
    (("--sweep=noize=1,2",), "no key 'noize'. Did you mean 'noise'?"),
    (("--sweep=noise",), "has no values"),
    (("--sweep=seed=0:4:0",), "is not a range"),
    (("--sweep=seed=0,1", "--sweep=seed=2"), "swept twice"),
    (("--workdir=/proc/run",), "Cannot write to the run directory"),
    (("--wrokdir=x",), "Did you mean 'workdir'?"),
    (("--only=nothing",), "should be one of"),
    (("stray",), "'stray' is not a flag"),
    (("--only=report",), "no finished run"),
  ],
)
def test_mistakes_end_in_one_sentence(command, tmp_path, arguments, words):
  workdir = () if any("workdir" in a for a in arguments) else (f"--workdir={tmp_path / 'r'}",)
  done = command.run(*MAIN, *arguments, *workdir)
  assert done.returncode == 2
  assert words in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1


def test_unknown_preset_and_config(command):
  done = command.run(TOY / "main.py", f"--config={TOY / 'config.py'}:smok")
  assert done.returncode == 2 and "Did you mean 'smoke'?" in done.stderr
  done = command.run(TOY / "main.py", "--config=nowhere.py")
  assert done.returncode == 2 and "no config file 'nowhere.py'" in done.stderr


def test_other_config_is_refused(command, finished):
  done = command.run(*SLOW, f"--workdir={finished}", "--config.noise=0.3")
  assert done.returncode == 2
  assert "noise was 0.1, now 0.3" in done.stderr


def test_non_finite_loss_names_step_and_checkpoint(command, tmp_path):
  # |1 - step_size| = 3.2: the loss grows tenfold a step and leaves float32 near step 38.
  done = command.run(
    *MAIN, "--config.step_size=4.2", f"--workdir={tmp_path}", "--checkpoint_every_s=0"
  )
  assert done.returncode == 2
  assert "loss is not finite at step 3" in done.stderr
  assert f"last good checkpoint is '{tmp_path}/checkpoints/first" in done.stderr
  assert "step_00000030" in done.stderr


def test_report_can_be_made_again(command, comparable, finished):
  before = comparable(finished / "results.json")
  (finished / "figures" / "loss.png").unlink()
  done = command.run(*SLOW, f"--workdir={finished}", "--only=report")
  assert done.returncode == 0, done.stderr
  assert (finished / "figures" / "loss.png").exists()
  assert comparable(finished / "results.json") == before


def _csv(workdir):
  with open(workdir / "sweep.csv") as file:
    return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def test_sweep_members_equal_single_runs_and_eight_devices(command, tmp_path):
  sweep = ("--sweep=step_size=0.05,0.1", "--sweep=seed=0:6", "--sweep=width=2,3")
  one = command.run(*MAIN, *sweep, f"--workdir={tmp_path / 'one'}")
  assert one.returncode == 0, one.stderr
  eight = command.run(*MAIN, *sweep, "--devices=8", f"--workdir={tmp_path / 'eight'}")
  assert eight.returncode == 0, eight.stderr
  rows = _csv(tmp_path / "one")
  assert len(rows) == 24
  assert all(row["extremes/least"] <= row["final_loss"] for row in rows)
  for a, b in zip(rows, _csv(tmp_path / "eight"), strict=True):
    assert a == pytest.approx(b, rel=1e-5)
  single = command.run(
    *MAIN,
    "--config.seed=4",
    "--config.seeds=1",
    "--config.step_size=0.05",
    "--config.width=2",
    f"--workdir={tmp_path / 'single'}",
  )
  assert single.returncode == 0, single.stderr
  metric = json.loads((tmp_path / "single" / "results.json").read_text())["metrics"]
  (row,) = [r for r in rows if (r["seed"], r["step_size"], r["width"]) == (4, 0.05, 2)]
  assert row["final_loss"] == pytest.approx(metric["final_loss"], rel=1e-5)


def test_sweep_marks_a_member_that_diverges(command, tmp_path):
  done = command.run(*MAIN, "--sweep=step_size=0.1,4.2", f"--workdir={tmp_path}")
  assert done.returncode == 0, done.stderr
  assert "not finite: step_size=4.2" in done.stdout
  assert json.loads((tmp_path / "results.json").read_text())["metrics"]["members_failed"] == 1


def test_importing_the_library_leaves_slow_packages_alone(command):
  subjects = [path.parent.name for path in (ROOT / "lib").glob("*/__init__.py")]
  code = f"import {', '.join(f'lib.{s}' for s in subjects)}, sys; print(*sys.modules)"
  done = command.run("-c", code)
  assert done.returncode == 0, done.stderr
  slow = {"matplotlib", "sklearn", "scipy.stats", "orbax", "tensorboardX", "diffrax"}
  assert not slow & set(done.stdout.split())
  assert "lib.verification" in done.stdout.split()


def test_help_and_list(command):
  done = command.run("-m", "projects")
  assert done.returncode == 0
  assert "--help says how to run one" in done.stdout

"""Sweeps as many processes: cutting, failures, going on, clusters, bad input."""

import csv
import os
import pathlib
import shutil
import signal
import sys
import time

import pytest

from launch import sweep
from lib.experiment.sweep import Axis

_SMOKE = ("--project=ntk", "--config=configs/ntk.py:smoke")


def test_axes_are_cut_into_tasks():
  axes = [Axis("width", (10, 20)), Axis("step_size", (0.1, 0.2, 0.3)), Axis("seed", (0, 1, 2))]
  place = pathlib.Path("/runs")

  def cut(**sizes):
    found = sweep.tasks("ntk", "configs/ntk.py", ["--config.time=1"], axes, sizes, place)
    return [[a for a in task.command if a.startswith("--sweep")] for task in found]

  assert len(cut()) == 6
  assert cut()[1] == ["--sweep=width=10", "--sweep=step_size=0.2", "--sweep=seed=0,1,2"]
  assert len(cut(step_size=2, seed=2)) == 2 * 2 * 2
  assert cut(width=2, step_size=3, seed=2) == [
    ["--sweep=width=10,20", "--sweep=step_size=0.1,0.2,0.3", "--sweep=seed=0,1"],
    ["--sweep=width=10,20", "--sweep=step_size=0.1,0.2,0.3", "--sweep=seed=2"],
  ]
  found = sweep.tasks("ntk", "configs/ntk.py", ["--config.time=1"], axes, {}, place)
  assert len({task.directory for task in found}) == 6
  assert all("--config.time=1" in task.command for task in found)


def _table(path):
  with path.open() as file:
    return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_a_task_that_fails_does_not_stop_the_others_and_again_only_it_runs(tmp_path, command):
  arguments = ("-m", "launch.sweep", *_SMOKE, f"--workdir={tmp_path / 'many'}", "--jobs=2")
  arguments += ("--sweep=width=20,30", "--sweep=seed=0:3", "--config.time=2.0")
  damaged = tmp_path / "many" / "tasks" / "0001_width=30,seed=0..2"
  damaged.mkdir(parents=True)
  (damaged / "config.json").write_text("{")
  first = command.run(*arguments)
  assert first.returncode == 1, first.stderr
  assert "1 of 2 tasks finished." in first.stdout
  assert "0001_width=30,seed=0..2  not finished" in first.stdout and "error: " in first.stdout
  assert len(_table(tmp_path / "many" / "sweep.csv")) == 3

  (damaged / "config.json").unlink()
  kept = tmp_path / "many" / "tasks" / "0000_width=20,seed=0..2" / "results.json"
  before = kept.stat().st_mtime_ns
  second = command.run(*arguments)
  assert second.returncode == 0, second.stdout + second.stderr
  assert kept.stat().st_mtime_ns == before

  whole = command.run(
    *("-m", "projects.ntk.main", "--config=configs/ntk.py:smoke", "--config.time=2.0"),
    *("--sweep=width=20,30", "--sweep=seed=0:3", f"--workdir={tmp_path / 'one'}"),
  )
  assert whole.returncode == 0, whole.stderr
  many, one = (_table(tmp_path / name / "sweep.csv") for name in ("many", "one"))
  assert len(many) == len(one) == 6
  for a, b in zip(many, one, strict=True):
    assert a == pytest.approx(b, rel=1e-4, abs=1e-6)

  other = command.run(*arguments[:-1], "--config.time=3.0")
  assert other.returncode == 2 and "holds another sweep" in other.stderr


def test_members_that_are_not_finite_are_counted(tmp_path, command):
  done = command.run(
    *("-m", "launch.sweep", *_SMOKE, f"--workdir={tmp_path}", "--config.time=4.0"),
    *("--sweep=output_exponent=0.5,40.0", "--split=output_exponent:2", "--sweep=width=20"),
  )
  assert done.returncode == 0, done.stdout + done.stderr
  assert "1 of 2 members not finite" in done.stdout


def test_dry_run_writes_nothing(tmp_path, capsys):
  arguments = [*_SMOKE, "--sweep=width=10,20", f"--workdir={tmp_path / 'x'}", "--dry-run"]
  arguments += ["--cluster=slurm", "--gpus=2", "--slurm=partition=a b", "--precision=high"]
  assert sweep.main(arguments) == 0
  out = capsys.readouterr().out
  assert out.count("python -m projects.ntk.main") == out.count("--precision=high") == 2
  assert "gpus_per_node=2" in out and "slurm_partition=a b" in out
  assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
  ("arguments", "says"),
  [
    (("--project=ntx", "--sweep=seed=0:2"), "no project 'ntx'"),
    (("--project=ntk",), "nothing to sweep"),
    (("--project=ntk", "--sweep=widht=1,2"), "widht"),
    (("--project=ntk", "--sweep=width=0,1"), "width"),
    (("--project=ntk", "--sweep=seed=0:2", "--split=width"), "'width' is not swept"),
    (("--project=ntk", "--sweep=seed=0:2", "--split=seed:x"), "KEY:NUMBER"),
    (("--project=ntk", "--sweep=seed=0:2", "--jobs=0"), "at least 1"),
    (("--project=ntk", "--sweep=seed=0:2", "--nodes=0"), "at least 1"),
    (("--project=ntk", "--sweep=seed=0:2", "--splat=3"), "is not an option"),
    (("--project=ntk", "--sweep=seed=0:2", "--config.tiem=3"), "tiem"),
  ],
)
def test_bad_input_ends_in_one_sentence(tmp_path, capsys, arguments, says):
  assert sweep.main([*arguments, f"--workdir={tmp_path / 'x'}"]) == 2
  message = capsys.readouterr().err
  assert says in message and message.count("\n") == 1
  assert not (tmp_path / "x").exists()


@pytest.mark.skipif(shutil.which("srun") is not None, reason="for machines without SLURM")
def test_slurm_without_slurm(tmp_path, command):
  arguments = (*_SMOKE, "--sweep=width=10,20", f"--workdir={tmp_path}", "--cluster=slurm")
  done = command.run("-m", "launch.sweep", *arguments)
  assert done.returncode == 2
  assert "did not take it" in done.stderr and done.stderr.count("\n") == 1


def _children(pid):
  return [int(x) for x in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the worker in /proc")
@pytest.mark.parametrize("count", [1, 2])
def test_a_cluster_task_that_loses_its_place_goes_on_from_its_checkpoint(tmp_path, count):
  options = sweep._parser().parse_args(
    [*_SMOKE, f"--workdir={tmp_path}", "--cluster=local", "--time_min=10"]
    + [f"--tasks_per_node={count}"]
  )
  overrides = ["--config.time=60000.0", "--checkpoint_every_s=0"]
  axes = [Axis("width", (2000,)), Axis("seed", (0, 1))]
  (task,) = sweep.tasks("ntk", options.config, overrides, axes, {}, tmp_path)
  (job,) = sweep.submit([task], options, tmp_path)
  metrics = task.directory / "metrics.jsonl"
  deadline = time.monotonic() + 120
  while not (metrics.exists() and metrics.read_text()):
    assert time.monotonic() < deadline and not job.done()
    time.sleep(0.05)
  assert not task.finished
  workers = _children(job._process.pid)
  assert len(workers) == count
  for worker in workers:
    os.kill(worker, signal.SIGUSR2)  # what SLURM sends before it takes the place
  assert job.results() == [0] * count
  assert task.finished
  assert "the same command goes on from there" in task.log.read_text()  # it saved and left
  assert sweep.summarise([task], tmp_path) == 0

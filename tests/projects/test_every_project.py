"""What every project promises: a smoke run, the form of its results, resuming, its files."""

import importlib
import json
import math
import signal
import time

import pytest

from lib.experiment import configs
from projects.__main__ import projects
from tests.conftest import ROOT

NAMES = sorted(projects())
VERDICTS = {"reproduced", "partly", "not_reproduced", "not_tested"}
FIELDS = {"id", "source", "statement", "expected", "measured", "uncertainty", "seeds"}

pytestmark = pytest.mark.parametrize(
  "name",  # the tests of a project share its finished run
  [pytest.param(name, marks=pytest.mark.xdist_group(f"smoke {name}")) for name in NAMES],
)


def _command(name, workdir):
  return (
    "-m",
    f"projects.{name}.main",
    f"--config=configs/{name}.py:smoke",
    f"--workdir={workdir}",
  )


def test_smoke_run_and_its_results(name, smoke):
  workdir, output = smoke(name)
  results = json.loads((workdir / "results.json").read_text())
  assert (results["project"], results["preset"]) == (name, "smoke")
  assert isinstance(results["config"]["seed"], int)
  assert results["metrics"], "no metrics"
  assert all(
    isinstance(v, int | float) and math.isfinite(v) for v in results["metrics"].values()
  )
  assert len(results["claims"]) >= 3
  for claim in results["claims"]:
    assert set(claim) >= FIELDS and claim["verdict"] in VERDICTS and claim["why"]
  assert any(claim["control"] for claim in results["claims"])
  figures = sorted((workdir / "figures").glob("*.png"))
  assert figures
  for figure in figures:
    assert str(figure) in output
    assert f"figures/{figure.name}" in (workdir / "report.md").read_text()
  assert "claims:" in output


def _progress(workdir):
  """Compiled chunks and stages that a run has done."""
  metrics = workdir / "metrics.jsonl"
  lines = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
  return lines + len(list(workdir.glob("checkpoints/*/result.npz")))


def test_smoke_run_killed_twice_ends_with_the_identical_results(
  name, smoke, command, comparable, tmp_path
):
  whole = smoke(name).workdir
  for share in (1 / 3, 2 / 3):
    process = command.start(*_command(name, tmp_path), "--checkpoint_every_s=0")
    while _progress(tmp_path) < share * _progress(whole):
      assert process.poll() is None, process.communicate()
      time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "results.json").exists()
  again = command.run(*_command(name, tmp_path), "--checkpoint_every_s=0")
  assert again.returncode == 0, again.stderr
  assert comparable(tmp_path / "results.json") == comparable(whole / "results.json")


def test_help_shows_the_config(name, command):
  done = command.run("-m", f"projects.{name}.main", "--help")
  assert done.returncode == 0, done.stderr
  assert "--config.seed=" in done.stdout and "--sweep" in done.stdout


@pytest.mark.parametrize("preset", ["default", "smoke", "paper"])
def test_presets_pass_the_check(name, preset):
  project = importlib.import_module(f"projects.{name}.main").PROJECT
  config = configs.load(f"configs/{name}.py:{preset}")
  assert config.preset == preset
  project.check(config)


def test_files_are_there(name):
  folder = ROOT / "projects" / name
  assert sorted((ROOT / "tests" / "projects" / name).glob("test_*.py"))
  for file in ("main.py", "experiment.py", "claims.py", "README.md"):
    assert (folder / file).exists(), file
  assert len((folder / "main.py").read_text().splitlines()) < 40
  listed = projects()[name]
  assert listed and len(listed) < 100

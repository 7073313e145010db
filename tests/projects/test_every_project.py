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


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
  """name -> (run directory of a finished smoke run, its output, its seconds)."""
  from tests.conftest import CommandLine

  done = {}

  def run(name):
    if name not in done:
      workdir = tmp_path_factory.mktemp(name)
      started = time.monotonic()
      process = CommandLine().run(*_command(name, workdir))
      assert process.returncode == 0, process.stderr
      done[name] = workdir, process.stdout, time.monotonic() - started
    return done[name]

  return run


def test_smoke_run_and_its_results(name, smoke):
  workdir, output, _ = smoke(name)
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


@pytest.mark.parametrize("share", [0.35, 0.7])
def test_killed_smoke_run_resumes_to_the_identical_results(
  name, smoke, command, comparable, tmp_path, share
):
  workdir, _, seconds = smoke(name)
  process = command.start(*_command(name, tmp_path), "--checkpoint_every_s=0")
  time.sleep(share * seconds)
  process.send_signal(signal.SIGKILL)
  process.wait()
  again = command.run(*_command(name, tmp_path), "--checkpoint_every_s=0")
  assert again.returncode == 0, again.stderr
  assert comparable(tmp_path / "results.json") == comparable(workdir / "results.json")


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

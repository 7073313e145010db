"""A new project runs, passes its own tests, those of all projects and the linter, as made."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from launch import new_project

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """A copy of the repository's skeleton with a new project in it."""
  root = tmp_path_factory.mktemp("repository")
  for folder in ("projects", "configs", "tests/projects"):
    (root / folder).mkdir(parents=True)
  for folder in ("projects", "configs"):
    (root / folder / "__init__.py").write_text("")
  shutil.copy(ROOT / "projects" / "__main__.py", root / "projects")
  shutil.copy(ROOT / "pyproject.toml", root)
  shutil.copy(ROOT / "tests" / "conftest.py", root / "tests")
  shutil.copy(
    ROOT / "tests" / "projects" / "test_every_project.py", root / "tests" / "projects"
  )
  (root / "lib").symlink_to(ROOT / "lib")
  status = new_project.main(["descent", "--title=Noisy descent", f"--root={root}"])
  assert status == 0
  return root


def _python(root, *arguments):
  environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}
  command = [sys.executable, *map(str, arguments)]
  return subprocess.run(
    command, cwd=root, env=environment, capture_output=True, text=True, timeout=300
  )


def test_it_runs_and_reproduces_what_is_known(made):
  done = _python(
    made, "-m", "projects.descent.main", "--config=configs/descent.py", "--workdir=run"
  )
  assert done.returncode == 0, done.stderr
  results = json.loads((made / "run" / "results.json").read_text())
  assert {row["id"]: row["verdict"] for row in results["claims"]} == {
    "variance_follows_theory": "reproduced",
    "correlation_follows_theory": "reproduced",
    "small_steps_remember": "reproduced",
  }
  for eta in (0.1, 0.5, 1.0):
    variance = results["metrics"][f"variance/step_size_{eta:g}"]
    assert variance == pytest.approx(eta / (2 - eta), rel=0.05)
  assert (made / "run" / "figures" / "variance.png").stat().st_size > 5000


def test_its_own_tests_and_those_of_every_project_pass(made):
  tests = ("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider")
  done = _python(made, *tests, "tests/projects/descent")
  assert done.returncode == 0, done.stdout
  assert "8 passed" in done.stdout
  chosen = "results or help or presets or files"  # killed runs take the longest
  done = _python(
    made, *tests, "tests/projects/test_every_project.py", "-k", f"not killed and ({chosen})"
  )
  assert done.returncode == 0, done.stdout
  assert "6 passed" in done.stdout


def test_it_is_listed_and_the_linter_has_nothing_to_say(made):
  assert "descent  Noisy descent." in _python(made, "-m", "projects").stdout
  files = [made / name for name in ("projects/descent", "configs", "tests")]
  for arguments in (("check",), ("format", "--check")):
    done = _python(made, "-m", "ruff", *arguments, *files)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
  ("name", "says"),
  [
    ("Descent", "cannot be a module"),
    ("2x", "cannot be a module"),
    ("class", "cannot be a module"),
    ("../x", "cannot be a module"),
    ("descent", "is there already"),
  ],
)
def test_names_that_cannot_be(made, capsys, name, says):
  before = sorted(made.rglob("*.py"))
  assert new_project.main([name, f"--root={made}"]) == 2
  assert says in capsys.readouterr().err
  assert sorted(made.rglob("*.py")) == before


def test_outside_the_repository(tmp_path, capsys):
  assert new_project.main(["descent", f"--root={tmp_path}"]) == 2
  assert "root of the repository" in capsys.readouterr().err

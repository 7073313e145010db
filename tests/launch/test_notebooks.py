"""The notebooks: executed in small, with their checks; and the files as they are kept."""

import re

import nbformat
import pytest

from launch import notebooks
from projects.__main__ import projects
from tests.conftest import ROOT

PATHS = {path.stem: path for path in notebooks.paths()}
every_notebook = pytest.mark.parametrize("name", list(PATHS))
KEPT_KB = 300


def test_each_is_of_a_project_and_the_readme_shows_it():
  assert len(PATHS) >= 5 and set(PATHS) <= set(projects())
  readme = (ROOT / "README.md").read_text()
  assert all(f"(notebooks/{name}.ipynb)" in readme for name in PATHS)


@every_notebook
def test_it_runs_in_small_and_its_checks_hold(name):
  """A false `assert` in a cell, like any error, ends the execution."""
  done = notebooks.execute(notebooks.read(PATHS[name]), smoke=True)
  images = [
    output for cell in done.cells for output in cell.get("outputs", []) if "data" in output
  ]
  assert sum("image/png" in output.data for output in images) == 1  # the one figure


@every_notebook
def test_the_file_is_valid_small_and_as_executed(name):
  notebook = notebooks.read(PATHS[name])
  nbformat.validate(notebook)
  assert PATHS[name].stat().st_size < KEPT_KB * 1024
  code = [cell for cell in notebook.cells if cell.cell_type == "code"]
  assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
  outputs = [output for cell in code for output in cell.outputs]
  assert any("image/png" in output.get("data", {}) for output in outputs)
  assert {output.output_type for output in outputs} <= {"stream", "execute_result"}
  assert all(output.get("name") != "stderr" for output in outputs)
  assert any("assert" in cell.source for cell in code)
  assert all("execution" not in cell.metadata for cell in code)


@every_notebook
def test_no_place_of_a_machine_is_in_it(name):
  text = PATHS[name].read_text()
  text = re.sub(r'"image/png": "[^"]*"', "", text)
  assert not re.search(r"/(home|root|Users|tmp|work|content|usr|opt|mnt)/|site-packages", text)
  assert not re.search(r"\b[A-Z]:\\\\", text)


@every_notebook
def test_it_opens_in_colab_and_installs_from_one_address(name):
  notebook = notebooks.read(PATHS[name])
  before = [cell.source for cell in notebook.cells]
  address = notebooks.address(notebook, name)
  assert [cell.source for cell in address.cells] == before
  assert notebooks.badge(name) in before[0].splitlines()
  assert before[1].endswith(f"%pip install --quiet git+{notebooks.REPOSITORY}")
  assert sum(source.count(notebooks.REPOSITORY) for source in before) == 1
  moved = notebooks.address(notebook, name, "https://github.com/someone/else")
  assert (
    "https://colab.research.google.com/github/someone/else/blob/main/notebooks/" + name
  ) in moved.cells[0].source
  assert "git+https://github.com/someone/else" in moved.cells[1].source


def test_an_unknown_name_is_refused(capsys):
  assert notebooks.main(["ntx"]) == 2
  message = capsys.readouterr().err
  assert "ntx" in message and "ntk" in message and message.count("\n") == 1


def test_a_false_check_is_an_error():
  cells = [nbformat.v4.new_code_cell("assert 1 + 1 == 3, 'arithmetic'")]
  with pytest.raises(Exception, match="arithmetic"):
    notebooks.execute(nbformat.v4.new_notebook(cells=cells))


def test_the_small_sizes_are_asked_for_by_the_environment():
  cell = nbformat.v4.new_code_cell("import os; print(os.environ.get('ANSATZ_SMOKE'))")
  for smoke in (True, False):
    done = notebooks.execute(nbformat.v4.new_notebook(cells=[cell]), smoke)
    assert done.cells[0].outputs[0].text == ("1\n" if smoke else "None\n")

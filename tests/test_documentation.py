"""What the documentation says: its examples run, its pages are whole."""

import ast
import doctest
import importlib
import re

import pytest

from tests.conftest import ROOT

SUBJECTS = sorted(path.parent.name for path in ROOT.glob("lib/*/__init__.py"))
EXAMPLES = sorted(
  str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
  for path in ROOT.glob("lib/*/*.py")
  if ">>> " in path.read_text()
)


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_in_docstrings(module):
  found = doctest.testmod(importlib.import_module(module))
  assert found.attempted > 0 and found.failed == 0


def test_examples_in_the_readme():
  readme = (ROOT / "README.md").read_text()
  blocks = re.findall(r"```python\n(.*?)```", readme, flags=re.S)
  shell = [block for block in blocks if ">>> " in block]
  scripts = [block for block in blocks if ">>> " not in block]
  assert shell and scripts
  for block in shell:
    test = doctest.DocTestParser().get_doctest(block, {}, "README.md", None, 0)
    assert doctest.DocTestRunner().run(test).failed == 0
  for block in scripts:
    names = {}
    exec(block, names)
    assert names["results"]["test_accuracy"].shape == (8,)
    assert (names["results"]["test_accuracy"] > 0.7).all()
    assert names["finite"].shape[:2] == names["infinite"].shape == (5, 5)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_what_is_public_has_a_docstring(subject):
  missing = []
  for path in sorted((ROOT / "lib" / subject).glob("*.py")):
    tree = ast.parse(path.read_text())
    nodes = [
      node
      for node in tree.body
      if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    missing += [
      f"{path.name}: {getattr(node, 'name', 'module')}"
      for node in (tree, *nodes)
      if not ast.get_docstring(node)
    ]
  assert not missing


def test_the_gallery_says_where_each_figure_comes_from():
  page = (ROOT / "docs" / "gallery.md").read_text()
  found = re.findall(
    r"!\[[^\]]+\]\(figures/(\w+\.png)\).*?"
    r"python -m projects\.(\w+)\.main --config=(\S+) +# figures/(\w+)\.png",
    page,
    flags=re.S,
  )
  assert {file for file, *_ in found} == {p.name for p in ROOT.glob("docs/figures/*.png")}
  for file, project, config, figure in found:
    assert file.startswith(project) and config == f"configs/{project}.py"
    drawn = importlib.import_module(f"projects.{project}.figures").FIGURES
    assert figure in {f.name for f in drawn}

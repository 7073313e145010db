"""Docstrings on the site: what is fenced, and what stays."""

import ast

from launch import docs_text
from tests.conftest import ROOT

DOCSTRING = """\
A map, in words
that go on.

  y = W x + b,
      with two lines
and words after it.
- an item
  that goes on

    z = φ(y)

>>> 1 + 1
2

Args:
  x: (n,)
    of what.
"""
MARKDOWN = """\
A map, in words
that go on.


```text
y = W x + b,
    with two lines
```

and words after it.
- an item
  that goes on

    z = φ(y)


```pycon
>>> 1 + 1
2
```


Args:
  x: (n,)
    of what.
"""


def test_equations_and_examples_are_fenced_and_the_rest_stays():
  assert docs_text.as_markdown(DOCSTRING) == MARKDOWN.rstrip("\n")


def test_no_line_of_the_library_is_lost():
  for path in ROOT.glob("lib/*/*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
        text = ast.get_docstring(node) or ""
        kept = [line.strip() for line in docs_text.as_markdown(text).splitlines()]
        fences = ("```", "```text", "```pycon", "")
        if "```" in text:
          continue
        kept = [line for line in kept if line not in fences]
        assert kept == [line.strip() for line in text.splitlines() if line.strip()]

"""Docstrings on the site: what is fenced, and what stays."""

import ast

import pytest

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


def test_tex_becomes_mathml():
  pytest.importorskip("latex2mathml", reason="comes with the extra docs")
  text = docs_text.with_mathml(
    r"A law $\mathcal N(0, 1)$ and $$\mathbb R^2 = \frac{1}{2}$$ of it"
  )
  assert text.startswith("A law <math") and text.endswith("</math> of it")
  assert "$" not in text and "𝒩" in text and "ℝ" in text and "<mfrac>" in text
  assert 'display="block"' in text and 'display="inline"' in text


def test_a_notebook_as_a_page():
  def output(**fields):
    return {"output_type": "stream" if "text" in fields else "display_data", **fields}

  notebook = {
    "cells": [
      {"cell_type": "markdown", "source": ["# Title\n", "words"]},
      {"cell_type": "code", "source": ["%pip install x"], "outputs": []},
      {"cell_type": "code", "source": ["print(1)"], "outputs": [output(text=["1\n"])]},
      {
        "cell_type": "code",
        "source": ["figure"],
        "outputs": [output(data={"image/png": "aGk=", "text/plain": "<Figure>"})],
      },
    ]
  }
  text, png = docs_text.of_notebook(notebook, "x.png")
  assert png == "aGk="
  assert text == (
    "# Title\nwords\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\n"
    "```python\nfigure\n```\n\n![the figure](x.png)\n"
  )

"""Docstrings and notebooks as Markdown, for `make docs`: equations stay equations.

In a docstring an equation is an indented line, which Markdown would run into the sentence
before it, and an example begins with >>>, which Markdown would take for a quotation. In a
notebook it is TeX, which becomes MathML: browsers draw that without a program from elsewhere.
"""

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping

_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):\s*$")
_TEX = re.compile(r"\$\$(?P<display>.+?)\$\$|\$(?P<inline>[^$\n]+)\$", flags=re.S)
_VARIANT = re.compile(r'<mi mathvariant="(script|double-struck)">([A-Z])</mi>')
_ITEM = re.compile(r"\s*([-*]|\d+\.)\s")


def as_markdown(docstring: str) -> str:
  """The text with equations and examples fenced; sections such as `Args:` stay as they are."""
  lines = docstring.splitlines()
  end = next((i for i, line in enumerate(lines) if _SECTION.match(line)), len(lines))
  parts = []
  for kind, part in _parts(lines[:end]):
    if kind == "prose":
      parts += part
    else:
      parts += ["", f"```{kind}", *textwrap.dedent("\n".join(part)).splitlines(), "```", ""]
  return "\n".join([*parts, *lines[end:]]).strip("\n")


def _parts(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
  """(kind, lines) of what is prose, an example (pycon) or an equation (text)."""
  i, in_fence, in_list = 0, False, False
  while i < len(lines):
    line, start = lines[i], i
    i += 1
    if line.startswith("```"):
      in_fence = not in_fence
    elif line.strip() and not line.startswith(" "):
      in_list = bool(_ITEM.match(line))
    if in_fence or in_list or not line.startswith((" ", ">>> ")):
      yield "prose", [line]
    elif line.startswith(">>> "):
      while i < len(lines) and lines[i].strip():
        i += 1
      yield "pycon", lines[start:i]
    else:
      while i < len(lines) and (lines[i].startswith(" ") or _goes_on(lines, i)):
        i += 1
      yield "text", lines[start:i]


def _goes_on(lines: list[str], i: int) -> bool:
  """Whether an empty line stands between two indented ones."""
  return not lines[i].strip() and lines[i + 1 : i + 2] != [] and lines[i + 1].startswith(" ")


def with_mathml(markdown: str) -> str:
  """The text with TeX between dollar signs as MathML."""
  from latex2mathml import converter

  def convert(match: re.Match) -> str:
    tex = (match["display"] or match["inline"]).strip()
    found = converter.convert(tex, display="block" if match["display"] else "inline")
    return _VARIANT.sub(_letter, found)

  return _TEX.sub(convert, markdown)


def _letter(match: re.Match) -> str:
  """A script or double-struck capital as the letter it is; browsers ignore `mathvariant`."""
  name = f"{match[1].upper()} CAPITAL {match[2]}"
  try:
    letter = unicodedata.lookup(f"MATHEMATICAL {name}")
  except KeyError:  # those that Unicode had before: ℒ, ℝ, ...
    letter = unicodedata.lookup(name)
  return f"<mi>{letter}</mi>"


def of_notebook(notebook: Mapping, image: str) -> tuple[str, str]:
  """A notebook, as its file's JSON has it, as a page.

  Args:
    notebook: with its outputs.
    image: address of the figure's PNG.

  Returns:
    (Markdown, base64 of the PNG). The cell that installs the library is left out.
  """
  parts, png = [], ""
  for cell in notebook["cells"]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
      parts.append(with_mathml(source))
      continue
    if "%pip install" in source:
      continue
    parts.append(f"```python\n{source}\n```")
    for output in cell["outputs"]:
      if output["output_type"] == "stream":
        parts.append(f"```text\n{''.join(output['text']).rstrip()}\n```")
      elif "image/png" in output["data"]:
        png = "".join(output["data"]["image/png"])
        parts.append(f"![the figure]({image})")
  return "\n\n".join(parts) + "\n", png

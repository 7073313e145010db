"""Lists the projects: python -m projects."""

import ast
import pathlib


def projects() -> dict[str, str]:
  """Project name -> first line of its main module's docstring; nothing is imported."""
  found = {}
  for file in sorted(pathlib.Path(__file__).parent.glob("*/main.py")):
    doc = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    found[file.parent.name] = doc.strip().splitlines()[0] if doc.strip() else ""
  return found


def table() -> str:
  """One line a project."""
  found = projects()
  width = max(map(len, found), default=0)
  lines = [f"{name:<{width}}  {line}" for name, line in found.items()]
  return "\n".join([*lines, "", "python -m projects.NAME.main --help says how to run one."])


if __name__ == "__main__":
  print(table())

"""Lists the commands: python -m launch."""

import ast
import pathlib


def commands() -> dict[str, str]:
  """Name of each command -> first line of its docstring; nothing is imported."""
  found = {}
  for file in sorted(pathlib.Path(__file__).parent.glob("[!_]*.py")):
    text = file.read_text("utf-8")
    if 'if __name__ == "__main__":' in text:
      found[file.stem] = ast.get_docstring(ast.parse(text)).splitlines()[0]
  return found


if __name__ == "__main__":
  found = commands()
  for name, line in found.items():
    print(f"{name:<{max(map(len, found))}}  {line}")
  print("\npython -m launch.NAME --help says how to use one.")

"""Makes the files of a new project: folder, config, claims, figures and test, ready to run.

    python -m launch.new_project NAME [--title="One line that says what it is."]

The new project is a small working experiment with a known answer; replace its equations by the
paper's. docs/adding-a-paper.md explains the parts.
"""

import keyword
import pathlib
import re
import sys
from collections.abc import Sequence

from launch.command_line import Parser, mistakes_in_one_line
from lib.experiment import UserError

_SKELETON = pathlib.Path(__file__).with_name("skeleton")
_FILES = {
  "main.py.txt": "projects/{name}/main.py",
  "experiment.py.txt": "projects/{name}/experiment.py",
  "claims.py.txt": "projects/{name}/claims.py",
  "figures.py.txt": "projects/{name}/figures.py",
  "readme.md.txt": "projects/{name}/README.md",
  "config.py.txt": "configs/{name}.py",
  "test.py.txt": "tests/projects/{name}/test_{name}.py",
}


def create(name: str, title: str, root: pathlib.Path) -> list[pathlib.Path]:
  """Writes the files below the repository's root and returns them.

  Raises:
    UserError: the name is no module's name, a file is there already, or the root is not that
      of the repository.
  """
  if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
    raise UserError(
      f"'{name}' cannot be a module: use lower case letters, digits and underscores, "
      "with a letter first."
    )
  for folder in ("projects", "configs"):
    if not (root / folder).is_dir():
      raise UserError(f"'{root}' has no {folder}/; run this in the root of the repository.")
  title = title.strip().rstrip(".").replace('"', "'").replace("\\", "/") + "."
  if "\n" in title or len(title) > 88:
    raise UserError("The title has to be one line of at most 88 characters.")
  texts = {
    root / target.format(name=name): (_SKELETON / source)
    .read_text("utf-8")
    .replace("NAME", name)
    .replace("TITLE", title)
    for source, target in _FILES.items()
  }
  texts[root / f"projects/{name}/__init__.py"] = ""
  for path in texts:
    if path.exists():
      raise UserError(f"'{path.relative_to(root)}' is there already; nothing was written.")
  for path, text in texts.items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
  return list(texts)


@mistakes_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
  """Parses the command line; returns the exit status."""
  parser = Parser("launch.new_project", __doc__)
  parser.add_argument("name", metavar="NAME", help="of the project: its folder and its config")
  parser.add_argument("--title", help="a line that `python -m projects` shows")
  parser.add_argument("--root", default=".", help="of the repository (default: this folder)")
  options = parser.parse_args(arguments)
  title = options.title or f"{options.name.capitalize()}: say here in a line what it is"
  root = pathlib.Path(options.root)
  for path in create(options.name, title, root):
    print(path.relative_to(root))
  name = options.name
  print(f"\npython -m projects.{name}.main --config=configs/{name}.py:smoke")
  print(f"python -m pytest tests/projects/{name}")
  return 0


if __name__ == "__main__":
  sys.exit(main())

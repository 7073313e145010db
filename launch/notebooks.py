"""Runs the notebooks again and keeps their outputs: `make notebooks`.

    python -m launch.notebooks [NAME ...] [--repository=https://github.com/OWNER/NAME]

Each is executed from its first cell to its last, and written with what it printed and drew, so
that GitHub shows its figure. The badge that opens it in Colab and the cell that installs the
library there are written too: the address of the repository is in no other place.

With the environment variable ANSATZ_SMOKE set the notebooks take their small sizes; so they
run in the tests, which write nothing.
"""

import os
import pathlib
import re
import sys
import time
from collections.abc import Sequence

from launch.command_line import Parser, mistakes_in_one_line
from lib.experiment import UserError

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
# To be set where the repository is published. GitHub allows no underscore in an owner's name,
# so that nothing can be installed from this address by mistake.
REPOSITORY = "https://github.com/GITHUB_OWNER/ansatz"
SMOKE = "ANSATZ_SMOKE"
TIMEOUT_S = 600  # of a cell
_BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
_INSTALL = """\
# On Colab this installs Ansatz. Elsewhere it is there: `pip install -e .` in a clone.
import importlib.util

if importlib.util.find_spec("lib") is None:
  %pip install --quiet git+{repository}"""


def paths() -> list[pathlib.Path]:
  """All notebooks, in the order of their names."""
  return sorted(FOLDER.glob("*.ipynb"))


def badge(name: str, repository: str = REPOSITORY) -> str:
  """Markdown of the badge that opens a notebook in Colab."""
  place = repository.removeprefix("https://")
  place = place.replace("github.com", "https://colab.research.google.com/github", 1)
  return f"[![Open in Colab]({_BADGE})]({place}/blob/main/notebooks/{name}.ipynb)"


def address(notebook, name: str, repository: str = REPOSITORY):
  """The notebook with a repository's badge and installation in its first two cells."""
  title, install = notebook.cells[:2]
  title.source = re.sub(
    r"^(BADGE|\[!\[Open in Colab\].*)$", badge(name, repository), title.source, flags=re.M
  )
  install.source = _INSTALL.format(repository=repository)
  return notebook


def read(path: pathlib.Path):
  """The notebook of a file."""
  import nbformat

  return nbformat.read(path, as_version=4)


def execute(notebook, smoke: bool = False):
  """The notebook with the outputs of a run from the first cell to the last.

  Raises:
    nbclient.exceptions.CellExecutionError: a cell raised; the message has its traceback.
  """
  from nbclient import NotebookClient

  environment = {name: value for name, value in os.environ.items() if name != SMOKE}
  environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
  client = NotebookClient(notebook, timeout=TIMEOUT_S, kernel_name="python3")
  client.resources = {"metadata": {"path": str(ROOT)}}
  client.execute(env=environment | ({SMOKE: "1"} if smoke else {}))
  for cell in notebook.cells:
    cell.metadata.pop("execution", None)  # when each cell ran: nothing to a reader
    if "outputs" in cell:
      cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
  notebook.metadata.language_info = {"name": "python"}
  return notebook


@mistakes_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
  """Parses the command line; returns the exit status."""
  import nbformat

  parser = Parser("launch.notebooks", __doc__)
  names = [path.stem for path in paths()]
  parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all")
  parser.add_argument("--repository", default=REPOSITORY, help="where it is published")
  options = parser.parse_args(arguments)
  for name in options.names:
    if name not in names:
      raise UserError(f"There is no notebook '{name}'; choose from {', '.join(names)}.")
  for path in paths():
    if options.names and path.stem not in options.names:
      continue
    started = time.monotonic()
    notebook = execute(address(read(path), path.stem, options.repository))
    nbformat.write(notebook, path)
    size = path.stat().st_size / 1024
    print(f"{path.relative_to(ROOT)}: {time.monotonic() - started:.0f} s, {size:.0f} kB")
  return 0


if __name__ == "__main__":
  sys.exit(main())

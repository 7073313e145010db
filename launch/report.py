"""Writes the ledger of finished runs: all claims with their verdicts.

    python -m launch.report RUNS... [--out=docs/LEDGER.md] [--html=ledger.html]

RUNS are run directories, or folders that hold some. Of several runs of a project's preset the
newest counts, and one with other settings than the preset's only where there is no other; what
it changed is said. Sweeps judge no claims and are passed over. The page of HTML needs no other
file: the figures are inside, and its table can be sorted and filtered.
"""

import pathlib
import sys
from collections.abc import Sequence

from launch import ledger
from launch.command_line import Parser, mistakes_in_one_line
from lib.experiment import UserError, rundir


def write(runs: Sequence[ledger.Run], out: pathlib.Path, page: pathlib.Path) -> None:
  """Writes the Markdown and the page.

  Raises:
    UserError: a file cannot be written.
  """
  for path, text in ((out, ledger.markdown(runs)), (page, ledger.page(runs))):
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
      rundir.write_whole(path, lambda file, text=text: file.write(text.encode()))
    except OSError as error:
      raise UserError(f"Cannot write '{path}': {error.strerror}.") from error


@mistakes_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
  """Parses the command line and writes; returns the exit status."""
  parser = Parser("launch.report", __doc__)
  parser.add_argument("runs", nargs="+", help="run directories, or folders that hold some")
  parser.add_argument("--out", default="LEDGER.md", help="the Markdown (default LEDGER.md)")
  parser.add_argument("--html", help="the page (default: --out with the ending .html)")
  options = parser.parse_args(arguments)
  out = pathlib.Path(options.out)
  page = pathlib.Path(options.html) if options.html else out.with_suffix(".html")
  runs = ledger.collect(options.runs)
  write(runs, out, page)
  claims = sum(len(run.results["claims"]) for run in runs)
  print(f"{claims} claims of {len(runs)} run(s): {out}, {page}")
  return 0


if __name__ == "__main__":
  sys.exit(main())

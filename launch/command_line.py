"""What the commands in `launch` share: a parser, and the user's mistakes in one line."""

import argparse
import functools
import sys
from collections.abc import Callable


class Parser(argparse.ArgumentParser):
  """Mistakes end in one line and exit status 2.

  Args:
    module: of the command, for `python -m MODULE`.
    doc: its docstring, shown by --help.
  """

  def __init__(self, module: str, doc: str):
    super().__init__(
      prog=f"python -m {module}",
      description=doc,
      formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False,
    )

  def error(self, message: str):
    """Prints the mistake and exits."""
    self.exit(2, f"error: {message}; see {self.prog} --help\n")


def mistakes_in_one_line(main: Callable[..., int]) -> Callable[..., int]:
  """Wraps a command's main: a `UserError` is printed and becomes exit status 2."""

  @functools.wraps(main)
  def wrapped(*arguments):
    try:
      return main(*arguments)
    except Exception as error:
      from lib.experiment.errors import UserError  # slow to import, so that --help is not

      if not isinstance(error, UserError):
        raise
      print(f"error: {error}", file=sys.stderr)
      return 2

  return wrapped

"""A progress bar on a terminal, nothing otherwise."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def track(what: str, total: int) -> Iterator[Callable[..., None]]:
  """Gives a function to call with the number of items done (1). Draws only on a terminal."""
  if not sys.stderr.isatty():
    yield lambda amount=1: None
    return
  from rich.console import Console
  from rich.progress import Progress

  with Progress(console=Console(stderr=True), transient=True) as bar:
    task = bar.add_task(what, total=total)
    done, drawn = 0, time.monotonic()

    def advance(amount=1):
      nonlocal done, drawn
      done += amount
      if time.monotonic() - drawn > 0.1:  # drawing takes longer than decoding one image
        bar.update(task, completed=done)
        drawn = time.monotonic()

    yield advance

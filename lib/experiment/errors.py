"""Errors a user can cause: one clear sentence, exit status 2, no traceback."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
  """A mistake in the command, the config or the surroundings that its author can put right.

  The message is one sentence that says what is wrong and what to do; the entry point prints
  it without a traceback and exits with status 2.
  """


class NonFiniteError(UserError):
  """A loss became infinite or not a number; names the step and the last good checkpoint."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
  """` Did you mean 'x'?` for the nearest of the known names, or the empty string."""
  known = list(known)
  near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
  if not near:  # a dotted key is often right but for its prefix
    near = [k for k in known if k.split(".")[-1] == name.split(".")[-1]][:1]
  return f" Did you mean '{near[0]}'?" if near else ""

"""Commands of this repository in processes of their own, with their output in a file."""

import contextlib
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOT_STARTED = 128 + signal.SIGTERM


class Ended(NamedTuple):
  """How a process ended: exit status, seconds, and the last line it wrote."""

  status: int
  seconds: float
  last: str


class Processes:
  """Runs `python ARGUMENTS...` from several threads, and ends them all when asked to."""

  def __init__(self):
    self._running: set[subprocess.Popen] = set()
    self._lock = threading.Lock()
    self._stopping = False

  def run(self, arguments: Sequence[str], log: pathlib.Path) -> Ended:
    """Runs a process to its end; its output, errors too, goes to `log`."""
    started = time.monotonic()
    with log.open("wb") as file:
      with self._lock:
        if self._stopping:
          return Ended(NOT_STARTED, 0.0, "not started")
        process = subprocess.Popen(
          [sys.executable, *arguments],
          cwd=ROOT,
          stdout=file,
          stderr=subprocess.STDOUT,
        )
        self._running.add(process)
      status = process.wait()
      with self._lock:
        self._running.discard(process)
    return Ended(status, time.monotonic() - started, last_line(log))

  def stop(self) -> None:
    """Asks what is running to save and leave (SIGTERM), and starts nothing more."""
    with self._lock:
      self._stopping = True
      for process in self._running:
        process.send_signal(signal.SIGTERM)

  @contextlib.contextmanager
  def ended_by_signals(self):
    """Ctrl-C and SIGTERM stop the processes for as long as this lasts."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {n: signal.signal(n, lambda *_: self.stop()) for n in numbers}
    try:
      yield
    finally:
      for number, handler in before.items():
        signal.signal(number, handler)


def last_line(log: pathlib.Path) -> str:
  """The last line of a file that is not empty; "" when there is none."""
  try:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
  except OSError:
    return ""
  return lines[-1].strip() if lines else ""

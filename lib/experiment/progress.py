"""Progress on a terminal, silence elsewhere; metrics to files."""

import contextlib
import json
import os
import pathlib
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lib.experiment import rundir


class Clock:
  """Wall time of this attempt and how much of it went into tracing and compiling.

  What other threads compile counts where this one waits for it.
  """

  _EVENTS = (
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
  )

  def __init__(self):
    self.started = time.perf_counter()
    self.compile_s = 0.0
    self._thread = threading.get_ident()
    self._explicit = False
    self._heard = self.started
    jax.monitoring.register_event_duration_secs_listener(self._listen)

  def _listen(self, event: str, duration: float, **_):
    if event not in self._EVENTS or threading.get_ident() != self._thread:
      return
    # JAX takes durations from the calendar clock, which may jump: no event can have lasted
    # longer than the time since the one before it.
    before, self._heard = self._heard, time.perf_counter()
    if not self._explicit:
      self.compile_s += min(max(duration, 0.0), self._heard - before)

  @contextlib.contextmanager
  def compiling(self):
    """Counts the whole block, tracing included, as compile time."""
    if threading.get_ident() != self._thread:
      yield
      return
    outer, started = self._explicit, time.perf_counter()
    self._explicit = True
    try:
      yield
    finally:
      self._explicit = outer
      if not outer:
        self.compile_s += time.perf_counter() - started

  @property
  def wall_s(self) -> float:
    """Seconds since the run, or this attempt to resume it, began."""
    return time.perf_counter() - self.started


class Progress:
  """A bar for each stage with its rate and the time left; quiet off a terminal."""

  def __init__(self, stream=None):
    self._stream = stream or sys.stderr
    self._bars = None
    if self._stream.isatty():
      self._bars = _bars(self._stream)

  def __enter__(self):
    if self._bars:
      self._bars.start()
    return self

  def __exit__(self, *_):
    if self._bars:
      self._bars.stop()

  @contextlib.contextmanager
  def task(self, name: str, total: int, done: int = 0):
    """A bar; the block is given an object whose `advance(n)` moves it on."""
    if self._bars is None:
      yield _Silent()
      return
    bar = self._bars.add_task(name, total=total, completed=done, rate="compiling")
    yield _Task(self._bars, bar)

  @contextlib.contextmanager
  def line(self, name: str):
    """A live line of text; the block is given a function that shows another text."""
    if self._bars is None:
      yield lambda text: None
      return
    bar = self._bars.add_task(name, total=None, rate="")
    yield lambda text: self._bars.update(bar, description=f"{name}  {text}")


def _bars(stream):
  """Bars of tasks, and under them the texts of what has no total."""
  from rich import progress as rich
  from rich.console import Console
  from rich.text import Text

  class Bars(rich.Progress):
    def get_renderables(self):
      yield self.make_tasks_table([t for t in self.tasks if t.total is not None])
      yield from (Text(t.description) for t in self.tasks if t.total is None)

  return Bars(
    rich.TextColumn("{task.description}"),
    rich.BarColumn(),
    rich.MofNCompleteColumn(),
    rich.TextColumn("{task.fields[rate]}"),
    rich.TimeElapsedColumn(),
    rich.TextColumn("left"),
    rich.TimeRemainingColumn(),
    console=Console(file=stream),
  )


class _Silent:
  def advance(self, count: int) -> None:
    """Nothing to show."""


class _Task:
  def __init__(self, bars, bar):
    self._bars, self._bar = bars, bar
    self._started, self._count = time.monotonic(), 0

  def advance(self, count: int) -> None:
    """Moves the bar on by so many steps."""
    self._count += count
    rate = self._count / max(time.monotonic() - self._started, 1e-9)
    self._bars.update(self._bar, advance=count, rate=f"{rate:.3g}/s")


class Metrics:
  """`metrics.jsonl` and TensorBoard events: means over the members, per step of a stage."""

  def __init__(self, directory: pathlib.Path):
    self._file = pathlib.Path(directory) / "metrics.jsonl"
    self._events = pathlib.Path(directory) / "tensorboard"
    self._writer = None

  def rewind(self, stage: str, start: int, step: int) -> None:
    """Forgets what was written of a batch after the step it resumes from."""
    if not self._file.exists():
      return
    kept = []
    for line in self._file.read_text("utf-8").splitlines():
      with contextlib.suppress(ValueError):  # the last line of a killed run
        row = json.loads(line)
        if (row["stage"], row["first_member"]) != (stage, start) or row["step"] <= step:
          kept.append(json.dumps(row))
    text = "".join(f"{line}\n" for line in kept).encode()
    rundir.write_whole(self._file, lambda file: file.write(text))

  def write(self, stage: str, start: int, step: int, measured: Mapping[str, Any]) -> None:
    """Appends the members' means; values have the member axis first."""
    means = {key: float(np.mean(value)) for key, value in measured.items()}
    finite = {key: value for key, value in means.items() if np.isfinite(value)}
    if not finite:
      return
    row = {"stage": stage, "first_member": start, "step": step, **finite}
    with rundir.explain_full_disk(self._file), open(self._file, "a", encoding="utf-8") as file:
      file.write(json.dumps(row) + os.linesep)
    if self._writer is None:
      from tensorboardX import SummaryWriter

      self._writer = SummaryWriter(str(self._events))
    for key, value in finite.items():
      self._writer.add_scalar(f"{stage}/{key}", value, step)

  def close(self) -> None:
    """Flushes the events."""
    if self._writer is not None:
      self._writer.close()

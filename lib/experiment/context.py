"""What a project's `run` is given: stages that are kept, members, seeds, metrics."""

import functools
import json
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from lib.experiment import rundir
from lib.experiment.compilation import Compiled
from lib.experiment.cutting import Key, memory_budget
from lib.experiment.members import compile_members, run_members
from lib.experiment.processes import Processes, first_given
from lib.experiment.program import Program, PyTree, bind
from lib.experiment.progress import Clock, Metrics, Progress


class Stopped(Exception):
  """The run was asked to stop by a signal and has saved what it had.

  Args:
    signal: name of the signal.
    found: for work whose results are valid whenever it ends, what it has found: a line that is
      printed. The exit status is then 0.
  """

  def __init__(self, signal: str, found: str = ""):
    super().__init__(signal)
    self.found = found


class Stage(NamedTuple):
  """Arguments of `Context.members`, for stages whose programs compile ahead of it.

  stages = [Stage("one", ONE, config, data, over), Stage("two", TWO, config, data, over)]
  ctx.compile_ahead(*stages)
  one, two = (ctx.members(*stage) for stage in stages)
  """

  name: str
  program: Program
  config: ConfigDict
  operands: PyTree
  over: Mapping[Key, Sequence]
  set: Mapping[str, Any] | None = None


class Context:
  """The services of a run directory.

  Args:
    directory: where stages are kept.
    memory_gb: memory that a device's batch of members may take, by default `memory_budget`.
    checkpoint_every_s: least seconds between two checkpoints inside a stage.
    progress: where it is shown.
    processes: of the run, if there are several; process 0 reads and writes the directory.

  Without an entry point, as in a notebook: `Context("runs/mine")`.
  """

  def __init__(
    self,
    directory: str | pathlib.Path,
    memory_gb: float | None = None,
    checkpoint_every_s: float = 20.0,
    progress: Progress | None = None,
    processes: Processes | None = None,
  ):
    self.processes = processes or Processes()
    self.directory = pathlib.Path(directory)
    if self.processes.writer:
      self.directory.mkdir(parents=True, exist_ok=True)
    self.checkpoint_every_s = checkpoint_every_s
    self.progress = progress or Progress()
    self.metrics = Metrics(self.directory)
    self.clock = Clock()
    self.stop_requested: str | None = None
    self.timings: dict[str, dict[str, float]] = {}
    self.compiled = Compiled()  # functions that stages share, see members
    self._memory_gb = memory_gb
    self._environment: tuple[list[int], int] | None = None

  @property
  def devices(self) -> list[int]:
    """How many devices each process has."""
    return self._surroundings()[0]

  @property
  def memory_budget(self) -> int:
    """Bytes that a batch of members may take on each device, those of the smallest one."""
    return int(self._memory_gb * 2**30) if self._memory_gb else self._surroundings()[1]

  def _surroundings(self) -> tuple[list[int], int]:
    if self._environment is None:
      own = [jax.local_device_count(), memory_budget()]
      found = self.processes.agree("devices", own, list)
      self._environment = [n for n, _ in found], min(budget for _, budget in found)
    return self._environment

  def seeds(self, config: ConfigDict) -> list[int]:
    """config.seed, config.seed + 1, ..., config.seeds of them."""
    return list(range(config.seed, config.seed + config.seeds))

  def members(
    self,
    name: str,
    program: Program,
    config: ConfigDict,
    operands: PyTree,
    over: Mapping[Key, Sequence],
    set: Mapping[str, Any] | None = None,
    **options,
  ) -> dict[str, Any]:
    """Results of a program for every combination of values; kept under the stage's name.

    Args:
      name: of the stage, unique in the run.
      program: one member.
      config: the run's config.
      operands: arrays shared by all members.
      over: dotted config key -> its values; several keys make a grid, a tuple of keys takes
        a sequence of tuples. Seeds: `over={"seed": ctx.seeds(config)}`.
      set: config keys that differ from the run's config in this stage (shapes, names).
      **options: see `members.run_members`.

    Returns:
      Nested dict of NumPy arrays with one leading axis for each entry of `over`.
    """
    bound = bind(config, set or {})
    return self._kept(
      name, lambda: run_members(self, name, program, bound, operands, over, **options)
    )

  def compile_ahead(self, *stages: "Stage") -> None:
    """Begins to compile the programs of stages in the background, in this order.

    Half of a short run is compiling, and XLA compiles a program on one core: what is announced
    here before the first stage runs compiles side by side. Stages kept on disk are skipped;
    of several processes each compiles when it needs to. Operands that an earlier stage has yet
    to compute are announced by their shapes, `jax.ShapeDtypeStruct`.
    """
    if self.processes.count > 1:
      return
    for stage in stages:
      if not (self.stage_directory(stage.name) / "result.npz").exists():
        config = bind(stage.config, stage.set or {})
        arguments = (stage.name, stage.program, config, stage.operands, stage.over)
        self.compiled.ahead(functools.partial(compile_members, self, *arguments))

  def stage(self, name: str, function: Callable[..., dict], *args, **kwargs) -> dict[str, Any]:
    """`function(*args, **kwargs)`, a nested dict of arrays, computed once for the directory.

    The unit of resuming: a later run in the same directory reads the arrays from disk. Of
    several processes the first computes it and gives it to the others, so it need not be
    deterministic; members belong outside of it.
    """
    return self._kept(
      name, lambda: self.processes.first_alone(name, lambda: function(*args, **kwargs))
    )

  def _kept(self, name: str, function: Callable[[], dict | None]) -> dict[str, Any]:
    """What is on disk under the name, or else `function()`, kept there.

    All processes call it, and process 0 has the result.
    """
    writer, folder = self.processes.writer, self.stage_directory(name)
    result = rundir.load_arrays(folder / "result.npz") if writer else None
    result = self.processes.share(name, result)
    if result is None:
      wall_s, compile_s = self.clock.wall_s, self.clock.compile_s
      result = function()
      spent = {
        "wall_s": self.clock.wall_s - wall_s,
        "compile_s": self.clock.compile_s - compile_s,
      }
      if writer:
        text = json.dumps(spent).encode()
        rundir.write_whole(folder / "time.json", lambda file: file.write(text))
        rundir.save_arrays(folder / "result.npz", result)
        for part in folder.glob("members_*.npz"):
          part.unlink()
        result = rundir.load_arrays(folder / "result.npz")  # as a resumed run would see it
      result = self.processes.share(name, result)
      self.timings[name] = spent
      self.leave_if_asked()
    elif writer:
      self.timings[name] = {**_read_json(folder / "time.json"), "kept": 1.0}
    return result

  def stage_directory(self, name: str) -> pathlib.Path:
    """Where a stage keeps its arrays and checkpoints."""
    return self.directory / "checkpoints" / re.sub(r"[^\w.=+-]+", "_", name)

  def close(self) -> None:
    """Ends what runs in the background and closes the files of metrics."""
    self.compiled.close()
    self.metrics.close()

  def leave_if_asked(self) -> None:
    """Raises `Stopped` once a signal has asked the run to leave; of all processes, if one."""
    asked = self.processes.agree("leave", self.stop_requested, first_given)
    if asked:
      raise Stopped(asked)

  def total(self, which: str) -> float:
    """`wall_s` or `compile_s` of this attempt and of the stages kept from earlier ones."""
    kept = sum(t.get(which, 0.0) for t in self.timings.values() if "kept" in t)
    return getattr(self.clock, which) + kept


def _read_json(path: pathlib.Path) -> dict[str, float]:
  try:
    return json.loads(path.read_text("utf-8"))
  except (OSError, ValueError):
    return {}

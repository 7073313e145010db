"""The engine: many members of a program as one compiled batch.

Members (seeds × swept values) are a vmapped axis. The axis is cut into batches that fit a
memory budget, each batch is sharded over the devices, and the steps of a batch run as
compiled chunks between which the host writes checkpoints, metrics and progress. On a CPU the
members of a device go through a chunk in groups whose state stays in the cache.

Of several processes each has the members of its own devices; process 0 collects what is
written and decides when all stop, save or go on in smaller batches (see `processes`).
"""

import itertools
import json
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from lib import numerics
from lib.experiment import configs, cutting, rundir
from lib.experiment.checkpoint import Checkpoints, plain, plain_shapes, typed
from lib.experiment.compilation import compiler_options
from lib.experiment.errors import NonFiniteError, UserError
from lib.experiment.processes import first_given
from lib.experiment.program import Program, bind

PyTree = Any
_AXIS = "members"
_CACHE = 2**21  # bytes of state that a group of members should take on a CPU
_CHUNKS = 20  # compiled chunks in which a batch's steps run, unless the program says


def run_members(
  ctx,
  name: str,
  program: Program,
  config: ConfigDict,
  operands: PyTree,
  over: Mapping[cutting.Key, Sequence],
  *,
  batch: int | None = None,
  tolerate_non_finite: bool = False,
) -> dict[str, Any] | None:
  """Runs all members and returns their results, with the grid's shape as leading axes.

  Of several processes all call it, and process 0 has the results; the others return None.

  Args:
    ctx: the `Context` of the run: directory, progress, metrics, clock, budget.
    name: of the stage, for progress and the checkpoint folder.
    program: one member.
    config: the members' config but for the swept keys.
    operands: arrays shared by the members.
    over: the grid, see `grid`.
    batch: members that are computed together if they fit the memory, by default all. The last
      batch is filled up, so that stages that differ in the number of members alone share
      their compiled functions.
    tolerate_non_finite: keep going when a member's loss is not finite (its numbers say so).

  Raises:
    NonFiniteError: a loss is not finite.
    UserError: the disk is full, an operand holds a NaN, or one member alone does not fit
      the device's memory.
  """
  columns, shape = cutting.grid(over)
  _refuse_nan(name, operands)
  count = int(np.prod(shape))
  batches = _Batches(ctx, name, program, config, operands, columns, count, batch or count)
  parts, start = [], 0
  while start < count:
    part, length = batches.load(start)
    if not length:
      try:
        part, length = batches.compute(start, tolerate_non_finite)
      except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
          raise
        batches.shrink(error)
        continue
    parts.append(part)
    start += length
  if not ctx.processes.writer:
    return None
  whole = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
  return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), whole)


def compile_members(
  ctx, name: str, program: Program, config: ConfigDict, operands, over, batch=None
) -> None:
  """Compiles what `run_members` with these arguments would; shapes do for operands."""
  columns, shape = cutting.grid(over)
  count = int(np.prod(shape))
  batches = _Batches(ctx, name, program, config, operands, columns, count, batch or count)
  for function, length in (("init", 0), ("advance", batches.plan.chunk), ("finish", 0)):
    if function != "advance" or batches.steps:
      batches._compiled(function, length)


class _Batches:
  """The batches of one stage: their plan, compiled functions, and files."""

  def __init__(self, ctx, name, program, config, operands, columns, count, batch):
    self.ctx, self.name, self.program = ctx, name, program
    self.processes = ctx.processes
    self.config, self.columns, self.count, self.batch = config, columns, count, batch
    self.directory = pathlib.Path(ctx.stage_directory(name))
    self.steps = program.steps(config)
    self.shares = cutting.deal(batch, ctx.devices)
    self.devices = sum(self.shares)  # of all processes
    own = jax.local_devices()[: self.shares[self.processes.index]]
    self.mesh = Mesh(np.array(own), (_AXIS,))
    self.sharded = NamedSharding(self.mesh, P(_AXIS))
    self.operands = _placed(operands, NamedSharding(self.mesh, P()))
    self.signature = self._signature()
    kept = self.processes.agree(self.name, self._load_plan())
    # The plan of process 0, should the others' devices lead them to another one.
    self.plan = cutting.Plan(*(kept or self.processes.agree(self.name, self._make_plan())))
    self._store_plan()

  # --- the plan

  def _load_plan(self) -> cutting.Plan | None:
    """The plan of an earlier attempt, unless it was for other devices."""
    if not self.processes.writer:
      return None
    try:
      plan = cutting.Plan(**json.loads((self.directory / "plan.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
      return None
    return None if plan.batch % self.devices else plan

  def _store_plan(self) -> None:
    if self.processes.writer:
      text = json.dumps(self.plan._asdict()).encode()
      rundir.write_whole(self.directory / "plan.json", lambda file: file.write(text))

  def _make_plan(self) -> cutting.Plan:
    """The largest batch whose compiled program fits the budget, evened out."""
    chunk = self.program.chunk or max(1, self.steps // _CHUNKS)
    self.plan = cutting.Plan(
      cutting.round_up(self.batch, self.devices), min(chunk, max(1, self.steps))
    )
    budget = self.ctx.memory_budget * self.devices
    for _ in range(8):
      needed = self._memory_or_too_much()
      if needed <= budget or self.plan.batch <= self.devices:
        break
      batch = max(self.devices, int(self.plan.batch * budget / needed))
      batches = -(-self.batch // batch)
      batch = cutting.round_up(-(-self.batch // batches), self.devices)
      self.plan = self.plan._replace(batch=min(batch, self.plan.batch - 1))
      self.plan = self.plan._replace(batch=cutting.round_down(self.plan.batch, self.devices))
    if needed > budget:
      logging.warning(
        "%s: one batch needs %.2g GiB, more than the budget of %.2g GiB",
        self.name,
        needed / 2**30,
        budget / 2**30,
      )
    return self.plan

  def _memory_or_too_much(self) -> float:
    """`_memory`, or twice the budget where the compiler finds that it cannot fit."""
    try:
      return self._memory()
    except jax.errors.JaxRuntimeError as error:
      if not _out_of_memory(error) or self.plan.batch <= self.devices:
        raise
      logging.warning("%s: a batch of %d does not fit", self.name, self.plan.batch)
      return 2.0 * self.ctx.memory_budget * self.devices

  def _memory(self) -> int:
    """Bytes that the larger of the compiled functions takes on all devices together."""
    functions = [self._function("finish")]
    if self.steps:
      functions.append(self._function("advance", self.plan.chunk))
    found = 0
    for function in functions:
      stats = function.memory_analysis()
      if stats is not None:
        size = stats.temp_size_in_bytes + stats.argument_size_in_bytes
        size += stats.output_size_in_bytes - stats.alias_size_in_bytes
        found = max(found, size)
    return found * self.devices

  def shrink(self, error: Exception) -> None:
    """Halves the batch after the device ran out of memory.

    Raises:
      UserError: it is already one member a device.
    """

    def check(_):
      if self.plan.batch <= self.devices:
        raise UserError(
          f"{self.name}: one member alone does not fit the device's memory; "
          "make the model or its batch smaller, or use a larger device."
        ) from error

    self.processes.agree(self.name, None, check)
    batch = max(self.devices, cutting.round_down(self.plan.batch // 2, self.devices))
    logging.warning("%s: out of memory; going on in batches of %d", self.name, batch)
    self.plan = self.plan._replace(batch=batch)
    self._store_plan()

  # --- compiled functions

  def _batched(self, name: str, length: int, in_turn: bool = False):
    """The batched function: values and operands, then what else it maps over.

    Its members are vmapped, or go one after the other (`in_turn`).
    """
    program, config = self.program, self.config

    def init(values, operands):
      return program.init(bind(config, values), operands)

    def advance(values, operands, state):
      return program.advance(bind(config, values), operands, state, length)

    def finish(values, operands, state, history):
      return dict(program.finish(bind(config, values), operands, state, history))

    function, mapped, donate = {
      "init": (init, 0, ()),
      "advance": (advance, 1, (2,)),
      "finish": (finish, 2, ()),
    }[name]
    if in_turn:
      batched = cutting.one_by_one(function)
    else:
      batched = jax.vmap(function, in_axes=(0, None, *[0] * mapped))
    if name == "advance" and not in_turn:
      batched = cutting.in_groups(batched, self._group())
    if self.mesh.size > 1:
      batched = jax.shard_map(
        batched,
        mesh=self.mesh,
        in_specs=(P(_AXIS), P(), *[P(_AXIS)] * mapped),
        out_specs=P(_AXIS),
        check_vma=False,
      )
    return jax.jit(batched, donate_argnums=donate)

  def _group(self) -> int:
    """How many members of a device advance together: all, or on a CPU what its cache holds."""
    device = self.plan.batch // self.devices
    if self.mesh.devices.flat[0].platform != "cpu":
      return device
    if self.program.alone:
      return 1
    leaves = jax.tree.leaves(self._compiled("init")[1])
    state = sum(x.size * x.dtype.itemsize for x in leaves) / (device * self.mesh.size)
    return cutting.nearest_divisor(device, _CACHE / max(state, 1))

  def _signature(self):
    """What a compiled function depends on, but for the batch and the length."""
    constant = {k: v for k, v in configs.flatten(self.config).items() if k not in self.columns}
    shapes = jax.tree.map(lambda x: (x.shape, str(x.dtype)), self.operands)
    return self.program, repr((constant, shapes, sorted(self.columns))), self.mesh

  def _compiled(self, name: str, length: int = 0):
    """(function, shapes of its outputs), compiled ahead of time to be timed apart.

    Stages of one run that differ in swept values alone share their compiled functions.
    """

    def compile_it():
      arguments = [_shapes(self._values(0), self.sharded), _shapes(self.operands)]
      if name != "init":
        arguments.append(self._state_like())
      if name == "finish":
        arguments.append(self._history_like(self.steps))
      lowered = self._batched(name, length).lower(*arguments)
      if self.mesh.size > 1 and numerics.batched_lapack(lowered.as_text()):
        # It could stand still: see `lib.numerics.one_at_a_time`.
        lowered = self._batched(name, length, in_turn=True).lower(*arguments)
      options = compiler_options(quick=self.config.get("preset") == "smoke")
      return lowered.compile(options), lowered.out_info

    key = (self.signature, self.plan.batch, name, length)
    with self.ctx.clock.compiling():
      return self.ctx.compiled.get(key, compile_it)

  def _function(self, name: str, length: int = 0):
    return self._compiled(name, length)[0]

  def _state_like(self):
    return _shapes(self._compiled("init")[1], self.sharded)

  def _history_like(self, steps: int):
    """Shapes of the measurements of so many steps, from those of a chunk."""
    if not steps:
      return {}
    _, (_, chunk) = self._compiled("advance", self.plan.chunk)

    def longer(x):
      shape = (x.shape[0], steps, *x.shape[2:])
      return jax.ShapeDtypeStruct(shape, x.dtype, sharding=self.sharded)

    return jax.tree.map(longer, chunk)

  # --- one batch

  def _bounds(self) -> list[tuple[int, int]]:
    """The members of a batch that each process has: from, to."""
    device = self.plan.batch // self.devices
    ends = np.cumsum([0, *self.shares]) * device
    return list(itertools.pairwise(ends.tolist()))

  def _values(self, start: int) -> dict[str, np.ndarray]:
    """This process's swept values; the last batch is filled up with its last member."""
    low, high = self._bounds()[self.processes.index]
    index = np.minimum(start + np.arange(low, high), self.count - 1)
    return {key: column[index] for key, column in self.columns.items()}

  def _file(self, start: int) -> pathlib.Path:
    return self.directory / f"members_{start:06d}.npz"

  def load(self, start: int) -> tuple[dict[str, Any] | None, int]:
    """A batch finished earlier, on process 0, and the number of its members (0: none)."""
    part = rundir.load_arrays(self._file(start)) if self.processes.writer else None
    length = 0 if part is None else len(jax.tree.leaves(part)[0])
    return part, self.processes.agree(self.name, length)

  def compute(
    self, start: int, tolerate_non_finite: bool
  ) -> tuple[dict[str, Any] | None, int]:
    """Runs one batch, from its newest checkpoint if there is one, and keeps the results.

    Returns:
      Its results, on process 0, and the number of its members.
    """
    values = jax.device_put(self._values(start), self.sharded)
    real = min(self.plan.batch, self.count - start)
    checkpoints = Checkpoints(self.directory / f"steps_{start:06d}")
    step, state, history = self._begin(checkpoints, values)
    if self.processes.writer:
      self.ctx.metrics.rewind(self.name, start, step)
    saved = time.monotonic()
    with self.ctx.progress.task(
      f"{self.name}" + (f" {start}+{real}/{self.count}" if real < self.count else ""),
      total=max(1, self.steps),
      done=step,
    ) as task:
      while step < self.steps:
        length = min(self.plan.chunk, self.steps - step)
        advance = self._function("advance", length)
        state, measured = self._together(advance, values, self.operands, state)
        measured = jax.device_get(measured)
        history.append(measured)
        step += length
        if not tolerate_non_finite:
          self._check_finite(measured, start, step, checkpoints)
        last = {k: v[:, -1] for k, v in measured.items() if v.ndim == 2}
        shown = self._whole(last)
        if shown is not None:
          shown = {k: v[:real] for k, v in shown.items()}
          self.ctx.metrics.write(self.name, start, step, shown)
        task.advance(length)
        due = time.monotonic() - saved > self.ctx.checkpoint_every_s
        if step < self.steps and self._save_now(due):
          whole = self._whole(plain({"state": state, "history": _join(history)}))
          if whole is not None:
            checkpoints.save(step, whole)
          saved = time.monotonic()
          self.ctx.leave_if_asked()
      finish = self._function("finish")
      joined = jax.device_put(_join(history), self.sharded) if self.steps else {}
      results = jax.device_get(self._together(finish, values, self.operands, state, joined))
      if not self.steps:
        task.advance(1)
    if not tolerate_non_finite:
      self._check_finite(results, start, step, checkpoints)
    results = self._whole(results)
    if results is not None:
      results = jax.tree.map(lambda x: np.asarray(x)[:real], results)
      rundir.save_arrays(self._file(start), results)
      checkpoints.clear()
    self.ctx.leave_if_asked()
    return results, real

  def _begin(self, checkpoints: Checkpoints, values):
    """The state to start from: (step, state, history)."""
    step, tree = self._restore(checkpoints) if self.steps else (None, None)
    if step is not None:
      logging.info("%s: resumed at step %d", self.name, step)
      return step, tree["state"], [jax.device_get(tree["history"])]
    return 0, self._together(self._function("init"), values, self.operands), []

  def _restore(self, checkpoints: Checkpoints):
    """(step, tree) of the newest checkpoint, this process's part; (None, None) without."""

    def like(step):
      return {"state": self._state_like(), "history": self._history_like(step)}

    if self.processes.count == 1:
      return checkpoints.restore_latest(like)

    def whole_like(step):
      def whole(x):
        return np.empty((self.plan.batch, *x.shape[1:]), x.dtype)

      return jax.tree.map(whole, plain_shapes(like(step)))

    step, parts = None, None
    if self.processes.writer:
      step, found = checkpoints.restore_latest(whole_like)
      leaves = jax.tree.leaves(found)
      parts = [[leaf[low:high] for leaf in leaves] for low, high in self._bounds()]
    step = self.processes.agree(self.name, step)
    if step is None:
      return None, None
    own = self.processes.scatter(self.name, parts)
    tree = jax.tree.structure(like(step)).unflatten(own)
    return step, jax.device_put(typed(tree, like(step)), self.sharded)

  # --- with the other processes

  def _together(self, function: Callable, *args):
    """`function(*args)`, unless a device of any process runs out of memory.

    Raises:
      JaxRuntimeError: one does; on all processes, which then go on in smaller batches.
    """
    found, full = None, None
    try:
      found = jax.block_until_ready(function(*args))
    except jax.errors.JaxRuntimeError as error:
      if "RESOURCE_EXHAUSTED" not in str(error):
        raise
      full = error
    if self.processes.agree(self.name, full is not None, any):
      raise full or jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: in another process")
    return found

  def _whole(self, tree: PyTree) -> PyTree | None:
    """A tree of the batch's members on process 0, None elsewhere."""
    if self.processes.count == 1:
      return tree
    leaves, structure = jax.tree.flatten(tree)
    parts = self.processes.collect(self.name, jax.device_get(leaves))
    if parts is None:
      return None
    return structure.unflatten([np.concatenate(leaf) for leaf in zip(*parts, strict=True)])

  def _save_now(self, due: bool) -> bool:
    """Whether process 0's clock or a signal to any process asks for a checkpoint."""
    asked = [due, self.ctx.stop_requested is not None]

    def decide(found):
      return found[0][0] or any(stop for _, stop in found)

    return self.processes.agree(self.name, asked, decide)

  def _check_finite(self, measured, start: int, step: int, checkpoints: Checkpoints) -> None:
    """Raises on process 0 if a loss of any is not finite; that ends the others."""

    def decide(messages):
      if (message := first_given(messages)) is None:
        return
      kept = checkpoints.newest()
      raise NonFiniteError(
        f"{self.name}: {message}; "
        + (f"the last good checkpoint is '{kept}'. " if kept else "no checkpoint before it. ")
        + "Try a smaller step size or look at the data."
      )

    self.processes.agree(self.name, self._not_finite(measured, start, step), decide)

  def _not_finite(self, measured, start: int, step: int) -> str | None:
    low, high = self._bounds()[self.processes.index]
    real = min(high, self.count - start) - low
    if real <= 0:  # its members only fill up the batch
      return None
    for name, value in measured.items():
      if isinstance(value, Mapping) or not name.endswith("loss"):
        continue
      bad = ~np.isfinite(value[:real].reshape(real, -1))
      if bad.any():
        member = int(np.argmax(bad.any(1)))
        first = step
        if self.steps and value.ndim >= 2:  # a history: say which step of the chunk
          first = step - value.shape[1] + 1 + int(np.argmax(bad[member]))
        index = start + low + member
        who = ", ".join(f"{k}={column[index]}" for k, column in self.columns.items())
        return f"{name} is not finite at step {first} of {self.steps} ({who})"
    return None


def _out_of_memory(error: Exception) -> bool:
  """Whether memory ran out: accelerators, compilers, the CPU and NumPy say it differently."""
  words = ("RESOURCE_EXHAUSTED", "Out of memory")
  return isinstance(error, MemoryError) or any(w in str(error) for w in words)


def _refuse_nan(name: str, operands: PyTree) -> None:
  """Raises a `UserError` for data with a NaN in them: every number from there would be one."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(operands):
    if not jax.numpy.issubdtype(jax.numpy.result_type(leaf), np.inexact):
      continue
    bad = np.isnan(np.asarray(leaf))
    if bad.any():
      what = jax.tree_util.keystr(path, simple=True, separator=".")
      first = tuple(np.argwhere(bad)[0].tolist())
      raise UserError(
        f"{name}: the data{f' ({what})' if what else ''} of shape {bad.shape} hold "
        f"{bad.sum()} NaN, the first at {first}; clean them: no result would be a number."
      )


def _join(history: list) -> Any:
  if len(history) > 1:
    history[:] = [jax.tree.map(lambda *parts: np.concatenate(parts, 1), *history)]
  return history[0]


def _placed(operands: PyTree, sharding: NamedSharding) -> PyTree:
  """Operands on all devices; what is a shape alone, to compile for, is a shape there."""

  def place(x):
    if isinstance(x, jax.ShapeDtypeStruct):
      return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
    return jax.device_put(x, sharding)

  return jax.tree.map(place, operands)


def _shapes(tree: PyTree, sharding=None) -> PyTree:
  def shape(x):
    return jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=sharding or getattr(x, "sharding", None)
    )

  return jax.tree.map(shape, tree)

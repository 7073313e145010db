"""Checkpoints through orbax, each with a manifest of its files' hashes.

A checkpoint counts only when its manifest is there and every file matches it, so a process
killed while writing, a truncated file and a flipped bit are all the same case: the checkpoint
is skipped with a warning and the one before it is used.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from lib.experiment import rundir

PyTree = Any


class Checkpoints:
  """The newest few checkpoints of one loop, in one directory.

  Args:
    directory: where they lie: `step_00000100/` (orbax) beside `step_00000100.json`.
    keep: how many to keep; two at least, so that a damaged one has one before it.
  """

  def __init__(self, directory: pathlib.Path, keep: int = 2):
    self.directory = pathlib.Path(directory).absolute()
    self.keep = max(2, keep)

  def save(self, step: int, tree: PyTree) -> pathlib.Path:
    """Writes a checkpoint and then drops the oldest beyond `keep`.

    Raises:
      UserError: the disk is full; the checkpoints before are untouched.
    """
    path = self._path(step)
    self._remove(step)
    try:
      with rundir.explain_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Raises in one line what orbax does in many.
        os.rmdir(tempfile.mkdtemp(dir=path.parent))
        with _checkpointer() as (writer, args):
          writer.save(path, args=args.StandardSave(plain(tree)))
        manifest = {"step": step, "files": _digests(path)}
      text = json.dumps(manifest).encode()
      rundir.write_whole(self._manifest(step), lambda file: file.write(text))
    except BaseException:
      self._remove(step)
      raise
    for old in self.steps()[: -self.keep]:
      self._remove(old)
    return path

  def steps(self) -> list[int]:
    """Steps that have a manifest, oldest first (not yet verified)."""
    return sorted(int(p.stem.split("_")[1]) for p in self.directory.glob("step_*.json"))

  def restore_latest(
    self, like: Callable[[int], PyTree]
  ) -> tuple[int, PyTree] | tuple[None, None]:
    """The newest undamaged checkpoint, as (step, tree), or (None, None).

    Args:
      like: maps a step to a tree of arrays or `jax.ShapeDtypeStruct` (with shardings where
        they matter) of that checkpoint's structure; a NumPy array is restored as one.
    """
    for step in reversed(self.steps()):
      try:
        if json.loads(self._manifest(step).read_text())["files"] != _digests(self._path(step)):
          raise ValueError("its files do not match its manifest")
        wanted = like(step)
        with _checkpointer() as (reader, args):
          shapes = args.StandardRestore(plain_shapes(wanted))
          found = reader.restore(self._path(step), args=shapes)
        return step, typed(found, wanted)
      except Exception as error:  # whatever is wrong with it, the one before may be whole
        logging.warning("checkpoint %s is skipped: %s", self._path(step), error)
    return None, None

  def newest(self) -> pathlib.Path | None:
    """Path of the newest checkpoint, None when there is none."""
    steps = self.steps()
    return self._path(steps[-1]) if steps else None

  def clear(self) -> None:
    """Removes all of them: the loop is over."""
    shutil.rmtree(self.directory, ignore_errors=True)

  def _path(self, step: int) -> pathlib.Path:
    return self.directory / f"step_{step:08d}"

  def _manifest(self, step: int) -> pathlib.Path:
    return self.directory / f"step_{step:08d}.json"

  def _remove(self, step: int) -> None:
    with contextlib.suppress(FileNotFoundError):
      self._manifest(step).unlink()  # first: without it the rest does not count
    for path in self.directory.glob(f"step_{step:08d}*"):
      shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _checkpointer():
  """An orbax checkpointer that raises what goes wrong without logging it as well.

  Not the asynchronous one: that waits for minutes where a directory cannot be made, and
  gives up when the calendar clock is set ahead. Yields it and `orbax.checkpoint.args`.
  """
  import orbax.checkpoint as ocp  # half a second that a run without checkpoints saves

  options = ocp.options.MultiprocessingOptions()
  if jax.process_count() > 1:  # process 0 reads and writes alone, see `processes`
    options.active_processes, options.barrier_sync_key_prefix = {0}, "process_0"
  before = logging.get_verbosity()
  logging.set_verbosity(logging.FATAL)
  try:
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=options)
    with ocp.Checkpointer(handler, multiprocessing_options=options) as checkpointer:
      yield checkpointer, ocp.args
  finally:
    logging.set_verbosity(before)


def _digests(path: pathlib.Path) -> dict[str, str]:
  """SHA-256 of every file below a directory."""
  found = {}
  for file in sorted(p for p in path.rglob("*") if p.is_file()):
    with open(file, "rb") as stream:
      found[str(file.relative_to(path))] = hashlib.file_digest(stream, "sha256").hexdigest()
  return found


def plain(tree: PyTree) -> PyTree:
  """The tree with typed keys as the numbers they consist of."""
  return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, tree)


def typed(tree: PyTree, like: PyTree) -> PyTree:
  """The inverse of `plain`, for a tree of these types."""
  return jax.tree.map(_with_key_type, tree, like)


def plain_shapes(tree: PyTree) -> PyTree:
  """Shapes of `plain(tree)`, for a tree of arrays or shapes."""
  return jax.tree.map(_plain_shape, tree)


def _is_key(x) -> bool:
  return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _plain_shape(x):
  if isinstance(x, np.ndarray):
    return x
  if _is_key(x):
    data = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(x.shape, x.dtype))
    return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=getattr(x, "sharding", None))
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=getattr(x, "sharding", None))


def _with_key_type(x, like):
  if not _is_key(like):
    return x
  return jax.random.wrap_key_data(x, impl=jax.random.key_impl(jnp.empty((), like.dtype)))

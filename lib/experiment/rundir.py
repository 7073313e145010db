"""The run directory: one config, one writer, every file whole or absent."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from absl import logging

from lib.experiment.errors import UserError

_LARGE = 40  # characters of a value shown in an error


class RunDirectory:
  """A directory that belongs to one config and, while open, to one process.

  Layout: `config.json`, `results.json`, `report.md`, `metrics.jsonl`, `measured.npz` (what
  was measured; claims and figures are computed from it), `figures/`, `checkpoints/` (one
  folder a stage) and TensorBoard events in `tensorboard/`.

  Args:
    path: of the directory; it is made if need be.
    config: what it belongs to.
    earlier: values of keys that directories made by earlier versions did not record.

  Raises:
    UserError: the path cannot be written to, another process runs in it, or it was made
      with another config.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    config: Mapping[str, Any],
    earlier: Mapping[str, Any] | None = None,
  ):
    self.path = pathlib.Path(path)
    self._earlier = dict(earlier or {})
    try:
      self.path.mkdir(parents=True, exist_ok=True)
      self._lock = open(self.path / ".lock", "a+")  # noqa: SIM115 (held until close)
    except OSError as error:
      raise UserError(
        f"Cannot write to the run directory '{self.path}' ({error.strerror}); "
        "choose another with --workdir=DIR."
      ) from error
    try:
      fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      self._lock.close()
      raise UserError(
        f"Another process is running in '{self.path}'; wait for it or choose another "
        "directory with --workdir=DIR."
      ) from error
    self._claim(json.loads(json.dumps(config)))

  def _claim(self, config: dict[str, Any]) -> None:
    """Records the config, or refuses when the directory was made with another one."""
    file = self.path / "config.json"
    if not file.exists():
      self.write_json("config.json", config)
      return
    try:
      found = json.loads(file.read_text("utf-8"))
    except ValueError as error:
      raise UserError(
        f"'{file}' is not valid JSON; restore it or choose another --workdir."
      ) from error
    differing = difference(self._earlier | found, config)
    if differing:
      raise UserError(
        f"'{self.path}' was made with another config ({'; '.join(differing[:5])}"
        + (f"; and {len(differing) - 5} more" if len(differing) > 5 else "")
        + "); choose another directory with --workdir=DIR."
      )

  def close(self) -> None:
    """Lets another process have the directory."""
    self._lock.close()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def write_text(self, name: str, text: str) -> pathlib.Path:
    """Writes a text file whole or not at all."""
    return write_whole(self.path / name, lambda file: file.write(text.encode("utf-8")))

  def write_json(self, name: str, value: Any) -> pathlib.Path:
    """Writes a JSON file whole or not at all; NaN and infinities are an error."""
    return self.write_text(name, json.dumps(value, indent=2, allow_nan=False) + "\n")


def difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix="") -> list[str]:
  """`key: old -> new` for every leaf in which two nested mappings differ."""
  lines = []
  for key in [*old, *(k for k in new if k not in old)]:
    name = f"{prefix}{key}"
    a, b = old.get(key, "absent"), new.get(key, "absent")
    if isinstance(a, Mapping) and isinstance(b, Mapping):
      lines += difference(a, b, f"{name}.")
    elif a != b:
      lines.append(f"{name} was {str(a)[:_LARGE]}, now {str(b)[:_LARGE]}")
  return lines


@contextlib.contextmanager
def explain_full_disk(path: str | os.PathLike) -> Iterator[None]:
  """Turns a disk that is full, or no longer writable, into one clear error."""
  try:
    yield
  except Exception as error:
    text, number = str(error), getattr(error, "errno", None)
    full = ("No space left", "RESOURCE_EXHAUSTED: write")
    closed = ("Read-only file system", "Permission denied", "PERMISSION_DENIED")
    if number in (errno.ENOSPC, errno.EDQUOT) or any(words in text for words in full):
      raise UserError(
        f"No space left while writing '{path}'; what was written before is kept: free some "
        "space and run the same command again to go on."
      ) from error
    if number in (errno.EROFS, errno.EACCES) or any(words in text for words in closed):
      raise UserError(
        f"'{path}' cannot be written; what was written before is kept: make its directory "
        "writable and run the same command again to go on."
      ) from error
    raise


def write_whole(path: pathlib.Path, write: Callable[[BinaryIO], Any]) -> pathlib.Path:
  """Writes a file beside its place and renames it, so that it is never seen half written."""
  with explain_full_disk(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
      with os.fdopen(handle, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
      os.chmod(temporary, 0o644)
      os.replace(temporary, path)
    except BaseException:
      with contextlib.suppress(OSError):
        os.unlink(temporary)
      raise
  return path


def save_arrays(path: pathlib.Path, tree: Mapping[str, Any]) -> pathlib.Path:
  """Writes a nested dict of arrays as .npz, with keys joined by "/".

  Raises:
    TypeError: a leaf is not an array.
    ValueError: a key has a "/" of its own, which would come back as one more level.
  """
  from flax import traverse_util

  for keys in traverse_util.flatten_dict(dict(tree)):
    for key in keys:
      if "/" in key:
        raise ValueError(f"result '{key}' must not have a '/' in its name")
  flat = traverse_util.flatten_dict(dict(tree), sep="/", keep_empty_nodes=False)
  arrays = {key: np.asarray(value) for key, value in flat.items()}
  for key, value in arrays.items():
    if value.dtype == object:
      raise TypeError(f"result '{key}' is not an array")
  return write_whole(path, lambda file: np.savez(file, **arrays))


def load_arrays(path: pathlib.Path) -> dict[str, Any] | None:
  """The nested dict that `save_arrays` wrote; None when absent or, with a warning, damaged."""
  from flax import traverse_util

  if not path.exists():
    return None
  try:
    with np.load(path, allow_pickle=False) as file:
      flat = {key: file[key] for key in file.files}
  except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
    logging.warning("%s is damaged (%s); it will be made again", path, error)
    return None
  return traverse_util.unflatten_dict(flat, sep="/")

"""Reads the files that people have: npz, npy, idx, SVHN's mat, CIFAR's bin, image folders and
archives of them, csv. Nothing is unpacked to disk and nothing is unpickled.
"""

import csv
import gzip
import io
import itertools
import os
import pathlib
import re
import stat
import struct
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from lib.experiment.errors import UserError, did_you_mean

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_TARS = (".tar", ".tar.xz", ".tar.gz", ".tgz", ".tar.bz2", ".txz")
_SPLIT_WORDS = {
  "train": "train",
  "training": "train",
  "test": "test",
  "testing": "test",
  "t10k": "test",
  "val": "validation",
  "valid": "validation",
  "validation": "validation",
  "dev": "validation",
  "extra": "extra",
}
_INPUT_WORDS = {"x", "images", "image", "imgs", "img", "data", "inputs", "features"}
_TARGET_WORDS = {"y", "labels", "label", "targets", "target"}
_MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "null")


class Part(NamedTuple):
  """One split as found.

  Attributes:
    inputs: array (n, ...), or a sequence of `Encoded` images.
    labels: (n,) integers or real numbers, or n names of classes.
    more: further labels by feature name (CIFAR-100's coarse ones).
  """

  inputs: Sequence
  labels: Sequence
  more: dict = {}  # noqa: RUF012


class Encoded(NamedTuple):
  """An image file, decoded only when looked at."""

  name: str
  read: Callable[[], bytes]


class Table(NamedTuple):
  """A csv file: columns as float32 arrays, or as lists of names; `target` apart."""

  columns: dict[str, Sequence]
  target: Sequence


def _words(text: str) -> list[str]:
  """`X_train.npy`, `trainImages`, `t10k-images-idx3-ubyte` as lower-case words."""
  text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text)
  return re.findall(r"t10k|[a-z]+", text.lower())


def split_of(text: str) -> str | None:
  """The split that a file, folder or array name speaks of, or None."""
  for word in _words(text):
    if word in _SPLIT_WORDS:
      return _SPLIT_WORDS[word]
  return None


def _role(text: str) -> str | None:
  words = set(_words(text))
  if words & _TARGET_WORDS:
    return "labels"
  return "inputs" if words & _INPUT_WORDS else None


def _suffix(path: str) -> str:
  name = os.path.basename(path).lower()
  for end in (*_TARS, ".zip", ".npz", ".npy", ".csv", ".tsv", ".mat", ".bin", *IMAGES):
    if name.endswith(end):
      return end
  return ".idx" if re.search(r"idx\d", name) or name.endswith((".idx", ".idx.gz")) else ""


def read(
  paths: Sequence[str | os.PathLike],
  *,
  target: str | None = None,
  drop: Sequence[str] = (),
  keep: Sequence[str] = (),
  missing: str = "error",
) -> tuple[dict[str, Part | Table], list[str]]:
  """Splits found in the files, and remarks on what was done to them.

  Raises:
    UserError: for files that are missing, damaged, of another kind, or dangerous.
  """
  files = list(_expand(paths))
  kinds = {_suffix(str(f)) for f in files}
  if not files:
    raise UserError("there is no file to import")
  folders = [f for f in files if f.is_dir()]
  if folders or kinds & {*_TARS, ".zip"}:
    if len(folders) < len(files) and not kinds <= {*_TARS, ".zip"}:
      raise UserError("give either folders, or archives, or files, not a mixture")
    return _read_trees(files)
  if kinds <= {".csv", ".tsv"}:
    return _read_tables(files, target, tuple(drop), tuple(keep), missing)
  if kinds <= {".npz", ".npy", ".idx"}:
    return _read_arrays(files), []
  if kinds == {".mat"}:
    return _read_mat(files)
  if kinds == {".bin"}:
    return _read_cifar([(f.name, f.read_bytes()) for f in files]), []
  odd = next(f for f in files if _suffix(str(f)) in ("", *IMAGES))
  raise UserError(
    f"cannot tell what {odd} is: give .npz, .npy, idx(.gz), .mat, .bin or .csv files, or a "
    "folder or an archive of split/class/image.png"
  )


def _expand(paths: Iterable) -> Iterable[pathlib.Path]:
  """A folder of data files stands for its files; a folder of images for itself."""
  for path in map(pathlib.Path, paths):
    path = path.expanduser()
    if not path.exists():
      raise UserError(f"there is no file {path}")
    if path.is_dir():
      inside = sorted(f for f in path.iterdir() if f.is_file() and not f.name.startswith("."))
      data = [f for f in inside if _suffix(f.name) not in ("", *IMAGES)]
      yield from data or [path]
    else:
      yield path


# --- arrays ---------------------------------------------------------------------------------


def read_idx(data: bytes, name: str) -> np.ndarray:
  """The IDX format of MNIST: 0, 0, type, dimensions, sizes (big-endian), values
  (big-endian).
  """
  types = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
  if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in types:
    raise UserError(f"{name} is not an idx file")
  rank = data[3]
  if len(data) < 4 + 4 * rank:
    raise UserError(f"{name} is truncated")
  shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
  dtype = np.dtype(types[data[2]])
  body = data[4 + 4 * rank :]
  if len(body) != int(np.prod(shape, dtype=object)) * dtype.itemsize:
    raise UserError(
      f"{name} is damaged: {len(body)} bytes do not make an array of shape {shape}"
    )
  return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _load_npy(source, name: str):
  try:
    return np.load(source, allow_pickle=False)
  except Exception as error:
    if "allow_pickle" in str(error) or "pickle" in str(error).lower():
      raise UserError(
        f"{name} holds pickled Python objects, which can run code when they are read: save it "
        "as plain numeric arrays"
      ) from None
    raise UserError(f"{name} cannot be read: {error}") from None


def _read_arrays(files: Sequence[pathlib.Path]) -> dict[str, Part]:
  found: list[tuple[str, np.ndarray]] = []
  for file in files:
    kind = _suffix(file.name)
    if kind == ".npz":
      archive = _load_npy(file, str(file))
      for key in archive.files:
        try:
          array = archive[key]
        except Exception as error:
          reason = "pickled Python objects" if "pickle" in str(error).lower() else str(error)
          raise UserError(f"array '{key}' of {file} cannot be read: {reason}") from None
        # An array without a name of its own (arr_0) is named by its file, as KMNIST's are.
        found.append((file.name if key == "arr_0" else key, array))
    elif kind == ".npy":
      found.append((file.name, _load_npy(file, str(file))))
    else:
      data = file.read_bytes()
      if data[:2] == b"\x1f\x8b":
        try:
          data = gzip.decompress(data)
        except (OSError, EOFError) as error:
          raise UserError(f"{file} is damaged: {error}") from None
      found.append((file.name, read_idx(data, str(file))))
  splits: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
  for name, array in found:
    split = split_of(name) or "train"
    role = "labels" if re.search(r"idx1", name) else _role(name)
    if role is None:
      role = "labels" if array.ndim == 1 else "inputs"
    if role in splits[split]:
      raise UserError(
        f"'{name}' and another array both look like the {role} of '{split}': name them "
        "x_train, y_train, x_test, y_test"
      )
    splits[split][role] = array
  for split, roles in splits.items():
    if set(roles) != {"inputs", "labels"}:
      lacking = "labels" if "inputs" in roles else "inputs"
      raise UserError(
        f"split '{split}' has no {lacking}: expected are x_{split} and y_{split} in an npz, "
        f"or idx files of images and labels; found {', '.join(name for name, _ in found)}"
      )
  return {s: Part(r["inputs"], r["labels"]) for s, r in _ordered(splits)}


def _ordered(splits: dict):
  order = ("train", "validation", "test", "extra")
  return sorted(splits.items(), key=lambda item: order.index(item[0]))


def _read_mat(files: Sequence[pathlib.Path]) -> tuple[dict[str, Part], list[str]]:
  """SVHN's cropped digits: X (32, 32, 3, n), y (n, 1), where 10 stands for the digit 0."""
  from scipy import io as scipy_io

  splits = {}
  for file in files:
    try:
      content = scipy_io.loadmat(file)
      images, labels = np.moveaxis(content["X"], -1, 0), content["y"].reshape(-1)
    except Exception as error:
      raise UserError(f"{file} is not a file of SVHN (X and y): {error}") from None
    splits[split_of(file.name) or "train"] = Part(images, labels % 10)
  return dict(_ordered(splits)), ["label 10 of SVHN's files is the digit 0, as in TFDS"]


def _read_cifar(files: Sequence[tuple[str, bytes]]) -> dict[str, Part]:
  """CIFAR's binary version: 1 label byte (CIFAR-100: coarse, fine), then 3 × 32 × 32 bytes."""
  splits = defaultdict(list)
  for name, data in sorted(files):
    base = os.path.basename(name)
    split = "train" if base.startswith("data_batch") else split_of(base)
    labels = 1 if "batch" in base else 2
    if split is None or not data or len(data) % (3072 + labels):
      raise UserError(f"{name} is not a file of CIFAR's binary version")
    splits[split].append(np.frombuffer(data, np.uint8).reshape(-1, 3072 + labels))
  parts = {}
  for split, blocks in _ordered(splits):
    rows = np.concatenate(blocks)
    images = rows[:, -3072:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    labels = rows[:, :-3072].astype(np.int64)
    parts[split] = Part(
      images, labels[:, -1], {"coarse_label": labels[:, 0]} if labels.shape[1] > 1 else {}
    )
  return parts


# --- folders and archives of images ----------------------------------------------------------


def _read_trees(files: Sequence[pathlib.Path]) -> tuple[dict[str, Part], list[str]]:
  splits: dict[str, list[tuple[str, Encoded]]] = defaultdict(list)
  binary, ignored = [], 0
  for file in files:
    for parts, encoded in _entries(file):
      name = parts[-1]
      if name.startswith(".") or "__MACOSX" in parts or name == "Thumbs.db":
        continue
      if _suffix(name) == ".bin":
        binary.append((encoded.name, encoded.read()))
        continue
      if _suffix(name) not in IMAGES:
        ignored += 1
        if re.fullmatch(r"data_batch_\d|test_batch", name):
          raise UserError(
            f"{file} is the pickled version of CIFAR, and a pickle can run code when it is "
            "read: take the binary version, https://www.cs.toronto.edu/~kriz/cifar.html"
          )
        continue
      folders = parts[:-1]
      where = [i for i, p in enumerate(folders) if p.lower() in _SPLIT_WORDS]
      split = (
        _SPLIT_WORDS[folders[where[0]].lower()] if where else split_of(_stem(file)) or "train"
      )
      below = folders[where[0] + 1 :] if where else folders[-1:]
      if len(below) != 1:
        raise UserError(
          f"{encoded.name} is not at split/class/image: {len(below)} folders below the split"
        )
      splits[split].append((below[0], encoded))
  if binary and not splits:
    return _read_cifar(binary), []
  if not splits:
    raise UserError(
      f"no image (.png, .jpg) at split/class/image in {', '.join(str(f) for f in files)}"
    )
  remarks = [f"{ignored} files that are not images were left out"] if ignored else []
  for entries in splits.values():
    entries.sort(key=lambda e: (e[0], e[1].name))
  return {
    s: Part([e for _, e in entries], [c for c, _ in entries])
    for s, entries in _ordered(splits)
  }, remarks


def _stem(file: pathlib.Path) -> str:
  return file.name[: -len(_suffix(file.name))] if file.is_file() else file.name


def _safe_parts(name: str, archive) -> tuple[str, ...]:
  """Path components of an archive's entry; an entry that points outside is refused."""
  parts = tuple(p for p in name.replace("\\", "/").split("/") if p not in ("", "."))
  if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name):
    raise UserError(f"{archive} has an entry that points outside of it: {name!r}")
  return parts


def _entries(path: pathlib.Path) -> Iterable[tuple[tuple[str, ...], Encoded]]:
  """Regular files of a folder or an archive, as (components, content). Links are not
  followed.
  """
  if path.is_dir():
    for folder, _, names in os.walk(path):
      for name in names:
        file = pathlib.Path(folder, name)
        if stat.S_ISREG(file.lstat().st_mode):
          yield file.relative_to(path).parts, Encoded(str(file), file.read_bytes)
    return
  try:
    if _suffix(path.name) == ".zip":
      # The contents stay compressed in the archive and are read when they are needed.
      archive = zipfile.ZipFile(path)
      for member in archive.infolist():
        parts = _safe_parts(member.filename, path)
        link = stat.S_ISLNK(member.external_attr >> 16)
        if parts and not member.is_dir() and not link:
          yield parts, Encoded(f"{path}:{member.filename}", lambda m=member: archive.read(m))
      return
    # A compressed tar can only be read from front to back: its contents are kept in memory.
    with tarfile.open(path, "r:*") as archive:
      for member in archive:
        parts = _safe_parts(member.name, path)
        if not parts or not member.isreg():
          continue
        data = archive.extractfile(member).read() if _suffix(member.name) else b""
        yield parts, Encoded(f"{path}:{member.name}", lambda d=data: d)
  except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
    reason = " ".join(str(error).split())
    raise UserError(f"{path} is not an archive that can be read: {reason}") from None
  except Exception as error:  # lzma.LZMAError, zlib.error
    if type(error).__name__ in ("LZMAError", "error"):
      raise UserError(f"{path} is damaged: {error}") from None
    raise


def decode_image(encoded: Encoded, channels: int | None) -> np.ndarray:
  """(height, width, channels) uint8; `channels=None` keeps 1 for grey images and 3 for others.

  Raises:
    UserError: if the file is damaged or has more than 8 bits, or if a grey image is asked for
      and this one has colours, or if it is partly transparent.
  """
  from PIL import Image

  try:
    with Image.open(io.BytesIO(encoded.read())) as image:
      mode = image.mode
      if mode.startswith(("I", "F")):
        raise UserError(f"{encoded.name} has more than 8 bits a channel (mode {mode})")
      if mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        if alpha.min() < 255:
          raise UserError(f"{encoded.name} is partly transparent")
      if mode in ("L", "1", "LA"):
        grey = np.asarray(image.convert("L"))[..., None]
        return grey if channels in (1, None) else np.repeat(grey, 3, axis=-1)
      colours = np.asarray(image.convert("RGB"))
  except UserError:
    raise
  except Exception as error:
    raise UserError(f"{encoded.name} cannot be decoded: {error}") from None
  if channels != 1:
    return colours
  if (colours != colours[..., :1]).any():
    raise UserError(f"{encoded.name} has colours, where the set has grey images")
  return colours[..., :1]


def image_channels(encoded: Encoded) -> int:
  """1 for a grey image, 3 otherwise, from the file's head."""
  from PIL import Image

  try:
    with Image.open(io.BytesIO(encoded.read())) as image:
      return 1 if image.mode in ("L", "1", "LA") else 3
  except Exception as error:
    raise UserError(f"{encoded.name} cannot be decoded: {error}") from None


# --- csv -------------------------------------------------------------------------------------


def _read_tables(files, target, drop, kept, missing) -> tuple[dict[str, Table], list[str]]:
  raw: dict[str, list[list[str]]] = {}
  header: list[str] = []
  for file in files:
    split = split_of(file.name.rpartition(".")[0]) or "train"
    if split in raw:
      raise UserError(
        f"{file} and another file are both split '{split}': put train or test in their names"
      )
    these, raw[split] = read_csv(file)
    if header and these != header:
      raise UserError(f"{file} has another header than the file before")
    header = these
  if target is None:
    raise UserError(f"say which column is the target: --target, one of {', '.join(header)}")
  for name in (target, *drop, *kept):
    if name not in header:
      raise UserError(f"there is no column '{name}'.{did_you_mean(name, header)}")
  remarks = []
  keep = [c for c in kept or header if c != target and c not in drop]
  if not keep:
    raise UserError("no column is left beside the target")
  where = {c: header.index(c) for c in header}
  used = [where[c] for c in (*keep, target)]
  for split, rows in raw.items():
    gaps = [any(r[i] in _MISSING for i in used) for r in rows]
    if any(gaps) and missing == "error":
      columns = [c for c in (*keep, target) if any(r[where[c]] in _MISSING for r in rows)]
      raise UserError(
        f"{sum(gaps)} of {len(rows)} rows of '{split}' have a missing value (columns "
        f"{', '.join(columns)}): --missing=drop leaves those rows out, --missing=category "
        "makes it a category of its own, --drop=COLUMN leaves a column out"
      )
    if any(gaps) and missing == "drop":
      raw[split] = [r for r, gap in zip(rows, gaps, strict=True) if not gap]
      remarks.append(
        f"{sum(gaps)} of {len(rows)} rows of '{split}' with a missing value left out"
      )
      if not raw[split]:
        raise UserError(f"every row of '{split}' has a missing value")
  tables = {
    s: {c: [r[where[c]] for r in rows] for c in (*keep, target)} for s, rows in raw.items()
  }
  for column in (*keep, target):
    values = list(itertools.chain.from_iterable(t[column] for t in tables.values()))
    try:
      numbers = [float(v) for v in values]
    except ValueError:
      present = [v for v in values if v not in _MISSING]
      if len(present) < len(values) and all(_is_number(v) for v in present):
        raise UserError(
          f"column '{column}' holds numbers and missing values: use --missing=drop or "
          f"--drop={column}"
        ) from None
      for t in tables.values():
        t[column] = ["missing" if v in _MISSING else v for v in t[column]]
      continue
    if not np.isfinite(numbers).all():
      raise UserError(f"column '{column}' has values that are not finite")
    for t in tables.values():
      t[column] = np.array(t[column], np.float64)
  return {s: Table({c: t[c] for c in keep}, t[target]) for s, t in _ordered(tables)}, remarks


def _is_number(text: str) -> bool:
  try:
    return bool(np.isfinite(float(text)))
  except ValueError:
    return False


def read_csv(file: pathlib.Path) -> tuple[list[str], list[list[str]]]:
  """Header and rows of a file of comma, semicolon or tab separated values, all as text.

  Raises:
    UserError: it is no such file, has no header or no rows, or its rows differ in length.
  """
  try:
    with file.open(newline="", encoding="utf-8-sig") as text:
      first = text.readline()
      separator = max(",;\t", key=first.count)
      text.seek(0)
      rows = [
        [cell.strip() for cell in row]
        for row in csv.reader(text, delimiter=separator, skipinitialspace=True)
        if row
      ]
  except (UnicodeDecodeError, csv.Error) as error:
    raise UserError(f"{file} is not a csv file in UTF-8: {error}") from None
  if len(rows) < 2:
    raise UserError(f"{file} has no rows below its header")
  header = rows[0]
  if "" in header:
    raise UserError(f"{file} has a column without a name in its first line")
  twice = sorted({name for name in header if header.count(name) > 1})
  if twice:
    # Usually a join that kept both; COMPAS has two. The later ones get a number, as in pandas.
    header = [
      f"{name}.{header[:i].count(name)}" if name in header[:i] else name
      for i, name in enumerate(header)
    ]
    if len(set(header)) < len(header):
      raise UserError(f"{file} has several columns of the same name: {', '.join(twice)}")
  if all(_is_number(cell) for cell in header):
    raise UserError(f"{file} has no header: its first line is all numbers")
  for line, row in enumerate(rows[1:], 2):
    if len(row) != len(header):
      raise UserError(
        f"{file}, row {line}: {len(row)} values, where the header has {len(header)}"
      )
  return header, rows[1:]

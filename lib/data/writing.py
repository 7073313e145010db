"""Writes a set in TFDS's on-disk format, through TFDS's own builder and without TensorFlow.

TFDS needs TensorFlow only to encode an array as PNG. Here Pillow does that, TFDS is handed the
bytes, and everything else (records, order, shards, metadata) is its own code. An official set
keeps TFDS's builder class, and with it the name, version, features and description of a
downloaded one; examples that come in the official order are also stored in TFDS's order.
"""

import contextlib
import hashlib
import io
import os
import pathlib
import re
import shutil
import time
import types
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lib.data import downloading, files, places, progress, recipes, tfds
from lib.data.files import Encoded, Part, Table
from lib.experiment.errors import UserError, did_you_mean

_MAX_CATEGORIES = 1000


class Report(NamedTuple):
  """What was imported: the set's folder, lines that describe it, and warnings."""

  folder: pathlib.Path
  lines: list[str]
  warnings: list[str]


def import_files(
  name: str,
  paths: Sequence[str | os.PathLike],
  *,
  data_dir: str | os.PathLike | None = None,
  target: str | None = None,
  drop: Sequence[str] = (),
  keep: Sequence[str] = (),
  missing: str | None = None,
  task: str = "auto",
  force: bool = False,
) -> Report:
  """Turns files into the data set `tfds:name`; with no files, fetches a known set's own.

  The set is written to a temporary folder in the data directory, read back, compared with the
  files, and only then moved to its place: an interrupted import leaves what was there before.

  Args:
    name: of the set; mnist, cifar10, … get TFDS's own schema and are checked against it.
    paths: files or folders, see `lib.data.files.read`; none to download the official ones.
    data_dir: by default `lib.data.data_dir()`.
    target: column of a csv to predict.
    drop: columns of a csv to leave out.
    keep: columns of a csv to take, by default all.
    missing: what to do with missing values in a csv: "error", "drop" (the row), "category".
      For a name that `recipes.RECIPES` has, what is not given here is taken from there.
    task: "classification", "regression", or "auto": classes unless the targets are real
      numbers, or whole numbers of more than 50 values.
    force: replace a set that is there.

  Raises:
    UserError: for anything wrong with the name, the files, or the directory.
  """
  if not re.fullmatch("[a-z][a-z0-9_]*", name):
    raise UserError(f"{name!r} cannot name a data set: use lower-case letters, digits and '_'")
  directory = places.data_dir(data_dir)
  if tfds.find(name, directory) is not None and not force:
    raise UserError(
      f"{tfds.find(name, directory)} is there already: --force replaces it, "
      "--data_dir takes another directory"
    )
  with _scratch(name, directory) as scratch:
    paths = list(paths) or downloading.download(name, scratch)
    recipe = recipes.RECIPES.get(name)
    if recipe and target in (None, recipe.target):
      target, keep = recipe.target, keep or recipe.columns
      missing = missing or recipe.missing
    found, remarks = files.read(
      paths, target=target, drop=drop, keep=keep, missing=missing or "error"
    )
    if "train" not in found:
      raise UserError(f"there is no training split, only {', '.join(found)}")
    with tfds.quiet():
      schema = _schema(name, found, task, remarks)
      lines = _check(schema)
      folder = _write(schema, directory, scratch, force)
  return Report(folder, [*lines, *remarks], schema.warnings)


@contextlib.contextmanager
def _scratch(name: str, directory: pathlib.Path):
  """A temporary folder on the same disk as the data directory, gone afterwards."""
  for left in directory.glob(".import-*"):  # by an import that was killed
    with contextlib.suppress(OSError):
      if time.time() - left.stat().st_mtime > 24 * 3600:
        shutil.rmtree(left, ignore_errors=True)
  scratch = directory / f".import-{name}-{uuid.uuid4().hex[:8]}"
  try:
    scratch.mkdir(parents=True)
    yield scratch
  except OSError as error:
    raise UserError(f"{directory} cannot be written: {error}") from error
  finally:
    shutil.rmtree(scratch, ignore_errors=True)


class _Schema(NamedTuple):
  """What the set will be: its builder class, and its examples as TFDS takes them."""

  name: str
  kind: type
  sizes: dict[str, int]
  example: object  # (split, i) -> (example to look at, example to store)
  class_names: tuple[str, ...]
  targets: dict[str, np.ndarray]
  input_key: str
  what: str
  labels_of: dict[str, tuple[str, ...]]
  warnings: list[str]


# --- what the set will be --------------------------------------------------------------------


def _schema(name: str, found: dict, task: str, remarks: list[str]) -> _Schema:
  import tensorflow_datasets

  warnings: list[str] = []
  official = _official(name)
  if isinstance(next(iter(found.values())), Table):
    if official is not None:
      raise UserError(
        f"'{name}' is an official set of images: choose another name for a table"
      )
    return _table_schema(name, found, task, warnings)
  parts: dict[str, Part] = found
  first = parts["train"].inputs
  if official is None and not isinstance(first[0], Encoded) and np.ndim(first) == 2:
    columns = {}
    for split, part in parts.items():
      x = np.asarray(part.inputs)
      if x.dtype.kind not in "iufb" or not np.isfinite(x).all():
        raise UserError(f"the inputs of '{split}' are not all finite numbers")
      columns[split] = Table(
        {f"x{i}": x[:, i].astype(np.float64) for i in range(x.shape[1])},
        np.asarray(part.labels).reshape(-1),
      )
    return _table_schema(name, columns, task, warnings)
  if task == "regression":
    raise UserError("images have classes: --task=regression is for tables")

  feature = official.info.features["image"] if official else None
  images, shape = _images(parts, feature.shape if feature else None, remarks)
  labels, class_names = _classes(name, parts, official)
  features = tensorflow_datasets.features
  if official is None:
    kind = _own_builder(
      name,
      features.FeaturesDict(
        {"image": features.Image(shape=shape), "label": features.ClassLabel(names=class_names)}
      ),
      ("image", "label"),
    )
    names = {}
  else:
    kind = _official_builder(official)
    names = tfds.KNOWN[name].class_names if name in tfds.KNOWN else {}
    class_names = names.get("label", class_names)
  lossy = [
    s for s, p in parts.items() if isinstance(p.inputs[0], Encoded) and _is_jpeg(p.inputs[0])
  ]
  if official is not None and lossy:
    warnings.append(
      "the images are JPEG, which loses detail: these are not the official pixels"
    )
  with_id = official is not None and "id" in official.info.features
  coarse = official is not None and "coarse_label" in official.info.features

  def example(split, i):
    image = images[split](i)
    seen = {"image": image, "label": int(labels[split][i])}
    if with_id:
      # As TFDS writes them: CIFAR's with five digits, SVHN's with six.
      seen["id"] = f"{split}_{i:0{6 if name.startswith('svhn') else 5}d}"
    if coarse:
      seen["coarse_label"] = _coarse(parts[split], i, labels[split][i])
    entry = parts[split].inputs[i]
    original = None
    if official is None and isinstance(entry, Encoded) and _is_jpeg(entry):
      # A photograph stays the JPEG it is: as PNG it would be ten times as large.
      original = entry.read() if files.image_channels(entry) == shape[-1] else None
    return seen, {**seen, "image": original or _png(image)}

  sizes = {s: len(p.inputs) for s, p in parts.items()}
  return _Schema(
    name, kind, sizes, example, tuple(class_names), labels, "image", "images", names, warnings
  )


def _official(name: str):
  """TFDS's builder of that name, or None; its schema must be one that files can fill."""
  import tensorflow_datasets as library

  try:
    cls = library.builder_cls(name)
  except Exception:
    return None
  scratch = "/nonexistent/import"  # nothing is read or written: only the schema is wanted
  try:
    builder = cls(data_dir=scratch)
    features = set(builder.info.features)
    kind = type(builder.info.features["label"])
    fits = {"image", "label"} <= features <= {"image", "label", "id", "coarse_label"}
    fits &= kind is library.features.ClassLabel and not builder.BUILDER_CONFIGS
  except Exception:
    fits = False
  if not fits:
    raise UserError(
      f"TFDS has a set '{name}' of its own with other features than an image and a label: "
      "choose another name"
    )
  return builder


def _official_builder(builder) -> type:
  """The official class with another source of examples."""
  cls = type(builder)
  return types.new_class(
    cls.__name__,
    (cls,),
    {"skip_registration": True},
    lambda body: body.update(name=builder.name, __module__=cls.__module__),
  )


def _own_builder(name: str, features, supervised) -> type:
  import tensorflow_datasets

  def info(self):
    return tensorflow_datasets.core.DatasetInfo(
      builder=self,
      description="Imported from the user's own files.",
      features=features,
      supervised_keys=supervised,
    )

  return types.new_class(
    "Imported",
    (tensorflow_datasets.core.GeneratorBasedBuilder,),
    {"skip_registration": True},
    lambda body: body.update(
      name=name,
      VERSION=tensorflow_datasets.core.Version("1.0.0"),
      _info=info,
      __module__=__name__,
    ),
  )


def _is_jpeg(entry: Encoded) -> bool:
  return entry.name.lower().endswith((".jpg", ".jpeg"))


def _png(image: np.ndarray) -> bytes:
  from PIL import Image

  buffer = io.BytesIO()
  Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "png")
  return buffer.getvalue()


def _images(parts: dict[str, Part], shape, remarks):
  """Functions i -> (height, width, channels) uint8 by split, and the shape they all have."""
  readers = {}
  for split, part in parts.items():
    if len(part.inputs) == 0:
      raise UserError(f"split '{split}' is empty")
    if isinstance(part.inputs[0], Encoded):
      if shape is None:
        # Grey only if every image is, in every split.
        entries = [e for p in parts.values() for e in p.inputs]
        shape = (None, None, max(map(files.image_channels, entries)))
      readers[split] = lambda i, p=part, c=shape[-1]: files.decode_image(p.inputs[i], c)
    else:
      array = _as_uint8(np.asarray(part.inputs), shape, split, remarks)
      shape = shape or array.shape[1:]
      readers[split] = lambda i, a=array: a[i]
  if shape[0] is None:
    shape = readers["train"](0).shape
  return readers, tuple(shape)


def _as_uint8(x: np.ndarray, shape, split: str, remarks) -> np.ndarray:
  if x.dtype.kind not in "iufb":
    raise UserError(f"the images of '{split}' are of type {x.dtype}, not numbers")
  if x.dtype != np.uint8:
    if x.size and not np.isfinite(x).all():
      raise UserError(f"the images of '{split}' have values that are not finite")
    low, high = (x.min(), x.max()) if x.size else (0, 0)
    factor = 255 if x.dtype.kind == "f" and high <= 1 else 1
    whole = np.rint(x * float(factor))
    if (
      low < 0
      or whole.max(initial=0) > 255
      or np.abs(whole - x * float(factor)).max(initial=0) > 1e-2
    ):
      raise UserError(
        f"the images of '{split}' are {x.dtype} from {low:g} to {high:g}: whole numbers "
        "0..255, or those divided by 255, are needed (an import must not lose digits)"
      )
    x = whole.astype(np.uint8)
    remarks.append(
      f"'{split}': values taken as whole numbers 0..255"
      + (" after × 255" if factor > 1 else "")
    )
  if x.ndim == 3:
    x = x[..., None]
  if shape is not None and x.shape[1:] != tuple(shape):
    height, width, channels = shape
    if x.ndim == 4 and x.shape[1:] == (channels, height, width):
      x = x.transpose(0, 2, 3, 1)
      remarks.append(f"'{split}': channels moved from the first axis to the last")
    elif x.ndim == 2 and channels == 1 and x.shape[1] == height * width:
      x = x.reshape(-1, height, width, 1)
      remarks.append(f"'{split}': rows of {height * width} values made into images")
    else:
      raise UserError(
        f"the images of '{split}' have the shape {x.shape[1:]}, and this set has "
        f"{tuple(shape)}"
      )
  if x.ndim != 4 or x.shape[-1] not in (1, 3):
    raise UserError(
      f"the inputs of '{split}' have the shape {x.shape}: images are (n, height, width) or "
      "(n, height, width, 1 or 3), a table is (n, d)"
    )
  return x


def _classes(name: str, parts: dict[str, Part], official):
  """Labels as integers by split, and the names of the classes."""
  if official is not None:
    known = tfds.KNOWN[name].class_names.get("label") if name in tfds.KNOWN else None
    names = list(known or official.info.features["label"].names)
  else:
    names = None
  labels = {}
  texts = [p.labels for p in parts.values() if len(p.labels) and isinstance(p.labels[0], str)]
  if texts and names is None:
    names = sorted(
      {c for t in texts for c in t},
      key=lambda c: (not c.isdigit(), int(c) if c.isdigit() else 0, c),
    )
  for split, part in parts.items():
    if len(part.labels) != len(part.inputs):
      raise UserError(
        f"split '{split}' has {len(part.inputs)} inputs and {len(part.labels)} labels"
      )
    if len(part.labels) and isinstance(part.labels[0], str):
      index = {c: i for i, c in enumerate(names)}
      for c in part.labels:
        if c not in index:
          raise UserError(f"'{c}' is not a class of '{name}'.{did_you_mean(c, names)}")
      labels[split] = np.array([index[c] for c in part.labels])
    else:
      y = np.asarray(part.labels)
      y = y.reshape(-1) if y.shape == (len(y), 1) else y
      if y.ndim != 1:
        raise UserError(f"the labels of '{split}' have the shape {y.shape}, not (n,)")
      if y.dtype.kind not in "iufb" or not np.all(np.isfinite(y)) or np.any(y != np.rint(y)):
        raise UserError(f"the labels of '{split}' are not whole numbers")
      labels[split] = y.astype(np.int64)
  if names is None:
    names = [str(c) for c in range(1 + int(max(y.max() for y in labels.values())))]
  for split, y in labels.items():
    if len(y) and not 0 <= y.min() <= y.max() < len(names):
      raise UserError(
        f"the labels of '{split}' run from {y.min()} to {y.max()}, outside 0..{len(names) - 1}"
      )
  return labels, tuple(names)


def _coarse(part: Part, i: int, label: int) -> int:
  """CIFAR-100's coarse class follows from the fine one."""
  if "coarse_label" in part.more:
    return int(part.more["coarse_label"][i])
  fine = tfds.KNOWN["cifar100"].class_names["label"][label]
  return next(k for k, members in enumerate(tfds.CIFAR100.values()) if fine in members.split())


def _table_schema(name: str, tables: dict[str, Table], task: str, warnings) -> _Schema:
  import tensorflow_datasets

  kinds = tensorflow_datasets.features
  train = tables["train"]
  specs, coded, keys = {}, {s: {} for s in tables}, {}
  for column, values in train.columns.items():
    key = re.sub(r"[/\\\0]", "_", column)
    if key in specs:
      raise UserError(f"two columns would both be called '{key}'")
    keys[column] = key
    if isinstance(values, np.ndarray):
      specs[key] = kinds.Scalar(np.float32)
      for split, table in tables.items():
        with np.errstate(over="ignore"):
          coded[split][key] = table.columns[column].astype(np.float32)
        if not np.isfinite(coded[split][key]).all():
          raise UserError(f"column '{column}' has values beyond the range of float32")
    else:
      names = sorted({v for t in tables.values() for v in t.columns[column]})
      if len(names) > _MAX_CATEGORIES:
        raise UserError(
          f"column '{column}' is text with {len(names)} different values, not a category: "
          f"leave it out with --drop={column}"
        )
      specs[key] = kinds.ClassLabel(names=names)
      index = {v: i for i, v in enumerate(names)}
      for split, table in tables.items():
        coded[split][key] = np.array([index[v] for v in table.columns[column]])
  everything = np.concatenate([np.asarray(t.target) for t in tables.values()])
  numeric = everything.dtype.kind in "iuf"
  if task == "regression" and not numeric:
    raise UserError("the target is text: it has classes, not numbers to regress on")
  whole = (
    numeric and np.isfinite(everything).all() and (everything == np.rint(everything)).all()
  )
  values = sorted(set(everything.tolist()))
  if task == "classification" and numeric and not whole:
    raise UserError("the target has values that are not whole numbers: use --task=regression")
  classes = task == "classification" or (
    task == "auto" and (not numeric or (whole and len(values) <= 50))
  )
  if classes:
    if len(values) < 2:
      raise UserError(f"the target has a single value, {values[0]}: there is nothing to learn")
    names = [str(int(v)) if numeric else v for v in values]
    index = {v: i for i, v in enumerate(values)}
    targets = {
      s: np.array([index[v] for v in np.asarray(t.target).tolist()]) for s, t in tables.items()
    }
    label = kinds.ClassLabel(names=names)
  else:
    if not np.isfinite(everything.astype(np.float32)).all():
      raise UserError("the target has values that are not finite")
    names, label = [], kinds.Scalar(np.float32)
    targets = {s: np.asarray(t.target, np.float32) for s, t in tables.items()}
  kind = _own_builder(
    name, kinds.FeaturesDict({"features": specs, "label": label}), ("features", "label")
  )

  def example(split, i):
    seen = {
      "features": {k: v[i] for k, v in coded[split].items()},
      "label": int(targets[split][i]) if classes else targets[split][i],
    }
    return seen, seen

  sizes = {s: len(t.target) for s, t in tables.items()}
  return _Schema(
    name, kind, sizes, example, tuple(names), targets, "features", "rows", {}, warnings
  )


# --- checks, writing, reading back -----------------------------------------------------------


def _digest(row: np.ndarray, target) -> int:
  data = np.ascontiguousarray(row).tobytes() + np.float32(target).tobytes()
  return int.from_bytes(hashlib.blake2b(data, digest_size=16).digest())


def _check(schema: _Schema) -> list[str]:
  """Counts by class, official numbers, doubles. Returns the lines of the report."""
  lines, warnings = [], schema.warnings
  for split, size in schema.sizes.items():
    if size == 0:
      raise UserError(f"split '{split}' is empty")
    if schema.class_names:
      counts = np.bincount(schema.targets[split], minlength=len(schema.class_names))
      spread = f"{len(counts)} classes of {counts.min()} to {counts.max()}"
      empty = [schema.class_names[k] for k in np.flatnonzero(counts == 0)]
      if empty:
        shown = ", ".join(empty[:5]) + (", …" if len(empty) > 5 else "")
        warnings.append(f"split '{split}' has no example of {len(empty)} classes: {shown}")
    else:
      y = schema.targets[split]
      spread = f"targets from {y.min():g} to {y.max():g}, mean {y.mean():g}"
    lines.append(f"{split}: {size} {schema.what}, {spread}")
  if schema.name in tfds.KNOWN:
    official = tfds.KNOWN[schema.name].splits
    for split, size in schema.sizes.items():
      if split not in official:
        warnings.append(f"the official {schema.name} has no split '{split}'")
      elif size != official[split]:
        warnings.append(
          f"split '{split}' has {size} examples; the official {schema.name} has "
          f"{official[split]}"
        )
    for split in official:
      if split not in schema.sizes and split != "extra":
        warnings.append(f"the official {schema.name} has a split '{split}', which is not here")
  return lines


def _write(schema: _Schema, directory, scratch: pathlib.Path, force: bool) -> pathlib.Path:
  """Writes into `scratch`, reads back, and moves the set to its place; returns the place."""
  written, digests = _prepare(schema, scratch)
  _read_back(schema, written, digests)
  place = directory / written.relative_to(scratch)
  place.parent.mkdir(parents=True, exist_ok=True)
  old = scratch / "replaced"
  if force and place.exists():
    place.rename(old)
  try:
    written.rename(place)
  except OSError:
    if old.exists():
      old.rename(place)
    raise
  return place


def _prepare(schema: _Schema, scratch: pathlib.Path):
  """Lets TFDS write the set; returns its folder and the digests of what went in, by split."""
  import tensorflow_datasets

  digests, doubles = {}, {}

  def generate(self, split):
    rows, pixels = [], []
    with progress.track(f"writing {schema.name} {split}", schema.sizes[split]) as advance:
      for i in range(schema.sizes[split]):
        seen, stored = schema.example(split, i)
        row = reader.row(seen[schema.input_key])
        rows.append(_digest(row, seen["label"]))
        pixels.append(_digest(row, 0))
        yield i, stored
        advance()
    digests[split], doubles[split] = Counter(rows), Counter(pixels)

  def split_generators(self, manager):
    for key, names in schema.labels_of.items():
      self.info.features[key].names = names
    return {split: self._generate_examples(split) for split in schema.sizes}

  cls = types.new_class(
    schema.kind.__name__,
    (schema.kind,),
    {"skip_registration": True},
    lambda body: body.update(
      name=schema.name,
      __module__=schema.kind.__module__,
      _split_generators=split_generators,
      _generate_examples=generate,
      # Nothing is downloaded. (The inherited property imports importlib_resources, which TFDS
      # does not install.)
      url_infos={},
    ),
  )
  builder = cls(data_dir=scratch, file_format="array_record")
  reader = tfds.Inputs(builder.info.features[schema.input_key], schema.input_key)
  bars = tensorflow_datasets.core.utils.tqdm_utils
  bars.disable_progress_bar()
  try:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
      builder.download_and_prepare()
  finally:
    bars.enable_progress_bar()
  for split, pixels in doubles.items():
    twice = sum(pixels.values()) - len(pixels)
    if twice:
      schema.warnings.append(f"split '{split}' has {twice} inputs that are there already")
    if split != "train":
      leaked = sum(n for row, n in pixels.items() if row in doubles["train"])
      if leaked:
        schema.warnings.append(f"{leaked} inputs of '{split}' are in 'train' too")
  return pathlib.Path(builder.data_dir), digests


def _read_back(schema: _Schema, folder: pathlib.Path, digests: dict[str, Counter]):
  """Reads the set as a user would, compares every example, and keeps the decoded arrays."""
  dataset = tfds.decode(schema.name, folder)
  for split, written in digests.items():
    part = getattr(dataset, split, None)
    if part is None:  # 'extra'
      continue
    read = Counter(map(_digest, part.inputs, part.targets))
    if read != written:
      raise UserError(f"split '{split}' of {schema.name} does not read back as it was written")
  tfds.write_cache(tfds.cache_path(folder), dataset)

"""Sets in the on-disk format of TensorFlow Datasets, read without TensorFlow.

`tensorflow_datasets` says what the files hold and decodes a record; the records come from
`as_data_source` (array_record) or, for sets prepared in TFDS's default format, from the
TFRecord files themselves. Decoding 60 000 PNG images takes long, so the decoded arrays are
kept in one file beside the set, under a name made of what they were decoded from.
"""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import re
import struct
import uuid
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lib.data import places, progress, recipes
from lib.data.dataset import Dataset, Examples, Info, replace_info

_CACHE_VERSION = 1
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_SPLITS = ("train", "validation", "test")


class Known(NamedTuple):
  """What is known of an official set: the examples of its splits, and its classes' names where
  TFDS takes them from the downloaded files.
  """

  splits: dict[str, int]
  class_names: dict[str, tuple[str, ...]] = {}  # noqa: RUF012


_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
# Coarse class of CIFAR-100 -> its five fine classes (Krizhevsky 2009, table of the appendix).
CIFAR100 = {
  "aquatic_mammals": "beaver dolphin otter seal whale",
  "fish": "aquarium_fish flatfish ray shark trout",
  "flowers": "orchid poppy rose sunflower tulip",
  "food_containers": "bottle bowl can cup plate",
  "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
  "household_electrical_devices": "clock keyboard lamp telephone television",
  "household_furniture": "bed chair couch table wardrobe",
  "insects": "bee beetle butterfly caterpillar cockroach",
  "large_carnivores": "bear leopard lion tiger wolf",
  "large_man-made_outdoor_things": "bridge castle house road skyscraper",
  "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
  "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
  "medium_mammals": "fox porcupine possum raccoon skunk",
  "non-insect_invertebrates": "crab lobster snail spider worm",
  "people": "baby boy girl man woman",
  "reptiles": "crocodile dinosaur lizard snake turtle",
  "small_mammals": "hamster mouse rabbit shrew squirrel",
  "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
  "vehicles_1": "bicycle bus motorcycle pickup_truck train",
  "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}

_FINE = tuple(sorted(" ".join(CIFAR100.values()).split()))
_TEN_THOUSANDS = {"train": 60000, "test": 10000}
KNOWN = {
  "mnist": Known(_TEN_THOUSANDS),
  "kmnist": Known(_TEN_THOUSANDS),
  "fashion_mnist": Known(_TEN_THOUSANDS),
  "svhn_cropped": Known({"train": 73257, "test": 26032, "extra": 531131}),
  "cifar10": Known({"train": 50000, "test": 10000}, {"label": tuple(_CIFAR10.split())}),
  "cifar100": Known(
    {"train": 50000, "test": 10000}, {"label": _FINE, "coarse_label": tuple(CIFAR100)}
  ),
}


def find(name: str, data_dir: str | os.PathLike | None = None) -> pathlib.Path | None:
  """Folder of `name`, `name/config` or `name:version` under the data directory, or None.

  Without a version the newest is taken, without a config the only one there is.
  """
  path, _, version = name.partition(":")
  if ".." in path.split("/"):
    return None
  top = places.data_dir(data_dir).joinpath(*path.split("/"))
  versions = _versions(top, version)
  if not versions and "/" not in path and top.is_dir():
    configs = [v for d in sorted(top.iterdir()) if (v := _versions(d, version))]
    versions = configs[0] if len(configs) == 1 else []
  return max(versions, key=lambda d: [int(n) for n in d.name.split(".")], default=None)


def _versions(folder: pathlib.Path, version: str) -> list[pathlib.Path]:
  """Prepared versions in a folder: the one asked for, or all."""
  return [
    d
    for d in (folder.iterdir() if folder.is_dir() else ())
    if _VERSION.fullmatch(d.name)
    and (d / "dataset_info.json").is_file()
    and version in ("", "*.*.*", d.name)
  ]


def load_tfds(name: str, data_dir: str | os.PathLike | None = None) -> Dataset:
  """`tfds:name`: its train, validation and test splits, as far as it has them.

  Raises:
    UserError: if the set is not on disk, damaged, or neither images nor a table with a label.
  """
  folder = find(name, data_dir)
  if folder is None:
    raise _missing(name, places.data_dir(data_dir))
  cache = cache_path(folder)
  dataset = _read_cache(cache)
  if dataset is None:
    dataset = decode(name, folder)
    write_cache(cache, dataset)
  return replace_info(dataset, name=f"tfds:{name}")


def _missing(name: str, directory: pathlib.Path):
  from lib.experiment.errors import UserError, did_you_mean

  plain = re.split("[/:]", name)[0]
  if re.fullmatch(r"\w+", plain):
    versions = (directory / plain).glob("**/dataset_info.json")
    there = sorted(str(f.parent.relative_to(directory)) for f in versions)
    if there:
      return UserError(
        f"there is no 'tfds:{name}' in {directory}, only {', '.join(there)}: write "
        f"'tfds:{plain}' for the newest, or 'tfds:name/config:version'"
      )
  here = (
    sorted(d.name for d in directory.iterdir() if d.is_dir()) if directory.is_dir() else []
  )
  known = [*KNOWN, *(d for d in here if find(d, directory) is not None)]
  if plain in recipes.RECIPES:
    recipe = recipes.RECIPES[plain]
    return UserError(
      f"the data set 'tfds:{name}' is not in {directory}; get {recipe.file} from "
      f"{recipe.source} and bring it there by `python -m launch.import_data {plain} "
      f"{recipe.file}`; or set ANSATZ_DATA_DIR to where it is."
    )
  importing = f"`python -m launch.import_data {plain} FILES`"
  if plain not in known:
    with quiet():
      import tensorflow_datasets

      registered = tensorflow_datasets.list_builders(with_community_datasets=False)
    if plain not in registered:
      near = did_you_mean(plain, known) or did_you_mean(plain, registered)
      return UserError(
        f"there is no data set 'tfds:{name}' in {directory}, and TFDS knows none of that name."
        f"{near} Your own files become one with {importing}."
      )
  if plain in KNOWN:
    fetching = f"`python -m launch.import_data {plain} --download`"
  else:
    fetching = (
      "`pip install tensorflow importlib_resources` (TFDS needs them to prepare a set, "
      'nothing here does to read it) and `python -c "import tensorflow_datasets as tfds; '
      f"tfds.builder('{name}', file_format='array_record').download_and_prepare()\"`"
    )
  return UserError(
    f"the data set 'tfds:{name}' is not in {directory}; with internet, get it by {fetching}; "
    f"without, bring files that you have by {importing}; or set ANSATZ_DATA_DIR to where it "
    "is."
  )


@contextlib.contextmanager
def quiet():
  """TFDS warns through absl that OpenCV is missing; Pillow does as well here."""
  logger = logging.getLogger("absl")
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    yield
  finally:
    logger.setLevel(level)


def _record_files(folder: pathlib.Path) -> list[pathlib.Path]:
  """Everything the decoded arrays depend on."""
  return sorted(
    f
    for f in folder.iterdir()
    if f.is_file() and not f.name.startswith(("decoded-", ".")) and f.suffix != ".tmp"
  )


def cache_path(folder: pathlib.Path) -> pathlib.Path:
  """Where the decoded arrays are kept. The name changes when a file of the set does: it is
  made of names, sizes, times, and the text of the metadata.
  """
  digest = hashlib.sha256(f"{_CACHE_VERSION}\n".encode())
  for file in _record_files(folder):
    status = file.stat()
    digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    if file.suffix in (".json", ".txt"):
      digest.update(file.read_bytes())
  return folder / f"decoded-{digest.hexdigest()[:16]}.npz"


def _read_cache(path: pathlib.Path) -> Dataset | None:
  """The decoded arrays, or None if they are not there or the file is damaged."""
  if not path.is_file():
    return None
  try:
    with np.load(path, allow_pickle=False) as stored:
      fields = json.loads(str(stored["info"]))
      info = Info(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
      parts = {
        s: Examples(stored[f"{s}_inputs"], stored[f"{s}_targets"])
        for s in _SPLITS
        if f"{s}_inputs" in stored
      }
    return Dataset(parts["train"], parts.get("validation"), parts.get("test"), info)
  except Exception:
    return None  # truncated or foreign: decode again and replace it


def write_cache(path: pathlib.Path, dataset: Dataset):
  """Writes under a name of its own and renames: readers and other writers never see a half."""
  arrays = {"info": np.array(json.dumps(vars(dataset.info)))}
  for name in _SPLITS:
    part = getattr(dataset, name)
    if part is not None:
      arrays |= {f"{name}_inputs": part.inputs, f"{name}_targets": part.targets}
  temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
  try:
    with temporary.open("wb") as file:
      np.savez(file, **arrays)
    temporary.replace(path)
  except OSError as error:  # a read-only directory or a full disk: only slower next time
    logging.getLogger(__name__).warning("decoded data not kept in %s: %s", path.parent, error)
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)
    return
  for old in path.parent.glob("decoded-*.npz"):
    if old != path:
      with contextlib.suppress(OSError):
        old.unlink()


def _tf_records(path: pathlib.Path) -> Iterator[bytes]:
  """Records of a TFRecord file: length (8), its checksum (4), data, its checksum (4)."""
  with path.open("rb") as file:
    while head := file.read(12):
      if len(head) < 12:
        raise EOFError(f"{path} is truncated")
      (length,) = struct.unpack("<Q", head[:8])
      record = file.read(length + 4)
      if len(record) < length + 4:
        raise EOFError(f"{path} is truncated")
      yield record[:-4]


def _examples(builder, split: str) -> Iterator[dict]:
  """Decoded examples of a split, in the order of its files."""
  if builder.info.file_format.value == "tfrecord":
    for path in builder.info.splits[split].filepaths:
      for record in _tf_records(pathlib.Path(path)):
        yield builder.info.features.deserialize_example_np(record)
    return
  source = builder.as_data_source(split)
  for start in range(0, len(source), 1000):
    yield from source.__getitems__(list(range(start, min(start + 1000, len(source)))))


class Inputs:
  """Turns the input feature of an example into a row of one array.

  Images stay as they are. In a table, numbers are columns and a categorical feature with K
  values is K columns `name=value` of 0 and 1.
  """

  def __init__(self, feature, where: str):
    from tensorflow_datasets import features as kinds

    self.where = where
    self.names, self.maximum, self.columns = (), None, None
    if isinstance(feature, kinds.Image):
      self.shape, self.dtype = feature.shape, np.dtype(feature.np_dtype)
      if self.dtype.kind == "u":
        self.maximum = int(np.iinfo(self.dtype).max)
      return
    self.dtype = np.dtype(np.float32)
    if not isinstance(feature, dict) and not isinstance(feature, kinds.FeaturesDict):
      if (
        len(feature.shape) != 1
        or feature.shape[0] is None
        or feature.np_dtype.kind not in "iufb"
      ):
        raise ValueError(f"{where} is {feature!r}: neither an image nor a table of numbers")
      self.shape = feature.shape
      self.names = tuple(f"x{i}" for i in range(feature.shape[0]))
      return
    self.columns = []
    for name, column in sorted(feature.items()):
      if isinstance(column, kinds.ClassLabel):
        self.columns.append((name, column.num_classes))
        self.names += tuple(f"{name}={value}" for value in column.names)
      elif column.shape == () and np.dtype(column.np_dtype).kind in "iufb":
        self.columns.append((name, 0))
        self.names += (name,)
      else:
        raise ValueError(f"{where}/{name} is {column!r}: neither a number nor a category")
    self.shape = (len(self.names),)

  def row(self, value) -> np.ndarray:
    if self.columns is None:
      value = np.asarray(value, self.dtype)
      if None in self.shape:
        self.shape = value.shape
      if value.shape != tuple(self.shape):
        raise ValueError(
          f"{self.where}: images of different sizes, {value.shape} and {tuple(self.shape)}"
        )
      return value
    row = []
    for name, categories in self.columns:
      if categories:
        row.extend(float(k == value[name]) for k in range(categories))
      else:
        row.append(float(value[name]))
    return np.array(row, self.dtype)


def decode(name: str, folder: pathlib.Path) -> Dataset:
  """The data set in a folder of TFDS's format, decoded in full.

  Raises:
    UserError: the folder is not such a set, or has features that are no inputs and targets.
  """
  from lib.experiment.errors import UserError

  with quiet():
    import tensorflow_datasets
    from tensorflow_datasets import features as kinds

    try:
      builder = tensorflow_datasets.builder_from_directory(folder)
      features, splits = builder.info.features, builder.info.splits
      keys = builder.info.supervised_keys or ()
      keys = keys or ("image" if "image" in features else "features", "label")
      missing = [k for k in (*_flat(keys[0]), keys[1]) if k not in features]
      if "train" not in splits or missing:
        raise ValueError(
          f"splits {', '.join(splits)} and features {', '.join(features)}, where a split "
          f"'train' and features {', '.join(map(str, (*_flat(keys[0]), keys[1])))} are needed"
        )
      if isinstance(keys[0], str):
        pick, feature = (lambda e: e[keys[0]]), features[keys[0]]
      else:
        table = _flat(keys[0])
        pick, feature = (lambda e: {k: e[k] for k in table}), {k: features[k] for k in table}
      inputs, target = Inputs(feature, str(keys[0])), features[keys[1]]
      classes = isinstance(target, kinds.ClassLabel)
      if not classes and (target.shape != () or target.np_dtype.kind not in "iufb"):
        raise ValueError(f"the target {keys[1]} is {target!r}: neither a class nor a number")
      parts = {}
      for split in (s for s in _SPLITS if s in splits):
        n = splits[split].num_examples
        x, y = None, np.empty(n, np.int32 if classes else np.float32)
        count = 0
        with progress.track(f"decoding {name} {split}", n) as advance:
          for count, example in enumerate(_examples(builder, split), 1):
            row = inputs.row(pick(example))
            if x is None:
              x = np.empty((n, *row.shape), row.dtype)
            x[count - 1], y[count - 1] = row, example[keys[1]]
            advance()
        if count != n:
          raise ValueError(f"split '{split}' has {count} examples, and should have {n}")
        if classes and not 0 <= y.min() <= y.max() < target.num_classes:
          raise ValueError(f"split '{split}' has examples without a label")
        parts[split] = Examples(x, y)
    except Exception as error:
      line = " ".join(str(error).split())[:300]
      raise UserError(
        f"the data set in {folder} cannot be used ({type(error).__name__}: {line}); if it is "
        f"damaged, `python -m launch.import_data --force` or TFDS makes it again"
      ) from error
  return Dataset(
    parts["train"],
    parts.get("validation"),
    parts.get("test"),
    Info(
      name=f"tfds:{name}",
      task="classification" if classes else "regression",
      input_shape=parts["train"].inputs.shape[1:],
      num_classes=target.num_classes if classes else 0,
      class_names=tuple(target.names) if classes else (),
      feature_names=inputs.names,
      maximum=inputs.maximum,
      target_name=keys[1],
    ),
  )


def _flat(keys) -> tuple[str, ...]:
  """Feature names in a supervised key: a name, or a (nested) structure of names."""
  if isinstance(keys, str):
    return (keys,)
  values = keys.values() if isinstance(keys, dict) else keys
  return tuple(name for value in values for name in _flat(value))

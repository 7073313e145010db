"""Files of the forms that people have, for the tests of launch.import_data."""

import gzip
import struct

import numpy as np
from PIL import Image

from launch import import_data
from lib import data


def digits(n_train=40, n_test=20, shape=(28, 28), seed=0):
  """Random images and labels, {x_train, y_train, x_test, y_test}."""
  rng = np.random.default_rng(seed)
  arrays = {}
  for split, n in (("train", n_train), ("test", n_test)):
    arrays[f"x_{split}"] = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    arrays[f"y_{split}"] = np.arange(n) % 10
  return arrays


def multiset(inputs, targets):
  """Examples in an order that does not matter."""
  return sorted(
    (np.asarray(x).tobytes(), int(y)) for x, y in zip(inputs, targets, strict=True)
  )


def check_set(name, directory, arrays):
  """The set as it is read back, whose examples are those of the arrays."""
  found = data.load(f"tfds:{name}", data_dir=directory)
  for split in ("train", "test"):
    part = getattr(found, split)
    assert part.inputs.dtype == np.uint8
    assert multiset(part.inputs, part.targets) == multiset(
      arrays[f"x_{split}"], arrays[f"y_{split}"]
    )
  return found


def run_import(*arguments):
  """The exit status of the command."""
  return import_data.main([str(a) for a in arguments])


def npz(path, **arrays):
  """A file with these arrays."""
  np.savez(path, **arrays)
  return path


def idx(array):
  """Bytes in the format of MNIST's files."""
  array = np.asarray(array, np.uint8)
  return (
    struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
  )


def idx_files(folder, arrays, packed=True):
  """The four files of MNIST's kind."""
  folder.mkdir(exist_ok=True)
  paths = []
  for split, prefix in (("train", "train"), ("test", "t10k")):
    for array, kind in (
      (arrays[f"x_{split}"], "images-idx3"),
      (arrays[f"y_{split}"], "labels-idx1"),
    ):
      path = folder / f"{prefix}-{kind}-ubyte{'.gz' if packed else ''}"
      path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
      paths.append(path)
  return paths


def image_tree(folder, arrays, classes, suffix=".png"):
  """split/class/number.png of the images."""
  for split in ("train", "test"):
    for i, (x, y) in enumerate(zip(arrays[f"x_{split}"], arrays[f"y_{split}"], strict=True)):
      path = folder / split / classes[y] / f"{i:04d}{suffix}"
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(x).save(path)
  return folder

"""Every form that people's files come in, written as TFDS does and read back exactly."""

import functools
import gzip
import hashlib
import http.server
import io
import os
import pathlib
import pickle
import signal
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from launch import import_data
from lib import data
from lib.data import downloading, files
from lib.data import tfds as reader

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")
SHARED = pathlib.Path(__file__).parents[2].parent / "shared" / "data"


def _digits(n_train=40, n_test=20, shape=(28, 28), seed=0):
  rng = np.random.default_rng(seed)
  arrays = {}
  for split, n in (("train", n_train), ("test", n_test)):
    arrays[f"x_{split}"] = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    arrays[f"y_{split}"] = np.arange(n) % 10
  return arrays


def _multiset(inputs, targets):
  return sorted(
    (np.asarray(x).tobytes(), int(y)) for x, y in zip(inputs, targets, strict=True)
  )


def _check(name, directory, arrays):
  found = data.load(f"tfds:{name}", data_dir=directory)
  for split in ("train", "test"):
    part = getattr(found, split)
    assert part.inputs.dtype == np.uint8
    assert _multiset(part.inputs, part.targets) == _multiset(
      arrays[f"x_{split}"], arrays[f"y_{split}"]
    )
  return found


def _run(*arguments):
  return import_data.main([str(a) for a in arguments])


def _npz(path, **arrays):
  np.savez(path, **arrays)
  return path


def _idx(array):
  array = np.asarray(array, np.uint8)
  return (
    struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
  )


def _idx_files(folder, arrays, packed=True):
  folder.mkdir(exist_ok=True)
  paths = []
  for split, prefix in (("train", "train"), ("test", "t10k")):
    for array, kind in (
      (arrays[f"x_{split}"], "images-idx3"),
      (arrays[f"y_{split}"], "labels-idx1"),
    ):
      path = folder / f"{prefix}-{kind}-ubyte{'.gz' if packed else ''}"
      path.write_bytes(gzip.compress(_idx(array)) if packed else _idx(array))
      paths.append(path)
  return paths


def _tree(folder, arrays, classes, suffix=".png"):
  for split in ("train", "test"):
    for i, (x, y) in enumerate(zip(arrays[f"x_{split}"], arrays[f"y_{split}"], strict=True)):
      path = folder / split / classes[y] / f"{i:04d}{suffix}"
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(x).save(path)
  return folder


def test_npz_as_the_official_set(tmp_path, capsys):
  arrays = _digits()
  assert _run("mnist", _npz(tmp_path / "m.npz", **arrays), f"--data_dir={tmp_path}") == 0
  found = _check("mnist", tmp_path, arrays)
  assert found.info.input_shape == (28, 28, 1) and found.info.num_classes == 10
  out = capsys.readouterr().out
  assert "train: 40 images, 10 classes of 4 to 4" in out
  assert "warning: split 'train' has 40 examples; the official mnist has 60000" in out
  # It is TFDS's own set: same place, schema, description; and TFDS reads it.
  official = tensorflow_datasets.builder_cls("mnist")(data_dir=tmp_path)
  assert official.is_prepared() and pathlib.Path(official.data_dir) == tmp_path / "mnist/3.0.1"
  again = tensorflow_datasets.builder_from_directory(tmp_path / "mnist" / "3.0.1")
  assert again.info.features.to_json() == official.info.features.to_json()
  assert again.info.description == official.info.description
  assert again.info.supervised_keys == ("image", "label")
  source = tensorflow_datasets.data_source("mnist", data_dir=tmp_path, download=False)
  assert sorted(e["label"] for e in source["test"]) == sorted(arrays["y_test"])
  assert not list(tmp_path.glob(".import*"))


def test_examples_are_stored_in_tfds_order(tmp_path):
  """TFDS orders a split by the hash of each example's number, salted with the split's name."""
  from tensorflow_datasets.core import hashing

  arrays = _digits(25, 5)
  assert _run("mnist", _npz(tmp_path / "m.npz", **arrays), f"--data_dir={tmp_path}") == 0
  hasher = hashing.Hasher("train")
  order = sorted(range(25), key=hasher.hash_key)
  found = data.load("tfds:mnist", data_dir=tmp_path)
  np.testing.assert_array_equal(found.train.inputs[..., 0], arrays["x_train"][order])


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files(tmp_path, packed):
  arrays = _digits()
  paths = _idx_files(tmp_path / "files", arrays, packed)
  assert _run("kmnist", *paths, f"--data_dir={tmp_path}") == 0
  _check("kmnist", tmp_path, arrays)
  # a folder of data files stands for its files
  assert _run("fashion_mnist", tmp_path / "files", f"--data_dir={tmp_path}") == 0
  _check("fashion_mnist", tmp_path, arrays)


def test_npz_files_of_one_nameless_array_as_kmnist_has_them(tmp_path):
  arrays = _digits()
  paths = []
  for split in ("train", "test"):
    for role, key in (("imgs", "x"), ("labels", "y")):
      paths.append(tmp_path / f"kmnist-{split}-{role}.npz")
      np.savez(paths[-1], arrays[f"{key}_{split}"])
  assert _run("kmnist", *paths, f"--data_dir={tmp_path}") == 0
  _check("kmnist", tmp_path, arrays)


def test_arrays_in_other_shapes_and_types(tmp_path, capsys):
  arrays = _digits()
  odd = {
    "x_train": (arrays["x_train"] / 255).astype(np.float32),
    "y_train": arrays["y_train"].astype(np.float64)[:, None],
    "x_test": arrays["x_test"].reshape(20, -1).astype(np.int64),
    "y_test": arrays["y_test"].astype(np.uint8),
  }
  assert _run("mnist", _npz(tmp_path / "m.npz", **odd), f"--data_dir={tmp_path}") == 0
  _check("mnist", tmp_path, arrays)
  assert "after × 255" in capsys.readouterr().out
  colour = _digits(12, 10, (3, 32, 32))
  assert _run("cifar10", _npz(tmp_path / "c.npz", **colour), f"--data_dir={tmp_path}") == 0
  for split in ("train", "test"):
    colour[f"x_{split}"] = colour[f"x_{split}"].transpose(0, 2, 3, 1)
  found = _check("cifar10", tmp_path, colour)
  assert found.info.class_names[:2] == ("airplane", "automobile")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
  arrays = _digits(20, 10, (32, 32, 3))
  names = reader.KNOWN["cifar10"].class_names["label"]
  return _tree(tmp_path_factory.mktemp("images") / "top", arrays, names), arrays


@pytest.mark.parametrize("form", ["folder", "tar", "tar.xz", "tar.gz", "zip"])
def test_a_folder_of_images_by_class_and_its_archives(tmp_path, tree, form):
  folder, arrays = tree
  (folder / "README.txt").write_text("not an image")
  path = folder
  if form == "zip":
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
      for file in folder.rglob("*"):
        archive.write(file, file.relative_to(folder.parent))
  elif form != "folder":
    path = tmp_path / f"images.{form}"
    with tarfile.open(path, "w:" + form[4:]) as archive:
      archive.add(folder, "top")
  assert _run("cifar10", path, f"--data_dir={tmp_path / 'data'}") == 0
  _check("cifar10", tmp_path / "data", arrays)


def test_a_set_of_ones_own(tmp_path, capsys):
  arrays = _digits(12, 6, (7, 9))
  arrays = {k: v % 3 if k[0] == "y" else v for k, v in arrays.items()}
  folder = _tree(tmp_path / "mine", arrays, ("cat", "dog", "emu"))
  assert _run("my_pets", folder, f"--data_dir={tmp_path}") == 0
  found = _check("my_pets", tmp_path, arrays)
  assert found.info.class_names == ("cat", "dog", "emu")
  assert found.info.input_shape == (7, 9, 1)
  assert (tmp_path / "my_pets" / "1.0.0" / "features.json").is_file()
  assert "warning" not in capsys.readouterr().out


def test_photographs_stay_the_jpeg_they_are(tmp_path, capsys):
  smooth = np.add.outer(np.arange(40), np.arange(30)).astype(np.uint8)
  arrays = {
    "x_train": np.stack([np.stack([smooth + k] * 3, -1) for k in range(4)]),
    "y_train": np.arange(4) % 2,
    "x_test": np.stack([np.stack([smooth + 9] * 3, -1)] * 1),
    "y_test": np.zeros(1, int),
  }
  folder = _tree(tmp_path / "p", arrays, ("a", "b"), ".jpg")
  assert _run("photos", folder, f"--data_dir={tmp_path}") == 0
  decoded = np.stack([np.asarray(Image.open(p)) for p in sorted(folder.glob("train/*/*.jpg"))])
  found = data.load("tfds:photos", data_dir=tmp_path)
  assert sorted(x.tobytes() for x in found.train.inputs) == sorted(
    x.tobytes() for x in decoded
  )
  originals = {p.read_bytes() for p in folder.rglob("*.jpg")}
  builder = tensorflow_datasets.builder_from_directory(tmp_path / "photos" / "1.0.0")
  raw = builder.as_data_source(
    "train", decoders={"image": tensorflow_datasets.decode.SkipDecoding()}
  )
  assert all(e["image"] in originals for e in raw)
  assert "official" not in capsys.readouterr().out
  small = _digits(10, 10, (28, 28))
  folder = _tree(tmp_path / "m", small, [str(k) for k in range(10)], ".jpg")
  assert _run("mnist", folder, f"--data_dir={tmp_path}") == 0
  assert "warning: the images are JPEG" in capsys.readouterr().out


def test_svhn_and_cifar_in_their_official_files(tmp_path):
  from scipy import io as scipy_io

  arrays = _digits(20, 10, (32, 32, 3))
  for split in ("train", "test"):
    labels = np.where(arrays[f"y_{split}"] == 0, 10, arrays[f"y_{split}"])
    scipy_io.savemat(
      tmp_path / f"{split}_32x32.mat",
      {"X": np.moveaxis(arrays[f"x_{split}"], 0, -1), "y": labels[:, None]},
    )
  paths = [tmp_path / "train_32x32.mat", tmp_path / "test_32x32.mat"]
  assert _run("svhn_cropped", *paths, f"--data_dir={tmp_path}") == 0
  _check("svhn_cropped", tmp_path, arrays)

  def rows(x, *labels):
    flat = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    return np.concatenate([*(label[:, None] for label in labels), flat], 1).astype(np.uint8)

  def pack(path, members):
    with tarfile.open(path, "w:gz") as archive:
      for name, content in members.items():
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path

  train = rows(arrays["x_train"], arrays["y_train"])
  test = rows(arrays["x_test"], arrays["y_test"])
  path = pack(
    tmp_path / "cifar-10-binary.tar.gz",
    {
      "cifar-10-batches-bin/data_batch_2.bin": train[12:].tobytes(),
      "cifar-10-batches-bin/data_batch_1.bin": train[:12].tobytes(),
      "cifar-10-batches-bin/test_batch.bin": test.tobytes(),
      "cifar-10-batches-bin/readme.html": b"<html>",
    },
  )
  assert _run("cifar10", path, f"--data_dir={tmp_path}") == 0
  _check("cifar10", tmp_path, arrays)

  fine = {s: np.arange(n) for s, n in (("train", 20), ("test", 10))}
  names = reader.KNOWN["cifar100"].class_names
  # apple is a fruit (4), aquarium_fish a fish (1), baby one of the people (14), …
  coarse = [
    list(names["coarse_label"]).index(c) for c in ("fruit_and_vegetables", "fish", "people")
  ]
  coarse_of = {s: np.array([coarse[min(k, 2)] for k in fine[s]]) for s in fine}
  path = pack(
    tmp_path / "cifar-100-binary.tar.gz",
    {
      f"cifar-100-binary/{s}.bin": rows(arrays[f"x_{s}"], coarse_of[s], fine[s]).tobytes()
      for s in fine
    },
  )
  assert _run("cifar100", path, f"--data_dir={tmp_path}") == 0
  found = data.load("tfds:cifar100", data_dir=tmp_path)
  assert sorted(found.train.targets) == list(range(20)) and found.info.num_classes == 100
  source = tensorflow_datasets.data_source("cifar100", data_dir=tmp_path, download=False)[
    "train"
  ]
  pairs = {int(e["label"]): int(e["coarse_label"]) for e in source}
  assert [pairs[k] for k in range(3)] == coarse == [4, 1, 14]
  assert {e["id"] for e in source} == {b"train_%05d" % i for i in range(20)}
  # without coarse labels they follow from the fine ones
  arrays = {**arrays, "y_train": fine["train"], "y_test": fine["test"]}
  assert (
    _run("cifar100", _npz(tmp_path / "c.npz", **arrays), f"--data_dir={tmp_path}", "--force")
    == 0
  )
  source = tensorflow_datasets.data_source("cifar100", data_dir=tmp_path, download=False)[
    "train"
  ]
  pairs = {int(e["label"]): int(e["coarse_label"]) for e in source}
  assert [pairs[k] for k in range(3)] == coarse


CSV = """age, job,weight;kg,income
30,clerk,70.5,<=50K
41,"smith, black",80,>50K
50,?,65,<=50K
22,clerk,90.25,>50K
"""


def test_csv(tmp_path, capsys):
  path = tmp_path / "people.csv"
  path.write_text("﻿" + CSV, encoding="utf-8")
  assert _run("people", path, f"--data_dir={tmp_path}") == 2
  assert "--target" in capsys.readouterr().err
  assert _run("people", path, "--target=incom", f"--data_dir={tmp_path}") == 2
  assert "Did you mean 'income'" in capsys.readouterr().err
  assert _run("people", path, "--target=income", f"--data_dir={tmp_path}") == 2
  message = capsys.readouterr().err
  assert "1 of 4 rows" in message and "columns job" in message and "--missing=drop" in message
  arguments = ("people", path, "--target=income", f"--data_dir={tmp_path}")
  assert _run(*arguments, "--missing=category") == 0
  found = data.load("tfds:people", data_dir=tmp_path)
  assert found.info.class_names == ("<=50K", ">50K")
  assert found.info.feature_names == (
    "age",
    "job=clerk",
    "job=missing",
    "job=smith, black",
    "weight;kg",
  )
  rows = sorted(map(tuple, np.column_stack([found.train.inputs, found.train.targets])))
  assert rows == [
    (22, 1, 0, 0, 90.25, 1),
    (30, 1, 0, 0, 70.5, 0),
    (41, 0, 0, 1, 80, 1),
    (50, 0, 1, 0, 65, 0),
  ]
  assert _run(*arguments, "--missing=drop", "--force") == 0
  assert data.load("tfds:people", data_dir=tmp_path).train.size == 3
  assert _run(*arguments, "--drop=job", "--force") == 0
  assert data.load("tfds:people", data_dir=tmp_path).info.feature_names == ("age", "weight;kg")


def test_csv_of_a_regression_with_a_test_split(tmp_path):
  (tmp_path / "train.csv").write_text("a;b;y\n1;2;0.5\n3;4;1.5\n")
  (tmp_path / "test.csv").write_text("a;b;y\n5;6;-2.25\n")
  paths = [tmp_path / "train.csv", tmp_path / "test.csv"]
  assert _run("line", *paths, "--target=y", f"--data_dir={tmp_path}") == 0
  found = data.load("tfds:line", data_dir=tmp_path)
  assert found.info.task == "regression"
  np.testing.assert_array_equal(found.test.inputs, [[5, 6]])
  np.testing.assert_array_equal(found.test.targets, [-2.25])


def test_whole_numbers_are_classes_or_not_as_the_user_says(tmp_path):
  (tmp_path / "q.csv").write_text("a,y\n1,3\n2,5\n3,3\n")
  arguments = ("q", tmp_path / "q.csv", "--target=y", f"--data_dir={tmp_path}")
  assert _run(*arguments) == 0
  found = data.load("tfds:q", data_dir=tmp_path)
  assert found.info.class_names == ("3", "5") and sorted(found.train.targets) == [0, 0, 1]
  assert _run(*arguments, "--task=regression", "--force") == 0
  assert sorted(data.load("tfds:q", data_dir=tmp_path).train.targets) == [3, 3, 5]


def test_columns_of_the_same_name_are_numbered(tmp_path):
  (tmp_path / "t.csv").write_text("a,a,y\n1,2,b\n3,4,c\n")
  assert _run("t", tmp_path / "t.csv", "--target=y", f"--data_dir={tmp_path}") == 0
  assert data.load("tfds:t", data_dir=tmp_path).info.feature_names == ("a", "a.1")


def test_an_npz_of_vectors_is_a_table(tmp_path):
  x = np.random.default_rng(0).normal(size=(9, 3))
  path = _npz(tmp_path / "v.npz", x=x, y=np.arange(9) % 3)
  assert _run("vectors", path, f"--data_dir={tmp_path}") == 0
  found = data.load("tfds:vectors", data_dir=tmp_path)
  assert found.info.num_classes == 3 and found.info.input_shape == (3,)
  np.testing.assert_array_equal(
    np.sort(found.train.inputs, axis=0), np.sort(x.astype(np.float32), axis=0)
  )


def test_doubles_and_leaks_are_reported(tmp_path, capsys):
  arrays = _digits()
  arrays["x_train"][7] = arrays["x_train"][3]
  arrays["x_test"][5] = arrays["x_train"][0]
  assert _run("mnist", _npz(tmp_path / "m.npz", **arrays), f"--data_dir={tmp_path}") == 0
  out = capsys.readouterr().out
  assert "split 'train' has 1 inputs that are there already" in out
  assert "1 inputs of 'test' are in 'train' too" in out


def test_nothing_is_overwritten_without_force(tmp_path, capsys):
  first, second = _digits(seed=1), _digits(seed=2)
  path = _npz(tmp_path / "a.npz", **first)
  assert _run("mnist", path, f"--data_dir={tmp_path}") == 0
  other = _npz(tmp_path / "b.npz", **second)
  assert _run("mnist", other, f"--data_dir={tmp_path}") == 2
  assert "--force" in capsys.readouterr().err
  _check("mnist", tmp_path, first)
  assert _run("mnist", other, f"--data_dir={tmp_path}", "--force") == 0
  _check("mnist", tmp_path, second)
  bad = _npz(tmp_path / "bad.npz", **{**first, "y_test": np.full(20, 11)})
  assert _run("mnist", bad, f"--data_dir={tmp_path}", "--force") == 2
  _check("mnist", tmp_path, second)  # a failed replacement leaves what was there
  assert {p.name for p in tmp_path.iterdir()} == {"mnist", "a.npz", "b.npz", "bad.npz"}


class _Boom:
  def __reduce__(self):
    return os.system, ("touch /tmp/unpickled_by_import",)


def _bad_inputs():
  good = _digits(10, 10)
  nan = good["x_train"].astype(np.float32)
  nan[0, 0, 0] = np.nan
  yield "labels 10 to", {**good, "y_train": np.full(10, 10)}, "run from 10 to 10"
  yield "negative", {**good, "y_train": np.full(10, -1)}, "outside 0..9"
  yield "fractions", {**good, "y_train": np.full(10, 0.5)}, "not whole numbers"
  yield "lengths", {**good, "y_train": np.zeros(9, int)}, "10 inputs and 9 labels"
  yield "one-hot", {**good, "y_train": np.eye(10)}, "shape"
  yield "shape", {**good, "x_train": np.zeros((10, 8, 8), np.uint8)}, "(28, 28, 1)"
  yield "nan", {**good, "x_train": nan}, "not finite"
  yield "range", {**good, "x_train": good["x_train"].astype(np.int32) * 2}, "0..255"
  yield "digits", {**good, "x_train": good["x_train"] / 100.0}, "0..255"
  yield "no labels", {k: v for k, v in good.items() if k != "y_test"}, "has no labels"
  yield "no train", {k: v for k, v in good.items() if "test" in k}, "no training split"
  yield (
    "empty",
    {**good, "x_train": good["x_train"][:0], "y_train": good["y_train"][:0]},
    "empty",
  )
  yield "text", {**good, "x_train": np.array(["a"] * 10)}, "not numbers"


@pytest.mark.parametrize(
  ("arrays", "says"), [pytest.param(a, s, id=i) for i, a, s in _bad_inputs()]
)
def test_bad_arrays_end_in_one_sentence(tmp_path, capsys, arrays, says):
  assert _run("mnist", _npz(tmp_path / "m.npz", **arrays), f"--data_dir={tmp_path}") == 2
  error = capsys.readouterr().err
  assert says in error and error.startswith("error: ") and error.count("\n") == 1
  assert {p.name for p in tmp_path.iterdir()} == {"m.npz"}


def _cut(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  return path


def _tar_with(path, name, content=b"", link=None, mode="w"):
  with tarfile.open(path, mode) as archive:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    if link:
      member.type, member.linkname, member.size = tarfile.SYMTYPE, link, 0
    archive.addfile(member, io.BytesIO(content))
  return path


def _zip_with(path, name, content=b""):
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr(name, content)
  return path


def _file(path, content):
  path.write_bytes(content)
  return path


BAD_FILES = {
  "missing": (lambda d: d / "nowhere.npz", "there is no file"),
  "unknown kind": (lambda d: _file(d / "a.xyz", b"1"), "cannot tell what"),
  "not an npz": (lambda d: _file(d / "a.npz", b"garbage"), "cannot be read|pickled"),
  "pickle": (lambda d: _file(d / "a.npy", pickle.dumps(_Boom())), "pickled"),
  "object array": (
    lambda d: _npz(d / "a.npz", x_train=np.array([_Boom()], object), y_train=np.zeros(1, int)),
    "pickled",
  ),
  "cut idx": (
    lambda d: _file(d / "train-images-idx3-ubyte", _idx(np.zeros((3, 4)))[:-1]),
    "damaged",
  ),
  "cut gz": (
    lambda d: _file(d / "train-images-idx3-ubyte.gz", gzip.compress(_idx(np.zeros(99)))[:-9]),
    "damaged",
  ),
  "cut xz": (
    lambda d: _file(d / "a.tar.xz", b"\xfd7zXZ\0garbage"),
    "cannot|can be read|damaged",
  ),
  "cut tar.xz": (
    lambda d: _cut(_tar_with(d / "a.tar.xz", "train/0/a.png", os.urandom(9999), mode="w:xz")),
    "damaged|can be read",
  ),
  "cut zip": (
    lambda d: _cut(_zip_with(d / "a.zip", "train/0/a.png", b"x" * 999)),
    "can be read",
  ),
  "tar out": (lambda d: _tar_with(d / "a.tar", "../train/0/evil.png"), "points outside"),
  "tar absolute": (lambda d: _tar_with(d / "a.tar", "/train/0/evil.png"), "points outside"),
  "zip out": (lambda d: _zip_with(d / "a.zip", "train/../../0/evil.png"), "points outside"),
  "zip drive": (lambda d: _zip_with(d / "a.zip", "C:\\train\\0\\evil.png"), "points outside"),
  "link": (lambda d: _tar_with(d / "a.tar", "train/0/a.png", link="/etc/passwd"), "no image"),
  "no image": (lambda d: _zip_with(d / "a.zip", "train/0/a.txt"), "no image"),
  "depth": (lambda d: _zip_with(d / "a.zip", "train/0/1/a.png"), "not at split/class/image"),
  "not an image": (
    lambda d: _zip_with(d / "a.zip", "train/0/a.png", b"x"),
    "cannot be decoded",
  ),
  "class": (lambda d: _zip_with(d / "a.zip", "train/ten/a.png", b"x"), "not a class"),
  "cifar pickle": (
    lambda d: _zip_with(d / "a.zip", "cifar-10-batches-py/data_batch_1", b"x"),
    "binary version",
  ),
  "empty folder": (lambda d: (d / "sub").mkdir() or d / "sub", "no image"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_end_in_one_sentence(tmp_path, capsys, case):
  import re

  make, says = BAD_FILES[case]
  assert _run("mnist", make(tmp_path), f"--data_dir={tmp_path / 'data'}") == 2
  error = capsys.readouterr().err
  assert re.search(says, error) and error.startswith("error: ") and error.count("\n") == 1, (
    error
  )
  assert not (tmp_path / "data").exists() or not list((tmp_path / "data").iterdir())
  assert not os.path.exists("/tmp/unpickled_by_import")


BAD_TABLES = {
  "no rows": ("a,y\n", "no rows"),
  "no header": ("1,2\n3,4\n", "no header"),
  "same names": ("a,a,a.1,y\n1,2,3,4\n", "same name: a"),
  "no name": ("a,,y\n1,2,3\n", "without a name"),
  "ragged": ("a,y\n1,2\n3\n", "row 3"),
  "infinite": ("a,y\n1,2\ninf,4\n", "not finite"),
  "huge": ("a,y\n1,2\n1e300,4\n", "float32"),
  "gaps in numbers": ("a,y\n1,2\n,4\n", "missing value"),
  "one class": ("a,y\n1,b\n2,b\n", "single value"),
  "only the target": ("y\n1\n2\n", "no column is left"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables_end_in_one_sentence(tmp_path, capsys, case):
  text, says = BAD_TABLES[case]
  (tmp_path / "t.csv").write_text(text)
  assert _run("t", tmp_path / "t.csv", "--target=y", f"--data_dir={tmp_path / 'data'}") == 2
  error = capsys.readouterr().err
  assert says in error and error.count("\n") == 1


def test_names(tmp_path, capsys):
  path = _npz(tmp_path / "m.npz", **_digits())
  for name, says in (("My-Set", "lower-case"), ("../up", "lower-case"), ("titanic", "own")):
    assert _run(name, path, f"--data_dir={tmp_path}") == 2
    assert says in capsys.readouterr().err


def test_images_with_colour_where_the_set_is_grey(tmp_path, capsys):
  grey = _digits(10, 10)
  as_rgb = {k: np.stack([v] * 3, -1) if k[0] == "x" else v for k, v in grey.items()}
  names = [str(k) for k in range(10)]
  folder = _tree(tmp_path / "g", as_rgb, names)
  assert _run("mnist", folder, f"--data_dir={tmp_path}") == 0
  _check("mnist", tmp_path, grey)
  coloured = _digits(10, 10, (28, 28, 3))
  folder = _tree(tmp_path / "c", coloured, names)
  assert _run("mnist", folder, f"--data_dir={tmp_path}", "--force") == 2
  assert "has colours" in capsys.readouterr().err


def test_the_command_itself(tmp_path):
  """As a user starts it: quick help, quiet in a pipe, status 2 without a traceback."""
  run = functools.partial(
    subprocess.run, capture_output=True, text=True, cwd=pathlib.Path(__file__).parents[2]
  )
  command = [sys.executable, "-X", "importtime", "-m", "launch.import_data"]
  shown = run([*command, "--help"])
  assert shown.returncode == 0 and "x_train, y_train" in shown.stdout
  assert "jax" not in shown.stderr and "numpy" not in shown.stderr  # hence fast
  command = [sys.executable, "-m", "launch.import_data"]
  path = _npz(tmp_path / "m.npz", **_digits())
  done = run([*command, "mnist", str(path), f"--data_dir={tmp_path}"])
  assert done.returncode == 0 and done.stderr == "", done.stderr
  failed = run([*command, "mnist", str(path), f"--data_dir={tmp_path}"])
  assert failed.returncode == 2 and failed.stderr.count("\n") == 1
  for wrong in (["mnist"], ["mnist", "x.npz", "--download"], ["mnist", "x", "--no_such"], []):
    failed = run([*command, *wrong])
    assert failed.returncode == 2 and failed.stderr.count("\n") == 1


def test_killed_in_the_middle_leaves_no_set_and_can_be_run_again(tmp_path):
  arrays = _digits(3000, 20)
  path = _npz(tmp_path / "m.npz", **arrays)
  directory = tmp_path / "data"
  process = subprocess.Popen(
    [
      sys.executable,
      "-m",
      "launch.import_data",
      "mnist",
      str(path),
      f"--data_dir={directory}",
    ],
    cwd=pathlib.Path(__file__).parents[2],
  )
  while process.poll() is None and not list(directory.glob(".import-*/mnist/incomplete*")):
    time.sleep(0.002)
  process.send_signal(signal.SIGKILL)
  assert process.wait() == -signal.SIGKILL
  assert reader.find("mnist", directory) is None
  assert _run("mnist", path, f"--data_dir={directory}") == 0
  _check("mnist", directory, arrays)


@pytest.fixture
def server(tmp_path, monkeypatch):
  """Serves official-looking idx files under the addresses that a set is fetched from."""
  arrays = _digits()
  paths = _idx_files(tmp_path / "www", arrays)
  handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "www")
  monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *a: None)
  serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
  threading.Thread(target=serving.serve_forever, daemon=True).start()
  sources = [
    downloading.Source(
      f"http://127.0.0.1:{serving.server_port}/{p.name}",
      p.stat().st_size,
      hashlib.sha256(p.read_bytes()).hexdigest(),
    )
    for p in paths
  ]
  monkeypatch.setattr(downloading, "sources", lambda name: sources)
  yield arrays, paths
  serving.shutdown()
  serving.server_close()


def test_download(server, tmp_path, capsys):
  arrays, paths = server
  assert _run("mnist", "--download", f"--data_dir={tmp_path / 'data'}") == 0
  _check("mnist", tmp_path / "data", arrays)
  paths[1].write_bytes(paths[1].read_bytes() + b"x")
  assert _run("mnist", "--download", f"--data_dir={tmp_path / 'data'}", "--force") == 2
  assert "checksum" in capsys.readouterr().err
  paths[0].unlink()
  assert _run("mnist", "--download", f"--data_dir={tmp_path / 'data'}", "--force") == 2
  assert "cannot be fetched" in capsys.readouterr().err
  _check("mnist", tmp_path / "data", arrays)
  assert [p.name for p in (tmp_path / "data").iterdir()] == ["mnist"]


def test_addresses_of_the_official_files():
  for name in reader.KNOWN:
    found = downloading.sources(name)
    assert found and all(len(s.sha256) == 64 and s.url.startswith("http") for s in found)
    assert not any("extra" in s.url for s in found)
  with pytest.raises(files.UserError, match="only mnist"):
    downloading.sources("imagenet2012")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="no development data beside the repository")
def test_part_of_the_real_mnist(tmp_path):
  with np.load(SHARED / "mnist" / "mnist.npz", allow_pickle=False) as stored:
    part = {k: stored[k][:500] for k in ("x_train", "y_train", "x_test", "y_test")}
  assert _run("mnist", _npz(tmp_path / "m.npz", **part), f"--data_dir={tmp_path}") == 0
  found = _check("mnist", tmp_path, part)
  # Real digits, not noise: a nearest-neighbour rule gets most of them right.
  train, test = (
    p.inputs.reshape(len(p.inputs), -1).astype(float) for p in (found.train, found.test)
  )
  distances = (test**2).sum(1)[:, None] - 2 * test @ train.T + (train**2).sum(1)
  nearest = found.train.targets[distances.argmin(axis=1)]
  assert (nearest == found.test.targets).mean() > 0.75

"""Every form that people's files come in, written as TFDS does and read back exactly."""

import io
import pathlib
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from lib import data
from lib.data import tfds as reader
from tests.launch.importing import check_set, digits, idx_files, image_tree, npz, run_import

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")


def test_npz_as_the_official_set(tmp_path, capsys):
  arrays = digits()
  assert run_import("mnist", npz(tmp_path / "m.npz", **arrays), f"--data_dir={tmp_path}") == 0
  found = check_set("mnist", tmp_path, arrays)
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

  arrays = digits(25, 5)
  assert run_import("mnist", npz(tmp_path / "m.npz", **arrays), f"--data_dir={tmp_path}") == 0
  hasher = hashing.Hasher("train")
  order = sorted(range(25), key=hasher.hash_key)
  found = data.load("tfds:mnist", data_dir=tmp_path)
  np.testing.assert_array_equal(found.train.inputs[..., 0], arrays["x_train"][order])


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files(tmp_path, packed):
  arrays = digits()
  paths = idx_files(tmp_path / "files", arrays, packed)
  assert run_import("kmnist", *paths, f"--data_dir={tmp_path}") == 0
  check_set("kmnist", tmp_path, arrays)
  # a folder of data files stands for its files
  assert run_import("fashion_mnist", tmp_path / "files", f"--data_dir={tmp_path}") == 0
  check_set("fashion_mnist", tmp_path, arrays)


def test_npz_files_of_one_nameless_array_as_kmnist_has_them(tmp_path):
  arrays = digits()
  paths = []
  for split in ("train", "test"):
    for role, key in (("imgs", "x"), ("labels", "y")):
      paths.append(tmp_path / f"kmnist-{split}-{role}.npz")
      np.savez(paths[-1], arrays[f"{key}_{split}"])
  assert run_import("kmnist", *paths, f"--data_dir={tmp_path}") == 0
  check_set("kmnist", tmp_path, arrays)


def test_arrays_in_other_shapes_and_types(tmp_path, capsys):
  arrays = digits()
  odd = {
    "x_train": (arrays["x_train"] / 255).astype(np.float32),
    "y_train": arrays["y_train"].astype(np.float64)[:, None],
    "x_test": arrays["x_test"].reshape(20, -1).astype(np.int64),
    "y_test": arrays["y_test"].astype(np.uint8),
  }
  assert run_import("mnist", npz(tmp_path / "m.npz", **odd), f"--data_dir={tmp_path}") == 0
  check_set("mnist", tmp_path, arrays)
  assert "after × 255" in capsys.readouterr().out
  colour = digits(12, 10, (3, 32, 32))
  assert (
    run_import("cifar10", npz(tmp_path / "c.npz", **colour), f"--data_dir={tmp_path}") == 0
  )
  for split in ("train", "test"):
    colour[f"x_{split}"] = colour[f"x_{split}"].transpose(0, 2, 3, 1)
  found = check_set("cifar10", tmp_path, colour)
  assert found.info.class_names[:2] == ("airplane", "automobile")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
  arrays = digits(20, 10, (32, 32, 3))
  names = reader.KNOWN["cifar10"].class_names["label"]
  return image_tree(tmp_path_factory.mktemp("images") / "top", arrays, names), arrays


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
  assert run_import("cifar10", path, f"--data_dir={tmp_path / 'data'}") == 0
  check_set("cifar10", tmp_path / "data", arrays)


def test_a_set_of_ones_own(tmp_path, capsys):
  arrays = digits(12, 6, (7, 9))
  arrays = {k: v % 3 if k[0] == "y" else v for k, v in arrays.items()}
  folder = image_tree(tmp_path / "mine", arrays, ("cat", "dog", "emu"))
  assert run_import("my_pets", folder, f"--data_dir={tmp_path}") == 0
  found = check_set("my_pets", tmp_path, arrays)
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
  folder = image_tree(tmp_path / "p", arrays, ("a", "b"), ".jpg")
  assert run_import("photos", folder, f"--data_dir={tmp_path}") == 0
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
  small = digits(10, 10, (28, 28))
  folder = image_tree(tmp_path / "m", small, [str(k) for k in range(10)], ".jpg")
  assert run_import("mnist", folder, f"--data_dir={tmp_path}") == 0
  assert "warning: the images are JPEG" in capsys.readouterr().out


def test_svhn_and_cifar_in_their_official_files(tmp_path):
  from scipy import io as scipy_io

  arrays = digits(20, 10, (32, 32, 3))
  for split in ("train", "test"):
    labels = np.where(arrays[f"y_{split}"] == 0, 10, arrays[f"y_{split}"])
    scipy_io.savemat(
      tmp_path / f"{split}_32x32.mat",
      {"X": np.moveaxis(arrays[f"x_{split}"], 0, -1), "y": labels[:, None]},
    )
  paths = [tmp_path / "train_32x32.mat", tmp_path / "test_32x32.mat"]
  assert run_import("svhn_cropped", *paths, f"--data_dir={tmp_path}") == 0
  check_set("svhn_cropped", tmp_path, arrays)

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
  assert run_import("cifar10", path, f"--data_dir={tmp_path}") == 0
  check_set("cifar10", tmp_path, arrays)

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
  assert run_import("cifar100", path, f"--data_dir={tmp_path}") == 0
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
    run_import(
      "cifar100", npz(tmp_path / "c.npz", **arrays), f"--data_dir={tmp_path}", "--force"
    )
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
  assert run_import("people", path, f"--data_dir={tmp_path}") == 2
  assert "--target" in capsys.readouterr().err
  assert run_import("people", path, "--target=incom", f"--data_dir={tmp_path}") == 2
  assert "Did you mean 'income'" in capsys.readouterr().err
  assert run_import("people", path, "--target=income", f"--data_dir={tmp_path}") == 2
  message = capsys.readouterr().err
  assert "1 of 4 rows" in message and "columns job" in message and "--missing=drop" in message
  arguments = ("people", path, "--target=income", f"--data_dir={tmp_path}")
  assert run_import(*arguments, "--missing=category") == 0
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
  assert run_import(*arguments, "--missing=drop", "--force") == 0
  assert data.load("tfds:people", data_dir=tmp_path).train.size == 3
  assert run_import(*arguments, "--drop=job", "--force") == 0
  assert data.load("tfds:people", data_dir=tmp_path).info.feature_names == ("age", "weight;kg")


def test_csv_of_a_regression_with_a_test_split(tmp_path):
  (tmp_path / "train.csv").write_text("a;b;y\n1;2;0.5\n3;4;1.5\n")
  (tmp_path / "test.csv").write_text("a;b;y\n5;6;-2.25\n")
  paths = [tmp_path / "train.csv", tmp_path / "test.csv"]
  assert run_import("line", *paths, "--target=y", f"--data_dir={tmp_path}") == 0
  found = data.load("tfds:line", data_dir=tmp_path)
  assert found.info.task == "regression"
  np.testing.assert_array_equal(found.test.inputs, [[5, 6]])
  np.testing.assert_array_equal(found.test.targets, [-2.25])


def test_whole_numbers_are_classes_or_not_as_the_user_says(tmp_path):
  (tmp_path / "q.csv").write_text("a,y\n1,3\n2,5\n3,3\n")
  arguments = ("q", tmp_path / "q.csv", "--target=y", f"--data_dir={tmp_path}")
  assert run_import(*arguments) == 0
  found = data.load("tfds:q", data_dir=tmp_path)
  assert found.info.class_names == ("3", "5") and sorted(found.train.targets) == [0, 0, 1]
  assert run_import(*arguments, "--task=regression", "--force") == 0
  assert sorted(data.load("tfds:q", data_dir=tmp_path).train.targets) == [3, 3, 5]


def test_columns_of_the_same_name_are_numbered(tmp_path):
  (tmp_path / "t.csv").write_text("a,a,y\n1,2,b\n3,4,c\n")
  assert run_import("t", tmp_path / "t.csv", "--target=y", f"--data_dir={tmp_path}") == 0
  assert data.load("tfds:t", data_dir=tmp_path).info.feature_names == ("a", "a.1")


def test_an_npz_of_vectors_is_a_table(tmp_path):
  x = np.random.default_rng(0).normal(size=(9, 3))
  path = npz(tmp_path / "v.npz", x=x, y=np.arange(9) % 3)
  assert run_import("vectors", path, f"--data_dir={tmp_path}") == 0
  found = data.load("tfds:vectors", data_dir=tmp_path)
  assert found.info.num_classes == 3 and found.info.input_shape == (3,)
  np.testing.assert_array_equal(
    np.sort(found.train.inputs, axis=0), np.sort(x.astype(np.float32), axis=0)
  )


def test_doubles_and_leaks_are_reported(tmp_path, capsys):
  arrays = digits()
  arrays["x_train"][7] = arrays["x_train"][3]
  arrays["x_test"][5] = arrays["x_train"][0]
  assert run_import("mnist", npz(tmp_path / "m.npz", **arrays), f"--data_dir={tmp_path}") == 0
  out = capsys.readouterr().out
  assert "split 'train' has 1 inputs that are there already" in out
  assert "1 inputs of 'test' are in 'train' too" in out


def test_nothing_is_overwritten_without_force(tmp_path, capsys):
  first, second = digits(seed=1), digits(seed=2)
  path = npz(tmp_path / "a.npz", **first)
  assert run_import("mnist", path, f"--data_dir={tmp_path}") == 0
  other = npz(tmp_path / "b.npz", **second)
  assert run_import("mnist", other, f"--data_dir={tmp_path}") == 2
  assert "--force" in capsys.readouterr().err
  check_set("mnist", tmp_path, first)
  assert run_import("mnist", other, f"--data_dir={tmp_path}", "--force") == 0
  check_set("mnist", tmp_path, second)
  bad = npz(tmp_path / "bad.npz", **{**first, "y_test": np.full(20, 11)})
  assert run_import("mnist", bad, f"--data_dir={tmp_path}", "--force") == 2
  check_set("mnist", tmp_path, second)  # a failed replacement leaves what was there
  assert {p.name for p in tmp_path.iterdir()} == {"mnist", "a.npz", "b.npz", "bad.npz"}

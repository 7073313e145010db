"""Files that cannot be imported end in one sentence, and leave nothing behind."""

import gzip
import io
import os
import pickle
import re
import tarfile
import zipfile

import numpy as np
import pytest

from tests.launch.importing import check_set, digits, idx, image_tree, npz, run_import

pytest.importorskip("tensorflow_datasets")


class _Boom:
  def __reduce__(self):
    return os.system, ("touch /tmp/unpickled_by_import",)


def _bad_inputs():
  good = digits(10, 10)
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
  assert run_import("mnist", npz(tmp_path / "m.npz", **arrays), f"--data_dir={tmp_path}") == 2
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
    lambda d: npz(d / "a.npz", x_train=np.array([_Boom()], object), y_train=np.zeros(1, int)),
    "pickled",
  ),
  "cut idx": (
    lambda d: _file(d / "train-images-idx3-ubyte", idx(np.zeros((3, 4)))[:-1]),
    "damaged",
  ),
  "cut gz": (
    lambda d: _file(d / "train-images-idx3-ubyte.gz", gzip.compress(idx(np.zeros(99)))[:-9]),
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

  make, says = BAD_FILES[case]
  assert run_import("mnist", make(tmp_path), f"--data_dir={tmp_path / 'data'}") == 2
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
  assert (
    run_import("t", tmp_path / "t.csv", "--target=y", f"--data_dir={tmp_path / 'data'}") == 2
  )
  error = capsys.readouterr().err
  assert says in error and error.count("\n") == 1


def test_names(tmp_path, capsys):
  path = npz(tmp_path / "m.npz", **digits())
  for name, says in (("My-Set", "lower-case"), ("../up", "lower-case"), ("titanic", "own")):
    assert run_import(name, path, f"--data_dir={tmp_path}") == 2
    assert says in capsys.readouterr().err


def test_images_with_colour_where_the_set_is_grey(tmp_path, capsys):
  grey = digits(10, 10)
  as_rgb = {k: np.stack([v] * 3, -1) if k[0] == "x" else v for k, v in grey.items()}
  names = [str(k) for k in range(10)]
  folder = image_tree(tmp_path / "g", as_rgb, names)
  assert run_import("mnist", folder, f"--data_dir={tmp_path}") == 0
  check_set("mnist", tmp_path, grey)
  coloured = digits(10, 10, (28, 28, 3))
  folder = image_tree(tmp_path / "c", coloured, names)
  assert run_import("mnist", folder, f"--data_dir={tmp_path}", "--force") == 2
  assert "has colours" in capsys.readouterr().err

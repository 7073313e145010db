"""The reader against small sets that TFDS itself wrote."""

import io
import json
import multiprocessing
import os
import shutil
import struct
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from lib import data
from lib.data import tfds as reader
from lib.experiment.errors import UserError

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")
kinds = tensorflow_datasets.features


def _png(image):
  buffer = io.BytesIO()
  Image.fromarray(image.squeeze()).save(buffer, "png")
  return buffer.getvalue()


def _write(folder, name, features, supervised, splits, version="1.0.0"):
  """Lets TFDS's own builder write `splits`: name -> list of examples."""
  body = {
    "name": name,
    "VERSION": tensorflow_datasets.core.Version(version),
    "url_infos": {},
    "_info": lambda self: tensorflow_datasets.core.DatasetInfo(
      builder=self, features=features, supervised_keys=supervised
    ),
    "_split_generators": lambda self, manager: {
      s: self._generate_examples(e) for s, e in splits.items()
    },
    "_generate_examples": lambda self, examples: enumerate(examples),
  }
  base = tensorflow_datasets.core.GeneratorBasedBuilder
  cls = types.new_class("Tiny", (base,), {"skip_registration": True}, lambda b: b.update(body))
  builder = cls(data_dir=folder, file_format="array_record")
  builder.download_and_prepare()
  return reader.find(name, folder)


def _images(seed, n, shape=(5, 4, 1)):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (n, *shape), dtype=np.uint8), rng.integers(0, 3, n)


@pytest.fixture
def tiny(tmp_path):
  """A set of images as TFDS would have downloaded it, and what is in it."""
  content = {"train": _images(0, 30), "test": _images(1, 10)}
  features = kinds.FeaturesDict(
    {
      "id": kinds.Text(),
      "image": kinds.Image(shape=(5, 4, 1)),
      "label": kinds.ClassLabel(names=["ant", "bee", "cat"]),
    }
  )
  splits = {
    s: [{"image": _png(i), "label": int(k), "id": "x"} for i, k in zip(x, y, strict=True)]
    for s, (x, y) in content.items()
  }
  folder = _write(tmp_path, "tiny", features, ("image", "label"), splits)
  return tmp_path, folder, content


def _multiset(inputs, targets):
  return sorted((x.tobytes(), int(y)) for x, y in zip(inputs, targets, strict=True))


def _same(found, content):
  for split, (x, y) in content.items():
    part = getattr(found, split)
    assert _multiset(part.inputs, part.targets) == _multiset(x, y)


def test_reads_what_tfds_wrote(tiny):
  directory, _, content = tiny
  found = data.load("tfds:tiny", data_dir=directory)
  _same(found, content)
  assert found.validation is None
  assert found.train.inputs.dtype == np.uint8 and found.train.targets.dtype == np.int32
  assert found.info == data.Info(
    name="tfds:tiny",
    task="classification",
    input_shape=(5, 4, 1),
    num_classes=3,
    class_names=("ant", "bee", "cat"),
    maximum=255,
    target_name="label",
  )
  assert data.load("tfds:tiny:1.0.0", data_dir=directory).info.name == "tfds:tiny:1.0.0"
  again = data.load("tfds:tiny", data_dir=directory)  # from the decoded copy
  np.testing.assert_array_equal(again.test.inputs, found.test.inputs)
  assert again.info == found.info


def test_needs_no_tensorflow(tiny, tmp_path):
  """A stand-in that fails when it is imported, for machines that have the real one."""
  directory, _, _ = tiny
  (tmp_path / "path").mkdir()
  (tmp_path / "path" / "tensorflow.py").write_text("raise SystemExit('imported tensorflow')")
  code = (
    "import sys, lib.data\n"
    f"print(lib.data.load('tfds:tiny', data_dir={str(directory)!r}).train.size)\n"
    "print('tensorflow' in sys.modules)"
  )
  path = os.pathsep.join([str(tmp_path / "path"), *sys.path])
  out = subprocess.run(
    [sys.executable, "-c", code],
    capture_output=True,
    text=True,
    env={**os.environ, "PYTHONPATH": path},
  )
  assert out.stdout.split() == ["30", "False"], out.stderr
  assert out.stderr == ""  # and it is quiet


def test_the_directory_comes_from_the_argument_then_the_environment(
  tiny, monkeypatch, tmp_path
):
  directory, _, _ = tiny
  monkeypatch.setenv("TFDS_DATA_DIR", str(directory))
  monkeypatch.delenv("ANSATZ_DATA_DIR", raising=False)
  assert data.load("tfds:tiny").train.size == 30
  monkeypatch.setenv("ANSATZ_DATA_DIR", str(tmp_path / "elsewhere"))
  with pytest.raises(UserError, match="elsewhere"):
    data.load("tfds:tiny")
  assert data.load("tfds:tiny", data_dir=directory).train.size == 30
  monkeypatch.delenv("TFDS_DATA_DIR")
  monkeypatch.delenv("ANSATZ_DATA_DIR")
  monkeypatch.setenv("HOME", str(tmp_path))
  assert data.data_dir() == tmp_path / "tensorflow_datasets"


def test_a_set_in_tfrecord_files_is_read_too(tiny):
  """TFDS's default format; the records are the same bytes, framed differently."""
  directory, folder, content = tiny
  from array_record.python import array_record_data_source

  for split in ("train", "test"):
    (path,) = folder.glob(f"*-{split}.array_record*")
    records = array_record_data_source.ArrayRecordDataSource([str(path)])
    framed = b"".join(
      struct.pack("<QI", len(r), 0) + r + struct.pack("<I", 0)
      for r in (records[i] for i in range(len(records)))
    )
    (folder / path.name.replace("array_record", "tfrecord")).write_bytes(framed)
    path.unlink()
  info = json.loads((folder / "dataset_info.json").read_text())
  info["fileFormat"] = "tfrecord"
  (folder / "dataset_info.json").write_text(json.dumps(info))
  _same(data.load("tfds:tiny", data_dir=directory), content)
  whole = next(folder.glob("*-train.tfrecord*"))
  whole.write_bytes(whole.read_bytes()[:-3])
  with pytest.raises(UserError, match="truncated"):
    data.load("tfds:tiny", data_dir=directory)


def test_decoded_once_and_again_when_the_files_change(tiny, monkeypatch):
  directory, folder, content = tiny
  calls = []
  decode = reader.decode
  monkeypatch.setattr(reader, "decode", lambda *a: calls.append(a) or decode(*a))
  for _ in range(3):
    _same(data.load("tfds:tiny", data_dir=directory), content)
  assert len(calls) == 1
  (kept,) = folder.glob("decoded-*.npz")
  kept.write_bytes(kept.read_bytes()[:500])  # truncated
  _same(data.load("tfds:tiny", data_dir=directory), content)
  assert len(calls) == 2
  record = next(folder.glob("*-train.array_record*"))
  os.utime(record, (1, 1))
  _same(data.load("tfds:tiny", data_dir=directory), content)
  assert len(calls) == 3
  assert len(list(folder.glob("decoded-*"))) == 1 and not list(folder.glob(".*.tmp"))
  assert kept not in folder.glob("decoded-*")


def test_a_directory_that_cannot_be_written_is_read_all_the_same(tiny, monkeypatch, caplog):
  directory, folder, content = tiny

  def full(*_, **__):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(np, "savez", full)
  _same(data.load("tfds:tiny", data_dir=directory), content)
  assert "No space left" in caplog.text
  assert not list(folder.glob("*decoded*"))


def _load_sum(directory):
  return int(data.load("tfds:tiny", data_dir=directory).train.inputs.sum())


def test_several_processes_may_decode_at_once(tiny):
  directory, folder, content = tiny
  context = multiprocessing.get_context("spawn")
  with context.Pool(3) as pool:
    sums = pool.map(_load_sum, [directory] * 3, chunksize=1)
  assert sums == [int(content["train"][0].sum())] * 3
  assert len(list(folder.glob("*decoded*"))) == 1


def test_the_newest_version_is_taken(tmp_path):
  features = kinds.FeaturesDict(
    {"image": kinds.Image(shape=(5, 4, 1)), "label": kinds.ClassLabel(num_classes=3)}
  )
  for n, version in ((3, "9.0.0"), (4, "10.0.0")):
    x, y = _images(0, n)
    examples = [{"image": _png(i), "label": int(k)} for i, k in zip(x, y, strict=True)]
    _write(tmp_path, "tiny", features, ("image", "label"), {"train": examples}, version)
  assert data.load("tfds:tiny", data_dir=tmp_path).train.size == 4
  assert data.load("tfds:tiny:9.0.0", data_dir=tmp_path).train.size == 3
  with pytest.raises(UserError, match=r"only tiny/10\.0\.0, tiny/9\.0\.0"):
    data.load("tfds:tiny:8.0.0", data_dir=tmp_path)


def test_a_config_must_be_named_when_there_are_several(tiny):
  directory, folder, _ = tiny
  (directory / "sets" / "one").mkdir(parents=True)
  folder.rename(directory / "sets" / "one" / "1.0.0")
  assert reader.find("sets", directory) == directory / "sets" / "one" / "1.0.0"
  assert reader.find("sets/one", directory) == directory / "sets" / "one" / "1.0.0"
  shutil.copytree(directory / "sets" / "one", directory / "sets" / "two")
  with pytest.raises(UserError, match=r"only sets/one/1\.0\.0, sets/two/1\.0\.0"):
    data.load("tfds:sets", data_dir=directory)
  assert reader.find("sets/two", directory) == directory / "sets" / "two" / "1.0.0"


@pytest.mark.parametrize("nested", [False, True])
def test_tables_become_columns(tmp_path, nested):
  """Two ways TFDS writes tables: one dict of features, or features beside the label."""
  columns = {
    "age": kinds.Scalar(np.float32),
    "sex": kinds.ClassLabel(names=["f", "m"]),
    "well": kinds.Scalar(np.bool_),
  }
  rows = [
    {"age": 30.5, "sex": 1, "well": True},
    {"age": 40.0, "sex": 0, "well": False},
  ]
  price = [1.5, -2.0]
  if nested:
    features = kinds.FeaturesDict({"features": columns, "price": kinds.Scalar(np.float32)})
    keys = ("features", "price")
    examples = [{"features": r, "price": p} for r, p in zip(rows, price, strict=True)]
  else:
    features = kinds.FeaturesDict({**columns, "price": kinds.Scalar(np.float32)})
    keys = ({c: c for c in columns}, "price")
    examples = [{**r, "price": p} for r, p in zip(rows, price, strict=True)]
  _write(tmp_path, "people", features, keys, {"train": examples})
  found = data.load("tfds:people", data_dir=tmp_path)
  assert found.info.feature_names == ("age", "sex=f", "sex=m", "well")
  assert found.info.task == "regression" and found.info.num_classes == 0
  order = np.argsort(found.train.targets)
  np.testing.assert_array_equal(found.train.inputs[order], [[40, 1, 0, 0], [30.5, 0, 1, 1]])
  np.testing.assert_array_equal(found.train.targets[order], [-2, 1.5])


def test_a_vector_feature_is_a_table(tmp_path):
  features = kinds.FeaturesDict(
    {
      "features": kinds.Tensor(shape=(2,), dtype=np.float32),
      "label": kinds.ClassLabel(num_classes=2),
    }
  )
  examples = [{"features": np.array([k, 2 * k], np.float32), "label": k} for k in (0, 1)]
  _write(tmp_path, "pairs", features, ("features", "label"), {"train": examples})
  found = data.load("tfds:pairs", data_dir=tmp_path)
  np.testing.assert_array_equal(
    found.train.inputs[found.train.targets.argsort()], [[0, 0], [1, 2]]
  )


def test_what_it_cannot_use_it_says(tiny, tmp_path):
  directory, folder, _ = tiny
  features = kinds.FeaturesDict(
    {"text": kinds.Text(), "label": kinds.ClassLabel(num_classes=2)}
  )
  _write(
    tmp_path, "words", features, ("text", "label"), {"train": [{"text": "a", "label": 0}]}
  )
  with pytest.raises(UserError, match="neither an image nor a table"):
    data.load("tfds:words", data_dir=tmp_path)
  features = kinds.FeaturesDict(
    {"image": kinds.Image(shape=(None, None, 1)), "label": kinds.ClassLabel(num_classes=2)}
  )
  sizes = [np.zeros((s, s), np.uint8) for s in (3, 4)]
  _write(
    tmp_path,
    "sizes",
    features,
    ("image", "label"),
    {"train": [{"image": _png(i), "label": 0} for i in sizes]},
  )
  with pytest.raises(UserError, match="different sizes"):
    data.load("tfds:sizes", data_dir=tmp_path)
  record = next(folder.glob("*-train.array_record*"))
  record.write_bytes(record.read_bytes()[:100])
  with pytest.raises(UserError, match="cannot be used"):
    data.load("tfds:tiny", data_dir=directory)


def test_a_missing_set_names_the_commands(tmp_path):
  with pytest.raises(UserError) as caught:
    data.load("tfds:mnist", data_dir=tmp_path)
  message = str(caught.value)
  assert "python -m launch.import_data mnist --download" in message
  assert "python -m launch.import_data mnist FILES" in message
  assert str(tmp_path) in message and "\n" not in message
  with pytest.raises(UserError, match=r"tfds\.builder\('emnist/letters', file_format"):
    data.load("tfds:emnist/letters", data_dir=tmp_path)
  with pytest.raises(UserError, match="Did you mean 'mnist'"):
    data.load("tfds:mnst", data_dir=tmp_path)
  with pytest.raises(UserError, match=r"launch\.import_data my_own_set FILES"):
    data.load("tfds:my_own_set", data_dir=tmp_path)
  with pytest.raises(UserError):
    data.load("tfds:../tiny", data_dir=tmp_path / "x")


def test_the_classes_of_cifar100():
  names = reader.KNOWN["cifar100"].class_names
  assert len(set(names["label"])) == 100 and len(names["coarse_label"]) == 20
  assert all(len(members.split()) == 5 for members in reader.CIFAR100.values())
  # TFDS's order is that of the official label files: alphabetical.
  assert list(names["label"]) == sorted(names["label"])
  assert (names["label"][0], names["label"][99]) == ("apple", "worm")
  assert list(names["coarse_label"]) == sorted(names["coarse_label"])

"""The command as a user starts it, killed in the middle, downloading, and on a real set."""

import functools
import hashlib
import http.server
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from lib.data import downloading, files
from lib.data import tfds as reader
from tests.launch.importing import check_set, digits, idx_files, npz, run_import

pytest.importorskip("tensorflow_datasets")
SHARED = pathlib.Path(__file__).parents[2].parent / "shared" / "data"


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
  path = npz(tmp_path / "m.npz", **digits())
  done = run([*command, "mnist", str(path), f"--data_dir={tmp_path}"])
  assert done.returncode == 0 and done.stderr == "", done.stderr
  failed = run([*command, "mnist", str(path), f"--data_dir={tmp_path}"])
  assert failed.returncode == 2 and failed.stderr.count("\n") == 1
  for wrong in (["mnist"], ["mnist", "x.npz", "--download"], ["mnist", "x", "--no_such"], []):
    failed = run([*command, *wrong])
    assert failed.returncode == 2 and failed.stderr.count("\n") == 1


def test_killed_in_the_middle_leaves_no_set_and_can_be_run_again(tmp_path):
  arrays = digits(3000, 20)
  path = npz(tmp_path / "m.npz", **arrays)
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
  assert run_import("mnist", path, f"--data_dir={directory}") == 0
  check_set("mnist", directory, arrays)


@pytest.fixture
def server(tmp_path, monkeypatch):
  """Serves official-looking idx files under the addresses that a set is fetched from."""
  arrays = digits()
  paths = idx_files(tmp_path / "www", arrays)
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
  assert run_import("mnist", "--download", f"--data_dir={tmp_path / 'data'}") == 0
  check_set("mnist", tmp_path / "data", arrays)
  paths[1].write_bytes(paths[1].read_bytes() + b"x")
  assert run_import("mnist", "--download", f"--data_dir={tmp_path / 'data'}", "--force") == 2
  assert "checksum" in capsys.readouterr().err
  paths[0].unlink()
  assert run_import("mnist", "--download", f"--data_dir={tmp_path / 'data'}", "--force") == 2
  assert "cannot be fetched" in capsys.readouterr().err
  check_set("mnist", tmp_path / "data", arrays)
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
  assert run_import("mnist", npz(tmp_path / "m.npz", **part), f"--data_dir={tmp_path}") == 0
  found = check_set("mnist", tmp_path, part)
  # Real digits, not noise: a nearest-neighbour rule gets most of them right.
  train, test = (
    p.inputs.reshape(len(p.inputs), -1).astype(float) for p in (found.train, found.test)
  )
  distances = (test**2).sum(1)[:, None] - 2 * test @ train.T + (train**2).sum(1)
  nearest = found.train.targets[distances.argmin(axis=1)]
  assert (nearest == found.test.targets).mean() > 0.75

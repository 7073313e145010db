"""Every project in one command: failures kept apart, ending and going on, bad input."""

import json
import signal
import time

import pytest

from launch import reproduce


def test_one_fails_the_other_is_in_the_ledger_and_again_only_what_is_missing(
  tmp_path, command, comparable
):
  folder = tmp_path / "capacity_smoke"
  folder.mkdir()
  (folder / "config.json").write_text("{")  # a damaged directory: this run refuses
  arguments = ("-m", "launch.reproduce", "--projects=ntk,capacity", "--preset=smoke")
  arguments += (f"--runs={tmp_path}", "--jobs=2")
  first = command.run(*arguments)
  assert first.returncode == 1, first.stderr
  assert "1 of 2 projects" in first.stdout
  assert "capacity: exit status 2: error:" in first.stdout
  text = (tmp_path / "LEDGER.md").read_text()
  assert "## ntk, smoke" in text and "Not run: capacity" in text
  assert "ntk" in (tmp_path / "LEDGER.html").read_text()

  results = tmp_path / "ntk_smoke" / "results.json"
  before = comparable(results)
  (folder / "config.json").unlink()
  stages = {p: p.stat().st_mtime_ns for p in (tmp_path / "ntk_smoke").rglob("result.npz")}
  second = command.run(*arguments)
  assert second.returncode == 0, second.stdout + second.stderr
  assert "2 of 2 projects" in second.stdout
  assert comparable(results) == before
  assert stages == {p: p.stat().st_mtime_ns for p in stages}  # nothing was computed again
  assert json.loads((folder / "results.json").read_text())["project"] == "capacity"


def test_ending_it_lets_the_runs_save_and_leave(tmp_path, command):
  process = command.start(
    *("-m", "launch.reproduce", "--projects=ntk,capacity", f"--runs={tmp_path}")
  )
  deadline = time.monotonic() + 120
  while not (tmp_path / "ntk_default" / "config.json").exists():
    assert time.monotonic() < deadline and process.poll() is None
    time.sleep(0.1)
  process.send_signal(signal.SIGTERM)
  out, err = process.communicate(timeout=120)
  assert process.returncode == 1, err
  assert "ntk: exit status 143" in out and "capacity: exit status 143: not started" in out
  assert not (tmp_path / "LEDGER.md").exists()


@pytest.mark.parametrize(
  ("argument", "says"),
  [("--projects=ntx", "did you mean 'ntk'"), ("--jobs=0", "at least 1")],
)
def test_bad_arguments(tmp_path, capsys, argument, says):
  assert reproduce.main([argument, f"--runs={tmp_path}"]) == 2
  message = capsys.readouterr().err
  assert says.lower() in message.lower() and message.count("\n") == 1


def test_a_place_that_cannot_be_written(tmp_path, capsys):
  (tmp_path / "file").write_text("")
  assert reproduce.main(["--projects=ntk", f"--runs={tmp_path / 'file'}"]) == 2
  assert "Cannot write" in capsys.readouterr().err

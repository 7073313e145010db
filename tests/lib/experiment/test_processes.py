"""Several processes as one run: the same numbers, one writer, one end.

The protocol and the engine are tested with threads as processes; `jax.distributed`, signals
and deaths with real ones, two of four devices each, against one process with eight.
"""

import csv
import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Pipe

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from lib.experiment import (
  Context,
  NonFiniteError,
  Program,
  UserError,
  members,
  processes,
)
from lib.experiment.context import Stopped
from lib.experiment.processes import Ended, Place, Processes
from tests.lib.experiment.conftest import MAIN, SLOW, wait_for, written

pytestmark = pytest.mark.xdist_group("processes")  # two processes of their own are enough

TIMEOUT = 8  # seconds after which a silent process counts as lost


# --- threads as processes --------------------------------------------------------------------


def _together(count, function):
  """`function(processes)` for each of so many, in threads; their values or exceptions."""
  pipes = [Pipe() for _ in range(count - 1)]
  groups = [Processes(0, count, [ours for ours, _ in pipes])]
  groups += [Processes(i + 1, count, [theirs]) for i, (_, theirs) in enumerate(pipes)]

  def call(group):
    try:
      return function(group)
    except Exception as error:
      return error
    finally:
      for connection in group._connections:
        connection.close()

  with ThreadPoolExecutor(count) as threads:
    return list(threads.map(call, groups))


def test_values_are_decided_by_process_0():
  found = _together(3, lambda p: p.agree("here", {"index": p.index}, lambda all: all[::-1]))
  assert found == [[{"index": 2}, {"index": 1}, {"index": 0}]] * 3
  assert _together(3, lambda p: p.agree("here", p.index)) == [0, 0, 0]
  assert Processes().agree("here", 5, sum) == 5


ARRAYS = [
  np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1],
  np.zeros((0, 4), np.int8),
  np.array(["a", "longer"]),
  np.asarray(jnp.arange(3, dtype=jnp.bfloat16)),
  np.array(True),
]


def test_arrays_arrive_as_they_were():
  found = _together(2, lambda p: p.collect("here", ARRAYS))
  assert found[1] is None
  split = _together(2, lambda p: p.scatter("here", [ARRAYS[:1], ARRAYS] if p.writer else None))
  for got in (found[0][1], split[1]):
    for ours, theirs in zip(got, ARRAYS, strict=True):
      assert ours.dtype == theirs.dtype
      np.testing.assert_array_equal(ours, theirs)
  assert len(split[0]) == 1


def test_a_tree_is_shared():
  tree = {"a": {"b": np.arange(3)}, "c": np.float32(2)}
  found = _together(2, lambda p: p.share("here", tree if p.writer else None))
  np.testing.assert_array_equal(found[1]["a"]["b"], [0, 1, 2])
  assert found[1]["c"].dtype == np.float32 and found[1]["c"].shape == ()
  assert _together(2, lambda p: p.share("here", None)) == [None, None]


def test_processes_in_different_places_are_an_error():
  found = _together(2, lambda p: p.agree("here" if p.writer else "there"))
  assert "process 0 is at 'here' and process 1 at 'there'" in str(found[0])
  assert isinstance(found[1], Ended)


def test_a_closed_connection_is_a_lost_process():
  found = _together(3, lambda p: p.index == 2 or p.agree("here"))
  assert str(found[0]).startswith("process 2 of 3 is lost; the same command goes on")
  assert isinstance(found[1], Ended) and found[1].status == processes.LOST


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_the_end_of_one_ends_all_without_a_wait(failing):
  def one(group):
    try:
      if group.index == failing:
        group._leave(2, "" if group.writer else "full", orderly=False)
        return 2, ""
      group.agree("here")
    except Ended as ended:
      group._leave(ended.status, "" if group.writer else str(ended), ended.orderly)
      return ended.status, str(ended)

  started = time.monotonic()
  found = _together(3, one)
  assert time.monotonic() - started < 10  # the bound of the wait is 60
  assert [status for status, _ in found] == [2, 2, 2]
  assert found[0][1] == ("full" if failing else "")  # the others hear no reason twice
  assert found[1][1] == found[2][1] == ""


def test_members_cannot_be_asked_for_inside_a_stage():
  found = _together(2, lambda p: p.first_alone("stage", lambda: p.agree("members")))
  assert "'members' is asked for inside 'stage'" in str(found[0])
  assert found[1] is None


# --- the engine, with threads as processes ---------------------------------------------------


def _program(bad_seed=-1):
  """Adam on a parabola; a member with `bad_seed` diverges at its third step."""

  def init(config, operands):
    x = jax.random.normal(jax.random.key(config.seed), (3,))
    return {"x": x, "adam": optax.adam(0.1).init(x), "key": jax.random.key(config.seed + 1)}

  def step(config, operands, state):
    slope = config.scale * (state["x"] - operands)
    change, adam = optax.adam(0.1).update(slope, state["adam"])
    broken = (config.seed == bad_seed) & (adam[0].count > 2)
    loss = jnp.where(broken, jnp.nan, jnp.sum((state["x"] - operands) ** 2))
    return {"x": state["x"] + change, "adam": adam, "key": state["key"]}, {"loss": loss}

  def finish(config, operands, state, history):
    key = jax.random.key_data(state["key"])
    return {"x": state["x"], "key": key, "losses": history["loss"]}

  return Program(init, step, finish, steps=lambda config: 7, chunk=2)


CONFIG = ConfigDict({"seed": 0, "scale": 1.0})
OVER = {"seed": [3, 4, 5, 6, 7], "scale": [0.5, 2.0]}


def _run(directory, count=2, program=None, before=lambda ctx: None, **options):
  """The members' results in so many processes, of which every one has the local devices."""

  def one(group):
    ctx = Context(directory, checkpoint_every_s=0, processes=group, **options)
    before(ctx)
    return ctx.members("walk", program or _program(), CONFIG, jnp.float32(1.0), OVER)

  return _together(count, one)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
  """The directory of one process, and what it found."""
  directory = tmp_path_factory.mktemp("alone")
  (found,) = _run(directory, 1)
  return directory, found


def _equal(one, other):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), one, other)


@pytest.mark.parametrize("count", [2, 4])  # of ten members: 5 each; 3, 3, 3 and 1
def test_members_do_not_depend_on_the_number_of_processes(tmp_path, alone, count):
  for each in _run(tmp_path, count):
    _equal(each, alone[1])
  ours, theirs = (path / "metrics.jsonl" for path in (tmp_path, alone[0]))
  for a, b in zip(ours.open(), theirs.open(), strict=True):
    assert json.loads(a) == pytest.approx(json.loads(b))


@pytest.mark.parametrize("later", [1, 2])
def test_stopped_members_go_on_in_another_number_of_processes(tmp_path, alone, later):

  def ask(ctx):
    if ctx.processes.index == 1:  # a signal to one process
      ctx.stop_requested = "SIGTERM"

  found = _run(tmp_path, 2, before=ask)
  assert [str(error) for error in found] == ["SIGTERM"] * 2
  assert all(isinstance(error, Stopped) for error in found)
  (manifest,) = tmp_path.glob("checkpoints/walk/steps_*/step_*.json")
  assert manifest.stem == "step_00000002"
  for each in _run(tmp_path, later):
    _equal(each, alone[1])


def test_memory_of_one_process_makes_all_go_on_in_smaller_batches(
  tmp_path, alone, monkeypatch, caplog
):
  function = members._Batches._function

  def scarce(self, name, length=0):
    if name == "advance" and self.processes.index == 1 and self.plan.batch > 4:

      def full(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

      return full
    return function(self, name, length)

  monkeypatch.setattr(members._Batches, "_memory", lambda self: 0)
  monkeypatch.setattr(members._Batches, "_function", scarce)
  with caplog.at_level("WARNING"):
    found = _run(tmp_path, 2)
  assert "going on in batches of 4" in caplog.text
  for each in found:
    _equal(each, alone[1])


def test_a_loss_that_is_not_finite_is_named_by_process_0(tmp_path):
  found = _run(tmp_path, 2, _program(bad_seed=6))  # of the second process
  assert isinstance(found[0], NonFiniteError)
  assert "walk: loss is not finite at step 3 of 7 (seed=6, scale=0.5)" in str(found[0])
  assert "step_00000002" in str(found[0])


def test_a_stage_is_computed_by_process_0(tmp_path):
  def one(group):
    ctx = Context(tmp_path, processes=group)
    return ctx.stage("numbers", lambda: {"index": np.array([group.index, 7])})

  for _ in range(2):  # computed, then read
    for found in _together(3, one):
      np.testing.assert_array_equal(found["index"], [0, 7])


# --- how they meet ---------------------------------------------------------------------------


@pytest.fixture
def port():
  """A port that nothing listens at."""
  return _port()


def _port():
  with socket.create_server(("127.0.0.1", 0)) as server:
    return server.getsockname()[1]


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    (("h:1", 2, None), "--process is missing"),
    ((None, 2, 0), "--coordinator is missing"),
    ((None, None, 0), "--coordinator and --processes is missing"),
    (("h:1", 2, 2), "--process=2 has to be from 0 to 1"),
    (("h:1", 2, -1), "--process=-1 has to be from 0 to 1"),
    (("h:1", 0, 0), "--processes has to be at least 1"),
    (("host", 2, 0), "has to be HOST:PORT"),
    (("host:seven", 2, 0), "has to be HOST:PORT"),
    ((":70", 2, 0), "has to be HOST:PORT"),
  ],
)
def test_flags_that_do_not_fit(flags, words):
  with pytest.raises(UserError, match=words):
    processes.place(*flags)


def test_alone_without_flags_and_with_one_process():
  assert processes.place(None, None, None) is None
  assert processes.place("h:1", 1, 0) is None
  assert processes.place("[::1]:70", 2, 1) == Place("[::1]:70", 2, 1)


SLURM = {"SLURM_JOB_ID": "77", "SLURM_STEP_NODELIST": "node[3-4]", "SLURM_LOCALID": "0"}


def test_slurm_says_where_a_task_stands(monkeypatch):
  for name, value in {**SLURM, "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}.items():
    monkeypatch.setenv(name, value)
  assert processes.place(None, None, None) == Place(f"node3:{61440 + 77}", 2, 1)
  assert processes.place("h:1", 4, 3) == Place("h:1", 4, 3)
  monkeypatch.setenv("SLURM_NTASKS", "1")
  assert processes.place(None, None, None) is None


def _meet(port, *places, seconds=1.5):
  """What comes of it when these (count, index) meet: connections or errors."""

  def one(place):
    meet = processes._go_to_first if place[1] else processes._wait_for_others
    try:
      return meet(Place(f"127.0.0.1:{port}", *place), time.monotonic() + seconds)
    except UserError as error:
      return str(error)

  with ThreadPoolExecutor(len(places)) as threads:
    return list(threads.map(one, places))


def test_they_meet_in_any_order(port):
  found = _meet(port, (3, 2), (3, 0), (3, 1), seconds=10)
  assert [len(connections) for connections in found] == [1, 2, 1]
  found[1][1].send_bytes(b"to process 2")
  assert found[0][0].recv_bytes() == b"to process 2"
  for connections in found:
    for connection in connections:
      connection.close()


def test_they_do_not_wait_forever(port):
  started = time.monotonic()
  assert "Process 0 cannot be reached" in _meet(port, (2, 1))[0]
  assert "1 of 3 processes came; process 1, 2 did not reach" in _meet(port, (3, 0))[0]
  first, third = _meet(port, (3, 0), (3, 2))
  assert "2 of 3 processes came; process 1 did not reach" in first
  assert "did not begin" in third
  assert time.monotonic() - started < 10
  assert "cannot be reached" in _looks_for("nowhere.invalid:70")


def _looks_for(coordinator):
  """What process 1 of 2 says that looks for process 0 there."""
  with pytest.raises(UserError) as found:
    processes._go_to_first(Place(coordinator, 2, 1), time.monotonic() + 1)
  return str(found.value)


def test_processes_that_do_not_fit(port):
  for message in _meet(port, (2, 0), (3, 1)):
    assert "process 1 has --processes=3, process 0 2" in message
  found = _meet(port, (3, 0), (3, 1), (3, 1))
  assert all("two processes have --process=1" in message for message in found)


def test_a_port_in_use_and_a_stranger():
  with socket.create_server(("", 0)) as server:
    port = server.getsockname()[1]
    (message,) = _meet(port, (2, 0))
    assert f"Port {port} of --coordinator cannot be used" in message

  port = _port()

  def stranger():
    time.sleep(0.3)
    with socket.create_connection(("127.0.0.1", port)) as one:
      one.sendall(b"\x00\x00\x00\x02{}")

  thread = threading.Thread(target=stranger)
  thread.start()
  found = _meet(port, (2, 0), seconds=1.5)
  thread.join()
  assert "1 of 2 processes came" in found[0]


# --- real processes --------------------------------------------------------------------------


def _start(command, arguments, port, **extra):
  """Two processes of the toy project with four devices each."""
  flags = (f"--coordinator=127.0.0.1:{port}", "--processes=2", f"--peer_timeout_s={TIMEOUT}")
  return [
    command.start(*arguments, "--devices=4", *flags, f"--process={i}", **extra)
    for i in range(2)
  ]


def _finish(pair):
  """(exit status, output, errors) of each."""
  found = [process.communicate(timeout=60) for process in pair]
  return [(p.returncode, *text) for p, text in zip(pair, found, strict=True)]


STEPS = (*SLOW, "--config.seeds=6")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A finished run of one process with eight devices."""
  from tests.conftest import CommandLine

  workdir = tmp_path_factory.mktemp("finished")
  done = CommandLine().run(*STEPS, "--devices=8", f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  return workdir


def _same(comparable, workdir, finished):
  assert comparable(workdir / "results.json") == comparable(finished / "results.json")
  with np.load(workdir / "measured.npz") as ours, np.load(finished / "measured.npz") as theirs:
    for name in theirs.files:
      np.testing.assert_array_equal(ours[name], theirs[name])
  assert (workdir / "metrics.jsonl").read_text() == (finished / "metrics.jsonl").read_text()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_and_the_run_resumes(
  command, comparable, finished, tmp_path, port, victim
):
  pair = _start(command, (*STEPS, f"--workdir={tmp_path}"), port)
  wait_for(lambda: written(tmp_path) >= 3, pair[0])
  pair[victim].send_signal(signal.SIGKILL)
  killed = time.monotonic()
  found = _finish(pair)
  assert time.monotonic() - killed < 2 * TIMEOUT
  status, out, err = found[1 - victim]
  assert status == processes.LOST and not out
  last = err.strip().splitlines()[-1]
  assert last.startswith("error: ") and "lost" in last
  assert last.endswith("the same command goes on from the last checkpoint.")
  assert not (tmp_path / "results.json").exists()
  assert list(tmp_path.glob("checkpoints/first/steps_*/step_*.json"))
  again = _finish(_start(command, (*STEPS, f"--workdir={tmp_path}"), _port()))
  assert [status for status, _, _ in again] == [0, 0], again
  assert "converges" in again[0][1] and again[1][1:] == ("", "")  # process 1 is quiet
  _same(comparable, tmp_path, finished)


def test_sigterm_to_one_stops_both_and_one_process_goes_on(
  command, comparable, finished, tmp_path, port
):
  arguments = [a for a in STEPS if "checkpoint_every" not in str(a)]
  pair = _start(command, (*arguments, f"--workdir={tmp_path}"), port)
  wait_for(lambda: written(tmp_path) >= 3, pair[0])
  pair[1].send_signal(signal.SIGTERM)
  (status, _, err), other = _finish(pair)
  assert status == 143 and "Stopped by SIGTERM" in err and len(err.splitlines()) == 1
  assert other == (143, "", "")
  (manifest,) = tmp_path.glob("checkpoints/first/steps_*/step_*.json")
  last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
  assert json.loads(manifest.read_text())["step"] == last["step"]
  done = command.run(*arguments, "--devices=8", f"--workdir={tmp_path}")
  assert done.returncode == 0, done.stderr
  _same(comparable, tmp_path, finished)


def test_sweep_of_two_slurm_tasks_equals_eight_devices(command, tmp_path, port):
  sweep = (*MAIN, "--sweep=step_size=0.05,0.1", "--sweep=seed=0:7")
  one = command.start(*sweep, "--devices=8", f"--workdir={tmp_path / 'one'}")
  slurm = {**SLURM, "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
  slurm["JAX_COORDINATOR_PORT"] = str(port)
  two = [
    command.start(
      *sweep, "--devices=4", f"--workdir={tmp_path / 'two'}", **slurm, SLURM_PROCID=str(i)
    )
    for i in range(2)
  ]
  found = _finish([one, *two])
  assert [status for status, _, _ in found] == [0, 0, 0], found
  rows = [list(csv.DictReader((tmp_path / n / "sweep.csv").open())) for n in ("one", "two")]
  assert len(rows[0]) == 14 and rows[0] == rows[1]


def test_another_config_and_an_unwritable_directory(command, tmp_path, port):
  pair = _start(command, (*MAIN, f"--workdir={tmp_path / 'a'}"), port)
  pair[1].kill()
  pair[1].communicate()
  flags = (f"--coordinator=127.0.0.1:{port}", "--processes=2", "--process=1")
  pair[1] = command.start(*MAIN, "--config.noise=0.3", *flags, f"--workdir={tmp_path / 'a'}")
  (status, _, err), other = _finish(pair)
  assert status == 2 and len(err.splitlines()) == 1
  assert "Process 1 was started with another config than process 0 (noise was 0.1" in err
  assert other == (2, "", "")

  (status, _, err), other = _finish(_start(command, (*MAIN, "--workdir=/proc/run"), _port()))
  assert status == 2 and "Cannot write to the run directory" in err
  assert other == (2, "", "")


def test_coordinator_that_is_not_there(command, tmp_path, port):
  flags = (f"--coordinator=127.0.0.1:{port}", "--processes=2", "--peer_timeout_s=1")
  done = command.run(*MAIN, *flags, "--process=1", f"--workdir={tmp_path}")
  assert done.returncode == 2
  assert "Process 0 cannot be reached" in done.stderr
  assert len(done.stderr.splitlines()) == 1

"""Several processes as one run: all of them compute members, process 0 decides and writes.

They are the processes of `jax.distributed`, which finds them on SLURM and notices when one is
gone. Members do not speak to each other, so every process compiles its share for its own
devices, and what crosses between processes is data of the hosts: decisions, measurements,
checkpoints, results. It takes one connection from process 0 to each of the others, on which
the others may wait for as long as a stage of process 0 lasts. An all-gather of XLA would need
room for the whole batch on every device, and all devices for every decision.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import jax
import numpy as np

from lib.experiment.errors import UserError

LOST = 3  # exit status of a process that has lost another one
_AGAIN = "the same command goes on from the last checkpoint."


class Ended(Exception):
  """Another process of the run has ended.

  Args:
    message: why, "" when it has said so itself.
    status: the exit status that this process takes over.
    orderly: it ended as a run does, finished or asked to stop.
  """

  def __init__(self, message: str, status: int = LOST, orderly: bool = False):
    super().__init__(message)
    self.status, self.orderly = status, orderly


class Place(NamedTuple):
  """Where a process stands: the address where all meet, their number, and its own."""

  coordinator: str
  count: int
  index: int


def first(values: Sequence[Any]) -> Any:
  """What process 0 says."""
  return values[0]


def first_given(values: Sequence[Any]) -> Any:
  """The first that is not None."""
  return next((value for value in values if value is not None), None)


class Processes:
  """The processes of a run, seen from one of them; by default it is alone.

  Every process has to call the same methods in the same order, which follows when all run the
  same code on the same config. `where` names the place, and two that differ are an error.

  Args:
    index: of this process.
    count: how many there are.
    connections: of process 0 to all others, of these to process 0.
    timeout_s: how long a process that fails waits for the others to hear of it.
  """

  def __init__(
    self,
    index: int = 0,
    count: int = 1,
    connections: Sequence[Connection] = (),
    timeout_s: float = 60.0,
  ):
    self.index, self.count, self.timeout_s = index, count, timeout_s
    self._connections = list(connections)
    self._alone: str | None = None

  @property
  def writer(self) -> bool:
    """Whether this is process 0, the only one that reads and writes the run directory."""
    return self.index == 0

  def agree(self, where: str, value: Any = None, decide: Callable = first) -> Any:
    """What process 0 decides on the values of all, which are JSON."""
    if self.count == 1:
      return decide([value])
    self._not_alone(where)
    if not self.writer:
      self._send(self._connections[0], where, value)
      return self._receive(0, where)[0]
    values = [self._receive(i, where)[0] for i in range(1, self.count)]
    answer = decide([value, *values])
    for connection in self._connections:
      self._send(connection, where, answer)
    return answer

  def collect(self, where: str, arrays: Sequence[np.ndarray]) -> list[list[np.ndarray]] | None:
    """The arrays of every process on process 0, None on the others."""
    if self.count == 1:
      return [list(arrays)]
    self._not_alone(where)
    if not self.writer:
      self._send(self._connections[0], where, None, arrays)
      return None
    return [list(arrays), *(self._receive(i, where)[1] for i in range(1, self.count))]

  def scatter(self, where: str, parts: Sequence[Sequence[np.ndarray]] | None):
    """Each process's part of what process 0 has."""
    if self.count == 1:
      return list(parts[0])
    self._not_alone(where)
    if not self.writer:
      return self._receive(0, where)[1]
    for connection, part in zip(self._connections, parts[1:], strict=True):
      self._send(connection, where, None, part)
    return list(parts[0])

  def share(self, where: str, tree: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Process 0's nested dict of arrays, or its None, on all."""
    if self.count == 1:
      return tree
    from flax import traverse_util

    flat = traverse_util.flatten_dict(dict(tree), sep="/") if tree is not None else None
    names = self.agree(where, None if flat is None else list(flat))
    if names is None:
      return None
    arrays = [np.asarray(x) for x in flat.values()] if self.writer else None
    arrays = self.scatter(where, [arrays] * self.count if self.writer else None)
    return traverse_util.unflatten_dict(dict(zip(names, arrays, strict=True)), sep="/")

  def first_alone(self, where: str, function: Callable[[], Any]) -> Any:
    """`function()` on process 0, None on the others.

    For work that is not a program of members: it may read files and clocks, print and write.
    """
    if not self.writer:
      return None
    outer, self._alone = self._alone, where
    try:
      return function()
    finally:
      self._alone = outer

  def run(self, function: Callable[[], int]) -> int:
    """The exit status of `function()`, the same for all processes.

    When one of them fails the others end too: process 0 says why, or whoever has lost it.
    """
    if self.count == 1:
      return function()
    orderly, message = False, ""
    try:
      status = function()
      if not self.writer:
        self._receive(0, "the end")
      orderly = True
    except Ended as ended:
      message, status, orderly = str(ended), ended.status, ended.orderly
    except UserError as error:
      message, status = str(error), 2
    except BaseException as error:
      traceback.print_exc()
      message, status = f"{type(error).__name__}, see its own output", 1
    if message:
      print(f"error: {message}", file=sys.stderr)
    if message and not self.writer:
      message = f"process {self.index} of {self.count} ended: {message}"
    self._leave(status, "" if self.writer else message, orderly)
    if not orderly:
      sys.stdout.flush()
      sys.stderr.flush()
      os._exit(status)  # the end of jax.distributed would wait for those that are gone
    jax.distributed.shutdown()
    return status

  def _leave(self, status: int, message: str, orderly: bool) -> None:
    """Says how this process ends, and waits until the others have heard it and closed.

    One that process 0 has ended, or that says nothing of its own, closes at once.
    """
    if self.writer or message:
      report = json.dumps({"ended": message, "status": status, "orderly": orderly}).encode()
      for connection in self._connections:
        with contextlib.suppress(OSError):
          connection.send_bytes(report)
      deadline = time.monotonic() + self.timeout_s
      for connection in self._connections:
        with contextlib.suppress(Ended, EOFError, OSError):
          while connection.poll(max(0.0, deadline - time.monotonic())):
            self._drop(connection)  # of a process that does not know yet
    for connection in self._connections:
      connection.close()

  def _drop(self, connection) -> None:
    """Reads a message away; raises `Ended` when it is the other's last one."""
    message = connection.recv_bytes()
    if message.startswith(b'{"ended"'):
      raise Ended("")

  def _not_alone(self, where: str) -> None:
    if self._alone is not None:
      raise RuntimeError(
        f"'{where}' is asked for inside '{self._alone}', which process 0 runs alone; "
        "members need all processes, so ask for them outside of a stage"
      )

  def _send(self, connection, where: str, value: Any, arrays: Sequence = ()) -> None:
    arrays = [np.ascontiguousarray(x).reshape(np.shape(x)) for x in arrays]
    header = {
      "where": where,
      "value": value,
      "arrays": [(str(x.dtype), x.shape) for x in arrays],
    }
    try:
      connection.send_bytes(json.dumps(header).encode())
      for array in filter(np.size, arrays):
        connection.send_bytes(array.reshape(-1).view(np.uint8).data)
    except OSError as error:
      self._heard_of_an_end(connection)
      raise self._lost(connection) from error

  def _receive(self, process: int, where: str) -> tuple[Any, list[np.ndarray]]:
    connection = self._connections[max(0, process - 1)]
    try:
      header = self._header(connection)
      if header["where"] != where:
        raise RuntimeError(
          f"process {self.index} is at '{where}' and process {process} at "
          f"'{header['where']}': their code, data or files differ"
        )
      arrays = [np.empty(shape, np.dtype(name)) for name, shape in header["arrays"]]
      for array in filter(np.size, arrays):
        connection.recv_bytes_into(array.reshape(-1).view(np.uint8).data)
    except (EOFError, OSError) as error:
      raise self._lost(connection) from error
    return header["value"], arrays

  def _header(self, connection) -> dict[str, Any]:
    header = json.loads(connection.recv_bytes())
    if "ended" in header:
      raise Ended(header["ended"], header["status"], header["orderly"])
    return header

  def _heard_of_an_end(self, connection) -> None:
    """What a process that does not listen any more may have said before."""
    with contextlib.suppress(EOFError, OSError):
      while connection.poll():
        self._header(connection)

  def _lost(self, connection) -> Ended:
    index = self._connections.index(connection) + 1 if self.writer else 0
    return Ended(f"process {index} of {self.count} is lost; {_AGAIN}")


# --- how they meet ---------------------------------------------------------------------------


def place(coordinator: str | None, count: int | None, index: int | None) -> Place | None:
  """This process's place, from the flags or from SLURM; None when it is alone.

  Raises:
    UserError: a flag is missing, or does not fit the others.
  """
  flags = {"coordinator": coordinator, "processes": count, "process": index}
  missing = [f"--{name}" for name, value in flags.items() if value is None]
  if len(missing) == 3:
    return _on_slurm()
  if missing:
    raise UserError(
      "Several processes need --coordinator=HOST:PORT, --processes and --process; "
      f"{' and '.join(missing)} is missing."
    )
  if count < 1:
    raise UserError(f"--processes has to be at least 1, not {count}.")
  if not 0 <= index < count:
    raise UserError(f"--process={index} has to be from 0 to {count - 1}.")
  host, port = _address(coordinator)
  if not host or not 0 < port < 2**16:
    raise UserError(f"--coordinator='{coordinator}' has to be HOST:PORT, of process 0.")
  return Place(coordinator, count, index) if count > 1 else None


def _on_slurm() -> Place | None:
  """The place that SLURM gives a task of a step of several, as jax.distributed reads it."""
  from jax._src.clusters import SlurmCluster

  if not SlurmCluster.is_env_present() or SlurmCluster.get_process_count() == 1:
    return None
  port = os.environ.get("JAX_COORDINATOR_PORT")
  address = SlurmCluster.get_coordinator_address(None, port)
  return Place(address, SlurmCluster.get_process_count(), SlurmCluster.get_process_id())


def join(where: Place | None, timeout_s: float) -> Processes:
  """Meets the other processes; has to come before the first use of a device.

  They first meet at the coordinator's port themselves, because jax.distributed ends a process
  that waits in vain without an error that could be caught; then it takes over the port.

  Args:
    where: the place of this process; None: it is alone.
    timeout_s: bound of the wait for the others, and later for one that does not answer.

  Raises:
    UserError: the others do not come, or the port is taken.
  """
  if where is None:
    return Processes()
  meet = _wait_for_others if where.index == 0 else _go_to_first
  connections = meet(where, time.monotonic() + timeout_s)
  jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM
  jax.distributed.initialize(
    where.coordinator,
    where.count,
    where.index,
    initialization_timeout=int(timeout_s) + 1,
    heartbeat_timeout_seconds=max(1, int(timeout_s)),
    shutdown_timeout_seconds=max(1, int(timeout_s)),
  )
  _explain_abort()
  return Processes(where.index, where.count, connections, timeout_s)


def _address(coordinator: str) -> tuple[str, int]:
  """(host, port); port 0 when there is none."""
  host, _, port = coordinator.rpartition(":")
  return host.strip("[]"), int(port) if port.isdecimal() else 0


def _wait_for_others(where: Place, deadline: float) -> list[Connection]:
  _, port = _address(where.coordinator)
  dual = socket.has_dualstack_ipv6()
  family = socket.AF_INET6 if dual else socket.AF_INET
  try:
    server = socket.create_server(("", port), family=family, dualstack_ipv6=dual)
  except OSError as error:
    raise UserError(
      f"Port {port} of --coordinator cannot be used ({error.strerror}); choose another one."
    ) from error
  came: dict[int, Connection] = {}
  with server:
    while len(came) < where.count - 1:
      server.settimeout(max(0.01, deadline - time.monotonic()))
      try:
        connection = _connection(server.accept()[0])
        hello = json.loads(connection.recv_bytes()) if connection.poll(1.0) else {}
        index, count = hello["process"], hello["processes"]
      except TimeoutError as error:
        waited = [str(i) for i in range(1, where.count) if i not in came]
        raise UserError(
          f"{len(came) + 1} of {where.count} processes came; process {', '.join(waited)} did "
          f"not reach '{where.coordinator}' in time (--peer_timeout_s)."
        ) from error
      except (EOFError, OSError, ValueError, KeyError, TypeError):
        continue  # not one of ours
      wrong = None
      if count != where.count:
        wrong = f"process {index} has --processes={count}, process 0 {where.count}"
      elif index in came or index == 0:
        wrong = f"two processes have --process={index}"
      if wrong:
        for one in (connection, *came.values()):
          one.send_bytes(json.dumps({"wrong": wrong}).encode())
        raise UserError(f"The processes do not fit: {wrong}.")
      came[index] = connection
  for connection in came.values():
    connection.send_bytes(b"{}")
  return [came[i] for i in range(1, where.count)]


def _go_to_first(where: Place, deadline: float) -> list[Connection]:
  host, port = _address(where.coordinator)
  while True:
    left = deadline - time.monotonic()
    try:
      connection = _connection(socket.create_connection((host, port), max(0.1, left)))
      break
    except OSError as error:
      if left < 0.2 or isinstance(error, socket.gaierror):
        why = error.strerror or "no answer"
        raise UserError(
          f"Process 0 cannot be reached at --coordinator='{where.coordinator}' ({why}); "
          "start it there, or give more time with --peer_timeout_s."
        ) from error
      time.sleep(0.1)
  hello = {"process": where.index, "processes": where.count}
  connection.send_bytes(json.dumps(hello).encode())
  try:
    if not connection.poll(max(0.1, deadline - time.monotonic())):
      raise TimeoutError
    answer = json.loads(connection.recv_bytes())
  except (EOFError, OSError, ValueError) as error:
    raise UserError(
      f"Process 0 at --coordinator='{where.coordinator}' did not begin: it or another process "
      "is missing, or something else answers at this port."
    ) from error
  if "wrong" in answer:
    raise UserError(f"The processes do not fit: {answer['wrong']}.")
  return [connection]


def _connection(found: socket.socket) -> Connection:
  found.settimeout(None)
  found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
  return Connection(found.detach())


def _explain_abort() -> None:
  """Adds a sentence when jax.distributed aborts this process because another one is gone.

  It does so in a thread of its own, where no handler of Python's runs: hence ctypes.
  """

  def explain(_):
    message = f"error: jax.distributed lost another process of this run; {_AGAIN}\n"
    os.write(2, message.encode())
    os._exit(LOST)

  global _handler  # kept alive
  _handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(explain)
  ctypes.CDLL(None).signal(signal.SIGABRT, _handler)

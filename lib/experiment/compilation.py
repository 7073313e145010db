"""What the compiler is told beyond its defaults."""

import concurrent.futures
import functools
import os
import pathlib
import threading
from collections.abc import Callable, Hashable
from typing import Any

import jax


class Compiled:
  """Functions that the stages of a run share, each compiled once, by whichever thread.

  XLA compiles a program mostly on one core and without holding Python's lock, so that
  programs known in advance compile side by side.
  """

  def __init__(self):
    self._lock = threading.Lock()
    self._made: dict[Hashable, concurrent.futures.Future] = {}
    self._threads: concurrent.futures.ThreadPoolExecutor | None = None

  def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
    """What `make()` returned for the key; waits where another thread is at it."""
    with self._lock:
      known = key in self._made
      future = self._made.setdefault(key, concurrent.futures.Future())
    if not known:
      try:
        future.set_result(make())
      except BaseException as error:
        with self._lock:
          del self._made[key]
        future.set_exception(error)
        raise
    return future.result()

  def items(self) -> list[tuple[Hashable, Any]]:
    """Keys and what was made for them."""
    return [(key, future.result()) for key, future in self._made.items()]

  def ahead(self, function: Callable[[], Any]) -> None:
    """Calls the function in the background, with this thread's precision of floats.

    Its errors are dropped: they come again where its work is needed.
    """
    if self._threads is None:
      count = min(4, os.cpu_count() or 1)
      self._threads = concurrent.futures.ThreadPoolExecutor(count, "compiling")
    wide = jax.config.jax_enable_x64

    def scoped():
      with jax.enable_x64(wide):
        function()

    self._threads.submit(scoped)

  def close(self) -> None:
    """Gives up what has not begun."""
    if self._threads is not None:
      self._threads.shutdown(wait=False, cancel_futures=True)
      self._threads = None


@functools.cache
def compiler_options(quick: bool = False) -> dict[str, int]:
  """Options for `jax.stages.Lowered.compile` on the default backend; few machines need any.

  Args:
    quick: for programs that run for less time than they compile, as those of smoke presets. On
      a CPU the optimisation level is then 1, which compiles in two thirds of the time.

  On an AMD processor with AVX-512, vectors of 512 bits. XLA keeps to 256 because some Intel
  processors lower their clock for wider ones; loops over arrays then run up to 1.25 times
  slower than they could (docs/PERFORMANCE.md).
  """
  if jax.default_backend() != "cpu":
    return {}
  if quick:
    options = {"xla_backend_optimization_level": 1}
  elif _has_wide_vectors(_processor()):
    options = {"xla_cpu_prefer_vector_width": 512}
  else:
    return {}
  try:
    jax.jit(lambda x: x).lower(0.0).compile(compiler_options=options)
  except jax.errors.JaxRuntimeError:  # a version of XLA without the option
    return {}
  return options


def _processor() -> str:
  """What Linux tells of the processor, empty elsewhere."""
  try:
    return pathlib.Path("/proc/cpuinfo").read_text("utf-8")
  except OSError:
    return ""


def _has_wide_vectors(processor: str) -> bool:
  """Whether a description in the form of /proc/cpuinfo is of an AMD with AVX-512."""
  lines = [line.partition(":")[::2] for line in processor.splitlines()]
  found = {key.strip(): value.split() for key, value in lines}
  return found.get("vendor_id") == ["AuthenticAMD"] and "avx512f" in found.get("flags", [])

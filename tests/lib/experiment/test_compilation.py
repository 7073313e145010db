"""Options for the compiler follow the processor."""

import queue
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from lib.experiment import Context, Program, Stage, compilation

_AMD = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu sse2 avx2 avx512f avx512bw\n"


@pytest.mark.parametrize(
  ("processor", "wide"),
  [
    (_AMD, True),
    (_AMD.replace("avx512f avx512bw", "fma"), False),
    (_AMD.replace("AuthenticAMD", "GenuineIntel"), False),
    ("", False),
  ],
)
def test_wide_vectors_only_where_they_pay(processor, wide):
  assert compilation._has_wide_vectors(processor) is wide


def test_an_option_that_the_compiler_lacks_is_left_out(monkeypatch):
  monkeypatch.setattr(compilation, "_processor", lambda: _AMD)

  class Refusing:
    def lower(self, *_):
      return self

    def compile(self, compiler_options):
      raise jax.errors.JaxRuntimeError(f"No such compile option: {compiler_options}")

  monkeypatch.setattr(jax, "jit", lambda function: Refusing())
  assert compilation.compiler_options.__wrapped__() == {}


@pytest.mark.parametrize("quick", [False, True])
def test_the_options_compile(quick):
  options = compilation.compiler_options(quick)
  compiled = jax.jit(jnp.sum).lower(jnp.arange(100.0)).compile(options)
  assert compiled(jnp.arange(100.0)) == 4950


def test_each_function_is_made_once_by_whichever_thread():
  made = compilation.Compiled()
  calls, begun, go_on = [], threading.Event(), threading.Event()

  def slow():
    calls.append(threading.current_thread())
    begun.set()
    assert go_on.wait(10)
    return "made"

  made.ahead(lambda: made.get("key", slow))
  assert begun.wait(10)
  threading.Timer(0.05, go_on.set).start()
  assert made.get("key", lambda: pytest.fail("made twice")) == "made"
  assert calls != [threading.main_thread()] and len(calls) == 1
  made.close()


def test_what_failed_in_the_background_fails_again_where_it_is_needed():
  made, done = compilation.Compiled(), threading.Event()

  def fail():
    raise ValueError("no")

  def behind():
    try:
      made.get("key", fail)
    finally:
      done.set()

  made.ahead(behind)
  assert done.wait(10)
  with pytest.raises(ValueError, match="no"):
    made.get("key", fail)
  assert made.get("key", lambda: 1) == 1
  made.close()


def test_the_background_has_the_precision_of_the_caller():
  made, found = compilation.Compiled(), queue.Queue()
  with jax.enable_x64(True):
    made.ahead(lambda: found.put(str(jnp.ones(()).dtype)))
  made.ahead(lambda: found.put(str(jnp.ones(()).dtype)))
  assert {found.get(timeout=10), found.get(timeout=10)} == {"float64", "float32"}
  made.close()


def test_operands_are_announced_by_their_shapes(tmp_path):
  """What an earlier stage computes, one array of two; the program is the one of the arrays."""
  config = ConfigDict({"seed": 0})
  program = Program.once(lambda config, data: {"x": data["x"] + data["given"] * config.seed})
  data, over = {"x": jnp.arange(3.0), "given": jnp.ones(3)}, {"seed": range(2)}
  stage = Stage("late", program, config, data, over)
  ctx = Context(tmp_path)
  shapes = data | {"given": jax.ShapeDtypeStruct((3,), jnp.float32)}
  ctx.compile_ahead(stage._replace(operands=shapes))
  ctx.compiled._threads.shutdown(wait=True)
  before = set(ctx.compiled._made)
  found = ctx.members(*stage)["x"]
  assert set(ctx.compiled._made) == before and len(before) > 0
  np.testing.assert_array_equal(found, [[0, 1, 2], [1, 2, 3]])
  ctx.close()


def test_stages_compiled_ahead_are_not_compiled_again(tmp_path):
  config = ConfigDict({"seed": 0, "power": 2})
  program = Program.once(lambda config, data: {"x": data["x"] ** config.power + config.seed})
  data, over = {"x": jnp.arange(3.0)}, {"seed": range(2)}
  stages = [Stage(f"p{p}", program, config, data, over, {"power": p}) for p in (2, 3)]
  ctx = Context(tmp_path)
  ctx.compile_ahead(*stages)
  ctx.compiled._threads.shutdown(wait=True)
  before = set(ctx.compiled._made)
  found = [ctx.members(*stage)["x"] for stage in stages]
  assert set(ctx.compiled._made) == before and len(before) > 0
  np.testing.assert_array_equal(found[1], [[0, 1, 8], [1, 2, 9]])
  np.testing.assert_array_equal(found[0], [[0, 1, 4], [1, 2, 5]])
  ctx.compile_ahead(*stages)  # both are on disk
  ctx.close()

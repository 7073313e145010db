"""The members engine: grids, batches that fit a budget, devices, memory running out."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from lib.experiment import Context, Program, bind, by_name, cutting, members


def _program(width=8):
  """Sum of a seeded walk; `scale` is a traced hyper-parameter."""

  def init(config, operands):
    return jnp.zeros(width), jax.random.key(config.seed)

  def step(config, operands, state):
    x, key = state
    key, drawn = jax.random.split(key)
    x = x + config.scale * jax.random.normal(drawn, x.shape) + operands
    return (x, key), {"size": jnp.abs(x).sum()}

  def finish(config, operands, state, history):
    return {"x": state[0], "nested": {"sizes": history["size"]}}

  return Program(init, step, finish, steps=lambda config: config.steps)


def _config():
  return ConfigDict({"seed": 0, "scale": 1.0, "steps": 7})


OVER = {"seed": [3, 4, 5, 6, 7], "scale": [0.5, 2.0]}


def _reference(seed, scale, steps=7, width=8):
  """The walk by hand, one member, no batching and no jit."""
  x, key = np.zeros(width, np.float32), jax.random.key(seed)
  sizes = []
  for _ in range(steps):
    key, drawn = jax.random.split(key)
    x = x + scale * np.asarray(jax.random.normal(drawn, (width,))) + 1.0
    sizes.append(np.abs(x).sum())
  return x, np.array(sizes)


def test_members_equal_a_loop_over_single_runs(tmp_path):
  found = Context(tmp_path).members("walk", _program(), _config(), jnp.float32(1.0), OVER)
  assert found["x"].shape == (5, 2, 8)
  assert found["nested"]["sizes"].shape == (5, 2, 7)
  for i, seed in enumerate(OVER["seed"]):
    for j, scale in enumerate(OVER["scale"]):
      x, sizes = _reference(seed, scale)
      np.testing.assert_allclose(found["x"][i, j], x, rtol=1e-5, atol=1e-6)
      np.testing.assert_allclose(found["nested"]["sizes"][i, j], sizes, rtol=1e-5)


@pytest.mark.parametrize("cache", [1, 120, 10**9])  # bytes; a member's state takes 40
@pytest.mark.parametrize("alone", [False, True])
def test_groups_that_fit_the_cache_change_nothing(tmp_path, monkeypatch, cache, alone):
  monkeypatch.setattr(members, "_CACHE", cache)
  seen = []
  in_groups = cutting.in_groups
  monkeypatch.setattr(
    cutting, "in_groups", lambda f, group: seen.append(group) or in_groups(f, group)
  )
  program = _program()._replace(alone=alone)
  found = Context(tmp_path).members("walk", program, _config(), jnp.float32(1.0), OVER)
  assert set(seen) == {1} if alone or cache == 1 else max(seen) > 1
  for i, seed in enumerate(OVER["seed"]):
    for j, scale in enumerate(OVER["scale"]):
      x, sizes = _reference(seed, scale)
      np.testing.assert_allclose(found["x"][i, j], x, rtol=1e-5, atol=1e-6)
      np.testing.assert_allclose(found["nested"]["sizes"][i, j], sizes, rtol=1e-5)


def test_groups_divide_the_members_of_a_device():
  found = {n: cutting.nearest_divisor(n, 6.4) for n in (1, 4, 7, 12, 13, 40, 43)}
  assert found == {1: 1, 4: 4, 7: 7, 12: 6, 13: 13, 40: 8, 43: 1}
  assert cutting.nearest_divisor(43, 100) == 43


def test_small_memory_budget_cuts_batches_without_changing_results(tmp_path):
  program, config, one = _program(4096), _config(), jnp.float32(1.0)
  whole = Context(tmp_path / "whole").members("walk", program, config, one, OVER)
  ctx = Context(tmp_path / "cut", memory_gb=2e5 / 2**30)
  cut = ctx.members("walk", program, config, one, OVER)
  plan = json.loads((tmp_path / "cut/checkpoints/walk/plan.json").read_text())
  assert plan["batch"] < 10
  np.testing.assert_allclose(cut["x"], whole["x"], rtol=1e-6)


def test_out_of_memory_halves_the_batch(tmp_path, monkeypatch, caplog):
  """The device refuses batches above three members."""
  compute = members._Batches.compute

  def scarce(self, start, tolerate):
    if self.plan.batch > 3:
      raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    return compute(self, start, tolerate)

  monkeypatch.setattr(members._Batches, "compute", scarce)
  with caplog.at_level("WARNING"):
    found = Context(tmp_path).members("walk", _program(), _config(), jnp.float32(1.0), OVER)
  assert "going on in batches of 2" in caplog.text
  np.testing.assert_allclose(found["x"][4, 1], _reference(7, 2.0)[0], rtol=1e-5)


def test_a_program_too_large_to_compile_is_cut(tmp_path, monkeypatch, caplog):
  """The compiler refuses batches above three members, as those of accelerators do."""
  memory = members._Batches._memory

  def scarce(self):
    if self.plan.batch > 3:
      raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory in hbm")
    return memory(self)

  monkeypatch.setattr(members._Batches, "_memory", scarce)
  with caplog.at_level("WARNING"):
    found = Context(tmp_path).members("walk", _program(), _config(), jnp.float32(1.0), OVER)
  assert "a batch of 10 does not fit" in caplog.text
  assert json.loads((tmp_path / "checkpoints/walk/plan.json").read_text())["batch"] <= 3
  np.testing.assert_allclose(found["x"][4, 1], _reference(7, 2.0)[0], rtol=1e-5)


def test_the_state_of_a_chunk_is_donated(tmp_path):
  """What goes into a chunk of steps shares its memory with what comes out."""
  ctx, width = Context(tmp_path), 1024
  ctx.members("walk", _program(width), _config(), jnp.float32(1.0), {"seed": range(10)})
  (advance,) = (function for key, (function, _) in ctx.compiled.items() if "advance" in key)
  state = 10 * (4 * width + 8)  # positions, and keys of two words
  assert advance.memory_analysis().alias_size_in_bytes == state


def test_program_called_as_one_function_equals_members(tmp_path):
  program, config = _program(), _config()
  found = Context(tmp_path).members(
    "walk", program, config, jnp.float32(1.0), {"seed": [0, 1, 2]}
  )
  alone = jax.jit(jax.vmap(lambda s: program(bind(config, {"seed": s}), jnp.float32(1.0))))
  np.testing.assert_allclose(alone(jnp.arange(3))["x"], found["x"], rtol=1e-6)


def test_a_single_call_and_host_steps(tmp_path):
  once = Program.once(lambda config, operands: {"double": 2.0 * config.scale + operands})
  found = Context(tmp_path).members("once", once, _config(), 1.0, {"scale": [1.0, 2.0]})
  np.testing.assert_array_equal(found["double"], [3.0, 5.0])
  host = _program()._replace(chunk=1)
  found = Context(tmp_path).members("host", host, _config(), jnp.float32(1.0), {"seed": [3]})
  np.testing.assert_allclose(found["x"][0], _reference(3, 1.0)[0], rtol=1e-5)


def test_stages_that_differ_in_swept_values_share_one_compiled_program(tmp_path):
  traces = []

  def step(config, operands, state):
    traces.append(1)
    return _program().step(config, operands, state)

  program = _program()._replace(step=step)
  ctx, one = Context(tmp_path), jnp.float32(1.0)
  ctx.members("a", program, _config(), one, {"seed": [0, 1], "scale": [0.5]})
  count = len(traces)
  found = ctx.members("b", program, _config(), one, {"seed": [8, 9], "scale": [2.0]})
  assert len(traces) == count
  np.testing.assert_allclose(found["x"][1, 0], _reference(9, 2.0)[0], rtol=1e-5)
  found = ctx.members("c", program, _config(), one, {"seed": [8, 9]})  # scale is 1 again
  assert len(traces) > count
  np.testing.assert_allclose(found["x"][1], _reference(9, 1.0)[0], rtol=1e-5)


def test_stages_of_another_size_share_a_program_by_their_batch(tmp_path):
  traces = []

  def step(config, operands, state):
    traces.append(1)
    return _program().step(config, operands, state)

  program = _program()._replace(step=step)
  ctx, one = Context(tmp_path), jnp.float32(1.0)
  ctx.members("a", program, _config(), one, {"seed": [0, 1, 2, 3]}, batch=4)
  count = len(traces)
  more = ctx.members("b", program, _config(), one, {"seed": list(range(4, 14))}, batch=4)
  less = ctx.members("c", program, _config(), one, {"seed": [7]}, batch=4)
  assert len(traces) == count
  assert more["x"].shape == (10, 8) and less["x"].shape == (1, 8)
  np.testing.assert_allclose(more["x"][9], _reference(13, 1.0)[0], rtol=1e-5)
  np.testing.assert_array_equal(less["x"][0], more["x"][3])


def test_grid_zips_tuples_of_keys():
  columns, shape = cutting.grid({"seed": [1, 2], ("a", "b"): [(0.1, 5), (0.2, 6)]})
  assert shape == (2, 2)
  np.testing.assert_array_equal(columns["seed"], [1, 1, 2, 2])
  np.testing.assert_allclose(columns["a"], [0.1, 0.2, 0.1, 0.2])
  np.testing.assert_array_equal(columns["b"], [5, 6, 5, 6])


def test_text_is_no_axis():
  with pytest.raises(TypeError, match="not numeric"):
    cutting.grid({"name": ["relu", "tanh"]})


def test_bind_replaces_dotted_keys_and_refuses_new_ones():
  config = ConfigDict({"train": {"rate": 0.1}})
  assert bind(config, {"train.rate": "traced"}).train.rate == "traced"
  assert config.train.rate == 0.1
  with pytest.raises(KeyError):
    bind(config, {"train.speed": 1})


def test_stage_is_computed_once(tmp_path):
  calls = []

  def compute():
    calls.append(1)
    return {"a": np.arange(3), "deep": {"b": np.float32(2)}}

  first = Context(tmp_path).stage("numbers", compute)
  second = Context(tmp_path).stage("numbers", compute)
  assert len(calls) == 1
  np.testing.assert_array_equal(first["a"], second["a"])
  assert second["deep"]["b"].dtype == np.float32
  (tmp_path / "checkpoints/numbers/result.npz").write_bytes(b"PK\x03\x04 truncated")
  Context(tmp_path).stage("numbers", compute)
  assert len(calls) == 2


_LAPACK = """
import sys
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from lib.experiment import Context, Program

jax.config.update("jax_num_cpu_devices", 2)
program = Program(
  lambda config, matrix: matrix + config.scale * jnp.eye(4),
  lambda config, matrix, state: (state + matrix, {"determinant": jnp.linalg.det(state)}),
  lambda config, matrix, state, history: history,
  steps=lambda config: 3,
)
matrix = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
scales = [0.5, 1.0, 2.0, 4.0]
found = Context(sys.argv[1]).members(
  "d", program, ConfigDict({"scale": 1.0}), matrix, {"scale": scales}
)
for i, scale in enumerate(scales):
  for k in range(3):
    expected = np.linalg.det((k + 1) * matrix + scale * np.eye(4))
    np.testing.assert_allclose(found["determinant"][i, k], expected, rtol=1e-3, atol=1e-3)
calls = [line for text in programs for line in text.splitlines() if "lapack_" in line]
print(len(jax.devices()), len(calls) > 0, any("f32[2,4,4]" in line for line in calls))
"""


def test_members_with_lapack_calls_go_in_turn(tmp_path):
  """On several devices a batch of such calls could stand still; the numbers are the same."""
  watch = """
import lib.experiment.members as members
programs, original = [], members._Batches._compiled
def compiled(self, name, length=0):
  known = original(self, name, length)
  programs.append(known[0].as_text())
  return known
members._Batches._compiled = compiled
"""
  done = subprocess.run(
    [sys.executable, "-c", watch + _LAPACK, str(tmp_path)], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.split() == ["2", "True", "False"]  # no call with both its members


def test_results_by_name():
  """One row for each name, or a block of rows; order is the names'."""
  found = by_name(("b", "a"), {"x": np.arange(6).reshape(2, 3)})
  assert list(found) == ["b", "a"] and found["a"]["x"].tolist() == [3, 4, 5]
  blocks = by_name(iter(("b", "a")), {"x": np.arange(12).reshape(6, 2)}, each=3)
  assert blocks["a"]["x"].tolist() == [[6, 7], [8, 9], [10, 11]]

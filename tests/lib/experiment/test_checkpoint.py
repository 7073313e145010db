"""Checkpoints: exact round trips, typed keys, damage."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lib.experiment.checkpoint import Checkpoints


def _tree(step):
  params = {"w": jnp.arange(6.0).reshape(2, 3) + step, "b": jnp.zeros(3, jnp.bfloat16)}
  return {
    "params": params,
    "optimiser": optax.adam(1e-3).init(params),
    "key": jax.random.split(jax.random.key(step), 4),
    "count": jnp.int32(step),
  }


def _like(step):
  return jax.eval_shape(lambda: _tree(step))


def test_round_trip_is_exact(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(7, _tree(7))
  step, tree = checkpoints.restore_latest(_like)
  assert step == 7
  assert jax.tree.structure(tree) == jax.tree.structure(_tree(7))
  for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(_tree(7)), strict=True):
    assert a.dtype == b.dtype
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
      a, b = jax.random.key_data(a), jax.random.key_data(b)
    np.testing.assert_array_equal(a, b)


def test_keeps_the_newest_two(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  for step in (1, 2, 3, 10):
    checkpoints.save(step, _tree(step))
  assert checkpoints.steps() == [3, 10]
  assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == [
    "step_00000003",
    "step_00000010",
  ]


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "manifest", "structure"])
def test_damage_falls_back_to_the_one_before(tmp_path, caplog, damage):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(1, _tree(1))
  newest = checkpoints.save(2, {"other": jnp.ones(3)} if damage == "structure" else _tree(2))
  files = [f for f in newest.rglob("*") if f.is_file()]
  largest = max(files, key=lambda f: f.stat().st_size)
  data = bytearray(largest.read_bytes())
  if damage == "truncate":
    largest.write_bytes(data[: len(data) // 2])
  elif damage == "flip":
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
  elif damage == "remove":
    largest.unlink()
  elif damage == "manifest":
    (tmp_path / "step_00000002.json").write_text("{")
  with caplog.at_level("WARNING"):
    step, tree = checkpoints.restore_latest(_like)
  assert step == 1
  assert "step_00000002 is skipped" in caplog.text
  np.testing.assert_array_equal(tree["params"]["w"], _tree(1)["params"]["w"])


def test_without_manifest_it_does_not_count(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(1, _tree(1))
  (tmp_path / "step_00000001.json").unlink()
  assert checkpoints.restore_latest(_like) == (None, None)

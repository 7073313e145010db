"""Configs: presets, overrides and what the user is told."""

import jax
import pytest
from ml_collections import ConfigDict

from lib.experiment import UserError, configs, presets


def _config():
  return ConfigDict(
    {"seed": 0, "rate": 0.1, "name": "relu", "on": True, "widths": (1, 2), "r": {"beta": 0.5}}
  )


def test_override_parses_by_the_type_it_replaces():
  pairs = [("seed", "3"), ("rate", "1"), ("name", "tanh"), ("on", "false")]
  config = configs.override(_config(), [*pairs, ("widths", "5,6,7"), ("r.beta", "1e-3")])
  assert config.to_dict() == {
    "seed": 3,
    "rate": 1.0,
    "name": "tanh",
    "on": False,
    "widths": (5, 6, 7),
    "r": {"beta": 1e-3},
  }
  assert configs.override(_config(), [("widths", "(9,)")]).widths == (9,)
  assert configs.override(_config(), [("widths", "9")]).widths == (9,)


@pytest.mark.parametrize(
  ("key", "text"),
  [("seed", "1.5"), ("rate", "fast"), ("on", "maybe"), ("widths", "a,b"), ("widths", "1.5")],
)
def test_wrong_type(key, text):
  with pytest.raises(UserError, match=f"'{key}' takes"):
    configs.override(_config(), [(key, text)])


def test_unknown_key_suggests_the_nearest():
  with pytest.raises(UserError, match=r"Did you mean 'r.beta'\?"):
    configs.override(_config(), [("beta", "1")])


def test_presets_override_and_record_their_name():
  config = presets.apply(_config(), "smoke", {"smoke": {"r.beta": 2.0, "widths": (4,)}})
  assert (config.r.beta, config.widths, config.preset) == (2.0, (4,), "smoke")
  with pytest.raises(UserError, match=r"Did you mean 'smoke'\?"):
    presets.apply(_config(), "smok", {"smoke": {}})
  with pytest.raises(KeyError, match="does not have"):
    presets.apply(_config(), "smoke", {"smoke": {"gamma": 2.0}})


def test_every_config_in_the_repository_has_all_its_presets():
  import importlib
  import pathlib

  for file in (pathlib.Path(__file__).resolve().parents[3] / "configs").glob("[!_]*.py"):
    module = importlib.import_module(f"configs.{file.stem}")
    for preset in ("default", *module.PRESETS):
      config = module.get_config(preset)
      assert isinstance(config.seed, int) and config.preset == preset
    assert {"smoke", "paper"} <= set(module.PRESETS)


@pytest.mark.parametrize("value", [0, -1, 0.5, float("nan"), float("inf")])
def test_numbers_below_the_limit_are_refused(value):
  config = ConfigDict({"a": {"b": value}, "c": 1}, type_safe=False)
  with pytest.raises(UserError, match=r"a\.b is .*; it must be at least 1\."):
    configs.at_least(config, 1, "c", "a.b")


def test_numbers_at_the_limit_and_tracers_pass():
  config = ConfigDict({"a": {"b": 1}, "c": 7.5}, type_safe=False)
  configs.at_least(config, 1, "a.b", "c")

  def swept(value):
    bound = ConfigDict({"c": value}, type_safe=False)
    configs.at_least(bound, 1, "c")
    return value

  assert jax.jit(swept)(0) == 0

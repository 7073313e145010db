"""Config of the toy project."""

from ml_collections import ConfigDict

from lib.experiment import presets

PRESETS = {"smoke": {"steps": 10}, "slow": {"host_seconds": 0.01, "steps": 100, "seeds": 1}}


def get_config(preset="default"):
  """Converges in 200 steps."""
  config = ConfigDict()
  config.seed = 0
  config.seeds = 4
  config.width = 3
  config.steps = 200
  config.step_size = 0.1
  config.noise = 0.1
  config.host_seconds = 0.0
  return presets.apply(config, preset, PRESETS)

"""Layer-wise activation clusters of CNNs against out-of-distribution inputs."""

from ml_collections import ConfigDict

from lib.experiment import presets

PRESETS = {
  "smoke": {"seeds": 4, "steps": 200},
  "paper": {"seeds": 100, "steps": 100_000},
}


def get_config(preset="default"):
  """What to expect, and how long it takes."""
  config = ConfigDict()
  config.seed = 0  # the first of
  config.seeds = 20  # so many consecutive seeds
  config.steps = 10_000
  config.burn_in = 0.1  # share of the steps before anything is measured
  config.step_size = 0.5  # of a single run or a sweep
  config.step_sizes = (0.1, 0.5, 1.0)  # of the experiment
  return presets.apply(config, preset, PRESETS)

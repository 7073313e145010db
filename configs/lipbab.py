"""Certified and exact Lipschitz constants of piecewise linear networks by branch and bound."""

from ml_collections import ConfigDict

from lib.experiment import presets

PRESETS = {
  # Every path in seconds; its numbers mean little.
  "smoke": {
    "seeds": 2,
    "networks": ("iris", "sd1"),
    "norms": ("2", "inf"),
    "samples": 200,
    "ascent.starts": 8,
    "ascent.steps": 10,
    "ablation.network": "sd1",
    "ablation.seeds": 2,
    "enumeration.count": 6,
    "digits.hidden": (16, 16),
    "digits.seeds": 2,
    "digits.iterations": 10,
    "digits.node_limit": 8,
    "digits.steps": 8,
    "regulariser.steps": 20,
    "regulariser.hidden": 8,
    "regulariser.node_limit": 4,
  },
  # Ablation on the largest network; digits with as much work as a minute allows.
  "paper": {
    "seeds": 20,
    "ablation.network": "sd3",
    "digits.node_limit": 2000,
  },
}


def get_config(preset="default"):
  """The four kinds of networks of Table 1, trained anew for ten seeds, and controls.

  Expect all constants exact, first estimates 1.3 (Iris) to 6 times too large, an order of
  magnitude fewer sub-problems than the printed algorithm, and about two minutes on two CPU
  cores.

  With `network` set, one network of the user's instead: lower and upper bound on a box.
  """
  config = ConfigDict()
  config.seed = 0  # the first of
  config.seeds = 10  # so many consecutive seeds; a seed is one data set and one network

  # One network: an .npz with arrays W0, b0, W1, b1, … (x @ W + b), and what to do with it.
  config.network = ""
  config.activation = "relu"
  config.lower = (0.0,)  # the box: one number, or one an input
  config.upper = (0.1,)
  config.everywhere = False  # the global constant instead of that on the box
  config.p = "2"  # of the norm: 1, 2, inf, or any number from 1 on
  config.factor = 1.0  # stop when upper ≤ factor · lower
  config.time_limit = 0.0  # seconds, 0 for none; the same command goes on from there
  config.node_limit = 0  # sub-problems, 0 for none
  config.batch = 32  # sub-problems split at once
  config.frontier_limit = 0  # open sub-problems kept in memory, 0 for what fits in 1 GiB
  config.backend = "numpy"  # or jax: the bounds of a batch compiled, for an accelerator

  # Table 1: networks as scikit-learn trains them, on [0, 1]^4 and [0, 0.1]^10.
  config.networks = ("iris", "sd1", "sd2", "sd3")
  config.norms = ("1", "2", "inf")
  config.samples = 2000  # inputs at which the gradient is sampled, for each network
  config.ascent = {"starts": 64, "steps": 200}

  # Which part of the method saves how much.
  config.ablation = {"network": "sd2", "seeds": 10, "p": "2", "node_limit": 20_000}

  # Networks on the plane, against rational enumeration of all their cells.
  config.enumeration = {"count": 60}

  # A digits classifier: the largest box at which factor 1.5 is reached.
  config.digits = {
    "hidden": (100, 100),
    "seeds": 10,
    "iterations": 60,
    "factor": 1.5,
    "node_limit": 48,
    "smallest": 0.00125,
    "growth": 2**0.5,
    "steps": 24,
  }

  # A digits classifier trained with the differentiable root bound.
  config.regulariser = {
    "hidden": 32,
    "steps": 300,
    "step_size": 0.01,
    "weight": 0.01,
    "node_limit": 64,
  }
  return presets.apply(config, preset, PRESETS)

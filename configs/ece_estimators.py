"""Posocco and Bonnefoy, Estimating Expected Calibration Errors (ICANN 2021): Fig. 1 and 2.

The default has the paper's 45 distributions with one training set each instead of three, 100
evaluation sets instead of 200 and 5 sizes.
"""

from ml_collections import ConfigDict

from lib.experiment import presets

PRESETS = {
  "smoke": {
    "seeds": 2,
    "classes": (2, 3),
    "dims": (2,),
    "models": ("logistic", "naive_bayes"),
    "holdout.points": 8_000,
    "holdout.bins": 20,
    "holdout.pool": 1_000,
    "sizes": (30, 500),
    "sets": 20,
    "bins": (10,),
    "bandwidths": (0.1,),
    "points": 128,
    "figure.resamples": 20,
  },
  # The means of the modes as the authors' program draws them, in [-1, 1]: less overlap.
  "wide": {"low": -1.0},
  "paper": {
    "train.sets": 3,
    "holdout.points": 2_000_000,
    "holdout.bins": 2000,
    "holdout.pool": 200_000,
    "sizes": (30, 41, 56, 77, 105, 143, 196, 267, 366, 500),
    "sets": 200,
    "points": 2048,
  },
}


def get_config(preset="default"):
  """What to expect, and how long it takes."""
  config = ConfigDict()
  config.seed = 0  # the first of
  config.seeds = 5  # so many distributions for each number of classes and dimensions
  config.classes = (2, 5, 7)
  config.dims = (2, 5, 7)
  config.low = 0.0  # the means of the modes are uniform in [low, 1]
  config.models = ("logistic", "naive_bayes", "svc", "forest")
  config.train = ConfigDict({"size": 300, "sets": 1})
  config.holdout = ConfigDict()
  config.holdout.points = 100_000  # from which the true error is computed
  config.holdout.bins = 100  # for that: 1000 points each, as in the paper
  config.holdout.pool = 20_000  # of them, from which evaluation sets are drawn
  config.sizes = (30, 61, 122, 247, 500)  # of the evaluation sets
  config.sets = 100  # evaluation sets of each size
  config.percentile = 95.0  # of the relative errors over the evaluation sets
  # Fig. 2's, by the authors' program, beside the square-root rule and Silverman's
  config.bins = (10, 30)
  config.bandwidths = (0.033, 0.1)
  config.few_bins = 5  # a control: a number that the paper does not have
  config.points = 512  # grid of the densities on [0, 1]
  config.figure = ConfigDict({"size": 500, "bins": 15, "bandwidth": 0.03, "resamples": 200})
  # Of a member: its score distribution and random numbers; of a stage: the size of the sets,
  # and whether labels are drawn from the scores (a control).
  config.row, config.draw = 0, 0
  config.size, config.calibrated = 0, False
  return presets.apply(config, preset, PRESETS)

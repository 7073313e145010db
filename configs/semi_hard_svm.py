"""Semi-hard margin support vector machines for personal authentication with an aerial
signature motion (ICANN 2021): Table 2 on synthetic signatures, Fig. 2.
"""

from ml_collections import ConfigDict

from lib.experiment import presets

PRESETS = {
  # Every path in a few seconds; its numbers mean nothing.
  "smoke": {
    "seeds": 2,
    "targets": 2,
    "train_writers": 4,
    "test_writers": 4,
    "repetitions": 5,
    "genuine.test": 10,
    "kernels": ("linear", "rbf:1"),
    "lams": (1.0, 1e3),
    "banana.seeds": 2,
    "banana.train": 30,
    "banana.test": 50,
    "banana.lams": (1e3,),
  },
  # The paper's kernels and λ (the sizes are the default's already), γ in units of ours.
  "paper": {
    "kernels": (
      "linear",
      *(f"poly:{degree}" for degree in (2, 3, 4, 5, 6)),
      *(f"rbf:{m}e{e}" for e in range(-8, 2) for m in (1, 5)),
    ),
    "lams": tuple(m * 10.0**e for e in range(-1, 10) for m in (1, 5)) + (1e10,),
  },
}


def get_config(preset="default"):
  """Synthetic signatures of the paper's sizes: 10 targets a population, 5 genuine and 120
  impostor examples for training, 25 and 150 for the test.

  Expect zero training FAR of every semi-hard machine; whether it helps against a standard SVM
  depends on the thresholds that are compared. Some 80 s on two free CPU cores.
  """
  config = ConfigDict()
  config.seed = 0  # the first of
  config.seeds = 8  # populations of writers
  config.targets = 10  # writers of a population who are the genuine one in turn
  config.genuine = {"train": 5, "test": 25}
  config.train_writers = 12  # impostors of training, and
  config.test_writers = 15  # others of the test,
  config.repetitions = 10  # each with so many signatures
  config.difficulty = 0.6  # spread of a writer's repetitions over that of writers
  config.copied = 0.5  # share of the target's style that impostors copy
  config.points = 32  # of a resampled signature
  config.folds = 3
  config.kernels = ("linear", "poly:2", "poly:3", "rbf:0.3", "rbf:1", "rbf:3")
  config.lams = (0.1, 1.0, 10.0, 1e2, 1e3, 1e5)
  config.shrinkage = 0.1  # of the covariance of the baseline CM
  config.banana = {
    "seeds": 20,
    "train": 100,  # of each class
    "test": 500,
    "difficulty": 0.6,
    "gamma": 0.3,
    "lams": (10.0, 1e3, 1e5),
    "lam": 1e3,  # of the claims and the figure; one of them
  }
  return presets.apply(config, preset, PRESETS)

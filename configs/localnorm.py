"""Yin, Scholte and Bohte, LocalNorm: Robust Image Classification Through Dynamically
Regularized Normalization (2021): Table 1, Fig. 5-8 for a small VGG.
"""

from ml_collections import ConfigDict

from lib.experiment import presets

READINGS = ("agn_clipped", "apn_centred", "apn_added", "mbn_kept")

PRESETS = {
  # Every path in a few seconds; its numbers mean nothing.
  "smoke": {
    "dataset": "synthetic:affine_glyphs?colour=1&size=8&n_train=96&n_test=32",
    "test_examples": 32,
    "seeds": 2,
    "channels": (3, 4),
    "train.epochs": 2,
    "train.batch_size": 16,
    "groups": 2,
    "levels.agn": (0.5,),
    "levels.apn": (),
    "levels.mbn": (0.3,),
    **{f"levels.{name}": () for name in READINGS},
    "corruptions": ("contrast",),
    "severities": (5,),
    "kinds": ("bn", "ln"),
    "agn_level": 0.5,
  },
  # VGG-19 on all of CIFAR-10, the paper's batch and groups, corruptions that need no files.
  # The test images under all conditions take 12 GB. projects/localnorm/README.md lists what
  # still departs from the paper.
  "paper": {
    "dataset": "tfds:cifar10",
    "channels": (64, 128, 256, 512, 512),
    "convolutions": (2, 2, 4, 4, 4),
    "augment": True,
    "train.epochs": 200,
    "sgd.learning_rate": 0.1,
    "corruptions": (
      *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
      *("gaussian_blur", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
      *("snow", "fog", "brightness", "saturate", "contrast", "pixelate", "elastic", "jpeg"),
    ),
    "severities": (1, 2, 3, 4, 5),
  },
  # What two cores can do of CIFAR-10 in some minutes: a tenth of it and a narrow network.
  "cifar10_cpu": {
    "dataset": "tfds:cifar10",
    "train_examples": 5120,
    "test_examples": 512,
    "channels": (16, 32, 32, 32, 32),
    "kinds": ("bn", "ln", "ghost", "group"),
    "train.epochs": 12,
    "corruptions": (),
    "levels.agn": (0.25, 0.5, 1.0),
    "levels.apn": (0.5,),
    "levels.mbn": (0.3,),
  },
}


def get_config(preset="default"):
  """Coloured affine glyphs, 16 × 16, a small VGG whose last norm sees 2 × 2 positions.

  Expect LocalNorm with voting to be far more robust than batch normalisation with stored
  statistics, and about as robust as batch normalisation with the test batch's. Some four
  minutes on two free CPU cores.
  """
  config = ConfigDict()
  config.seed = 0  # first seed; a seed fixes initial weights, order and groupings
  config.seeds = 6
  config.dataset = (
    "synthetic:affine_glyphs?colour=1&size=16&difficulty=0.55&n_train=3072&n_test=512"
  )
  config.train_examples = 0  # 0: all of the training split
  config.test_examples = 0  # 0: all of the test split
  config.augment = False  # random crops and flips
  config.channels = (8, 16, 32, 32)  # of the stages; a pool follows each
  config.convolutions = ()  # in each stage; empty: one
  config.kinds = ("bn", "ln", "ln_rate", "ghost", "group", "layer")  # ways to normalise
  config.kind = "ln"  # of the members of a sweep; a run trains all `kinds`
  config.groups = 8  # K
  config.group_channels = 4  # of a group of group normalisation
  config.train = {"epochs": 12, "batch_size": 128}
  config.sgd = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 5e-4}

  config.levels = {  # noise of sec. 4, before standardisation
    "agn": (0.25, 0.5, 1.0, 2.0),
    "apn": (0.25, 0.5, 1.0),
    "mbn": (0.1, 0.3, 0.5),
    "agn_clipped": (1.0,),  # other readings of what is printed, see noise.py
    "apn_centred": (0.5,),
    "apn_added": (0.5,),
    "mbn_kept": (0.3,),
  }
  config.agn_level = 1.0  # of the headline
  config.corruptions = (
    "gaussian_noise",
    "impulse_noise",
    "defocus_blur",
    "motion_blur",
    "fog",
    "brightness",
    "contrast",
    "saturate",
    "pixelate",
    "jpeg",
  )
  config.severities = (3, 5)
  return presets.apply(config, preset, PRESETS)

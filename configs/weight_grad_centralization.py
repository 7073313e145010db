"""Fuhl and Kasneci, Weight and Gradient Centralization in Deep Neural Networks (2021):
Tables 2 and 3 (models a and c).
"""

from ml_collections import ConfigDict

from lib.experiment import presets
from projects.weight_grad_centralization import methods

_CIFAR = {
  "dataset": "tfds:cifar10",
  "model.channels": (32, 64, 128),
  "model.hidden": (256, 128),
  "validation": 5000,
}
PRESETS = {
  # Every path in a few seconds; its numbers mean nothing.
  "smoke": {
    "dataset": "synthetic:affine_glyphs?colour=1&size=8&n_train=120&n_test=60",
    "validation": 20,
    "seeds": 2,
    "model.channels": (3, 4),
    "model.hidden": (8, 8),
    "train.epochs": 2,
    "train.batch_size": 50,
    "methods": ("base", "wn", "wc", "ws", "gc", "wc+gc", "wc+gc_fully", "ws_scaled"),
    "normalised": (),
    "optimizers": ("sgd",),
    "rates": (1.0, 2.0),
    "tuned": ("base", "wc"),
    "equivalence.steps": 5,
    "equivalence.networks": 1,
    "equivalence.optimizers": ("momentum",),
  },
  "paper": {
    **_CIFAR,
    "train.epochs": 100,
    "methods": tuple(methods.ALL),
    "normalised": methods.NORMALISED,
    "rates": (0.5, 1.0, 2.0, 4.0, 8.0),
    "normalised_rates": (1.0, 2.0, 4.0, 8.0, 16.0),
  },
  # What two cores can do of CIFAR-10 in 20 minutes: a twenty-fifth of it, and a
  # network of less than half the channels.
  "cifar10_cpu": {
    **_CIFAR,
    "train_examples": 2000,
    "validation": 1000,
    "model.channels": (12, 24, 48),
    "model.hidden": (64, 64),
    "train.epochs": 10,
    "seeds": 5,
    "adam.learning_rate": 2e-3,
    "rates": (0.5, 1.0, 2.0, 4.0, 8.0),
    "methods": ("base", "wn", "wc", "ws", "gc", "wc+gc", "wc+gc_fully"),
    "normalised": (),
  },
}


def get_config(preset="default"):
  """Coloured affine glyphs, 16 × 16: Tables 2 and 3 for the small networks, and controls.

  Expect weight centralisation to help without batch normalisation, and WC with GC to be WC
  alone under SGD. Some five minutes on two free CPU cores.
  """
  config = ConfigDict()
  config.seed = 0  # first seed; a seed fixes initial weights and the order of the examples
  config.seeds = 7
  config.dataset = (
    "synthetic:affine_glyphs?colour=1&size=16&difficulty=0.4&n_train=2000&n_test=2000"
  )
  config.train_examples = 0  # 0: all that are left
  config.validation = 400
  config.model = {
    "channels": (8, 16, 32),
    "hidden": (64, 64),  # of model c; model a, with batch normalisation, has the first alone
    "batch_norm": False,
    # Whether errors can be centred and kernels re-parametrised; the experiment sets both.
    "hooks": False,
  }
  config.train = {"epochs": 10, "batch_size": 100}
  config.optimizers = ("sgd", "adam")
  config.optimizer = "sgd"  # of a single run or a sweep
  config.sgd = {"learning_rate": 0.02, "momentum": 0.9, "weight_decay": 5e-4}
  config.adam = {"learning_rate": 4e-3, "weight_decay": 0.0}
  config.schedule = {"name": "cosine"}
  # Factors of the learning rate. All rows are trained at the one that is the baseline's best
  # on validation data, the tuned rows (with batch normalisation the baseline) at every one.
  config.rates = (1.0, 2.0, 4.0, 8.0)
  config.normalised_rates = (4.0, 8.0, 16.0)  # the same with batch normalisation
  config.tuned = ("base", "wc", "wc+gc")
  config.rate = 1.0  # of a single run or a sweep
  config.method = dict(zip(methods.NUMBERS, methods.TABLE_3["base"][1:], strict=True))

  # Rows of Tables 2 and 3 and of the controls, but for those that no claim is about.
  config.methods = tuple(
    row for row in methods.ALL if row not in ("ws+gc", "wc_fully", "gc_fully")
  )
  config.normalised = ("base", "wc", "ws", "wc+gc")
  config.equivalence = {  # WC against WC + GC, in float64
    "steps": 40,
    "networks": 3,
    "optimizers": ("sgd", "momentum", "nesterov", "adam", "clipping"),
  }
  return presets.apply(config, preset, PRESETS)

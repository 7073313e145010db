"""Liu and JaJa, Class-Similarity Based Label Smoothing for Confidence Calibration (2021).

The default trains an MLP on hierarchical Gaussian classes, whose posterior is known; 8 paired
seeds of 49 kinds of labels. `digits` has the scikit-learn digits, whose class names have no
embedding; `paper` is CIFAR-100 with the network that the text's "{16, 16, 32, 64} filters"
describe literally (a wide residual network of width 1).
"""

from ml_collections import ConfigDict

from lib.experiment import presets

PRESETS = {
  "smoke": {
    "seeds": 2,
    "data.test": 1000,
    "model.hidden": (32,),
    "train.epochs": 4,
    "autoencoder.steps": 50,
    "grid.alphas": (0.1, 0.3),
    "grid.betas": (1.0, 2.0),
    "grid.mixups": (0.2,),
    "dirichlet.penalties": (1e-2, 1.0),
    "dirichlet.iterations": 20,
    "points": 256,
  },
  "digits": {
    "dataset": "sklearn:digits",
    "data.train": 300,
    "data.validation": 500,
    "data.test": 997,
    "train.batch": 50,
    "train.epochs": 100,
    "autoencoder.latent": 16,
  },
  "paper": {
    "dataset": "tfds:cifar100",
    "seeds": 5,
    "data.validation": 5000,
    "data.distances": 50,
    "model.name": "resnet",
    "train.batch": 128,
    "train.epochs": 200,
    "train.schedule": "piecewise",
    "train.milestones": (0.3, 0.6, 0.8),
    "train.augment": True,
    "autoencoder.hidden": 1024,
    "autoencoder.latent": 256,
    "autoencoder.steps": 20_000,
    "points": 4096,
  },
}


def get_config(preset="default"):
  """What to expect, and how long it takes."""
  config = ConfigDict()
  config.seed = 0  # the first of
  config.seeds = 8  # so many consecutive seeds
  config.dataset = "hierarchical"  # or a name that lib.data knows
  config.embeddings = ""  # .npy file with a vector for the name of each class (K, d)
  config.unseen = ""  # a data set of other classes, where the classes are not synthetic
  config.data = ConfigDict()
  config.data.train, config.data.validation, config.data.test = 2000, 2000, 10_000
  config.data.distances = 0  # examples of each class that distances are taken of; 0: all
  config.mixture = ConfigDict({"classes": 20, "groups": 5, "dim": 32})
  config.mixture.between, config.mixture.within, config.mixture.noise = 0.6, 0.3, 1.0
  config.mixture.embedding_noise = 0.1  # of the "word vectors", which are the noisy centres
  config.model = ConfigDict({"name": "mlp", "hidden": (128, 128), "depth": 26, "width": 16})
  config.train = ConfigDict()
  config.train.epochs, config.train.batch = 75, 100
  config.train.learning_rate, config.train.momentum = 0.1, 0.9
  config.train.weight_decay = 5e-4
  config.train.schedule, config.train.milestones = "piecewise", (0.5, 0.75)
  config.train.factor = 0.2  # of the learning rate at each milestone
  config.train.augment = False
  config.autoencoder = ConfigDict({"hidden": 64, "latent": 8, "steps": 1000, "batch": 100})
  config.labels = ConfigDict()
  config.labels.with_self = False  # whether d_k(k) counts when distances are standardised
  config.grid = ConfigDict()
  config.grid.alpha, config.grid.beta, config.grid.mixup = 0.1, 2.0, 0.2  # the paper's
  config.grid.alphas = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
  config.grid.betas = (0.5, 1.0, 2.0, 4.0, 6.0)
  config.grid.mixups = (0.2, 1.0, 2.0, 4.0, 8.0)
  config.dirichlet = ConfigDict({"iterations": 60})
  config.dirichlet.penalties = (1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)
  config.bins = 15
  config.points = 1024  # grid of the kernel densities
  return presets.apply(config, preset, PRESETS)

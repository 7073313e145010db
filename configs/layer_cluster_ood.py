"""Lehmann and Ebner, Layer-Wise Activation Cluster Analysis of CNNs to Detect
Out-of-Distribution Samples (2021): Tables 1 and 2 and the times.
"""

from ml_collections import ConfigDict

from lib.experiment import presets

_GLYPHS = "synthetic:affine_glyphs?size={size}&difficulty={difficulty}&n_train={n}&n_test={m}"
_MNIST = {
  "dataset": "tfds:mnist",
  "model.channels": (64, 128, 128),
  "model.sizes": (8, 6, 5),
  "train.epochs": 6,
  "train.batch_size": 128,
}
PRESETS = {
  # Every path in a few seconds; its numbers mean nothing.
  "smoke": {
    "dataset": _GLYPHS.format(size=12, difficulty=0.2, n=300, m=60),
    "natural.dataset": _GLYPHS.format(size=12, difficulty=0.2, n=1, m=120)
    + "&first=10&classes=26",
    "train_examples": 240,
    "calibration_examples": 60,
    "test_examples": 60,
    "fit_examples": 120,
    "seeds": 2,
    "model.channels": (4, 6, 6),
    "model.sizes": (3, 3, 2),
    "train.epochs": 4,
    "train.batch_size": 40,
    "attack_batch": 30,
    "attacks.bim.steps": 4,
    "attacks.pgd.steps": 4,
    "attacks.pgd_dlr.steps": 4,
    "neighbours": 5,
    "dimensions": 8,
    "umap.epochs": 10,
    "umap.transform_epochs": 4,
    "tsne.batch": 60,
    "tsne.perplexity": 10.0,
    "tsne.epochs": 3,
    "tsne.hidden": (16,),
    "kmeans.largest": 6,
    "kmeans.iterations": 4,
    "kmeans.restarts": 2,
    "timing.repeats": 0,
    "variants": ("flat",),
  },
  # The paper's network, radii and data; clusters are fitted to a sixth of the images. Not run.
  "paper": {
    **_MNIST,
    "natural.dataset": "tfds:kmnist",
    "natural.without": (),
    "train_examples": 59250,
    "calibration_examples": 750,
    "test_examples": 10000,
    "fit_examples": 10000,
    "attack_batch": 500,
    "neighbours": 75,
  },
  # The paper's SVHN, with CIFAR-10 as natural inputs, a seventh of it fitted. Not run.
  "svhn": {
    "dataset": "tfds:svhn_cropped",
    "natural.dataset": "tfds:cifar10",
    "natural.without": (),
    "model.channels": (64, 128, 128),
    "model.sizes": (8, 6, 5),
    "train.epochs": 18,
    "train.batch_size": 128,
    "schedule": {"name": "piecewise", "at": (10 / 18, 14 / 18, 16 / 18), "factor": 0.1},
    "attacks.fgsm.radius": 0.05,
    "attacks.bim": {"radius": 0.05, "step": 0.005, "steps": 20},
    "attacks.pgd.radius": 0.04,
    "train_examples": 72507,
    "calibration_examples": 750,
    "test_examples": 10000,
    "fit_examples": 10000,
    "attack_batch": 500,
    "neighbours": 75,
  },
  # What two cores can do of MNIST in some minutes: a sixth of it, a quarter of the channels.
  # Glyphs of letters stand in for KMNIST, so that MNIST is all that is needed.
  "mnist_cpu": {
    **_MNIST,
    "natural.dataset": _GLYPHS.format(size=28, difficulty=0.4, n=1, m=800)
    + "&first=10&classes=26",
    "natural.known": _GLYPHS.format(size=28, difficulty=0.4, n=1, m=400),
    "model.channels": (16, 32, 32),
    "train_examples": 10000,
    "calibration_examples": 500,
    "test_examples": 400,
    "fit_examples": 2000,
    "neighbours": 30,
    "seeds": 5,
    "variants": ("flat", "pool"),
  },
}


def get_config(preset="default"):
  """Affine glyphs, 16 × 16: digits to learn, letters and four attacks to detect.

  Expect every rate above the false positive rate, though far below the paper's, UMAP with the
  best silhouettes, and brute-force neighbours faster than the clusters while the training set
  has a few thousand examples. Two to three minutes on two CPU cores.
  """
  config = ConfigDict()
  config.seed = 0  # first seed; a seed fixes initial weights, order, attacks and projections
  config.seeds = 6
  config.dataset = _GLYPHS.format(size=16, difficulty=0.4, n=4000, m=600)
  # Natural out-of-distribution inputs: the test split, without letters that look like digits.
  config.natural = {
    "dataset": _GLYPHS.format(size=16, difficulty=0.4, n=1, m=1000) + "&first=10&classes=26",
    "without": tuple("BDGIOQSTZ"),
    "known": "",  # known classes in the style of these, if that is not the training set's own
  }
  config.train_examples = 3500
  config.calibration_examples = 500  # of the training split, held out for Deep k-NN
  config.test_examples = 600  # and as many natural ones
  config.fit_examples = 1500  # training examples whose activations are projected and clustered

  config.model = {"channels": (16, 32, 32), "sizes": (5, 4, 3)}
  config.train = {"epochs": 15, "batch_size": 100, "remainder": "drop"}
  config.optimizer = {"name": "adam", "learning_rate": 1e-3}
  config.schedule = {"name": "constant"}

  config.attack_batch = 100  # images attacked at once
  config.attacks = {  # the paper's for MNIST
    "fgsm": {"radius": 0.25},
    "bim": {"radius": 0.25, "step": 0.01, "steps": 100},
    "pgd": {"radius": 0.2, "step": 2 / 255, "steps": 40},
    "pgd_dlr": {"radius": 0.3, "step": 2 / 255, "steps": 40},
  }

  config.thresholds = (0.01, 0.05, 0.1)  # must contain config.threshold
  config.threshold = 0.05  # t of the headline
  config.variants = ("flat", "pool", "global")  # how activations become vectors
  config.dimensions = 50  # principal components
  config.umap = {
    "n_neighbors": 15,
    "min_dist": 0.1,
    "epochs": 200,
    "transform_epochs": 30,
    "negatives": 5,
  }
  config.tsne = {  # its network, and all but the perplexity: the network that imitates UMAP
    "perplexity": 30.0,
    "batch": 250,
    "epochs": 60,
    "hidden": (128, 128),
    "rate": 1e-2,
  }
  config.kmeans = {"least": 2, "largest": 20, "iterations": 25, "restarts": 3}
  config.dbscan = {"min_samples": 5, "quantiles": (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)}
  config.neighbours = 25  # k of Deep k-NN
  # Wall time of detection on the test images by size of the training set; 0 repeats: none.
  config.timing = {"repeats": 5, "examples": (1500, 6000, 24000)}
  config.member = 0  # which trained network, or projection of it; the experiment sets it
  return presets.apply(config, preset, PRESETS)

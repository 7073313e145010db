"""Loss functions: one equation, one function."""

from lib.losses.bottleneck import gaussian_kl, reparametrise
from lib.losses.classification import (
  confidence_penalty,
  entropy,
  label_smoothing,
  uniform_kl,
)
from lib.losses.decay import kernels_only, l2
from lib.losses.labels import (
  centre_distances,
  class_distances,
  class_similarities,
  mixup,
  similarity_labels,
  uniform_labels,
)

__all__ = [
  "centre_distances",
  "class_distances",
  "class_similarities",
  "confidence_penalty",
  "entropy",
  "gaussian_kl",
  "kernels_only",
  "l2",
  "label_smoothing",
  "mixup",
  "reparametrise",
  "similarity_labels",
  "uniform_kl",
  "uniform_labels",
]

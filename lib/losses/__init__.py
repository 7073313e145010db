"""Loss functions: one equation, one function."""

from lib.losses.bottleneck import gaussian_kl, reparametrise
from lib.losses.classification import (
  confidence_penalty,
  entropy,
  label_smoothing,
  uniform_kl,
)
from lib.losses.decay import kernels_only, l2

__all__ = [
  "confidence_penalty",
  "entropy",
  "gaussian_kl",
  "kernels_only",
  "l2",
  "label_smoothing",
  "reparametrise",
  "uniform_kl",
]

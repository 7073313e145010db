"""Loss functions: one equation, one function.

Of a classifier's logits they give one number an example, in nats; a penalty of the parameters
is one number.

>>> import jax.numpy as jnp
>>> confident = jnp.array([10.0, 0.0, 0.0])
>>> round(float(entropy(confident)), 4), round(float(entropy(jnp.zeros(3))), 4)  # 0 to log 3
(0.001, 1.0986)
"""

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

"""Certified bounds of piecewise linear networks: Lipschitz constants by branch and bound.

The bounds hold for the given floats in exact arithmetic, whenever the search is stopped.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> weights = [rng.normal(size=shape) for shape in ((2, 8), (8, 8), (8, 1))]  # x @ W + b
>>> biases = [rng.normal(size=8), rng.normal(size=8), np.zeros(1)]
>>> result = lipschitz_constant((weights, biases), lower=-1.0, upper=1.0, p=2)
>>> result.exact, bool(result.lower_bound <= result.upper_bound < result.first_estimate)
(True, True)
"""

from lib.verification.lipschitz import Progress, Result, as_network, lipschitz_constant
from lib.verification.networks import (
  ACTIVATIONS,
  Affine,
  AveragePool,
  Convolution,
  Network,
  from_arrays,
  from_flax,
  from_npz,
  from_sklearn,
  sequential,
  to_npz,
)

__all__ = [
  "ACTIVATIONS",
  "Affine",
  "AveragePool",
  "Convolution",
  "Network",
  "Progress",
  "Result",
  "as_network",
  "from_arrays",
  "from_flax",
  "from_npz",
  "from_sklearn",
  "lipschitz_constant",
  "sequential",
  "to_npz",
]

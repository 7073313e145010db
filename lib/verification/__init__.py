"""Certified bounds of piecewise linear networks: Lipschitz constants by branch and bound."""

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

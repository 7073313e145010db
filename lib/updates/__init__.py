"""Learning rules as pure functions: plasticity of synapses, centralisation of weights."""

from lib.updates.centralisation import (
  centralise_gradients,
  centre,
  centre_errors,
  is_convolution,
  is_kernel,
  map_kernels,
  normalise,
  standardise,
)
from lib.updates.delay_variance import (
  acceleration,
  delay_change,
  sdvl,
  simplified_sdvl,
  variance_change,
)
from lib.updates.plasticity import Rule, Synapses, no_learning
from lib.updates.stdp import pair_stdp

__all__ = [
  "Rule",
  "Synapses",
  "acceleration",
  "centralise_gradients",
  "centre",
  "centre_errors",
  "delay_change",
  "is_convolution",
  "is_kernel",
  "map_kernels",
  "no_learning",
  "normalise",
  "pair_stdp",
  "sdvl",
  "simplified_sdvl",
  "standardise",
  "variance_change",
]

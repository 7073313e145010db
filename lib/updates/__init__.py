"""Learning rules as pure functions: plasticity of spiking synapses."""

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
  "delay_change",
  "no_learning",
  "pair_stdp",
  "sdvl",
  "simplified_sdvl",
  "variance_change",
]

"""Learning rules as pure functions: plasticity of synapses, centralisation of weights.

A `Rule` says what an output spike does to the synapses of its neuron, and what an input spike
does to the one it came through; `lib.dynamics.spiking` runs it.

>>> import jax.numpy as jnp
>>> rule = simplified_sdvl()
>>> synapses = Synapses(delay=jnp.array([5.0, 5.0]), variance=jnp.array([2.0, 2.0]))
>>> learnt = rule.post(synapses, jnp.array([12.0, 5.0]))  # input spikes 12 and 5 ms before
>>> [f"{delay:.2f}, {variance:.2f}" for delay, variance in zip(*learnt[:2])]  # ms, ms²
['5.34, 1.66', '5.00, 1.66']
"""

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

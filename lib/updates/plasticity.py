"""Learning rules of spiking synapses as pure functions with one signature.

A `Rule` says what an output spike does to the synapses of the neuron that fired, and what an
input spike does to the synapse that it came through. Times are in steps of 1 ms, arrays have
the afferents on their last axis, and everything broadcasts over axes before it (neurons of a
layer, seeds).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

Array = jax.Array


class Synapses(NamedTuple):
  """Parameters of the synapses of a layer, each (..., afferents).

  Attributes:
    delay: μ, ms, from a spike to the peak of its current.
    variance: σ, ms², of the current's Gaussian.
    weight: factor of the current, or None where every synapse has weight 1.
  """

  delay: Array
  variance: Array
  weight: Array | None = None


class Rule(NamedTuple):
  """A learning rule.

  Attributes:
    post: (synapses, since_input) -> synapses after an output spike; since_input
      (..., afferents) are the ms since each afferent's last spike (0: in the same ms).
    pre: (since_output) -> change of the weight of a synapse whose input spikes so many ms
      after the neuron's last output spike, or None for a rule without one.
    bound: synapses -> synapses inside their ranges, applied after the changes of `pre`.
  """

  post: Callable[[Synapses, Array], Synapses]
  pre: Callable[[Array], Array] | None = None
  bound: Callable[[Synapses], Synapses] = lambda synapses: synapses


def no_learning() -> Rule:
  """Nothing changes: a test, or the untrained neuron."""
  return Rule(post=lambda synapses, since_input: synapses)

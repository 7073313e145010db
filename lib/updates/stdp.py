"""Pair-based spike-timing-dependent plasticity of weights."""

import jax
import jax.numpy as jnp

from lib.updates.plasticity import Array, Rule, Synapses


def pair_stdp(
  *,
  potentiation: jax.typing.ArrayLike = 0.03125,
  depression: jax.typing.ArrayLike = 0.0265625,
  potentiation_time: jax.typing.ArrayLike = 16.8,
  depression_time: jax.typing.ArrayLike = 33.7,
  weight_range: tuple[float, float] = (0.0, 1.0),
) -> Rule:
  """Additive STDP with nearest neighbours.

      Δw = +A₊ exp(−t/τ₊)  at an output spike, t ms after the input's last spike,
      Δw = −A₋ exp(−t/τ₋)  at an input spike, t ms after the last output spike,

  clipped to the range. The defaults are those of Masquelier, Guyonneau and Thorpe (2008),
  Spike timing dependent plasticity finds the start of repeating patterns in continuous spike
  trains, where such a neuron finds a pattern hidden in balanced Poisson noise. An input and
  an output spike in the same ms count as input first, t = 0.

  Args:
    potentiation, depression: A₊ and A₋ in units of weight.
    potentiation_time, depression_time: τ₊ and τ₋, ms.
    weight_range: bounds of the weight.
  """

  def bound(synapses: Synapses) -> Synapses:
    return synapses._replace(weight=jnp.clip(synapses.weight, *weight_range))

  def post(synapses: Synapses, since_input: Array) -> Synapses:
    change = potentiation * jnp.exp(-since_input / potentiation_time)
    return bound(synapses._replace(weight=synapses.weight + change))

  def pre(since_output: Array) -> Array:
    return -depression * jnp.exp(-since_output / depression_time)

  return Rule(post, pre, bound)

"""Information carried by channels and networks: capacities, bounds and regularisers.

A linear map with noise at its output has an exact capacity, by water filling; networks have a
bound and a surrogate that can be trained against.

>>> import jax.numpy as jnp
>>> weight = jnp.diag(jnp.array([2.0, 1.0, 0.1]))
>>> filled = water_filling(jnp.array([4.0, 1.0, 0.01]), power=1.0)  # squared singular values
>>> filled.powers.tolist()
[0.875, 0.125, 0.0]
>>> round(float(mic_linear(weight, power=1.0)), 4)  # nats
0.8109
"""

from lib.information.complexity import (
  CODE,
  PAPER,
  Block,
  Reading,
  eic_trace,
  fake_inputs,
  gain_mean_and_spread,
  mean_output_trace,
  mic_surrogate,
  regulariser,
)
from lib.information.water_filling import (
  CapacityBounds,
  WaterFilling,
  capacity_bounds,
  gaussian_information,
  mic_linear,
  water_filling,
)

__all__ = [
  "CODE",
  "PAPER",
  "Block",
  "CapacityBounds",
  "Reading",
  "WaterFilling",
  "capacity_bounds",
  "eic_trace",
  "fake_inputs",
  "gain_mean_and_spread",
  "gaussian_information",
  "mean_output_trace",
  "mic_linear",
  "mic_surrogate",
  "regulariser",
  "water_filling",
]

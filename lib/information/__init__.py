"""Information carried by channels and networks: capacities, bounds and regularisers."""

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

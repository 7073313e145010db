"""Differential equations (explicit integrators over pytrees) and spiking neurons."""

from lib.dynamics import balanced_input, counter_random, patterns, spike_trains, spiking
from lib.dynamics.integrators import euler_step, fixed_steps, rk4_step, tsit5

__all__ = [
  "balanced_input",
  "counter_random",
  "euler_step",
  "fixed_steps",
  "patterns",
  "rk4_step",
  "spike_trains",
  "spiking",
  "tsit5",
]

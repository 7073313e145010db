"""Dynamical systems: integrators of differential equations, Hamiltonian, spiking networks."""

from lib.dynamics import (
  balanced_input,
  counter_random,
  couplings,
  gauss,
  hamiltonian,
  invariants,
  lagrangean,
  linear_algebra,
  nonlinearities,
  patterns,
  rate_networks,
  spike_trains,
  spiking,
  splitting,
)
from lib.dynamics.integrators import euler_step, fixed_steps, rk4_step, tsit5
from lib.dynamics.trajectories import integrate, require_converged

__all__ = [
  "balanced_input",
  "counter_random",
  "couplings",
  "euler_step",
  "fixed_steps",
  "gauss",
  "hamiltonian",
  "integrate",
  "invariants",
  "lagrangean",
  "linear_algebra",
  "nonlinearities",
  "patterns",
  "rate_networks",
  "require_converged",
  "rk4_step",
  "spike_trains",
  "spiking",
  "splitting",
  "tsit5",
]

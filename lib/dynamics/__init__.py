"""Dynamical systems: integrators of differential equations, Hamiltonian, spiking networks.

`integrate` takes explicit, symplectic and adaptive methods on any pytree; `hamiltonian`,
`lagrangean` and `couplings` make fields, `invariants` watches what should be conserved.
`spiking`, `balanced_input` and `patterns` simulate spiking neurons driven by events.

>>> import jax.numpy as jnp
>>> def rotation(t, y):
...   return jnp.array([y[1], -y[0]])
>>> turn = jnp.linspace(0.0, 2 * jnp.pi, 5)
>>> found = integrate(rotation, jnp.array([1.0, 0.0]), turn, method="gauss6", substeps=8)
>>> bool(jnp.allclose(found.final, jnp.array([1.0, 0.0]), atol=1e-5))
True
"""

from lib.dynamics import (
  balanced_input,
  counter_random,
  couplings,
  gauss,
  hamiltonian,
  invariants,
  lagrangean,
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

"""Differential equations: explicit and structure-preserving integrators, networks."""

from lib.dynamics.integrators import euler_step, fixed_steps, rk4_step, tsit5
from lib.dynamics.trajectories import integrate, require_converged

__all__ = ["euler_step", "fixed_steps", "integrate", "require_converged", "rk4_step", "tsit5"]

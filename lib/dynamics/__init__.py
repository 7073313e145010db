"""Differential equations: explicit integrators over pytrees."""

from lib.dynamics.integrators import euler_step, fixed_steps, rk4_step, tsit5

__all__ = ["euler_step", "fixed_steps", "rk4_step", "tsit5"]

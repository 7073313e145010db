"""Dissipative networks of real neurons: linear DCM and continuous Hopfield."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Array = jax.Array


def dcm_field(coupling: Array, gain: Array, source: Array, noise: Array) -> Callable:
  """dx/dt = Ω x + Γ V + W, the bilinear-free model of dynamic causal modelling.

  With a real symmetric Ω (N, N) its eigenvalues are real, so that it grows or decays and never
  oscillates; its divergence is tr Ω.
  """
  drive = gain @ source + noise
  return lambda t, x: coupling @ x + drive


def hopfield_field(weights: Array, drive: Array, activation: Callable = jnp.tanh) -> Callable:
  """dx/dt = −x + Ω σ(x) + I (Hopfield 1984 with unit time constants), weights (N, N)."""
  return lambda t, x: -x + weights @ activation(x) + drive


def hopfield_energy(weights: Array, drive: Array, x: Array) -> Array:
  """−½ σᵀΩσ − Iᵀσ + Σ ∫_0^σ artanh, which falls along `hopfield_field` for tanh."""
  s = jnp.tanh(x)
  # ∫_0^s artanh = s artanh(s) + ½ log(1 − s²), and log(1 − tanh²x) = −2 log cosh x
  cost = s * x - (jnp.logaddexp(x, -x) - jnp.log(2.0))
  return -0.5 * s @ (weights @ s) - drive @ s + cost.sum()

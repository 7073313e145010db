"""Splitting methods: a field as a sum of parts whose flows are known, or easier.

A flow is (t, y, h) -> (y after h, Inner). Strang's composition is of order 2, symmetric, and
symplectic if its parts are; the triple jump of Suzuki and Yoshida raises a symmetric method of
order 2 to order 4 (Hairer, Lubich and Wanner, secs. II.4, II.5).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lib.dynamics import gauss, trajectories
from lib.dynamics.gauss import Inner


def strang(outer: Callable, inner: Callable) -> Callable:
  """The flow ½ outer, inner, ½ outer."""

  def flow(t, y, h):
    y, first = outer(t, y, h / 2)
    y, middle = inner(t, y, h)
    y, last = outer(t + h / 2, y, h / 2)
    return y, _worst(first, middle, last)

  return flow


def triple_jump(flow: Callable) -> Callable:
  """Order 4 from a symmetric flow of order 2: steps w h, (1 − 2 w) h, w h."""
  w = 1 / (2 - 2 ** (1 / 3))

  def composed(t, y, h):
    y, first = flow(t, y, w * h)
    y, second = flow(t + w * h, y, (1 - 2 * w) * h)
    y, third = flow(t + (1 - w) * h, y, w * h)
    return y, _worst(first, second, third)

  return composed


def gauss_flow(field: gauss.Field, stages: int = 1) -> Callable:
  """The flow of a part by one step of Gauss-Legendre."""
  return lambda t, y, h: gauss.gauss_step(field, t, y, h, stages_count=stages)


def exact_flow(function: Callable) -> Callable:
  """A flow known in closed form, (t, y, h) -> y."""

  def flow(t, y, h):
    y = function(t, y, h)
    return y, trajectories.exact_inner(y, 0)

  return flow


def method(flow: Callable, order: int) -> trajectories.Method:
  """A flow as a method of `integrate`; the field given there is not used."""

  def step(field, t, y, h, carry):
    new, inner = flow(t, y, h)
    return jax.tree.map(lambda a, b: a - b, new, y), carry, inner

  return trajectories.Method(lambda field, t, y, h: (), step, order, True)


def _worst(*parts: Inner) -> Inner:
  residual = jnp.stack([p.residual for p in parts]).max()
  iterations = sum(p.iterations for p in parts)
  converged = jnp.stack([p.converged for p in parts]).all()
  return Inner(residual, iterations, converged)

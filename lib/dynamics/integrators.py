"""Explicit integrators of dy/dt = F(y) for any pytree y, in the dtype of y.

A step is `step(field, y, h) -> y(t + h)`; `fixed_steps` repeats one under a compiled loop.
Gradient descent with step h is `euler_step` on the gradient flow, so a method of higher order
at the same h measures what the discretisation does.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
from jax import lax

State = TypeVar("State")
Field = Callable[[State], State]
Step = Callable[[Field, State, jax.typing.ArrayLike], State]


def _add(y: State, scale, dy: State) -> State:
  return jax.tree.map(lambda a, b: a + scale * b, y, dy)


def euler_step(field: Field, y: State, h: jax.typing.ArrayLike) -> State:
  """y + h F(y): order 1."""
  return _add(y, h, field(y))


def rk4_step(field: Field, y: State, h: jax.typing.ArrayLike) -> State:
  """The classical method of Runge and Kutta: order 4, four evaluations of F.

  y + h/6 (k1 + 2 k2 + 2 k3 + k4),
  k1 = F(y), k2 = F(y + h k1/2), k3 = F(y + h k2/2), k4 = F(y + h k3).
  """
  k1 = field(y)
  k2 = field(_add(y, h / 2, k1))
  k3 = field(_add(y, h / 2, k2))
  k4 = field(_add(y, h, k3))
  slope = jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, k1, k2, k3, k4)
  return _add(y, h, slope)


def fixed_steps(
  step: Step, field: Field, y: State, h: jax.typing.ArrayLike, steps: int
) -> State:
  """y after so many steps of size h.

  Raises:
    ValueError: steps < 0.
  """
  if steps < 0:
    raise ValueError(f"steps must not be negative, got {steps}")
  return lax.fori_loop(0, steps, lambda _, state: step(field, state, h), y)


def tsit5(
  field: Field,
  y: State,
  duration: jax.typing.ArrayLike,
  *,
  rtol: float = 1e-5,
  atol: float = 1e-7,
  max_steps: int = 100_000,
) -> State:
  """y after `duration` by the adaptive method of order 5(4) of Tsitouras (2011), with diffrax.

  Args:
    field: F, autonomous.
    y: initial state, any pytree of floating arrays.
    duration: time to go, > 0.
    rtol, atol: local error tolerances of the step-size controller; in float32 an rtol below
      1e-6 only costs steps.
    max_steps: limit, beyond which diffrax raises.
  """
  import diffrax

  solution = diffrax.diffeqsolve(
    diffrax.ODETerm(lambda t, state, args: field(state)),
    diffrax.Tsit5(),
    t0=0.0,
    t1=duration,
    dt0=None,
    y0=y,
    saveat=diffrax.SaveAt(t1=True),
    stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
    max_steps=max_steps,
  )
  return jax.tree.map(lambda leaf: leaf[-1], solution.ys)

"""Monitors of conserved quantities along a trajectory."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np


def monitor(**quantities: Callable) -> Callable:
  """A `save` for `integrate` that keeps named functions of the state alone.

  >>> save = monitor(norm=lambda y: (y**2).sum())
  >>> {name: float(value) for name, value in save(0.0, np.array([3.0, 4.0])).items()}
  {'norm': 25.0}
  """
  return lambda t, y: {name: quantity(y) for name, quantity in quantities.items()}


def relative_change(values, axis: int = 0):
  """(I(t) − I(0)) / |I(0)| along an axis of times."""
  first = jnp.take(values, jnp.array([0]), axis)
  return (values - first) / jnp.abs(first)


def drift(values, axis: int = 0):
  """max_t |I(t) − I(0)| / |I(0)|."""
  return jnp.abs(relative_change(values, axis)).max(axis)


def growth(values, parts: int = 5):
  """How the drift's running maximum grows with time: the exponent of t (host, NumPy).

  Bounded oscillation gives 0, a random walk ½, a secular error 1. The fit takes the running
  maximum of |I(t) − I(0)| at the ends of `parts` spans that double, the last one at the end.

  Args:
    values: (..., T) at equally spaced times.
    parts: how many spans, at most log2(T). The shortest, T/2^(parts − 1), should hold a few
      oscillations, or their beginning is taken for growth.

  Returns:
    (...,) exponents.
  """
  values = np.asarray(values, np.float64)
  top = np.maximum.accumulate(np.abs(values - values[..., :1]), -1)
  last = values.shape[-1] - 1
  at = np.unique([last // 2**k for k in range(parts) if last // 2**k >= 1])
  x = np.log(at)
  x = x - x.mean()
  y = np.log(np.maximum(top[..., at], np.finfo(np.float64).tiny))
  return (y @ x) / (x @ x)

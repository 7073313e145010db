"""Cumulative sums of the parameters over the neurons, as processes on [0, 1].

    P_{k/m} = m^{-1/2} Σ_{j≤k} p_j,   linear between the points k/m,
for p = a, a0, b. They are kept on a grid of s, not on all m points.
"""

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def grid(points: int) -> np.ndarray:
  """s = 0, 1/G, ..., 1, (G + 1,)."""
  return np.linspace(0.0, 1.0, points + 1)


def cumulative_sum(values: Array, points: int) -> Array:
  """The process of `values` on the grid of s.

  Args:
    values: (..., m), one parameter of each neuron, in order.
    points: G.

  Returns:
    (..., G + 1), P_0 = 0. Sums first inside the G intervals, then over them, so that float32
    keeps its digits at large m. No array larger than `values` is made.
  """
  m = values.shape[-1]
  if points < 1:
    raise ValueError(f"points must be positive, got {points}")
  if m % points == 0:
    inside = values.reshape(*values.shape[:-1], points, m // points).sum(-1)
    boundary = 0.0
  else:
    exact = np.arange(points + 1) * m / points  # s_g m
    whole = np.floor(exact + 1e-9).astype(int)
    longest = int(np.max(np.diff(whole)))
    index = whole[:-1, None] + np.arange(longest)
    kept = index < whole[1:, None]
    inside = jnp.where(kept, values[..., np.minimum(index, m - 1)], 0).sum(-1)
    fraction = np.maximum(exact - whole, 0.0).astype(np.float32)[1:]
    boundary = fraction * values[..., np.minimum(whole[1:], m - 1)]
  sums = (jnp.cumsum(inside, axis=-1) + boundary) / np.sqrt(m).astype(np.float32)
  return jnp.concatenate([jnp.zeros_like(sums[..., :1]), sums], axis=-1)

"""Hypervolume, pure diversity and spacing of the solutions of all trials (sec. 4.1).

Objectives are put on [0, 1] by the extent of a front. As printed, that is the front of all
solutions of all trials ("pooled"). Trials have different test parts, whose difficulty differs
by more than the solutions of a trial do: hence also the front of each trial ("own"), of the
four variants together, which does not depend on the luck of the split.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lib import search

PAPER = ("EIG", "EI", "EG", "E")
_OBJECTIVES = {"EIG": (0, 1, 2), "EI": (0, 1), "EG": (0, 2)}
_REFERENCE = 1.1


def extent(points):
  """Smallest and largest value of each objective on the front of some points, (…, 3)."""
  front = search.pareto_front(points)
  low, high = front.min(0), front.max(0)
  return low, np.where(high > low, high, low + 1e-6)


def normalise(points, low, high):
  """(f − low) / (high − low), in float64 and then float32."""
  points = np.asarray(points, np.float64)
  return ((points - low) / (high - low)).astype(np.float32)


@functools.cache
def _functions():
  """Compiled indicators of (seeds, …, points, objectives)."""

  def volume(points):
    return search.hypervolume(points, jnp.full(points.shape[-1], _REFERENCE))

  # one trial after the other: all generations of all trials at once would need much memory
  return {
    "volume": jax.jit(lambda p: jax.lax.map(jax.vmap(volume), p)),
    "diversity": jax.jit(jax.vmap(search.pure_diversity)),
    "spacing": jax.jit(jax.vmap(search.spacing)),
  }


def volumes(points, low, high):
  """Hypervolumes of (seeds, generations, points, 3 or fewer); fewer are padded with zeros.

  An objective that is 0 for all multiplies the volume by the reference, which is undone.
  """
  scaled = normalise(points, low, high)
  missing = 3 - scaled.shape[-1]
  scaled = np.pad(scaled, [(0, 0)] * (scaled.ndim - 1) + [(0, missing)])
  return np.asarray(_functions()["volume"](scaled)) / _REFERENCE**missing


def of_all(conditions):
  """Indicators of every condition: {name: {indicator: (seeds,) or (seeds, generations)}}.

  `hv`: three objectives, test part, pooled front, every generation (Fig. 3, Table 1);
  `hv_own`: the same with the trial's own front; `hv_validation`: the variant's own objectives
  on the validation part and the trial's own front (Fig. 2); `pd`, `spacing`: final solutions,
  test part, pooled front (Table 3); `hv_shifted`: of the shifted models, own front.
  """
  test = {name: np.asarray(c["test"])[..., :3] for name, c in conditions.items()}
  checked = {name: np.asarray(c["validation"])[..., :3] for name, c in conditions.items()}
  final = np.stack([test[name][:, -1] for name in PAPER], 1)  # (seeds, variants, points, 3)
  pooled = extent(final)
  low, high = _stacked([extent(trial) for trial in final])
  final = np.stack([checked[name][:, -1] for name in PAPER], 1)
  checked_low, checked_high = _stacked([extent(trial) for trial in final])
  found = {}
  for name, points in test.items():
    ends = normalise(points[:, -1], *pooled)
    found[name] = {
      "hv": volumes(points, *pooled),
      "hv_own": volumes(points, low, high),
      "pd": np.asarray(_functions()["diversity"](ends)),
      "spacing": np.asarray(_functions()["spacing"](ends)),
    }
    if name in _OBJECTIVES:
      own = list(_OBJECTIVES[name])
      found[name]["hv_validation"] = volumes(
        checked[name][..., own], checked_low[..., own], checked_high[..., own]
      )
  # once a generation, to be the program that is compiled already
  shifted = np.asarray(conditions["E"]["shifted"])[:, None, :, :3]
  shifted = np.broadcast_to(shifted, test["E"].shape)
  found["E"]["hv_shifted"] = volumes(shifted, low, high)[:, -1]
  return found


def _stacked(extents):
  """[(low, high) of each trial] as two arrays (seeds, 1, 1, 3)."""
  return (np.stack(part)[:, None, None] for part in zip(*extents, strict=True))

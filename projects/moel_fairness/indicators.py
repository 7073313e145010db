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
_NOTHING = 1e-6  # an extent that is none


def extent(points):
  """Smallest and largest value of each objective on the front of some points, (…, 3)."""
  front = search.pareto_front(points)
  low, high = front.min(0), front.max(0)
  return low, np.maximum(high, low + _NOTHING)


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

  `hv`: three objectives, test part, pooled front, every generation (Fig. 3, Table 1).
  `hv_own`: the same with the front of each trial, the control without selection included.
  `hv_validation`: the variant's own objectives on the validation part, front of the trial's
  four variants (Fig. 2).
  `pd`, `spacing`: final solutions, test part, pooled front (Table 3); `pd_self`,
  `spacing_self`: each set of solutions scaled by its own smallest and largest values.
  `hv_wide`: final solutions of EIG and, under E, of its shifted models; their front in a
  trial.
  """
  test = {name: np.asarray(c["test"])[..., :3] for name, c in conditions.items()}
  checked = {name: np.asarray(c["validation"])[..., :3] for name, c in conditions.items()}
  shifted = np.asarray(conditions["E"]["shifted"])[..., :3]

  pooled = extent([test[name][:, -1] for name in PAPER])
  own = _by_trial([test[name][:, -1] for name in (*PAPER, "none")])
  wide = _by_trial([test["EIG"][:, -1], shifted])
  own_checked = _by_trial([checked[name][:, -1] for name in PAPER])
  found = {}
  for name, points in test.items():
    ends = points[:, -1]
    least = ends.min(1, keepdims=True)
    spread = np.maximum(ends.max(1, keepdims=True) - least, _NOTHING)
    found[name] = {"hv": volumes(points, *pooled), "hv_own": volumes(points, *own)}
    for scale, limits in (("", pooled), ("_self", (least, least + spread))):
      scaled = normalise(ends, *limits)
      found[name] |= {
        f"pd{scale}": np.asarray(_functions()["diversity"](scaled)),
        f"spacing{scale}": np.asarray(_functions()["spacing"](scaled)),
      }
    if name in _OBJECTIVES:
      columns = list(_OBJECTIVES[name])
      found[name]["hv_validation"] = volumes(
        checked[name][..., columns], *(limit[..., columns] for limit in own_checked)
      )
  for name, ends in (("EIG", test["EIG"][:, -1]), ("E", shifted)):
    # once a generation, to be the program that is compiled already
    repeated = np.broadcast_to(ends[:, None], test[name].shape)
    found[name]["hv_wide"] = volumes(repeated, *wide)[:, -1]
  return found


def _by_trial(parts):
  """Extents of each trial's front of [(seeds, points, 3)], two arrays (seeds, 1, 1, 3)."""
  extents = [extent(trial) for trial in np.concatenate(parts, 1)]
  return [np.stack(part)[:, None, None] for part in zip(*extents, strict=True)]

"""Hypervolume, pure diversity and spacing of the solutions of all trials (sec. 4.1).

Objectives are put on [0, 1] by the extent of a front of the four variants. As printed, that is
the front of all solutions found in all trials, which can mean the final ones or those of every
generation. Trials have different test parts, whose difficulty differs by more than the
solutions of a trial do: hence also the front of each trial ("own"), which does not depend on
the luck of the split.
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
  """Smallest and largest value of each objective on the front of some points, (…, 3).

  The front is taken of each block along the first axis, and then of these fronts.
  """
  front = search.pareto_front(np.concatenate([search.pareto_front(p) for p in points]))
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

  Conditions with other inputs (a star) have none: they are not on the variants' scale.

  `hv`: three objectives, test part, front of the final solutions of all trials, every
  generation (Fig. 3, Table 1); `hv_found`: the same with the front of all generations.
  `hv_own`: the same with the front of the final solutions of each trial.
  `hv_validation`, `hv_validation_pooled`: the variant's own objectives on the validation part
  (Fig. 2), front of the final solutions of each trial and of all trials.
  `pd`, `spacing`: final solutions, test part, front of all trials (Table 3); `pd_self`,
  `spacing_self`: each set of solutions scaled by its own smallest and largest values.
  """
  names = [name for name in conditions if not name.endswith("*")]
  test = {name: np.asarray(conditions[name]["test"])[..., :3] for name in names}
  checked = {name: np.asarray(conditions[name]["validation"])[..., :3] for name in names}

  ends = np.stack([test[name][:, -1] for name in PAPER])
  everything = np.concatenate([np.moveaxis(test[name], 1, 0) for name in PAPER])
  ends_checked = np.stack([checked[name][:, -1] for name in PAPER])
  pooled, found_in_all = extent(ends), extent(everything)
  own, own_checked = _by_trial(ends), _by_trial(ends_checked)
  pooled_checked = extent(ends_checked)
  found = {}
  for name, points in test.items():
    final = points[:, -1]
    least = final.min(1, keepdims=True)
    spread = np.maximum(final.max(1, keepdims=True) - least, _NOTHING)
    scales = {"hv": pooled, "hv_found": found_in_all, "hv_own": own}
    found[name] = {which: volumes(points, *limits) for which, limits in scales.items()}
    for suffix, limits in (("", pooled), ("_self", (least, least + spread))):
      scaled = normalise(final, *limits)
      found[name] |= {
        f"pd{suffix}": np.asarray(_functions()["diversity"](scaled)),
        f"spacing{suffix}": np.asarray(_functions()["spacing"](scaled)),
      }
    columns = list(_OBJECTIVES.get(name, ()))
    scales = {"hv_validation": own_checked, "hv_validation_pooled": pooled_checked}
    for which, limits in scales.items() if columns else ():
      limits = [limit[..., columns] for limit in limits]
      found[name][which] = volumes(checked[name][..., columns], *limits)
  return found


def against(conditions):
  """Hypervolumes of F_EIG and one control each, on the front of the two in a trial.

  {control: {"ours", "theirs": (seeds,)}}, three objectives, final solutions, test part.
  `none`: networks trained without selection; `E_shifted`, `none_shifted`: the models of F_E
  and those without selection with other output biases.
  """
  controls = {
    "none": np.asarray(conditions["none"]["test"])[:, -1, :, :3],
    "E_shifted": np.asarray(conditions["E"]["shifted"])[..., :3],
    "none_shifted": np.asarray(conditions["none"]["shifted"])[..., :3],
  }
  ours = np.asarray(conditions["EIG"]["test"])[:, -1, :, :3]
  found = {}
  for name, theirs in controls.items():
    limits = _by_trial(np.stack([ours, theirs]))
    found[name] = {
      which: volumes(points[:, None], *limits)[:, 0]
      for which, points in (("ours", ours), ("theirs", theirs))
    }
  return found


def _by_trial(sets):
  """Extents of each trial's front of (sets, seeds, points, 3), two arrays (seeds, 1, 1, 3)."""
  extents = [extent(trial) for trial in np.moveaxis(sets, 1, 0)]
  return [np.stack(part)[:, None, None] for part in zip(*extents, strict=True)]

"""What Tables 1-3 and the figures show, from the results of `experiment.run`; trials first."""

import numpy as np

from lib.metrics import statistics

OBJECTIVES = ("MSE", "f_I", "f_G")
ORDER = ("EIG", "EI", "EG", "E")
RIVALS = ORDER[1:]
LEVEL = 0.05
_NOTHING = 1e-6  # a hypervolume that is none


def final(results, name, part="test"):
  """Criteria of the final models, (seeds, population, 4)."""
  return np.asarray(results["conditions"][name][part], np.float64)[:, -1]


def selected(results, name, objective, chosen_on="test"):
  """Test criteria of the model that is best in one objective, (seeds, 4) (Table 2).

  The best in an objective is never dominated, so the paper's restriction to non-dominated
  models changes nothing. The paper chooses on the test part itself.
  """
  index = OBJECTIVES.index(objective)
  best = final(results, name, chosen_on)[..., index].argmin(1)
  return np.take_along_axis(final(results, name), best[:, None, None], 1)[:, 0]


def least(results, name, objective, chosen_on="test"):
  """The least of an objective on the test part, (seeds,)."""
  found = selected(results, name, objective, chosen_on)
  return found[:, OBJECTIVES.index(objective)]


def indicator(results, name, which):
  """(seeds,), or (seeds, generations)."""
  return np.asarray(results["indicators"][name][which], np.float64)


def end(results, name, which="hv"):
  """A hypervolume after the last generation, (seeds,)."""
  return indicator(results, name, which)[:, -1]


def rise(results, name, which):
  """A hypervolume after the last and the first generation, (seeds,) each."""
  values = indicator(results, name, which)
  return values[:, -1], values[:, 0]


def against(results, control):
  """Hypervolumes of F_EIG and of a control on the front of the two, (seeds,) each."""
  found = results["against"][control]
  return tuple(np.asarray(found[which], np.float64) for which in ("ours", "theirs"))


def mean_over_models(results, name, part="validation"):
  """Mean over the population in every generation, (seeds, generations, 4)."""
  return np.asarray(results["conditions"][name][part], np.float64).mean(2)


def over_chance(results, name="E"):
  """f_G of the most accurate model over what true probabilities would have, (seeds,)."""
  best = final(results, name)[..., 0].argmin(1)[:, None]
  chance = np.asarray(results["conditions"][name]["chance"], np.float64)
  return selected(results, name, "MSE")[:, 2] / np.take_along_axis(chance, best, 1)[:, 0]


# --- final hypervolumes as printed ----------------------------------------------------------


def final_volumes(results, which="hv"):
  """Of the four variants, (seeds, 4)."""
  return np.stack([end(results, name, which) for name in ORDER], 1)


def shares(volumes):
  """Shares of the variance of (seeds, variants) between trials and between variants.

  The rest is of trial and variant together. Nothing varies: 0, 0.
  """
  whole = volumes.var()
  if whole == 0:
    return 0.0, 0.0
  return float(volumes.mean(1).var() / whole), float(volumes.mean(0).var() / whole)


def highest_share(volumes):
  """Share of the generations after the first in which the first variant's mean is the highest.

  (seeds, variants, generations); a tie is not the highest.
  """
  means = volumes.mean(0)[:, 1:]
  return float((means[0] > means[1:].max(0)).mean())


# --- Table 2 --------------------------------------------------------------------------------


def _by_ranks(ours, theirs):
  found = statistics.rank_sum(ours, theirs)
  return 0 if found.p >= LEVEL else int(np.sign(0.5 - found.superiority))


def _by_pairs(ours, theirs):
  found = statistics.paired_test(ours, theirs)
  return int(found.high < 0) - int(found.low > 0)


def domination(results, name="EIG", paired=False):
  """In how many of the nine comparisons of Table 2 a variant (is dominated, dominates).

  Of two selected models one dominates where it is significantly lower in one criterion or more
  and significantly higher in none: by rank-sum tests, or by paired 95 % intervals.
  """
  sign = _by_pairs if paired else _by_ranks
  lost = won = 0
  for rival in (other for other in ORDER if other != name):
    for objective in OBJECTIVES:
      ours, theirs = (selected(results, n, objective) for n in (name, rival))
      signs = np.array([sign(ours[:, i], theirs[:, i]) for i in range(3)])
      lost += bool((signs <= 0).all() and (signs < 0).any())
      won += bool((signs >= 0).all() and (signs > 0).any())
  return lost, won


# --- metrics --------------------------------------------------------------------------------


def metrics(results):
  """Means over the trials of what Tables 1-3 show, and of the controls."""
  flat = {}
  for name in results["conditions"]:
    if name in results["indicators"]:
      for which in ("hv", "hv_found", "hv_own"):
        flat[f"{which}/{name}"] = end(results, name, which).mean()
      for which in ("pd", "spacing", "pd_self", "spacing_self"):
        flat[f"{which}/{name}"] = indicator(results, name, which).mean()
    for objective in OBJECTIVES:
      values = selected(results, name, objective).mean(0)
      for label, value in zip((*OBJECTIVES, "mean_benefit"), values, strict=True):
        flat[f"best_{objective}/{name}/{label}"] = value
  for control in results["against"]:
    for which, values in zip(("EIG", "control"), against(results, control), strict=True):
      flat[f"hv_against/{control}/{which}"] = values.mean()
  flat["f_G_by_chance/E"] = np.asarray(results["conditions"]["E"]["chance"]).mean()
  for which in ("hv", "hv_found"):
    volumes = final_volumes(results, which)
    for label, share in zip(("trials", "variants"), shares(volumes), strict=True):
      flat[f"{which}_variance_share/{label}"] = share
    flat[f"{which}_zero_share"] = np.mean(volumes < _NOTHING)
  for label, paired in (("ranks", False), ("pairs", True)):
    for name in ("EIG", "E"):
      found = domination(results, name, paired)
      for what, count in zip(("lost", "won"), found, strict=True):
        flat[f"domination_by_{label}/{name}/{what}"] = count
  return flat

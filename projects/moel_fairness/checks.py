"""How each claim is decided.

Differences between variants are judged as in the paper, by Wilcoxon's rank-sum test at 0.05
over the trials; their size is shown as a paired difference with its t interval. Controls are
judged by that interval.
"""

import dataclasses

import numpy as np

from lib.experiment import claims as check
from lib.metrics import fairness, statistics
from projects.moel_fairness import quantities as q

TRAINED = {"EIG": (0, 1, 2), "EI": (0, 1), "EG": (0, 2)}  # objectives of the variants


def better(a, b, quantity, sign=1.0):
  """a exceeds b (sign 1) or is below it (−1): rank-sum test; paired difference for size.

  Without a significant difference it is partly so if the means differ as claimed, and not
  reproduced if they do not.
  """
  ranks, pairs = statistics.rank_sum(a, b), statistics.paired_test(a, b)
  superiority = ranks.superiority if sign > 0 else 1 - ranks.superiority
  if ranks.p >= q.LEVEL:
    as_claimed = sign * pairs.difference > 0
    decided = check.PARTLY if as_claimed else check.NOT_REPRODUCED
    word = f"{'better' if as_claimed else 'worse'} in the mean, not significantly"
  elif superiority > 0.5:
    decided, word = check.REPRODUCED, "significantly better"
  else:
    decided, word = check.NOT_REPRODUCED, "significantly worse"
  why = (
    f"{np.mean(a):.4g} against {np.mean(b):.4g}, {word} (rank-sum p = {ranks.p:.2g}; better "
    f"in {100 * superiority:.0f} % of pairs; paired difference {pairs.difference:.3g} "
    f"[{pairs.low:.3g}, {pairs.high:.3g}])."
  )
  return check.verdict(
    measured=pairs.difference,
    interval=(pairs.low, pairs.high),
    seeds=pairs.n,
    verdict=decided,
    why=why,
    quantity=quantity,
  )


def most(parts):
  """`claims.every`, but not reproduced too where no part is and most are not at all."""
  found = check.every(parts)
  verdicts = [part.verdict for part in parts.values()]
  if check.REPRODUCED in verdicts:
    return found
  if 2 * verdicts.count(check.NOT_REPRODUCED) > len(verdicts):
    return dataclasses.replace(found, verdict=check.NOT_REPRODUCED)
  return found


# --- Fig. 1-3 -------------------------------------------------------------------------------


def objectives_fall(results):
  """Mean over the population of each variant's own objectives, last minus first generation."""
  parts = {}
  for name, objectives in TRAINED.items():
    change = q.mean_over_models(results, name)[:, [0, -1]]
    for i in objectives:
      fall = change[:, 1, i] - change[:, 0, i]
      parts[f"F_{name}, {q.OBJECTIVES[i]}"] = check.below(fall, 0.0, quantity="change")
  return check.every(parts)


def below_unselected(results):
  """Mean over the final population of each objective, F_EIG against no selection."""
  ours, theirs = (q.mean_over_models(results, name)[:, -1] for name in ("EIG", "none"))
  return check.every(
    {
      name: check.greater(theirs[:, i], ours[:, i], quantity="no selection − F_EIG")
      for i, name in enumerate(q.OBJECTIVES)
    }
  )


def volume_rises(results):
  """Hypervolume in the variant's own objectives, validation part."""
  scales = {"all trials' front": "hv_validation_pooled", "trial's front": "hv_validation"}
  return check.every(
    {
      f"F_{name}, {scale}": check.greater(*q.rise(results, name, which), quantity="rise")
      for name in TRAINED
      for scale, which in scales.items()
    }
  )


_SCALES = {"HV as printed": "hv", "HV, trial's front": "hv_own"}


def error_alone(results):
  """F_E: test hypervolume rises, both unfairnesses fall."""
  parts = {
    scale: check.greater(*q.rise(results, "E", which), quantity="rise")
    for scale, which in _SCALES.items()
  }
  change = q.mean_over_models(results, "E", "test")[:, [0, -1]]
  for i, name in enumerate(q.OBJECTIVES[1:], 1):
    parts[name] = check.greater(change[:, 0, i], change[:, 1, i], quantity="fall")
  return check.every(parts)


def error_alone_fades(results):
  """F_E: the hypervolume rises less in the second half of the generations."""
  parts = {}
  for scale, which in _SCALES.items():
    values = q.indicator(results, "E", which)
    middle = values[:, values.shape[1] // 2]
    early, late = middle - values[:, 0], values[:, -1] - middle
    parts[scale] = check.greater(early, late, quantity="first − second half's rise")
  return check.every(parts)


def usually_highest(results):
  """Share of the generations in which F_EIG's mean hypervolume is the largest."""
  values = np.stack([q.indicator(results, name, "hv") for name in q.ORDER], 1)
  found = statistics.bootstrap(values, q.highest_share, resamples=500)
  return check.above(found, 0.5, quantity="share of generations")


# --- Tables 1-3 -----------------------------------------------------------------------------


def volume_above(rival):
  """Table 1, both readings of the front that sets the scale."""
  readings = {"front of the final solutions": "hv", "of all generations": "hv_found"}

  def decide(results):
    parts = {
      reading: better(
        q.end(results, "EIG", which), q.end(results, rival, which), f"HV of F_EIG − F_{rival}"
      )
      for reading, which in readings.items()
    }
    return check.every(parts)

  return decide


def not_dominated(name="EIG", paired=False):
  """At least 8 of the 9 selected models are not dominated (paper: 25 of 27)."""

  def decide(results):
    lost, won = q.domination(results, name, paired)
    decided = check.REPRODUCED if lost <= 1 else check.NOT_REPRODUCED
    return check.verdict(
      measured=9 - lost,
      seeds=len(results["seeds"]),
      verdict=check.PARTLY if lost in (2, 3) else decided,
      why=f"F_{name}'s model is dominated in {lost} of 9 comparisons and dominates in {won}.",
      quantity=f"comparisons in which F_{name} is not dominated, of 9",
    )

  return decide


def dominates(results):
  """F_EIG's models dominate in some cases; a single one is what chance gives."""
  lost, won = q.domination(results)
  decided = check.PARTLY if won == 1 else check.REPRODUCED
  return check.verdict(
    measured=won,
    seeds=len(results["seeds"]),
    verdict=decided if won > lost else check.NOT_REPRODUCED,
    why=f"F_EIG's model dominates in {won} of 9 comparisons and is dominated in {lost}.",
    quantity="comparisons in which F_EIG dominates, of 9",
  )


def rivals_would_lose(results):
  """Table 2 with F_E in the place of F_EIG."""
  lost, won = q.domination(results, "E")
  return check.verdict(
    measured=lost,
    seeds=len(results["seeds"]),
    verdict=check.REPRODUCED if lost > 1 else check.NOT_REPRODUCED,
    why=f"F_E's model is dominated in {lost} of 9 comparisons and dominates in {won}.",
    quantity="comparisons in which F_E is dominated, of 9",
  )


def best_below(objective, names=("EIG", "E")):
  """The least of an objective in two conditions."""

  def decide(results):
    if names[0] not in results["conditions"]:
      return check.not_tested("config.control_inputs was off.")
    ours, theirs = (q.least(results, name, objective) for name in names)
    label = f"best {objective} of F_{names[0]} − F_{names[1]}"
    return better(ours, theirs, label, sign=-1.0)

  return decide


def accuracy_kept(results):
  """Least MSE of F_EIG over that of F_E, each trial."""
  ratio = q.least(results, "EIG", "MSE") / q.least(results, "E", "MSE")
  return check.below(ratio, 1.01, quantity="least MSE, F_EIG / F_E")


def table_3(which, sign):
  """An indicator of the final solutions against each rival."""

  def decide(results):
    ours = q.indicator(results, "EIG", which)
    return most(
      {
        rival: better(ours, q.indicator(results, rival, which), f"{which} of F_EIG −", sign)
        for rival in q.RIVALS
      }
    )

  return decide


# --- controls -------------------------------------------------------------------------------


def self_scaled(results):
  """Table 3 with each set of solutions scaled by its own extent."""
  parts = {}
  for which, sign in (("pd", 1.0), ("spacing", -1.0)):
    ours = q.indicator(results, "EIG", f"{which}_self")
    for rival in q.RIVALS:
      theirs = q.indicator(results, rival, f"{which}_self")
      parts[f"{which}, {rival}"] = better(ours, theirs, "F_EIG −", sign)
  return most(parts)


def identity(results):
  """f_I + f_G against (MSE − (μ − 1)²) / (2 μ²), and each against its printed sum.

  The first cannot see how the two share their sum, the second can; neither part is negative.
  """
  if results["alpha"] != 2:
    return check.not_tested("alpha is not 2.")
  whole = parted = 0.0
  smallest = np.inf
  for condition in results["conditions"].values():
    for part in ("validation", "test"):
      mse, within, between, mean = np.moveaxis(np.asarray(condition[part], np.float64), -1, 0)
      expected = fairness.inequality_of_errors(mse, mean)
      whole = max(whole, np.abs((within + between) / expected - 1).max())
      smallest = min(smallest, within.min(), between.min())
    found = np.asarray(condition["test"], np.float64)[:, -1, :, 1:3]
    difference = np.abs(found - np.asarray(condition["printed"])).max(-1)
    parted = max(parted, (difference / found.sum(-1)).max())
  seeds = len(results["seeds"])
  relative = {"quantity": "relative difference", "seeds": seeds}
  return check.every(
    {
      "sum": check.exact(whole, 1e-3, **relative),
      "eqs. 1 and 2": check.exact(parted, 1e-3, **relative),
      "not negative": check.exact(-smallest, 1e-6, quantity="−least part", seeds=seeds),
    }
  )


def over_prediction(results):
  """Mean benefit of the best-f_I model minus that of the best-MSE model."""
  return check.greater(
    q.selected(results, "EIG", "f_I")[:, 3],
    q.selected(results, "EIG", "MSE")[:, 3],
    quantity="mean benefit, best f_I − best MSE",
  )


def beyond(control, label):
  """F_EIG against a control, on the front of the two."""

  def decide(results):
    return check.greater(*q.against(results, control), quantity=f"HV of F_EIG − {label}")

  return decide


def paired_volume(results):
  """Hypervolume with the trial's own front, paired by trial."""
  ours = q.end(results, "EIG", "hv_own")
  return check.every(
    {
      rival: check.greater(ours, q.end(results, rival, "hv_own"), quantity="HV of F_EIG −")
      for rival in q.RIVALS
    }
  )


def more_diverse(results):
  """Pure diversity of F_EIG against no selection."""
  ours, theirs = (q.indicator(results, name, "pd") for name in ("EIG", "none"))
  return check.greater(ours, theirs, quantity="PD of F_EIG − no selection")


def compares_variants(results):
  """Variance between variants over that between variants and that between trials."""

  def share(volumes):
    trials, variants = q.shares(volumes)
    return variants / (trials + variants) if trials + variants > 0 else 0.0

  found = statistics.bootstrap(q.final_volumes(results), share, resamples=500)
  return check.above(found, 0.5, quantity="variance between variants / (variants + trials)")


def beyond_chance(results):
  """f_G of F_E's most accurate model over what true probabilities would have."""
  return check.above(q.over_chance(results), 1.0, quantity="f_G / f_G by chance")


def chosen_on_validation(rival, objectives):
  """Table 2's fairest models chosen on the validation part, measured on the test part."""

  def decide(results):
    parts = {}
    for objective in objectives:
      ours, theirs = (
        q.least(results, name, objective, "validation") for name in ("EIG", rival)
      )
      parts[objective] = check.greater(theirs, ours, quantity=f"F_{rival} − F_EIG")
    return check.every(parts)

  return decide

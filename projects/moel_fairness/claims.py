"""Metrics and claims: pure functions of the results of `experiment.run`.

Differences between variants are judged as in the paper, by Wilcoxon's rank-sum test at 0.05
over the trials; their size is shown as a paired difference with its t interval.
"""

import numpy as np

from lib.experiment import Claim
from lib.experiment import claims as check
from lib.metrics import fairness, statistics

OBJECTIVES = ("MSE", "f_I", "f_G")
RIVALS = ("EI", "EG", "E")
LEVEL = 0.05

# Tables 1-3 of the paper, in the order of VARIANTS: EIG, EI, EG, E.
_ORDER = ("EIG", "EI", "EG", "E")
PAPER = {
  "hv": {
    "compas": (0.00195, 0.00172, 0.00186, 0.00165),
    "adult": (0.01351, 0.01147, 0.01214, 0.00929),
    "german": (0.00738, 0.00606, 0.00476, 0.00494),
  },
  "pd": {
    "compas": (94144, 77509, 72794, 63791),
    "adult": (94345, 80454, 72202, 69703),
    "german": (97476, 76695, 51746, 68083),
  },
  "spacing": {
    "compas": (0.1462, 0.1614, 0.1846, 0.2599),
    "adult": (0.1308, 0.1518, 0.1716, 0.2434),
    "german": (0.0409, 0.1086, 0.1046, 0.1775),
  },
}

# --- quantities -----------------------------------------------------------------------------


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


def indicator(results, name, which):
  """(seeds,), or (seeds, generations)."""
  return np.asarray(results["indicators"][name][which], np.float64)


def end(results, name, which="hv"):
  """A hypervolume after the last generation, (seeds,)."""
  return indicator(results, name, which)[:, -1]


def mean_over_models(results, name, part="validation"):
  """Mean over the population in every generation, (seeds, generations, 4)."""
  return np.asarray(results["conditions"][name][part], np.float64).mean(2)


def metrics(results):
  """Means over the trials of what Tables 1-3 show, and of the controls."""
  flat = {}
  for name in results["conditions"]:
    if not name.endswith("*"):  # other inputs: not on the scale of the variants' front
      flat[f"hv/{name}"] = end(results, name).mean()
      flat[f"hv_own/{name}"] = end(results, name, "hv_own").mean()
      for which in ("pd", "spacing", "pd_self", "spacing_self"):
        flat[f"{which}/{name}"] = indicator(results, name, which).mean()
    for objective in OBJECTIVES:
      values = selected(results, name, objective).mean(0)
      for label, value in zip((*OBJECTIVES, "mean_benefit"), values, strict=True):
        flat[f"best_{objective}/{name}/{label}"] = value
  flat["hv_wide/EIG"] = indicator(results, "EIG", "hv_wide").mean()
  flat["hv_wide/E shifted"] = indicator(results, "E", "hv_wide").mean()
  flat["f_G_by_chance/E"] = np.asarray(results["conditions"]["E"]["chance"]).mean()
  flat["split_share_of_hv_variance"] = split_share(results)
  flat["hv_zero_share"] = np.mean([end(results, name) < 1e-6 for name in _ORDER])
  return flat


def split_share(results):
  """Share of the variance of the final hypervolumes (pooled front) that is between trials."""
  values = np.stack([end(results, name) for name in _ORDER], 1)
  return _share(values)


def _share(values):
  whole = values.var()
  return float(values.mean(1).var() / whole) if whole > 0 else 1.0


# --- checks ---------------------------------------------------------------------------------


def claim(name, source, statement, expected, decide, control=False):
  """A claim that is tested where there are three trials or more."""

  def judge(results):
    if len(results["seeds"]) < 3:
      return check.not_tested("needs three trials.")
    return decide(results)

  return Claim(name, source, statement, expected, judge, control)


def better(a, b, quantity, sign=1.0):
  """a exceeds b (sign 1) or is below it (−1): rank-sum test; paired difference for size."""
  ranks, pairs = statistics.rank_sum(a, b), statistics.paired_test(a, b)
  superiority = ranks.superiority if sign > 0 else 1 - ranks.superiority
  if ranks.p >= LEVEL:
    decided, word = check.PARTLY, "no significant difference"
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


def objectives_fall(results):
  """F_EIG: mean over the population of each objective, last minus first generation."""
  change = mean_over_models(results, "EIG")[:, [0, -1]]
  return check.every(
    {
      name: check.below(change[:, 1, i] - change[:, 0, i], 0.0, quantity="change")
      for i, name in enumerate(OBJECTIVES)
    }
  )


def volume_rises(results):
  """Hypervolume in the variant's own objectives, validation part."""
  parts = {}
  for name in ("EIG", "EI", "EG"):
    values = indicator(results, name, "hv_validation")
    parts[name] = check.greater(
      values[:, -1], values[:, 0], quantity="rise of the hypervolume"
    )
  return check.every(parts)


def error_alone(results):
  """F_E: test hypervolume rises, both unfairnesses fall."""
  values = indicator(results, "E", "hv_own")
  change = mean_over_models(results, "E", "test")[:, [0, -1]]
  parts = {"HV": check.greater(values[:, -1], values[:, 0], quantity="rise")}
  for i, name in enumerate(OBJECTIVES[1:], 1):
    parts[name] = check.greater(change[:, 0, i], change[:, 1, i], quantity="fall")
  return check.every(parts)


def _volume_above(rival):
  def decide(results):
    return better(end(results, "EIG"), end(results, rival), f"HV of F_EIG − F_{rival}")

  return decide


def usually_highest(results):
  """Share of the generations in which F_EIG's mean hypervolume is the largest."""
  values = np.stack([indicator(results, name, "hv") for name in _ORDER], 1)

  def share(values):
    return float((values.mean(0).argmax(0) == 0).mean())

  found = statistics.bootstrap(values, share, resamples=500)
  return check.above(found, 0.5, quantity="share of generations")


def _significance(results, rival, objective, chosen_on="test"):
  """Signs of the rank-sum tests of Table 2: +1 where F_EIG's value is significantly lower."""
  ours = selected(results, "EIG", objective, chosen_on)
  theirs = selected(results, rival, objective, chosen_on)
  signs = []
  for i in range(3):
    found = statistics.rank_sum(ours[:, i], theirs[:, i])
    signs.append(0 if found.p >= LEVEL else int(np.sign(0.5 - found.superiority)))
  return np.array(signs)


def domination(results):
  """Numbers of the nine comparisons of Table 2 in which F_EIG (is dominated, dominates)."""
  signs = [_significance(results, r, o) for r in RIVALS for o in OBJECTIVES]
  lost = sum(bool((s <= 0).all() and (s < 0).any()) for s in signs)
  won = sum(bool((s >= 0).all() and (s > 0).any()) for s in signs)
  return lost, won


def not_dominated(results):
  """At least 8 of the 9 selected models are not dominated (paper: 25 of 27)."""
  lost, won = domination(results)
  decided = check.REPRODUCED if lost <= 1 else check.NOT_REPRODUCED
  return check.verdict(
    measured=9 - lost,
    seeds=len(results["seeds"]),
    verdict=check.PARTLY if lost in (2, 3) else decided,
    why=f"a rival's model dominates in {lost} of 9 comparisons, F_EIG's does in {won}.",
    quantity="comparisons without domination by a rival, of 9",
  )


def dominates(results):
  """How often F_EIG's models dominate, minus how often they are dominated."""
  lost, won = domination(results)
  decided = check.REPRODUCED if won > lost else check.PARTLY if won == lost else None
  return check.verdict(
    measured=won - lost,
    seeds=len(results["seeds"]),
    verdict=decided or check.NOT_REPRODUCED,
    why=f"F_EIG's model dominates in {won} of 9 comparisons and is dominated in {lost}.",
    quantity="comparisons won − lost",
  )


def _best_below(objective, names=("EIG", "E")):
  def decide(results):
    if names[0] not in results["conditions"]:
      return check.not_tested("config.control_inputs was off.")
    i = OBJECTIVES.index(objective)
    ours, theirs = (selected(results, name, objective)[:, i] for name in names)
    label = f"best {objective} of F_{names[0]} − F_{names[1]}"
    return better(ours, theirs, label, sign=-1.0)

  return decide


def _table_3(which, sign):
  def decide(results):
    ours = indicator(results, "EIG", which)
    return check.every(
      {
        rival: better(ours, indicator(results, rival, which), f"{which} of F_EIG −", sign)
        for rival in RIVALS
      }
    )

  return decide


def self_scaled(results):
  """Table 3 with each set of solutions scaled by its own extent."""
  parts = {}
  for which, sign in (("pd", 1.0), ("spacing", -1.0)):
    ours = indicator(results, "EIG", f"{which}_self")
    for rival in RIVALS:
      theirs = indicator(results, rival, f"{which}_self")
      parts[f"{which}, {rival}"] = better(ours, theirs, "F_EIG −", sign)
  return check.every(parts)


def identity(results):
  """f_I + f_G against (MSE − (μ − 1)²) / (2 μ²), all variants, generations and models."""
  if results["alpha"] != 2:
    return check.not_tested("alpha is not 2.")
  worst = 0.0
  for condition in results["conditions"].values():
    for part in ("validation", "test"):
      mse, within, between, mean = np.moveaxis(np.asarray(condition[part], np.float64), -1, 0)
      expected = fairness.inequality_of_errors(mse, mean)
      worst = max(worst, np.abs((within + between) / expected - 1).max())
  return check.exact(worst, 1e-3, seeds=len(results["seeds"]), quantity="relative difference")


def over_prediction(results):
  """Mean benefit of the best-f_I model minus that of the best-MSE model."""
  return check.greater(
    selected(results, "EIG", "f_I")[:, 3],
    selected(results, "EIG", "MSE")[:, 3],
    quantity="mean benefit, best f_I − best MSE",
  )


def beyond_shifts(results):
  """F_EIG against F_E's models with other output biases."""
  return check.greater(
    indicator(results, "EIG", "hv_wide"),
    indicator(results, "E", "hv_wide"),
    quantity="HV of F_EIG − shifted F_E",
  )


def selection_matters(results):
  """F_EIG against as many networks trained as long without selection."""
  return check.greater(
    end(results, "EIG", "hv_own"), end(results, "none", "hv_own"), quantity="HV difference"
  )


def paired_volume(results):
  """Hypervolume with the trial's own front, paired by trial."""
  ours = end(results, "EIG", "hv_own")
  return check.every(
    {
      rival: check.greater(ours, end(results, rival, "hv_own"), quantity="HV of F_EIG −")
      for rival in RIVALS
    }
  )


def compares_variants(results):
  """Share of the variance of the printed hypervolume that is between trials."""
  values = np.stack([end(results, name) for name in _ORDER], 1)
  found = statistics.bootstrap(values, _share, resamples=500)
  return check.below(found, 0.5, quantity="share of the variance between trials")


def beyond_chance(results):
  """f_G of F_E's most accurate model over what true probabilities would have."""
  best = final(results, "E")[..., 0].argmin(1)[:, None]
  chance = np.take_along_axis(np.asarray(results["conditions"]["E"]["chance"]), best, 1)[:, 0]
  ratio = selected(results, "E", "MSE")[:, 2] / chance
  return check.above(ratio, 1.0, quantity="f_G / f_G by chance")


def chosen_on_validation(results):
  """Table 2's fairest models chosen on the validation part, measured on the test part."""
  parts = {}
  for i, objective in enumerate(OBJECTIVES[1:], 1):
    ours, theirs = (
      selected(results, name, objective, "validation")[:, i] for name in ("EIG", "E")
    )
    parts[objective] = check.greater(theirs, ours, quantity="F_E − F_EIG")
  return check.every(parts)


CLAIMS = (
  claim(
    "objectives_fall",
    "Fig. 1, sec. 4.2 Q1",
    "F_EIG: model error, individual and group unfairness fall together.",
    "the population's mean of each falls from first to last generation (validation)",
    objectives_fall,
  ),
  claim(
    "hv_rises",
    "Fig. 2",
    "The hypervolume in the variant's own objectives rises with the generations.",
    "paired 95 % interval of the rise above 0 for F_EIG, F_EI and F_EG",
    volume_rises,
  ),
  claim(
    "error_alone_helps",
    "Fig. 3, sec. 4.2 Q2",
    "Minimising MSE alone raises the hypervolume and lowers both unfairnesses.",
    "F_E on the test part: HV rises, mean f_I and f_G fall",
    error_alone,
  ),
  claim(
    "hv_above_E",
    "Table 1",
    "F_EIG's final test hypervolume is above that of F_E.",
    "rank-sum p < 0.05 (paper: 3 of 3 sets)",
    _volume_above("E"),
  ),
  claim(
    "hv_above_EI",
    "Table 1",
    "F_EIG's final test hypervolume is above that of F_EI.",
    "rank-sum p < 0.05 (paper: 2 of 3 sets)",
    _volume_above("EI"),
  ),
  claim(
    "hv_above_EG",
    "Table 1",
    "F_EIG's final test hypervolume is above that of F_EG.",
    "rank-sum p < 0.05 (paper: 2 of 3 sets)",
    _volume_above("EG"),
  ),
  claim(
    "hv_usually_highest",
    "Fig. 3",
    "F_EIG's mean test hypervolume is usually the highest during the evolution.",
    "in more than half of the generations",
    usually_highest,
  ),
  claim(
    "not_dominated",
    "Table 2, sec. 4.2 Q2",
    "F_EIG's best models are not dominated by those of the rivals.",
    "in at least 8 of 9 comparisons (paper: 25 of 27)",
    not_dominated,
  ),
  claim(
    "best_f_I_below_E",
    "Table 2",
    "F_EIG's model with the least f_I has less of it than F_E's.",
    "rank-sum p < 0.05 (paper: 3 of 3 sets)",
    _best_below("f_I"),
  ),
  claim(
    "best_f_G_below_E",
    "Table 2",
    "F_EIG's model with the least f_G has less of it than F_E's.",
    "rank-sum p < 0.05 (paper: lower on 3 sets, significantly on Adult)",
    _best_below("f_G"),
  ),
  claim(
    "pure_diversity",
    "Table 3",
    "F_EIG's final solutions have the largest pure diversity.",
    "rank-sum p < 0.05 against each rival (paper: 9 of 9)",
    _table_3("pd", 1.0),
  ),
  claim(
    "spacing",
    "Table 3",
    "F_EIG's final solutions are the most evenly spaced.",
    "rank-sum p < 0.05 against each rival (paper: 7 of 9)",
    _table_3("spacing", -1.0),
  ),
  claim(
    "control_identity",
    "control",
    "f_I + f_G is (MSE − (μ − 1)²) / (2 μ²): they can conflict with MSE only through μ.",
    "relative difference below 0.001 for every model of every generation",
    identity,
    control=True,
  ),
  claim(
    "control_over_prediction",
    "control",
    "Less f_I is had by predicting too many benefits.",
    "mean benefit of the best-f_I model above that of the best-MSE model",
    over_prediction,
    control=True,
  ),
  claim(
    "control_shifts",
    "control",
    "F_EIG finds more than other output biases of F_E's models give without training.",
    "paired 95 % interval of the HV difference above 0",
    beyond_shifts,
    control=True,
  ),
  claim(
    "control_selection",
    "control",
    "Selection matters: the same training without it has a smaller hypervolume.",
    "paired 95 % interval of the HV difference above 0",
    selection_matters,
    control=True,
  ),
  claim(
    "control_paired_hv",
    "control",
    "Table 1 with each trial's own front for the scale, paired by trial.",
    "paired 95 % interval of the HV difference above 0 for each rival",
    paired_volume,
    control=True,
  ),
  claim(
    "control_table_3",
    "control",
    "Table 3 with each set of solutions scaled by its own extent instead of a common front.",
    "rank-sum p < 0.05 against each rival in pure diversity and spacing",
    self_scaled,
    control=True,
  ),
  claim(
    "control_split",
    "control",
    "The hypervolume as printed compares variants, not splits of the data.",
    "less than half of its variance is between trials",
    compares_variants,
    control=True,
  ),
  claim(
    "control_chance",
    "control",
    "Group unfairness is more than true probabilities would have by the chance of labels.",
    "f_G of F_E's most accurate model above that",
    beyond_chance,
    control=True,
  ),
  claim(
    "control_validation",
    "control",
    "Chosen on the validation part, F_EIG's fairest models are fairer on the test part too.",
    "paired 95 % interval of the difference to F_E's above 0, for f_I and f_G",
    chosen_on_validation,
    control=True,
  ),
  claim(
    "control_inputs",
    "control",
    "F_EIG's best f_G is below F_E's with the opposite choice of inputs too.",
    "rank-sum p < 0.05 with sensitive attributes among the inputs (default: not)",
    _best_below("f_G", ("EIG*", "E*")),
    control=True,
  ),
)

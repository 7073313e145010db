"""What the figures and tables say, and the controls: see `checks` for how each is decided."""

from lib.experiment import Claim
from lib.experiment import claims as check
from projects.moel_fairness import checks
from projects.moel_fairness.quantities import metrics

__all__ = ["CLAIMS", "claim", "metrics"]


def claim(name, source, statement, expected, decide, control=False):
  """A claim that is tested where there are three trials or more."""

  def judge(results):
    if len(results["seeds"]) < 3:
      return check.not_tested("needs three trials.")
    return decide(results)

  return Claim(name, source, statement, expected, judge, control)


CLAIMS = (
  claim(
    "objectives_fall",
    "Fig. 1, sec. 4.2 Q1",
    "A variant's objectives fall together: model error and one or both unfairnesses.",
    "the population's mean of each falls from first to last generation (validation)",
    checks.objectives_fall,
  ),
  claim(
    "hv_rises",
    "Fig. 2",
    "The hypervolume in the variant's own objectives rises with the generations.",
    "paired 95 % interval of the rise above 0: each variant; front of all trials, of each",
    checks.volume_rises,
  ),
  claim(
    "error_alone_helps",
    "Fig. 3, sec. 4.2 Q2",
    "Minimising MSE alone raises the hypervolume and lowers both unfairnesses.",
    "F_E on the test part: HV rises (front of all trials, of each), mean f_I and f_G fall",
    checks.error_alone,
  ),
  claim(
    "error_alone_fades",
    "Fig. 3, sec. 4.2 Q2",
    "What minimising MSE alone adds to the hypervolume gets less with the generations.",
    "F_E's HV rises less in the second half (paper: Adult, German); both fronts",
    checks.error_alone_fades,
  ),
  claim(
    "hv_above_E",
    "Table 1",
    "F_EIG's final test hypervolume is above that of F_E.",
    "rank-sum p < 0.05 with either reading of the front (paper: 3 of 3 sets)",
    checks.volume_above("E"),
  ),
  claim(
    "hv_above_EI",
    "Table 1",
    "F_EIG's final test hypervolume is above that of F_EI.",
    "rank-sum p < 0.05 with either reading of the front (paper: 2 of 3 sets)",
    checks.volume_above("EI"),
  ),
  claim(
    "hv_above_EG",
    "Table 1",
    "F_EIG's final test hypervolume is above that of F_EG.",
    "rank-sum p < 0.05 with either reading of the front (paper: 2 of 3 sets)",
    checks.volume_above("EG"),
  ),
  claim(
    "hv_usually_highest",
    "Fig. 3",
    "F_EIG's mean test hypervolume is usually the highest during the evolution.",
    "alone the highest in more than half of the generations after the first",
    checks.usually_highest,
  ),
  claim(
    "not_dominated",
    "Table 2, sec. 4.2 Q2",
    "F_EIG's best models are not dominated by those of the rivals.",
    "in at least 8 of 9 comparisons (paper: 25 of 27)",
    checks.not_dominated(),
  ),
  claim(
    "dominates",
    "sec. 4.2 Q2",
    "F_EIG's best models even dominate those of the rivals in some cases.",
    "in two or more of 9 comparisons, and in more than it is dominated",
    checks.dominates,
  ),
  claim(
    "accuracy_kept",
    "Table 2, sec. 4.2 Q2",
    "F_EIG's most accurate model is as accurate as F_E's.",
    "95 % interval of the ratio of the least MSEs below 1.01 (paper: 0.988 to 1.001)",
    checks.accuracy_kept,
  ),
  claim(
    "best_f_I_below_E",
    "Table 2",
    "F_EIG's model with the least f_I has less of it than F_E's.",
    "rank-sum p < 0.05 (paper: 3 of 3 sets)",
    checks.best_below("f_I"),
  ),
  claim(
    "best_f_G_below_E",
    "Table 2",
    "F_EIG's model with the least f_G has less of it than F_E's.",
    "rank-sum p < 0.05 (paper: lower on 3 sets, significantly on Adult)",
    checks.best_below("f_G"),
  ),
  claim(
    "pure_diversity",
    "Table 3",
    "F_EIG's final solutions have the largest pure diversity of the four variants.",
    "rank-sum p < 0.05 against each rival (paper: 9 of 9)",
    checks.table_3("pd", 1.0),
  ),
  claim(
    "spacing",
    "Table 3",
    "F_EIG's final solutions are the most evenly spaced.",
    "rank-sum p < 0.05 against each rival (paper: 7 of 9)",
    checks.table_3("spacing", -1.0),
  ),
  claim(
    "control_identity",
    "control",
    "f_I + f_G is (MSE − (μ − 1)²) / (2 μ²): they can conflict with MSE only through μ.",
    "relative difference below 0.001, every model; eqs. 1 and 2 summed by groups: final ones",
    checks.identity,
    control=True,
  ),
  claim(
    "control_over_prediction",
    "control",
    "Less f_I is had by predicting too many benefits.",
    "mean benefit of the best-f_I model above that of the best-MSE model",
    checks.over_prediction,
    control=True,
  ),
  claim(
    "control_shifts",
    "control",
    "F_EIG finds more than other output biases give the final models of F_E.",
    "paired 95 % interval of the HV difference above 0 (front of the two)",
    checks.beyond("E_shifted", "shifted F_E"),
    control=True,
  ),
  claim(
    "control_shifts_unselected",
    "control",
    "F_EIG finds more than other output biases give networks trained without selection.",
    "paired 95 % interval of the HV difference above 0 (front of the two)",
    checks.beyond("none_shifted", "shifted, no selection"),
    control=True,
  ),
  claim(
    "control_selection",
    "control",
    "Selection matters: the same training without it has a smaller hypervolume.",
    "paired 95 % interval of the HV difference above 0 (front of the two)",
    checks.beyond("none", "no selection"),
    control=True,
  ),
  claim(
    "control_fall",
    "control",
    "F_EIG's objectives end below those of the same training without selection.",
    "the population's mean of each, validation: paired 95 % interval above 0",
    checks.below_unselected,
    control=True,
  ),
  claim(
    "control_f_G",
    "control",
    "Chosen on the validation part, F_EIG's best f_G is below that without selection.",
    "paired 95 % interval of the difference above 0",
    checks.chosen_on_validation("none", ("f_G",)),
    control=True,
  ),
  claim(
    "control_diversity",
    "control",
    "F_EIG's pure diversity is above that of networks trained without selection.",
    "paired 95 % interval of the difference above 0",
    checks.more_diverse,
    control=True,
  ),
  claim(
    "control_domination",
    "control",
    "Table 2 can tell: with F_E in the place of F_EIG more models are dominated.",
    "in two or more of 9 comparisons",
    checks.rivals_would_lose,
    control=True,
  ),
  claim(
    "control_paired_table_2",
    "control",
    "F_EIG's best models are not dominated by paired tests either.",
    "in at least 8 of 9 comparisons, by paired 95 % intervals",
    checks.not_dominated(paired=True),
    control=True,
  ),
  claim(
    "control_paired_hv",
    "control",
    "Table 1 with each trial's own front for the scale, paired by trial.",
    "paired 95 % interval of the HV difference above 0 for each rival",
    checks.paired_volume,
    control=True,
  ),
  claim(
    "control_table_3",
    "control",
    "Table 3 with each set of solutions scaled by its own extent instead of a common front.",
    "rank-sum p < 0.05 against each rival in pure diversity and spacing",
    checks.self_scaled,
    control=True,
  ),
  claim(
    "control_split",
    "control",
    "The hypervolume as printed compares variants, not splits of the data.",
    "variance between variants above that between trials",
    checks.compares_variants,
    control=True,
  ),
  claim(
    "control_chance",
    "control",
    "Group unfairness is more than true probabilities would have by the chance of labels.",
    "f_G of F_E's most accurate model above that",
    checks.beyond_chance,
    control=True,
  ),
  claim(
    "control_validation",
    "control",
    "Chosen on the validation part, F_EIG's fairest models are fairer on the test part too.",
    "paired 95 % interval of the difference to F_E's above 0, for f_I and f_G",
    checks.chosen_on_validation("E", ("f_I", "f_G")),
    control=True,
  ),
  claim(
    "control_inputs",
    "control",
    "F_EIG's best f_G is below F_E's with the opposite choice of inputs too.",
    "rank-sum p < 0.05 with sensitive attributes among the inputs (default: not)",
    checks.best_below("f_G", ("EIG*", "E*")),
    control=True,
  ),
)

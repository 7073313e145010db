"""What Tables 1 and 2, Fig. 1 to 3 say, and controls; errors in per cent, paired over seeds.

β of a similarity is the one of the grid with the least validation ECE of each seed; "tuned"
methods have α, or the concentration of mixup, chosen that way too.
"""

import numpy as np

from lib.experiment import Claim
from projects.csls import checks, methods
from projects.csls import quantities as q
from projects.csls.checks import HISTOGRAMS, all_lower

PAPER = {  # Table 1, CIFAR-100, per cent: q.TABLE by network and measure (q.METRICS)
  "DN": (
    (16.40, 2.08, 2.41, 4.58, 2.10, 2.04, 2.39, 2.65, 1.96, 1.68),
    (35.52, 3.55, 8.11, 8.81, 3.54, 3.48, 4.15, 4.74, 3.32, 2.98),
    (15.28, 1.90, 2.68, 4.52, 1.95, 1.88, 2.61, 2.72, 2.08, 1.75),
    (28.65, 7.01, 15.08, 13.40, 7.09, 7.00, 12.85, 12.92, 12.44, 11.32),
  ),
  "RN": (
    (22.96, 1.98, 2.35, 2.70, 1.85, 1.71, 2.84, 2.76, 2.02, 1.74),
    (50.07, 3.13, 3.80, 5.03, 2.98, 2.90, 5.06, 5.10, 3.34, 2.47),
    (21.13, 2.16, 2.60, 2.83, 1.84, 1.65, 2.91, 2.76, 2.19, 1.76),
    (39.23, 9.49, 15.17, 12.03, 10.42, 9.14, 11.89, 11.15, 10.13, 9.02),
  ),
  "WRN": (
    (12.17, 2.34, 2.77, 2.29, 2.07, 1.79, 1.68, 1.56, 0.77, 0.72),
    (25.71, 5.11, 5.41, 5.02, 4.54, 3.91, 2.91, 2.60, 1.64, 1.55),
    (11.57, 2.35, 2.83, 2.49, 1.99, 1.83, 1.57, 1.48, 1.15, 1.11),
    (21.13, 9.08, 9.27, 9.47, 6.87, 6.92, 7.59, 7.01, 4.53, 3.73),
  ),
}
SHOWN = (*q.TABLE, "ets", "uls_matched", "shuffled", "we_other", "oracle")
SHOWN += ("uls_tuned", "we_tuned", "mixup_tuned")


def metrics(results):
  """Means over the seeds by method, what was chosen, and the sweeps."""
  flat = {}
  first = results["methods"]["onehot"]
  names = [*q.METRICS, "histogram_output_printed", "accuracy", "nll", "confidence"]
  optional = ("confidence_unseen", "confidence_noise", "true", "divergence")
  names += [name for name in optional if name in first]
  shown = [method for method in SHOWN if method == "ts" or q.there(results, method)]
  for method in shown:
    for name in names:
      flat[f"{name}/{method}"] = q.value(results, method, name).mean()
    if method == "onehot" or method in q.SMOOTHED:
      flat[f"histogram_with_ts/{method}"] = q.value(results, method, "histogram", True).mean()
      flat[f"temperature/{method}"] = q.value(results, method, "temperature", True).mean()
  return flat | _chosen(results, shown) | _sweeps(results)


def _chosen(results, shown):
  """β, α, penalties, weights and epochs."""
  flat = {}
  for method in shown:
    if method in methods.KINDS and len(q.candidates(results, method)) > 1:
      betas = np.asarray(results["betas"], float)
      flat[f"chosen_beta/{method}"] = betas[q.choice(results, method)].mean()
  for method in (m for m in ("uls_tuned", "we_tuned", "mixup_tuned") if m in shown):
    numbers = [
      float(name.split("@")[1].split(",")[0]) for name in q.candidates(results, method)
    ]
    chosen = np.take(numbers, q.choice(results, method))
    flat[f"chosen_alpha/{method}"] = chosen.mean()
    if len(numbers) > 1:
      flat[f"chosen_at_an_edge/{method}"] = np.isin(
        chosen, (min(numbers), max(numbers))
      ).mean()
  penalty, grid = (
    np.log10(np.maximum(x, 1e-12))
    for x in (results["methods"]["dirichlet"]["penalty"], results["penalties"])
  )
  flat["log10_penalty/dirichlet"] = penalty.mean()
  edges = np.array([grid.min(), grid.max()])
  flat["chosen_at_an_edge/dirichlet"] = np.isclose(penalty[:, None], edges).any(1).mean()
  for method in ("ets", "ets_mse"):
    weights = np.asarray(results["methods"][method]["weights"])
    flat[f"weight_of_ts/{method}"] = weights[:, 0].mean()
  epochs = {"least_loss": q.epoch_of_least_loss(results)}
  if q.there(results, "we"):
    epochs["equal_accuracy"] = q.epoch_of_equal_accuracy(results, "we")
  for name, epoch in epochs.items():
    flat[f"stopped_at_{name}/epoch"] = epoch.mean() + 1
    for metric in ("ece", "nll", "accuracy"):
      flat[f"stopped_at_{name}/{metric}"] = q.stopped(results, epoch, metric).mean()
  return flat


def _sweeps(results):
  """Errors over α and β."""
  flat = {}
  for metric in HISTOGRAMS:
    for kind in ("uls", "we"):
      if q.there(results, kind):
        values = q.sweep(results, kind, "alpha", metric).mean(0)
        for a, v in zip(results["alphas"], values, strict=True):
          flat[f"{metric}/{kind}/alpha_{a:g}"] = v
    for kind in (*methods.SIMILARITIES, "shuffled", "we_other"):
      if q.there(results, kind):
        values = q.sweep(results, kind, "beta", metric).mean(0)
        for b, v in zip(results["betas"], values, strict=True):
          flat[f"{metric}/{kind}/beta_{b:g}"] = v
  return flat


_BELOW = "the paired 95 % interval of the difference is above 0"
_EACH = "each paired 95 % interval of the difference is above 0"
_FOUR = _EACH + ", all four measures"
_OTHERS = tuple(m for m in q.TABLE if m != "onehot")
_POST_HOC = ("ts", "dirichlet", "ets_mse")


def _control(name, statement, expected, check):
  return Claim(name, "control", statement, expected, check, control=True)


CLAIMS = (
  Claim(
    "onehot_worst",
    "Tables 1 and 2",
    "One-hot training is the worst calibrated of all, prediction and output.",
    _FOUR,
    all_lower([(m, "onehot") for m in _OTHERS]),
  ),
  Claim(
    "onehot_overconfident",
    "Fig. 1",
    "With one-hot labels the accuracy is below the confidence everywhere.",
    "in each bin that no seed leaves empty, the 95 % interval of confidence − accuracy is "
    "above 0",
    checks.overconfident,
  ),
  Claim(
    "we_on_the_diagonal",
    "Fig. 1",
    "The reliability diagrams of WE almost coincide with the diagonal, prediction and output.",
    "in each bin that no seed leaves empty, the 95 % interval is within ± 5 points",
    checks.on_diagonal,
  ),
  Claim(
    "we_beats_uls",
    "Tables 1 and 2",
    "Word-embedding labels are better calibrated than uniform ones at α = 0.1.",
    _FOUR,
    all_lower([("we", "uls")]),
  ),
  Claim(
    "we_best_similarity",
    "Tables 1 and 2",
    "Of the four similarities word embeddings are the best.",
    _FOUR,
    all_lower([("we", m) for m in ("l1", "l2", "ae")]),
  ),
  Claim(
    "similarities_beat_uls",
    "Table 1, WRN",
    "L1, L2 and autoencoder labels are better calibrated than uniform ones too.",
    _FOUR,
    all_lower([(m, "uls") for m in ("l1", "l2", "ae")]),
  ),
  Claim(
    "we_beats_post_hoc",
    "Tables 1 and 2, sec. 6.2",
    "In most cases (9 of the 12 rows of Table 1) word-embedding labels at α = 0.1 are better "
    "calibrated than TS, Dir-ODIR and ETS.",
    _FOUR,
    all_lower([("we", m) for m in _POST_HOC]),
  ),
  Claim(
    "we_beats_mixup",
    "Tables 1 and 2",
    "Word-embedding labels are better calibrated than mixup (whose concentration the paper "
    "does not say; here 0.2).",
    _FOUR,
    all_lower([("we", "mixup")]),
  ),
  Claim(
    "alpha_best",
    "Fig. 2a, b",
    "α = 0.1 is the best for both kinds of labels, prediction and output.",
    _EACH + ", against each other α",
    checks.alpha_best,
  ),
  Claim(
    "we_below_uls_at_every_alpha",
    "Fig. 2a, b",
    "Word-embedding labels (β = 2) are better than uniform ones at every α.",
    _EACH,
    checks.below_at_every_alpha,
  ),
  Claim(
    "alpha_direction",
    "sec. 6.3",
    "With a small α the network is still over-confident, with a large one under-confident.",
    "at both ends of the grid the 95 % interval of confidence − accuracy is on that side of 0",
    checks.alpha_direction,
  ),
  Claim(
    "beta_u_shaped",
    "Fig. 2c",
    "The error over β has its minimum inside, prediction and output.",
    _EACH + ": β = 0 and the largest against the inner β with the least validation error",
    checks.u_shaped,
  ),
  Claim(
    "kde_differs_for_output",
    "sec. 6.2",
    "Kernel and histogram estimates differ more for the output than for the prediction.",
    "the paired 95 % interval of the difference of |log ratio| is above 0",
    checks.kde_differs,
  ),
  Claim(
    "unseen_confidence",
    "Fig. 3 left",
    "On unseen classes WE and mixup are the least confident, below ULS and one-hot training.",
    _EACH,
    all_lower(
      [(a, b) for a in ("we", "mixup") for b in ("uls", "onehot")], ("confidence_unseen",)
    ),
  ),
  Claim(
    "noise_confidence",
    "Fig. 3 right",
    "On noise WE, ULS and mixup are less confident than one-hot training, WE less than ULS.",
    _EACH,
    all_lower(
      [(a, "onehot") for a in ("we", "uls", "mixup")] + [("we", "uls")],
      ("confidence_noise",),
    ),
  ),
  _control(
    "control_normaliser",
    "Divided by n the output error of one-hot training is about twice the prediction's, as in "
    "Table 1; divided by nK, as printed, it would be K times less.",
    "ratio between 1.5 and 2.5",
    checks.normaliser,
  ),
  _control(
    "control_accuracy",
    "Smoothing does not change the accuracy by more than a point.",
    "each 95 % interval within ± 1 point",
    checks.accuracy_kept,
  ),
  _control(
    "control_equal_accuracy",
    "WE is better calibrated than one-hot training stopped at the accuracy of WE.",
    _BELOW,
    checks.equal_accuracy,
  ),
  _control(
    "control_early_stopping",
    "WE has less ECE and loss than one-hot training stopped at the least validation loss.",
    _EACH,
    checks.early_stopping,
  ),
  _control(
    "control_shuffled",
    "It is the similarity: the same labels with the classes permuted are worse.",
    _EACH,
    all_lower([("we", "shuffled")], HISTOGRAMS),
  ),
  _control(
    "control_shuffled_equal_beta",
    "The permuted labels are worse at every β.",
    _EACH,
    checks.shuffled_at_equal_beta,
  ),
  _control(
    "control_shuffled_no_gain",
    "The permuted labels, whose similarities are of other classes, gain nothing over uniform "
    "ones.",
    "each 95 % interval of ULS − shuffled is below 0",
    checks.no_gain("shuffled", "uls"),
  ),
  _control(
    "control_matched_mass",
    "WE beats uniform labels that put all of α on the other classes.",
    _EACH,
    all_lower([("we", "uls_matched")], HISTOGRAMS),
  ),
  _control(
    "control_fixed_beta",
    "At the paper's β = 2, nothing chosen, WE beats both kinds of uniform labels, in both "
    "readings of the standardisation.",
    _EACH,
    checks.fixed_beta,
  ),
  _control(
    "control_standardisation",
    "Whether a class's distance to itself counts in the standardisation does not matter once "
    "β is chosen.",
    "each 95 % interval within ± 1 point",
    checks.standardisation,
  ),
  _control(
    "control_tuned_uls",
    "WE with a tuned β beats ULS with a tuned α.",
    _EACH,
    all_lower([("we", "uls_tuned")], HISTOGRAMS),
  ),
  _control(
    "control_tuned_mixup",
    "WE with a tuned β beats mixup with a tuned concentration.",
    _EACH,
    all_lower([("we", "mixup_tuned")], HISTOGRAMS),
  ),
  _control(
    "control_tuned",
    "WE with tuned α and β beats ULS with a tuned α and mixup with a tuned concentration.",
    _EACH,
    all_lower([("we_tuned", m) for m in ("uls_tuned", "mixup_tuned")], HISTOGRAMS),
  ),
  _control(
    "control_tuned_post_hoc",
    "WE with tuned α and β beats TS, Dir-ODIR and ETS.",
    _EACH,
    all_lower([("we_tuned", m) for m in _POST_HOC], HISTOGRAMS),
  ),
  _control(
    "control_after_temperature",
    "WE is still better than ULS and one-hot training when all get a temperature.",
    _EACH,
    checks.lower_with_temperature("we", ("uls", "onehot")),
  ),
  _control(
    "control_true_error",
    "By the exact posterior too WE is better calibrated than ULS and TS.",
    _EACH,
    checks.needs_truth(all_lower([("we", "uls"), ("we", "ts")], ("true",))),
  ),
  _control(
    "control_divergence",
    "The scores of WE are nearer to the exact posterior (KL) than those of ULS and TS.",
    _EACH,
    checks.needs_truth(all_lower([("we", "uls"), ("we", "ts")], ("divergence",))),
  ),
)

"""What Tables 1 and 2, Fig. 2 and 3 say, and controls; errors in per cent, paired over seeds.

β of the similarities is the one of the grid with the least validation ECE of each seed.
"""

import numpy as np

from lib.experiment import Claim
from lib.experiment import claims as check
from projects.csls import methods
from projects.csls import quantities as q

PAPER_WRN = {  # CIFAR-100, wide residual network, Table 1: per cent, by metric
  "onehot": (12.17, 25.71, 11.57, 21.13),
  "ts": (2.34, 5.11, 2.35, 9.08),
  "uls": (2.77, 5.41, 2.83, 9.27),
  "mixup": (2.29, 5.02, 2.49, 9.47),
  "dirichlet": (2.07, 4.54, 1.99, 6.87),
  "ets": (1.79, 3.91, 1.83, 6.92),
  "l1": (1.68, 2.91, 1.57, 7.59),
  "l2": (1.56, 2.60, 1.48, 7.01),
  "ae": (0.77, 1.64, 1.15, 4.53),
  "we": (0.72, 1.55, 1.11, 3.73),
}
SHOWN = (*q.TABLE, "ets_mse", "uls_matched", "uls_tuned", "we_tuned", "shuffled", "oracle")


def percent(results, method, metric, scaled=False):
  """A metric in per cent, (seeds,)."""
  return 100 * q.value(results, method, metric, scaled)


def metrics(results):
  """Means over the seeds by method, the chosen β and α, and the sweeps."""
  flat = {}
  for method in SHOWN:
    if not q.there(results, method) and method != "ts":
      continue
    names = [*q.METRICS, "histogram_output_printed", "accuracy", "nll", "confidence"]
    names += ["confidence_unseen", "confidence_noise"]
    first = results["methods"]["onehot"]
    names += [name for name in ("true", "divergence") if name in first]
    for name in names:
      flat[f"{name}/{method}"] = q.value(results, method, name).mean()
    if method in results["scaled"] or method in q.TUNED or method == "uls":
      flat[f"histogram_with_ts/{method}"] = q.value(results, method, "histogram", True).mean()
      flat[f"temperature/{method}"] = q.value(results, method, "temperature", True).mean()
    if method in methods.KINDS and len(q.candidates(results, method)) > 1:
      betas = np.asarray(results["betas"], float)
      flat[f"chosen_beta/{method}"] = betas[q.choice(results, method)].mean()
  flat["chosen_alpha/uls"] = np.asarray(results["alphas"])[
    q.choice(results, "uls_tuned")
  ].mean()
  for kind in ("uls", "we"):
    if kind == "uls" or q.there(results, kind):
      for a, v in zip(
        results["alphas"], q.sweep(results, kind, "alpha", "histogram").mean(0), strict=True
      ):
        flat[f"histogram/{kind}/alpha_{a:g}"] = v
  for kind in (k for k in methods.SIMILARITIES if q.there(results, k)):
    for b, v in zip(
      results["betas"], q.sweep(results, kind, "beta", "histogram").mean(0), strict=True
    ):
      flat[f"histogram/{kind}/beta_{b:g}"] = v
  return flat


# --- checks -------------------------------------------------------------------------------


def _missing(results, names):
  absent = [name for name in names if name != "ts" and not q.there(results, name)]
  if absent:
    return check.not_tested(f"{', '.join(absent)} cannot be had with these data.")
  if len(results["seeds"]) < 2:
    return check.not_tested("one seed has no spread to compare with.")
  return None


def _lower(a, b, metric, scaled=False):
  """The metric of a is lower than that of b, paired, in per cent."""

  def decide(results):
    return _missing(results, (a, b)) or check.greater(
      percent(results, b, metric, scaled),
      percent(results, a, metric, scaled),
      quantity=f"{metric} of {b} − {a}, points",
    )

  return decide


def _all_lower(pairs, names=("histogram", "histogram_output")):
  def decide(results):
    return check.every(
      {f"{a} < {b}, {m}": _lower(a, b, m)(results) for a, b in pairs for m in names}
    )

  return decide


def alpha_best(results):
  """α = 0.1 against every other of the grid, for WE and ULS."""
  parts = {}
  alphas = np.asarray(results["alphas"], float)
  here = int(np.argmin(np.abs(alphas - float(results["alpha"]))))
  for kind in ("we", "uls"):
    missing = _missing(results, (kind,))
    if missing:
      parts[kind] = missing
      continue
    values = 100 * q.sweep(results, kind, "alpha", "histogram")
    for i, alpha in enumerate(alphas):
      if i != here:
        parts[f"{kind}, α = {alpha:g}"] = check.greater(
          values[:, i], values[:, here], quantity="ECE there − at the paper's α, points"
        )
  return check.every(parts)


def below_at_every_alpha(results):
  """WE with the paper's β below ULS at each α of the grid."""
  missing = _missing(results, ("we",))
  if missing:
    return missing
  ours, theirs = (100 * q.sweep(results, k, "alpha", "histogram") for k in ("we", "uls"))
  return check.every(
    {
      f"α = {a:g}": check.greater(theirs[:, i], ours[:, i], quantity="ECE of ULS − WE, points")
      for i, a in enumerate(results["alphas"])
    }
  )


def u_shaped(results):
  """Both ends of the grid of β against the paper's β, prediction and output."""
  missing = _missing(results, ("we",))
  if missing:
    return missing
  betas = np.asarray(results["betas"], float)
  here = int(np.argmin(np.abs(betas - float(results["beta"]))))
  if here in (0, len(betas) - 1):
    return check.not_tested("the grid of β does not go to both sides of the paper's.")
  parts = {}
  for metric in ("histogram", "histogram_output"):
    values = 100 * q.sweep(results, "we", "beta", metric)
    for end in (0, -1):
      parts[f"β = {betas[end]:g}, {metric}"] = check.greater(
        values[:, end], values[:, here], quantity="ECE there − at the paper's β, points"
      )
  return check.every(parts)


def kde_differs(results):
  """|log KDE / histogram| of the output over that of the prediction."""
  missing = _missing(results, ("onehot",))
  if missing:
    return missing
  gaps = []
  for metric in ("", "_output"):
    ratios = [
      np.abs(
        np.log(q.value(results, m, f"kde{metric}") / q.value(results, m, f"histogram{metric}"))
      )
      for m in q.TABLE
      if m == "ts" or q.there(results, m)
    ]
    gaps.append(np.mean(ratios, 0))
  return check.greater(gaps[1], gaps[0], quantity="|log KDE/histogram|, output − prediction")


def normaliser(results):
  """Output over prediction ECE of one-hot training, divided by n."""
  missing = _missing(results, ("onehot",))
  if missing:
    return missing
  ratio = q.value(results, "onehot", "histogram_output") / q.value(
    results, "onehot", "histogram"
  )
  return check.between(ratio, 1.5, 2.5, quantity="output / prediction ECE")


def accuracy_kept(results):
  """Accuracy of WE and ULS minus that of one-hot training."""
  parts = {}
  for method in ("we", "uls"):
    missing = _missing(results, (method, "onehot"))
    change = missing is None and percent(results, method, "accuracy") - percent(
      results, "onehot", "accuracy"
    )
    parts[method] = missing or check.between(
      change, -1.0, 1.0, quantity="change of the accuracy, points"
    )
  return check.every(parts)


def equal_accuracy(results):
  """One-hot training stopped where its accuracy is that of WE."""
  missing = _missing(results, ("we", "onehot"))
  if missing:
    return missing
  stopped, ours, *_ = q.stopped_at_equal_accuracy(results, "we")
  return check.greater(
    100 * stopped, 100 * ours, quantity="ECE of stopped one-hot training − WE, points"
  )


def _needs_truth(decide):
  def run(results):
    if "true" not in results["methods"]["onehot"]:
      return check.not_tested("the posterior is known for the synthetic classes alone.")
    return decide(results)

  return run


_BELOW = "the paired 95 % interval of the difference is above 0"
_EACH = "each paired 95 % interval of the difference is above 0"
_OTHERS = tuple(m for m in q.TABLE if m != "onehot")

CLAIMS = (
  Claim(
    "onehot_worst",
    "Tables 1 and 2",
    "One-hot training is the worst calibrated of all, prediction and output.",
    _EACH,
    _all_lower([(m, "onehot") for m in _OTHERS]),
  ),
  Claim(
    "we_beats_uls",
    "Tables 1 and 2",
    "Word-embedding labels are better calibrated than uniform ones at α = 0.1.",
    _EACH + ", all four measures",
    _all_lower([("we", "uls")], tuple(q.METRICS)),
  ),
  Claim(
    "we_best_similarity",
    "Tables 1 and 2",
    "Of the four similarities word embeddings are the best.",
    _EACH + ", all four measures",
    _all_lower([("we", m) for m in ("l1", "l2", "ae")], tuple(q.METRICS)),
  ),
  Claim(
    "similarities_beat_uls",
    "Table 1, WRN",
    "L1, L2 and autoencoder labels are better calibrated than uniform ones too.",
    _EACH,
    _all_lower([(m, "uls") for m in ("l1", "l2", "ae")]),
  ),
  Claim(
    "we_beats_post_hoc",
    "Tables 1 and 2",
    "Word-embedding labels are better calibrated than TS, Dir-ODIR and ETS.",
    _EACH,
    _all_lower([("we", m) for m in ("ts", "dirichlet", "ets")]),
  ),
  Claim(
    "we_beats_mixup",
    "Tables 1 and 2",
    "Word-embedding labels are better calibrated than mixup.",
    _EACH,
    _all_lower([("we", "mixup")]),
  ),
  Claim(
    "alpha_best",
    "Fig. 2a",
    "α = 0.1 is the best for both kinds of labels.",
    _EACH + ", against each other α",
    alpha_best,
  ),
  Claim(
    "we_below_uls_at_every_alpha",
    "Fig. 2a",
    "Word-embedding labels (β = 2) are better than uniform ones at every α.",
    _EACH,
    below_at_every_alpha,
  ),
  Claim(
    "beta_u_shaped",
    "Fig. 2c",
    "The error over β has its minimum inside: β = 2 beats both ends.",
    _EACH,
    u_shaped,
  ),
  Claim(
    "kde_differs_for_output",
    "sec. 6.2",
    "Kernel and histogram estimates differ more for the output than for the prediction.",
    "the paired 95 % interval of the difference of |log ratio| is above 0",
    kde_differs,
  ),
  Claim(
    "unseen_confidence",
    "Fig. 3 left",
    "On unseen classes WE and mixup are the least confident, below ULS and one-hot training.",
    _EACH,
    _all_lower(
      [(a, b) for a in ("we", "mixup") for b in ("uls", "onehot")], ("confidence_unseen",)
    ),
  ),
  Claim(
    "noise_confidence",
    "Fig. 3 right",
    "On noise WE, ULS and mixup are less confident than one-hot training, WE less than ULS.",
    _EACH,
    _all_lower(
      [(a, "onehot") for a in ("we", "uls", "mixup")] + [("we", "uls")],
      ("confidence_noise",),
    ),
  ),
  Claim(
    "control_normaliser",
    "control",
    "Divided by n the output error of one-hot training is about twice the prediction's, as in "
    "Table 1; divided by nK, as printed, it would be K times less.",
    "ratio between 1.5 and 2.5",
    normaliser,
    control=True,
  ),
  Claim(
    "control_accuracy",
    "control",
    "Smoothing does not change the accuracy by more than a point.",
    "each 95 % interval within ± 1 point",
    accuracy_kept,
    control=True,
  ),
  Claim(
    "control_equal_accuracy",
    "control",
    "WE is better calibrated than one-hot training stopped at the accuracy of WE.",
    _BELOW,
    equal_accuracy,
    control=True,
  ),
  Claim(
    "control_shuffled",
    "control",
    "It is the similarity: the same labels with the classes permuted are worse.",
    _EACH,
    _all_lower([("we", "shuffled")]),
    control=True,
  ),
  Claim(
    "control_matched_mass",
    "control",
    "WE beats uniform labels that put all of α on the other classes.",
    _EACH,
    _all_lower([("we", "uls_matched")]),
    control=True,
  ),
  Claim(
    "control_tuned_uls",
    "control",
    "WE with a tuned β beats ULS with a tuned α.",
    _EACH,
    _all_lower([("we", "uls_tuned")]),
    control=True,
  ),
  Claim(
    "control_after_temperature",
    "control",
    "WE is still better than ULS and one-hot training when all get a temperature.",
    _EACH,
    lambda results: check.every(
      {
        f"we < {other}": _lower("we", other, "histogram", scaled=True)(results)
        for other in ("uls", "onehot")
      }
    ),
    control=True,
  ),
  Claim(
    "control_true_error",
    "control",
    "By the exact posterior too WE is better calibrated than ULS and TS.",
    _EACH,
    _needs_truth(_all_lower([("we", "uls"), ("we", "ts")], ("true",))),
    control=True,
  ),
  Claim(
    "control_divergence",
    "control",
    "The scores of WE are nearer to the exact posterior (KL) than those of ULS and TS.",
    _EACH,
    _needs_truth(_all_lower([("we", "uls"), ("we", "ts")], ("divergence",))),
    control=True,
  ),
)

"""What the paper says about Table 1 and Fig. 5-8, as checks over measured results.

Accuracies are in per cent, one number a seed; all comparisons are paired over seeds.
"""

import numpy as np

from lib.experiment import Claim
from lib.experiment import claims as check
from lib.robustness import corruptions

PAPER = {  # Table 1, per cent: VGG-19 and ResNet-32 on CIFAR-10, ResNet-152 on Stanford Cars
  "vgg": {"bn": 88.83, "dynamic": 87.64, "single": 65.88, "batch": 92.07, "vote": 95.29},
  "resnet": {"bn": 91.74, "dynamic": 89.34, "single": 32.33, "batch": 91.15, "vote": 91.65},
  "cars": {"bn": 88.17, "dynamic": 85.34, "single": 88.39, "batch": 89.34, "vote": 89.58},
}
BN, DYNAMIC, VOTE = ("bn", "stored"), ("bn", "dynamic_batch"), ("ln", "vote")

# --- what is measured -------------------------------------------------------------------


def accuracy(results, row, condition="clean"):
  """Per cent classified correctly by a (kind, mode) under a condition, (seeds,)."""
  kind, mode = row
  return 100 * results["accuracy"][kind][mode][condition]


def conditions(results):
  """All conditions, "clean" first."""
  kind = next(iter(results["accuracy"].values()))
  return list(next(iter(kind.values())))


def noises(results, name):
  """The conditions of one of the noises."""
  return [c for c in conditions(results) if c.startswith(f"{name}_")]


def headline(results):
  """The condition of multiplicative Gaussian noise that the claims are about."""
  return f"agn_{float(results['agn_level']):g}"


def corrupted(results):
  """{family: its conditions} of the corruptions of CIFAR-10-C."""
  found: dict[str, list[str]] = {}
  for condition in conditions(results):
    family = condition.rpartition("_")[0]
    if family in corruptions.FAMILIES:
      found.setdefault(family, []).append(condition)
  return found


def corruption_error(results, row):
  """mCE against batch normalisation with stored statistics, (seeds,)."""

  def errors(row):
    return {
      family: np.stack([1 - accuracy(results, row, c) / 100 for c in names])
      for family, names in corrupted(results).items()
    }

  return np.asarray(corruptions.mean_corruption_error(errors(row), errors(BN)), np.float64)


def rows(results):
  """All (kind, mode) that were run."""
  return [(kind, mode) for kind, found in results["accuracy"].items() for mode in found]


def metrics(results):
  """Flat numbers for results.json."""
  flat = {}
  for row in rows(results):
    for condition in conditions(results):
      flat[f"accuracy/{row[0]}/{row[1]}/{condition}"] = (
        accuracy(results, row, condition).mean() / 100
      )
    if corrupted(results) and BN in rows(results):
      flat[f"mce/{row[0]}/{row[1]}"] = corruption_error(results, row).mean()
  if "spread" in results:
    for name, values in results["spread"].items():
      flat[f"spread_over_groups/{name}"] = values[:, -1].mean()
  return flat


# --- checks -----------------------------------------------------------------------------


def _missing(results, needed):
  if absent := [f"{k}/{m}" for k, m in needed if (k, m) not in rows(results)]:
    return check.not_tested(f"{', '.join(absent)} was not run.")
  if len(results["seeds"]) < 2:
    return check.not_tested("one seed has no spread to compare with.")
  return None


def _greater(a, b, condition=None, margin=0.0):
  """Row a is more accurate than row b, under the headline's noise or another condition."""

  def decide(results):
    chosen = condition or headline(results)
    return _missing(results, (a, b)) or check.greater(
      accuracy(results, a, chosen),
      accuracy(results, b, chosen),
      margin=margin,
      quantity=f"accuracy of {'/'.join(a)} − {'/'.join(b)}, {chosen}, points",
    )

  return decide


def _every_noise(results):
  found = _missing(results, (VOTE, BN))
  if found:
    return found
  parts = {
    condition: _greater(VOTE, BN, condition)(results)
    for name in ("agn", "apn", "mbn")
    for condition in noises(results, name)
  }
  return check.every(parts)


def _clean(results):
  return _missing(results, (VOTE, BN)) or check.above(
    accuracy(results, VOTE) - accuracy(results, BN),
    -0.5,
    quantity="clean accuracy of ln/vote − bn/stored, points",
  )


def _rotations(results):
  rotated, single, batch = ("ln", "rotated_vote"), ("ln", "single_vote"), ("ln", "batch")
  found = _missing(results, (rotated, single, batch))
  if found:
    return found
  gap = accuracy(results, batch) - accuracy(results, single)
  left = accuracy(results, batch) - accuracy(results, rotated)
  return check.greater(
    0.5 * gap, left, quantity="half the gap to ln/batch − what is left, points"
  )


def _spread(results):
  if "spread" not in results or len(results["seeds"]) < 2:
    return check.not_tested("LocalNorm was not run with two seeds.")
  parts = {}
  for name, values in results["spread"].items():
    half = values[:, max(0, values.shape[1] // 2 - 1)]
    parts[name] = check.above(
      values[:, -1] / half, 0.9, quantity="spread at the end / half-way"
    )
  return check.every(parts)


def _corruptions(results):
  found = _missing(results, (VOTE, BN, DYNAMIC))
  if found or not corrupted(results):
    return found or check.not_tested("no corruption was run.")
  parts = {
    "below BN": check.below(corruption_error(results, VOTE), 1.0, quantity="mCE"),
    "below dynamic BN": check.greater(
      corruption_error(results, DYNAMIC), corruption_error(results, VOTE)
    ),
  }
  return check.every(parts, quantity="mCE")


CLAIMS = (
  Claim(
    "robust_to_noise",
    source="Fig. 6a",
    statement="LN-Voting is far more accurate than BN under multiplicative Gaussian noise.",
    expected="by at least 15 points at σ = 1 (paper: 83 against 29 %)",
    check=_greater(VOTE, BN, margin=15.0),
  ),
  Claim(
    "robust_to_every_noise",
    source="Fig. 6a-c",
    statement="LN-Voting is more accurate than BN under all three noises at every level.",
    expected="higher, paired",
    check=_every_noise,
  ),
  Claim(
    "better_than_dynamic",
    source="Fig. 6, sec. 5",
    statement="LN-Voting is substantially more accurate than dynamic BN under noise.",
    expected="higher, paired, at σ = 1",
    check=_greater(VOTE, DYNAMIC),
  ),
  Claim(
    "clean_accuracy",
    source="Table 1",
    statement="LN-Voting is as accurate as BN on clean images, or better.",
    expected="at most half a point below (paper, VGG: +6.5)",
    check=_clean,
  ),
  Claim(
    "dynamic_costs_accuracy",
    source="Table 1",
    statement="Dynamic BN is less accurate than BN on clean images.",
    expected="lower, paired (paper, VGG: by 1.2)",
    check=_greater(BN, DYNAMIC, "clean"),
  ),
  Claim(
    "batch_beats_dynamic",
    source="Table 1",
    statement="LN-Batch is more accurate than dynamic BN on clean images.",
    expected="higher, paired (paper, VGG: +4.4)",
    check=_greater(("ln", "batch"), DYNAMIC, "clean"),
  ),
  Claim(
    "single_image_suffers",
    source="Table 1, CIFAR-10",
    statement="On small images one image's own statistics do not suffice.",
    expected="LN-Single below LN-Batch on clean images, paired (paper, VGG: by 26)",
    check=_greater(("ln", "batch"), ("ln", "single"), "clean"),
  ),
  Claim(
    "rotations_help",
    source="Fig. 8",
    statement="With its turns in the statistics, a single small image does nearly as well.",
    expected="at least half of the gap to LN-Batch closed",
    check=_rotations,
  ),
  Claim(
    "rotations_need_localnorm",
    source="Fig. 8",
    statement="The same turns do not help dynamic BN as far.",
    expected="LN with turns above dynamic BN with turns on clean images",
    check=_greater(("ln", "rotated_vote"), ("bn", "dynamic_rotated"), "clean"),
  ),
  Claim(
    "corruptions",
    source="sec. 5, CIFAR-10-C",
    statement="The mean corruption error falls below that of BN and of dynamic BN.",
    expected="mCE of LN-Voting below 1 and below that of dynamic BN",
    check=_corruptions,
  ),
  Claim(
    "groups_stay_apart",
    source="Fig. 5",
    statement="The groups' scales and shifts do not converge to each other.",
    expected="spread at the end at least 0.9 of that half-way",
    check=_spread,
  ),
  Claim(
    "training_overhead",
    source="sec. 5",
    statement="LocalNorm costs 10 to 20 % of training time.",
    expected="(not run)",
    check=lambda results: check.not_tested(
      "whole programs of several networks are timed here, which says nothing about one step."
    ),
  ),
  Claim(
    "control_matched_vote",
    source="control",
    statement="LN-Voting beats as many votes of dynamic BN over random groupings.",
    expected="higher, paired, at σ = 1",
    check=_greater(VOTE, ("bn", "dynamic_vote")),
    control=True,
  ),
  Claim(
    "control_separate_affine",
    source="control",
    statement="Separate scales and shifts matter: LN-Voting beats voting ghost BN.",
    expected="higher, paired, at σ = 1",
    check=_greater(VOTE, ("ghost", "dynamic_vote")),
    control=True,
  ),
  Claim(
    "control_groups_in_training",
    source="control",
    statement="Training in groups matters: ghost BN beats BN, both with dynamic statistics.",
    expected="higher, paired, at σ = 1",
    check=_greater(("ghost", "dynamic_batch"), DYNAMIC),
    control=True,
  ),
  Claim(
    "control_group_norm",
    source="control",
    statement="LN-Voting beats group normalisation, which needs no other test images.",
    expected="higher, paired, at σ = 1",
    check=_greater(VOTE, ("group", "plain")),
    control=True,
  ),
)

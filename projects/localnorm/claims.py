"""What the paper says about Table 1 and Fig. 5-8, as checks over measured results.

Accuracies are in per cent, one number a seed; all comparisons are paired over seeds.
"""

import numpy as np

from lib.experiment import Claim
from lib.experiment import claims as check
from lib.robustness import corruptions
from projects.localnorm.noise import READINGS

BN, VOTE, BATCH = ("bn", "stored"), ("ln", "vote"), ("ln", "batch")
SINGLE, SINGLE_VOTE = ("ln", "single"), ("ln", "single_vote")
TURNS, TURNS_VOTE = ("ln", "rotated"), ("ln", "rotated_vote")
DYNAMIC = ("bn", "dynamic_whole")  # batches as large as in training, and as LN-Batch takes
DYNAMIC_SMALL, DYNAMIC_VOTE = ("bn", "dynamic_batch"), ("bn", "dynamic_vote")  # of M images
GHOST, GHOST_VOTE = ("ghost", "dynamic_batch"), ("ghost", "dynamic_vote")

# --- what is measured -------------------------------------------------------------------


def accuracy(results, row, condition="clean"):
  """Per cent classified correctly by a (kind, mode) under a condition, (seeds,)."""
  kind, mode = row
  return 100 * results["accuracy"][kind][mode][condition]


def rows(results):
  """All (kind, mode) that were run."""
  return [(kind, mode) for kind, found in results["accuracy"].items() for mode in found]


def conditions(results):
  """All conditions, "clean" first."""
  found = [results["accuracy"][kind][mode] for kind, mode in rows(results)]
  return list(max(found, key=len))


def noises(results, name):
  """The conditions of one of the noises."""
  return [c for c in conditions(results) if c.rpartition("_")[0] == name]


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


def errors(results, row):
  """{family: errors in shares, (severities, seeds)}."""
  return {
    family: np.stack([1 - accuracy(results, row, c) / 100 for c in names])
    for family, names in corrupted(results).items()
  }


def without_reference(results):
  """Families in which BN makes no error with some seed: their share of the mCE is infinite."""
  return [name for name, e in errors(results, BN).items() if not e.sum(0).all()]


def corruption_error(results, row):
  """mCE against batch normalisation with stored statistics, (seeds,)."""
  mine, reference = errors(results, row), errors(results, BN)
  return np.asarray(corruptions.mean_corruption_error(mine, reference), np.float64)


def metrics(results):
  """Flat numbers for results.json."""
  flat = {}
  for row in rows(results):
    kind, mode = row
    for condition, values in results["accuracy"][kind][mode].items():
      flat[f"accuracy/{kind}/{mode}/{condition}"] = values.mean()
    if BN in rows(results) and _has_mce(results, row):
      flat[f"mce/{kind}/{mode}"] = corruption_error(results, row).mean()
  if "spread" in results:
    for name, values in results["spread"].items():
      flat[f"spread_over_groups/{name}"] = values[:, -1].mean()
    flat["spread_over_groups/scale_relative"] = results["relative_spread"].mean()
  return flat


def _has_mce(results, row):
  families = corrupted(results)
  whole = len(results["accuracy"][row[0]][row[1]]) == len(conditions(results))
  return families and whole and not without_reference(results)


# --- checks -----------------------------------------------------------------------------


def _needs(*needed):
  """A decorator for checks: not tested where rows or a second seed are missing."""

  def decorate(decide):
    def checked(results):
      if absent := [f"{k}/{m}" for k, m in needed if (k, m) not in rows(results)]:
        return check.not_tested(f"{', '.join(absent)} was not run.")
      return check.with_seeds(2)(decide)(results)

    return checked

  return decorate


def _difference(results, a, b, condition, margin=0.0):
  return check.greater(
    accuracy(results, a, condition),
    accuracy(results, b, condition),
    margin=margin,
    quantity=f"accuracy of {'/'.join(a)} − {'/'.join(b)}, {condition}, points",
  )


def _greater(a, b, condition=None, margin=0.0):
  """Row a is more accurate than row b, under the headline's noise or another condition."""
  return _needs(a, b)(lambda r: _difference(r, a, b, condition or headline(r), margin))


def _everywhere(pairs, margin=0.0):
  """The first row of each pair is more accurate, on clean images and the headline's noise."""

  def decide(results):
    parts = {
      f"{'/'.join(a)} over {'/'.join(b)}, {c}": _difference(results, a, b, c, margin)
      for a, b in pairs
      for c in ("clean", headline(results))
    }
    return check.every(parts)

  return _needs(*(row for pair in pairs for row in pair))(decide)


def _under_noise(a, b, names):
  """Row a is more accurate than row b at every level of these noises."""

  def decide(results):
    found = [c for name in names for c in noises(results, name)]
    if not found:
      return check.not_tested(f"no level of {', '.join(names)} was run.")
    return check.every({c: _difference(results, a, b, c) for c in found})

  return _needs(a, b)(decide)


def _gap(results, row, whole, single):
  """Share of the gap between one image and a batch that a row closes on clean images."""
  low, high = accuracy(results, single), accuracy(results, whole)
  if np.any(high <= low):
    return None
  return (accuracy(results, row) - low) / (high - low)


_NO_GAP = check.not_tested("with some seed a single image is as good as a batch.")


def _half_closed(row, whole, single, wanted):
  """`wanted`, check.above or check.below, half of the gap is closed."""

  @_needs(row, whole, single)
  def decide(results):
    share = _gap(results, row, whole, single)
    if share is None:
      return _NO_GAP
    return wanted(share, 0.5, quantity=f"share of the gap to {'/'.join(whole)} closed, clean")

  return decide


_BN_TURNS = (("bn", "dynamic_rotated"), DYNAMIC, ("bn", "dynamic_single"))
_LN_TURNS = (TURNS_VOTE, BATCH, SINGLE_VOTE)


@_needs(*_BN_TURNS, *_LN_TURNS)
def _gaps(results):
  mine, theirs = _gap(results, *_LN_TURNS), _gap(results, *_BN_TURNS)
  if mine is None or theirs is None:
    return _NO_GAP
  return check.greater(mine, theirs, quantity="share closed, LN − dynamic BN, clean")


@check.with_seeds(2)
def _spread(results):
  if "spread" not in results:
    return check.not_tested("LocalNorm was not run.")
  parts = {
    name: check.above(
      values[:, -1] / values.max(1), 0.9, quantity="spread at the end / at its largest"
    )
    for name, values in results["spread"].items()
  }
  return check.every(parts)


def _with_corruptions(*needed):
  """A decorator for checks of the mCE, which needs errors of BN in every family."""

  def decorate(decide):
    def checked(results):
      if not corrupted(results):
        return check.not_tested("no corruption was run.")
      if perfect := without_reference(results):
        return check.not_tested(f"BN makes no error under {', '.join(perfect)}.")
      return decide(results)

    return _needs(BN, *needed)(checked)

  return decorate


def _less_corrupted(results, a, b):
  names = f"{'/'.join(b)} − {'/'.join(a)}"
  mine, theirs = corruption_error(results, a), corruption_error(results, b)
  return check.greater(theirs, mine, quantity=f"mCE of {names}")


@_with_corruptions(VOTE, DYNAMIC)
def _corruptions(results):
  parts = {f"below {'/'.join(b)}": _less_corrupted(results, VOTE, b) for b in (BN, DYNAMIC)}
  return check.every(parts)


@_with_corruptions(VOTE, DYNAMIC_VOTE)
def _corruptions_vote(results):
  return _less_corrupted(results, VOTE, DYNAMIC_VOTE)


def _gain(results, row, family):
  """Points of error in a family that LN-Voting saves against a row, mean over severities."""
  return 100 * (errors(results, row)[family] - errors(results, VOTE)[family]).mean(0)


@_with_corruptions(VOTE, DYNAMIC)
def _every_corruption(results):
  parts = {
    f"{family}, {'/'.join(row)}": check.above(
      _gain(results, row, family), 0.0, quantity="error that ln/vote saves, points"
    )
    for family in corrupted(results)
    for row in (BN, DYNAMIC)
  }
  return check.every(parts)


@_with_corruptions(VOTE)
def _noise_and_blur(results):
  gains = {family: _gain(results, BN, family) for family in corrupted(results)}
  chosen = [g for name, g in gains.items() if name.endswith(("_noise", "_blur"))]
  others = [g for name, g in gains.items() if not name.endswith(("_noise", "_blur"))]
  if not chosen or not others:
    return check.not_tested("noise and blur, or all others, were not run.")
  return check.greater(
    np.mean(chosen, 0),
    np.mean(others, 0),
    quantity="error saved under noise and blur − under the others, points",
  )


@_needs(BATCH, VOTE, GHOST, GHOST_VOTE)
def _separate_affine(results):
  pairs = {"one pass": (BATCH, GHOST), "votes": (VOTE, GHOST_VOTE)}
  parts = {
    f"{name}, {c}": _difference(results, a, b, c)
    for name, (a, b) in pairs.items()
    for c in ("clean", headline(results))
  }
  if BN in rows(results) and _has_mce(results, VOTE):
    parts |= {f"{n}, mCE": _less_corrupted(results, a, b) for n, (a, b) in pairs.items()}
  return check.every(parts)


def _never(why):
  return lambda results: check.not_tested(why)


# --- claims -----------------------------------------------------------------------------

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
    check=_under_noise(VOTE, BN, ("agn", "apn", "mbn")),
  ),
  Claim(
    "better_than_dynamic",
    source="Fig. 6a, sec. 5",
    statement="LN-Voting is more accurate than dynamic BN under Gaussian noise.",
    expected="higher, paired, at σ = 1 (paper: substantially, without a number)",
    check=_greater(VOTE, DYNAMIC),
  ),
  Claim(
    "better_than_dynamic_elsewhere",
    source="Fig. 6b-c, sec. 5",
    statement="So it is under Poisson and Bernoulli noise.",
    expected="higher, paired, at every level",
    check=_under_noise(VOTE, DYNAMIC, ("apn", "mbn")),
  ),
  Claim(
    "clean_accuracy",
    source="Table 1",
    statement="LN-Voting is as accurate as BN on clean images, or better.",
    expected="at most half a point below (paper, VGG: +6.5)",
    check=_greater(VOTE, BN, "clean", margin=-0.5),
  ),
  Claim(
    "voting_most_accurate",
    source="sec. 3, Table 1",
    statement="LN-Voting is the most accurate way to test; it beats LN-Batch.",
    expected="higher, paired, clean and at σ = 1 (paper, VGG, clean: +3.2)",
    check=_everywhere([(VOTE, BATCH)]),
  ),
  Claim(
    "dynamic_costs_accuracy",
    source="Table 1",
    statement="Dynamic BN is less accurate than BN on clean images.",
    expected="lower, paired, with batches as in training (paper, VGG: by 1.2)",
    check=_greater(BN, DYNAMIC, "clean"),
  ),
  Claim(
    "batch_beats_dynamic",
    source="Table 1",
    statement="LN-Batch is more accurate than dynamic BN on clean images.",
    expected="higher, paired, both in batches as in training (paper, VGG: +4.4)",
    check=_greater(BATCH, DYNAMIC, "clean"),
  ),
  Claim(
    "single_image_suffers",
    source="Table 1, CIFAR-10",
    statement="On small images one image's own statistics do not suffice.",
    expected="LN-Single below LN-Batch on clean images, paired (paper, VGG: by 26)",
    check=_greater(BATCH, SINGLE, "clean"),
  ),
  Claim(
    "single_image_robust",
    source="Fig. 6a, sec. 5",
    statement="LN-Single and LN-Single-Voting still are more robust to noise than BN.",
    expected="both above BN, paired, at σ = 1",
    check=_needs(SINGLE, SINGLE_VOTE, BN)(
      lambda r: check.every(
        {row[1]: _difference(r, row, BN, headline(r)) for row in (SINGLE, SINGLE_VOTE)}
      )
    ),
  ),
  Claim(
    "rotations_suffice",
    source="Fig. 8",
    statement="With its turns in the statistics, one small image does as well as LN-Batch.",
    expected="one group and voting both at most 1 point below LN-Batch, clean and at σ = 1",
    check=_everywhere([(TURNS, BATCH), (TURNS_VOTE, BATCH)], margin=-1.0),
  ),
  Claim(
    "rotations_help",
    source="Fig. 8",
    statement="A weaker form: the turns close most of the gap that one small image leaves.",
    expected="more than half of the gap to LN-Batch, voting, clean",
    check=_half_closed(*_LN_TURNS, check.above),
  ),
  Claim(
    "rotations_insufficient_for_dynamic",
    source="Fig. 8",
    statement="The turns improve dynamic BN on one image only modestly.",
    expected="less than half of the gap to dynamic BN on a batch closed, clean",
    check=_half_closed(*_BN_TURNS, check.below),
  ),
  Claim(
    "rotations_need_localnorm",
    source="Fig. 8",
    statement="They close more of LocalNorm's gap than of dynamic BN's.",
    expected="a larger share of the gap, paired, clean",
    check=_gaps,
  ),
  Claim(
    "corruptions",
    source="sec. 5, CIFAR-10-C",
    statement="The mean corruption error falls below that of BN and of dynamic BN.",
    expected="mCE of LN-Voting below both, paired",
    check=_corruptions,
  ),
  Claim(
    "every_corruption",
    source="Fig. 7a, CIFAR-10-C",
    statement="LN-Voting is better than BN and dynamic BN under every corruption.",
    expected="less error in each family, paired",
    check=_every_corruption,
  ),
  Claim(
    "noise_and_blur_gain_most",
    source="Fig. 7a, CIFAR-10-C",
    statement="It gains most over BN where images are noisy or blurred.",
    expected="more error saved there than under the other families, paired",
    check=_noise_and_blur,
  ),
  Claim(
    "groups_stay_apart",
    source="Fig. 5",
    statement="The groups' scales and shifts do not converge to each other.",
    expected="spread at the end at least 0.9 of its largest in training",
    check=_spread,
  ),
  Claim(
    "training_overhead",
    source="sec. 5",
    statement="LocalNorm costs 10 to 20 % of training time.",
    expected="(not run)",
    check=_never("times of shared machines differ by more from run to run."),
  ),
  Claim(
    "resnet",
    source="Table 1, CIFAR-10-ResNet",
    statement="LN-Voting is level with BN on ResNet-32 (91.65 against 91.74 %).",
    expected="(not run)",
    check=_never("there is no ResNet-32 here whose norms can be exchanged."),
  ),
  Claim(
    "large_images",
    source="Fig. 6d-f, Stanford Cars",
    statement="One large image suffices; accuracy stays above 74 % under every noise.",
    expected="(not run)",
    check=_never("needs ResNet-152, pretrained, on 224 × 224 images."),
  ),
  Claim(
    "imagenet",
    source="sec. 5",
    statement="VGG-16 on ImageNet: mCE falls from 0.8597 to 0.8036 (batch), 0.7045 (voting).",
    expected="(not run)",
    check=_never("needs ImageNet and ImageNet-C."),
  ),
  Claim(
    "few_images_a_group",
    source="sec. 5",
    statement="4 to 8 images a group do best.",
    expected="(not run)",
    check=_never("one number of groups is run; --config.groups=16 trains another."),
  ),
  Claim(
    "from_batch_norm",
    source="sec. 3",
    statement="A trained BN network becomes LocalNorm by copying its scales and shifts.",
    expected="(not run)",
    check=_never("all networks are trained from the start."),
  ),
  Claim(
    "control_matched_vote",
    source="control",
    statement="LN-Voting beats as many votes of dynamic BN over random groupings.",
    expected="higher, paired, at σ = 1",
    check=_greater(VOTE, DYNAMIC_VOTE),
    control=True,
  ),
  Claim(
    "control_corruptions_vote",
    source="control",
    statement="So it does in mean corruption error.",
    expected="mCE of LN-Voting below that of the votes of dynamic BN, paired",
    check=_corruptions_vote,
    control=True,
  ),
  Claim(
    "control_same_statistics",
    source="control",
    statement="LN-Batch beats dynamic BN with as few images in the statistics.",
    expected="higher, paired, clean and at σ = 1",
    check=_everywhere([(BATCH, DYNAMIC_SMALL)]),
    control=True,
  ),
  Claim(
    "control_separate_affine",
    source="control",
    statement="Separate scales and shifts matter: LocalNorm beats ghost BN, like for like.",
    expected="one pass and votes: higher on clean images and at σ = 1, lower mCE; paired",
    check=_separate_affine,
    control=True,
  ),
  Claim(
    "control_groups_differ",
    source="control",
    statement="What sets the groups apart matters: their mean in all groups does worse.",
    expected="LN-Batch above the same with the mean scale and shift, clean and at σ = 1",
    check=_everywhere([(BATCH, ("ln", "mean"))]),
    control=True,
  ),
  Claim(
    "control_group_rate",
    source="control",
    statement="Gradients of γ_k and β_k times K, as one shared pair has them, help.",
    expected="LN-Voting above the same without, paired, clean and at σ = 1",
    check=_everywhere([(("ln_rate", "vote"), VOTE)]),
    control=True,
  ),
  Claim(
    "control_groups_in_training",
    source="control",
    statement="Training in groups matters: ghost BN beats BN, both with dynamic statistics.",
    expected="higher, paired, at σ = 1, than on M images and on a batch as in training",
    check=_needs(GHOST, DYNAMIC, DYNAMIC_SMALL)(
      lambda r: check.every(
        {b[1]: _difference(r, GHOST, b, headline(r)) for b in (DYNAMIC_SMALL, DYNAMIC)}
      )
    ),
    control=True,
  ),
  Claim(
    "control_rotations",
    source="control",
    statement="The turns need LocalNorm: one group with turns beats ghost BN with turns.",
    expected="higher, paired, clean and at σ = 1",
    check=_everywhere([(TURNS, ("ghost", "dynamic_rotated"))]),
    control=True,
  ),
  Claim(
    "control_readings",
    source="control",
    statement="The gain over BN does not hang on how the printed noise is read.",
    expected="LN-Voting above BN, paired: clipped, zero-mean, added and keeping noise",
    check=_under_noise(VOTE, BN, READINGS),
    control=True,
  ),
  Claim(
    "control_group_norm",
    source="control",
    statement="LN-Voting beats norms that need no other test images: group and layer norm.",
    expected="higher than both, paired, at σ = 1",
    check=_needs(VOTE, ("group", "plain"))(
      lambda r: check.every(
        {
          kind: _difference(r, VOTE, (kind, "plain"), headline(r))
          for kind in ("group", "layer")
          if (kind, "plain") in rows(r)
        }
      )
    ),
    control=True,
  ),
)

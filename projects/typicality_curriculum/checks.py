"""Checks of the claims: pure functions of the results, by what they compare.

A run is a random split of a table. Margins are (wins − losses) / runs, their intervals over
seeds, each of which splits every table anew. They hold for these tables.
"""

import numpy as np

from lib.experiment import claims as check
from lib.metrics import ranking, statistics
from projects.typicality_curriculum import methods
from projects.typicality_curriculum import quantities as q

BASE = methods.BASELINE
LEVEL = 0.05
# Printed p-values of the Friedman test; "18e-6" of Table 6 is read both ways.
PRINTED_P = {"mb": 3.78e-6, "ogd": 1.18e-6, "br": 18e-6, "rur": 1e-17}
PRINTED_PAIRS = {(0, 1): 0.001, (0, 2): 0.001, (0, 3): 0.0503}
PRINTED_PAIRS |= {(1, 2): 0.9, (1, 3): 0.1586, (2, 3): 0.2980}


_enough = check.with_seeds(3)

# --- the paper's comparisons


def against(scheduler, other, sign=1, reading="final", quantity="(wins − losses) / runs"):
  """Every curriculum of a scheduler against another method: wins more than it loses."""

  @_enough
  def decide(results):
    parts = {
      c: check.above(
        sign * q.margin(results, f"{scheduler}_{c}", other, reading), 0.0, quantity=quantity
      )
      for c in methods.CURRICULA
    }
    return check.every(parts)

  return decide


def significant(results):
  """The Friedman test of all four schedulers."""
  parts = {}
  for scheduler in methods.SCHEDULERS:
    scores = q.four(results, scheduler)
    p = ranking.friedman(scores).p
    parts[q.LABELS[scheduler]] = check.verdict(
      measured=p,
      seeds=len(results["seeds"]),
      verdict=check.REPRODUCED if p < LEVEL else check.NOT_REPRODUCED,
      why=f"p = {p:.2g} of {len(scores)} runs.",
      quantity="p of the Friedman test",
    )
  return check.every(parts)


def pairs(scheduler, wanted):
  """Nemenyi's p of pairs: (i, j) -> whether it has to be below the level."""

  def decide(results):
    p = ranking.nemenyi(q.four(results, scheduler))
    parts = {}
    for (i, j), small in wanted.items():
      right = (p[i, j] < LEVEL) == small
      parts[f"{'ABCD'[i]}-{'ABCD'[j]}"] = check.verdict(
        measured=p[i, j],
        seeds=len(results["seeds"]),
        verdict=check.REPRODUCED if right else check.NOT_REPRODUCED,
        why=f"p = {p[i, j]:.2g}.",
        quantity="p of Nemenyi's test",
      )
    return check.every(parts)

  return decide


WITH_BASE = [(0, 1), (0, 2), (0, 3)]
AMONG = [(1, 2), (1, 3), (2, 3)]


def mean_margin(results, scheduler, reading="final"):
  return np.mean(
    [q.margin(results, f"{scheduler}_{c}", BASE, reading) for c in methods.CURRICULA], 0
  )


@_enough
def rur_is_best(results):
  """Margins over the baseline, mean of the curricula, RuR minus another scheduler."""
  parts = {
    q.LABELS[other]: check.greater(
      mean_margin(results, "rur"),
      mean_margin(results, other),
      quantity="margin over the baseline, RuR − other",
    )
    for other in ("ogd", "br", "mb")
  }
  return check.every(parts)


@_enough
def repetition_helps(results):
  """Every curriculum under BR against itself under MB."""
  parts = {
    c: check.above(
      q.margin(results, f"br_{c}", f"mb_{c}"), 0.0, quantity="(wins − losses) / runs"
    )
    for c in methods.CURRICULA
  }
  return check.every(parts)


@_enough
def faster(results):
  """Mean accuracy over the epochs against the baseline's."""
  parts = {}
  for scheduler in ("ogd", "br", "rur"):
    for c in methods.CURRICULA:
      found = q.margin(results, f"{scheduler}_{c}", BASE, "mean")
      parts[f"{q.LABELS[scheduler]} {c}"] = check.above(
        found, 0.0, quantity="(wins − losses) / runs, mean over the epochs"
      )
  return check.every(parts)


# --- what else has as many updates, and what the paper leaves open


@_enough
def share_of_gain(results):
  """The part of RuR's gain over the baseline that the longer baseline has too."""
  base = q.accuracy(results, BASE)
  gains = {
    name: 100 * (q.accuracy(results, name) - base).mean(1)
    for name in ("long_ogd", "long_br", "long_rur")
  }
  parts = {}
  for scheduler in ("ogd", "br", "rur"):
    ordered = np.mean(
      [q.difference(results, f"{scheduler}_{c}", BASE) for c in methods.CURRICULA], 0
    )
    if ordered.mean() <= 0:
      parts[q.LABELS[scheduler]] = check.not_tested("there is no gain to explain.")
      continue
    pairs = np.stack([gains[f"long_{scheduler}"], ordered], 1)
    found = statistics.bootstrap(pairs, lambda p: p[:, 0].mean() / max(p[:, 1].mean(), 1e-9))
    parts[q.LABELS[scheduler]] = check.above(
      check.estimate(found.mean, found.low, found.high, found.n),
      0.9,
      quantity="gain of the longer baseline / of the curricula",
    )
  return check.every(parts)


@_enough
def beats_fast(results):
  """Schedulers against a baseline with ten times the learning rate."""
  parts = {}
  for scheduler in ("ogd", "br", "rur"):
    found = [q.margin(results, f"{scheduler}_{c}", "fast_baseline") for c in methods.CURRICULA]
    parts[q.LABELS[scheduler]] = check.above(
      np.mean(found, 0), 0.0, quantity="(wins − losses) / runs, mean of the curricula"
    )
  return check.every(parts)


@_enough
def text_sign(results):
  """C_A with the sign of the text against the printed one."""
  parts = {}
  for scheduler in methods.SCHEDULERS:
    for c in ("entropy", "adjusted"):
      parts[f"{q.LABELS[scheduler]} {c}"] = check.above(
        q.margin(results, f"{scheduler}_{c}", f"{scheduler}_{c}_printed"),
        0.0,
        quantity="(wins − losses) / runs, sign of the text − printed",
      )
  return check.every(parts)


@_enough
def same_graph(results):
  """Orders with both factors of the mean similarity."""
  parts = {
    c: check.above(
      q.stacked(results, "norms")[..., i].mean(1), 0.95, quantity="rank correlation"
    )
    for i, c in enumerate(methods.CURRICULA)
  }
  return check.every(parts)


@_enough
def other_similarity(results):
  """Orders by both similarities."""
  parts = {
    c: check.above(
      q.stacked(results, "similarities")[..., i].mean(1), 0.8, quantity="rank correlation"
    )
    for i, c in enumerate(methods.CURRICULA)
  }
  return check.every(parts)


@_enough
def other_similarity_loses(results):
  """Orders by the other similarity under MB, the baseline against them."""
  parts = {
    c: check.above(
      q.margin(results, BASE, f"mb_{c}_other"), 0.0, quantity="(wins − losses) / runs"
    )
    for c in methods.CURRICULA
  }
  return check.every(parts)


@_enough
def drift_explains(results):
  """Orders whose batches have lopsided classes lose more, over orders and tables."""
  from scipy import stats

  drift = q.stacked(results, "drift")[:, :, : len(methods.ORDERS)]
  loss = np.stack(
    [q.accuracy(results, BASE) - q.accuracy(results, f"mb_{o}") for o in methods.ORDERS], -1
  )
  if np.ptp(drift) == 0 or np.ptp(loss) == 0:
    return check.not_tested("all orders are alike.")
  means = drift.mean(1), loss.mean(1)  # over tables: (seeds, orders)
  found = [stats.spearmanr(d, x).statistic for d, x in zip(*means, strict=True)]
  return check.above(
    np.nan_to_num(found), 0.5, quantity="rank correlation of drift and loss over the orders"
  )


# --- wrong labels

_BY_LABELS = ("entropy", "adjusted")  # the centralities that look at classes


@_enough
def noise_raises_gain(results):
  """What typicality gains over a random order, most wrong labels minus none."""
  parts = {}
  for c in _BY_LABELS:
    found = q.noise_difference(results, f"rur_{c}", "rur_random")
    parts[c] = check.greater(
      found[-1], found[0], quantity="gain over a random order, most − no wrong labels, points"
    )
  return check.every(parts)


@_enough
def gain_without_noise(results):
  """What typicality gains over a random order without wrong labels."""
  if results["noise"]["flips"][0] > 0:
    return check.not_tested("every table has wrong labels.")
  parts = {
    c: check.above(
      q.noise_difference(results, f"rur_{c}", "rur_random")[0],
      0.0,
      quantity="accuracy, typicality − random order, points",
    )
    for c in _BY_LABELS
  }
  return check.every(parts)


def noise_beats_long(best_epoch):
  """RuR against a baseline with as many updates, most wrong labels."""

  @_enough
  def decide(results):
    parts = {
      c: check.above(
        q.noise_difference(results, f"rur_{c}", "long_rur", best_epoch)[-1],
        0.0,
        quantity="accuracy, RuR − baseline with as many updates, points",
      )
      for c in _BY_LABELS
    }
    return check.every(parts)

  return decide


# --- what the printed tables imply


def tied(reading, own_splits=False):
  """Shares of ties within a factor of 2 of the printed ones."""

  def decide(results):
    parts = {}
    for scheduler in methods.SCHEDULERS:
      measured = q.tied(results, scheduler, reading, own_splits)
      limit = results["printed"][scheduler]["ties"].mean() / 270
      alike = limit / 2 < measured < 2 * limit
      parts[q.LABELS[scheduler]] = check.verdict(
        measured=measured,
        seeds=len(results["seeds"]),
        verdict=check.REPRODUCED if alike else check.NOT_REPRODUCED,
        why=f"{measured:.1%} of the pairs tie, {limit:.1%} in print.",
        quantity="share of ties",
      )
    return check.every(parts)

  return decide


def printed_friedman(results):
  """The printed p-values against the bounds that the printed wins give, 10 % for rounding."""
  parts = {}
  for scheduler, printed in PRINTED_P.items():
    high, low = results["printed"][scheduler]["p"]
    digits = 0.5 if scheduler == "rur" else 0.1  # "1e-17" has one digit
    inside = low * (1 - digits) <= printed <= high * (1 + digits)
    parts[q.LABELS[scheduler]] = check.verdict(
      measured=printed / high,
      seeds=1,
      verdict=check.REPRODUCED if inside else check.NOT_REPRODUCED,
      why=f"printed {printed:.3g}, the wins give {low:.3g} to {high:.3g}.",
      quantity="printed p / p of the printed wins",
    )
  return check.every(parts)


def printed_pairs(results):
  """Table 3 against Table 4; p-values below 0.001 and above 0.9 were printed as these."""
  p = np.clip(results["printed"]["mb"]["pairs"], 0.001, 0.9)
  error = max(abs(p[pair] - printed) for pair, printed in PRINTED_PAIRS.items())
  return check.exact(error, 5e-4, quantity="largest error of p")


def printed_ogd(results):
  """Nemenyi's p of baseline and OGD from the printed wins."""
  p = results["printed"]["ogd"]["pairs"]
  parts = {
    f"A-{'ABCD'[j]}": check.exact(p[0, j], LEVEL, quantity="p of Nemenyi's test")
    for j in (1, 2, 3)
  }
  return check.every(parts)

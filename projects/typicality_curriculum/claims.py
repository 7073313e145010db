"""What section 6 says about Tables 3 to 7, as checks over runs of all methods.

A run is a random split of a table. Margins are (wins − losses) / runs, their intervals over
seeds, each of which splits every table anew. They hold for these tables.
"""

import numpy as np

from lib.experiment import Claim
from lib.experiment import claims as check
from lib.metrics import ranking
from projects.typicality_curriculum import methods
from projects.typicality_curriculum import quantities as q

BASE = methods.BASELINE
LEVEL = 0.05
# Printed p-values of the Friedman test; "18e-6" of Table 6 is read both ways.
PRINTED_P = {"mb": 3.78e-6, "ogd": 1.18e-6, "br": 18e-6, "rur": 1e-17}
PRINTED_PAIRS = {(0, 1): 0.001, (0, 2): 0.001, (0, 3): 0.0503}
PRINTED_PAIRS |= {(1, 2): 0.9, (1, 3): 0.1586, (2, 3): 0.2980}


def metrics(results):
  """Accuracies, margins over the baseline, wins and tests of the paper's four groups."""
  flat = {"runs": q.accuracy(results, BASE).size}
  counts = np.stack([t["updates"] for t in results["tables"].values()])  # (tables, schedulers)
  for i, scheduler in enumerate(methods.SCHEDULERS):
    flat[f"updates_over_baseline/{scheduler}"] = (counts[:, i] / counts[:, 0]).mean()
  for method in q.NAMES:
    flat[f"accuracy/{method}"] = q.accuracy(results, method).mean()
    flat[f"mean_accuracy/{method}"] = q.accuracy(results, method, "mean").mean()
  for name in q.NAMES:
    if name != BASE:
      flat[f"margin_over_baseline/{name}"] = q.margin(results, name, BASE).mean()
  letters = "ABCD"
  for scheduler in methods.SCHEDULERS:
    scores = q.four(results, scheduler)
    won = ranking.wins(scores)
    for i, j in zip(*np.nonzero(~np.eye(4, dtype=bool)), strict=True):
      flat[f"wins/{scheduler}/{letters[i]}>{letters[j]}"] = won[i, j]
    flat[f"friedman_p/{scheduler}"] = ranking.friedman(scores).p
    pairs = ranking.nemenyi(scores)
    for i, j in zip(*np.triu_indices(4, 1), strict=True):
      flat[f"nemenyi_p/{scheduler}/{letters[i]}-{letters[j]}"] = pairs[i, j]
    for reading in q.READINGS:
      flat[f"ties/{scheduler}/{reading}"] = q.tied(results, scheduler, reading)
    flat[f"ties/{scheduler}/final, own splits"] = q.tied(results, scheduler, own_splits=True)
    apart = q.four(results, scheduler, own_splits=True)
    flat[f"friedman_p/{scheduler}, own splits"] = ranking.friedman(apart).p
    flat[f"friedman_p_of_printed_wins/{scheduler}"] = results["printed"][scheduler]["p"][0]
  orders = (*methods.ORDERS, *methods.OTHER)
  drift = q.stacked(results, "drift").mean((0, 1))
  flat |= {f"class_drift/{order}": value for order, value in zip(orders, drift, strict=True)}
  for other in ("rur_random", "long_rur", "rur_shuffled"):
    for c in methods.CURRICULA:
      found = q.noise_difference(results, f"rur_{c}", other).mean(1)
      for share, value in zip(results["noise"]["flips"], found, strict=True):
        flat[f"wrong_labels/{share:g}/rur_{c} - {other}"] = value
      found = q.noise_difference(results, f"rur_{c}", other, best_epoch=True).mean(1)
      for share, value in zip(results["noise"]["flips"], found, strict=True):
        flat[f"wrong_labels_best_epoch/{share:g}/rur_{c} - {other}"] = value
  for name in ("edges", "alone", "same_edges"):
    flat[f"graph/{name}"] = q.stacked(results, name).mean()
  for name in ("norms", "similarities"):
    values = q.stacked(results, name).mean((0, 1))
    for order, value in zip(methods.CURRICULA, values, strict=True):
      flat[f"order_correlation/{name}/{order}"] = value
  return flat


# --- checks


_enough = check.with_seeds(3)


def _against(scheduler, other, sign=1, reading="final", quantity="(wins − losses) / runs"):
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


def _significant(results):
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


def _pairs(scheduler, wanted):
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


_WITH_BASE = [(0, 1), (0, 2), (0, 3)]
_AMONG = [(1, 2), (1, 3), (2, 3)]


def _mean_margin(results, scheduler, reading="final"):
  return np.mean(
    [q.margin(results, f"{scheduler}_{c}", BASE, reading) for c in methods.CURRICULA], 0
  )


@_enough
def _rur_is_best(results):
  parts = {
    q.LABELS[other]: check.greater(
      _mean_margin(results, "rur"),
      _mean_margin(results, other),
      quantity="margin over the baseline, RuR − other",
    )
    for other in ("ogd", "br", "mb")
  }
  return check.every(parts)


@_enough
def _repetition_helps(results):
  parts = {
    c: check.above(
      q.margin(results, f"br_{c}", f"mb_{c}"), 0.0, quantity="(wins − losses) / runs"
    )
    for c in methods.CURRICULA
  }
  return check.every(parts)


@_enough
def _faster(results):
  parts = {}
  for scheduler in ("ogd", "br", "rur"):
    for c in methods.CURRICULA:
      found = q.margin(results, f"{scheduler}_{c}", BASE, "mean")
      parts[f"{q.LABELS[scheduler]} {c}"] = check.above(
        found, 0.0, quantity="(wins − losses) / runs, mean over the epochs"
      )
  return check.every(parts)


@_enough
def _share_of_gain(results):
  """The part of RuR's gain over the baseline that the longer baseline has too."""
  from lib.metrics import statistics

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
def _beats_fast(results):
  parts = {}
  for scheduler in ("ogd", "br", "rur"):
    found = [q.margin(results, f"{scheduler}_{c}", "fast_baseline") for c in methods.CURRICULA]
    parts[q.LABELS[scheduler]] = check.above(
      np.mean(found, 0), 0.0, quantity="(wins − losses) / runs, mean of the curricula"
    )
  return check.every(parts)


@_enough
def _text_sign(results):
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
def _same_graph(results):
  parts = {
    c: check.above(
      q.stacked(results, "norms")[..., i].mean(1), 0.95, quantity="rank correlation"
    )
    for i, c in enumerate(methods.CURRICULA)
  }
  return check.every(parts)


@_enough
def _other_similarity(results):
  parts = {
    c: check.above(
      q.stacked(results, "similarities")[..., i].mean(1), 0.8, quantity="rank correlation"
    )
    for i, c in enumerate(methods.CURRICULA)
  }
  return check.every(parts)


@_enough
def _other_similarity_loses(results):
  parts = {
    c: check.above(
      q.margin(results, BASE, f"mb_{c}_other"), 0.0, quantity="(wins − losses) / runs"
    )
    for c in methods.CURRICULA
  }
  return check.every(parts)


@_enough
def _drift_explains(results):
  """Orders whose batches have lopsided classes lose more, over orders and tables."""
  from scipy import stats

  drift = q.stacked(results, "drift")[:, :, : len(methods.ORDERS)]
  loss = np.stack(
    [q.accuracy(results, BASE) - q.accuracy(results, f"mb_{o}") for o in methods.ORDERS], -1
  )
  if np.ptp(drift) == 0 or np.ptp(loss) == 0:
    return check.not_tested("all orders are alike.")
  found = [
    stats.spearmanr(d.mean(0) if d.ndim > 1 else d, x.mean(0) if x.ndim > 1 else x).statistic
    for d, x in zip(drift, loss, strict=True)
  ]
  return check.above(
    np.nan_to_num(found), 0.5, quantity="rank correlation of drift and loss over the orders"
  )


_BY_LABELS = ("entropy", "adjusted")  # the centralities that look at classes


@_enough
def _noise_raises_gain(results):
  parts = {}
  for c in _BY_LABELS:
    found = q.noise_difference(results, f"rur_{c}", "rur_random")
    parts[c] = check.greater(
      found[-1], found[0], quantity="gain over a random order, most − no wrong labels, points"
    )
  return check.every(parts)


@_enough
def _gain_without_noise(results):
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


def _noise_beats_long(best_epoch):
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


def _tied(reading, own_splits=False):
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


def _printed_friedman(results):
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


def _printed_pairs(results):
  """Table 3 against Table 4; p-values below 0.001 and above 0.9 were printed as these."""
  p = np.clip(results["printed"]["mb"]["pairs"], 0.001, 0.9)
  error = max(abs(p[pair] - printed) for pair, printed in PRINTED_PAIRS.items())
  return check.exact(error, 5e-4, quantity="largest error of p")


def _printed_ogd(results):
  """Nemenyi's p of baseline and OGD from the printed wins."""
  p = results["printed"]["ogd"]["pairs"]
  parts = {
    f"A-{'ABCD'[j]}": check.exact(p[0, j], LEVEL, quantity="p of Nemenyi's test")
    for j in (1, 2, 3)
  }
  return check.every(parts)


def _beats(statement_id, source, scheduler, other, what, control=True):
  return Claim(
    statement_id,
    source,
    what,
    "each curriculum wins more than it loses",
    _against(scheduler, other),
    control=control,
  )


CLAIMS = (
  Claim(
    "order_alone_loses",
    "Table 4, H1",
    "Mini-batches in a fixed typicality order lose against reshuffled ones.",
    "each curriculum loses more than it wins",
    _against("mb", BASE, -1, quantity="(losses − wins) / runs"),
  ),
  Claim(
    "order_alone_significant",
    "Table 3",
    "Mini-batches: baseline differs from degree and entropy, and not from adjusted; the three "
    "curricula do not differ.",
    "Nemenyi's p below 0.05 for the first two, above for the others",
    _pairs("mb", {(0, 1): True, (0, 2): True, (0, 3): False} | dict.fromkeys(_AMONG, False)),
  ),
  _beats(
    "ogd_beats_baseline",
    "Table 5, H2",
    "ogd",
    BASE,
    "Ordered gradient descent beats the baseline with every curriculum.",
    control=False,
  ),
  _beats(
    "br_beats_baseline",
    "Table 6, H3",
    "br",
    BASE,
    "Batch repetition beats the baseline with every curriculum.",
    control=False,
  ),
  _beats(
    "rur_beats_baseline",
    "Table 7, H4",
    "rur",
    BASE,
    "Repeat until remember beats the baseline with every curriculum.",
    control=False,
  ),
  Claim(
    "friedman_rejects",
    "sec. 6",
    "The four groups differ under every scheduler.",
    "p of the Friedman test below 0.05 for all four",
    _significant,
  ),
  Claim(
    "br_pairs",
    "sec. 6",
    "Batch repetition: baseline differs from each curriculum, and those not from each other.",
    "Nemenyi's p below 0.05 for the first, above for the others",
    _pairs("br", dict.fromkeys(_WITH_BASE, True) | dict.fromkeys(_AMONG, False)),
  ),
  Claim(
    "rur_pairs",
    "sec. 6",
    "Repeat until remember: the same.",
    "Nemenyi's p below 0.05 for the first, above for the others",
    _pairs("rur", dict.fromkeys(_WITH_BASE, True) | dict.fromkeys(_AMONG, False)),
  ),
  Claim(
    "rur_is_best",
    "sec. 7",
    "Repeat until remember is the best of the schedulers.",
    "its margin over the baseline, mean of the curricula, exceeds that of the others, paired",
    _rur_is_best,
  ),
  Claim(
    "repetition_helps_order",
    "sec. 7",
    "Staying longer at a level of difficulty generalises better: BR beats MB.",
    "each curriculum wins more under BR than under MB",
    _repetition_helps,
  ),
  Claim(
    "faster_convergence",
    "sec. 5, hypotheses",
    "Curricula converge faster than the baseline.",
    "mean accuracy over the epochs higher in more runs than lower, OGD, BR and RuR",
    _faster,
  ),
  Claim(
    "order_is_the_only_factor",
    "sec. 6",
    "The order is the only factor in OGD's success: it beats OGD in the baseline's own "
    "reshuffled order.",
    "each curriculum wins more than it loses against reshuffled OGD",
    _against("ogd", "ogd_shuffled"),
  ),
  # --- controls: what else has as many updates
  *(
    _beats(
      f"control_{s}_random_order",
      "control",
      s,
      f"{s}_random",
      f"{q.LABELS[s]}: typicality beats a random order that is as fixed.",
    )
    for s in methods.SCHEDULERS
  ),
  *(
    _beats(
      f"control_{s}_reshuffled",
      "control",
      s,
      f"{s}_shuffled",
      f"{q.LABELS[s]}: a fixed typicality order beats a new order in every epoch.",
    )
    for s in ("br", "rur")
  ),
  *(
    _beats(
      f"control_{s}_equal_updates",
      "control",
      s,
      f"long_{s}",
      f"{q.LABELS[s]} beats a baseline with as many updates.",
    )
    for s in ("ogd", "br", "rur")
  ),
  Claim(
    "control_updates_explain_the_gain",
    "control",
    "As many updates of the baseline gain what the curricula gain.",
    "at least 0.9 of the gain in accuracy for OGD, BR and RuR",
    _share_of_gain,
    control=True,
  ),
  Claim(
    "control_larger_rate",
    "control",
    "OGD, BR and RuR beat a baseline with no more updates and ten times the learning rate.",
    "they win more than they lose, mean of the curricula",
    _beats_fast,
    control=True,
  ),
  Claim(
    "control_sign_of_the_text",
    "control",
    "C_A with the sign of the text gives better orders than as printed.",
    "wins more than it loses, entropy and adjusted under all schedulers",
    _text_sign,
    control=True,
  ),
  Claim(
    "control_mean_similarity",
    "control",
    "The printed factor of the mean similarity changes next to nothing.",
    "rank correlation of the orders above 0.95",
    _same_graph,
    control=True,
  ),
  Claim(
    "control_similarity_function",
    "control",
    "The orders do not depend on the similarity function, which the paper leaves open.",
    "rank correlation of the orders by Gower and by distance above 0.8",
    _other_similarity,
    control=True,
  ),
  Claim(
    "control_order_alone_other_similarity",
    "control",
    "With the other similarity, too, the order alone loses.",
    "each curriculum loses more than it wins under MB",
    _other_similarity_loses,
    control=True,
  ),
  Claim(
    "control_class_drift",
    "control",
    "Orders lose the more, the further the classes of their batches are from the table's.",
    "rank correlation over the orders above 0.5",
    _drift_explains,
    control=True,
  ),
  Claim(
    "control_wrong_labels",
    "control",
    "RuR: what typicality gains over a random order grows with the share of wrong labels.",
    "the gain is larger with the most than without, entropy and adjusted, paired",
    _noise_raises_gain,
    control=True,
  ),
  Claim(
    "control_right_labels",
    "control",
    "RuR: typicality beats a random order where all labels are right.",
    "accuracy higher, entropy and adjusted",
    _gain_without_noise,
    control=True,
  ),
  Claim(
    "control_wrong_labels_equal_updates",
    "control",
    "RuR: with the most wrong labels typicality beats a baseline with as many updates.",
    "accuracy higher, entropy and adjusted",
    _noise_beats_long(best_epoch=False),
    control=True,
  ),
  Claim(
    "control_wrong_labels_best_epoch",
    "control",
    "The same with each stopped at its own best epoch.",
    "accuracy higher, entropy and adjusted",
    _noise_beats_long(best_epoch=True),
    control=True,
  ),
  Claim(
    "control_ties_final",
    "control",
    "Accuracy after the last epoch gives as many ties as the printed tables.",
    "between half and twice their share under every scheduler",
    _tied("final"),
    control=True,
  ),
  Claim(
    "control_ties_mean",
    "control",
    "Mean accuracy over the epochs gives as many ties as the printed tables.",
    "between half and twice their share under every scheduler",
    _tied("mean"),
    control=True,
  ),
  Claim(
    "control_ties_own_splits",
    "control",
    "Accuracy after the last epoch does if every training draws a split of its own.",
    "between half and twice their share under every scheduler",
    _tied("final", own_splits=True),
    control=True,
  ),
  Claim(
    "printed_post_hoc",
    "Tables 3 and 4",
    "The printed p-values of Nemenyi's test follow from the printed wins in 270 runs.",
    "all six within 0.0005",
    _printed_pairs,
    control=True,
  ),
  Claim(
    "printed_friedman",
    "sec. 6, Tables 4-7",
    "The printed p-values of the Friedman test follow from the printed wins in 270 runs.",
    "within what the correction for ties leaves open, all four",
    _printed_friedman,
    control=True,
  ),
  Claim(
    "printed_ogd_pairs",
    "Table 5",
    "By the printed wins OGD differs significantly from the baseline with every curriculum.",
    "Nemenyi's p below 0.05 for all three",
    _printed_ogd,
    control=True,
  ),
)

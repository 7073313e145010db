"""What section 6 says about Tables 3 to 7, and controls; the checks are in `checks`."""

import numpy as np

from lib.experiment import Claim
from lib.metrics import ranking
from projects.typicality_curriculum import checks, methods
from projects.typicality_curriculum import quantities as q


def metrics(results):
  """Accuracies, margins over the baseline, wins and tests of the paper's four groups."""
  flat = {"runs": q.accuracy(results, checks.BASE).size}
  counts = np.stack([t["updates"] for t in results["tables"].values()])  # (tables, schedulers)
  for i, scheduler in enumerate(methods.SCHEDULERS):
    flat[f"updates_over_baseline/{scheduler}"] = (counts[:, i] / counts[:, 0]).mean()
  for method in q.NAMES:
    flat[f"accuracy/{method}"] = q.accuracy(results, method).mean()
    flat[f"mean_accuracy/{method}"] = q.accuracy(results, method, "mean").mean()
  for name in q.NAMES:
    if name != checks.BASE:
      flat[f"margin_over_baseline/{name}"] = q.margin(results, name, checks.BASE).mean()
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


def _beats(statement_id, source, scheduler, other, what, control=True):
  return Claim(
    statement_id,
    source,
    what,
    "each curriculum wins more than it loses",
    checks.against(scheduler, other),
    control=control,
  )


CLAIMS = (
  Claim(
    "order_alone_loses",
    "Table 4, H1",
    "Mini-batches in a fixed typicality order lose against reshuffled ones.",
    "each curriculum loses more than it wins",
    checks.against("mb", checks.BASE, -1, quantity="(losses − wins) / runs"),
  ),
  Claim(
    "order_alone_significant",
    "Table 3",
    "Mini-batches: baseline differs from degree and entropy, and not from adjusted; the three "
    "curricula do not differ.",
    "Nemenyi's p below 0.05 for the first two, above for the others",
    checks.pairs(
      "mb", {(0, 1): True, (0, 2): True, (0, 3): False} | dict.fromkeys(checks.AMONG, False)
    ),
  ),
  _beats(
    "ogd_beats_baseline",
    "Table 5, H2",
    "ogd",
    checks.BASE,
    "Ordered gradient descent beats the baseline with every curriculum.",
    control=False,
  ),
  _beats(
    "br_beats_baseline",
    "Table 6, H3",
    "br",
    checks.BASE,
    "Batch repetition beats the baseline with every curriculum.",
    control=False,
  ),
  _beats(
    "rur_beats_baseline",
    "Table 7, H4",
    "rur",
    checks.BASE,
    "Repeat until remember beats the baseline with every curriculum.",
    control=False,
  ),
  Claim(
    "friedman_rejects",
    "sec. 6",
    "The four groups differ under every scheduler.",
    "p of the Friedman test below 0.05 for all four",
    checks.significant,
  ),
  Claim(
    "br_pairs",
    "sec. 6",
    "Batch repetition: baseline differs from each curriculum, and those not from each other.",
    "Nemenyi's p below 0.05 for the first, above for the others",
    checks.pairs(
      "br", dict.fromkeys(checks.WITH_BASE, True) | dict.fromkeys(checks.AMONG, False)
    ),
  ),
  Claim(
    "rur_pairs",
    "sec. 6",
    "Repeat until remember: the same.",
    "Nemenyi's p below 0.05 for the first, above for the others",
    checks.pairs(
      "rur", dict.fromkeys(checks.WITH_BASE, True) | dict.fromkeys(checks.AMONG, False)
    ),
  ),
  Claim(
    "rur_is_best",
    "sec. 7",
    "Repeat until remember is the best of the schedulers.",
    "its margin over the baseline, mean of the curricula, exceeds that of the others, paired",
    checks.rur_is_best,
  ),
  Claim(
    "repetition_helps_order",
    "sec. 7",
    "Staying longer at a level of difficulty generalises better: BR beats MB.",
    "each curriculum wins more under BR than under MB",
    checks.repetition_helps,
  ),
  Claim(
    "faster_convergence",
    "sec. 5, hypotheses",
    "Curricula converge faster than the baseline.",
    "mean accuracy over the epochs higher in more runs than lower, OGD, BR and RuR",
    checks.faster,
  ),
  Claim(
    "order_is_the_only_factor",
    "sec. 6",
    "The order is the only factor in OGD's success: it beats OGD in the baseline's own "
    "reshuffled order.",
    "each curriculum wins more than it loses against reshuffled OGD",
    checks.against("ogd", "ogd_shuffled"),
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
    checks.share_of_gain,
    control=True,
  ),
  Claim(
    "control_larger_rate",
    "control",
    "OGD, BR and RuR beat a baseline with no more updates and ten times the learning rate.",
    "they win more than they lose, mean of the curricula",
    checks.beats_fast,
    control=True,
  ),
  Claim(
    "control_sign_of_the_text",
    "control",
    "C_A with the sign of the text gives better orders than as printed.",
    "wins more than it loses, entropy and adjusted under all schedulers",
    checks.text_sign,
    control=True,
  ),
  Claim(
    "control_mean_similarity",
    "control",
    "The printed factor of the mean similarity changes next to nothing.",
    "rank correlation of the orders above 0.95",
    checks.same_graph,
    control=True,
  ),
  Claim(
    "control_similarity_function",
    "control",
    "The orders do not depend on the similarity function, which the paper leaves open.",
    "rank correlation of the orders by Gower and by distance above 0.8",
    checks.other_similarity,
    control=True,
  ),
  Claim(
    "control_order_alone_other_similarity",
    "control",
    "With the other similarity, too, the order alone loses.",
    "each curriculum loses more than it wins under MB",
    checks.other_similarity_loses,
    control=True,
  ),
  Claim(
    "control_class_drift",
    "control",
    "Orders lose the more, the further the classes of their batches are from the table's.",
    "rank correlation over the orders above 0.5",
    checks.drift_explains,
    control=True,
  ),
  Claim(
    "control_wrong_labels",
    "control",
    "RuR: what typicality gains over a random order grows with the share of wrong labels.",
    "the gain is larger with the most than without, entropy and adjusted, paired",
    checks.noise_raises_gain,
    control=True,
  ),
  Claim(
    "control_right_labels",
    "control",
    "RuR: typicality beats a random order where all labels are right.",
    "accuracy higher, entropy and adjusted",
    checks.gain_without_noise,
    control=True,
  ),
  Claim(
    "control_wrong_labels_equal_updates",
    "control",
    "RuR: with the most wrong labels typicality beats a baseline with as many updates.",
    "accuracy higher, entropy and adjusted",
    checks.noise_beats_long(best_epoch=False),
    control=True,
  ),
  Claim(
    "control_wrong_labels_best_epoch",
    "control",
    "The same with each stopped at its own best epoch.",
    "accuracy higher, entropy and adjusted",
    checks.noise_beats_long(best_epoch=True),
    control=True,
  ),
  Claim(
    "control_ties_final",
    "control",
    "Accuracy after the last epoch gives as many ties as the printed tables.",
    "between half and twice their share under every scheduler",
    checks.tied("final"),
    control=True,
  ),
  Claim(
    "control_ties_mean",
    "control",
    "Mean accuracy over the epochs gives as many ties as the printed tables.",
    "between half and twice their share under every scheduler",
    checks.tied("mean"),
    control=True,
  ),
  Claim(
    "control_ties_own_splits",
    "control",
    "Accuracy after the last epoch does if every training draws a split of its own.",
    "between half and twice their share under every scheduler",
    checks.tied("final", own_splits=True),
    control=True,
  ),
  Claim(
    "printed_post_hoc",
    "Tables 3 and 4",
    "The printed p-values of Nemenyi's test follow from the printed wins in 270 runs.",
    "all six within 0.0005",
    checks.printed_pairs,
    control=True,
  ),
  Claim(
    "printed_friedman",
    "sec. 6, Tables 4-7",
    "The printed p-values of the Friedman test follow from the printed wins in 270 runs.",
    "within what the correction for ties leaves open, all four",
    checks.printed_friedman,
    control=True,
  ),
  Claim(
    "printed_ogd_pairs",
    "Table 5",
    "By the printed wins OGD differs significantly from the baseline with every curriculum.",
    "Nemenyi's p below 0.05 for all three",
    checks.printed_ogd,
    control=True,
  ),
)

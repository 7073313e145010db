"""What the paper says about Tables 1 and 2 and Fig. 1, as checks over measured results.

Accuracies are in per cent, one number a seed; all comparisons are paired over seeds. The
tables' own numbers for MNIST are in PAPER_MNIST.
"""

import numpy as np

from lib.experiment import Claim
from lib.experiment import claims as check
from lib.metrics import statistics
from projects.capacity import cells

PAPER_MNIST = {  # per cent, mean of 3 trials: Tables 1 and 2
  "none": 98.56,
  "mic": 98.87,
  "eic": 98.86,
  "wd": 98.69,
  "wd+mic": 98.78,
  "wd+eic": 98.78,
  "cp": 98.65,
  "cp+wd": 98.86,
  "cp+mic": 98.97,
  "cp+eic": 98.95,
  "ls": 98.79,
  "ls+wd": 98.85,
  "ls+mic": 98.93,
  "ls+eic": 98.93,
  "vib": 98.66,
  "vib+wd": 98.80,
  "vib+mic": 98.88,
  "vib+eic": 98.81,
}
ADDITIONS = [(base, addition) for base in cells.BASES for addition in ("mic", "eic")]


# --- what is measured -------------------------------------------------------------------


def accuracy(results, cell):
  """Test accuracy after the last epoch in per cent, (seeds,)."""
  return 100 * results["cells"][cell]["test_accuracy"]


def inflation(results, cell):
  """How much keeping the epoch with the best test accuracy adds, in points, (seeds,)."""
  found = results["cells"][cell]
  return 100 * (found["test_accuracy_max_over_epochs"] - found["test_accuracy"])


def serration(curves):
  """Share of a curve's total variation that goes up, in the second half of the training.

  Σ (L_{t+1} − L_t)⁺ / Σ |L_{t+1} − L_t|: 0 for a falling curve, ½ for noise about a level.

  Args:
    curves: (seeds, epochs).
  """
  change = np.diff(np.asarray(curves, np.float64), axis=1)
  change = change[:, change.shape[1] // 2 :]
  total = np.abs(change).sum(1)
  return np.where(total > 0, np.maximum(change, 0).sum(1) / np.where(total > 0, total, 1), 0)


def comparisons(results):
  """{cell with IC: (its accuracy, that of the cell without)}, of those that were run."""
  pairs = {cells.added(base, addition): base for base, addition in ADDITIONS}
  return {
    cell: (accuracy(results, cell), accuracy(results, base))
    for cell, base in pairs.items()
    if cell in results["cells"] and base in results["cells"]
  }


def metrics(results):
  """Flat numbers for results.json."""
  flat = {}
  for cell, found in results["cells"].items():
    values = accuracy(results, cell)
    flat[f"test_accuracy/{cell}"] = values.mean() / 100
    if len(values) > 1:
      flat[f"test_accuracy_sd/{cell}"] = values.std(ddof=1) / 100
    flat[f"best_test_epoch_inflation/{cell}"] = inflation(results, cell).mean() / 100
    for name in (
      "train_cross_entropy",
      "mic_layer_sum",
      "frobenius_norm",
      "spectral_norm_mean",
    ):
      flat[f"{name}/{cell}"] = found[name].mean()
    flat[f"serration/{cell}"] = serration(found["train_cross_entropy_history"]).mean()
  for cell, value in results["chosen"].items():
    flat[f"chosen/{cell}"] = value
  pairs = comparisons(results)
  if pairs and len(results["seeds"]) > 1:
    tests = {cell: statistics.paired_test(*pair) for cell, pair in pairs.items()}
    adjusted = statistics.holm([test.p for test in tests.values()])
    for (cell, test), p in zip(tests.items(), adjusted, strict=True):
      flat[f"accuracy_gain/{cell}"] = test.difference / 100
      flat[f"accuracy_gain_p/{cell}"] = test.p
      flat[f"accuracy_gain_holm_p/{cell}"] = p
  for cell, target in cells.MATCHED.items():
    if cell in results["cells"] and target in results["cells"]:
      got, wanted = (results["cells"][c]["frobenius_norm"].mean() for c in (cell, target))
      flat[f"matched_norm_ratio/{cell}"] = got / wanted
  bounds = np.concatenate(
    [c["bounds_layers"].reshape(-1, 5) for c in results["cells"].values()]
  )
  flat["bound_log_over_twice_mic/frobenius"] = np.mean(bounds[:, 3] / bounds[:, 0])
  flat["bound_log_over_twice_mic/spectral"] = np.mean(bounds[:, 4] / bounds[:, 0])
  return flat


# --- checks -----------------------------------------------------------------------------


def _missing(results, names):
  if absent := [name for name in names if name not in results["cells"]]:
    return check.not_tested(f"the cells {', '.join(absent)} were not run.")
  if len(results["seeds"]) < 2:
    return check.not_tested("one seed has no spread to compare with.")
  return None


def _greater(a, b):
  """Accuracy of cell a exceeds that of cell b, paired."""

  def decide(results):
    return _missing(results, (a, b)) or check.greater(
      accuracy(results, a),
      accuracy(results, b),
      quantity=f"accuracy of {a} − {b}, points",
    )

  return decide


def _all_greater(pairs):
  def decide(results):
    return check.every({f"{a} > {b}": _greater(a, b)(results) for a, b in pairs})

  return decide


def _all_of(parts, quantity):
  """Every part {name: (cells needed, results -> outcome)}."""

  def decide(results):
    found = {}
    for name, (needed, part) in parts.items():
      found[name] = _missing(results, needed) or part(results)
    return check.every(found, quantity=quantity)

  return decide


def _lowered(name, quantity):
  """`name` is lower with MIC and with EIC than in the baseline."""

  def part(cell):
    return lambda results: check.greater(
      results["cells"]["none"][name], results["cells"][cell][name], quantity=quantity
    )

  return _all_of({cell: (("none", cell), part(cell)) for cell in ("mic", "eic")}, quantity)


def _raised(measure, quantity):
  """A measure of the cell's results is higher with MIC and with EIC than in the baseline."""

  def part(cell):
    return lambda results: check.greater(
      measure(results["cells"][cell]), measure(results["cells"]["none"]), quantity=quantity
    )

  return _all_of({cell: (("none", cell), part(cell)) for cell in ("mic", "eic")}, quantity)


def _more_serrated(a, b):
  def part(results):
    curves = [results["cells"][c]["train_cross_entropy_history"] for c in (a, b)]
    return check.greater(*map(serration, curves), quantity="rise of the rising share")

  return part


def beyond_spread(results):
  """Share of additions whose gain exceeds the base's standard deviation over seeds."""
  pairs = comparisons(results)
  if len(pairs) < 2 or len(results["seeds"]) < 2:
    return check.not_tested("needs at least two additions and two seeds.")
  both = np.array(list(pairs.values())).transpose(2, 0, 1)  # (seeds, additions, 2)

  def share(samples):
    gain = (samples[..., 0] - samples[..., 1]).mean(0)
    return np.mean(gain > samples[..., 1].std(0, ddof=1))

  found = statistics.bootstrap(both, share)
  quantity = f"share of {len(pairs)} additions beyond the seeds' spread"
  return check.above(check.estimate(*found), 0.5, quantity=quantity)


def best_is_regularised(results):
  """The best cell of Table 1 has an information-complexity term."""
  missing = _missing(results, cells.TABLE_1)
  if missing:
    return missing
  mean = {cell: accuracy(results, cell).mean() for cell in cells.TABLE_1}
  with_term = max((c for c in mean if "ic" in c), key=mean.get)
  without = max((c for c in mean if "ic" not in c), key=mean.get)
  return _greater(with_term, without)(results)


def complementary(results):
  """With weight decay and MIC (EIC) together, more than with either alone."""
  missing = _missing(results, cells.TABLE_1)
  if missing:
    return missing
  pairs = [(f"wd+{x}", alone) for x in ("mic", "eic") for alone in ("wd", x)]
  return _all_greater(pairs)(results)


def bound_chain(results):
  """Largest relative violation of a ≤ b ≤ modes ≤ c ≤ d over all trained layers."""
  bounds = np.concatenate(
    [c["bounds_layers"].reshape(-1, 5) for c in results["cells"].values()]
  )
  excess = (bounds[:, :-1] - bounds[:, 1:]) / np.maximum(bounds[:, 1:], 1e-12)
  return check.exact(
    max(0.0, float(excess.max())),
    1e-5,
    seeds=len(results["seeds"]),
    quantity=f"largest violation over {len(bounds)} layers",
  )


def beta_lowers_capacity(results):
  """Spearman correlation of β with the exact MIC of the trained layers, one a tuning seed."""
  from scipy import stats

  found = {}
  for cell in ("mic", "eic"):
    if cell not in results["tuning"]:
      found[cell] = check.not_tested(f"{cell} was not tuned.")
      continue
    tuning = results["tuning"][cell]
    mic = tuning["mic_layer_sum"]
    if mic.shape[0] < 3 or mic.shape[1] < 2:
      found[cell] = check.not_tested("needs three values of β and two tuning seeds.")
      continue
    rank = [stats.spearmanr(tuning["values"], column).statistic for column in mic.T]
    found[cell] = check.below(rank, 0.0, quantity="rank correlation of β and exact MIC")
  return check.every(found)


def survives_holm(results):
  """Share of the additions whose gain is positive and significant at 5 % after Holm."""
  pairs = comparisons(results)
  seeds = len(results["seeds"])
  if not pairs or seeds < 2:
    return check.not_tested("needs additions and at least two seeds.")
  tests = [statistics.paired_test(*pair) for pair in pairs.values()]
  adjusted = statistics.holm([test.p for test in tests])
  up, down = (
    [
      cell
      for cell, t, p in zip(pairs, tests, adjusted, strict=True)
      if p < 0.05 and sign * t.difference > 0
    ]
    for sign in (1, -1)
  )
  share = len(up) / len(pairs)
  verdict = check.REPRODUCED if share > 0.5 else check.PARTLY
  verdict = verdict if up else check.NOT_REPRODUCED
  why = (
    f"{len(up)} of {len(pairs)} gains are significant at 5 % after Holm"
    f" ({', '.join(up) or 'none'}); {len(down)} losses are ({', '.join(down) or 'none'})."
  )
  quantity = "share of significant gains"
  return check.verdict(
    measured=share, seeds=seeds, verdict=verdict, why=why, quantity=quantity
  )


def more_than_epoch_choice(results):
  """The gain of MIC (EIC) against what the choice of the epoch on test data adds."""

  def part(cell):
    return lambda r: check.greater(
      accuracy(r, cell) - accuracy(r, "none"),
      inflation(r, "none"),
      quantity=f"gain of {cell} − inflation by the best test epoch, points",
    )

  return _all_of({c: (("none", c), part(c)) for c in ("mic", "eic")}, "")(results)


_HIGHER = "the paired 95 % interval of the difference is above 0"
_EACH = "each paired 95 % interval of the difference is above 0"

CLAIMS = (
  Claim(
    "mic_raises_accuracy",
    "Table 1",
    "MIC raises the test accuracy of the plain network.",
    _HIGHER,
    _greater("mic", "none"),
  ),
  Claim(
    "eic_raises_accuracy",
    "Table 1",
    "EIC raises the test accuracy of the plain network.",
    _HIGHER,
    _greater("eic", "none"),
  ),
  Claim(
    "ic_raises_accuracy_with_wd",
    "Table 1",
    "MIC and EIC raise the test accuracy of a network with weight decay.",
    _EACH,
    _all_greater([("wd+mic", "wd"), ("wd+eic", "wd")]),
  ),
  Claim(
    "ic_always_improves",
    "Tables 1 and 2",
    "Adding MIC or EIC improves accuracy whatever it is added to.",
    _EACH,
    lambda results: _all_greater([(cells.added(b, a), b) for b, a in ADDITIONS])(results),
  ),
  Claim(
    "gains_exceed_seed_spread",
    "Tables 1 and 2",
    "In most settings the gain exceeds the spread over seeds.",
    "more than half of the additions gain more than one standard deviation of their base",
    beyond_spread,
  ),
  Claim(
    "best_cell_has_ic",
    "Table 1",
    "The best cell of the table is one with MIC or EIC.",
    _HIGHER + " (best cell with, best cell without)",
    best_is_regularised,
  ),
  Claim(
    "wd_is_complementary",
    "Table 1 (SVHN, CIFAR-10)",
    "Weight decay and MIC (EIC) together beat either alone.",
    _EACH,
    complementary,
  ),
  Claim(
    "mic_beats_other_regularisers",
    "Table 2",
    "MIC alone beats CP, LS and VIB, each with and without weight decay.",
    _EACH,
    _all_greater([("mic", f"{b}{wd}") for b in ("cp", "ls", "vib") for wd in ("", "+wd")]),
  ),
  Claim(
    "ic_beats_wd_as_addition",
    "Table 2",
    "On top of CP, LS and VIB, MIC and EIC help more than weight decay.",
    _EACH,
    _all_greater(
      [(f"{b}+{x}", f"{b}+wd") for b in ("cp", "ls", "vib") for x in ("mic", "eic")]
    ),
  ),
  Claim(
    "lowers_exact_capacity",
    "sec. 3.3",
    "Training with MIC or EIC lowers the exact MIC of the linear layers.",
    "each paired 95 % interval of baseline − regularised is above 0",
    _lowered("mic_layer_sum", "drop of the layers' exact MIC, nats"),
  ),
  Claim(
    "lowers_frobenius_norm",
    "sec. 3.2",
    "Training with MIC or EIC lowers the Frobenius norm of the weights.",
    "each paired 95 % interval of baseline − regularised is above 0",
    _lowered("frobenius_norm", "drop of ‖W‖_F"),
  ),
  Claim(
    "lowers_spectral_norm",
    "sec. 3.2",
    "Training with MIC or EIC lowers the spectral norm of the layers.",
    "each paired 95 % interval of baseline − regularised is above 0",
    _lowered("spectral_norm_mean", "drop of the layers' mean ‖W‖_2"),
  ),
  Claim(
    "beta_controls_capacity",
    "sec. 3.3",
    "Minimising the surrogate or the bound constrains the exact MIC: a larger β lowers it.",
    "the 95 % interval of the rank correlation over tuning seeds is below 0",
    beta_lowers_capacity,
  ),
  Claim(
    "bound_chain_holds",
    "sec. 3.2",
    "2 MIC is bounded by the printed chain of products, Frobenius and spectral norms.",
    "no inequality is violated in any trained layer (relative 1e-5)",
    bound_chain,
  ),
  Claim(
    "serrated_training_curves",
    "Fig. 1",
    "Training curves with MIC and EIC are more serrated than without.",
    "each paired 95 % interval of the rising share of the variation is above the baseline's",
    _raised(
      lambda found: serration(found["train_cross_entropy_history"]),
      "rise of the share of upward variation",
    ),
  ),
  Claim(
    "leaves_low_training_loss",
    "Fig. 1",
    "With MIC and EIC the training loss ends higher than without.",
    "each paired 95 % interval of the final cross entropy is above the baseline's",
    _raised(lambda found: found["train_cross_entropy"], "rise of the training cross entropy"),
  ),
  Claim(
    "control_equal_budget",
    "control",
    "MIC and EIC beat a baseline that got as many trials (its learning rate tuned).",
    _EACH,
    _all_greater([("mic", "lr"), ("eic", "lr")]),
    control=True,
  ),
  Claim(
    "control_matched_norm",
    "control",
    "MIC and EIC beat weight decay that ends at the same ‖W‖_F.",
    _EACH,
    _all_greater([(target, cell) for cell, target in cells.MATCHED.items()]),
    control=True,
  ),
  Claim(
    "control_serration",
    "control",
    "MIC and EIC make the curves serrated; weight decay of the same norm does it less.",
    "each paired 95 % interval of the rising share is above that of the matched weight decay",
    _all_of(
      {
        target: ((target, cell), _more_serrated(target, cell))
        for cell, target in cells.MATCHED.items()
      },
      "rise of the share of upward variation",
    ),
    control=True,
  ),
  Claim(
    "control_holm",
    "control",
    "Most gains of MIC and EIC survive the correction for testing all of them.",
    "more than half of the additions gain significantly at 5 % after Holm",
    survives_holm,
    control=True,
  ),
  Claim(
    "control_code_reading",
    "control",
    "As the authors' program computes them, MIC and EIC raise accuracy too.",
    _EACH,
    _all_greater([("mic_code", "none"), ("eic_code", "none")]),
    control=True,
  ),
  Claim(
    "control_epoch_chosen_on_test",
    "control",
    "MIC and EIC gain more than choosing the epoch on the test data adds to the baseline.",
    "each paired 95 % interval of gain − inflation is above 0",
    more_than_epoch_choice,
    control=True,
  ),
)

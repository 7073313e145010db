"""What the paper says about Table 1 and Fig. 1-4, as checks over measured results.

Rates and errors are in per cent, one number a seed; comparisons are paired over seeds.
"""

import dataclasses

import numpy as np

from lib.experiment import Claim
from lib.experiment import claims as check

# --- what is measured -------------------------------------------------------------------


def penalised(results, penalty=None):
  """Name of the method with the headline's penalty, or with another."""
  return f"jr_{float(results['penalty'] if penalty is None else penalty):g}"


def test_error(results, method):
  """Per cent of clean test images misclassified, (seeds,)."""
  return 100 * results["methods"][method]["test_error"]


def evasion(results, method, epsilon=None):
  """Untargeted universal evasion rate in per cent, (seeds,).

  At the headline's ε the mean over attacks in several orders of the images, which differ by
  points; at another, one attack.
  """
  if epsilon in (None, results["epsilon"]):
    return 100 * results["methods"][method]["restarts"]["evasion"].mean(1)
  column = int(np.argmin(np.abs(results["epsilons"] - epsilon)))
  return 100 * results["methods"][method]["untargeted"]["evasion"][:, column]


def random_evasion(results, method):
  """Per cent of test images misclassified under a random δ = ±ε, (seeds,)."""
  return 100 * results["methods"][method]["random_evasion"]


def evasion_by_small_steps(results, method):
  """Mean over as many orders of the images, by the attack with small steps, (seeds,)."""
  return 100 * results["methods"][method]["small_steps"]["evasion"].mean(1)


def strongest(results, method):
  """Evasion rate of the attack that is the best on validation images, (seeds,)."""
  found = results["methods"][method]["restarts"]
  best = np.argmax(found["validation_evasion"], 1)
  return 100 * np.take_along_axis(found["evasion"], best[:, None], 1)[:, 0]


def success(results, method):
  """Targeted success rate in per cent, mean over the classes, (seeds,)."""
  return 100 * results["targeted"][method]["success"].mean(1)


def success_of_others(results, method):
  """The same among images that are not of the target's class."""
  return 100 * results["targeted"][method]["success_of_others"].mean(1)


def jacobian(results, method, name):
  """A statistic of the exact Jacobians, (seeds,)."""
  return np.asarray(results["methods"][method]["jacobians"][name], np.float64)


def rank_correlations(results, name):
  """Spearman's over the methods, of a statistic of the Jacobians with evasion, (seeds,).

  0 where all methods are alike, which says nothing.
  """
  from scipy import stats

  def correlation(a, b):
    return stats.spearmanr(a, b).statistic if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0

  methods = list(results["methods"])
  x = np.stack([jacobian(results, method, name) for method in methods], 1)
  y = np.stack([evasion(results, method) for method in methods], 1)
  return np.array([correlation(a, b) for a, b in zip(x, y, strict=True)])


def metrics(results):
  """Flat numbers for results.json."""
  flat = {}
  for method in results["methods"]:
    flat[f"test_error/{method}"] = test_error(results, method).mean() / 100
    for epsilon in results["epsilons"]:
      rate = evasion(results, method, epsilon)
      flat[f"evasion/{method}/{epsilon:g}"] = rate.mean() / 100
    flat[f"strongest_evasion/{method}"] = strongest(results, method).mean() / 100
    small = evasion_by_small_steps(results, method)
    flat[f"evasion_by_small_steps/{method}"] = small.mean() / 100
    flat[f"train_error/{method}"] = results["methods"][method]["train_error"].mean()
    flat[f"random_evasion/{method}"] = random_evasion(results, method).mean() / 100
    for name in ("norm", "similarity", "similarity_centred", "largest_eigenvalue"):
      flat[f"jacobian_{name}/{method}"] = jacobian(results, method, name).mean()
  for method, found in results["targeted"].items():
    rates = found["success"]
    flat[f"targeted_success/{method}"] = rates.mean()
    flat[f"targeted_success_sd_over_classes/{method}"] = rates.std(1, ddof=1).mean()
  uat = results["uat"]
  for i, step in enumerate(uat["steps"]):
    flat[f"uat_chosen/step_{step:g}"] = np.mean(uat["step"] == step)
    for name in sorted(set(uat) - {"step", "steps"}):
      flat[f"uat_{name.removeprefix('uat_')}/step_{step:g}"] = uat[name][:, i].mean()
  return flat


# --- checks -----------------------------------------------------------------------------


_enough = check.with_seeds(2)


def _clean_cost(results):
  difference = test_error(results, penalised(results)) - test_error(results, "standard")
  return check.between(difference, -0.5, 0.5, quantity="test error of JR − standard, points")


def _times(a, b, factor, quantity):
  """Whether a is more than `factor` times b, paired over seeds: a − factor b above 0."""
  found = check.greater(a, factor * b, quantity=f"{quantity}, points")
  ratio = np.mean(a) / max(np.mean(b), 1e-9)
  return dataclasses.replace(found, why=f"ratio of the means {ratio:.3g}; {found.why}")


def _halved(measure, quantity):
  def decide(results):
    plain, ours = measure(results, "standard"), measure(results, penalised(results))
    return _times(plain, ours, 2, f"{quantity} of standard − 2 · JR")

  return decide


def _four_times(results):
  """At the radius where the ratio of the means is largest."""

  def pair(epsilon):
    return tuple(evasion(results, m, epsilon) for m in ("standard", penalised(results)))

  def mean_ratio(epsilon):
    plain, ours = pair(epsilon)
    return plain.mean() / max(ours.mean(), 1e-9)

  best = max(results["epsilons"], key=mean_ratio)
  return _times(*pair(best), 4, f"evasion of standard − 4 · JR at ε = {best:g}")


def _beats_uat(results):
  ours = penalised(results)
  parts = {
    "clean error": check.greater(test_error(results, "uat"), test_error(results, ours)),
    "untargeted": check.greater(evasion(results, "uat"), evasion(results, ours)),
    "targeted": check.greater(success(results, "uat"), success(results, ours)),
  }
  return check.every(parts, quantity="UAT − JR, points")


def _vulnerable(results):
  rates = evasion(results, "standard")
  return check.above(rates, 80.0, quantity="evasion rate of standard training, per cent")


def _uat_costs(results):
  uat, plain = test_error(results, "uat"), test_error(results, "standard")
  return _times(uat, plain, 1.5, "test error of UAT − 1.5 · standard")


def _uat_protects(results):
  plain, uat = evasion(results, "standard"), evasion(results, "uat")
  return _times(plain, uat, 2, "evasion of standard − 2 · UAT")


def _flat_then_falls(results):
  plain = test_error(results, "standard")
  parts = {}
  for penalty in sorted(results["penalties"]):
    cost = test_error(results, penalised(results, penalty)) - plain
    name = f"λ = {penalty:g}"
    if penalty <= 0.1:
      parts[name] = check.between(cost, -0.5, 0.5)
  largest = max(results["penalties"])
  if not parts or largest <= 0.1:
    return check.not_tested("needs a penalty up to 0.1 and one above.")
  last = test_error(results, penalised(results, largest))
  before = test_error(
    results, penalised(results, max(p for p in results["penalties"] if p <= 0.1))
  )
  parts[f"λ = {largest:g} costs"] = check.greater(last, before)
  return check.every(parts, quantity="rise in test error, points")


def _diminishing(results):
  penalty, largest = float(results["penalty"]), max(results["penalties"])
  if penalty == largest:
    return check.not_tested("needs a penalty above the headline's.")
  plain, small, large = (
    evasion(results, m) for m in ("standard", penalised(results), penalised(results, largest))
  )
  return check.greater(
    plain - small,
    small - large,
    quantity=f"drop in evasion up to λ = {penalty:g} − from there to {largest:g}, points",
  )


def _lower(name, quantity):
  def decide(results):
    return check.greater(
      jacobian(results, "standard", name),
      jacobian(results, penalised(results), name),
      quantity=quantity,
    )

  return decide


def _correlated(results):
  return check.above(
    rank_correlations(results, "similarity"),
    0.5,
    quantity="rank correlation of similarity and evasion over methods",
  )


def _bound_orders(results):
  return check.above(
    rank_correlations(results, "bound_squared"),
    0.5,
    quantity="rank correlation of the bound and evasion over methods",
  )


def _norm_correlates_better(results):
  return check.greater(
    rank_correlations(results, "norm"),
    rank_correlations(results, "similarity"),
    quantity="rank correlation with evasion, norm − similarity",
  )


def _stack(results, name):
  return np.concatenate([jacobian(results, m, name) for m in results["methods"]])


def _printed_identity(results):
  stacked = _stack(results, "stacked_squared")
  error = np.abs(_stack(results, "inner_products") - stacked) / np.maximum(stacked, 1e-30)
  return check.exact(
    error.max(), 1e-3, seeds=len(results["seeds"]), quantity="relative difference"
  )


def _printed_norms(results):
  """‖J_N δ‖₂ / (‖J_N‖_F ‖δ‖_∞), the largest of all networks and radii."""
  found = []
  for method, values in results["methods"].items():
    stacked = np.sqrt(jacobian(results, method, "stacked_squared"))[:, None]
    untargeted = values["untargeted"]
    bound = np.maximum(stacked * untargeted["size"], 1e-30)  # 0 of a network that is constant
    found.append(untargeted["linear_effect"] / bound)
  return check.exact(
    max(f.max() for f in found), 1.0, seeds=len(results["seeds"]), quantity="left / right side"
  )


def _printed_sign(results):
  """What δ gains over the clean error against the gradient, less half of that along it."""
  clean = test_error(results, "standard")
  against = 100 * results["methods"]["standard"]["as_printed"]["evasion"] - clean
  along = evasion(results, "standard") - clean
  return check.greater(
    against, along / 2, quantity="evasion gained along −Σ ∇L − half of that along +, points"
  )


def _small_steps(results):
  """How much stronger the headline's steps are, plain and penalised, in points."""
  parts = {
    method: check.greater(evasion(results, method), evasion_by_small_steps(results, method))
    for method in ("standard", penalised(results))
  }
  return check.every(parts, quantity="evasion, steps of the headline − small ones, points")


def _beats_random(results):
  return check.greater(
    evasion(results, "standard"),
    random_evasion(results, "standard"),
    quantity="evasion of the UAP − of a random δ, points",
  )


def _noise(results):
  names = [name for name in results["methods"] if name.startswith("noise")]
  if not names:
    return check.not_tested("no network was trained with noise.")
  parts = {
    name: check.greater(evasion(results, name), evasion(results, penalised(results)))
    for name in names
  }
  return check.every(parts, quantity="evasion of noise training − JR, points")


CLAIMS = (
  Claim(
    "standard_is_vulnerable",
    source="sec. 4.2, Fig. 2",
    statement="A network trained plainly is vulnerable to universal perturbations.",
    expected="untargeted evasion rate above 80 per cent (paper, MNIST: 85.9)",
    check=_enough(_vulnerable),
  ),
  Claim(
    "evasion_halved",
    source="Table 1, Fig. 2",
    statement="The headline penalty lowers the untargeted evasion rate strongly.",
    expected="standard / JR above 2 (paper, MNIST: 4.2)",
    check=_enough(_halved(evasion, "evasion")),
  ),
  Claim(
    "up_to_four_times",
    source="abstract, sec. 4.2",
    statement="The evasion rate falls by up to four times.",
    expected="standard / JR above 4 at the radius where it is largest",
    check=_enough(_four_times),
  ),
  Claim(
    "targeted_halved",
    source="Table 1, Fig. 3",
    statement="The targeted success rate, mean over classes, falls as strongly.",
    expected="standard / JR above 2 (paper, MNIST: 4.0)",
    check=_enough(_halved(success, "targeted success")),
  ),
  Claim(
    "no_clean_cost",
    source="Table 1",
    statement="The headline penalty costs no clean accuracy.",
    expected="test errors within half a point",
    check=_enough(_clean_cost),
  ),
  Claim(
    "flat_then_falls",
    source="Fig. 1",
    statement="Accuracy is flat for λ up to 0.1 and falls beyond.",
    expected="within half a point up to 0.1, and the largest λ worse than that",
    check=_enough(_flat_then_falls),
  ),
  Claim(
    "diminishing_returns",
    source="sec. 4.2, Fig. 2",
    statement="Most of the protection comes from the headline's small penalty.",
    expected="it removes more evasion than all that is added to it",
    check=_enough(_diminishing),
  ),
  Claim(
    "uat_protects",
    source="Table 1",
    statement="Universal adversarial training lowers the evasion rate strongly.",
    expected="standard / UAT above 2 (paper, MNIST: 3.1)",
    check=_enough(_uat_protects),
  ),
  Claim(
    "uat_costs_accuracy",
    source="sec. 4.2, Table 1",
    statement="Universal adversarial training doubles the clean error.",
    expected="UAT / standard above 1.5 (paper: 2.0 and 1.8)",
    check=_enough(_uat_costs),
  ),
  Claim(
    "better_than_uat",
    source="Table 1",
    statement="The penalty is better than UAT on clean error, evasion and targeted success.",
    expected="all three lower, paired",
    check=_enough(_beats_uat),
  ),
  Claim(
    "norms_fall",
    source="sec. 3.1",
    statement="The penalty lowers the Frobenius norms of the Jacobians.",
    expected="mean exact norm of test images lower, paired",
    check=_enough(_lower("norm", "mean ‖J‖_F of standard − JR")),
  ),
  Claim(
    "similarity_falls",
    source="Fig. 4",
    statement="The penalty lowers the median cosine similarity of two inputs' Jacobians.",
    expected="lower, paired (paper, MNIST: 0.58 to 0.18)",
    check=_enough(_lower("similarity", "median similarity of standard − JR")),
  ),
  Claim(
    "similarity_predicts_evasion",
    source="abstract, sec. 4.3",
    statement="The similarity is highly correlated with the observed robustness.",
    expected="rank correlation over the methods above 0.5",
    check=_enough(_correlated),
  ),
  Claim(
    "bound_orders_networks",
    source="sec. 3.1, eq. 9",
    statement="The lower the bound (Σ_ij ‖J_i‖_F ‖J_j‖_F)^½, the less is evaded.",
    expected="rank correlation over the methods above 0.5",
    check=_enough(_bound_orders),
  ),
  Claim(
    "inner_products_as_printed",
    source="derivation of eq. 9",
    statement="‖J_N‖_F² = Σ_ij ⟨J_i, J_j⟩ for the stacked Jacobian.",
    expected="equal to a thousandth (it is the norm of the summed Jacobian instead)",
    check=_printed_identity,
  ),
  Claim(
    "operator_bound_as_used",
    source="eq. 6",
    statement="‖J_N δ‖₂ ≤ ‖J_N‖_F ‖δ‖_p also for the p = ∞ of the experiments.",
    expected="never above 1 (it holds for p = 2)",
    check=_printed_norms,
  ),
  Claim(
    "direction_as_printed",
    source="sec. 2.1",
    statement="Steps along −Σ ∇L make an untargeted perturbation.",
    expected="it gains half of the evasion that +Σ ∇L gains, or more",
    check=_enough(_printed_sign),
  ),
  Claim(
    "control_random_perturbation",
    source="control",
    statement="A universal perturbation evades more than a random one of equal size.",
    expected="higher, paired",
    check=_enough(_beats_random),
    control=True,
  ),
  Claim(
    "control_strongest_attack",
    source="control",
    statement="The evasion rate is halved under the strongest attack of several, too.",
    expected="standard / JR above 2, each with the order that is best for the attack",
    check=_enough(_halved(strongest, "largest evasion")),
    control=True,
  ),
  Claim(
    "control_small_steps",
    source="control",
    statement="Small steps make weaker perturbations than the first author's.",
    expected="lower evasion rate, paired by order, plain and penalised",
    check=_enough(_small_steps),
    control=True,
  ),
  Claim(
    "control_halved_by_small_steps",
    source="control",
    statement="The evasion rate is halved under an attack with small steps, too.",
    expected="standard / JR above 2",
    check=_enough(_halved(evasion_by_small_steps, "evasion by small steps")),
    control=True,
  ),
  Claim(
    "control_targeted_others",
    source="control",
    statement="Targeted success falls as strongly among images of the other classes.",
    expected="standard / JR above 2",
    check=_enough(_halved(success_of_others, "targeted success, other classes,")),
    control=True,
  ),
  Claim(
    "control_noise_training",
    source="control",
    statement="The penalty protects better than Gaussian noise in training.",
    expected="lower evasion, paired",
    check=_enough(_noise),
    control=True,
  ),
  Claim(
    "control_similarity_without_shift",
    source="control",
    statement="The similarity falls too when a common shift of the logits is taken out.",
    expected="lower, paired",
    check=_enough(_lower("similarity_centred", "median centred similarity of standard − JR")),
    control=True,
  ),
  Claim(
    "control_norm_predicts_better",
    source="control",
    statement="The plain norm of the Jacobians predicts evasion better than their similarity.",
    expected="higher rank correlation over the methods, paired over seeds",
    check=_enough(_norm_correlates_better),
    control=True,
  ),
)

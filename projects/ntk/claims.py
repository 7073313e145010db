"""The paper's claims and the controls it lacks, as pure functions of the measured results."""

import numpy as np

from lib.experiment import Claim
from lib.experiment import claims as check
from lib.metrics import statistics
from projects.ntk import quantities as q
from projects.ntk.quantities import PARAMETERS, B

PAPER_WIDTHS = (100, 1000, 10_000)
ENOUGH = 8  # networks below which a fourth moment or a distribution is not estimated

# Exponents count as −1/2 inside this interval. The maximum of m Gaussians grows like
# √(2 log m), which adds +0.07 over these widths, and m = 100 is not yet asymptotic.
HALF = (-0.6, -0.35)
BOUNDED = 0.2  # exponent below which a fourth moment counts as not growing


# --- helpers -------------------------------------------------------------------------------


def _fit(stage, samples, at=None):
  """The exponent's estimate for `check`, or None when it cannot be fitted."""
  at = q.widths(stage) if at is None else at
  if len(at) < 2:
    return None
  fit = q.exponent(stage, samples, at)
  return check.estimate(fit.exponent, fit.low, fit.high, fit.n)


def _exponent_between(stage, samples, low, high, quantity, at=None):
  fit = _fit(stage, samples, at)
  if fit is None:
    return check.not_tested("an exponent needs at least two widths.")
  return check.between(fit, low, high, quantity=quantity)


def _change(parameter):
  return lambda member: member["change_max"][:, -1, parameter]


def _rms_change(parameter):
  return lambda member: member["change_rms"][:, -1, parameter]


def _shift(name):
  return lambda member: member[f"{name}_shift"]


def _largest(stage):
  return q.widths(stage)[-1]


def _paper_widths(stage):
  """The paper's widths, or where a preset has others, all."""
  return [m for m in q.widths(stage) if m in PAPER_WIDTHS] or q.widths(stage)


def _odd(results):
  return [name for name in ("tanh", "erf") if name in results]


# --- Figs. 1, 2, 4 -------------------------------------------------------------------------


def relative_residual(stage, width):
  """RMS residual after training over the RMS of the targets, (seeds,)."""
  residual = q.members(stage, width)["residual"][:, -1].astype(np.float64)
  weight = stage["weight"]
  return np.sqrt((residual**2 @ weight) / (stage["y"] ** 2 @ weight))


def outputs_fit(results):
  """Fig. 1."""
  stage = results["relu"]
  return check.every(
    {
      f"m={m}": check.below(relative_residual(stage, m), 0.1, quantity="relative residual")
      for m in _paper_widths(stage)
    }
  )


def parameters_rest(results):
  """Figs. 2 and 4."""
  stage = results["relu"]
  return check.every(
    {
      name: _exponent_between(stage, _change(i), *HALF, "exponent of max_j |change|")
      for i, name in enumerate(PARAMETERS)
    }
  )


# --- Figs. 3, 5 ----------------------------------------------------------------------------


def pre_sums_rest(results):
  """Fig. 3, for a and a0."""
  stage = results["relu"]
  return check.every(
    {
      name: _exponent_between(
        stage, _shift(name), *HALF, f"exponent of sup_s |shift of {name.upper()}|"
      )
      for name in ("a", "a0")
    }
  )


def b_sum_moves(results):
  """Fig. 5: the size of the shift does not depend on m."""
  stage = results["relu"]
  at = [m for m in q.widths(stage) if m >= 1000] or q.widths(stage)
  return check.every(
    {
      "exponent": _exponent_between(
        stage, _shift("b"), -0.1, 0.1, "exponent of sup_s |shift of B|", at
      ),
      f"size at m={at[-1]}": check.above(
        q.members(stage, at[-1])["b_shift"], 0.05, quantity="sup_s |shift of B|"
      ),
    }
  )


def b_follows_theory(results):
  """The line of the infinite-width theory, network by network."""
  stage = results["relu"]
  m = _largest(stage)
  return check.below(
    q.theory_error(q.members(stage, m)), 0.05, quantity=f"relative error at m={m}"
  )


# --- Figs. 6, 7, Theorems 1, 2 -------------------------------------------------------------


def _deviation(parameter):
  return lambda member: q.Energy(member).max_deviation[:, parameter]


def _energy_change(parameter):
  return lambda member: q.Energy(member).max_change[:, parameter]


def energies_conserved(results):
  """Theorem 2: max_t |E − 1| vanishes with the width."""
  stage = results["relu"]
  m = _largest(stage)
  parts = {}
  for i, name in enumerate(PARAMETERS):
    parts[f"{name} exponent"] = _exponent_between(
      stage, _deviation(i), -np.inf, HALF[1], "exponent of max_t |E − 1|"
    )
    parts[f"{name} at m={m}"] = check.below(
      _deviation(i)(q.members(stage, m)), 0.01, quantity="max_t |E − 1|"
    )
  return check.every(parts)


def energy_change_faster(results):
  """An addition: the change from the own initial value is of higher order."""
  stage = results["relu"]
  return check.every(
    {
      name: _exponent_between(
        stage, _energy_change(i), -1.25, -0.75, "exponent of max_t |E(t) − E(0)|"
      )
      for i, name in enumerate(PARAMETERS)
    }
  )


def growth_of_fourth_moment(stage, parameter):
  """Exponent of sup E|P_s − P_u|⁴/|s − u|² in m with its bootstrap interval, or None."""
  at = [m for m in q.widths(stage) if q.networks(stage, m) >= ENOUGH]
  if len(at) < 2:
    return None
  sups = np.stack([q.sup_fourth_moment(q.members(stage, m), parameter) for m in at])
  x = np.log(at)
  x = x - x.mean()
  slopes = x @ np.log(np.maximum(sups, 1e-300)) / (x @ x)
  low, high = np.quantile(slopes[1:], [0.025, 0.975])
  seeds = min(q.networks(stage, m) for m in at)
  return check.estimate(slopes[0], low, high, seeds)


def _tight(stage, parameter):
  growth = growth_of_fourth_moment(stage, parameter)
  if growth is None:
    return check.not_tested(f"needs {ENOUGH} networks at two widths.")
  return check.below(growth, BOUNDED, quantity="exponent of sup E|P_s − P_u|⁴/|s − u|²")


def tightness(results):
  """Theorem 1: the fourth moments are bounded uniformly, that is, do not grow with m."""
  return check.every({name: _tight(results["relu"], i) for i, name in enumerate(PARAMETERS)})


def donsker_p_values(stage):
  """p-values of tests that the processes at t = 0 are independent Brownian motions.

  For each width with enough networks and each parameter: Kolmogorov-Smirnov tests of P_1
  against N(0, 1) and of ten increments, scaled, pooled over networks; and for each pair of
  parameters the correlation of P_1.
  """
  from scipy import stats

  found = {}
  for m in q.widths(stage):
    if q.networks(stage, m) < ENOUGH:
      continue
    start = np.asarray(q.members(stage, m)["start"], np.float64)
    pieces = np.linspace(0, start.shape[-1] - 1, 11).astype(int)
    increments = np.diff(start[..., pieces], axis=-1) * np.sqrt(10)
    for i, name in enumerate(PARAMETERS):
      found[f"{name}_1, m={m}"] = stats.kstest(start[:, i, -1], "norm").pvalue
      found[f"{name} increments, m={m}"] = stats.kstest(
        increments[:, i].ravel(), "norm"
      ).pvalue
      j = (i + 1) % 3
      found[f"{name}, {PARAMETERS[j]}, m={m}"] = stats.pearsonr(
        start[:, i, -1], start[:, j, -1]
      ).pvalue
  return found


def donsker(results):
  """At t = 0: independent Brownian motions."""
  stage = results["relu"]
  p = donsker_p_values(stage)
  if not p:
    return check.not_tested(f"needs {ENOUGH} networks at a width.")
  adjusted = statistics.holm(list(p.values()))
  least = float(adjusted.min())
  which = list(p)[int(np.argmin(adjusted))]
  verdict = "reproduced" if least > 0.05 else "not_reproduced" if least < 1e-3 else "partly"
  return check.verdict(
    measured=least,
    seeds=min(n for m in q.widths(stage) if (n := q.networks(stage, m)) >= ENOUGH),
    verdict=verdict,
    why=(
      f"the least of {len(p)} p-values after Holm's adjustment is {least:.3g} ({which}); "
      "below 0.001 would reject, above 0.05 is no evidence against."
    ),
    quantity="adjusted p-value",
  )


# --- controls ------------------------------------------------------------------------------


def odd_activations(results):
  """μ = 0, so B has no line to follow: what the paper's σ ≥ 0 is for."""
  parts = {}
  for name in _odd(results):
    stage = results[name]
    m = _largest(stage)
    parts[f"{name} exponent"] = _exponent_between(
      stage, _shift("b"), *HALF, "exponent of sup_s |shift of B|"
    )
    if m in q.widths(results["relu"]):
      moved = np.mean(q.members(results["relu"], m)["b_shift"])
      parts[f"{name} at m={m}"] = check.below(
        q.members(stage, m)["b_shift"] / moved, 0.1, quantity="sup_s |shift of B| over ReLU's"
      )
  return check.every(parts) if parts else check.not_tested("no odd activation was run.")


def mean_field_moves(results):
  """Single parameters move by an amount that does not shrink, and energies change."""
  stage = results["mean_field"]
  if not q.widths(stage):
    return check.not_tested("no width was run in the mean-field parametrisation.")
  m = _largest(stage)
  energy = q.energy(stage, m)
  return check.every(
    {
      "exponent of change of b": _exponent_between(
        stage, _rms_change(B), -0.15, 0.15, "exponent of the RMS change"
      ),
      f"RMS change of b, m={m}": check.above(
        _rms_change(B)(q.members(stage, m)), 0.1, quantity="RMS change"
      ),
      f"energy of b, m={m}": check.above(
        energy.max_change[:, B], 0.05, quantity="max_t |E(t) − E(0)|"
      ),
    }
  )


def mean_field_not_tight(results):
  """The check of Theorem 1 fails where it should: Σ b_j drifts by m."""
  growth = growth_of_fourth_moment(results["mean_field"], B)
  if growth is None:
    return check.not_tested(f"needs {ENOUGH} networks at two widths.")
  return check.above(growth, BOUNDED, quantity="exponent of sup E|B_s − B_u|⁴/|s − u|²")


def wider(results):
  """Beyond the paper's largest width, everything goes on as before."""
  stage = results["relu"]
  at = [m for m in q.widths(stage) if m >= max(PAPER_WIDTHS)]
  if len(at) < 2:
    return check.not_tested("no width beyond the paper's 10000 in this preset.")
  m = at[-1]
  return check.every(
    {
      "A": _exponent_between(stage, _shift("a"), -0.75, -0.25, "exponent, sup_s |shift|", at),
      "B": _exponent_between(stage, _shift("b"), -0.25, 0.25, "exponent, sup_s |shift|", at),
      f"theory at m={m}": check.below(
        q.theory_error(q.members(stage, m)), 0.02, quantity="relative error"
      ),
    }
  )


def discretisation(results):
  """Descent with the default step against the gradient flow, relative, (seeds,)."""
  return _against_flow(results["flow"], 0)


def _against_flow(flow, i):
  exact = np.asarray(flow["flow"]["shift"][:, -1, B], np.float64)
  found = np.asarray(flow[f"descent_{i}"]["shift"][:, -1, B], np.float64)
  size = np.sqrt(np.mean(np.abs(exact).max(-1) ** 2))
  return np.abs(found - exact).max(-1) / size


def descent_is_flow(results):
  """The step of descent does not matter, and what it does is of first order."""
  flow = results["flow"]
  parts = {"step": check.below(discretisation(results), 0.01, quantity="relative difference")}
  count = len(flow["step_sizes"])
  if count > 1:
    errors = np.stack([_against_flow(flow, i) for i in range(count)], 1)
    steps = np.log(flow["step_sizes"])

    def order(errors):  # of the same networks at each step
      return np.polyfit(steps, np.log(errors.mean(0)), 1)[0]

    found = statistics.bootstrap(errors, order)
    parts["order"] = check.between(found, 0.8, 1.2, quantity="order in the step")
  return check.every(parts)


def real_data(results):
  """The theory line on a real regression."""
  stage = results["real"]
  m = _largest(stage)
  return check.below(
    q.theory_error(q.members(stage, m)), 0.1, quantity=f"relative error at m={m}"
  )


CLAIMS = (
  Claim(
    "outputs_fit",
    "Fig. 1",
    "After training, networks of widths 100, 1000 and 10000 pass through the training points.",
    "RMS residual below 10 % of the targets' RMS at each width",
    outputs_fit,
  ),
  Claim(
    "parameters_rest",
    "Figs. 2, 4",
    "No single parameter changes in a wide network.",
    "max_j |change| of a, a0 and b falls like m^-0.5 (exponent in [-0.6, -0.35])",
    parameters_rest,
  ),
  Claim(
    "pre_sums_rest",
    "Fig. 3",
    "The cumulative sums of the pre-neuronal parameters do not change in a wide network.",
    "sup_s |shift| of A and A0 falls like m^-0.5 (exponent in [-0.6, -0.35])",
    pre_sums_rest,
  ),
  Claim(
    "b_sum_moves",
    "Fig. 5",
    "The cumulative sum of the post-neuronal weights moves by an amount that stays.",
    "sup_s |shift| of B: exponent in [-0.1, 0.1] from m = 1000 on, size above 0.05",
    b_sum_moves,
  ),
  Claim(
    "b_follows_theory",
    "Sec. 3",
    "The shift of B is driven by E[σ]: a straight line in s, which the tangent kernel gives.",
    "relative error of the closed form below 5 % at the largest width",
    b_follows_theory,
  ),
  Claim(
    "energies_conserved",
    "Theorem 2, Figs. 6, 7",
    "The energies of a, a0 and b are 1 at all times in the limit of infinite width.",
    "max_t |E − 1| is O(m^-0.5) (exponent below -0.35) and below 0.01 at the largest width",
    energies_conserved,
  ),
  Claim(
    "tightness",
    "Theorem 1",
    "The processes are tight: E|P_s − P_u|⁴/|s − u|² is bounded over widths and times.",
    "its supremum does not grow with m (exponent below 0.2) for A, A0 and B",
    tightness,
  ),
  Claim(
    "donsker",
    "Sec. 3",
    "At t = 0 the processes converge to independent Brownian motions.",
    "no Kolmogorov-Smirnov or correlation test rejects (adjusted p above 0.05)",
    donsker,
  ),
  Claim(
    "energy_change_faster",
    "addition",
    "Energies change from their own initial value by O(1/m), less than their sampling error.",
    "exponent of max_t |E(t) − E(0)| in [-1.25, -0.75] for a, a0 and b",
    energy_change_faster,
    control=True,
  ),
  Claim(
    "odd_activation_control",
    "control",
    "With an odd activation E[σ] = 0, and B rests like A.",
    "sup_s |shift| of B: exponent in [-0.6, -0.35], below a tenth of ReLU's at the end",
    odd_activations,
    control=True,
  ),
  Claim(
    "mean_field_control",
    "control",
    "In the mean-field parametrisation parameters move and the energy is not conserved.",
    "RMS change of b: exponent in [-0.15, 0.15], above 0.1; energy of b changes by over 0.05",
    mean_field_moves,
    control=True,
  ),
  Claim(
    "mean_field_not_tight",
    "control",
    "In the mean-field parametrisation the sums of b at this scale are not tight.",
    "sup E|B_s − B_u|⁴/|s − u|² grows with m (exponent above 0.2)",
    mean_field_not_tight,
    control=True,
  ),
  Claim(
    "wider_than_paper",
    "control",
    "Widths of 10⁵ and 10⁶ continue what the paper shows up to 10⁴.",
    "exponents −1/2 ± 1/4 for A and 0 ± 1/4 for B; theory error below 2 % at the largest",
    wider,
    control=True,
  ),
  Claim(
    "descent_is_flow",
    "control",
    "Gradient descent as simulated is the gradient flow that the theorems are about.",
    "B differs by less than 1 % from an integrator of order 5; order in the step 0.8 to 1.2",
    descent_is_flow,
    control=True,
  ),
  Claim(
    "real_data",
    "addition",
    "The closed form holds on a real regression (diabetes, body-mass index).",
    "relative error of B's line below 10 % at the largest width",
    real_data,
    control=True,
  ),
)


# --- metrics -------------------------------------------------------------------------------


def metrics(results):
  """Flat numbers: means over networks, exponents with their intervals."""
  found = {}

  def exponents(name, stage, samples):
    if len(q.widths(stage)) > 1:
      fit = q.exponent(stage, samples)
      found[name] = fit.exponent
      found[f"{name}_low"], found[f"{name}_high"] = fit.low, fit.high

  stages = [name for name in results if q.widths(results[name])]
  for prefix, stage in (("" if n == "relu" else f"{n}/", results[n]) for n in stages):
    for name in PARAMETERS:
      exponents(f"{prefix}{name}_shift_exponent", stage, _shift(name))
    for m in q.widths(stage):
      member = q.members(stage, m)
      for name in PARAMETERS:
        found[f"{prefix}{name}_shift/width_{m}"] = np.mean(member[f"{name}_shift"])
      found[f"{prefix}networks/width_{m}"] = q.networks(stage, m)
      found[f"{prefix}final_loss/width_{m}"] = np.mean(member["final_loss"])
      if prefix in ("", "real/"):
        error = q.theory_error(member).mean()
        found[f"{prefix}b_shift_vs_theory_relative_error/width_{m}"] = error
  for prefix, name in (("", "relu"), ("mean_field/", "mean_field")):
    stage = results[name]
    for i, parameter in enumerate(PARAMETERS):
      exponents(f"{prefix}{parameter}_max_change_exponent", stage, _change(i))
      exponents(f"{prefix}{parameter}_rms_change_exponent", stage, _rms_change(i))
      exponents(f"{prefix}{parameter}_energy_deviation_exponent", stage, _deviation(i))
      exponents(f"{prefix}{parameter}_energy_change_exponent", stage, _energy_change(i))
      growth = growth_of_fourth_moment(stage, i)
      if growth is not None:
        found[f"{prefix}{parameter}_fourth_moment_exponent"] = growth.mean
      for m in q.widths(stage):
        energy = q.energy(stage, m)
        at = f"{parameter}/width_{m}"
        found[f"{prefix}energy_max_deviation/{at}"] = energy.max_deviation[:, i].mean()
        found[f"{prefix}energy_max_change/{at}"] = energy.max_change[:, i].mean()
        found[f"{prefix}energy_monte_carlo_error/{at}"] = energy.error[:, i].max()
        if q.networks(stage, m) >= ENOUGH:
          sup = q.sup_fourth_moment(q.members(stage, m), i, resamples=0)[0]
          found[f"{prefix}sup_fourth_moment/{at}"] = sup
  found["descent_vs_flow_relative_difference"] = discretisation(results).mean()
  return found

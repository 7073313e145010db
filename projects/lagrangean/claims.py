"""The paper's statements and controls, as pure functions of the measured results."""

import numpy as np

from lib.experiment import Claim
from lib.experiment import claims as check
from projects.lagrangean import memory, quantities
from projects.lagrangean.quantities import metrics

__all__ = ["CLAIMS", "metrics"]

# Limits, fixed before the runs: agreement of formulas and of exact solutions to rounding
# (1e-12), the targets of the long run (energy 1e-9, norm 1e-12), "bounded" as a power of time
# below 0.3 and "secular" as one above 0.7.
ROUNDING = 1e-12
ENERGY, NORM = 1e-9, 1e-12
BOUNDED, SECULAR = 0.3, 0.7


# --- the paper -------------------------------------------------------------------------------


def fields_agree(results):
  """Eqs. 9, 14 and 18."""
  found = results["fields"]
  return check.every(
    {
      name: check.below(found[key].max((1, 2)), ROUNDING, quantity="relative difference")
      for name, key in (("from H", "hamilton"), ("from L", "euler_lagrange"))
    }
  )


def hamilton_form(results):
  """Eqs. 23 and 24, printed to coincide with eq. 14."""
  ratio = results["fields"]["printed"].mean((1, 2))
  return check.between(ratio, 0.999, 1.001, quantity="speed of eq. 24 / eq. 14")


def energy_conserved(results):
  """Eq. 19, with constant V."""
  found = results["inputs"]
  return check.every(
    {
      name: check.below(found[case]["energy"], ENERGY, quantity="energy drift")
      for name, case in (("no input", "silent"), ("constant V", "constant_v"))
    }
  )


def constant_w(results):
  """Constant W is enough."""
  return check.below(
    results["inputs"]["constant_vw"]["energy"], ENERGY, quantity="energy drift"
  )


def energy_balance(results):
  """With changing input the energy moves, by the work done."""
  found = results["inputs"]["changing"]
  return check.every(
    {
      "moves": check.above(found["energy"], 1e-3, quantity="energy drift"),
      "balance": check.below(found["energy_balance"], 1e-8, quantity="change less work"),
    }
  )


def norm_as_printed(results):
  """Sec. 6 for the equations as they stand there, with input."""
  return check.below(results["inputs"]["constant_vw"]["norm"], NORM, quantity="norm drift")


def norm_corrected(results):
  """Conserved without input, and with it by its law."""
  found = results["inputs"]
  return check.every(
    {
      "no input": check.below(found["silent"]["norm"], NORM, quantity="norm drift"),
      "law, constant": check.below(
        found["constant_vw"]["norm_balance"], NORM, quantity="change less integral"
      ),
      "law, changing": check.below(
        found["changing"]["norm_balance"], 1e-9, quantity="change less integral"
      ),
    }
  )


def divergence_free(results):
  """Sec. 7: the flow of eq. 25 keeps volumes."""
  found = results["volume"]
  divergence = results["fields"]["divergence"].max((1, 2))
  return check.every(
    {
      "divergence": check.below(divergence, ROUNDING, quantity="|trace| / largest derivative"),
      "det Dφ": check.below(found["volume_gauss4"], 1e-10, quantity="|det − 1|"),
      "Dφ symplectic": check.below(found["symplectic_gauss4"], 1e-10, quantity="error"),
      "cloud": check.below(found["cloud"], 1e-4, quantity="|volume ratio − 1|"),
    }
  )


def linear_network(results):
  """Sec. 4: g = 1 is the FFML network."""
  found = results["linear"]
  return check.every(
    {
      "splitting": check.below(found["splitting"], 1e-11, quantity="relative error"),
      "gauss4": check.below(found["gauss4"], 1e-4, quantity="relative error"),
    }
  )


def reversible(results):
  """Sec. 7, conservation of information: there and back."""
  found = results["reversal"]
  return check.every(
    {
      "returns": check.below(found["gauss4"][:, 0], 1e-8, quantity="distance to the start"),
      "has been away": check.above(found["moved_gauss4"][:, 0], 0.1, quantity="distance gone"),
      "explicit is worse": check.above(
        np.log10(found["rk4"] / found["gauss4"])[:, 0], 2.0, quantity="decades"
      ),
    }
  )


def lattice_limit(results):
  """Sec. 4, the NLS correspondence."""
  powers = quantities.power_of(results["frequencies"], results["limit"]["error"])
  return check.between(powers, -1.2, -0.8, quantity="power of ω0 of the distance")


def pulse_travels(results):
  """A localized state that travels at the group velocity and keeps its width."""
  found = results["pulse"]
  ratio = found["nonlinear"]["velocity"] / found["theory_velocity"]
  return check.every(
    {
      "velocity": check.between(ratio, 0.9, 1.1, quantity="velocity / ω'(k)"),
      "width": check.between(
        found["nonlinear"]["spread"], 0.67, 1.5, quantity="width after / before"
      ),
      "linear spreads": check.above(
        found["linear"]["spread"], 2.0, quantity="width after / before"
      ),
    }
  )


def oscillates(results):
  """Sec. 8, oscillations, beside what dissipative networks do with the same couplings."""
  found = results["contrast"]
  lasting = "variance, last over first quarter"
  return check.every(
    {
      "lagrangean": check.between(
        found["lagrangean"]["persistence"], 0.5, 2.0, quantity=lasting
      ),
      "linear": check.between(found["linear"]["persistence"], 0.5, 2.0, quantity=lasting),
      "dcm grows": check.above(found["dcm"]["growth"], 3.0, quantity="decades"),
      "damped dcm decays": check.below(
        found["dcm_damped"]["growth"], -3.0, quantity="decades"
      ),
      "dcm turns": check.below(found["dcm"]["turns"], 0.5, quantity="turning points"),
    }
  )


def hopfield_rests(results):
  """With symmetric couplings a Hopfield network comes to rest."""
  return check.below(
    results["contrast"]["hopfield"]["persistence"], 0.01, quantity="variance, last over first"
  )


# --- integrators -----------------------------------------------------------------------------


def long_run(results):
  """The targets of Gauss-Legendre 4."""
  return check.every(
    {
      "energy": check.below(
        quantities.long_drift(results, "energy"), ENERGY, quantity="energy drift"
      ),
      "norm": check.below(quantities.long_drift(results, "norm"), NORM, quantity="norm drift"),
      "bounded": check.below(
        quantities.long_growth(results), BOUNDED, quantity="power of time"
      ),
    }
  )


def explicit_drifts(results):
  """Explicit methods lose energy all the time, symplectic ones do not."""
  parts = {}
  for method in results["compare"]:
    powers = quantities.growth(results, method)
    if method in ("midpoint", "gauss4", "gauss6"):
      parts[method] = check.below(powers, BOUNDED, quantity="power of time")
    else:
      parts[method] = check.above(powers, SECULAR, quantity="power of time")
  return check.every(parts)


def dissipative_divergence(results):
  """DCM and Hopfield do not keep volumes."""
  found = results["fields"]
  return check.every(
    {
      "dcm": check.above(np.abs(found["divergence_dcm"]), 0.1, quantity="|div| per neuron"),
      "hopfield": check.below(found["divergence_hopfield"], -0.1, quantity="div per neuron"),
    }
  )


def large_networks(results):
  """Up to 10⁴ neurons, one network each."""
  return check.every(
    {
      name: check.exact(float(found["norm"]), NORM, quantity="norm drift")
      for name, found in results["scale"].items()
    }
  )


# --- beyond the paper ------------------------------------------------------------------------


def identification(results):
  """From noiseless data exactly, from noisy ones in proportion to the noise."""
  found = results["identification"]
  error = quantities.best_restart(found, "identification_error")[..., -1]  # longest data
  noises = found["noises"]
  parts = {}
  if noises[0] == 0:
    parts["noiseless"] = check.below(error[:, 0], 1e-6, quantity="relative error of Ω")
  noisy = noises > 0
  if noisy.sum() > 1:
    powers = quantities.power_of(noises[noisy], error[:, noisy])
    parts["proportional"] = check.between(powers, 0.8, 1.2, quantity="power of the noise")
  return check.every(parts) if parts else check.not_tested("needs data without noise.")


def memory_capacity(results):
  """Dephasing with Hebbian couplings against a Hopfield network of equal size."""
  found, loads = results["memory"], results["loads"]
  return check.greater(
    quantities.capacity(loads, found["linear"]),
    quantities.capacity(loads, found["hopfield"]),
    margin=0.05,
    quantity="difference of capacities",
  )


def memory_theory(results):
  """The overlap is that of a projection."""
  found, loads = results["memory"], results["loads"]
  expected = memory.theory(loads, float(results["flips"]))
  distance = np.abs(found["linear"].mean(0) - expected).max()
  spread = found["linear"].std(0, ddof=1).max() / np.sqrt(len(found["linear"]))
  estimate = check.estimate(
    distance, distance - 2 * spread, distance + 2 * spread, len(found["cue"])
  )
  return check.below(estimate, 0.05, quantity="largest distance to erf")


def memory_nonlinear(results):
  """Whether the nonlinearity helps recall."""
  found, loads = results["memory"], results["loads"]
  return check.greater(
    quantities.capacity(loads, found["nonlinear"]),
    quantities.capacity(loads, found["linear"]),
    quantity="difference of capacities",
  )


CLAIMS = (
  Claim(
    "fields_agree",
    "Eqs. 9, 14, 18",
    "Euler-Lagrange equations, Hamilton's equation and the written-out field are the same.",
    "relative difference below 1e-12 for four nonlinearities, with and without input",
    fields_agree,
  ),
  Claim(
    "hamilton_form",
    "Eqs. 23, 24",
    "Hamilton's equations of the momenta χ = i z̄/2 coincide with eq. 14.",
    "speed of eq. 24 over that of eq. 14 is 1",
    hamilton_form,
  ),
  Claim(
    "energy_conserved",
    "Eq. 19",
    "The energy is conserved for constant V and vanishing W.",
    "energy drift below 1e-9",
    energy_conserved,
  ),
  Claim(
    "norm_conserved",
    "Sec. 6",
    "The norm is conserved by eq. 14, as it stands with V and W.",
    "norm drift below 1e-12 with constant V and W",
    norm_as_printed,
  ),
  Claim(
    "divergence_free",
    "Sec. 7",
    "The flow in phase space has no divergence.",
    "|trace| below 1e-12, det of the flow within 1e-10 of 1, symplectic, a cloud keeps volume",
    divergence_free,
  ),
  Claim(
    "linear_network",
    "Sec. 4",
    "With g = 1 the network is the linear FFML one.",
    "its exact solution to 1e-11 by the splitting, to 1e-4 by Gauss 4 with its step",
    linear_network,
  ),
  Claim(
    "reversible",
    "Sec. 7",
    "No information is lost: forwards and backwards in time leads to the start.",
    "after the shortest way below 1e-8; 100 times closer than Runge-Kutta 4 of equal step",
    reversible,
  ),
  Claim(
    "lattice_limit",
    "Sec. 4",
    "The network shares its structure with a nonlinear Schrödinger equation.",
    "a chain goes to the discrete NLS equation like 1/ω0 (power in [-1.2, -0.8])",
    lattice_limit,
  ),
  Claim(
    "pulse_travels",
    "Sec. 4",
    "A localized state travels along a chain as a soliton of the NLS equation does.",
    "group velocity within 10 %, width kept within a half; the linear network doubles it",
    pulse_travels,
  ),
  Claim(
    "oscillates",
    "Sec. 8",
    "The network oscillates; DCM with the same couplings explodes or contracts.",
    "variance in time kept within a factor 2; DCM moves by 3 decades without turning",
    oscillates,
  ),
  Claim(
    "constant_w",
    "control",
    "W need not vanish: that V and W are constant is enough for the energy.",
    "energy drift below 1e-9",
    constant_w,
    control=True,
  ),
  Claim(
    "energy_balance",
    "control",
    "With changing input the energy moves by 2 ∫ Σ_j (Γ V̇ + Ẇ)_j u_j dt.",
    "moves by over 1e-3, and by that to 1e-8",
    energy_balance,
    control=True,
  ),
  Claim(
    "norm_corrected",
    "control",
    "The norm is conserved without input; with it, d𝒩/dt = −2 Σ_j (Γ V + W)_j v_j.",
    "norm drift below 1e-12; the law to 1e-12 for constant and to 1e-9 for changing input",
    norm_corrected,
    control=True,
  ),
  Claim(
    "dissipative_divergence",
    "control",
    "DCM and Hopfield networks change volumes in phase space.",
    "|divergence| per neuron above 0.1, negative for Hopfield",
    dissipative_divergence,
    control=True,
  ),
  Claim(
    "hopfield_rests",
    "control",
    "A Hopfield network with these symmetric couplings comes to rest.",
    "variance in time falls below 1 %",
    hopfield_rests,
    control=True,
  ),
  Claim(
    "long_run",
    "control",
    "Gauss-Legendre 4 keeps the invariants over the long run.",
    "energy within 1e-9 and bounded (power of time below 0.3), norm within 1e-12",
    long_run,
    control=True,
  ),
  Claim(
    "explicit_drifts",
    "control",
    "Energy errors are bounded for symplectic methods and secular for explicit ones.",
    "power of time below 0.3 and above 0.7",
    explicit_drifts,
    control=True,
  ),
  Claim(
    "large_networks",
    "control",
    "Invariants hold for up to 10⁴ neurons, dense, low-rank and chain.",
    "norm drift at most 1e-12",
    large_networks,
    control=True,
  ),
  Claim(
    "identification",
    "addition",
    "Ω, Γ and g can be recovered from trajectories by differentiating the integrator.",
    "Ω to 1e-6 without noise; error in proportion to the noise (power in [0.8, 1.2])",
    identification,
    control=True,
  ),
  Claim(
    "memory_capacity",
    "addition",
    "Recall by dephasing holds more patterns than a Hopfield network of equal size.",
    "capacity (overlap 0.95) larger by 0.05 of a pattern a neuron, paired over seeds",
    memory_capacity,
    control=True,
  ),
  Claim(
    "memory_theory",
    "addition",
    "Recall by dephasing is the projection on the span of the patterns.",
    "overlap within 0.05 of the closed form for N → ∞ at every load",
    memory_theory,
    control=True,
  ),
  Claim(
    "memory_nonlinear",
    "addition",
    "The nonlinearity helps recall.",
    "capacity larger than that of the linear network, paired over seeds",
    memory_nonlinear,
    control=True,
  ),
)

"""Associative memory with Hermitian Hebbian couplings, recalled by dephasing.

P patterns of phases, ξ_j ∈ {1, −1} or {1, i, −1, −i}, are stored as Ω = (1/N) Σ_μ ξ^μ ξ^μ†.
A conservative network cannot fall into an attractor; it separates by phase instead. For g = 1
what a cue has in the span of the patterns turns, at the rates of the eigenvalues of Ω, and
what it has outside stands still. The mean over a long time is the part outside, and

    z(0) − ⟨z⟩_T → P z(0),    P the projection on the span of the patterns,

as the pseudo-inverse rule computes it, but with couplings that are local. For random patterns
P has α = P/N on the diagonal and entries of variance α(1 − α)/N beside it. A cue with a share
ρ of wrong signs has the overlap q = 1 − 2ρ; beside that it holds 1 − q where the sign is right
and −(1 + q) where it is wrong, in units of the pattern's sign, so that after the projection

    right:  q + α (1 − q),    wrong:  q − α (1 + q),    spread s = √(α (1 − α)(1 − q²)),
    m = 1 − 2 [(1 − ρ) Φ(−(q + α(1 − q))/s) + ρ Φ(−(q − α(1 + q))/s)].

The average is taken with a Hann window, the signs relative to the phase of the cue (which sets
the global phase: recall is up to that). Hopfield's network of equal size has the same Hebbian
couplings without the diagonal, or the pseudo-inverse ones, and sequential updates of signs.
The signs of one product Ω z(0) are a control: what the dynamics adds to the couplings.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lib.dynamics import couplings, integrate, lagrangean, nonlinearities, trajectories
from projects.lagrangean import networks

SWEEPS = 20
SUCCESS = 0.95  # overlap that counts as recall
MODELS = ("linear", "nonlinear", "four_phases", "one_product", "hopfield", "pseudo_inverse")


def theory(loads, flips: float) -> np.ndarray:
  """m of the projection, for N → ∞."""
  from scipy import special

  a, q = np.asarray(loads, np.float64), 1 - 2 * flips
  spread = np.sqrt(a * (1 - a) * (1 - q**2))
  right = special.ndtr(-(q + a * (1 - q)) / spread)
  wrong = special.ndtr(-(q - a * (1 + q)) / spread)
  return 1 - 2 * ((1 - flips) * right + flips * wrong)


def _stored(loads, size: int):
  """How many patterns for each load."""
  return np.maximum(1, np.round(np.asarray(loads) * size)).astype(int)


def dephase(g, patterns, active, cue, settings):
  """z(0) − ⟨z⟩ for a cue (N,), patterns (P, N) of which `active` (P,) are stored."""
  n = cue.shape[0]
  omega = (patterns * active[:, None]).T @ patterns.conj() / n
  coupling = couplings.real_blocks(omega)
  field = lagrangean.field(g, lagrangean.network(coupling))
  records = max(8, round(settings.time / settings.step))
  times = np.linspace(0, settings.time, records + 1)
  # Recall needs no more digits than that.
  method = trajectories.gauss_method(2, tolerance=1e-8)
  states = integrate(field, cue, times, method=method).saved
  window = np.hanning(records + 1)
  return cue - jnp.asarray(window / window.sum()) @ states


def hopfield(weights, cue):
  """Sequential sign updates, SWEEPS over all neurons, for weights (N, N) and a cue of ±1."""
  n = cue.shape[0]

  def update(i, s):
    field = weights[i % n] @ s
    return s.at[i % n].set(jnp.where(field == 0, s[i % n], jnp.sign(field)))

  return jax.lax.fori_loop(0, SWEEPS * n, update, cue)


def draws(config) -> dict[str, np.ndarray]:
  """Patterns of signs and of four phases, and wrong neurons, of every seed (first axis).

  Also the projection on the first P patterns of signs for each load, (loads, N, N).
  """
  settings = config.memory
  n, most = settings.size, max(_stored(settings.loads, settings.size))
  found = {"first": np.asarray(config.seed), "signs": [], "quarters": [], "wrong": []}
  found["inverse"] = []
  for k in range(config.seeds):
    rng = np.random.default_rng([config.seed + k, 200])
    signs = rng.choice([-1.0, 1.0], (most, n))
    found["signs"].append(signs)
    counts = _stored(settings.loads, n)
    found["inverse"].append([np.linalg.pinv(signs[:p]) @ signs[:p] for p in counts])
    found["quarters"].append(rng.integers(0, 4, (most, n)))
    found["wrong"].append(np.where(rng.random(n) < settings.flips, -1.0, 1.0))
  return {name: np.asarray(value) for name, value in found.items()}


def member(config, operands):
  """Overlap with the pattern that was asked for, (loads,) for each model, and of the cue.

  The overlap is |Σ_j ξ̄_j s_j|/N for signs s, and for the four phases that of the nearest ones.
  """
  settings = config.memory
  n = settings.size
  numbers = networks.of_seed(config, operands)
  signs, phases = numbers["signs"], 1j ** numbers["quarters"]
  cue = signs[0] * numbers["wrong"]
  own = networks.nonlinearity(config.nonlinearity)
  # Signs on the linear and on the nonlinear network, four phases on the linear one.
  problems = (
    jnp.array([1, 0, 1]),
    jnp.stack([signs + 0j, signs + 0j, phases]),
    jnp.stack([cue + 0j, settings.amplitude * cue + 0j, phases[0] * numbers["wrong"]]),
  )

  def at(problem):
    count, inverse = problem
    active = (jnp.arange(signs.shape[0]) < count).astype(float)

    def separate(problem):
      index, patterns, start = problem
      g = nonlinearities.select(index, (own, nonlinearities.LINEAR))
      return dephase(g, patterns, active, start, settings)

    linear, nonlinear, four = jax.lax.map(separate, problems)
    nearest = 1j ** jnp.round(jnp.angle(four) * 2 / jnp.pi)
    stored = active[:, None] * signs
    weights = jnp.stack([stored.T @ stored / n, inverse]) * (1 - jnp.eye(n))
    hebb, pseudo = jax.vmap(hopfield, (0, None))(weights, cue)

    def overlap(s):
      return jnp.abs(jnp.sign(s.real) @ signs[0]) / n

    return {
      "linear": overlap(linear),
      "one_product": overlap(stored.T @ (stored @ cue)),
      "nonlinear": overlap(nonlinear),
      "four_phases": jnp.abs(jnp.vdot(phases[0], nearest)) / n,
      "hopfield": overlap(hebb),
      "pseudo_inverse": overlap(pseudo),
    }

  found = jax.lax.map(at, (jnp.asarray(_stored(settings.loads, n)), numbers["inverse"]))
  return found | {"cue": jnp.abs(cue @ signs[0]) / n}

"""Chains: the discrete nonlinear Schrödinger equation as a limit, and travelling pulses.

Neighbours coupled by κ, and Ω_jj = ω0.

Limit. With g² = 1 + γ x/(2 ω0) the energy on a site is ω0 |z|² + γ/2 |z|⁴, and the hopping
terms differ from κ z̄_j z_{j+1} by O(κ γ/ω0). With ψ = e^{iω0 t} z the network is then, as
ω0 → ∞, the discrete NLS equation

    i dψ_j/dt = κ (ψ_{j−1} + ψ_{j+1}) + γ |ψ_j|² ψ_j.

Envelope. For any smooth g with g'(0) = g1, a slow envelope A on a carrier e^{i(kj − ω(k)t)}
with ω(k) = ω0 + 2 κ cos k sees all terms of fourth order, on site and hopping, as
H_4 = 2 g1 ω(k) |A|⁴, so that

    i (∂_t + ω'(k) ∂_x) A = −½ ω''(k) ∂_x² A + 4 g1 ω(k) |A|² A,

which has bright solitons A = a sech((x − ω' t)/w), w² = −ω''/(4 g1 ω(k) a²), if the right
side is positive: a saturating g (g1 < 0) with κ < 0.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lib.dynamics import couplings, integrate, invariants, lagrangean, nonlinearities
from lib.experiment import UserError, by_name
from projects.lagrangean import networks

KAPPA = -1.0
GAMMA = -1.0
SHAPE = 0.2  # how much pulses of different seeds differ in width


def chain(size: int, frequency) -> lagrangean.Network:
  """A ring of neurons."""
  diagonal = jnp.broadcast_to(jnp.asarray(frequency, float), (size,))
  return lagrangean.network(couplings.Chain(diagonal, jnp.full(size, KAPPA)))


def discrete_nls(t, psi):
  """dψ/dt of the discrete NLS equation on a ring."""
  hopping = KAPPA * (jnp.roll(psi, 1) + jnp.roll(psi, -1))
  return -1j * (hopping + GAMMA * jnp.abs(psi) ** 2 * psi)


def limit(config, operands):
  """Distance of the network to the discrete NLS equation for each ω0, relative, (F,)."""
  settings = config.lattice
  n = settings.limit_size
  re, im = networks.of_seed(config, operands)["lattice"]
  psi = jax.lax.complex(re, im) / 2
  psi = psi * jnp.exp(-(((jnp.arange(n) - n / 2) / (n / 8)) ** 2))
  times = jnp.array([0.0, settings.limit_time])
  options = {"method": "gauss6", "save": lambda t, z: ()}
  target = integrate(discrete_nls, psi, times, substeps=100, **options).final

  def error(frequency):
    g = nonlinearities.power(GAMMA / (2 * frequency), 0.5)
    field = lagrangean.field(g, chain(n, frequency), frame=frequency)
    found = integrate(field, psi, times, substeps=100, **options).final
    return jnp.linalg.norm(found - target) / jnp.linalg.norm(target)

  return {"error": jax.lax.map(error, jnp.array(settings.frequencies))}


def slope_at_zero(g) -> jax.Array:
  """g'(0)."""
  return jax.jit(g.slope)(0.0)


def envelope(config, g):
  """(velocity ω', width w) of the pulse of the config's amplitude."""
  settings = config.lattice
  k = settings.carrier
  omega = settings.frequency + 2 * KAPPA * jnp.cos(k)
  velocity, curvature = -2 * KAPPA * jnp.sin(k), -2 * KAPPA * jnp.cos(k)
  width = jnp.sqrt(-curvature / (4 * slope_at_zero(g) * omega * settings.amplitude**2))
  return velocity, width


def check(config) -> None:
  """Raises `UserError` if the nonlinearity has no bright pulse."""
  if config.nonlinearity != "linear":
    g = networks.nonlinearity(config.nonlinearity)
    if not float(slope_at_zero(g)) < 0:
      raise UserError(
        f"nonlinearity '{config.nonlinearity}' has g'(0) >= 0, so the chain has no travelling "
        "pulse; choose one that saturates."
      )


def pulse(config, operands):
  """A pulse on the network, and the same start on the linear one.

  Seeds differ in where it starts and in its width by ± SHAPE/2: it has to hold from starts
  that are not exactly the envelope's.

  Returns:
    For "nonlinear" and "linear": intensity |z|² (records + 1, N); velocity of the centre;
    spread: the participation number (Σ|z|²)²/Σ|z|⁴ at the end over that at the start; energy
    and norm drift. And theory_velocity.
  """
  settings = config.lattice
  own = nonlinearities.SATURATING if config.nonlinearity == "linear" else None
  g = own or networks.nonlinearity(config.nonlinearity)
  n = settings.size
  velocity, width = envelope(config, g)
  draw = jnp.tanh(networks.of_seed(config, operands)["pulse"]) / 2
  place = n / 4 + n / 8 * draw[0]
  x = jnp.arange(n) - place
  x = x - n * jnp.round(x / n)
  z = settings.amplitude / jnp.cosh(x / (width * (1 + SHAPE * draw[1])))
  z = z * jnp.exp(1j * settings.carrier * x)
  net = chain(n, settings.frequency)
  times = np.linspace(0, settings.time, settings.records + 1)
  substeps = max(1, round(settings.time / settings.records / 0.25))
  frame = settings.frequency + 2 * KAPPA * jnp.cos(settings.carrier)

  def travel(index):
    each = nonlinearities.select(index, (g, nonlinearities.LINEAR))
    field = lagrangean.field(each, net, frame=frame)
    states = integrate(field, z, times, substeps=substeps).saved
    intensity = states.real**2 + states.imag**2
    angle = jnp.unwrap(jnp.angle(intensity @ jnp.exp(2j * jnp.pi * jnp.arange(n) / n)))
    centre = angle * n / (2 * jnp.pi)
    participation = intensity.sum(-1) ** 2 / (intensity**2).sum(-1)
    energy = jax.vmap(lambda z: lagrangean.energy(each, net, z))(states)
    return {
      "intensity": intensity,
      "velocity": (centre[-1] - centre[0]) / settings.time,
      "spread": participation[-1] / participation[0],
      "peak": intensity[-1].max() / intensity[0].max(),
      "energy": invariants.drift(energy),
      "norm": invariants.drift(intensity.sum(-1)),
    }

  found = jax.lax.map(travel, jnp.arange(2))
  found = by_name(("nonlinear", "linear"), found)
  return found | {"theory_velocity": jnp.asarray(velocity)}

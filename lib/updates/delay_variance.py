"""Synaptic delay variance learning (SDVL): delays and their spread learn from spike times.

Reference: Wright and Wiles (2012), Learning transmission delays in spiking neural networks;
the simplified rule as used for time-warped patterns.
"""

import jax
import jax.numpy as jnp

from lib.updates.plasticity import Array, Rule, Synapses

# α2 in units of the simplified rule: the print sets it to α; the authors' program to 20 ms.
READINGS = {"program": 20.0, "print": None}


def acceleration(variance: Array) -> Array:
  """k(σ) = (σ + 0.9)²: an uncertain synapse learns faster."""
  return jnp.square(variance + 0.9)


def delay_change(
  delay: Array, variance: Array, since_input: Array, *, alpha1, alpha2, rate
) -> Array:
  """Δμ of one output spike (eq. 2).

      Δμ = sgn(t0 − μ) k η_μ  if |t0 − μ| ≥ α1,
           −k η_μ             else if t0 ≥ α2,
           0                  otherwise.

  The first case precedes the second, as in print; both hold for most synapses.

  Args:
    delay, variance: μ in ms and σ in ms².
    since_input: t0, ms between the last input spike and the output spike.
    alpha1, alpha2, rate: α1 and α2 in ms, and η_μ.
  """
  error = since_input - delay
  size = acceleration(variance) * rate
  near = jnp.where(since_input >= alpha2, -size, 0.0)
  return jnp.where(jnp.abs(error) >= alpha1, jnp.sign(error) * size, near)


def variance_change(
  delay: Array, variance: Array, since_input: Array, *, beta1, beta2, rate
) -> Array:
  """Δσ of one output spike (eq. 3).

  Δσ = +k η_σ if |t0 − μ| ≥ β1,  −k η_σ if |t0 − μ| < β2,  0 otherwise.
  """
  distance = jnp.abs(since_input - delay)
  size = acceleration(variance) * rate
  near = jnp.where(distance < beta2, -size, 0.0)
  return jnp.where(distance >= beta1, size, near)


def sdvl(
  *,
  alpha1: jax.typing.ArrayLike,
  alpha2: jax.typing.ArrayLike,
  beta1: jax.typing.ArrayLike,
  beta2: jax.typing.ArrayLike,
  delay_rate: jax.typing.ArrayLike,
  variance_rate: jax.typing.ArrayLike,
  delay_range: tuple[float, float] = (1.0, 20.0),
  variance_range: tuple[float, float] = (0.1, 10.0),
) -> Rule:
  """The full rule (eq. 2, 3): both changes from the values before the spike, then clipped.

  A variance rate of 0 freezes the variance.

  Args:
    alpha1, alpha2: regions of the delay's change, ms.
    beta1, beta2: regions of the variance's change, ms.
    delay_rate, variance_rate: η_μ and η_σ.
    delay_range, variance_range: bounds of μ in ms and of σ in ms².
  """

  def post(synapses: Synapses, since_input: Array) -> Synapses:
    delay, variance = synapses.delay, synapses.variance
    moved = delay + delay_change(
      delay, variance, since_input, alpha1=alpha1, alpha2=alpha2, rate=delay_rate
    )
    spread = variance + variance_change(
      delay, variance, since_input, beta1=beta1, beta2=beta2, rate=variance_rate
    )
    return synapses._replace(
      delay=jnp.clip(moved, *delay_range), variance=jnp.clip(spread, *variance_range)
    )

  return Rule(post)


def simplified_sdvl(
  *,
  alpha: jax.typing.ArrayLike = 3.0,
  beta: jax.typing.ArrayLike = 20.0,
  rate: jax.typing.ArrayLike = 0.04,
  reading: str = "program",
  **ranges: tuple[float, float],
) -> Rule:
  """sSDVL: α1 = α, β1 = β2 = β, η_μ = η_σ = η, and α2 in one of two published readings.

  In print α2 = α, so that a delay within α of t0 still shrinks whenever t0 ≥ α. The
  authors' program has α2 = 20 ms, the longest delay, so that such a delay rests. Which one
  is meant decides what is learnt: the first lets every learnt delay drift to shorter ones.

  Args:
    alpha, beta, rate: α and β in ms, η.
    reading: "program" or "print".
    **ranges: delay_range and variance_range of `sdvl`.

  Raises:
    ValueError: an unknown reading.
  """
  if reading not in READINGS:
    raise ValueError(f"reading is '{reading}', choose from {', '.join(READINGS)}")
  alpha2 = alpha if READINGS[reading] is None else READINGS[reading]
  return sdvl(
    alpha1=alpha,
    alpha2=alpha2,
    beta1=beta,
    beta2=beta,
    delay_rate=rate,
    variance_rate=rate,
    **ranges,
  )

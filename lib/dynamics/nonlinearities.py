"""Nonlinearities g(x) of x = |z|² with their derivatives, smooth at x = 0."""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


class Nonlinearity(NamedTuple):
  """g and its derivative g' with respect to x, both elementwise on x >= 0."""

  name: str
  value: Callable[[Array], Array]
  slope: Callable[[Array], Array]

  def check(self) -> None:
    """Raises ValueError if g or g' is not finite at 0, where silent neurons are."""
    zero = jnp.zeros(())
    for what, function in (("value", self.value), ("derivative", self.slope)):
      found = float(function(zero))
      if not np.isfinite(found):
        raise ValueError(
          f"the nonlinearity '{self.name}' has the {what} {found} at 0; "
          "g has to be smooth in x = |z|², as 1/sqrt(1 + x) is."
        )


def custom(g: Callable[[Array], Array], name: str = "custom") -> Nonlinearity:
  """A nonlinearity of your own, g(x) elementwise; its derivative is found by JAX.

  Raises:
    ValueError: g or its derivative is not finite at 0.
  """

  def slope(x):
    return jax.jvp(g, (x,), (jnp.ones_like(x),))[1]

  found = Nonlinearity(name, g, slope)
  found.check()
  return found


def _tanh_series(terms: int) -> np.ndarray:
  """t_k of tanh(y)/y = Σ_k t_k y^{2k}, from tanh' = 1 − tanh²."""
  t = [Fraction(1)]
  for k in range(1, terms):
    t.append(-sum(t[i] * t[k - 1 - i] for i in range(k)) / (2 * k + 1))
  return np.array([float(v) for v in t])


_SERIES = _tanh_series(12)  # to 1e-16 below x = 0.1; it converges for x < π²/4
_SMALL = 0.1


def _tanh_value(x):
  small = x < _SMALL
  root = jnp.sqrt(jnp.where(small, 1.0, x))
  near = jnp.polyval(jnp.asarray(_SERIES[::-1], x.dtype), jnp.where(small, x, 0.0))
  return jnp.where(small, near, jnp.tanh(root) / root)


def _tanh_slope(x):
  small = x < _SMALL
  safe = jnp.where(small, 1.0, x)
  root = jnp.sqrt(safe)
  tanh = jnp.tanh(root)
  coefficients = _SERIES[1:] * np.arange(1, len(_SERIES))
  near = jnp.polyval(jnp.asarray(coefficients[::-1], x.dtype), jnp.where(small, x, 0.0))
  return jnp.where(small, near, (1 - tanh**2 - tanh / root) / (2 * safe))


def saturating(strength=1.0) -> Nonlinearity:
  """1/sqrt(1 + strength x): |g z| goes to 1/sqrt(strength)."""

  def slope(x):
    root = jax.lax.rsqrt(1 + strength * x)
    return -strength / 2 * root * root * root

  return Nonlinearity("saturating", lambda x: jax.lax.rsqrt(1 + strength * x), slope)


def power(strength, exponent) -> Nonlinearity:
  """(1 + strength x)^exponent, a family around `saturating` (−½) and the linear one (0)."""

  def slope(x):
    return strength * exponent * (1 + strength * x) ** (exponent - 1)

  return Nonlinearity("power", lambda x: (1 + strength * x) ** exponent, slope)


LINEAR = Nonlinearity("linear", jnp.ones_like, jnp.zeros_like)
SATURATING = saturating()
TANH = Nonlinearity("tanh", _tanh_value, _tanh_slope)  # g(|z|²) z = tanh(|z|) z/|z|
GAUSSIAN = Nonlinearity("gaussian", lambda x: jnp.exp(-x / 2), lambda x: -jnp.exp(-x / 2) / 2)

NONLINEARITIES = {g.name: g for g in (LINEAR, SATURATING, TANH, GAUSSIAN)}


def select(index, choices) -> Nonlinearity:
  """choices[index] for a traced index: one compiled program for several nonlinearities."""

  def switch(functions):
    return lambda x: jax.lax.switch(index, functions, x)

  choices = tuple(choices)
  value = switch([g.value for g in choices])
  return Nonlinearity("selected", value, switch([g.slope for g in choices]))

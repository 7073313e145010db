"""Unfairness of binary predictions as inequality of benefits (Speicher et al., 2018).

The benefit of person i is b_i = ŷ_i − y_i + 1, with y in {0, 1} and ŷ a class or a
probability: 1 for a correct prediction, more for one that is too good for them, less for one
that is too bad. Its inequality, a generalised entropy E_α, is the sum of a part within groups
and a part between them, exactly.

Functions of benefits (…, n) keep the leading axes; everything runs under jit and vmap.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class Inequality(NamedTuple):
  """The two parts of E_α, (…): individual unfairness within, group unfairness between."""

  within: jax.Array
  between: jax.Array


def benefits(predictions, targets):
  """b = ŷ − y + 1; predictions (…, n) in [0, 1], targets (n,) in {0, 1}."""
  return predictions - targets + 1


def _check(alpha):
  if isinstance(alpha, int | float) and alpha in (0, 1):
    raise ValueError(f"alpha is {alpha}: the formula needs another, 0 and 1 are limits of it")


def _inequality(deviation, alpha):
  """((1 + d)^α − 1 − α d) / (α (α − 1)).

  Averaged over deviations d whose mean is zero the linear term is nothing; without it small
  inequalities would be differences of nearly equal numbers.
  """
  power = jnp.expm1(alpha * jnp.log1p(deviation)) - alpha * deviation
  return power / (alpha * (alpha - 1))


def generalised_entropy(b, alpha: float = 2.0):
  """E_α(b) = 1 / (n α (α − 1)) Σ_i [(b_i / μ)^α − 1], μ the mean of b.

  0 if all have the same. α = 2 is half the squared coefficient of variation.

  Args:
    b: (…, n) benefits, not negative, not all zero.
    alpha: neither 0 nor 1; positive where a benefit can be 0.

  Raises:
    ValueError: alpha is 0 or 1.
  """
  _check(alpha)
  mean = b.mean(-1, keepdims=True)
  return _inequality(b / mean - 1, alpha).mean(-1)


def decompose(b, groups, num_groups: int, alpha: float = 2.0) -> Inequality:
  """E_α(b) = Σ_g (n_g/n) (μ_g/μ)^α E_α(b^g) + 1 / (n α (α − 1)) Σ_g n_g [(μ_g/μ)^α − 1].

  The first sum is the part within groups, the second the part between them (eqs. 1 and 2 of
  the moel_fairness paper). A group without members adds nothing.

  Args:
    b: (…, n) benefits.
    groups: (n,) integers in 0..num_groups-1.
    num_groups: static.
    alpha: as for `generalised_entropy`.

  Returns:
    `Inequality`, both (…).

  Raises:
    ValueError: alpha is 0 or 1.
  """
  _check(alpha)
  chex.assert_shape(groups, b.shape[-1:])
  member = jax.nn.one_hot(groups, num_groups, dtype=b.dtype)
  sizes = member.sum(0)
  share = sizes / b.shape[-1]
  mean = b.mean(-1, keepdims=True)
  # Of deviations, not of benefits: groups that differ little keep their digits.
  deviation = b / mean - 1
  of_groups = (deviation @ member) / jnp.maximum(sizes, 1)  # μ_g/μ − 1, 0 without members
  between = _inequality(of_groups, alpha) @ share
  # The decomposition is exact, so the sum within the groups need not be taken group by group.
  return Inequality(_inequality(deviation, alpha).mean(-1) - between, between)


def inequality_of_errors(mse, mean_benefit):
  """E_2 = (MSE − (μ − 1)²) / (2 μ²), MSE of the predictions, μ the mean benefit.

  So for α = 2 the two unfairnesses add up to a function of accuracy and μ alone: at a given
  error their sum can fall only if predictions are too high (or too low) on average.
  """
  return (mse - (mean_benefit - 1) ** 2) / (2 * mean_benefit**2)


def between_by_chance(probabilities, groups, num_groups: int):
  """Expected group unfairness (α = 2) of probabilities that are true, for so few people.

  Were every probability right for every person, a group's mean benefit would still differ from
  1 by the chance of its n_g labels, with variance v_g / n_g, v_g the mean of p (1 − p) in the
  group. To leading order in 1/n the expected part between groups is (Σ_g v_g − v) / (2 n), v
  the mean of p (1 − p) of all; groups without members do not count.

  Args:
    probabilities: (…, n).
    groups: (n,) integers in 0..num_groups-1.
    num_groups: static.

  Returns:
    (…).
  """
  chex.assert_shape(groups, probabilities.shape[-1:])
  variance = probabilities * (1 - probabilities)
  member = jax.nn.one_hot(groups, num_groups, dtype=variance.dtype)
  of_groups = (variance @ member) / jnp.maximum(member.sum(0), 1)
  return (of_groups.sum(-1) - variance.mean(-1)) / (2 * len(groups))

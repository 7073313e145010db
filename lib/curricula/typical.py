"""How typical of its class a node of a similarity graph is, in three ways.

N(i) are the neighbours of i, p(c, i) the share of class c among them, I(i) = ±1 whether their
largest class is i's own. "Curriculum Learning Revisited: Incremental Batch Learning with
Instance Typicality Ranking" (ICANN 2021), section 3.2.
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

SIGNS = ("text", "printed")


class Typicality(NamedTuple):
  """Centralities of n nodes, each (n,); `adjusted_entropy` rises towards the atypical."""

  degree: jax.Array
  adjusted_entropy: jax.Array
  degree_adjusted: jax.Array


def class_shares(adjacent: jax.Array, labels: jax.Array, classes: int) -> jax.Array:
  """p(c, i) = |{j ∈ N(i): y_j = c}| / |N(i)|; 0 for a node without neighbours.

  Args:
    adjacent: (n, n) booleans, False on the diagonal.
    labels: (n,) integers in 0..classes-1.
    classes: their number.

  Returns:
    (n, classes).
  """
  chex.assert_rank([adjacent, labels], [2, 1])
  counts = adjacent.astype(jnp.float32) @ jax.nn.one_hot(labels, classes)
  return counts / jnp.maximum(jnp.sum(counts, -1, keepdims=True), 1.0)


def adjusted_entropy(shares: jax.Array, labels: jax.Array, sign: str = "text") -> jax.Array:
  """Class-adjusted entropy C_A(i) = −I(i) / (C_E(i) + 1), C_E = −Σ_c p ln p.

  −1 where all neighbours are of the own class, 1 where all are of one other class, 0 (our
  choice, it separates the two) for a node without neighbours. The largest class is the first
  of equals.

  The text has the class-adjusted entropy smallest for neighbours of the own class; the printed
  equation, I(i) / (C_E(i) + 1), has it largest: `sign="printed"`.

  Args:
    shares: (n, classes), see `class_shares`.
    labels: (n,).
    sign: "text" or "printed".

  Raises:
    ValueError: another sign.
  """
  if sign not in SIGNS:
    raise ValueError(f"sign is {sign!r}, none of {SIGNS}")
  chex.assert_rank([shares, labels], [2, 1])
  entropy = jnp.sum(jax.scipy.special.entr(shares), -1)
  own = jnp.argmax(shares, -1) == labels
  alone = jnp.sum(shares, -1) == 0
  found = jnp.where(own, -1.0, 1.0) / (entropy + 1)
  return jnp.where(alone, 0.0, found if sign == "text" else -found)


def degree_adjusted(degree: jax.Array, own_share: jax.Array, adjusted: jax.Array) -> jax.Array:
  """C_DE(i) = |{j ∈ N(i): y_j = y_i}| − C_A(i) |N(i)|, all (n,).

  From 2|N| for neighbours of the own class over 0 for no neighbours to −|N| for those of one
  other class. With C_A as printed it is 0 for the first of these, whatever |N| is.
  """
  chex.assert_equal_shape([degree, own_share, adjusted])
  return degree * own_share - adjusted * degree


def typicality(
  adjacent: jax.Array, labels: jax.Array, classes: int, sign: str = "text"
) -> Typicality:
  """The three centralities of every node.

  Degree and degree-adjusted entropy are to be ranked descending, the class-adjusted entropy
  ascending.

  Args:
    adjacent: (n, n) booleans, False on the diagonal.
    labels: (n,) integers in 0..classes-1.
    classes: their number.
    sign: of the class-adjusted entropy, see `adjusted_entropy`.
  """
  degree = jnp.sum(adjacent, -1).astype(jnp.float32)
  shares = class_shares(adjacent, labels, classes)
  adjusted = adjusted_entropy(shares, labels, sign)
  own = jnp.take_along_axis(shares, labels[:, None], 1)[:, 0]
  return Typicality(degree, adjusted, degree_adjusted(degree, own, adjusted))


def ranking(score: jax.Array, descending: bool = False) -> jax.Array:
  """Row indices in the order of the score, equal ones as they stand; (n,) -> (n,) int32.

  Where ties should fall at random, shuffle the rows first.
  """
  chex.assert_rank(score, 1)
  return jnp.argsort(-score if descending else score, stable=True).astype(jnp.int32)

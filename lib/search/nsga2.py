"""NSGA-II (Deb, Pratap, Agarwal and Meyarivan, 2002) over populations that are any pytree.

`init`, then `step` with a function that makes and evaluates offspring; what that does to them
(crossover, mutation, training) is the caller's. Selection is binary tournaments on (front,
crowding distance), survival the best of parents and offspring by the same order.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import flatten_util

from lib.search import dominance

PyTree = Any
_WORST = 1e30  # instead of NaN and infinity: a model that diverged is worse than any other


class NSGA2State(NamedTuple):
  """A population with what selection needs.

  Attributes:
    population: pytree, leaves (size, …).
    objectives: (size, m), minimised.
    rank: (size,) front of each individual in the set that it was last selected from.
    crowding: (size,) its crowding distance there.
  """

  population: PyTree
  objectives: jax.Array
  rank: jax.Array
  crowding: jax.Array


def _order(objectives):
  """Front and crowding distance, NaN and infinity taken for the worst."""
  finite = jnp.where(jnp.isfinite(objectives), objectives, _WORST)
  rank = dominance.front_rank(finite)
  return rank, dominance.crowding_distance(finite, rank)


def init(population: PyTree, objectives: jax.Array) -> NSGA2State:
  """The state of a first population (leaves (size, …)) with its objectives (size, m)."""
  chex.assert_rank(objectives, 2)
  chex.assert_tree_shape_prefix(population, objectives.shape[:1])
  return NSGA2State(population, objectives, *_order(objectives))


def tournament(key: jax.Array, rank: jax.Array, crowding: jax.Array, count: int) -> jax.Array:
  """(count,) winners: of two drawn at random the one of the lower front, then the less
  crowded.

  Draws are independent, with replacement; of two equals the first wins.
  """
  a, b = jax.random.randint(key, (2, count), 0, len(rank))
  second = (rank[b] < rank[a]) | ((rank[b] == rank[a]) & (crowding[b] > crowding[a]))
  return jnp.where(second, b, a)


def survivors(key: jax.Array, objectives: jax.Array, size: int):
  """The `size` best of n by (front, crowding distance), equals in random order.

  Args:
    key: for the order of equals.
    objectives: (n, m).
    size: how many stay, at most n.

  Returns:
    (size,) indices with the best first, and their fronts and crowding distances.
  """
  if size > len(objectives):
    raise ValueError(f"{size} survivors of {len(objectives)}")
  rank, crowding = _order(objectives)
  chance = jax.random.uniform(key, rank.shape)
  kept = jnp.lexsort((chance, -crowding, rank))[:size]
  return kept, rank[kept], crowding[kept]


def step(
  key: jax.Array,
  state: NSGA2State,
  vary: Callable[[jax.Array, PyTree], tuple[PyTree, jax.Array]],
  select: bool | jax.Array = True,
) -> NSGA2State:
  """One generation: tournaments, offspring, and the best of both generations.

  Args:
    key: of this generation.
    state: of the last one.
    vary: (key, parents) -> (offspring, their objectives); pytrees with leaves (size, …), and
      (size, m).
    select: False, which may be traced, has no selection: each individual is a parent once, and
      the offspring replace their parents.

  Returns:
    The next state, of the same size.
  """
  size = len(state.objectives)
  select_key, vary_key, tie_key = jax.random.split(key, 3)
  everyone = jnp.arange(size)
  chosen = tournament(select_key, state.rank, state.crowding, size)
  chosen = jnp.where(select, chosen, everyone)
  parents = jax.tree.map(lambda leaf: leaf[chosen], state.population)
  offspring, objectives = vary(vary_key, parents)
  chex.assert_equal_shape([objectives, state.objectives])
  both = jnp.concatenate([state.objectives, objectives])
  kept, rank, crowding = survivors(tie_key, both, size)
  kept = jnp.where(select, kept, size + everyone)
  own = _order(objectives)  # of the offspring alone, for a later step that selects
  rank, crowding = (jnp.where(select, *x) for x in zip((rank, crowding), own, strict=True))
  population = jax.tree.map(
    lambda old, new: jnp.concatenate([old, new])[kept], state.population, offspring
  )
  return NSGA2State(population, both[kept], rank, crowding)


def gaussian_mutation(key: jax.Array, population: PyTree, strength) -> PyTree:
  """Adds independent N(0, strength²) to every number of a population."""
  flat, rebuild = flatten_util.ravel_pytree(population)
  return rebuild(flat + strength * jax.random.normal(key, flat.shape, flat.dtype))

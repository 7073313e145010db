"""Search: NSGA-II as pure functions, and indicators of the sets of points that it finds.

All of it runs under `jit` and `vmap`, so that many independent searches are one program. That
is why it is here: pymoo's NSGA-II and indicators are NumPy on the host, one search at a time;
evosax has strategies for a single objective only; EvoX has moved to PyTorch; QDax keeps
NSGA-II inside of its archives of behaviours. Objectives are minimised everywhere.

>>> import jax, jax.numpy as jnp
>>> def vary(key, x):  # Schaffer's problem: x² and (x − 2)², best for x from 0 to 2
...   x = x + 0.3 * jax.random.normal(key, x.shape)
...   return x, jnp.stack([x**2, (x - 2) ** 2], 1)
>>> x = jnp.linspace(-50.0, 50.0, 20)
>>> state = nsga2_init(x, jnp.stack([x**2, (x - 2) ** 2], 1))
>>> keys = jax.random.split(jax.random.key(0), 60)
>>> def one(state, key):
...   return nsga2_step(key, state, vary), None
>>> state, _ = jax.lax.scan(one, state, keys)
>>> bool((state.population > -0.1).all() and (state.population < 2.1).all())
True
"""

from lib.search.dominance import (
  crowding_distance,
  dominates,
  front_rank,
  non_dominated,
  pareto_front,
)
from lib.search.indicators import hypervolume, pure_diversity, spacing
from lib.search.nsga2 import NSGA2State, gaussian_mutation, survivors, tournament
from lib.search.nsga2 import init as nsga2_init
from lib.search.nsga2 import step as nsga2_step

__all__ = [
  "NSGA2State",
  "crowding_distance",
  "dominates",
  "front_rank",
  "gaussian_mutation",
  "hypervolume",
  "non_dominated",
  "nsga2_init",
  "nsga2_step",
  "pareto_front",
  "pure_diversity",
  "spacing",
  "survivors",
  "tournament",
]

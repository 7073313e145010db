"""Curricula: the order of training examples, and the batches that are made of an order.

A similarity graph of the training rows ranks them from typical to atypical; a schedule makes
of an order the batches of an epoch, as arrays of indices and a mask, so that one compiled
training loop serves all of them.

>>> import jax.numpy as jnp
>>> adjacent = jnp.array([[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], bool)
>>> found = typicality(adjacent, jnp.array([0, 0, 1, 1]), classes=2)
>>> [round(float(v), 3) for v in found.degree_adjusted]
[2.181, 2.181, -2.0, 0.0]
>>> order = ranking(found.degree_adjusted, descending=True)
>>> growing(order, first=2, increase=1).sizes.tolist()
[2, 3, 4]
"""

from lib.curricula.schedules import (
  Schedule,
  chunks,
  growing,
  padded,
  repeated,
  single,
  updates,
)
from lib.curricula.similarity import gower, inverse_distance, mean_similarity, similarity_graph
from lib.curricula.typical import (
  Typicality,
  adjusted_entropy,
  class_shares,
  degree_adjusted,
  ranking,
  typicality,
)

__all__ = [
  "Schedule",
  "Typicality",
  "adjusted_entropy",
  "chunks",
  "class_shares",
  "degree_adjusted",
  "gower",
  "growing",
  "inverse_distance",
  "mean_similarity",
  "padded",
  "ranking",
  "repeated",
  "similarity_graph",
  "single",
  "typicality",
  "updates",
]

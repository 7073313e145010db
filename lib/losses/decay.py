"""Weight decay."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp


def kernels_only(params):
  """A tree of booleans: true for kernels, false for biases and normalisation parameters."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: getattr(path[-1], "key", None) == "kernel", params
  )


def l2(params, mask: Callable | None = None) -> jax.Array:
  """½ Σ_w w²: Krogh and Hertz, *A simple weight decay can improve generalization* (1992).

  Its gradient is w, so a weight λ is the λ of PyTorch's `weight_decay`. As a loss it passes
  through an adaptive optimiser's scaling; decoupled decay, w ← w − η λ w, does not: Loshchilov
  and Hutter, *Decoupled weight decay regularization* (ICLR 2019), and
  `lib.training.optimizer(decay="decoupled")`.

  Args:
    params: tree of arrays.
    mask: function from the tree to a tree of booleans, e.g. `kernels_only`; None for all.
  """
  terms = jax.tree.map(lambda w: 0.5 * jnp.sum(w**2), params)
  if mask is not None:
    terms = jax.tree.map(lambda term, kept: term if kept else 0.0, terms, mask(params))
  return sum(jax.tree.leaves(terms))

"""Networks that embed in the plane: parametric t-SNE, and imitation of an embedding."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import optax
from jax import lax

from lib import models

_BISECTIONS = 40


def affinities(x, perplexity) -> jax.Array:
  """p_ij = (p_j|i + p_i|j) / 2n with Gaussians of the given perplexity, (n, n).

  van der Maaten and Hinton (2008), *Visualizing data using t-SNE*, eq. 1: the precisions are
  found by bisection so that 2^{H(p_·|i)} is the perplexity.

  Args:
    x: (n, d).
    perplexity: less than n; may be traced.
  """
  n = len(x)
  squared = jnp.sum(jnp.square(x[:, None] - x), -1)
  apart = ~jnp.eye(n, dtype=bool)
  near = jnp.where(apart, squared, jnp.inf).min(1, keepdims=True)
  shifted = jnp.where(apart, squared - near, jnp.inf)
  scale = jnp.maximum(jnp.sum(jnp.where(apart, shifted, 0.0), 1, keepdims=True) / n, 1e-30)
  shifted = shifted / scale

  def conditional(precision):
    weights = jnp.exp(-precision * shifted)
    return weights / weights.sum(1, keepdims=True)

  def halve(_, bounds):
    low, high = bounds
    middle = (low + high) / 2  # logarithm of the precision
    p = conditional(jnp.exp(middle))
    entropy = -jnp.sum(jax.scipy.special.xlogy(p, p), 1, keepdims=True)
    spread = entropy > jnp.log(perplexity)
    return jnp.where(spread, middle, low), jnp.where(spread, high, middle)

  start = jnp.full((n, 1), -20.0), jnp.full((n, 1), 20.0)
  low, high = lax.fori_loop(0, _BISECTIONS, halve, start)
  p = conditional(jnp.exp((low + high) / 2))
  return (p + p.T) / (2 * n)


def divergence(p, y) -> jax.Array:
  """KL(P ‖ Q) with q_ij ∝ 1 / (1 + ‖y_i − y_j‖²), i ≠ j (eq. 4 and 5 there)."""
  n = len(y)
  kernel = 1 / (1 + jnp.sum(jnp.square(y[:, None] - y), -1))
  kernel = jnp.where(jnp.eye(n, dtype=bool), 0.0, kernel)
  total = kernel.sum()
  log_q = jnp.log(jnp.maximum(kernel, 1e-30)) - jnp.log(total)
  return jnp.sum(jax.scipy.special.xlogy(p, p) - p * log_q)


def _network(hidden):
  return models.MLP((*hidden, 2))


def embed(params, x, hidden=(128, 128)) -> jax.Array:
  """(n, d) -> (n, 2) by a network that `parametric_tsne` or `imitate` trained."""
  scale = lax.stop_gradient(params["scale"])
  return _network(hidden).apply({"params": params["network"]}, x / scale)


def _initial(key, x, hidden):
  """Initial weights, and the size of the inputs' entries, which stays."""
  size = jnp.sqrt(jnp.maximum(jnp.mean(jnp.square(x)), 1e-30))
  return {"network": models.init(_network(hidden), key, x.shape[1:])["params"], "scale": size}


def _train(loss, params, batches, epochs, rate):
  """Adam with a step that falls linearly to 0, over fixed batches."""
  count = epochs * len(jax.tree.leaves(batches)[0])
  optimiser = optax.adam(optax.linear_schedule(rate, 0.0, count))

  def step(state, batch):
    params, opt_state = state
    value, gradient = jax.value_and_grad(loss)(params, batch)
    updates, opt_state = optimiser.update(gradient, opt_state)
    return (optax.apply_updates(params, updates), opt_state), value

  def one_epoch(state, _):
    state, values = lax.scan(step, state, batches)
    return state, values.mean()

  state = params, optimiser.init(params)
  (params, _), losses = lax.scan(one_epoch, state, None, length=epochs)
  return params, losses


def _batched(a, size):
  return a[: len(a) // size * size].reshape(-1, size, *a.shape[1:])


def parametric_tsne(
  key,
  x,
  *,
  hidden: tuple[int, ...] = (128, 128),
  perplexity: float = 30.0,
  batch: int = 250,
  epochs: int = 50,
  rate: float = 1e-2,
):
  """A network that minimises t-SNE's divergence: (params, divergence of every epoch).

  van der Maaten (2009), *Learning a Parametric Embedding by Preserving Local Structure*: the
  affinities are those within fixed batches. His layer-wise pre-training is left out.

  Args:
    key: of the initial weights.
    x: (n, d) in random order; what does not fill a batch is left out.
    hidden: widths of the hidden layers (ReLU).
    perplexity: of the affinities within a batch.
    batch: examples in one, at most n.
    epochs: passes over the batches.
    rate: Adam's, falling linearly to 0.
  """
  chex.assert_rank(x, 2)
  parts = _batched(x, min(batch, len(x)))
  p = lax.map(functools.partial(affinities, perplexity=perplexity), parts)
  params = _initial(key, x, hidden)

  def loss(params, part):
    x, p = part
    return divergence(p, embed(params, x, hidden))

  return _train(loss, params, (parts, p), epochs, rate)


def imitate(
  key,
  x,
  y,
  *,
  hidden: tuple[int, ...] = (128, 128),
  batch: int = 250,
  epochs: int = 50,
  rate: float = 1e-2,
):
  """A network that predicts an embedding, by least squares: (params, loss of every epoch).

  It stands in for the transform of an embedding that would need its training examples.

  Args:
    key: of the initial weights.
    x: (n, d) in random order.
    y: (n, 2) their places.
    hidden, batch, epochs, rate: as `parametric_tsne`.
  """
  chex.assert_rank([x, y], 2)
  size = min(batch, len(x))
  params = _initial(key, x, hidden)

  def loss(params, part):
    x, y = part
    return jnp.mean(jnp.sum(jnp.square(embed(params, x, hidden) - y), -1))

  return _train(loss, params, (_batched(x, size), _batched(y, size)), epochs, rate)

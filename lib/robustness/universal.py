"""Universal perturbations: one δ added to every input, as an attack and in training.

Moosavi-Dezfooli et al. (2017), *Universal adversarial perturbations*; the stochastic gradient
form and the training against it are Shafahi et al.'s (2020), *Universal adversarial training*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax
from jax import lax

from lib.robustness import balls

UNTARGETED = -1
Logits = Callable[[jax.Array], jax.Array]


def perturb(x, delta, low=0.0, high=1.0) -> jax.Array:
  """clip(x + δ), within the pixel range; x (n, …), δ (…).

  δ is in its ball exactly, the rounded sum may be half a unit in its last place off;
  `balls.project_linf(perturb(x, δ), x, ε)` takes that back.
  """
  chex.assert_shape(delta, x.shape[1:])
  return jnp.clip(x + _for_each(len(x), delta), low, high)


def _for_each(n, delta):
  """δ n times, as 1 δᵀ: the gradient is a product as well, Gᵀ 1.

  Broadcasting has a sum over the inputs as its gradient, which XLA's CPU compiler joins with
  that of the clipping into a strided loop: it took a fifth of a step of an attack on LeNet.
  """
  rows = jnp.dot(
    jnp.ones((n, 1), delta.dtype), delta.reshape(1, -1), precision=lax.Precision.HIGHEST
  )
  return rows.reshape(n, *delta.shape)


def objective(logits, labels, target, clip=jnp.inf) -> jax.Array:
  """What the attacker ascends, (n, classes) -> (n,).

  min(L, β) of the cross entropy of the labels where `target` is UNTARGETED, minus that of the
  class `target` otherwise; `clip` is β. `target` may be traced: attacks on several classes are
  a vmapped axis.
  """
  goal = jnp.where(target == UNTARGETED, labels, target)
  losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, goal)
  losses = jnp.minimum(losses, clip)
  return jnp.where(target == UNTARGETED, losses, -losses)


def ascend(delta, gradient, radius, step, norm: str = "linf") -> jax.Array:
  """One step, δ ← Π(δ + α v), v the steepest direction of the norm."""
  direction = balls.steepest(gradient[None], norm)[0]
  return balls.project_perturbation(delta + step * direction, radius, norm)


def universal_perturbation(
  key,
  logits: Logits,
  inputs,
  labels,
  radius,
  *,
  step,
  steps: int,
  batch: int,
  target=UNTARGETED,
  clip=jnp.inf,
  norm: str = "linf",
  low=0.0,
  high=1.0,
) -> tuple[jax.Array, jax.Array]:
  """δ by stochastic gradient ascent on minibatches, from δ = 0.

      δ ← Π_ε(δ + α sign Σ_i ∇_δ min(L(clip(x_i + δ)), β))

  L is the cross entropy of the labels, or with a target class c minus that of c (Co, Martinez
  Rego and Lupu (2021), sec. 2.1, who print the untargeted step with a minus sign). The batches
  run through a random order of the inputs, again and again. Inputs with a loss above β count
  no more (Shafahi et al. (2020)): untargeted, they are misclassified already; with a target
  they are those furthest from it, and where a whole batch is, δ stays as it is.

  Args:
    key: of the order.
    logits: (n, …) -> (n, classes).
    inputs: (n, …) within [low, high].
    labels: (n,) true classes.
    radius: ε, may be traced.
    step: α, may be traced.
    steps: how many.
    batch: inputs in a step, at most n.
    target: a class, or UNTARGETED; may be traced.
    clip: β, by default none.
    norm: "linf" or "l2".
    low, high: the pixel range.

  Returns:
    δ of one input's shape, ‖δ‖ ≤ ε exactly, and the mean objective before every step (steps,).

  Raises:
    ValueError: the batch is larger than the set.
  """
  n = len(labels)
  if not 1 <= batch <= n:
    raise ValueError(f"a batch of {batch} from {n} inputs")
  chex.assert_equal_shape_prefix([inputs, labels], 1)
  order = jax.random.permutation(key, n)

  def loss(delta, x, y):
    return objective(logits(perturb(x, delta, low, high)), y, target, clip).mean()

  def body(delta, i):
    rows = order[(i * batch + jnp.arange(batch)) % n]
    value, gradient = jax.value_and_grad(loss)(delta, inputs[rows], labels[rows])
    return ascend(delta, gradient, radius, step, norm), value

  return lax.scan(body, jnp.zeros_like(inputs[0]), jnp.arange(steps))


def evasion_rate(logits, labels) -> jax.Array:
  """Universal evasion rate: the share of inputs misclassified, clean errors too."""
  return jnp.mean(logits.argmax(-1) != labels, -1)


def target_rate(logits, target) -> jax.Array:
  """Targeted success rate: the share of inputs classified as `target` (its own count)."""
  return jnp.mean(logits.argmax(-1) == target, -1)


class Training(NamedTuple):
  """State of universal adversarial training: the perturbation outlives the minibatch."""

  params: Any
  opt_state: Any
  delta: jax.Array


def training_init(params, optimizer: optax.GradientTransformation, input_shape) -> Training:
  """The state before the first step, δ = 0."""
  return Training(params, optimizer.init(params), jnp.zeros(input_shape))


def training_step(
  loss: Callable[[Any, jax.Array], tuple[jax.Array, Any]],
  optimizer: optax.GradientTransformation,
  state: Training,
  inputs,
  radius,
  step,
  *,
  norm: str = "linf",
  low=0.0,
  high=1.0,
) -> tuple[Training, tuple[jax.Array, Any]]:
  """One step of min_θ max_{‖δ‖ ≤ ε} Σ L(θ, clip(x + δ)), with one backward pass for both.

  With radius 0 it is a step of ordinary training, exactly. An α near ε makes δ jump between
  corners of the ball, which can end training at chance.

  Args:
    loss: (params, perturbed inputs) -> (scalar, anything to be returned).
    optimizer: of the parameters.
    state: before the step.
    inputs: (n, …) clean minibatch.
    radius, step: ε and α of the perturbation; may be traced.
    norm: of the ball.
    low, high: the pixel range.

  Returns:
    The new state, and what `loss` returned at the old one.
  """

  def perturbed(params, delta):
    return loss(params, perturb(inputs, delta, low, high))

  value, (gradient, ascent) = jax.value_and_grad(perturbed, (0, 1), has_aux=True)(
    state.params, state.delta
  )
  updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  delta = ascend(state.delta, ascent, radius, step, norm)
  return Training(params, opt_state, delta), value

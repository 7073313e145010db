"""Adversarial examples, one perturbation an input: FGSM, BIM and PGD.

`logits` is any differentiable function of the inputs, (n, …) -> (n, classes): close over the
parameters, `lambda x: model.apply(variables, x)`. An attack ascends the cross entropy of
the labels, or with `targeted` descends that of the labels it is given. What it returns is
inside the ball and the pixel range exactly (see `lib.robustness.balls`). Everything can be
jitted, and vmapped over radii and steps.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax

from lib.robustness import balls

Logits = Callable[[jax.Array], jax.Array]


def _losses(logits: Logits, labels, targeted: bool):
  """What an attack ascends, (n, …) -> (n,)."""
  sign = -1.0 if targeted else 1.0

  def losses(x):
    return sign * optax.losses.softmax_cross_entropy_with_integer_labels(logits(x), labels)

  return losses


def _gradient(losses):
  """The gradient of every example's own loss, (n, …) -> (n, …)."""
  return jax.grad(lambda x: losses(x).sum())


def fgsm(
  logits: Logits, x, labels, radius, *, norm="linf", targeted=False, low=0.0, high=1.0
) -> jax.Array:
  """x + ε sign ∇_x L: Goodfellow, Shlens and Szegedy (2015), *Explaining and harnessing
  adversarial examples*.

  Args:
    logits: see the module.
    x: (n, …) inputs within [low, high].
    labels: (n,) classes: the true ones, or with `targeted` those to be predicted.
    radius: ε, a number.
    norm: "linf" or "l2" (then the step is ε g / ‖g‖₂).
    targeted: whether to approach the labels instead of leaving them.
    low, high: the pixel range.
  """
  step = balls.steepest(_gradient(_losses(logits, labels, targeted))(x), norm)
  return balls.project(x + radius * step, x, radius, norm, low, high)


def _ascend(losses, start, x, radius, step, steps, norm, low, high):
  gradient = _gradient(losses)

  def body(_, perturbed):
    moved = perturbed + step * balls.steepest(gradient(perturbed), norm)
    return balls.project(moved, x, radius, norm, low, high)

  return lax.fori_loop(0, steps, body, start)


def bim(
  logits: Logits,
  x,
  labels,
  radius,
  *,
  step,
  steps: int,
  norm="linf",
  targeted=False,
  low=0.0,
  high=1.0,
) -> jax.Array:
  """x ← Π(x + α sign ∇_x L), `steps` times from the input itself.

  Kurakin, Goodfellow and Bengio (2017), *Adversarial examples in the physical world*.

  Args:
    logits, x, labels, radius, norm, targeted, low, high: as `fgsm`.
    step: α.
    steps: how many.
  """
  losses = _losses(logits, labels, targeted)
  return _ascend(losses, x, x, radius, step, steps, norm, low, high)


def pgd(
  key,
  logits: Logits,
  x,
  labels,
  radius,
  *,
  step,
  steps: int,
  restarts: int = 1,
  norm="linf",
  targeted=False,
  low=0.0,
  high=1.0,
) -> jax.Array:
  """BIM from a random point of the ball, of `restarts` the one with the largest loss.

  Madry et al. (2018), *Towards deep learning models resistant to adversarial attacks*.

  Args:
    key: of the starting points.
    logits, x, labels, radius, step, steps, norm, targeted, low, high: as `bim`.
    restarts: starting points of every input.
  """
  losses = _losses(logits, labels, targeted)

  def attempt(best, key):
    start = balls.project(balls.uniform(key, x, radius, norm), x, radius, norm, low, high)
    found = _ascend(losses, start, x, radius, step, steps, norm, low, high)
    loss = losses(found)
    better = loss > best[1]
    chosen = jnp.where(better.reshape(-1, *[1] * (x.ndim - 1)), found, best[0])
    return (chosen, jnp.maximum(loss, best[1])), None

  start = (x, jnp.full(x.shape[:1], -jnp.inf, x.dtype))
  (found, _), _ = lax.scan(attempt, start, jax.random.split(key, restarts))
  return found

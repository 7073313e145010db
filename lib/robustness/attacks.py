"""Adversarial examples, one perturbation an input: FGSM, BIM and PGD.

`logits` is any differentiable function of the inputs, (n, …) -> (n, classes): close over the
parameters, `lambda x: model.apply(variables, x)`. An attack ascends the cross entropy of
the labels (or the DLR loss), or with `targeted` descends that of the labels it is given. What
it returns is inside the ball and the pixel range exactly (see `lib.robustness.balls`).
Everything can be jitted, and vmapped over radii and steps.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax

from lib.robustness import balls

Logits = Callable[[jax.Array], jax.Array]
LOSSES = ("cross_entropy", "dlr")


def difference_of_logits_ratio(logits, labels) -> jax.Array:
  """DLR = −(z_y − max_{i≠y} z_i) / (z_(1) − z_(3)), with z_(k) the k-th largest, (n,).

  Croce and Hein (2020), *Reliable evaluation of adversarial robustness with an ensemble of
  diverse parameter-free attacks*, eq. 6. It does not change when all logits are shifted or
  scaled, so that its gradient does not vanish for a confident network. 10⁻¹² is added to the
  denominator.

  Args:
    logits: (n, classes), at least 3 classes.
    labels: (n,).

  Raises:
    ValueError: there are fewer classes.
  """
  if logits.shape[-1] < 3:
    raise ValueError(f"the DLR loss needs three classes, not {logits.shape[-1]}")
  own = jnp.take_along_axis(logits, labels[:, None], 1)[:, 0]
  is_own = jnp.arange(logits.shape[-1]) == labels[:, None]
  other = jnp.where(is_own, -jnp.inf, logits).max(1)
  largest = lax.top_k(logits, 3)[0]
  return -(own - other) / (largest[:, 0] - largest[:, 2] + 1e-12)


def _losses(logits: Logits, labels, targeted: bool, loss: str = "cross_entropy"):
  """What an attack ascends, (n, …) -> (n,)."""
  if loss not in LOSSES:
    raise ValueError(f"loss must be one of {', '.join(LOSSES)}, not {loss!r}")
  if loss == "dlr":
    if targeted:
      raise ValueError("the DLR loss is for untargeted attacks")
    return lambda x: difference_of_logits_ratio(logits(x), labels)
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
  loss: str = "cross_entropy",
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
    loss: "cross_entropy", or "dlr" for `difference_of_logits_ratio`.

  Raises:
    ValueError: `loss` is something else, or "dlr" and `targeted`.
  """
  losses = _losses(logits, labels, targeted, loss)

  def attempt(best, key):
    start = balls.project(balls.uniform(key, x, radius, norm), x, radius, norm, low, high)
    found = _ascend(losses, start, x, radius, step, steps, norm, low, high)
    value = losses(found)
    better = value > best[1]
    chosen = jnp.where(better.reshape(-1, *[1] * (x.ndim - 1)), found, best[0])
    return (chosen, jnp.maximum(value, best[1])), None

  start = (x, jnp.full(x.shape[:1], -jnp.inf, x.dtype))
  (found, _), _ = lax.scan(attempt, start, jax.random.split(key, restarts))
  return found

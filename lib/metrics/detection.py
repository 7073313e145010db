"""Detection from scores: two kinds of rates, the ROC curve, its area, and thresholds.

Everything is stated for two samples: scores of `positives`, which should be accepted (the
genuine user, the known class), and of `negatives`, which should not (impostors, outliers). A
score s is accepted by a threshold t if s > t. What is accepted or rejected wrongly:

  FAR(t) = P(s⁻ > t),   FRR(t) = P(s⁺ ≤ t).

The false accept rate FAR is also called false positive rate or false match rate, and 1 − FRR
true positive rate, recall or power. Scores that are small for positives (distances) are to be
negated first.

All functions take (…, m) positives and (…, n) negatives: leading axes are a batch, which the
two may share by broadcasting, and thresholds have the batch's shape. Everything can be jitted
and vmapped. Arrays with values are checked; inside a compiled function there is nothing to
check.

```
auc(positives, negatives), equal_error_rate(positives, negatives)
t = threshold_at_false_accept_rate(negatives_of_validation, 0.01)
false_reject_rate(positives, t)
false_accept_rate_at(positives, negatives, 0.05)      # the "FPR at 95 % TPR"
```

References:
  Fawcett, *An introduction to ROC analysis* (Pattern Recognition Letters 27, 2006).
  Hanley and McNeil, *The meaning and use of the area under a receiver operating characteristic
  (ROC) curve* (Radiology 143, 1982).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


class Curve(NamedTuple):
  """Rates of falling thresholds, (…, m + n + 1) each: from accepting none to accepting all.

  Attributes:
    thresholds: all scores from the largest to the smallest, then −∞.
    false_accept: FAR(t), rising from 0 to 1.
    false_reject: FRR(t), falling from 1 to 0.

  Equal scores are as many equal points.
  """

  thresholds: Array
  false_accept: Array
  false_reject: Array


def _scores(x, name: str) -> Array:
  """As floats (…, n) with n ≥ 1, none of them NaN."""
  x = jnp.asarray(x)
  if x.ndim < 1 or x.shape[-1] < 1:
    raise ValueError(f"{name} need a last axis of at least one score, not shape {x.shape}")
  if not jnp.issubdtype(x.dtype, jnp.floating):
    x = x.astype(jnp.result_type(float))
  if not isinstance(x, jax.core.Tracer) and np.isnan(np.asarray(x)).any():
    raise ValueError(f"{name} have a score that is not a number")
  return x


def _both(positives, negatives) -> tuple[Array, Array]:
  """Both samples in one dtype and with equal leading axes."""
  positives, negatives = _scores(positives, "positives"), _scores(negatives, "negatives")
  dtype = jnp.result_type(positives, negatives)
  batch = jnp.broadcast_shapes(positives.shape[:-1], negatives.shape[:-1])
  return (
    jnp.broadcast_to(positives.astype(dtype), (*batch, positives.shape[-1])),
    jnp.broadcast_to(negatives.astype(dtype), (*batch, negatives.shape[-1])),
  )


def _batched(function, *arrays) -> Array:
  """`function` of vectors, over all leading axes that the arrays share."""
  for _ in range(arrays[0].ndim - 1):
    function = jax.vmap(function)
  return function(*arrays)


def _numbers_above(scores: Array, at: Array) -> tuple[Array, Array]:
  """How many of the scores (…, n) are > and ≥ each of `at` (…, k), int32 (…, k)."""

  def count(scores, at):
    ordered, n = jnp.sort(scores), scores.shape[0]
    above = n - jnp.searchsorted(ordered, at, side="right")
    return above, n - jnp.searchsorted(ordered, at, side="left")

  return _batched(count, scores, at)


# --- rates at a threshold -----------------------------------------------------------------


def accept_rate(scores, threshold, where=None) -> Array:
  """P(s > t), the share of the scores that is accepted; (…, n), (…) -> (…).

  Args:
    scores: (…, n).
    threshold: (…), or one for all.
    where: (…, n) of booleans, which scores count; all by default. NaN where none does.
  """
  scores = _scores(scores, "scores")
  accepted = scores > jnp.asarray(threshold)[..., None]
  return jnp.mean(accepted, -1, dtype=scores.dtype, where=where)


def false_accept_rate(negatives, threshold, where=None) -> Array:
  """FAR(t) = P(s⁻ > t); (…, n), (…) -> (…). See `accept_rate`."""
  return accept_rate(negatives, threshold, where)


def false_reject_rate(positives, threshold, where=None) -> Array:
  """FRR(t) = P(s⁺ ≤ t); (…, m), (…) -> (…). See `accept_rate`."""
  return 1 - accept_rate(positives, threshold, where)


def half_total_error_rate(positives, negatives, threshold) -> Array:
  """(FAR(t) + FRR(t)) / 2, the error rate if both kinds are equally frequent; -> (…)."""
  far, frr = false_accept_rate(negatives, threshold), false_reject_rate(positives, threshold)
  return (far + frr) / 2


# --- all thresholds -----------------------------------------------------------------------


def roc(positives, negatives) -> Curve:
  """FAR(t) and FRR(t) at every threshold that makes a difference; (…, m), (…, n) -> `Curve`.

  The usual ROC curve is 1 − `false_reject` over `false_accept`.
  """
  positives, negatives = _both(positives, negatives)
  every = -jnp.sort(-jnp.concatenate([positives, negatives], -1), -1)
  last = jnp.full((*every.shape[:-1], 1), -jnp.inf, every.dtype)
  thresholds = jnp.concatenate([every, last], -1)
  accepted = _numbers_above(positives, thresholds)[0] / positives.shape[-1]
  far = _numbers_above(negatives, thresholds)[0] / negatives.shape[-1]
  return Curve(thresholds, far.astype(every.dtype), (1 - accepted).astype(every.dtype))


def auc(positives, negatives) -> Array:
  """Area under the ROC curve, P(s⁺ > s⁻) + P(s⁺ = s⁻)/2; (…, m), (…, n) -> (…).

  The statistic of Mann and Whitney over m n (Hanley and McNeil 1982). Sorts, so that samples
  may be large.
  """
  positives, negatives = _both(positives, negatives)
  above, at_least = _numbers_above(negatives, positives)
  n = negatives.shape[-1]
  below = (n - at_least + (n - above)) / (2 * n)
  return below.mean(-1).astype(positives.dtype)


def average_precision(positives, negatives) -> Array:
  """Area under the precision-recall curve, Σ_k (R_k − R_{k−1}) P_k; (…, m), (…, n) -> (…).

  The sum over falling thresholds with recall R and precision P; it is the mean over positives
  of the precision where that positive is the last to be accepted. It depends on m/n.
  """
  positives, negatives = _both(positives, negatives)
  right = _numbers_above(positives, positives)[1]
  wrong = _numbers_above(negatives, positives)[1]
  return (right / (right + wrong)).mean(-1).astype(positives.dtype)


def equal_error_rate(positives, negatives) -> Array:
  """The rate FAR = FRR, where the linearly interpolated ROC curve crosses it; -> (…)."""
  _, far, frr = roc(positives, negatives)

  def crossing(far, frr):
    after = jnp.argmax(far >= frr)  # the first point has FAR 0 and FRR 1: after ≥ 1
    x0, y0, x1, y1 = far[after - 1], frr[after - 1], far[after], frr[after]
    share = (y0 - x0) / ((y0 - x0) - (y1 - x1))
    return x0 + share * (x1 - x0)

  return _batched(crossing, far, frr)


def least_half_total_error_rate(positives, negatives) -> Array:
  """min_t (FAR(t) + FRR(t)) / 2: one minus the "detection accuracy"; -> (…).

  The threshold is chosen on the very samples it is tested on, so this is optimistic.
  """
  _, far, frr = roc(positives, negatives)
  return jnp.min(far + frr, -1) / 2


# --- thresholds and rates at a rate --------------------------------------------------------


def _allowed(rate, n: int, dtype) -> Array:
  """How many of n are at most the share `rate`, which may be rounded: 0.29 of 100 are 29."""
  if not isinstance(rate, jax.core.Tracer):
    values = np.asarray(rate)
    if not ((values >= 0) & (values <= 1)).all():
      raise ValueError(f"a rate is between 0 and 1, not {rate}")
  slack = 4 * jnp.finfo(dtype).eps
  return jnp.floor(jnp.asarray(rate, dtype) * n * (1 + slack)).astype(jnp.int32)


def _next_below(x: Array) -> Array:
  """The next smaller number; of those near 0 the next normal one, as others count as 0."""
  tiny = jnp.finfo(x.dtype).tiny
  below = jnp.nextafter(x, jnp.asarray(-jnp.inf, x.dtype))
  return jnp.where(jnp.abs(x) < tiny, -tiny, below)


def threshold_at_false_accept_rate(negatives, rate) -> Array:
  """The least t with FAR(t) ≤ rate: the (⌊rate n⌋ + 1)-th largest negative; (…, n) -> (…).

  At rate 0 it is the largest negative, at rate 1 it is −∞.

  Args:
    negatives: (…, n).
    rate: in [0, 1], one for all or (…).

  Raises:
    ValueError: the rate is outside [0, 1].
  """
  negatives = _scores(negatives, "negatives")
  ordered = -jnp.sort(-negatives, -1)
  last = jnp.full((*ordered.shape[:-1], 1), -jnp.inf, ordered.dtype)
  index = _allowed(rate, ordered.shape[-1], ordered.dtype)
  index = jnp.broadcast_to(index, ordered.shape[:-1])[..., None]
  return jnp.take_along_axis(jnp.concatenate([ordered, last], -1), index, -1)[..., 0]


def threshold_at_false_reject_rate(positives, rate) -> Array:
  """The largest t with FRR(t) ≤ rate; (…, m) -> (…).

  It is the largest number below the (⌊rate m⌋ + 1)-th smallest positive, which has to be
  accepted; at rate 1 it is +∞.

  Args:
    positives: (…, m).
    rate: in [0, 1], one for all or (…).

  Raises:
    ValueError: the rate is outside [0, 1].
  """
  positives = _scores(positives, "positives")
  ordered = _next_below(jnp.sort(positives, -1))
  last = jnp.full((*ordered.shape[:-1], 1), jnp.inf, ordered.dtype)
  index = _allowed(rate, ordered.shape[-1], ordered.dtype)
  index = jnp.broadcast_to(index, ordered.shape[:-1])[..., None]
  return jnp.take_along_axis(jnp.concatenate([ordered, last], -1), index, -1)[..., 0]


def false_accept_rate_at(positives, negatives, false_reject_rate) -> Array:
  """FAR at the largest threshold that rejects at most this share of the positives; -> (…).

  With 0.05 it is the false positive rate at 95 % true positive rate.
  """
  positives, negatives = _both(positives, negatives)
  threshold = threshold_at_false_reject_rate(positives, false_reject_rate)
  return accept_rate(negatives, threshold)


def false_reject_rate_at(positives, negatives, false_accept_rate) -> Array:
  """FRR at the least threshold that accepts at most this share of the negatives; -> (…)."""
  positives, negatives = _both(positives, negatives)
  threshold = threshold_at_false_accept_rate(negatives, false_accept_rate)
  return 1 - accept_rate(positives, threshold)

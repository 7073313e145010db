"""Calibration of a classifier's scores: estimators of the expected calibration error (ECE).

Everything is stated for pairs (s_i, h_i) of a score and whether it hit: the score of the
predicted class and whether the prediction is right (`confidence_pairs`), the score of class c
and whether the label is c (`class_pairs`), or all scores together (`pooled_pairs`). Then

  ECE = E_s |P(h = 1 | s) − s|.

All estimators are functions of s, h (…, n) -> (…): leading axes are a batch, and everything
can be jitted and vmapped. Arrays with values are checked; inside a compiled function there is
nothing to check, so check before.

```
pairs = confidence_pairs(scores, labels)          # scores (n, C), labels (n,)
ece(*pairs, bins=15), kde_ece(*pairs)
confidence(kde_ece)(scores, labels), classwise(adaptive_ece)(scores, labels)
```

References:
  Guo et al., *On calibration of modern neural networks* (ICML 2017): the legacy estimator.
  Posocco and Bonnefoy, *Estimating expected calibration errors* (ICANN 2021): all others but
  the pooled one, which is Liu and JaJa, *Class-similarity based label smoothing for confidence
  calibration* (ICANN 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from lib.metrics import binning, density

Estimator = Callable[..., jax.Array]


class Pairs(NamedTuple):
  """Scores in [0, 1] and hits (0 or 1, or a probability of it) of the same shape (…, n)."""

  s: jax.Array
  h: jax.Array


# --- what is measured ---------------------------------------------------------------------


def check_scores(scores, labels=None, tolerance: float | None = None) -> None:
  """Raises for scores (…, n, C) that are no probabilities, and labels that are no classes.

  Nothing happens to tracers, which have no values yet.

  Args:
    scores: (…, n, C).
    labels: (…, n) integers, or None.
    tolerance: how far a sum may be from 1, by default 10⁻⁴, in half precision C times its
      rounding.

  Raises:
    ValueError: a score is outside [0, 1] or not a number, scores do not sum to 1, or a label
      is not in 0..C−1.
  """
  if scores.ndim < 2 or scores.shape[-1] < 2:
    raise ValueError(f"scores need a last axis of at least 2 classes, not {scores.shape}")
  if labels is not None and labels.shape != scores.shape[:-1]:
    raise ValueError(f"labels {labels.shape} do not belong to scores {scores.shape}")
  if not isinstance(scores, jax.core.Tracer):
    _check_unit(scores, "score")
    values = np.asarray(scores)
    if tolerance is None:
      tolerance = max(1e-4, values.shape[-1] * float(jnp.finfo(values.dtype).eps))
    error = np.abs(values.astype(np.float64).sum(-1) - 1)
    if error.max() > tolerance:
      row = np.unravel_index(error.argmax(), error.shape)
      total = values[row].astype(np.float64).sum()
      raise ValueError(
        f"scores of example {_place(row)} sum to {total:.6g}, not to 1: "
        "pass probabilities (a softmax of the logits)"
      )
  if labels is not None and not isinstance(labels, jax.core.Tracer):
    values = np.asarray(labels)
    if not np.issubdtype(values.dtype, np.integer):
      raise ValueError(f"labels have to be integers, not {values.dtype}")
    if values.size and not (values.min() >= 0 and values.max() < scores.shape[-1]):
      wrong = values.min() if values.min() < 0 else values.max()
      raise ValueError(f"label {wrong} is none of the classes 0..{scores.shape[-1] - 1}")


def _check_unit(values, name: str) -> None:
  if isinstance(values, jax.core.Tracer):
    return
  values = np.asarray(values)
  inside = (values >= 0) & (values <= 1)  # false for what is not a number
  if not inside.all():
    at = np.unravel_index(np.argmin(inside), inside.shape)
    raise ValueError(f"{name} {_place(at)} is {float(values[at]):.6g}, outside [0, 1]")


def _place(index) -> str:
  return ", ".join(str(int(i)) for i in index)


def _array(x):
  """Lists as arrays; what is an array stays what it is."""
  return x if hasattr(x, "shape") else np.asarray(x)


def _checked(s, h) -> Pairs:
  s, h = _array(s), _array(h)
  chex.assert_equal_shape([s, h])
  if s.shape[-1] < 1:
    raise ValueError("needs at least one pair")
  _check_unit(s, "score")
  _check_unit(h, "hit")
  s = jnp.asarray(s)
  s = s if jnp.issubdtype(s.dtype, jnp.floating) else s.astype(jnp.float32)
  return Pairs(s, jnp.asarray(h).astype(s.dtype))


def confidence_pairs(scores: jax.Array, labels: jax.Array) -> Pairs:
  """s = max_c S_c, h = [y = argmax_c S_c]; (…, n, C), (…, n) -> (…, n)."""
  scores, labels = _array(scores), _array(labels)
  check_scores(scores, labels)
  return Pairs(scores.max(-1), (scores.argmax(-1) == labels).astype(scores.dtype))


def class_pairs(scores: jax.Array, labels: jax.Array) -> Pairs:
  """s = S_c, h = [y = c] for every class: (…, n, C), (…, n) -> (…, C, n)."""
  scores, labels = _array(scores), _array(labels)
  check_scores(scores, labels)
  hits = jax.nn.one_hot(labels, scores.shape[-1], dtype=scores.dtype)
  return Pairs(jnp.swapaxes(jnp.asarray(scores), -1, -2), jnp.swapaxes(hits, -1, -2))


def pooled_pairs(scores: jax.Array, labels: jax.Array) -> Pairs:
  """All scores of all classes together: (…, n, C), (…, n) -> (…, nC)."""
  s, h = class_pairs(scores, labels)
  flat = (*s.shape[:-2], s.shape[-2] * s.shape[-1])
  return Pairs(s.reshape(flat), h.reshape(flat))


def confidence(estimator: Estimator) -> Estimator:
  """The estimator for the predicted class: (scores (…, n, C), labels, **options) -> (…)."""
  return lambda scores, labels, **options: estimator(
    *confidence_pairs(scores, labels), **options
  )


def classwise(estimator: Estimator) -> Estimator:
  """The mean of the estimator over all classes: (scores, labels, **options) -> (…)."""
  return lambda scores, labels, **options: estimator(
    *class_pairs(scores, labels), **options
  ).mean(-1)


def pooled(estimator: Estimator, per: str = "example") -> Estimator:
  """The estimator on all nC scores ("output calibration"): (scores, labels, **options) -> (…).

  Args:
    estimator: of (s, h).
    per: what it is divided by. "score" is the print's 1/(nC), bounded by 2/C; "example", 1/n,
      is C times that, and what the tables of Liu and JaJa show.
  """
  if per not in ("example", "score"):
    raise ValueError(f"per is {per!r}, neither 'example' nor 'score'")

  def estimate(scores, labels, **options):
    factor = scores.shape[-1] if per == "example" else 1
    return factor * estimator(*pooled_pairs(scores, labels), **options)

  return estimate


# --- binned estimators --------------------------------------------------------------------


def binned_ece(
  s: jax.Array, h: jax.Array, edges: jax.Array, mapping: str = "one", closed: str = "left"
) -> jax.Array:
  """ECE = (1/n) Σ_j |Σ_i W_ij (h_i − s_i)|: eq. 1 for any binning scheme and mapping.

  Args:
    s, h: (…, n).
    edges: (B + 1,) or (…, B + 1), see `lib.metrics.binning`.
    mapping: "one" or "convex".
    closed: which end of a bin belongs to it, "left" or "right".

  Returns:
    (…).
  """
  s, h = _checked(s, h)
  sums = binning.bin_sums(h - s, s, edges, mapping, closed)
  return jnp.abs(sums).sum(-1) / s.shape[-1]


def ece(s: jax.Array, h: jax.Array, bins: int = 15, closed: str = "left") -> jax.Array:
  """The legacy estimator: equal bins, every sample in one."""
  return binned_ece(s, h, binning.uniform_edges(bins), "one", closed)


def adaptive_ece(s: jax.Array, h: jax.Array, bins: int = 15) -> jax.Array:
  """ECE_a: bins of equally many samples. Class-wise it is the ACE of Nixon et al. (2019)."""
  return binned_ece(s, h, binning.adaptive_edges(jnp.asarray(s), bins))


def convex_ece(s: jax.Array, h: jax.Array, bins: int = 15) -> jax.Array:
  """ECE_c: equal bins, every sample shared between two of them."""
  return binned_ece(s, h, binning.uniform_edges(bins), "convex")


def adaptive_convex_ece(s: jax.Array, h: jax.Array, bins: int = 15) -> jax.Array:
  """ECE_ac: bins of equally many samples, every sample shared between two of them."""
  return binned_ece(s, h, binning.adaptive_edges(jnp.asarray(s), bins), "convex")


def mce(s: jax.Array, h: jax.Array, bins: int = 15, closed: str = "left") -> jax.Array:
  """Maximum calibration error: the largest |mean hit − mean score| of the equal bins.

  Naeini et al. (AAAI 2015). Bins without samples do not count.
  """
  diagram = reliability_diagram(s, h, binning.uniform_edges(bins), closed=closed)
  gap = jnp.abs(diagram.accuracy - diagram.confidence)
  return jnp.max(jnp.where(diagram.weight > 0, gap, 0.0), -1)


# --- estimators by kernel densities -------------------------------------------------------


def _local(s, h, bandwidth, kernel, points):
  """f(s) and ∫-free numerator π f(s | h = 1) at the grid: (…, G) each."""
  mass = (
    jnp.stack([density.histogram(s, points=points), density.histogram(s, h, points)], -2)
    / s.shape[-1]
  )
  bandwidth = density.silverman(s) if bandwidth is None else jnp.asarray(bandwidth, s.dtype)
  smoothed = density.smooth(mass, bandwidth[..., None], kernel)
  return smoothed[..., 0, :], smoothed[..., 1, :]


def kde_ece(
  s: jax.Array,
  h: jax.Array,
  bandwidth: jax.Array | float | None = None,
  kernel: str = "gaussian",
  points: int = density.POINTS,
) -> jax.Array:
  """ECE_d = ∫₀¹ f(s) |P(h = 1 | s) − s| ds = ∫₀¹ |π f(s | h = 1) − s f(s)| ds, π = mean h.

  Both densities are kernel estimates of one bandwidth, reflected at 0 and 1; the second form
  divides by nothing. With the triweight kernel and `density.normal_reference` it is the
  KDE-ECE of Zhang et al. (ICML 2020) for one score.

  Args:
    s, h: (…, n).
    bandwidth: a number or (…); None for Silverman's rule on all scores.
    kernel: "gaussian" or "triweight".
    points: cells of the grid; a bandwidth below one cell counts as one.

  Returns:
    (…).
  """
  s, h = _checked(s, h)
  all_, hits = _local(s, h, bandwidth, kernel, points)
  return jnp.abs(hits - density.grid(points).astype(s.dtype) * all_).mean(-1)


class Curve(NamedTuple):
  """Continuous reliability curve: P(h = 1 | s) and the density of s at `grid`, (…, G)."""

  grid: jax.Array
  accuracy: jax.Array
  density: jax.Array


def reliability_curve(
  s: jax.Array,
  h: jax.Array,
  bandwidth: jax.Array | float | None = None,
  kernel: str = "gaussian",
  points: int = density.POINTS,
) -> Curve:
  """rel(s) = LCE(s) + s = P(h = 1 | s), LCE the local calibration error: definition 6, eq. 2.

  Where there is no sample within reach of the kernel it is not a number.
  """
  s, h = _checked(s, h)
  all_, hits = _local(s, h, bandwidth, kernel, points)
  there = all_ > 1e-4
  accuracy = jnp.where(there, hits / jnp.where(there, all_, 1.0), jnp.nan)
  return Curve(density.grid(points), jnp.clip(accuracy, 0.0, 1.0), all_)


class Band(NamedTuple):
  """Median and percentiles of bootstrapped reliability curves at `grid`, (G,)."""

  grid: jax.Array
  median: jax.Array
  low: jax.Array
  high: jax.Array


def reliability_band(
  key: jax.Array,
  s: jax.Array,
  h: jax.Array,
  bandwidth: jax.Array | float | None = None,
  resamples: int = 200,
  percentiles: tuple[float, float] = (5.0, 95.0),
  **options,
) -> Band:
  """The reliability curve with its uncertainty: bootstrapped versions of the samples.

  Args:
    key: random key.
    s, h: (n,).
    bandwidth: a number; None for Silverman's rule, once for all versions.
    resamples: bootstrapped versions; the paper gives no number.
    percentiles: of the band; nor these.
    **options: of `reliability_curve`.
  """
  s, h = _checked(s, h)
  chex.assert_rank([s, h], 1)
  bandwidth = density.silverman(s) if bandwidth is None else bandwidth
  index = jax.random.randint(key, (resamples, s.shape[0]), 0, s.shape[0])
  curves = reliability_curve(s[index], h[index], bandwidth, **options)
  low, median, high = jnp.nanpercentile(
    curves.accuracy, jnp.array([percentiles[0], 50.0, percentiles[1]]), axis=0
  )
  return Band(curves.grid, median, low, high)


# --- the diagram --------------------------------------------------------------------------


class Diagram(NamedTuple):
  """Reliability diagram: edges (…, B + 1); of each bin (…, B) the mean score, the mean hit
  (both not a number where it is empty) and the share of the samples.
  """

  edges: jax.Array
  confidence: jax.Array
  accuracy: jax.Array
  weight: jax.Array


def reliability_diagram(
  s: jax.Array,
  h: jax.Array,
  edges: jax.Array | None = None,
  mapping: str = "one",
  closed: str = "left",
) -> Diagram:
  """Mean score and mean hit by bin, by default of 15 equal ones.

  Σ_j weight_j |accuracy_j − confidence_j| is `binned_ece` of the same bins.
  """
  s, h = _checked(s, h)
  edges = binning.uniform_edges(15) if edges is None else jnp.asarray(edges)
  weight, score, hit = (
    binning.bin_sums(v, s, edges, mapping, closed) for v in (jnp.ones_like(s), s, h)
  )
  full = weight > 0
  divisor = jnp.where(full, weight, 1)
  confidence_, accuracy = (jnp.where(full, v / divisor, jnp.nan) for v in (score, hit))
  return Diagram(edges, confidence_, accuracy, weight / s.shape[-1])


# --- what is known ------------------------------------------------------------------------


def true_ece(s: jax.Array, p: jax.Array, bins: int = 200) -> jax.Array:
  """ECE of scores whose P(h = 1 | x) is known, from very many draws of x.

  Half of the draws says on which side of the scores each of the equal bins lies, the other by
  how much, and the other way round:

    ½ Σ_j [sign(A_j) B_j + sign(B_j) A_j] / (n/2),   A_j = Σ_{i in one half, bin j} (p_i − s_i)

  Taking |A_j + B_j| instead, as `ece` does, turns the noise of every bin into miscalibration.

  Args:
    s: (…, n) scores.
    p: (…, n) probabilities of a hit.
    bins: number of bins, within which the curve should change little.
  """
  s, p = _checked(s, p)
  half = s.shape[-1] // 2
  edges = binning.uniform_edges(bins)
  one, two = (
    binning.bin_sums((p - s)[..., part], s[..., part], edges) / half
    for part in (slice(0, half), slice(half, 2 * half))
  )
  return 0.5 * jnp.sum(jnp.sign(one) * two + jnp.sign(two) * one, -1)

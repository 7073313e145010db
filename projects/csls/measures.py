"""What is measured of the scores of a split."""

import jax
import jax.numpy as jnp

from lib.metrics import binning, density
from lib.metrics import calibration as measure


def histogram(config, scores, labels):
  """ECE of the prediction, bins closed on the right as in sec. 3.2."""
  return measure.confidence(measure.ece)(scores, labels, bins=config.bins, closed="right")


def nll(scores, labels):
  """Mean of −log of the label's score."""
  chosen = jnp.take_along_axis(scores, labels[:, None], -1)
  return -jnp.mean(jnp.log(jnp.maximum(chosen, 1e-30)))


def _kde(config):
  def estimate(s, h):
    return measure.kde_ece(s, h, density.normal_reference(s), "triweight", config.points)

  return estimate


def quality(config, scores, split, posterior=None):
  """What is measured of the scores (n, K) of a split.

  `histogram_output` is divided by n, `histogram_output_printed` by nK as in eq. 4.
  """
  labels = split.labels
  output = measure.pooled(measure.ece)(scores, labels, bins=config.bins, closed="right")
  found = {
    "accuracy": jnp.mean(scores.argmax(-1) == labels),
    "nll": nll(scores, labels),
    "histogram": histogram(config, scores, labels),
    "histogram_output": output,
    "histogram_output_printed": output / scores.shape[-1],
    "kde": measure.confidence(_kde(config))(scores, labels),
    "kde_output": measure.pooled(_kde(config))(scores, labels),
    "confidence": scores.max(-1).mean(),
  }
  for name, pairs in (("", measure.confidence_pairs), ("_output", measure.pooled_pairs)):
    edges = binning.uniform_edges(config.bins)
    diagram = measure.reliability_diagram(*pairs(scores, labels), edges, closed="right")
    found |= {f"bin_score{name}": diagram.confidence, f"bin_hit{name}": diagram.accuracy}
  if posterior is not None:
    predicted = scores.argmax(-1)[:, None]
    p = jnp.take_along_axis(posterior, predicted, -1)[:, 0]
    found["true"] = measure.true_ece(scores.max(-1), jnp.clip(p, 0.0, 1.0), bins=30)
    found["divergence"] = jnp.mean(
      jnp.sum(jax.scipy.special.rel_entr(posterior, jnp.maximum(scores, 1e-30)), -1)
    )
  return found

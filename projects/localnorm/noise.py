"""The three noises of sec. 4, on images in [0, 1], without clipping.

As printed "additive" noise multiplies (black stays black), Poisson noise is not of zero mean
(it brightens by σ on average), and Bernoulli(σ) keeps a pixel with probability σ where the
text removes it. The formulas are followed, but for the last, where the text is.
"""

import jax
import jax.numpy as jnp

from lib.robustness import corruptions


def agn(key, x, level):
  """x (1 + ξ), ξ ~ N(0, σ²) in every channel."""
  return x * (1 + level * jax.random.normal(key, x.shape))


def apn(key, x, level):
  """x (1 + ξ), ξ ~ Poisson(σ) in every channel."""
  return x * (1 + jax.random.poisson(key, level, x.shape))


def mbn(key, x, level):
  """x ξ, ξ ~ Bernoulli(1 − σ) in every channel."""
  return x * jax.random.bernoulli(key, 1 - level, x.shape)


NOISES = {"agn": agn, "apn": apn, "mbn": mbn}


def conditions(config) -> tuple[str, ...]:
  """Names of all ways in which the test images are shown: "clean", "agn_1", "fog_3", …."""
  noises = [f"{name}_{level:g}" for name, levels in config.levels.items() for level in levels]
  corrupted = [f"{c}_{severity}" for c in config.corruptions for severity in config.severities]
  return ("clean", *noises, *corrupted)


def show(config, images) -> jax.Array:
  """The test images under every condition, (conditions, n, h, w, c).

  Noises and corruptions are drawn once, and are the same for all networks.
  """
  key = jax.random.key(config.seed)
  found = [images]
  for name, levels in config.levels.items():
    for level in levels:
      found.append(NOISES[name](jax.random.fold_in(key, len(found)), images, level))
  for name in config.corruptions:
    for severity in config.severities:
      drawn = jax.random.fold_in(key, len(found))
      found.append(corruptions.corrupt(name, drawn, images, severity))
  return jnp.stack(found)

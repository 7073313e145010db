"""The three noises of sec. 4 as this project reads them, and as they are printed.

Images are in [0, 1], and nothing is clipped but where a name says so. "Additive" noise
multiplies (black stays black); Poisson noise is not of zero mean, as the text has it, but
brightens by σ on average; Bernoulli(σ) as printed keeps a pixel with probability σ, where the
text removes it. `agn` and `apn` follow the formulas, `mbn` the text; the other names are the
other readings.
"""

import jax
import jax.numpy as jnp

from lib.robustness import corruptions


def agn(key, x, level):
  """x (1 + ξ), ξ ~ N(0, σ²) in every channel."""
  return x * (1 + level * jax.random.normal(key, x.shape))


def agn_clipped(key, x, level):
  """The same, cut off to [0, 1]."""
  return jnp.clip(agn(key, x, level), 0, 1)


def apn(key, x, level):
  """x (1 + ξ), ξ ~ Poisson(σ) in every channel."""
  return x * (1 + jax.random.poisson(key, level, x.shape))


def apn_centred(key, x, level):
  """x (1 + ξ − σ), ξ ~ Poisson(σ): of zero mean, as the text has it."""
  return x * (1 - level + jax.random.poisson(key, level, x.shape))


def apn_added(key, x, level):
  """x + ξ, ξ ~ Poisson(σ): the first printed form, x + 255 ξ for pixels up to 255."""
  return x + jax.random.poisson(key, level, x.shape)


def mbn(key, x, level):
  """x ξ, ξ ~ Bernoulli(1 − σ) in every channel."""
  return x * jax.random.bernoulli(key, 1 - level, x.shape)


def mbn_kept(key, x, level):
  """x ξ, ξ ~ Bernoulli(σ), as printed."""
  return x * jax.random.bernoulli(key, level, x.shape)


NOISES = {
  "agn": agn,
  "agn_clipped": agn_clipped,
  "apn": apn,
  "apn_centred": apn_centred,
  "apn_added": apn_added,
  "mbn": mbn,
  "mbn_kept": mbn_kept,
}
READINGS = ("agn_clipped", "apn_centred", "apn_added", "mbn_kept")
HIGHEST = {"mbn": 1.0, "mbn_kept": 1.0}  # level, where there is one
_KEY = 0x01A9E5  # folded in, so that no draw is one of a training


def conditions(config, corrupted=True) -> tuple[str, ...]:
  """Names of all ways in which the test images are shown: "clean", "agn_1", "fog_3", …."""
  noises = [f"{name}_{level:g}" for name, levels in config.levels.items() for level in levels]
  if not corrupted:
    return ("clean", *noises)
  found = [f"{c}_{severity}" for c in config.corruptions for severity in config.severities]
  return ("clean", *noises, *found)


def show(config, images) -> jax.Array:
  """The test images under every condition, (conditions, n, h, w, c).

  Noises and corruptions are drawn once, and are the same for all networks.
  """
  key = jax.random.fold_in(jax.random.key(config.seed), _KEY)
  found = [images]
  for name, levels in config.levels.items():
    for level in levels:
      found.append(NOISES[name](jax.random.fold_in(key, len(found)), images, level))
  for name in config.corruptions:
    for severity in config.severities:
      drawn = jax.random.fold_in(key, len(found))
      found.append(corruptions.corrupt(name, drawn, images, severity))
  return jnp.stack(found)

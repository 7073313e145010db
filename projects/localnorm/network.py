"""A VGG whose normalisation is an argument; parameters are a plain dict.

    x ← pool(relu(norm_i(W_i ∗ x)))  for every convolution,  then a linear layer

`norm(i, x, scale, shift)` is any of `NORMS`, or a mode of the test; everything else is shared.
"""

import jax
import jax.numpy as jnp

from lib.models import convolution, lenet, normalisation

KINDS = ("bn", "ln", "ghost", "group")


def init(key, channels, classes, inputs, kind, groups):
  """Parameters: He's normal weights, γ = 1, β = 0; γ and β once a group for LocalNorm."""
  layers, before = [], inputs
  for i, after in enumerate(channels):
    std = (2 / (9 * before)) ** 0.5
    kernel = std * jax.random.normal(jax.random.fold_in(key, i), (3, 3, before, after))
    shape = (groups if kind == "ln" else 1, after)
    layers.append({"kernel": kernel, "scale": jnp.ones(shape), "shift": jnp.zeros(shape)})
    before = after
  weight = before**-0.5 * jax.random.normal(
    jax.random.fold_in(key, len(channels)), (before, classes)
  )
  return {"layers": layers, "weight": weight, "bias": jnp.zeros(classes)}


def apply(params, x, norm):
  """(n, h, w, c) images -> (n, classes) logits."""
  for i, layer in enumerate(params["layers"]):
    x = convolution.product_of_patches(
      x,
      layer["kernel"],
      (1, 1),
      ((1, 1), (1, 1)),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    x = lenet.max_pool(jax.nn.relu(norm(i, x, layer["scale"], layer["shift"])))
  return x.mean((1, 2)) @ params["weight"] + params["bias"]


# --- norms: (layer, x, scale (K, C), shift (K, C)) -> x ------------------------------------


def dynamic(i, x, scale, shift):
  """Batch normalisation with the statistics of what it is given."""
  del i
  return normalisation.batch_norm(x, scale[0], shift[0])[0]


def stored(found):
  """Batch normalisation with running averages, one `Statistics` a layer."""
  return lambda i, x, scale, shift: normalisation.batch_norm(x, scale[0], shift[0], found[i])[
    0
  ]


def local(i, x, scale, shift):
  """LocalNorm: contiguous groups with a scale and a shift each."""
  del i
  return normalisation.local_norm(x, scale, shift)


def ghost(groups):
  """Contiguous groups with their own statistics, and one scale and shift for all."""

  def norm(i, x, scale, shift):
    return local(i, x, *(jnp.broadcast_to(a, (groups, a.shape[1])) for a in (scale, shift)))

  return norm


def through(group):
  """LocalNorm's group of that number for the whole batch; the number may be traced."""
  return lambda i, x, scale, shift: normalisation.local_norm_through(x, scale, shift, group)


def group_norm(i, x, scale, shift, channels_a_group=4):
  """Group normalisation, Wu and He (2018): statistics of an image's groups of channels."""
  del i
  n, height, width, channels = x.shape
  count = max(1, channels // channels_a_group)
  cut = x.reshape(n, height, width, count, channels // count)
  found = normalisation.statistics(cut, (1, 2, 4))
  cut = normalisation.normalise(cut, found, 1.0, 0.0)
  return cut.reshape(x.shape) * scale[0] + shift[0]


def training_norm(kind, groups):
  """How a kind normalises in training."""
  return {"bn": dynamic, "ln": local, "ghost": ghost(groups), "group": group_norm}[kind]


def batch_statistics(params, x):
  """The `Statistics` of every layer in a pass with the statistics of x itself."""
  found = []

  def norm(i, x, scale, shift):
    y, used = normalisation.batch_norm(x, scale[0], shift[0])
    found.append(used)
    return y

  apply(params, x, norm)
  return found

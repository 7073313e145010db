"""A VGG whose normalisation is an argument; parameters are a plain dict.

    x ← relu(norm(W ∗ x))  for every convolution, a pool after each stage, then a linear layer

`norm(name, x, scale, shift)` is any of `training_norm`, or a mode of the test; everything else
is shared. Every normalised map lies before its stage's pool.
"""

import jax
import jax.numpy as jnp

from lib.models import convolution, lenet, normalisation

KINDS = {
  "bn": "batch normalisation",
  "ln": "LocalNorm",
  "ln_rate": "LocalNorm, the gradients of γ_k and β_k times K",
  "ghost": "the groups of LocalNorm, one scale and shift for all",
  "group": "group normalisation",
  "layer": "layer normalisation",
}


def grouped(kind):
  """Whether a kind has a scale and a shift for each group."""
  return kind in ("ln", "ln_rate")


def names(channels, convolutions=()):
  """{layer: its channels}: "stage_number", in the order of the network.

  `convolutions` says how many there are in each stage; empty means one.
  """
  counts = convolutions or [1] * len(channels)
  return {
    f"{stage}_{i}": channels[stage] for stage, count in enumerate(counts) for i in range(count)
  }


def init(key, channels, classes, inputs, kind, groups, convolutions=()):
  """Parameters: He's normal weights, γ = 1, β = 0; γ and β once a group for LocalNorm."""
  layers, before = {}, inputs
  found = names(channels, convolutions)
  for i, (name, after) in enumerate(found.items()):
    std = (2 / (9 * before)) ** 0.5
    kernel = std * jax.random.normal(jax.random.fold_in(key, i), (3, 3, before, after))
    shape = (groups if grouped(kind) else 1, after)
    layers[name] = {"kernel": kernel, "scale": jnp.ones(shape), "shift": jnp.zeros(shape)}
    before = after
  weight = before**-0.5 * jax.random.normal(
    jax.random.fold_in(key, len(found)), (before, classes)
  )
  return {"layers": layers, "weight": weight, "bias": jnp.zeros(classes)}


def over_groups(params, function):
  """The network with `function` of every γ and β, (K, C) -> (K', C).

  `lambda a: jnp.repeat(a, K, 0)` makes a trained batch normalisation the start of LocalNorm;
  `lambda a: a.mean(0, keepdims=True)` takes from LocalNorm what sets the groups apart.
  """
  layers = {
    name: {**layer, **{k: function(layer[k]) for k in ("scale", "shift")}}
    for name, layer in params["layers"].items()
  }
  return {**params, "layers": layers}


def apply(params, x, norm):
  """(n, h, w, c) images -> (n, classes) logits."""
  layers = params["layers"]
  order = sorted(layers, key=lambda name: [int(part) for part in name.split("_")])
  stages = [name.split("_")[0] for name in order]
  for name, stage, after in zip(order, stages, [*stages[1:], None], strict=True):
    layer = layers[name]
    x = convolution.product_of_patches(
      x,
      layer["kernel"],
      (1, 1),
      ((1, 1), (1, 1)),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    x = jax.nn.relu(norm(name, x, layer["scale"], layer["shift"]))
    x = lenet.max_pool(x) if after != stage else x
  return x.mean((1, 2)) @ params["weight"] + params["bias"]


# --- norms: (layer, x, scale (K, C), shift (K, C)) -> x ------------------------------------


def dynamic(name, x, scale, shift):
  """Batch normalisation with the statistics of what it is given."""
  del name
  return normalisation.batch_norm(x, scale[0], shift[0])[0]


def recording(found):
  """`dynamic`, which puts the `Statistics` of every layer into the dict `found`."""

  def norm(name, x, scale, shift):
    y, found[name] = normalisation.batch_norm(x, scale[0], shift[0])
    return y

  return norm


def stored(found):
  """Batch normalisation with running averages, {layer: `Statistics`}."""
  return lambda name, x, scale, shift: normalisation.batch_norm(
    x, scale[0], shift[0], found[name]
  )[0]


def local(name, x, scale, shift):
  """LocalNorm: contiguous groups with a scale and a shift each."""
  del name
  return normalisation.local_norm(x, scale, shift)


def ghost(groups):
  """Contiguous groups with their own statistics, and one scale and shift for all."""

  def norm(name, x, scale, shift):
    scale, shift = (jnp.broadcast_to(a, (groups, a.shape[1])) for a in (scale, shift))
    return local(name, x, scale, shift)

  return norm


def through(group):
  """LocalNorm's group of that number for the whole batch; the number may be traced."""
  return lambda name, x, scale, shift: normalisation.local_norm_through(x, scale, shift, group)


def group_norm(size):
  """Group normalisation, Wu and He (2018): statistics of an image's groups of `size` channels.

  A size of 0 takes all channels together: layer normalisation, Ba et al. (2016).
  """

  def norm(name, x, scale, shift):
    del name
    n, height, width, channels = x.shape
    count = max(1, channels // size) if size else 1
    cut = x.reshape(n, height, width, count, channels // count)
    found = normalisation.statistics(cut, (1, 2, 4))
    cut = normalisation.normalise(cut, found, 1.0, 0.0)
    return cut.reshape(x.shape) * scale[0] + shift[0]

  return norm


def training_norm(kind, groups, group_channels):
  """How a kind normalises in training."""
  return {
    "bn": dynamic,
    "ln": local,
    "ln_rate": local,
    "ghost": ghost(groups),
    "group": group_norm(group_channels),
    "layer": group_norm(0),
  }[kind]

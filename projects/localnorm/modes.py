"""Ways to classify test images: whose statistics, whose γ and β, and who votes (sec. 3).

A mode is (params, stored, images, key) -> predicted classes; images are standardised, and the
key draws groups, groupings and ties. A batch is a random draw of the test images; what the
last one lacks is filled up with images of the first, whose second predictions are dropped.
"""

import jax
import jax.numpy as jnp
from jax import lax

from lib.models import normalisation
from projects.localnorm import network


def _groups(params):
  return len(next(iter(params["layers"].values()))["scale"])


def _predict(params, x, norm):
  return network.apply(params, x, norm).argmax(-1)


def _in_batches(function, key, images, size):
  """`function` of random batches of `size` images, put back in order, (n, …) -> (n,)."""
  order = jax.random.permutation(key, len(images))
  order = jnp.resize(order, (-(-len(images) // size) * size,))
  batches = images[order].reshape(-1, size, *images.shape[1:])
  found = lax.map(function, batches).reshape(-1)[: len(images)]
  return jnp.zeros_like(found).at[order[: len(images)]].set(found)


def _vote(params, key, votes):
  return normalisation.majority_vote(key, votes, len(params["bias"]))


def _image(x):
  """The image as a batch of its own."""
  return x[None]


def _turns(x):
  """The image, first, and its turns."""
  return normalisation.rotations(x[None])[0]


def _alone(params, images, norm, company=_image, groups=None):
  """Every image with the statistics of its `company`, of which it is the first.

  With `groups`, (n,), `norm` is a function of the image's.
  """

  def classify(pair):
    x, group = pair
    used = norm if groups is None else norm(group)
    return _predict(params, company(x), used)[0]

  each = jnp.zeros(len(images), int) if groups is None else groups
  return lax.map(classify, (images, each), batch_size=64)


def stored(params, found, images, key):
  """Batch normalisation as usual: the training data's running averages."""
  del key
  return _alone(params, images, network.stored(found))


def plain(norm):
  """A norm that looks at each image alone anyway."""
  return lambda params, found, images, key: _alone(params, images, norm)


def dynamic_alone(company):
  """Dynamic BN on one image, or on its company."""
  return lambda params, found, images, key: _alone(params, images, network.dynamic, company)


def dynamic_batch(size):
  """Dynamic BN on batches of `size` test images."""

  def mode(params, found, images, key):
    del found
    return _in_batches(lambda x: _predict(params, x, network.dynamic), key, images, size)

  return mode


def dynamic_vote(size, members):
  """Control: `members` random groupings in batches vote, as many passes as LN-Voting takes."""

  def mode(params, found, images, key):
    batch, tie_key = dynamic_batch(size), jax.random.fold_in(key, members)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(members))
    votes = lax.map(lambda k: batch(params, found, images, k), keys)
    return _vote(params, tie_key, votes)

  return mode


def local_alone(company):
  """LN-Single: each image, or its company, through a random group of its own."""

  def mode(params, found, images, key):
    del found
    drawn = jax.random.randint(key, (len(images),), 0, _groups(params))
    return _alone(params, images, network.through, company, drawn)

  return mode


def _every_group(params, key, classify):
  votes = lax.map(lambda g: classify(network.through(g)), jnp.arange(_groups(params)))
  return _vote(params, key, votes)


def local_alone_vote(company):
  """LN-Single-Voting: each image, or its company, through all groups."""

  def mode(params, found, images, key):
    del found
    return _every_group(params, key, lambda norm: _alone(params, images, norm, company))

  return mode


def local_batch(size):
  """LN-Batch: K groups of different test images, one pass."""

  def mode(params, found, images, key):
    del found
    whole = size * _groups(params)
    return _in_batches(lambda x: _predict(params, x, network.local), key, images, whole)

  return mode


def local_vote(size):
  """LN-Voting: a batch of test images through all groups."""

  def mode(params, found, images, key):
    del found
    order_key, tie_key = jax.random.split(key)

    def classify(norm):
      return _in_batches(lambda x: _predict(params, x, norm), order_key, images, size)

    return _every_group(params, tie_key, classify)

  return mode


def local_mean(size):
  """Control: LN-Batch in which all groups have the mean of the scales and of the shifts."""

  def mode(params, found, images, key):
    mean = network.over_groups(params, lambda a: a.mean(0, keepdims=True))
    return dynamic_batch(size)(mean, found, images, key)

  return mode


def of_kind(kind, groups, size, group_channels):
  """{name: mode} of a kind of network; `size` is M.

  "single" modes see one test image at a time; "rotated" ones have its turns in the statistics.
  "whole" is a batch as large as in training, K M images.
  """
  dynamic = {
    "dynamic_single": dynamic_alone(_image),
    "dynamic_rotated": dynamic_alone(_turns),
    "dynamic_batch": dynamic_batch(size),
    "dynamic_vote": dynamic_vote(size, groups),
  }
  local = {"batch": local_batch(size), "vote": local_vote(size)}
  alone = {
    "single": local_alone(_image),
    "single_vote": local_alone_vote(_image),
    "rotated": local_alone(_turns),
    "rotated_vote": local_alone_vote(_turns),
  }
  return {
    "bn": {"stored": stored, "dynamic_whole": dynamic_batch(groups * size), **dynamic},
    "ghost": dynamic,
    "ln": {**local, "mean": local_mean(size), **alone},
    "ln_rate": local,
    "group": {"plain": plain(network.group_norm(group_channels))},
    "layer": {"plain": plain(network.group_norm(0))},
  }[kind]


def alone(name):
  """Whether a mode sees one test image at a time."""
  return name.startswith(("single", "rotated", "dynamic_single", "dynamic_rotated"))

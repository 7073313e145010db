"""Ways to classify test images: whose statistics, whose γ and β, and who votes (sec. 3).

A mode is (params, stored, images, key) -> predicted classes; images are standardised, and the
key draws groups, groupings and ties. M images share their statistics in the batch modes, as in
training; a batch is a random draw of the test images.
"""

import jax
import jax.numpy as jnp
from jax import lax

from lib.models import normalisation
from projects.localnorm import network


def _classes(params):
  return len(params["bias"])


def _groups(params):
  return len(params["layers"][0]["scale"])


def _predict(params, x, norm):
  return network.apply(params, x, norm).argmax(-1)


def _in_batches(function, key, images, size):
  """`function` of random batches of `size` images, put back in order, (n, …) -> (n,)."""
  order = jax.random.permutation(key, len(images))
  batches = images[order].reshape(-1, size, *images.shape[1:])
  found = lax.map(function, batches).reshape(-1)
  return jnp.zeros_like(found).at[order].set(found)


def _vote(params, key, votes):
  return normalisation.majority_vote(key, votes, _classes(params))


def _alone(params, images, norm):
  """Every image with its own statistics."""
  return lax.map(lambda x: _predict(params, x[None], norm)[0], images, batch_size=64)


def _turned(params, images, norm):
  """Every image with the statistics of its four turns."""

  def classify(x):
    return _predict(params, normalisation.rotations(x[None])[0], norm)[0]

  return lax.map(classify, images, batch_size=64)


def stored(params, found, images, key):
  """Batch normalisation as usual: the training data's running averages."""
  del key
  return lax.map(
    lambda x: _predict(params, x[None], network.stored(found))[0], images, batch_size=64
  )


def plain(params, found, images, key):
  """A norm that looks at each image alone anyway."""
  del found, key
  return _alone(params, images, network.group_norm)


def dynamic_single(params, found, images, key):
  """Dynamic BN on one image."""
  del found, key
  return _alone(params, images, network.dynamic)


def dynamic_rotated(params, found, images, key):
  """Dynamic BN on one image with its turns."""
  del found, key
  return _turned(params, images, network.dynamic)


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


def local_single(params, found, images, key):
  """LN-Single: one image through one random group."""
  del found
  group = jax.random.randint(key, (), 0, _groups(params))
  return _alone(params, images, network.through(group))


def _every_group(params, key, classify):
  votes = lax.map(lambda g: classify(network.through(g)), jnp.arange(_groups(params)))
  return _vote(params, key, votes)


def local_single_vote(params, found, images, key):
  """LN-Single-Voting: one image through all groups."""
  del found
  return _every_group(params, key, lambda norm: _alone(params, images, norm))


def local_rotated_vote(params, found, images, key):
  """LN-Single-Voting with the image's turns."""
  del found
  return _every_group(params, key, lambda norm: _turned(params, images, norm))


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


def of_kind(kind, size, groups):
  """{name: mode} of a kind of network; `size` is M."""
  dynamic = {
    "dynamic_single": dynamic_single,
    "dynamic_rotated": dynamic_rotated,
    "dynamic_batch": dynamic_batch(size),
    "dynamic_vote": dynamic_vote(size, groups),
  }
  return {
    "bn": {"stored": stored, **dynamic},
    "ghost": {name: dynamic[name] for name in ("dynamic_batch", "dynamic_vote")},
    "group": {"plain": plain},
    "ln": {
      "single": local_single,
      "single_vote": local_single_vote,
      "rotated_vote": local_rotated_vote,
      "batch": local_batch(size),
      "vote": local_vote(size),
    },
  }[kind]

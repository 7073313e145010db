"""What detection costs: wall time by size of the training set, and what has to be kept."""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from lib import representations

WAYS = ("network", "clusters", "imitated", "dknn", "dknn_pca")


def _made_up(config, sizes, n, classes):
  """Numbers of the right shapes: what detection costs does not depend on their values."""
  keys = iter(jax.random.split(jax.random.key(0), 100))
  layers, d = len(sizes), config.dimensions
  hidden = tuple(config.tsne.hidden)
  networks = [
    representations.imitate(
      next(keys),
      jnp.ones((2, d)),
      jnp.ones((2, 2)),
      hidden=hidden,
      epochs=0,
    )[0]
    for _ in sizes
  ]
  return {
    "raw": {
      layer: jax.random.normal(next(keys), (n, m), jnp.float32) for layer, m in sizes.items()
    },
    "pca": {
      layer: representations.PCA(
        jnp.zeros(m), jnp.ones(m), jax.random.normal(next(keys), (m, d)) / m**0.5, jnp.ones(d)
      )
      for layer, m in sizes.items()
    },
    "codes": jax.random.normal(next(keys), (layers, n, d)),
    "places": 5 * jax.random.normal(next(keys), (layers, n, 2)),
    "centres": 5 * jax.random.normal(next(keys), (layers, config.kmeans.largest, 2)),
    "fractions": jax.random.uniform(next(keys), (layers, config.kmeans.largest, classes)),
    "networks": jax.tree.map(lambda *leaves: jnp.stack(leaves), *networks),
    "labels": jax.random.randint(next(keys), (n,), 0, classes),
    "calibration": jax.random.randint(
      next(keys), (config.calibration_examples,), 0, layers * config.neighbours
    ),
  }


def detector(way, config, capture, umap_numbers, classes):
  """(model, images) -> a decision or a credibility of every image, compiled."""

  def projected(model, found):
    return jnp.stack([model["pca"][layer](a) for layer, a in found.items()])

  def decided(model, places):
    clusters = jax.vmap(lambda centres, p: representations.Clusters(centres, 0, 0)(p))(
      model["centres"], places
    )
    return representations.plausibility(model["fractions"], clusters) <= config.threshold

  def trusted(model, neighbours):
    votes = representations.nonconformity(jnp.stack(neighbours), model["labels"], classes)
    return representations.credibility(votes, model["calibration"])

  def nearest(queries, points):
    return representations.nearest(queries, points, config.neighbours, exact=False)[1]

  def detect(model, images):
    found = capture(images)
    if way == "network":
      return list(found.values())[-1].argmax(1)
    if way == "clusters":
      place = jax.vmap(
        lambda points, places, x: representations.umap.transform(
          jax.random.key(0), representations.umap.UMAP(points, places), x, **umap_numbers
        )
      )
      codes = projected(model, found)
      return decided(model, place(model["codes"], model["places"], codes))
    if way == "imitated":
      embed = functools.partial(representations.embed, hidden=tuple(config.tsne.hidden))
      return decided(model, jax.vmap(embed)(model["networks"], projected(model, found)))
    if way == "dknn":
      return trusted(model, [nearest(a, model["raw"][layer]) for layer, a in found.items()])
    codes = projected(model, found)
    return trusted(model, [nearest(q, p) for q, p in zip(codes, model["codes"], strict=True)])

  return jax.jit(detect)


def _compiled(way, model, images, *arguments):
  """The compiled function of a way, and the bytes that it is given besides the images.

  Arrays of the model that a way does not use are no arguments of its compiled function.
  """
  function = detector(way, *arguments).lower(model, images).compile()
  given = function.memory_analysis().argument_size_in_bytes
  return function, given - images.nbytes


def measure(config, capture, images, sizes, umap_numbers, classes):
  """What detection on the test images takes, by way and size of the training set.

  Every function is compiled and has run once before; the ways take turns.

  Args:
    config: of the run.
    capture: images -> {layer: activations as vectors}.
    images: test images.
    sizes: {layer: entries}.
    umap_numbers: options of UMAP's transform.
    classes: their number.

  Returns:
    "seconds", {way: (sizes of the training set, repeats)}; "bytes", {way: (sizes,)} of the
    arrays that have to be kept besides the network.
  """
  seconds, kept = {way: [] for way in WAYS}, {way: [] for way in WAYS}
  for n in config.timing.examples:
    model = _made_up(config, sizes, int(n), classes)
    functions = {}
    for way in WAYS:
      functions[way], size = _compiled(
        way, model, images, config, capture, umap_numbers, classes
      )
      kept[way].append(size)
      jax.block_until_ready(functions[way](model, images))
    rows = {way: [] for way in WAYS}
    for _ in range(config.timing.repeats):
      for way, function in functions.items():
        start = time.perf_counter()
        jax.block_until_ready(function(model, images))
        rows[way].append(time.perf_counter() - start)
    for way in WAYS:
      seconds[way].append(rows[way])
  return {
    "seconds": {way: np.array(rows) for way, rows in seconds.items()},
    "bytes": {way: np.array(rows) - kept["network"] for way, rows in kept.items()},
  }

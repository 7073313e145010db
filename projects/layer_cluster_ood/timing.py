"""What detection costs: wall time by size of the training set, and what has to be kept."""

import functools
import itertools
import math
import time

import jax
import jax.numpy as jnp
import numpy as np

from lib import representations

WAYS = ("network", "clusters", "imitated", "dknn", "dknn_pca")


def stored_bytes(config, shapes, classes):
  """Bytes of float32 numbers that detection keeps, by way.

  Returns:
    {way: (2,)}: those that do not depend on the training set, and those of each of its
    examples. "clusters": projections, centres, class fractions; UMAP's transform also needs
    the components and the place of every training example. "imitated": a network instead of
    these. "dknn": all activations and the label; "dknn_pca": the components and the label.
  """
  sizes = [math.prod(shape) for shape in shapes.values()]
  d, largest = config.dimensions, config.kmeans.largest
  projections = sum(m * d + 2 * m for m in sizes)
  clusters = len(sizes) * largest * (2 + classes)
  widths = (d, *config.tsne.hidden, 2)
  networks = len(sizes) * sum((a + 1) * b for a, b in itertools.pairwise(widths))
  return {
    "clusters": 4 * np.array([projections + clusters, len(sizes) * (d + 2)]),
    "imitated": 4 * np.array([projections + clusters + networks, 0]),
    "dknn": 4 * np.array([0, sum(sizes) + 1]),
    "dknn_pca": 4 * np.array([projections, len(sizes) * d + 1]),
  }


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
    "calibration": jax.random.randint(next(keys), (500,), 0, 100),
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


def measure(config, capture, images, sizes, umap_numbers, classes):
  """Seconds of detection on the test images, {way: (sizes of the training set, repeats)}.

  Every function is compiled and has run once before; the ways take turns.

  Args:
    config: of the run.
    capture: images -> {layer: activations as vectors}.
    images: test images.
    sizes: {layer: entries}.
    umap_numbers: options of UMAP's transform.
    classes: their number.
  """
  seconds = {way: [] for way in WAYS}
  for n in config.timing.examples:
    model = _made_up(config, sizes, int(n), classes)
    # the arrays that a way does not use cost nothing
    functions = {way: detector(way, config, capture, umap_numbers, classes) for way in WAYS}
    for function in functions.values():
      jax.block_until_ready(function(model, images))
    rows = {way: [] for way in WAYS}
    for _ in range(config.timing.repeats):
      for way, function in functions.items():
        start = time.perf_counter()
        jax.block_until_ready(function(model, images))
        rows[way].append(time.perf_counter() - start)
    for way in WAYS:
      seconds[way].append(rows[way])
  return {way: np.array(rows) for way, rows in seconds.items()}

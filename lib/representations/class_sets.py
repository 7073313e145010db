"""Which classes are plausible for an input, by the clusters that it falls into.

Lehmann and Ebner (2021), *Layer-Wise Activation Cluster Analysis of CNNs to Detect
Out-of-Distribution Samples*, sec. 3.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp


def class_fractions(clusters, labels, largest: int, classes: int) -> jax.Array:
  """cfrac_K(c) = |{(x, y) ∈ K: y = c}| / |K| of every cluster K, eq. 1, (largest, classes).

  An empty cluster has zeros.

  Args:
    clusters: (n,) cluster of each training example, in 0..largest-1.
    labels: (n,) its class.
    largest: static bound of the number of clusters.
    classes: their number.
  """
  chex.assert_rank([clusters, labels], 1)
  chex.assert_equal_shape([clusters, labels])
  member = jax.nn.one_hot(clusters, largest)
  counts = member.T @ jax.nn.one_hot(labels, classes)
  return counts / jnp.maximum(counts.sum(1, keepdims=True), 1)


def class_sets(fractions, clusters, threshold) -> jax.Array:
  """cset_L(x) = {c: cfrac_K(c) > t} of the cluster K of x, eq. 2, (q, classes) of booleans.

  With t = 1 / classes the set of a cluster that holds all classes equally is empty: the
  inequality is strict.

  Args:
    fractions: (largest, classes), see `class_fractions`.
    clusters: (q,).
    threshold: t.
  """
  return fractions[clusters] > threshold


def plausibility(fractions, clusters) -> jax.Array:
  """max_c min_L cfrac_{K_L(x)}(c), (q,) in [0, 1].

  The intersection over layers of the class sets, eq. 3, is empty exactly where this is at most
  t, so that the detector of eq. 4 with any threshold is `plausibility(…) <= t`.

  Args:
    fractions: (layers, largest, classes).
    clusters: (layers, q).
  """
  chex.assert_rank([fractions, clusters], [3, 2])
  return class_plausibility(fractions, clusters).max(-1)


def class_plausibility(fractions, clusters) -> jax.Array:
  """min_L cfrac_{K_L(x)}(c) of every class c, (q, classes)."""
  return jax.vmap(lambda f, k: f[k])(fractions, clusters).min(0)

"""What a layer makes of its inputs: projections, neighbours, clusters of activations.

All of it can be jitted, and vmapped over networks and layers.

>>> import jax, jax.numpy as jnp
>>> pairs = jnp.array([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])
>>> choice = choose_kmeans(jax.random.key(0), pairs, largest=3)
>>> int(choice.clusters.k), round(float(choice.silhouette), 3)
(2, 0.889)
"""

from lib.representations import umap
from lib.representations.class_sets import (
  class_fractions,
  class_plausibility,
  class_sets,
  plausibility,
)
from lib.representations.clusters import (
  Choice,
  Clusters,
  choose_kmeans,
  kmeans,
  silhouettes,
)
from lib.representations.neighbours import credibility, in_blocks, nearest, nonconformity
from lib.representations.pca import PCA, pca
from lib.representations.tsne import affinities, divergence, embed, imitate, parametric_tsne

__all__ = [
  "PCA",
  "Choice",
  "Clusters",
  "affinities",
  "choose_kmeans",
  "class_fractions",
  "class_plausibility",
  "class_sets",
  "credibility",
  "divergence",
  "embed",
  "imitate",
  "in_blocks",
  "kmeans",
  "nearest",
  "nonconformity",
  "parametric_tsne",
  "pca",
  "plausibility",
  "silhouettes",
  "umap",
]

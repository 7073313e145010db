"""From clusters to decisions (eq. 1-4), for every way to project and cluster; on the host."""

import jax
import numpy as np

from lib import representations

# --- DBSCAN (sec. 4.2) --------------------------------------------------------------------


def _clustered_by_density(points, queries, min_samples, quantiles):
  """DBSCAN of one layer, the ε with the best silhouette; noise is a cluster of its own.

  The paper gives neither ε nor a rule for new points. ε is tried at quantiles of the distance
  to the `min_samples`-th neighbour; a new point has the cluster of the nearest core point if
  that is within ε, and is noise otherwise.
  """
  from sklearn import cluster, metrics, neighbors

  nearest = neighbors.NearestNeighbors(n_neighbors=min_samples).fit(points)
  reach = nearest.kneighbors()[0][:, -1]
  shown = slice(0, 1000)
  best = None
  for eps in np.quantile(reach, quantiles):
    found = cluster.DBSCAN(eps=float(eps), min_samples=min_samples).fit(points)
    labels = found.labels_
    shown_labels = labels[shown]
    score, clustered = -1.0, -1.0
    inside = shown_labels >= 0
    if 1 < len(set(shown_labels)) < len(shown_labels):
      score = metrics.silhouette_score(points[shown], shown_labels)
    if 1 < len(set(shown_labels[inside])) < inside.sum():
      clustered = metrics.silhouette_score(points[shown][inside], shown_labels[inside])
    if best is None or score > best[0]:
      best = score, clustered, eps, found
  score, clustered, eps, found = best
  noise = found.labels_.max() + 1
  train = np.where(found.labels_ < 0, noise, found.labels_)
  core = found.core_sample_indices_
  if len(core):
    distance, index = (
      neighbors.NearestNeighbors(n_neighbors=1).fit(points[core]).kneighbors(queries)
    )
    asked = np.where(distance[:, 0] <= eps, train[core][index[:, 0]], noise)
  else:
    asked = np.full(len(queries), noise)
  return {
    "train": train,
    "queries": asked,
    "silhouette": np.float64(score),
    "silhouette_clustered": np.float64(clustered),
    "k": np.int64(noise),
    "noise": np.float64(np.mean(found.labels_ < 0)),
  }


def dbscan(places, queries, *, min_samples, quantiles):
  """DBSCAN of all layers and seeds, {quantity: {layer: (seeds, …)}}."""
  found = {
    name: [
      _clustered_by_density(p, q, min_samples, quantiles)
      for p, q in zip(places[name], queries[name], strict=True)
    ]
    for name in places
  }
  kinds = next(iter(found.values()))[0]
  return {
    kind: {name: np.stack([one[kind] for one in rows]) for name, rows in found.items()}
    for kind in kinds
  }


# --- k-means with a given number of clusters ----------------------------------------------


def clustered_with(config, keys, places, numbers):
  """k-means of other projections with the k that UMAP's silhouettes chose.

  Args:
    config: of the run.
    keys: (names · seeds,) numbers of keys, a name's seeds together.
    places: {name: (training places (seeds, n, 2), query places (seeds, queries, 2))}.
    numbers: {name: k (seeds,)}.

  Returns:
    {name: {"train": clusters (seeds, n), "queries": (seeds, queries)}}.
  """
  chosen = config.kmeans

  @jax.jit
  def one(key, train, queries, k):
    found = representations.kmeans(
      jax.random.key(key),
      train,
      k,
      largest=chosen.largest,
      iterations=chosen.iterations,
      restarts=chosen.restarts,
    )
    return {"train": found(train), "queries": found(queries)}

  keys, found = iter(keys), {}
  for name, (train, queries) in places.items():
    rows = [one(next(keys), *row) for row in zip(train, queries, numbers[name], strict=True)]
    found[name] = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
  return found


# --- class sets (eq. 1-4) -----------------------------------------------------------------


def _fractions(clusters, labels, largest, classes):
  """cfrac of every layer for one seed, (layers, clusters, classes); 0 in empty clusters."""
  return np.stack(
    [
      np.asarray(representations.class_fractions(c.astype(np.int32), labels, largest, classes))
      for c in clusters
    ]
  )


def _plausible(train, asked, labels, classes):
  """cfrac of a seed, and min_L cfrac(c) of its queries: (layers, …) clusters of both."""
  train, asked = np.stack(train), np.stack(asked)
  largest = int(max(train.max(), asked.max())) + 1  # of queries too: noise, empty clusters
  fractions = _fractions(train, labels, largest, classes)
  by_class = representations.class_plausibility(fractions, asked.astype(np.int32))
  return fractions, np.asarray(by_class)


def _imitated(clustered, places):
  """Clusters of the places that a network gives to the queries, (seeds, queries)."""
  return np.stack(
    [
      representations.Clusters(centres, None, None)(p)
      for centres, p in zip(clustered["centres"], places, strict=True)
    ]
  )


def _members(way, layers, clustered, with_k, dbscan, imitated):
  """(clusters of training examples, of queries), lists over layers of (seeds, …)."""
  if way == "dbscan":
    return tuple(
      [dbscan[part][f"flat.{name}"] for name in layers] for part in ("train", "queries")
    )
  projection, _, same = way.partition("_")
  projection = projection if projection in ("tsne", "pca") else "umap"
  variant = way if way in ("pool", "global") else "flat"
  table = with_k if same else clustered
  found = [
    table.get(f"{projection}:{variant}.{name}") or table[f"umap:flat.{name}"]
    for name in layers
  ]
  asked = [one["queries"] for one in found]
  if way == "imitated":
    asked = [
      _imitated(one, imitated[f"flat.{name}"]) for one, name in zip(found, layers, strict=True)
    ]
  return [one["train"] for one in found], asked


def scores(
  *,
  layers,
  clustered,
  with_k,
  dbscan,
  imitated,
  train_labels,
  classes,
  predicted,
  variants,
):
  """The plausibility of every query, max_c min_L cfrac(c), for each way to get there.

  Returns:
    "plausibility", {way: (seeds, queries)}: "umap" is the paper's, then "tsne", "pca",
    "dbscan", "pool", "global"; "tsne_k", "pca_k" have UMAP's number of clusters; "imitated"
    replaces UMAP's transform by a network; "last" is the last layer alone; "consulted" is
    min_L cfrac of the class that the network predicts.
    "first": max_c cfrac(c) of the first layer alone, (seeds, queries).
    "fractions": (clusters of the queries (seeds, layers, queries), cfrac a seed) of "umap".
  """
  seeds = range(len(predicted))
  ways = ["umap", "tsne", "pca", "tsne_k", "pca_k", "dbscan", "imitated"]
  ways += [v for v in ("pool", "global") if v in variants]
  plausible, found = {}, {}
  for way in ways:
    train, asked = _members(way, layers, clustered, with_k, dbscan, imitated)
    rows = [
      _plausible([c[s] for c in train], [c[s] for c in asked], train_labels, classes)
      for s in seeds
    ]
    plausible[way] = np.stack([by_class.max(-1) for _, by_class in rows])
    if way == "umap":
      fractions, clusters = [f for f, _ in rows], np.stack(asked, 1)
      chosen = np.stack([by_class for _, by_class in rows])
      chosen = np.take_along_axis(chosen, predicted[..., None].astype(int), -1)
      plausible["consulted"] = chosen[..., 0]
      alone = {
        name: np.stack([fractions[s][i][clusters[s, i]].max(-1) for s in seeds])
        for name, i in (("first", 0), ("last", -1))
      }
      plausible["last"] = alone["last"]
      found = {"first": alone["first"], "fractions": (clusters, fractions)}
  return {"plausibility": plausible, **found}


def set_sizes(clusters_and_fractions, thresholds):
  """|cset_L(x)| by threshold, {t: (seeds, queries, layers)}."""
  clusters, fractions = clusters_and_fractions
  return {
    float(t): np.stack(
      [
        np.stack(
          [(f[layer] > np.float32(t)).sum(-1)[c[layer]] for layer in range(len(c))], axis=-1
        )
        for c, f in zip(clusters, fractions, strict=True)
      ]
    )
    for t in thresholds
  }


def credibilities(votes, labels, count):
  """Deep k-NN's credibility of every query, with all layers and with the first alone.

  Args:
    votes: (seeds, queries, layers, classes) nonconformities; after `count` queries come the
      calibration examples.
    labels: of the calibration examples.
    count: of queries before them.

  Returns:
    {"all", "first"}: (seeds, queries).
  """
  rows = count + np.arange(len(labels))

  def trusted(summed):
    return np.stack(
      [np.asarray(representations.credibility(v, v[rows, labels])[1]) for v in summed]
    )

  return {"all": trusted(votes.sum(2)), "first": trusted(votes[:, :, 0])}

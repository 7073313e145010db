"""From clusters to decisions (eq. 1-4), for every way to project and cluster; on the host."""

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


# --- class sets (eq. 1-3) -----------------------------------------------------------------


def _fractions(train_clusters, labels, classes):
  """cfrac of every layer for one seed, (layers, clusters, classes)."""
  largest = int(max(c.max() for c in train_clusters)) + 1
  return np.stack(
    [
      np.asarray(representations.class_fractions(c.astype(np.int32), labels, largest, classes))
      for c in train_clusters
    ]
  )


def nearest_centre(centres, places):
  """Cluster of every place, of one seed; padded centres are infinite."""
  shown = centres[np.isfinite(centres[:, 0])]
  return np.square(places[:, None] - shown).sum(-1).argmin(1)


def scores(*, layers, clustered, dbscan, imitated, train_labels, classes, predicted, variants):
  """The plausibility of every query, max_c min_L cfrac(c), for each way to get there.

  Returns:
    "plausibility", {way: (seeds, queries)}: "umap" is the paper's, then "tsne", "pca",
    "dbscan", "pool", "global"; "imitated" replaces UMAP's transform by a network; "last" is
    the last layer alone; "consulted" is min_L cfrac of the class that the network predicts.
    "fractions": (clusters of the queries (seeds, layers, queries), cfrac a seed) of "umap".
  """
  seeds = len(predicted)

  def members(way):
    """(clusters of training examples, of queries), lists over layers of (seeds, …)."""
    if way == "dbscan":
      return [
        [dbscan[part][f"flat.{name}"] for name in layers] for part in ("train", "queries")
      ]
    projection = way if way in ("tsne", "pca") else "umap"
    variant = way if way in ("pool", "global") else "flat"
    names = [
      found
      if (found := f"{projection}:{variant}.{name}") in clustered
      else f"umap:flat.{name}"
      for name in layers
    ]
    asked = [clustered[name]["queries"] for name in names]
    if way == "imitated":
      asked = [
        np.stack(
          [
            nearest_centre(clustered[name]["centres"][s], imitated[name.partition(":")[2]][s])
            for s in range(seeds)
          ]
        )
        for name in names
      ]
    return [[clustered[name]["train"] for name in names], asked]

  ways = ["umap", "tsne", "pca", "dbscan", "imitated"]
  ways += [v for v in ("pool", "global") if v in variants]
  plausible, kept = {}, None
  for way in ways:
    train, asked = members(way)
    fractions = [
      _fractions([c[s] for c in train], train_labels, classes) for s in range(seeds)
    ]
    by_class = np.stack(
      [
        np.asarray(
          representations.class_plausibility(
            fractions[s], np.stack([c[s] for c in asked]).astype(np.int32)
          )
        )
        for s in range(seeds)
      ]
    )
    plausible[way] = by_class.max(-1)
    if way == "umap":
      kept = np.stack(asked, 1), fractions
      chosen = np.take_along_axis(by_class, predicted[..., None].astype(int), -1)
      plausible["consulted"] = chosen[..., 0]
      last = np.stack([f[-1][c] for f, c in zip(fractions, asked[-1], strict=True)])
      plausible["last"] = last.max(-1)
  return {"plausibility": plausible, "fractions": kept}


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


def credibilities(votes, calibration_labels, count):
  """Deep k-NN's credibility of every query, (seeds, queries); the calibration set is last."""
  own = np.take_along_axis(
    votes[:, count:],
    np.broadcast_to(
      calibration_labels[None, :, None], (len(votes), len(calibration_labels), 1)
    ),
    -1,
  )[..., 0]
  return np.stack(
    [np.asarray(representations.credibility(v, a)[1]) for v, a in zip(votes, own, strict=True)]
  )

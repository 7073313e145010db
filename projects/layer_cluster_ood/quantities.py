"""What is measured, from a run's results: rates in per cent, areas, silhouettes, sizes, times.

One number a seed. An input is flagged where its plausibility is at most t.
"""

import numpy as np

from lib.metrics import detection
from projects.layer_cluster_ood.inputs import OUTSIDE, SETS

GRADED = ("umap", "last", "consulted", "imitated", "dbscan", "softmax", "dknn", "dknn_pca")
MATCHED = ("softmax", "dknn", "dknn_pca", "imitated", "dbscan")


def rate(results, name, threshold=None, way="umap"):
  """Per cent of a set that is flagged, (seeds,)."""
  t = np.float32(results["threshold"] if threshold is None else threshold)
  flagged = results["plausibility"][way][:, SETS.index(name)] <= t
  return 100 * flagged.mean(-1)


def mean_rate(results, threshold=None, way="umap"):
  """Mean over the sets from outside, (seeds,)."""
  return np.mean([rate(results, name, threshold, way) for name in OUTSIDE], 0)


def advantage(results, threshold=None, way="umap"):
  """Mean detection rate less the false positive rate, points, (seeds,)."""
  return mean_rate(results, threshold, way) - rate(results, "test", threshold, way)


def _graded(results, way):
  """A score that is large for what belongs to the training distribution, (seeds, sets, n)."""
  if way == "softmax":
    return results["confidence"]
  table = results["credibility"] if way in results["credibility"] else results["plausibility"]
  return table[way]


def _area(scores, name):
  scores = scores.astype(np.float32)
  return np.asarray(detection.auc(scores[:, 0], scores[:, SETS.index(name)]), np.float64)


def auc(results, name, way="umap"):
  """P(score of a test image > score of one of the set), ties count half, (seeds,)."""
  return _area(_graded(results, way), name)


def mean_auc(results, way="umap"):
  """Mean over the sets from outside, (seeds,)."""
  return np.mean([auc(results, name, way) for name in OUTSIDE], 0)


def first_layer_auc(results, way):
  """The same with the first layer alone, of "umap", "dknn" or "dknn_pca"."""
  return np.mean([_area(results["first_layer"][way], name) for name in OUTSIDE], 0)


def matched_rate(results, name, way):
  """Per cent of a set that another score flags at the method's own false positive rate.

  Where scores are tied, the share of the tie that makes the rates equal: (seeds,).
  """
  fpr = rate(results, "test") / 100
  scores = _graded(results, way)
  found = []
  for share, normal, other in zip(fpr, scores[:, 0], scores[:, SETS.index(name)], strict=True):
    cut = np.sort(normal)[min(int(share * len(normal)), len(normal) - 1)]
    below, tied = np.mean(normal < cut), np.mean(normal == cut)
    part = (share - below) / tied if tied else 0.0
    found.append(np.mean(other < cut) + part * np.mean(other == cut))
  return 100 * np.array(found)


def silhouette(results, way):
  """Median over the layers, the paper's measure of Table 1, (seeds,)."""
  if way.startswith("dbscan"):
    key = "silhouette" if way == "dbscan" else "silhouette_clustered"
    return np.median(np.stack(list(results["dbscan"][key].values())), 0)
  projection, _, variant = way.partition(":")
  table, rows = results["silhouette"], []
  for layer in layers(results):
    own = f"{projection}:{variant}.{layer}"
    rows.append(table[own if own in table else f"{projection}:flat.{layer}"])
  return np.median(np.stack(rows), 0)


def layers(results):
  """Names of the layers, from the first to the last."""
  return [name.partition(".")[2] for name in results["dbscan"]["k"]]


def sizes(results):
  """|cset_L| of test images, (seeds, images, layers)."""
  return results["set_sizes"][f"{float(results['threshold']):g}"][:, 0]


def speedup(results, slow):
  """Seconds of a way over those of the clusters, (sizes, repeats)."""
  return results["seconds"][slow] / results["seconds"]["clusters"]


def kept(results, way):
  """Bytes kept by a way: those of each training example, and (sizes,) all of them."""
  total, n = results["bytes"][way], results["timed_examples"]
  return (total[-1] - total[0]) / (n[-1] - n[0]), total


def known_rate(results):
  """Per cent flagged of known classes in the style of the natural outsiders, (seeds,)."""
  flagged = results["known"]["plausibility"] <= np.float32(results["threshold"])
  return 100 * flagged.mean(-1)


# --- results.json -----------------------------------------------------------------------


def _of_set(results, name):
  """Numbers of one set of inputs."""
  flat = {}
  for t in results["thresholds"]:
    flag = rate(results, name, t).mean() / 100
    flat[f"rate/{t:g}/{name}"] = flag
  for way in results["plausibility"]:
    flat[f"rate_at_headline/{way}/{name}"] = rate(results, name, way=way).mean() / 100
  for way in results["credibility"]:
    flat[f"credibility/{way}/{name}"] = _graded(results, way)[:, SETS.index(name)].mean()
  if name != "test":
    for way in GRADED:
      flat[f"auc/{way}/{name}"] = auc(results, name, way).mean()
    for way in MATCHED:
      flat[f"matched_rate/{way}/{name}"] = matched_rate(results, name, way).mean() / 100
  return flat


def _of_clusters(results):
  """Silhouettes, numbers of clusters, and sizes of class sets."""
  flat = {}
  for name in results["silhouette"]:
    flat[f"silhouette/{name}"] = results["silhouette"][name].mean()
    flat[f"k/{name}"] = results["k"][name].mean()
  for name in results["dbscan"]["k"]:
    for key in ("silhouette", "silhouette_clustered", "k", "noise"):
      flat[f"dbscan_{key}/{name}"] = results["dbscan"][key][name].mean()
  mean_sizes = sizes(results).mean((0, 1))
  for layer, size in zip(layers(results), mean_sizes, strict=True):
    flat[f"set_size/{layer}"] = size
  return flat


def metrics(results):
  """Flat numbers for results.json."""
  flat = {"test_accuracy": results["test_accuracy"].mean()}
  for name in SETS:
    flat |= _of_set(results, name)
  for name, right in results["accuracy"].items():
    flat[f"accuracy/{name}"] = right.mean()
  flat |= _of_clusters(results)
  for way in results["first_layer"]:
    flat[f"first_layer_auc/{way}"] = first_layer_auc(results, way).mean()
  if "known" in results:
    flat["rate/known"] = known_rate(results).mean() / 100
    flat["accuracy/known"] = results["known"]["accuracy"].mean()
  if "seconds" in results:
    for way, table in results["seconds"].items():
      each, total = kept(results, way)
      flat[f"bytes_an_example/{way}"] = each
      for n, row, size in zip(results["timed_examples"], table, total, strict=True):
        flat[f"detection_s/{way}/{n}"] = np.median(row)
        flat[f"bytes/{way}/{n}"] = size
  return flat

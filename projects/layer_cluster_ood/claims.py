"""What the paper says about Tables 1 and 2 and the times, as checks over measured results.

Rates are in per cent, one number a seed; comparisons are paired over seeds. A set is flagged
where the plausibility of its inputs is at most t.
"""

import numpy as np

from lib.experiment import Claim
from lib.experiment import claims as check
from lib.metrics import detection

SETS = ("test", "natural", "fgsm", "bim", "pgd", "pgd_dlr")
OUTSIDE = SETS[1:]
PAPER = {  # Table 2 in per cent at t = 0.01, 0.05, 0.1
  "mnist": {
    "test": (3.6, 5.4, 5.94),
    "natural": (81.11, 86.89, 86.97),
    "fgsm": (72.29, 80.01, 80.67),
    "bim": (75.52, 81.50, 81.54),
    "pgd": (81.70, 86.61, 86.74),
    "pgd_dlr": (77.46, 83.46, 83.67),
  },
  "svhn": {
    "test": (1.35, 19.67, 42.56),
    "natural": (12.46, 70.16, 81.61),
    "fgsm": (4.98, 50.5, 71.17),
    "bim": (3.04, 37.35, 63.76),
    "pgd": (3.86, 40.58, 65.7),
    "pgd_dlr": (5.84, 53.89, 75.14),
  },
  "cifar10": {
    "test": (4.24, 19.62, 63.69),
    "natural": (22.16, 42.9, 83.87),
    "fgsm": (35.77, 76.64, 95.27),
    "bim": (15.39, 45.32, 97.25),
    "pgd": (14.02, 43.56, 96.53),
    "pgd_dlr": (15.84, 39.32, 84.03),
  },
}

# --- what is measured -------------------------------------------------------------------


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


def auc(results, name, way="umap"):
  """P(score of a test image > score of one of the set), ties count half, (seeds,)."""
  scores = _graded(results, way).astype(np.float32)
  found = detection.auc(scores[:, 0], scores[:, SETS.index(name)])
  return np.asarray(found, np.float64)


def mean_auc(results, way="umap"):
  """Mean over the sets from outside, (seeds,)."""
  return np.mean([auc(results, name, way) for name in OUTSIDE], 0)


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
  for name in results["dbscan"]["k"]:  # the layers
    layer = name.partition(".")[2]
    own = f"{projection}:{variant}.{layer}"
    rows.append(table[own if own in table else f"{projection}:flat.{layer}"])
  return np.median(np.stack(rows), 0)


def _layers(results):
  return [name.partition(".")[2] for name in results["dbscan"]["k"]]


def _sizes(results):
  """Mean |cset_L| over test images, (seeds, layers)."""
  return results["set_sizes"][f"{float(results['threshold']):g}"][:, 0].mean(1)


def speedup(results, slow, fast="clusters"):
  """Seconds of one way over those of another, (sizes, repeats)."""
  return results["seconds"][slow] / results["seconds"][fast]


def metrics(results):
  """Flat numbers for results.json."""
  flat = {"test_accuracy": results["test_accuracy"].mean()}
  for i, name in enumerate(SETS):
    if name != "natural":
      flat[f"accuracy/{name}"] = results["accuracy"][:, i].mean()
    for t in results["thresholds"]:
      flat[f"rate/{t:g}/{name}"] = rate(results, name, t).mean() / 100
    for way in results["plausibility"]:
      flat[f"rate_at_headline/{way}/{name}"] = rate(results, name, way=way).mean() / 100
    for way in results["credibility"]:
      flat[f"credibility/{way}/{name}"] = results["credibility"][way][:, i].mean()
    if name != "test":
      for way in ("umap", "last", "consulted", "imitated", "softmax", "dknn", "dknn_pca"):
        flat[f"auc/{way}/{name}"] = auc(results, name, way).mean()
      for way in ("softmax", "dknn"):
        flat[f"matched_rate/{way}/{name}"] = matched_rate(results, name, way).mean() / 100
  for name in results["silhouette"]:
    flat[f"silhouette/{name}"] = results["silhouette"][name].mean()
    flat[f"k/{name}"] = results["k"][name].mean()
  for name in results["dbscan"]["k"]:
    for key in ("silhouette", "silhouette_clustered", "k", "noise"):
      flat[f"dbscan_{key}/{name}"] = results["dbscan"][key][name].mean()
  for layer, size in zip(_layers(results), _sizes(results).mean(0), strict=True):
    flat[f"set_size/{layer}"] = size
  for way, (fixed, each) in results["bytes"].items():
    flat[f"bytes_fixed/{way}"], flat[f"bytes_an_example/{way}"] = fixed, each
  if "seconds" in results:
    for way, table in results["seconds"].items():
      for n, row in zip(results["timed_examples"], table, strict=True):
        flat[f"detection_s/{way}/{n}"] = np.median(row)
  return flat


# --- checks -----------------------------------------------------------------------------


_enough = check.with_seeds(2)


def _above_false_positives(results):
  return check.every(
    {
      f"{name}, t = {t:g}": check.greater(rate(results, name, t), rate(results, "test", t))
      for t in results["thresholds"]
      for name in OUTSIDE
    },
    quantity="detection − false positive rate, points",
  )


def _most_detected(results):
  parts = {"test": check.below(rate(results, "test"), 10.0, quantity="flagged, %")}
  for name in OUTSIDE:
    parts[name] = check.above(rate(results, name), 70.0, quantity="flagged, %")
  return check.every(parts)


def _best_threshold(results):
  t, own = results["threshold"], advantage(results)
  others = [o for o in results["thresholds"] if o != t]
  return check.every(
    {f"t = {o:g}": check.greater(own, advantage(results, o)) for o in others},
    quantity="detection − false positive rate, gain over another t, points",
  )


def _better_silhouette(a, b):
  def decide(results):
    variant = b.partition(":")[2]
    if variant in ("pool", "global") and not any(
      f".{variant}" in n or f":{variant}" in n for n in results["silhouette"]
    ):
      return check.not_tested(f"the variant {variant} was not run.")
    return check.greater(
      silhouette(results, a),
      silhouette(results, b),
      quantity=f"median silhouette, {a.partition(':')[0]} − {b.removesuffix(':flat')}",
    )

  return decide


def _shrinks(results):
  sizes, layers = _sizes(results), _layers(results)
  return check.every(
    {
      f"{layers[i]} to {layers[i + 1]}": check.greater(sizes[:, i], sizes[:, i + 1])
      for i in range(len(layers) - 1)
    },
    quantity="fall of the mean size of the class set",
  )


def _one_class_last(results):
  return check.between(_sizes(results)[:, -1], 0.8, 1.2, quantity="classes in the last layer")


def _projection_matters(results):
  parts = {
    way: check.greater(advantage(results), advantage(results, way=way))
    for way in ("pca", "tsne")
  }
  return check.every(parts, quantity="detection − false positive rate, UMAP − other, points")


def _timed(slow, limit):
  def decide(results):
    if "seconds" not in results:
      return check.not_tested("no times were taken in this preset.")
    ratios = speedup(results, slow)
    return check.every(
      {
        f"{n} examples": check.above(row, limit, quantity=f"seconds of {slow} / of clusters")
        for n, row in zip(results["timed_examples"], ratios, strict=True)
      }
    )

  return decide


def _smaller(results):
  """Bytes for as many training examples as were fitted."""
  n = len(results["train_labels"])
  ours, theirs = (
    fixed + n * each for fixed, each in map(results["bytes"].get, ("clusters", "dknn"))
  )
  return check.exact(ours / theirs, 1.0, quantity="bytes of clusters / of DkNN")


def _no_training_set(results):
  return check.exact(
    float(results["bytes"]["clusters"][1]), 0.0, quantity="bytes kept of each training example"
  )


def _credible(results):
  found = results["credibility"]["dknn"].mean(-1)
  return check.every(
    {name: check.greater(found[:, 0], found[:, SETS.index(name)]) for name in OUTSIDE},
    quantity="mean DkNN credibility, test − other",
  )


def _beats(way):
  def decide(results):
    return check.every(
      {
        name: check.greater(rate(results, name), matched_rate(results, name, way))
        for name in OUTSIDE
      },
      quantity=f"flagged at equal false positives, clusters − {way}, points",
    )

  return decide


def _auc_gain(a, b):
  def decide(results):
    return check.greater(
      mean_auc(results, a), mean_auc(results, b), quantity=f"mean AUC, {a} − {b}"
    )

  return decide


def _imitation(results):
  return check.between(
    advantage(results, way="imitated") - advantage(results),
    -5.0,
    float("inf"),
    quantity="detection − false positive rate, imitation − UMAP's transform, points",
  )


CLAIMS = (
  Claim(
    "above_false_positives",
    source="Table 2, conclusion",
    statement="Every kind of outside input is flagged more often than test images are.",
    expected="each rate above the false positive rate, paired",
    check=_enough(_above_false_positives),
  ),
  Claim(
    "most_detected",
    source="Table 2, MNIST",
    statement="At t = 0.05 most outside inputs are flagged and few test images.",
    expected="each rate above 70 % (paper 80-87), test below 10 % (5.4)",
    check=_enough(_most_detected),
  ),
  Claim(
    "best_threshold",
    source="sec. 4.4",
    statement="t = 0.05 is the best threshold in relation to false positives.",
    expected="mean rate less false positives higher than at 0.01 and 0.1",
    check=_enough(_best_threshold),
  ),
  Claim(
    "kmeans_over_dbscan",
    source="Table 1",
    statement="k-means has a better silhouette than DBSCAN.",
    expected="median over layers higher, paired (paper, MNIST: 0.733, 0.699)",
    check=_enough(_better_silhouette("umap:flat", "dbscan")),
  ),
  Claim(
    "umap_over_tsne",
    source="Table 1",
    statement="UMAP has a better silhouette than parametric t-SNE.",
    expected="median over layers higher, paired (paper, MNIST: 0.733, 0.432)",
    check=_enough(_better_silhouette("umap:flat", "tsne:flat")),
  ),
  Claim(
    "umap_over_pca",
    source="Table 1",
    statement="UMAP has a better silhouette than principal components.",
    expected="median over layers higher, paired (paper, MNIST: 0.733, 0.423)",
    check=_enough(_better_silhouette("umap:flat", "pca:flat")),
  ),
  Claim(
    "tsne_over_pca",
    source="Table 1",
    statement="Parametric t-SNE has a slightly better silhouette than principal components.",
    expected="median over layers higher, paired (paper, MNIST: 0.432, 0.423)",
    check=_enough(_better_silhouette("tsne:flat", "pca:flat")),
  ),
  Claim(
    "flat_over_pool",
    source="Table 1",
    statement="Plain vectors have a better silhouette than pooled ones.",
    expected="median over layers higher, paired (paper, MNIST: 0.733, 0.721)",
    check=_enough(_better_silhouette("umap:flat", "umap:pool")),
  ),
  Claim(
    "projection_matters",
    source="conclusion",
    statement="Without a good projection the clusters detect little.",
    expected="UMAP's rates less false positives above those of t-SNE and of PCA",
    check=_enough(_projection_matters),
  ),
  Claim(
    "sets_shrink",
    source="sec. 3",
    statement="Class sets have more classes in lower layers than in higher ones.",
    expected="mean size on test images falls from each layer to the next",
    check=_enough(_shrinks),
  ),
  Claim(
    "one_class_last",
    source="sec. 3",
    statement="Clusters of the last layer ideally hold one class.",
    expected="mean size of the last class set between 0.8 and 1.2",
    check=_enough(_one_class_last),
  ),
  Claim(
    "faster_than_dknn",
    source="sec. 4.4",
    statement="Detection is faster than Deep k-NN's neighbour search.",
    expected="ratio of times above 1 for each size of the training set (paper, MNIST: 9)",
    check=_timed("dknn", 1.0),
  ),
  Claim(
    "less_memory",
    source="abstract",
    statement="Detection keeps less than Deep k-NN does.",
    expected="bytes for the fitted examples below those of all activations",
    check=_smaller,
  ),
  Claim(
    "no_training_set",
    source="sec. 1",
    statement="The training set need not be kept.",
    expected="no bytes an example (UMAP's transform keeps components and places)",
    check=_no_training_set,
  ),
  Claim(
    "dknn_credibility",
    source="sec. 4.4",
    statement="Deep k-NN is less credible outside than on test images.",
    expected="mean credibility lower, paired (paper, MNIST: 0.799 test, 0.136 FGSM)",
    check=_enough(_credible),
  ),
  Claim(
    "control_softmax",
    source="control",
    statement="The clusters flag more than the largest softmax at equal false positives.",
    expected="higher for each kind of outside input",
    check=_enough(_beats("softmax")),
    control=True,
  ),
  Claim(
    "control_dknn",
    source="control",
    statement="The clusters flag more than Deep k-NN at equal false positives.",
    expected="higher for each kind of outside input",
    check=_enough(_beats("dknn")),
    control=True,
  ),
  Claim(
    "control_dknn_ranking",
    source="control",
    statement="Over all thresholds the clusters rank outside inputs better than Deep k-NN.",
    expected="higher mean AUC, paired",
    check=_enough(_auc_gain("umap", "dknn")),
    control=True,
  ),
  Claim(
    "control_dknn_of_components",
    source="control",
    statement="The clusters are faster than Deep k-NN in the same 50 components.",
    expected="ratio of times above 1 for each size of the training set",
    check=_timed("dknn_pca", 1.0),
    control=True,
  ),
  Claim(
    "control_all_layers",
    source="control",
    statement="The intersection over layers detects more than the last layer alone.",
    expected="higher mean AUC, paired",
    check=_enough(_auc_gain("umap", "last")),
    control=True,
  ),
  Claim(
    "control_predicted_class",
    source="control",
    statement="Nothing is lost by not asking which class the network predicts.",
    expected="mean AUC not below that of the predicted class's plausibility, paired",
    check=_enough(_auc_gain("umap", "consulted")),
    control=True,
  ),
  Claim(
    "control_imitation",
    source="control",
    statement="A network that imitates UMAP detects as much and needs no training example.",
    expected="rates less false positives at most 5 points lower",
    check=_enough(_imitation),
    control=True,
  ),
)

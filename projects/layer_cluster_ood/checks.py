"""Checks of the claims: pure functions of results, paired over seeds, rates in per cent."""

import dataclasses
import math

import numpy as np

from lib.experiment import claims as check
from projects.layer_cluster_ood import quantities as q
from projects.layer_cluster_ood.inputs import ATTACKS, OUTSIDE

HARD = ("svhn", "cifar")  # parts of the names of the paper's other data sets
_NO_TIMES = "no times were taken in this preset."


def provided(outcome, condition):
  """The outcome, or the condition's where that is worse: it can only lower the verdict."""
  order = (check.NOT_REPRODUCED, check.PARTLY, check.REPRODUCED)
  worse = min((outcome, condition), key=lambda found: order.index(found.verdict))
  return dataclasses.replace(worse, why=f"{outcome.why} Provided {condition.why}")


def not_lower(a, b, margin, quantity=""):
  """Paired over seeds, a is at most `margin` lower than b."""
  return check.greater(a, b, margin=-margin, quantity=quantity)


# --- rates (Table 2) ----------------------------------------------------------------------


def above_false_positives(results):
  return check.every(
    {
      f"{name}, t = {t:g}": check.greater(q.rate(results, name, t), q.rate(results, "test", t))
      for t in results["thresholds"]
      for name in OUTSIDE
    },
    quantity="detection − false positive rate, points",
  )


def most_detected(results):
  rates = check.above(q.mean_rate(results), 70.0, quantity="mean detection rate, %")
  few = check.below(q.rate(results, "test"), 10.0, quantity="test images flagged, %")
  return provided(rates, few)


def low_rates(results):
  if not any(part in str(results["dataset"]) for part in HARD):
    return check.not_tested(
      "SVHN and CIFAR-10 were not run: the preset svhn needs the data, and the ResNet for "
      "CIFAR-10 is not built."
    )
  return check.below(q.mean_rate(results), 60.0, quantity="mean detection rate, %")


def best_threshold(results):
  t, own = results["threshold"], q.advantage(results)
  others = [o for o in results["thresholds"] if o != t]
  return check.every(
    {f"t = {o:g}": check.greater(own, q.advantage(results, o)) for o in others},
    quantity="detection − false positive rate, gain over another t, points",
  )


def attacks_succeed(results):
  return check.every(
    {name: check.below(100 * results["accuracy"][name], 10.0) for name in ATTACKS},
    quantity="accuracy under attack, %",
  )


def letters_over_digits(results):
  if "known" not in results:
    return check.not_tested("natural.known names no set of known classes in this preset.")
  return check.greater(
    q.rate(results, "natural"),
    q.known_rate(results),
    quantity="flagged, other classes − known classes of the same style, points",
  )


# --- silhouettes (Table 1) and class sets -------------------------------------------------


def better_silhouette(a, b):
  def decide(results):
    return check.greater(
      q.silhouette(results, a),
      q.silhouette(results, b),
      quantity=f"median silhouette, {a.partition(':')[0]} − {b.removesuffix(':flat')}",
    )

  return decide


def kmeans_over_dbscan(results):
  return check.every(
    {
      "noise as a cluster": better_silhouette("umap:flat", "dbscan")(results),
      "without noise": better_silhouette("umap:flat", "dbscan_clustered")(results),
    }
  )


def tsne_slightly_over_pca(results):
  tsne, pca = (q.silhouette(results, f"{way}:flat") for way in ("tsne", "pca"))
  quantity = "median silhouette, tsne − pca"
  return check.every(
    {
      "better": check.greater(tsne, pca, quantity=quantity),
      "slightly": check.between(tsne - pca, -0.05, 0.05, quantity=quantity),
    }
  )


def flat_over_pool(results):
  if "pool" not in results["plausibility"]:
    return check.not_tested("the variant pool was not run.")
  return better_silhouette("umap:flat", "umap:pool")(results)


def silhouette_tells(results):
  """Of two ways the one with the better silhouette detects more, by either measure."""
  own, parts = q.silhouette(results, "umap:flat").mean(), {}
  for way, key in (("dbscan", "dbscan"), ("pool", "umap:pool")):
    if way in results["plausibility"]:
      sign = np.sign(own - q.silhouette(results, key).mean())
      for name, measure in (("rate − FPR", q.advantage), ("AUC", q.mean_auc)):
        gain = sign * (measure(results, way="umap") - measure(results, way=way))
        parts[f"{way}, {name}"] = check.above(
          gain, 0.0, quantity=f"{name}, better − worse silhouette"
        )
  return check.every(parts)


def projection_detects(results):
  parts = {
    way: check.greater(q.advantage(results), q.advantage(results, way=way))
    for way in ("pca", "tsne", "pca_k", "tsne_k")
  }
  return check.every(parts, quantity="detection − false positive rate, UMAP − other, points")


def sets_shrink(results):
  mean, layers = q.sizes(results).mean(1), q.layers(results)
  return check.every(
    {
      f"{layers[i]} to {layers[i + 1]}": check.greater(mean[:, i], mean[:, i + 1])
      for i in range(len(layers) - 1)
    },
    quantity="fall of the mean size of the class set",
  )


def one_class_last(results):
  one = 100 * (q.sizes(results)[..., -1] == 1).mean(1)
  return check.above(one, 90.0, quantity="test images with one class in the last set, %")


def first_layer(results):
  return check.greater(
    q.first_layer_auc(results, "umap"),
    q.first_layer_auc(results, "dknn"),
    quantity="mean AUC of the first layer alone, clusters − DkNN",
  )


# --- times and bytes ----------------------------------------------------------------------


def timed(slow):
  """The clusters are faster; the repeats are of one network in one process: one seed."""

  def decide(results):
    if "seconds" not in results:
      return check.not_tested(_NO_TIMES)
    quantity = f"seconds of {slow} / of clusters, {results['seconds'][slow].shape[1]} repeats"
    found = check.every(
      {
        f"{n} examples": check.above(row, 1.0, quantity=quantity)
        for n, row in zip(results["timed_examples"], q.speedup(results, slow), strict=True)
      }
    )
    return dataclasses.replace(found, seeds=1)

  return decide


def smaller(than):
  def decide(results):
    if "bytes" not in results:
      return check.not_tested(_NO_TIMES)
    ratios = q.kept(results, "clusters")[1] / q.kept(results, than)[1]
    return check.every(
      {
        f"{n} examples": check.exact(ratio, 1.0)
        for n, ratio in zip(results["timed_examples"], ratios, strict=True)
      },
      quantity=f"bytes of clusters / of {than}",
    )

  return decide


def no_training_set(results):
  if "bytes" not in results:
    return check.not_tested(_NO_TIMES)
  return check.exact(
    q.kept(results, "clusters")[0], 0.0, quantity="bytes that detection reads of each example"
  )


# --- rivals -------------------------------------------------------------------------------


def credible(results):
  found = results["credibility"]["dknn"].mean(-1)
  return check.every(
    {name: check.greater(found[:, 0], found[:, i]) for i, name in enumerate(OUTSIDE, 1)},
    quantity="mean DkNN credibility, test − other",
  )


def beats(*ways):
  def decide(results):
    return check.every(
      {
        f"{name}, {way}": check.greater(
          q.rate(results, name), q.matched_rate(results, name, way)
        )
        for way in ways
        for name in OUTSIDE
      },
      quantity="flagged at equal false positives, clusters − other, points",
    )

  return decide


def ranks_better(*ways):
  def decide(results):
    return check.every(
      {
        way: check.greater(q.mean_auc(results), q.mean_auc(results, way), quantity="mean AUC")
        for way in ways
      },
      quantity="mean AUC, clusters − other",
    )

  return decide


def not_consulted(results):
  return check.between(
    q.mean_auc(results) - q.mean_auc(results, "consulted"),
    -0.01,
    math.inf,
    quantity="mean AUC, paper − predicted class",
  )


def imitation(results):
  parts = {
    name: not_lower(
      q.matched_rate(results, name, "imitated"),
      q.rate(results, name),
      5.0,
      "flagged at equal false positives, imitation − UMAP, points",
    )
    for name in OUTSIDE
  }
  parts["AUC"] = not_lower(
    q.mean_auc(results, "imitated"),
    q.mean_auc(results),
    0.02,
    "mean AUC, imitation − UMAP",
  )
  return check.every(parts)

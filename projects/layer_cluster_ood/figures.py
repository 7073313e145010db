"""Figures of the layer_cluster_ood project, drawn from the measured results alone."""

import numpy as np

from lib import plotting
from lib.experiment import Figure
from projects.layer_cluster_ood import quantities as q
from projects.layer_cluster_ood.inputs import OUTSIDE, SETS

LABELS = {
  "test": "test",
  "natural": "natural",
  "fgsm": "FGSM",
  "bim": "BIM",
  "pgd": "PGD",
  "pgd_dlr": "PGD, DLR",
}


def rates(results):
  """Table 2, the rivals at equal false positives, and the sizes of class sets."""
  fig, (left, middle, right) = plotting.figure(ncols=3, height=2.7)
  for name in SETS:
    samples = np.stack([q.rate(results, name, t) for t in results["thresholds"]], 1)
    style = {"color": "black", "ls": "--"} if name == "test" else {}
    plotting.band(
      left, results["thresholds"], samples, label=LABELS[name], marker="o", ms=2.5, **style
    )
  left.set(xlabel="t", ylabel="flagged, %", ylim=(0, None))
  left.legend(fontsize=6)

  x = np.arange(len(OUTSIDE))
  rows = {
    "clusters": [q.rate(results, name) for name in OUTSIDE],
    "softmax": [q.matched_rate(results, name, "softmax") for name in OUTSIDE],
    "DkNN": [q.matched_rate(results, name, "dknn") for name in OUTSIDE],
    "DkNN, 50 components": [q.matched_rate(results, name, "dknn_pca") for name in OUTSIDE],
  }
  for i, (label, values) in enumerate(rows.items()):
    values = np.stack(values, 1)
    middle.bar(x + 0.2 * (i - 1.5), values.mean(0), 0.19, label=label)
    for s in values:
      middle.plot(x + 0.2 * (i - 1.5), s, ".", color="black", ms=1.5)
  middle.set_xticks(x, [LABELS[n] for n in OUTSIDE], rotation=30)
  middle.set(ylabel="flagged at equal false positives, %")
  middle.set_ylim(0, 1.4 * middle.get_ylim()[1])  # room for the legend
  middle.legend(fontsize=6)

  layers = q.layers(results)
  for t, sizes in sorted(results["set_sizes"].items()):
    plotting.band(
      right, np.arange(len(layers)), sizes[:, 0].mean(1), label=f"t = {t}", marker="o", ms=2.5
    )
  right.set_xticks(range(len(layers)), layers, rotation=30)
  right.set(ylabel="classes in a test image's set", ylim=(0, None))
  right.legend()
  return fig


def planes(results):
  """Fig. 1: the projections of the first seed, with centres and natural outsiders."""
  names = list(results["example"])
  fig, axes = plotting.figure(ncols=len(names), height=2.0)
  for ax, name in zip(axes, names, strict=True):
    found = results["example"][name]
    ax.scatter(
      *found["places"].T, c=results["train_labels"], cmap="tab10", s=1.5, lw=0, rasterized=True
    )
    ax.scatter(*found["natural"].T, color="black", s=0.6, lw=0, alpha=0.5)
    shown = np.isfinite(found["centres"][:, 0])
    ax.plot(*found["centres"][shown].T, "k+", ms=5)
    ax.set_title(name.partition(".")[2])
    ax.set(xticks=[], yticks=[], xlabel=f"k = {int(results['k'][f'umap:{name}'][0])}")
  return fig


def costs(results):
  """Silhouettes of Table 1, and seconds over the size of the training set if taken."""
  timed = "seconds" in results
  fig, axes = plotting.figure(ncols=1 + timed, height=2.4, squeeze=False)
  left = axes[0, 0]
  ways = {"k-means": "umap:flat", "DBSCAN": "dbscan", "t-SNE": "tsne:flat", "PCA": "pca:flat"}
  variants = {n.partition(":")[2].partition(".")[0] for n in results["silhouette"]}
  ways |= {v: f"umap:{v}" for v in ("pool", "global") if v in variants}
  for i, way in enumerate(ways.values()):
    values = q.silhouette(results, way)
    left.bar(i, values.mean(), 0.6, alpha=0.5)
    left.plot(np.full(len(values), i), values, "k.", ms=2)
  left.set_xticks(range(len(ways)), ways, rotation=30)
  left.set(ylabel="median silhouette over layers")
  if timed:
    right = axes[0, 1]
    for way, table in results["seconds"].items():
      right.plot(results["timed_examples"], np.median(table, 1), marker="o", ms=3, label=way)
    right.set(
      xscale="log", yscale="log", xlabel="training examples", ylabel="seconds for the test set"
    )
    right.minorticks_off()
    right.set_xticks(results["timed_examples"], [f"{n:,}" for n in results["timed_examples"]])
    right.legend(fontsize=6)
  return fig


FIGURES = (
  Figure(
    "rates",
    "What is flagged over the threshold (mean and 95 % interval over seeds); beside it the "
    "largest softmax and Deep k-NN, on activations and on 50 components, at the same false "
    "positive rate (dots: seeds); classes in the class set of a test image by layer.",
    rates,
  ),
  Figure(
    "planes",
    "UMAP projections of training activations of the first seed by class, natural outsiders "
    "in black, centres as crosses.",
    planes,
  ),
  Figure("costs", "Silhouettes (dots: seeds), and what detection costs.", costs),
)

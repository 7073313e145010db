"""layer_cluster_ood: the pieces against slow loops, and each claim both ways."""

import jax.numpy as jnp
import numpy as np
import pytest

from configs.layer_cluster_ood import get_config
from lib.experiment import UserError, bind
from projects.layer_cluster_ood import claims, detection, experiment, figures, timing

LAYERS = ("conv_0", "conv_1", "dense")


def config_of(preset="smoke", **changes):
  return bind(get_config(preset), {k.replace("__", "."): v for k, v in changes.items()})


@pytest.fixture(scope="module")
def operands():
  return experiment.prepare(config_of())


def test_data_are_disjoint_and_letters_unlike_digits(operands):
  config = config_of()
  assert len(operands["calibration"].labels) == config.calibration_examples
  assert operands["natural"].shape == operands["test"].inputs.shape
  assert operands["train"].inputs.min() == 0 and operands["train"].inputs.max() == 1
  train = {a.tobytes() for a in np.asarray(operands["train"].inputs)}
  assert not train & {a.tobytes() for a in np.asarray(operands["calibration"].inputs)}


def test_what_is_projected(operands):
  names = experiment.codes(config_of(variants=("flat", "pool", "global")), operands)
  assert list(names)[:4] == [f"flat.{n}" for n in ("conv_0", "conv_1", "conv_2", "dense")]
  assert "pool.conv_0" in names and "pool.dense" not in names and "global.dense" in names


def test_pooling_is_the_mean_of_windows():
  x = jnp.arange(2 * 5 * 4 * 3.0).reshape(2, 5, 4, 3)
  found = experiment.vectors(x, "pool").reshape(2, 2, 2, 3)
  np.testing.assert_allclose(found[1, 1, 0], x[1, 2:4, 0:2].mean((0, 1)))


def test_batches_that_overlap_are_joined_once():
  """7 rows in batches of 3 that start at 0, 3 and 4."""
  batches = jnp.array([[0, 1, 2], [3, 4, 5], [4, 5, 6]])
  np.testing.assert_array_equal(experiment._joined(7, 3)(batches), np.arange(7))
  np.testing.assert_array_equal(experiment._joined(6, 3)(batches[:2]), np.arange(6))


def test_scores_against_the_intersection_of_sets():
  """Plausibility at most t exactly where no class is above t in the clusters of all layers."""
  rng = np.random.default_rng(0)
  n, queries, classes = 200, 40, 4
  labels = rng.integers(0, classes, n)
  clustered = {
    f"{projection}:flat.{layer}": {
      "train": (labels[None] + (rng.uniform(size=(2, n)) < 0.3)) % 5,
      "queries": rng.integers(0, 5, (2, queries)),
      "centres": rng.normal(size=(2, 5, 2)),
    }
    for projection in ("umap", "tsne", "pca")
    for layer in LAYERS
  }
  dbscan = {
    part: {f"flat.{layer}": clustered[f"umap:flat.{layer}"][part] for layer in LAYERS}
    for part in ("train", "queries")
  }
  found = detection.scores(
    layers=list(LAYERS),
    clustered=clustered,
    dbscan=dbscan,
    imitated={f"flat.{layer}": rng.normal(size=(2, queries, 2)) for layer in LAYERS},
    train_labels=labels,
    classes=classes,
    predicted=rng.integers(0, classes, (2, queries)),
    variants=("flat",),
  )
  np.testing.assert_array_equal(found["plausibility"]["dbscan"], found["plausibility"]["umap"])
  assert np.all(found["plausibility"]["consulted"] <= found["plausibility"]["umap"])
  sizes = detection.set_sizes(found["fractions"], (0.05,))[0.05]
  for seed in range(2):
    for q in range(queries):
      sets = []
      for layer in LAYERS:
        one = clustered[f"umap:flat.{layer}"]
        inside = labels[one["train"][seed] == one["queries"][seed, q]]
        sets.append({c for c in range(classes) if len(inside) and np.mean(inside == c) > 0.05})
      assert [len(s) for s in sets] == sizes[seed, q].tolist()
      empty = not set.intersection(*sets)
      assert (found["plausibility"]["umap"][seed, q] <= np.float32(0.05)) == empty


def test_dbscan_separates_blobs_and_calls_far_points_noise():
  rng = np.random.default_rng(0)
  blobs = np.concatenate([rng.normal(0, 0.2, (60, 2)), rng.normal(5, 0.2, (60, 2))])
  queries = np.array([[0.0, 0.0], [5.0, 5.0], [20.0, 0.0]])
  found = detection.dbscan(
    {"a": blobs[None]}, {"a": queries[None]}, min_samples=5, quantiles=(0.9, 0.99)
  )
  first, second, far = found["queries"]["a"][0]
  assert found["k"]["a"][0] == 2 and far == 2 and {first, second} == {0, 1}
  assert found["silhouette"]["a"][0] > 0.85


def test_credibilities_use_the_last_queries_for_calibration():
  votes = np.array([[[0, 4], [3, 2], [0, 4], [2, 3]]])  # two queries, two for calibration
  found = detection.credibilities(votes, np.array([0, 1]), 2)  # A = {0, 3}
  np.testing.assert_allclose(found[:, :2], [[1.0, 0.5]])


def test_bytes_by_hand():
  config = config_of()  # 8 components, 6 clusters, networks 8-16-2
  found = timing.stored_bytes(config, {"a": (3, 3, 2), "b": (5,)}, 10)
  assert found["dknn"].tolist() == [0, 4 * (23 + 1)]
  assert found["clusters"].tolist() == [4 * (23 * 10 + 2 * 6 * 12), 4 * 2 * 10]
  network = 9 * 16 + 17 * 2
  assert found["imitated"].tolist() == [4 * (23 * 10 + 2 * 6 * 12 + 2 * network), 0]


def test_every_way_to_detect_can_be_timed(operands):
  config = config_of(timing={"repeats": 2, "examples": (60,)})
  found = timing.measure(
    config,
    lambda x: {"a": x.reshape(len(x), -1), "b": x[:, 0, :, 0]},
    operands["test"].inputs[:20],
    {"a": 144, "b": 12},
    experiment._umap_numbers(config)[1],
    10,
  )
  assert set(found) == set(timing.WAYS)
  assert all(table.shape == (1, 2) and (table > 0).all() for table in found.values())


def made_up(good, seeds=6):
  """Results in which every claim holds, or every claim fails."""
  rng = np.random.default_rng(0)
  n, sets = 200, len(claims.SETS)

  def scores(test, others):
    """Plausibilities: shares (≤ 0.01, ≤ 0.05, ≤ 0.1) of the test set and of all others."""
    found = np.empty((seeds, sets, n), np.float32)
    for s in range(seeds):
      for i in range(sets):
        low, middle, high = np.add(test if i == 0 else others, rng.uniform(0, 0.01))
        edges = np.cumsum([0, low, middle - low, high - middle])
        u = np.arange(n) / n
        found[s, i] = np.select(
          [u < edges[1], u < edges[2], u < edges[3]], [0.005, 0.03, 0.08], 0.5
        )
    return found

  useful = scores((0.01, 0.03, 0.2), (0.4, 0.8, 0.85))
  useless = scores((0.3, 0.32, 0.32), (0.1, 0.11, 0.25))
  none = scores((0.3, 0.32, 0.32), (0.3, 0.32, 0.32))
  umap, other = (useful, none) if good else (useless, useful)

  def graded(high):
    """Deep k-NN's or softmax's score: no use for `good`, and a use otherwise."""
    base = rng.permuted(np.broadcast_to((np.arange(n) + 0.5) / n, (seeds, sets, n)), axis=-1)
    base[:, 0] += high
    return base

  def near(value):
    return value + 0.01 * rng.uniform(-1, 1, seeds)

  levels = {"umap": 0.7, "tsne": 0.45, "pca": 0.4, "pool": 0.6}
  if not good:
    levels = {"umap": 0.3, "tsne": 0.4, "pca": 0.5, "pool": 0.6}
  silhouettes = {
    f"{way}:flat.{layer}": near(levels[way])
    for way in ("umap", "tsne", "pca")
    for layer in LAYERS
  }
  silhouettes |= {f"umap:pool.{layer}": near(levels["pool"]) for layer in LAYERS}
  per_layer = {f"flat.{layer}": near(0.5) for layer in LAYERS}
  sizes = np.array((6, 3, 1) if good else (2, 3, 4))
  sizes = sizes + 0.02 * rng.uniform(size=(seeds, sets, n, 3))
  credible = graded(0.2 if good else -0.03)
  return {
    "seeds": np.arange(seeds),
    "thresholds": np.array([0.01, 0.05, 0.1]),
    "threshold": np.asarray(0.05),
    "classes": np.asarray(10),
    "test_accuracy": near(0.95),
    "accuracy": np.full((seeds, sets), 0.1),
    "confidence": graded(-2.0 if good else 2.0),
    "plausibility": {
      "umap": umap,
      "tsne": other,
      "pca": other,
      "dbscan": other,
      "imitated": umap if good else scores((0.9, 0.9, 0.9), (0.1, 0.11, 0.25)),
      "last": other,
      "consulted": other,
    },
    "set_sizes": dict.fromkeys(("0.01", "0.05", "0.1"), sizes),
    "credibility": {"dknn": credible, "dknn_pca": credible},
    "silhouette": silhouettes,
    "k": {name: np.full(seeds, 5) for name in silhouettes},
    "dbscan": {
      "silhouette": per_layer,
      "silhouette_clustered": per_layer,
      "k": {name: np.full(seeds, 7) for name in per_layer},
      "noise": per_layer,
    },
    "bytes": {
      "clusters": np.array([1000, 0 if good else 900]),
      "imitated": np.array([2000, 0]),
      "dknn": np.array([0, 800]),
      "dknn_pca": np.array([500, 204]),
    },
    "timed_examples": np.array([100, 1000]),
    "seconds": {
      way: np.full((2, 5), t * (1 if good or way == "clusters" else 0.1))
      * rng.uniform(0.99, 1.01, (2, 5))
      for way, t in {
        "network": 0.1,
        "clusters": 1,
        "imitated": 0.2,
        "dknn": 5,
        "dknn_pca": 3,
      }.items()
    },
    "example": {
      f"flat.{layer}": {
        "places": rng.normal(size=(n, 2)),
        "natural": rng.normal(size=(20, 2)),
        "centres": np.array([[0.0, 0.0], [np.inf, np.inf]]),
      }
      for layer in LAYERS
    },
    "train_labels": rng.integers(0, 10, n),
  }


GOOD, BAD = made_up(True), made_up(False)


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_comes_out_both_ways(claim, both_ways):
  both_ways(claim, GOOD, BAD)


def test_equal_false_positives_split_ties():
  """At a rate of a quarter of a tie, a quarter of the other set's tie counts."""
  plausible = np.full((1, 6, 8), 0.5)
  plausible[:, 0, :1] = 0.0  # one of eight test images is flagged
  confidence = np.full((1, 6, 8), 0.9)
  confidence[:, 0, :4] = 0.2
  confidence[:, 1:, :2] = 0.2
  results = {
    "threshold": np.asarray(0.05),
    "plausibility": {"umap": plausible},
    "confidence": confidence,
    "credibility": {},
  }
  found = claims.matched_rate(results, "fgsm", "softmax")
  np.testing.assert_allclose(found, 100 * 2 / 8 / 4)


def test_metrics_are_numbers():
  flat = claims.metrics(GOOD)
  assert all(np.ndim(value) == 0 for value in flat.values())
  np.testing.assert_allclose(flat["rate/0.05/fgsm"], 0.805, atol=0.01)
  assert "detection_s/dknn/1000" in flat


def test_what_the_paper_prints():
  """In its Table 2 every rate is above the false positive rate at the same t."""
  for table in claims.PAPER.values():
    for name in claims.OUTSIDE:
      assert all(a > b for a, b in zip(table[name], table["test"], strict=True))
  # "the best in relation to the false positive rates": not as a ratio on MNIST
  mnist = claims.PAPER["mnist"]
  ratios = [a / b for a, b in zip(mnist["natural"], mnist["test"], strict=True)]
  assert ratios[0] > ratios[1]


@pytest.mark.parametrize("figure", figures.FIGURES, ids=lambda figure: figure.name)
def test_figures_have_labelled_axes(figure):
  for results in (GOOD, {k: v for k, v in GOOD.items() if k != "seconds"}):
    fig = figure.draw(results)
    assert all(ax.get_xlabel() or ax.get_ylabel() for ax in fig.axes)


def test_impossible_numbers_are_refused():
  for changes, message in (
    ({"seeds": 0}, "seeds"),
    ({"threshold": 0.2}, "thresholds must contain"),
    ({"variants": ("pool",)}, "flat among them"),
    ({"fit_examples": 1000}, "more than train_examples"),
    ({"fit_examples": 10}, "must be more than"),
    ({"attack_batch": 100}, "attack_batch"),
  ):
    with pytest.raises(UserError, match=message):
      experiment.check(config_of(**changes))
  with pytest.raises(UserError, match="classes of images"):
    experiment.prepare(config_of(dataset="sklearn:iris"))
  with pytest.raises(UserError, match="test inputs"):
    experiment.prepare(
      config_of(
        natural={"dataset": config_of().natural.dataset, "without": "ABCDEFGHIJKLMNOPQRS"}
      )
    )

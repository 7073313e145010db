"""layer_cluster_ood: the pieces against slow loops, and each claim both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.layer_cluster_ood import get_config
from lib.experiment import UserError, bind
from lib.experiment import claims as outcomes
from projects.layer_cluster_ood import (
  checks,
  claims,
  detection,
  experiment,
  figures,
  inputs,
  quantities,
  timing,
)

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
    with_k={name: found for name, found in clustered.items() if not name.startswith("umap")},
    imitated={f"flat.{layer}": rng.normal(size=(2, queries, 2)) for layer in LAYERS},
    train_labels=labels,
    classes=classes,
    predicted=rng.integers(0, classes, (2, queries)),
    variants=("flat",),
  )
  np.testing.assert_array_equal(found["plausibility"]["dbscan"], found["plausibility"]["umap"])
  np.testing.assert_array_equal(found["plausibility"]["tsne_k"], found["plausibility"]["tsne"])
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


def test_a_query_in_a_cluster_without_training_examples_has_no_plausible_class():
  """Cluster 2: noise of DBSCAN without noise in training, or a centre that lost its points."""
  train, asked = np.array([[0, 0, 1, 1]]), np.array([[0, 2]])
  fractions, by_class = detection._plausible(train, asked, np.array([0, 0, 1, 1]), 2)
  np.testing.assert_allclose(by_class, [[1, 0], [0, 0]])
  assert fractions.shape == (1, 3, 2)


def test_clusters_with_a_given_number():
  rng = np.random.default_rng(0)
  corners = np.array([[0, 0], [9, 0], [0, 9], [9, 9]])
  places = np.repeat(corners, 20, 0) + rng.normal(0, 0.1, (80, 2))
  found = detection.clustered_with(
    config_of(), [0, 1], {"a": (places[None].repeat(2, 0),) * 2}, {"a": np.array([4, 2])}
  )["a"]
  assert [len(set(c.tolist())) for c in found["train"]] == [4, 2]
  np.testing.assert_array_equal(found["train"], found["queries"])
  assert len(set(map(tuple, found["train"][0].reshape(4, 20).tolist()))) == 4


def test_every_stage_and_attack_draws_from_its_own_key():
  """Neither the split of a seed's key that training takes, nor each other's."""
  config = config_of()
  keys = [jax.random.split(experiment._key(0, 0), 3)]
  keys += [
    jax.random.fold_in(experiment._key(0, stage), i)[None] for stage in (1, 2) for i in (0, 1)
  ]
  bits = np.concatenate([jax.random.key_data(key) for key in keys])
  assert len({tuple(b) for b in bits.tolist()}) == len(bits)
  same = {**config.attacks.pgd.to_dict(), "steps": 0}  # where the attack starts
  config = bind(
    config, {f"attacks.{n}.{k}": v for n in ("pgd", "pgd_dlr") for k, v in same.items()}
  )
  found = experiment.attack(
    config,
    lambda x: x.reshape(len(x), -1),
    jax.random.key(0),
    jnp.full((4, 2, 2, 1), 0.5),
    jnp.zeros(4, int),
  )
  assert not np.allclose(found["pgd"], found["pgd_dlr"])


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
  """Two queries, two for calibration and one more; two layers, of which the first is zero."""
  votes = np.array([[[0, 4], [3, 2], [0, 4], [2, 3], [9, 9]]])
  votes = np.stack([0 * votes, votes], 2)
  found = detection.credibilities(votes, np.array([0, 1]), 2)  # A = {0, 3}
  np.testing.assert_allclose(found["all"], [[1.0, 0.5, 1.0, 0.5, 0.0]])
  np.testing.assert_allclose(found["first"], 1.0)


def test_votes_of_layers_add_up(operands):
  config = config_of()
  neighbours = np.random.default_rng(0).integers(0, config.fit_examples, (3, 7, 5))
  found = experiment.votes(config, operands, jnp.asarray(neighbours))
  assert found.shape == (7, 3, 10)
  labels = np.asarray(operands["train"].labels)[neighbours]  # (3, 7, 5)
  np.testing.assert_array_equal(found[:, 1, 4], (labels[1] != 4).sum(1))


def test_what_detection_costs(operands):
  """Seconds are positive; bytes are those of the arrays that a way reads, by hand."""
  config = config_of(timing={"repeats": 2, "examples": (60, 80)})
  found = timing.measure(
    config,
    lambda x: {"a": x.reshape(len(x), -1), "b": x[:, 0, :, 0]},
    operands["test"].inputs[:20],
    {"a": 144, "b": 12},
    experiment._umap_numbers(config)[1],
    10,
  )
  assert set(found["seconds"]) == set(found["bytes"]) == set(timing.WAYS)
  assert all(t.shape == (2, 2) and (t > 0).all() for t in found["seconds"].values())
  projections = 4 * 156 * (8 + 2)  # 8 components, 6 clusters, networks 8-16-2 and a scale
  clusters, networks = 4 * 2 * 6 * 12, 4 * 2 * (9 * 16 + 17 * 2 + 1)
  labels, calibration = 4, 4 * config.calibration_examples
  results = found | {"timed_examples": np.array([60, 80])}
  for way, each, fixed in (
    ("clusters", 4 * 2 * 10, projections + clusters),
    ("imitated", 0, projections + clusters + networks),
    ("dknn", 4 * 156 + labels, calibration),
    ("dknn_pca", 4 * 2 * 8 + labels, projections + calibration),
  ):
    slope, total = quantities.kept(results, way)
    assert (slope, total[0]) == (each, fixed + 60 * each), way


def made_up(good, seeds=6):
  """Results in which every claim holds, or every claim fails."""
  rng = np.random.default_rng(0)
  n, sets = 200, len(inputs.SETS)

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

  levels = {"umap": 0.7, "tsne": 0.43, "pca": 0.4, "pool": 0.6}
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
  sizes = sizes + (rng.uniform(size=(seeds, sets, n, 3)) < 0.02)
  credible = graded(0.2 if good else -0.03)
  return {
    "seeds": np.arange(seeds),
    "thresholds": np.array([0.01, 0.05, 0.1]),
    "threshold": np.asarray(0.05),
    "dataset": np.asarray("tfds:mnist"),
    "test_accuracy": near(0.95),
    "accuracy": {
      name: near(0.05 if good else 0.3) for name in inputs.SETS if name != "natural"
    },
    "confidence": graded(-2.0 if good else 2.0),
    "plausibility": {
      "umap": umap,
      "tsne": other,
      "pca": other,
      "tsne_k": other,
      "pca_k": other,
      "pool": other,
      "dbscan": other,
      "imitated": umap if good else scores((0.9, 0.9, 0.9), (0.1, 0.11, 0.25)),
      "last": other,
      "consulted": other,
    },
    "set_sizes": dict.fromkeys(("0.01", "0.05", "0.1"), sizes),
    "credibility": {"dknn": credible, "dknn_pca": credible},
    "first_layer": {
      way: graded(0.5 if good == (way == "umap") else 0.0)
      for way in ("umap", "dknn", "dknn_pca")
    },
    "known": {
      "plausibility": rng.uniform(0 if not good else 0.06, 0.07, (seeds, n)),
      "accuracy": near(0.5),
    },
    "silhouette": silhouettes,
    "k": {name: np.full(seeds, 5) for name in silhouettes},
    "dbscan": {
      "silhouette": per_layer,
      "silhouette_clustered": per_layer,
      "k": {name: np.full(seeds, 7) for name in per_layer},
      "noise": per_layer,
    },
    "bytes": {
      way: fixed + each * np.array([100, 1000])
      for way, fixed, each in (
        ("network", 0, 0),
        ("clusters", 1000, 0 if good else 900),
        ("imitated", 2000, 0),
        ("dknn", 0, 800),
        ("dknn_pca", 500, 204),
      )
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
  bad = dict(BAD)
  if claim.id == "control_silhouette":  # the worse silhouette detects more
    bad = GOOD | {"silhouette": BAD["silhouette"]}
  if claim.id == "tsne_over_pca":
    bad = GOOD | {"silhouette": BAD["silhouette"]}
  good = dict(GOOD)
  if claim.id == "low_rates":  # what is good elsewhere is too high here
    svhn = {"dataset": np.asarray("tfds:svhn_cropped")}
    good, bad = BAD | svhn, GOOD | svhn
  both_ways(claim, good, bad)


def decided(check, results):
  return check(results).verdict


def test_a_detector_that_flags_nothing_or_everything_detects_nothing():
  for level in (1.0, 0.0):
    flat = {way: np.full_like(a, level) for way, a in GOOD["plausibility"].items()}
    found = decided(checks.most_detected, GOOD | {"plausibility": flat})
    assert found == outcomes.NOT_REPRODUCED
  assert decided(checks.most_detected, GOOD) == outcomes.REPRODUCED


def test_equal_scores_lose_nothing():
  """What is claimed is "not below", so that the same scores reproduce it."""
  same = {"consulted": GOOD["plausibility"]["umap"]}
  results = GOOD | {"plausibility": GOOD["plausibility"] | same}
  assert decided(checks.not_consulted, results) == outcomes.REPRODUCED


def test_an_imitation_with_more_false_positives_does_not_detect_as_much():
  """It flags 5 points more of everything: more by its rates, less at equal false positives."""
  plausible = GOOD["plausibility"]["umap"]
  worse = np.random.default_rng(1).permuted(plausible, axis=-1)
  worse[:, 1:] = np.where(worse[:, 1:] <= 0.05, 0.2, worse[:, 1:])
  worse[:, 0, :400] = 0.2
  results = GOOD | {"plausibility": GOOD["plausibility"] | {"imitated": worse}}
  assert decided(checks.imitation, results) != outcomes.REPRODUCED


def test_a_difference_that_is_not_slight():
  table = {
    name: a + 0.2 if name.startswith("tsne") else a for name, a in GOOD["silhouette"].items()
  }
  found = checks.tsne_slightly_over_pca(GOOD | {"silhouette": table})
  assert found.verdict == outcomes.PARTLY and "better: reproduced" in found.why


def test_no_or_two_classes_are_not_one():
  """Their mean is one, but no image has one class."""
  sizes = np.zeros((6, 6, 10, 3), int)
  sizes[:, :, ::2] = 2
  results = GOOD | {"set_sizes": {"0.05": sizes}}
  assert decided(checks.one_class_last, results) == outcomes.NOT_REPRODUCED


def test_what_was_not_run_is_not_tested():
  assert decided(checks.low_rates, GOOD) == outcomes.NOT_TESTED
  bare = {k: v for k, v in GOOD.items() if k not in ("known", "seconds", "bytes")}
  for check in (
    checks.letters_over_digits,
    checks.timed("dknn"),
    checks.smaller("dknn"),
    checks.no_training_set,
  ):
    assert decided(check, bare) == outcomes.NOT_TESTED


def test_repeats_of_one_network_are_one_seed():
  assert checks.timed("dknn")(GOOD).seeds == 1


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
  found = quantities.matched_rate(results, "fgsm", "softmax")
  np.testing.assert_allclose(found, 100 * 2 / 8 / 4)


def test_metrics_are_numbers():
  flat = claims.metrics(GOOD)
  assert all(np.ndim(value) == 0 for value in flat.values())
  np.testing.assert_allclose(flat["rate/0.05/fgsm"], 0.805, atol=0.01)
  assert flat["bytes/dknn/1000"] == 800_000 and flat["bytes_an_example/dknn"] == 800
  assert "detection_s/dknn/1000" in flat


@pytest.mark.parametrize("figure", figures.FIGURES, ids=lambda figure: figure.name)
def test_figures_have_labelled_axes(figure):
  for results in (GOOD, {k: v for k, v in GOOD.items() if k not in ("seconds", "bytes")}):
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
    ({"attack_batch": 0}, "attack_batch"),
    ({"kmeans__least": 1}, "kmeans.least is 1"),
    ({"kmeans__least": 9}, "kmeans.largest is 6"),
    ({"kmeans__restarts": 0}, "kmeans.restarts"),
    ({"dimensions": 1}, "dimensions"),
    ({"tsne__perplexity": 500.0}, "perplexity"),
    ({"tsne__batch": 0}, "tsne.batch"),
    ({"umap__n_neighbors": 1}, "n_neighbors"),
    ({"umap__epochs": 0}, "umap.epochs"),
    ({"dbscan__min_samples": 0}, "min_samples"),
    ({"dbscan__quantiles": ()}, "quantiles"),
    ({"attacks__fgsm__radius": -1.0}, "attacks.fgsm.radius"),
    ({"thresholds": (0.05,)}, "two or more"),
    ({"thresholds": (0.05, 2.0)}, "below 1"),
    ({"timing": {"repeats": 2, "examples": (3, 60)}}, "timing.examples"),
    ({"timing": {"repeats": 1, "examples": (60, 90)}}, "two repeats"),
  ):
    with pytest.raises(UserError, match=message):
      inputs.check(config_of(**changes))
  with pytest.raises(UserError, match="classes of images"):
    experiment.prepare(config_of(dataset="sklearn:iris"))
  with pytest.raises(UserError, match="test inputs"):
    experiment.prepare(config_of(natural__without=tuple("ABCDEFGHIJKLMNOPQRS")))
  with pytest.raises(UserError, match="no test split"):
    inputs._first(config_of(), "sklearn:digits", (8, 8, 1))


@pytest.mark.parametrize("preset", ["smoke", "default", "mnist_cpu", "paper", "svhn"])
def test_presets_make_sense(preset):
  inputs.check(get_config(preset))


def test_known_classes_are_asked_last():
  """They are those of the training set, not the letters, and come after the calibration."""
  config = config_of(natural__known=config_of().dataset)
  found = experiment.prepare(config)
  assert len(found["known"].labels) == config.test_examples
  assert experiment._count(config) == experiment._count(config_of()) + config.test_examples
  np.testing.assert_array_equal(found["known"].inputs, found["test"].inputs)

"""Labels, training and evaluation against slow versions, each claim both ways, smoke."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.csls import get_config
from lib import losses
from lib.calibration import dirichlet
from lib.experiment import UserError, bind
from lib.experiment import claims as check
from lib.metrics import calibration as measure
from projects.csls import claims, experiment, figures, measures, methods
from projects.csls import quantities as q

SEEDS = 8


def operands_of(config, seeds=(0, 1)):
  """What `run` gives to the members."""
  operands = experiment.prepare(config)
  draw = jax.vmap(lambda seed: experiment.draw(bind(config, {"seed": seed}), operands))
  kept = {k: v for k, v in operands.items() if k not in ("pool", "test")}
  return kept | {"draws": jax.jit(draw)(jnp.array(seeds)), "first_seed": jnp.asarray(seeds[0])}


def tiny(**changes):
  sizes = {"data.train": 300, "data.validation": 200, "data.test": 400, "train.epochs": 2}
  return experiment.with_labels(bind(get_config("smoke"), sizes | changes))


# --- labels


def test_label_matrices_of_every_kind():
  config = tiny()
  d = jax.random.uniform(jax.random.key(0), (7, 20, 20)) + 0.1
  for name in methods.KINDS:
    labels = methods.smooth(name, 0.1, 2.0)
    bound = bind(config, {f"labels.{k}": v for k, v in labels._asdict().items()})
    y = experiment.label_matrix(bound, d)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-5)
    if name in ("l1", "l2", "ae", "we", "shuffled", "we_other"):
      s = losses.class_similarities(d[methods.KINDS.index(name)], 2.0, name == "we_other")
      np.testing.assert_allclose(y, 0.9 * np.eye(20) + 0.1 * s, atol=1e-6)
  np.testing.assert_allclose(y, losses.uniform_labels(20, 0.1, own_share=False), atol=1e-6)
  uniform = bind(config, {"labels.kind": methods.KINDS.index("uniform"), "labels.alpha": 0.3})
  np.testing.assert_allclose(
    experiment.label_matrix(uniform, d), losses.uniform_labels(20, 0.3), atol=1e-6
  )


def test_members_of_the_default():
  grid = get_config().grid
  found = methods.members(grid, methods.KINDS[:7])
  assert len(found) == 2 + 5 + 6 + 6 * 5 + 5 + 1 == len(set(found)) == 49
  assert found["onehot"].alpha == 0 and found["mixup@0.2"].mixup == 0.2
  assert found["we@0.1,2"] == (3, 0.1, 2.0, 0.0)
  assert methods.members(grid, ("l2",)).keys() & {"we@0.1,2", "oracle@0.1,2"} == set()


def test_distances_of_a_draw():
  config = tiny()
  operands = operands_of(config)
  found = jax.jit(lambda seed: experiment.distances(bind(config, {"seed": seed}), operands))(1)
  draw = jax.tree.map(lambda x: x[1], operands["draws"])
  x, y = map(np.asarray, draw.train)
  a, b = x[y == 2], x[y == 7]
  exact = np.linalg.norm(a[:, None] - b, axis=-1).mean()
  np.testing.assert_allclose(found["l2"][2, 7], exact, rtol=1e-3)
  exact = np.abs(a[:, None] - b).sum(-1).mean()
  np.testing.assert_allclose(found["l1"][7, 2], exact, rtol=1e-3)
  # classes of a group (same remainder) are nearer in embedding and in pixels
  same = (np.arange(20)[:, None] - np.arange(20)) % 5 == 0
  for name in ("l2", "we", "ae"):
    inside = found[name][same & ~np.eye(20, dtype=bool)].mean()
    assert inside < found[name][~same].mean(), name
  np.testing.assert_allclose(
    np.sort(found["shuffled"].ravel()), np.sort(found["we"].ravel()), rtol=1e-5
  )
  np.testing.assert_allclose(found["oracle"].sum(1), 1, rtol=1e-4)


# --- training


def test_training_is_that_of_its_labels_and_paired():
  config = tiny()
  operands = operands_of(config)
  operands["distances"] = jnp.ones((2, 7, 20, 20))
  keys = ["seed", *(f"labels.{field}" for field in methods.Labels._fields)]

  @jax.jit
  @jax.vmap
  def run(row):
    bound = bind(
      config, dict(zip(keys, [row[0].astype(int), row[1].astype(int), *row[2:]], strict=True))
    )
    return experiment.TRAINING(bound, operands)

  onehot, nothing = methods.smooth("uniform", 0.0), methods.smooth("l1", 0.0, 3.0)
  matched, equal = methods.smooth("uniform_matched", 0.2), methods.smooth("l2", 0.2, 3.0)
  rows = [(0, *onehot), (0, *nothing), (0, *matched), (0, *equal), (1, *onehot)]
  found = run(jnp.array(rows, jnp.float32))["plain"]
  nll = np.asarray(found["nll"])
  np.testing.assert_allclose(nll[0], nll[1], rtol=1e-5)  # α = 0 is one-hot whatever the kind
  np.testing.assert_allclose(nll[2], nll[3], rtol=1e-4)  # equal distances are uniform labels
  assert len(np.unique(np.round(nll, 4))) == 3


def test_dirichlet_takes_the_penalty_of_the_least_held_out_loss():
  config = tiny(**{"dirichlet.penalties": (1e-3, 1e-1, 1e2), "dirichlet.iterations": 60})
  rng = np.random.default_rng(0)
  z = jnp.asarray(3 * rng.normal(size=(200, 4)), jnp.float32)
  y = jnp.asarray(
    (np.asarray(jax.nn.softmax(z / 3)).cumsum(1) > rng.uniform(size=(200, 1))).argmax(1)
  )
  fit = jax.jit(lambda z, y, p: dirichlet.fit(z, y, p, p, 60))
  held_out = []
  for p in config.dirichlet.penalties:
    scores = np.asarray(dirichlet.scores(fit(z[:100], y[:100], p), z[100:]))
    held_out.append(-np.log(scores[np.arange(100), y[100:]]).mean())
  best = config.dirichlet.penalties[int(np.argmin(held_out))]
  parameters, penalty = jax.jit(lambda z, y: experiment._dirichlet(config, z, y))(z, y)
  np.testing.assert_allclose(penalty, best, rtol=1e-6)
  np.testing.assert_allclose(parameters.matrix, fit(z, y, best).matrix, atol=2e-3)


def test_quality_of_known_scores():
  config = get_config()
  rng = np.random.default_rng(0)
  z = rng.normal(size=(20_000, 5))
  p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
  y = (p.cumsum(1) > rng.uniform(size=(len(p), 1))).argmax(1)
  split = experiment.training.Split(None, jnp.asarray(y))
  scores = jnp.asarray(p, jnp.float32)
  found = jax.jit(lambda s: measures.quality(config, s, split, s))(scores)
  assert max(float(found[k]) for k in ("histogram", "kde")) < 0.02
  assert abs(float(found["true"])) < 1e-6 and float(found["divergence"]) < 1e-6
  np.testing.assert_allclose(found["accuracy"], (p.argmax(1) == y).mean())
  np.testing.assert_allclose(found["nll"], -np.log(p[np.arange(len(y)), y]).mean(), rtol=1e-5)
  np.testing.assert_allclose(
    found["histogram_output"], 5 * found["histogram_output_printed"], rtol=1e-5
  )
  exact = measure.pooled(measure.ece)(scores, jnp.asarray(y), bins=15, closed="right")
  np.testing.assert_allclose(found["histogram_output"], exact, rtol=1e-5)


def test_digits_and_residual_networks_trace():
  config = experiment.with_labels(
    bind(get_config("digits"), {"model.name": "resnet", "model.depth": 8, "model.width": 4})
  )
  operands = operands_of(config)
  assert operands["draws"].train.inputs.shape == (2, 300, 8, 8, 1)
  np.testing.assert_allclose(operands["draws"].train.inputs[0].mean(), 0, atol=1e-4)
  operands["distances"] = jnp.ones((2, 7, 10, 10))
  shapes = jax.eval_shape(
    lambda seed: experiment.TRAINING(bind(config, {"seed": seed}), operands), 0
  )
  assert shapes["plain"]["histogram"].shape == ()


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"seeds": 0}, "seeds is 0"),
    ({"grid.alphas": (0.1, 1.5)}, "grid.alphas"),
    ({"grid.betas": (-1.0,)}, "negative"),
    ({"model.name": "vit"}, "choose mlp or resnet"),
    ({"mixture.classes": 2}, "at least 3"),
    ({"grid.betas": ()}, "grid.betas is empty"),
    ({"grid.mixups": (0.0,)}, "have to be positive"),
    ({"unseen": "sklearn:digits"}, "draw their own"),
    ({"dataset": "sklearn:digits", "unseen": "sklearn:wine"}, "inputs of unseen"),
    ({"dirichlet.penalties": ()}, "dirichlet.penalties is empty"),
    ({"data.validation": 1}, "at least 2"),
    ({"data.test": 0}, "data.test is 0"),
    ({"dataset": "sklearn:digits", "data.test": 10_000}, "1797 examples"),
    (
      {
        "dataset": "sklearn:digits",
        "data.train": 90,
        "data.validation": 500,
        "data.test": 900,
        "train.batch": 100,
      },
      "larger than the 90 examples",
    ),
    ({"dataset": "sklearn:diabetes"}, "a regression"),
    ({"dataset": "sklearn:digits", "embeddings": "missing.npy"}, "cannot be read"),
  ],
)
def test_mistakes_end_in_one_sentence(changes, message):
  with pytest.raises(UserError, match=message):
    experiment.prepare(bind(get_config("smoke"), changes))


def test_embeddings_are_one_array(tmp_path):
  np.savez(tmp_path / "names.npz", a=np.ones((10, 3)))
  config = bind(get_config("digits"), {"embeddings": str(tmp_path / "names.npz")})
  with pytest.raises(UserError, match="holds several arrays"):
    experiment.prepare(config)


def test_a_class_without_examples_is_refused():
  config = tiny(**{"data.distances": 1})
  draws = operands_of(config)["draws"]
  with pytest.raises(
    UserError, match=r"has no example.*data\.train or data\.distances larger"
  ):
    experiment._refuse_absent(config, draws, 20)
  experiment._refuse_absent(tiny(), draws, 20)


def test_unseen_images_are_those_of_another_set():
  config = bind(get_config("digits"), {"unseen": "sklearn:digits"})
  draws = operands_of(config)["draws"]
  assert draws.unseen.shape == (2, 1797, 8, 8, 1)
  assert operands_of(get_config("digits"))["draws"].unseen is None


def test_numbers_that_every_member_replaces_are_not_in_the_config():
  assert set(get_config().labels) == {"with_self"}
  assert set(tiny().labels) == {"with_self", *methods.Labels._fields}


# --- claims


def made_up(good: bool):
  """Results in which word embeddings win everything, or lose."""
  rng = np.random.default_rng(0)
  grid = get_config().grid
  found = methods.members(grid, methods.KINDS[:7])
  best = 0.02
  levels = {
    "onehot": 0.2,
    "mixup": 0.05,
    "uls_matched": 0.05,
    "uls": 0.04,
    "l1": 0.035,
    "l2": 0.03,
    "ae": 0.028,
    "we": best,
    "shuffled": 0.08,
    "we_other": 0.021,
    "oracle": 0.02,
    "dirichlet": 0.03,
    "ets": 0.03,
    "ets_mse": 0.03,
  }
  if not good:
    levels = {name: 0.25 - level for name, level in levels.items()}
    levels |= dict.fromkeys(methods.POST_HOC[1:], 0.1) | {"shuffled": 0.12, "uls": 0.15}
    levels |= {"we_other": 0.3, "mixup": 0.17}

  def entry(level, factor=1.0, excess=0.0):
    level = level * factor * np.exp(0.01 * rng.normal(size=SEEDS))
    score = np.tile(np.linspace(0, 1, 15), (SEEDS, 1))
    hit = score - (level if good else -level)[:, None]
    history = np.linspace(1, 2, 5)[None] * level[:, None]
    accuracy = 0.6 + 0.001 * rng.normal(size=SEEDS)
    return {
      "histogram": level,
      "histogram_output": (2.0 if good else 5.0) * level,
      "kde": level * (1.05 if good else 3.0),
      "kde_output": (2.0 if good else 5.0) * level * (2.0 if good else 1.01),
      "histogram_output_printed": level,
      "validation_histogram": level,
      "accuracy": accuracy,
      "nll": level,
      "confidence": accuracy + excess,
      "confidence_unseen": level,
      "confidence_noise": level,
      "true": level,
      "divergence": level,
      "temperature": level,
      "bin_score": score,
      "bin_hit": hit,
      "bin_score_output": score,
      "bin_hit_output": hit,
      "test_ece_history": history,
      "test_nll_history": history,
      "validation_nll_history": history,
      "test_accuracy_history": np.tile(np.linspace(0.4, 0.6, 5), (SEEDS, 1)),
      "validation_accuracy_history": np.tile(np.linspace(0.4, 0.6, 5), (SEEDS, 1)),
    }

  results = {}
  for name, labels in found.items():
    kind = name.split("@")[0]
    away = abs(np.log(max(labels.alpha, 1e-3) / 0.1)) + abs(np.log(max(labels.beta, 1) / 2))
    away += 0.5 * (labels.beta < 1) * good
    if "@" not in name or kind in ("oracle", "mixup"):
      away = 0
    excess = np.log(0.1 / max(labels.alpha, 1e-3)) * (0.05 if good else -0.05)
    factor = 1 + 0.5 * away if good else 1 / (1 + 0.1 * away)
    results[name] = entry(levels[kind], factor, excess)
    if kind in ("we", "uls") and not good:
      results[name] |= {k: results[name][k] - 0.1 for k in ("accuracy", "confidence")}
  for name in methods.POST_HOC[1:]:
    results[name] = entry(levels[name])
    results[name] |= {"penalty": np.full(SEEDS, 10.0), "weights": np.eye(3)[[0] * SEEDS]}
  scaled = {
    name: entry(float(found["histogram"].mean()) if name != "onehot" else 0.03)
    for name, found in results.items()
  }
  if not good:
    scaled["onehot"] = entry(0.06)
  return {
    "seeds": np.arange(SEEDS),
    "alpha": np.asarray(0.1),
    "beta": np.asarray(2.0),
    "alphas": np.array(grid.alphas),
    "betas": np.array(grid.betas),
    "mixup": np.asarray(grid.mixup),
    "mixups": np.array(grid.mixups),
    "penalties": np.array(get_config().dirichlet.penalties),
    "methods": results,
    "scaled": scaled,
  }


GOOD, BAD = made_up(True), made_up(False)


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_comes_out_both_ways(claim, both_ways):
  both_ways(claim, GOOD, BAD)


def test_what_the_data_do_not_have_is_not_tested():
  kept = {k: v for k, v in GOOD["methods"].items() if not k.startswith(("we", "shuffled"))}
  less = GOOD | {"methods": kept}
  assert not q.there(less, "we")
  for claim in claims.CLAIMS:
    if claim.id.startswith("we_") or claim.id == "beta_u_shaped":
      assert claim.check(less).verdict == check.NOT_TESTED
  assert all(np.isfinite(v) for v in claims.metrics(less).values())


def test_selection_uses_validation_data_of_each_seed():
  names = ["we@0.1,0.5", "we@0.1,1"]
  values = {"validation_histogram": [[0.1, 0.3], [0.2, 0.2]], "histogram": [[5, 6], [7, 8]]}
  results = {
    "alpha": 0.1,
    "beta": 2.0,
    "alphas": np.array([0.1]),
    "betas": np.array([0.5, 1.0]),
    "seeds": np.arange(2),
    "methods": {
      name: {key: np.array(rows[i]) for key, rows in values.items()}
      for i, name in enumerate(names)
    },
  }
  np.testing.assert_array_equal(q.value(results, "we", "histogram"), [5, 8])


def test_one_hot_training_stopped():
  epoch = q.epoch_of_equal_accuracy(GOOD, "we")
  np.testing.assert_array_equal(epoch, 4)
  np.testing.assert_array_equal(q.epoch_of_least_loss(GOOD), 0)
  onehot = GOOD["methods"]["onehot"]
  np.testing.assert_array_equal(
    q.stopped(GOOD, epoch, "ece"), onehot["test_ece_history"][:, 4]
  )
  np.testing.assert_array_equal(
    q.ended(GOOD, "onehot", "accuracy"), onehot["test_accuracy_history"][:, -1]
  )


def test_papers_table_says_what_the_claims_say():
  rows = [(name, np.array(of)) for name, table in claims.PAPER.items() for of in table]
  column = {name: i for i, name in enumerate(q.TABLE)}
  we = column["we"]
  assert all(row.argmax() == column["onehot"] for _, row in rows)
  assert sum(row.argmin() == we for _, row in rows) == 9 and len(rows) == 12
  for other in ("uls", "mixup", "l1", "l2", "ae"):
    assert all(row[we] < row[column[other]] for _, row in rows)
  for network, table in claims.PAPER.items():
    below = [row[column[m]] < row[column["uls"]] for row in table for m in ("l1", "l2", "ae")]
    assert all(below) == (network == "WRN")
    assert 1.5 < table[1][0] / table[0][0] < 2.5


def test_beta_has_its_minimum_inside_where_validation_data_say():
  """The minimum is chosen on validation data and compared on test data."""
  claim = next(claim for claim in claims.CLAIMS if claim.id == "beta_u_shaped")
  assert "at β = 2" in claim.check(GOOD).quantity
  best = GOOD["methods"]["we@0.1,1"] | {"validation_histogram": np.full(SEEDS, 1e-3)}
  found = claim.check(GOOD | {"methods": GOOD["methods"] | {"we@0.1,1": best}})
  assert "at β = 1" in found.quantity


def test_a_penalty_at_an_edge_of_the_grid_shows():
  assert claims.metrics(GOOD)["chosen_at_an_edge/dirichlet"] == 0
  edge = GOOD["methods"]["dirichlet"] | {"penalty": np.full(SEEDS, 1000.0, np.float32)}
  results = GOOD | {"methods": GOOD["methods"] | {"dirichlet": edge}}
  assert claims.metrics(results)["chosen_at_an_edge/dirichlet"] == 1


def test_without_unseen_classes_nothing_is_said_of_them():
  less = {
    name: {k: v for k, v in of.items() if k != "confidence_unseen"}
    for name, of in GOOD["methods"].items()
  }
  results = GOOD | {"methods": less}
  claim = next(claim for claim in claims.CLAIMS if claim.id == "unseen_confidence")
  assert claim.check(results).verdict == check.NOT_TESTED
  assert "confidence_unseen/we" not in claims.metrics(results)
  legend = figures.confidence(results).axes[0].get_legend()
  assert [text.get_text() for text in legend.get_texts()] == ["test", "noise"]


def test_output_calibration_does_not_imply_prediction_calibration():
  """Sec. 3.1 says it does; here every score of every class is right, the greatest are not."""
  vectors = np.array([[8, 7, 5], [8, 10, 2], [10, 7, 3]]) / 20
  hits = np.array([[14, 1, 5], [2, 16, 2], [4, 13, 3]])  # of 20 examples each
  scores, labels = [], []
  for vector, hit in zip(vectors, hits, strict=True):
    for order in itertools.permutations(range(3)):
      scores += [vector[list(order)]] * 20
      labels += [place for place, k in enumerate(order) for _ in range(hit[k])]
  scores, labels = np.array(scores, np.float32), np.array(labels)
  for k in range(3):
    for p in np.unique(scores):
      at = scores[:, k] == p
      np.testing.assert_allclose(np.mean(labels[at] == k), p, atol=1e-6)
  assert float(measure.pooled(measure.ece)(scores, labels, closed="right")) < 1e-5
  found = measure.confidence(measure.ece)(scores, labels, closed="right")
  np.testing.assert_allclose(found, 0.1, atol=1e-5)


@pytest.mark.parametrize("figure", figures.FIGURES, ids=lambda figure: figure.name)
def test_figures_have_labelled_axes(figure):
  assert all(ax.get_xlabel() for ax in figure.draw(GOOD).axes)


def test_smoke_preset_end_to_end(command, comparable, tmp_path):
  run = ("-m", "projects.csls.main", "--config=configs/csls.py:smoke")
  done = command.run(*run, f"--workdir={tmp_path}/a")
  assert done.returncode == 0, done.stderr
  results = json.loads((tmp_path / "a" / "results.json").read_text())
  assert results["project"] == "csls" and len(results["claims"]) == len(claims.CLAIMS)
  assert {p.stem for p in (tmp_path / "a/figures").glob("*.png")} == {
    figure.name for figure in figures.FIGURES
  }
  again = command.run(*run, f"--workdir={tmp_path}/b")
  assert again.returncode == 0, again.stderr
  assert comparable(tmp_path / "a/results.json") == comparable(tmp_path / "b/results.json")

"""Training against plain loops, schedules of all methods, the printed tables, every claim."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.typicality_curriculum import get_config
from lib.data import tables
from lib.experiment import UserError, bind
from lib.experiment import claims as check
from projects.typicality_curriculum import checks, claims, experiment, figures, methods
from projects.typicality_curriculum import quantities as q
from tests.conftest import SHARED

# --- pieces


def small(classes=3, rows=60):
  config = bind(
    get_config("smoke"), {"seeds": 2, "epochs": 2, "batch": 8, "learning_rate": 0.05}
  )
  table = tables.generate(1, rows, 0.3, numbers=3, categorical=1, classes=classes, missing=0.1)
  return config, jax.tree.map(jnp.asarray, experiment.split_table(config, table))


def test_names_and_numbers_of_updates():
  assert len(set(q.NAMES)) == len(q.NAMES) == 35 and methods.BASELINE in q.NAMES
  count = {
    s: experiment.updates(get_config(), s, 381) for s in ("chunks", "single", "growing")
  }
  assert count == {"chunks": 12, "single": 381, "growing": 89}


def test_operands_hold_disjoint_rows_encoded_by_the_training_rows():
  _, operands = small()
  assert operands["x"].shape[:2] == (2, 40) and operands["x_held"].shape[:2] == (2, 20)
  np.testing.assert_allclose(operands["x"].mean(1), 0, atol=1e-5)
  assert not np.isnan(operands["raw"]).any() and not operands["present"].all()


def test_an_empty_batch_is_no_update_and_masks_are_plain_gradients():
  config, operands = small()
  own = experiment.of_seed(config, operands)
  layer = experiment.Layer(jnp.ones((own["x"].shape[1], 3)) * 0.1, jnp.zeros(3))
  x, y = jnp.asarray(own["x"]), jnp.asarray(own["y"])
  gradient = jax.grad(experiment.batch_loss)
  some = jnp.array([3, 7, 9])
  weight = jnp.zeros(40).at[some].set(1.0)
  whole, part = gradient(layer, x, y, weight), gradient(layer, x[some], y[some], jnp.ones(3))
  np.testing.assert_allclose(whole.kernel, part.kernel, atol=1e-6)
  p = jax.nn.softmax(experiment.logits(layer, x[some]))
  by_hand = x[some].T @ (p - jax.nn.one_hot(y[some], 3)) / 3
  np.testing.assert_allclose(part.kernel, by_hand, atol=1e-6)
  trained = layer, experiment.optimizer(0.05).init(layer)
  after = experiment.update(0.05, trained, x, y, jnp.zeros(40))
  assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), after, trained))
  used = experiment.update(0.05, trained, x, y, weight)
  assert used[1][0].count == 1 and not jnp.all(used[0].kernel == layer.kernel)


def test_two_classes_are_one_sigmoid_unit():
  layer = experiment.Layer(jnp.array([[0.7], [-0.2]]), jnp.array([0.1]))
  x = jnp.array([[1.0, 2.0], [-1.0, 0.5]])
  z = np.array([0.7 - 0.4 + 0.1, -0.7 - 0.1 + 0.1])
  np.testing.assert_allclose(
    jax.nn.softmax(experiment.logits(layer, x))[:, 1], 1 / (1 + np.exp(-z)), rtol=1e-5
  )


def plain_training(config, own, batches, kernel, bias):
  """Adam in NumPy, one batch of row indices after the other."""
  moments = [np.zeros_like(kernel), np.zeros_like(bias)] * 2
  for t, rows in enumerate(batches, 1):
    x, y = np.asarray(own["x"], np.float64)[rows], np.asarray(own["y"])[rows]
    z = x @ kernel + bias
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    for i, (value, g) in enumerate(((kernel, x.T @ p / len(y)), (bias, p.mean(0)))):
      moments[i] = 0.9 * moments[i] + 0.1 * g
      moments[2 + i] = 0.999 * moments[2 + i] + 0.001 * g**2
      first, second = moments[i] / (1 - 0.9**t), moments[2 + i] / (1 - 0.999**t)
      value -= config.learning_rate * first / (np.sqrt(second) + 1e-7)
  return kernel, bias


def test_training_is_adam_on_the_batches_of_the_paper():
  """Two epochs of the compiled run against batches written out by hand."""
  config, operands = small()
  found = jax.jit(lambda: run_state(config, operands))()
  start, end = found
  own = experiment.of_seed(config, operands)
  orders = dict(zip((*methods.ORDERS, *methods.OTHER), np.asarray(start.orders), strict=True))
  chunk = {c: [o[i : i + 8] for i in range(0, 40, 8)] for c, o in orders.items()}
  expected = {
    ("br", "mb", "degree"): 2 * chunk["degree"],
    ("br", "br", "entropy"): 2 * [b for b in chunk["entropy"] for _ in range(4)],
    ("ogd", "ogd", "adjusted"): 2 * [[i] for i in orders["adjusted"]],
    ("rur", "rur", "random"): 2 * [orders["random"][:k] for k in range(8, 41, 4)],
    ("br", "mb", "degree_other"): 2 * chunk["degree_other"],
  }
  for (loop, track, order), batches in expected.items():
    names = dict(methods.LOOPS[loop])[track]
    index = names.index(order)
    layer = end.trained[loop][track][0]
    first = (np.array(a[index], np.float64) for a in start.trained[loop][track][0])
    kernel, bias = plain_training(config, own, batches, *first)
    np.testing.assert_allclose(
      layer.kernel[index], kernel, atol=5e-4, err_msg=f"{track} {order}"
    )
    np.testing.assert_allclose(layer.bias[index], bias, atol=5e-4)
  fast = end.trained["br"]["fast"]
  assert int(fast[1][0].count[0]) == 10
  # Adam's first steps are as long as its rate: ten of 0.01
  moved = np.abs(fast[0].kernel - start.trained["br"]["fast"][0].kernel).max()
  assert 0.05 < moved < 0.12
  counts = {t: int(end.trained[loop][t][1][0].count[0]) for loop, t in LONG}
  assert counts == {"ogd": 80, "mb": 10, "br": 40, "rur": 18}
  for loop, track in LONG:  # the longer baseline makes as many
    if track != "mb":
      assert int(end.trained[loop]["long"][1][0].count[0]) == counts[track]


LONG = (("ogd", "ogd"), ("br", "mb"), ("br", "br"), ("rur", "rur"))


def run_state(config, operands):
  """The state before and after two epochs."""
  start = experiment.init(config, operands)
  state, _ = experiment.step(config, operands, start)
  state, _ = experiment.step(config, operands, state)
  return start, state


def test_orders_see_the_training_rows_alone_and_run_from_typical_to_atypical():
  config, operands = small(rows=90)
  orders, measured = jax.jit(
    lambda key: experiment.all_orders(config, experiment.of_seed(config, operands), key)
  )(jax.random.key(0))
  assert orders.shape == (len(methods.ORDERS) + 3, 60)
  for order in np.asarray(orders):
    np.testing.assert_array_equal(np.sort(order), np.arange(60))
  assert 0.3 < measured["edges"] < 0.7
  assert measured["drift"].shape == (9,) and np.all(measured["drift"] <= 1)


def test_noisy_tables_differ_in_labels_alone_with_or_without_options():
  for name in ("mixed:noise", "mixed:noise?rows=300&classes=2"):
    config = bind(get_config("smoke"), {"seeds": 2, "noise.table": name})
    clean, noisy = (experiment.noisy_tables(config)[share, 11] for share in (0.0, 0.2))
    np.testing.assert_array_equal(clean["raw"], noisy["raw"])
    assert 0.1 < np.mean(clean["y"] != noisy["y"]) < 0.3


def test_drift_by_hand():
  labels = jnp.array([0, 0, 1, 1])
  orders = jnp.array([[0, 1, 2, 3], [0, 2, 1, 3]])
  np.testing.assert_allclose(experiment.class_drift(orders, labels, 2, 2), [0.5, 0.0])


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"seeds": 0}, "seeds is 0"),
    ({"validation": 1.0}, "between 0 and 1"),
    ({"similarity": "cosine"}, "gower or distance"),
    ({"mean_norm": "rows"}, "paper or pairs"),
    ({"tables": ()}, "at least one table"),
    ({"noise.flips": (0.2, 0.1)}, "rising"),
    ({"noise.table": "sklearn:iris"}, "generated"),
    ({"noise.seeds": ()}, "generated"),
    ({"learning_rate": 0.0}, "positive"),
    ({"tables": ("sklearn:iris",), "seeds": 1}, "one split of one table"),
    ({"tables": ("csv:none.csv",)}, "no file"),
  ],
)
def test_impossible_numbers_are_refused(changes, message):
  with pytest.raises(UserError, match=message):
    experiment.prepare(bind(get_config(), changes))


@pytest.mark.shared
def test_a_real_mixed_table_is_read():
  config = bind(
    get_config("german"), {"folder": str(SHARED / "data" / "fairness"), "seeds": 2}
  )
  (operands,) = experiment.prepare(config).values()
  assert operands["x"].shape[:2] == (2, 670) and operands["x"].shape[2] > 50
  assert 5 < operands["numeric"].sum() < 20


def test_the_printed_tables():
  """Sums that the prints must have, and p-values known from SciPy's untied formula."""
  found = experiment.printed_tests()
  for name, won in experiment.PRINTED.items():
    assert np.all((np.array(won) + np.array(won).T) <= 270)
    assert found[name]["ranks"].sum() == pytest.approx(10)
    assert found[name]["p"][0] > found[name]["p"][1]
  np.testing.assert_allclose(found["mb"]["pairs"][0, 3], 0.0503, atol=1e-4)
  np.testing.assert_allclose(found["br"]["p"], [1.8e-7, 1.4e-7], rtol=0.03)


# --- claims

TABLES, SEEDS, EPOCHS = 9, 30, 3


def made_up(levels, spread=0.02, drift=None, unit=None, noise=None, printed=None, orders=0.99):
  """Results with the given mean accuracy of each method, 0.7 for all others."""
  rng = np.random.default_rng(0)
  level = np.array([levels.get(name, 0.7) for name in q.NAMES])
  shape = (TABLES, SEEDS, 1, len(q.NAMES))
  accuracy = level + spread * rng.normal(size=shape) + np.zeros((1, 1, EPOCHS, 1))
  if unit:
    accuracy = unit * np.round(accuracy / unit)
  drift = np.full(9, 0.1) if drift is None else drift
  tables_ = {
    f"table{i}": {
      "accuracy": accuracy[i],
      "updates": np.array([100, 3200, 400, 700]),
      "drift": drift + 1e-4 * rng.normal(size=(SEEDS, 9)),
      "edges": np.full(SEEDS, 0.5),
      "alone": np.zeros(SEEDS),
      "same_edges": np.full(SEEDS, 0.99),
      "norms": orders + 1e-3 * rng.normal(size=(SEEDS, 3)),
      "similarities": orders + 1e-3 * rng.normal(size=(SEEDS, 3)),
    }
    for i in range(TABLES)
  }
  shares = np.array([0.0, 0.1, 0.2])
  wrong = np.full((3, len(q.NAMES)), 0.7) + 0.0
  for name, rise in (noise or {}).items():
    wrong[:, q.NAMES.index(name)] += rise * np.array([0.2, 0.6, 1.0])
  wrong = wrong[:, None, None, None] + 0.01 * rng.normal(size=(3, 2, SEEDS, 1, len(q.NAMES)))
  wrong = wrong + np.zeros((1, 1, 1, EPOCHS, 1))
  return {
    "seeds": np.arange(SEEDS),
    "batch": np.array(32),
    "tables": tables_,
    "noise": {"flips": shares, "accuracy": wrong},
    "printed": printed or experiment.printed_tests(),
  }


def of(scheduler, level, kinds=methods.CURRICULA):
  return {f"{scheduler}_{kind}": level for kind in kinds}


def print_that_agrees(agrees=True):
  found = experiment.printed_tests()
  for name, p in checks.PRINTED_P.items():
    found[name]["p"] = np.array([1.05, 0.95]) * p * (1 if agrees else 100)
  found["ogd"]["pairs"] = np.full((4, 4), 0.01 if agrees else 0.5)
  if not agrees:
    found["mb"]["pairs"] = np.full((4, 4), 0.4)
  return found


CONTROLS = ("random", "shuffled", "entropy_printed", "adjusted_printed")
# Everything as the paper says, with typicality as the reason; and the other way round.
PAPER = {methods.BASELINE: 0.7}
PAPER |= of("mb", 0.66) | of("mb", 0.62, CONTROLS[:1] + CONTROLS[2:])
PAPER |= of("mb", 0.66, methods.OTHER)
PAPER |= {"fast_baseline": 0.68}
PAPER |= of("ogd", 0.72) | of("ogd", 0.70, CONTROLS) | {"long_ogd": 0.70}
PAPER |= of("br", 0.72) | of("br", 0.70, CONTROLS) | {"long_br": 0.70}
PAPER |= of("rur", 0.80) | of("rur", 0.70, CONTROLS) | {"long_rur": 0.70}
REVERSED = {name: 1.4 - level for name, level in PAPER.items()}
RISE = {"rur_entropy": 0.1, "rur_adjusted": 0.1}
GOOD = made_up(PAPER, noise=RISE, printed=print_that_agrees())
BAD = made_up(
  REVERSED,
  noise={k: -v for k, v in RISE.items()},
  printed=print_that_agrees(False),
  orders=0.5,
)
ALIKE = made_up({})
EXPLAINED = made_up(
  of("ogd", 0.8)
  | of("br", 0.8)
  | of("rur", 0.8)
  | dict.fromkeys(("long_ogd", "long_br", "long_rur"), 0.81)
)
TIED, SOME_TIES = made_up({}, unit=0.05), made_up({}, unit=0.003)
LOPSIDED = 0.1 + 0.05 * np.arange(9)
FALLING = {f"mb_{order}": 0.65 - 0.02 * i for i, order in enumerate(methods.ORDERS)}
TABLE_3 = made_up(
  {"mb_degree": 0.682, "mb_entropy": 0.682, "mb_adjusted": 0.6935}, spread=0.04
)
SPECIAL = {  # claim -> results in which it is reproduced, and in which not
  "order_alone_significant": (TABLE_3, ALIKE),
  "friedman_rejects": (GOOD, ALIKE),
  "control_updates_explain_the_gain": (EXPLAINED, GOOD),
  "control_class_drift": (
    made_up(FALLING, drift=LOPSIDED),
    made_up(FALLING, drift=LOPSIDED[::-1]),
  ),
  "control_ties_final": (SOME_TIES, TIED),
  "control_ties_mean": (SOME_TIES, GOOD),  # without any tie
  "control_ties_own_splits": (SOME_TIES, TIED),
}
# Pairs of which some must differ and others must not cannot all be wrong at once.
NEVER_ALL_WRONG = ("order_alone_significant", "br_pairs", "rur_pairs")


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_comes_out_both_ways(claim):
  good, bad = SPECIAL.get(claim.id, (GOOD, BAD))
  good, bad = claim.check(good), claim.check(bad)
  assert good.verdict == check.REPRODUCED, good.why
  if claim.id in NEVER_ALL_WRONG:
    bad = claim.check(ALIKE)
    assert bad.verdict == check.PARTLY, bad.why
  else:
    assert bad.verdict == check.NOT_REPRODUCED, bad.why


def test_quantities_by_hand():
  results = made_up({"mb_degree": 0.9}, spread=0.0)
  np.testing.assert_allclose(q.margin(results, "mb_degree", methods.BASELINE), 1.0)
  np.testing.assert_allclose(q.margin(results, methods.BASELINE, "mb_degree"), -1.0)
  np.testing.assert_allclose(q.difference(results, "mb_degree", methods.BASELINE), 20.0)
  assert q.tied(results, "mb") == pytest.approx(0.5)  # three of six pairs
  assert q.four(results, "mb").shape == (TABLES * SEEDS, 4)
  one, apart = (q.four(GOOD, "rur", own_splits=s) for s in (False, True))
  np.testing.assert_array_equal(np.sort(one, 0), np.sort(apart, 0))
  np.testing.assert_array_equal(one[:, 0], apart[:, 0])
  assert not np.array_equal(one[:, 1], apart[:, 1])


def test_metrics_are_numbers_and_one_seed_is_not_tested():
  flat = claims.metrics(GOOD)
  assert all(np.ndim(v) == 0 and np.isfinite(v) for v in flat.values())
  assert flat["wins/rur/B>A"] + flat["wins/rur/A>B"] <= 270
  verdicts = {c.id: c.check(GOOD | {"seeds": np.arange(1)}).verdict for c in claims.CLAIMS}
  assert verdicts["rur_beats_baseline"] == check.NOT_TESTED


def test_smoke_run_is_the_same_again(command, comparable, smoke, tmp_path):
  first = smoke("typicality_curriculum").workdir
  assert {p.stem for p in (first / "figures").glob("*.png")} == {
    figure.name for figure in figures.FIGURES
  }
  again = command.run(
    "-m",
    "projects.typicality_curriculum.main",
    "--config=configs/typicality_curriculum.py:smoke",
    f"--workdir={tmp_path}/again",
  )
  assert again.returncode == 0, again.stderr
  assert comparable(first / "results.json") == comparable(tmp_path / "again/results.json")

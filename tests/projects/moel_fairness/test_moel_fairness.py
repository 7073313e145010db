"""moel_fairness: a generation against plain loops, its data, and each claim both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.moel_fairness import get_config
from lib import search
from lib.experiment import UserError, bind
from lib.experiment import claims as check
from lib.metrics import fairness
from projects.moel_fairness import checks, claims, experiment, figures, indicators
from projects.moel_fairness import quantities as q
from tests.conftest import SHARED


def config_of(preset="smoke", **changes):
  return bind(get_config(preset), {k.replace("__", "."): v for k, v in changes.items()})


@pytest.fixture(scope="module")
def operands():
  return experiment.prepare(config_of())


# --- data ---------------------------------------------------------------------------------


def test_attributes_replace_their_columns(operands):
  """8 features, and indicators of 2 + 3 values; 6 groups."""
  assert operands["inputs"].shape == (300, 13)
  assert operands["is_sensitive"].tolist() == [False] * 8 + [True] * 5
  assert operands["is_number"].tolist() == [True] * 8 + [False] * 5
  a, b = operands["inputs"][:, 8:10].argmax(1), operands["inputs"][:, 10:].argmax(1)
  np.testing.assert_array_equal(operands["groups"], 3 * a + b)
  np.testing.assert_array_equal(
    operands["members"], np.bincount(operands["groups"], minlength=6)
  )


def test_a_split_is_6_2_2_and_knows_its_training_part_alone(operands):
  config = config_of()
  rows = experiment.split(config, operands, jax.random.key(0))
  parts = [np.asarray(getattr(rows, part)) for part in experiment.PARTS]
  assert [len(part) for part in parts] == [180, 60, 60]
  assert sorted(np.concatenate(parts)) == list(range(300))
  x, _, _ = experiment.part_of(bind(config, {"sees_groups": 1.0}), operands, rows, "train")
  np.testing.assert_allclose(x[:, :8].mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(x[:, :8].std(0), 1, atol=1e-5)
  assert set(np.unique(x[:, 8:])) == {0.0, 1.0}  # indicators stay as they are
  blind, _, _ = experiment.part_of(config, operands, rows, "train")
  assert np.all(blind[:, 8:] == 0) and np.array_equal(blind[:, :8], x[:, :8])


def test_impossible_settings_are_refused():
  for changes, message in (
    ({"population": 2}, "population"),
    ({"split": (6, 2)}, "three"),
    ({"partial.loss": "hinge"}, "mse or bce"),
    ({"sensitive": ()}, "sensitive"),
    ({"mutation": -1.0}, "mutation"),
    ({"alpha": 1.0}, "alpha is 1"),
    ({"partial.batch": 0}, "batch"),
    ({"partial.learning_rate": 0.0}, "learning_rate"),
    ({"shifts": ()}, "shifts is empty"),
    ({"sees_groups": 2.0}, "between 0 and 1"),
    ({"objectives.group": -1.0}, "objectives.group"),
  ):
    with pytest.raises(UserError, match=message):
      experiment.check(bind(get_config("smoke"), changes))
  with pytest.raises(UserError, match="positive"):
    experiment.prepare(config_of(positive="yes"))
  with pytest.raises(UserError, match="without any"):
    experiment.prepare(config_of(split=(1000, 1, 1)))
  with pytest.raises(UserError, match="table"):
    experiment.prepare(config_of(dataset="sklearn:digits"))
  with pytest.raises(UserError, match="fewer"):
    experiment.prepare(config_of(rows=("x0>=100",)))


@pytest.mark.shared
@pytest.mark.parametrize(
  ("name", "rows", "columns", "groups"),
  [("german", 1000, 60, 4), ("compas", 6167, 18, 12), ("adult", 30162, 101, 6)],
)
def test_the_real_sets(name, rows, columns, groups, tmp_path, monkeypatch):
  """Imported by the command of the documentation; the attributes' numbers are the paper's."""
  pytest.importorskip("tensorflow_datasets")
  from launch import import_data
  from lib.data import recipes

  monkeypatch.setenv("ANSATZ_DATA_DIR", str(tmp_path))
  file = SHARED / "data" / "fairness" / recipes.RECIPES[name].file
  assert import_data.main([name, str(file)]) == 0
  found = experiment.prepare(config_of(name))
  assert found["inputs"].shape == (rows, columns)
  assert len(found["members"]) == groups and int(found["members"].sum()) == rows


def test_a_missing_set_is_one_clear_error(tmp_path, monkeypatch):
  monkeypatch.setenv("ANSATZ_DATA_DIR", str(tmp_path))
  with pytest.raises(UserError, match=r"launch\.import_data german german\.csv"):
    experiment.prepare(config_of("german"))


# --- models and criteria ------------------------------------------------------------------


def test_partial_training_is_adam_on_each_network_alone(operands):
  config = config_of(partial__batch=60, partial__epochs=2)
  state = experiment.init(config, operands)
  params = state.search.population["params"]
  x, y, _ = experiment.part_of(config, operands, state.rows, "train")
  key = jax.random.key(3)
  found = experiment.partial_training(config, key, params, x, y)

  rows = [
    np.asarray(jax.random.permutation(k, 180)).reshape(3, 60) for k in jax.random.split(key, 2)
  ]
  optimizer = optax.adam(0.01)
  one = jax.tree.map(lambda leaf: leaf[2], params)
  opt_state = optimizer.init(one)

  def loss(one, batch):
    first, second = (one[f"layer_{i}"]["dense"] for i in (0, 1))
    hidden = jax.nn.relu(x[batch] @ first["kernel"] + first["bias"])
    logits = hidden @ second["kernel"] + second["bias"]
    return jnp.mean((jax.nn.sigmoid(logits[:, 0]) - y[batch]) ** 2)

  for batch in np.concatenate(rows):
    updates, opt_state = optimizer.update(jax.grad(loss)(one, batch), opt_state, one)
    one = optax.apply_updates(one, updates)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a[2], b, rtol=1e-4, atol=1e-5), found, one
  )


def test_criteria_by_the_formulas(operands):
  logits = jax.random.normal(jax.random.key(0), (3, 300))
  y, groups = operands["labels"], operands["groups"]
  found = experiment.criteria(config_of(), operands, logits, y, groups)
  p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
  b = p - np.asarray(y) + 1
  mean = b.mean(1, keepdims=True)
  np.testing.assert_allclose(found[:, 0], ((p - np.asarray(y)) ** 2).mean(1), rtol=1e-5)
  np.testing.assert_allclose(found[:, 3], mean[:, 0], rtol=1e-6)
  of_groups = np.stack([b[:, groups == g].mean(1) for g in range(6)], 1)
  share = np.bincount(groups, minlength=6) / 300
  between = (share * ((of_groups / mean) ** 2 - 1)).sum(1) / 2
  np.testing.assert_allclose(found[:, 2], between, rtol=1e-3)
  total = ((b / mean) ** 2 - 1).mean(1) / 2
  np.testing.assert_allclose(found[:, 1] + found[:, 2], total, rtol=1e-5)


def test_unfairness_by_the_sums_of_the_equations(operands):
  """Eqs. 1 and 2 group by group, in float64; one of the groups has no members."""
  rng = np.random.default_rng(0)
  b, groups = rng.uniform(0.1, 2, (2, 300)), np.minimum(operands["groups"], 4)
  found = experiment.as_printed(operands, 3.0, jnp.asarray(b, jnp.float32), groups)
  for values, parts in zip(b, found, strict=True):
    within = between = 0.0
    for g in range(5):
      own = values[groups == g]
      ratio = (own.mean() / values.mean()) ** 3
      entropy = ((own / own.mean()) ** 3 - 1).mean() / 6
      within += len(own) / 300 * ratio * entropy
      between += len(own) / 300 * (ratio - 1) / 6
    np.testing.assert_allclose(parts, [within, between], rtol=1e-3, atol=1e-6)


# --- Algorithm 1 --------------------------------------------------------------------------


def plain_order(objectives):
  """Fronts by peeling, and crowding distances, one objective and one point at a time."""
  n = len(objectives)
  rank, left, front = np.zeros(n, int), set(range(n)), 0
  while left:
    free = {
      i
      for i in left
      if not any(
        (objectives[j] <= objectives[i]).all() and (objectives[j] < objectives[i]).any()
        for j in left
      )
    }
    rank[list(free)] = front
    left, front = left - free, front + 1
  crowding = np.zeros(n)
  for last in range(front):
    members = np.flatnonzero(rank == last)
    for values in objectives[members].T:
      order = members[np.argsort(values, kind="stable")]
      ordered = np.sort(values)
      if ordered[-1] == ordered[0]:
        continue
      crowding[order[[0, -1]]] = np.inf
      for k in range(1, len(order) - 1):
        gap = ordered[k + 1] - ordered[k - 1]
        crowding[order[k]] += gap / (ordered[-1] - ordered[0])
  return rank, crowding


@pytest.mark.parametrize("variant", ["EIG", "EI", "E"])
def test_generations_are_algorithm_1(operands, variant):
  """The two after the initial models: parents, offspring and survivors in plain loops."""
  names = ("error", "individual", "group")
  wanted = experiment.VARIANTS[variant]
  config = config_of(
    population=8, **{f"objectives__{n}": w for n, w in zip(names, wanted, strict=True)}
  )
  step = jax.jit(lambda state: experiment.step(config, operands, state)[0])
  state = step(experiment.init(config, operands))
  for _ in range(2):
    old = state.search.population
    objectives = np.asarray(old["validation"])[:, :3] * wanted
    _, order_key, search_key = jax.random.split(state.key, 3)
    select_key, vary_key, tie_key = jax.random.split(search_key, 3)
    # survivors keep the place they had among parents and offspring
    rank, crowding = np.asarray(state.search.rank), np.asarray(state.search.crowding)
    if state.generation == 1:
      rank, crowding = plain_order(objectives)
      np.testing.assert_array_equal(state.search.rank, rank)
      np.testing.assert_allclose(state.search.crowding, crowding, rtol=1e-3)
    parents = []
    for a, b in np.asarray(jax.random.randint(select_key, (2, 8), 0, 8)).T:
      better = rank[b] < rank[a] or (rank[b] == rank[a] and crowding[b] > crowding[a])
      parents.append(b if better else a)
    params = jax.tree.map(lambda leaf: leaf[np.array(parents)], old["params"])  # noqa: B023
    params = search.gaussian_mutation(vary_key, params, config.mutation)
    x, y, _ = experiment.part_of(config, operands, state.rows, "train")
    params = experiment.partial_training(config, order_key, params, x, y)
    x, y, groups = experiment.part_of(config, operands, state.rows, "validation")
    logits = experiment.logits_of(config, params, x)
    offspring = experiment.criteria(config, operands, logits, y, groups)
    both = np.concatenate([old["validation"], offspring])
    rank, crowding = plain_order(both[:, :3] * wanted)
    chance = np.asarray(jax.random.uniform(tie_key, (16,)))
    kept = sorted(range(16), key=lambda i: (rank[i], -crowding[i], chance[i]))[:8]
    state = step(state)
    np.testing.assert_allclose(
      state.search.population["validation"], both[kept], rtol=1e-4, atol=1e-6
    )


@pytest.fixture(scope="module")
def runs(operands):
  """The five variants and one more seed of the first, as one batch."""
  config = config_of()
  wanted = jnp.array([*experiment.VARIANTS.values(), (1.0, 1.0, 1.0)])
  seeds = jnp.array([0, 0, 0, 0, 0, 1])

  @jax.jit
  @jax.vmap
  def run(seed, wanted):
    names = ("error", "individual", "group")
    values = {f"objectives.{name}": wanted[i] for i, name in enumerate(names)}
    return experiment.PROGRAM(bind(config, {"seed": seed, **values}), operands)

  return jax.device_get(run(seeds, wanted))


def test_variants_start_alike_and_then_differ(runs):
  first = runs["validation"][:, 0]
  for i in range(1, 5):
    np.testing.assert_allclose(first[i], first[0], rtol=1e-5)
  assert not np.allclose(first[5], first[0], rtol=1e-2)
  last = runs["validation"][:, -1]
  assert not np.allclose(np.sort(last[0], 0), np.sort(last[3], 0), rtol=1e-3)


def test_error_alone_is_elitist_in_the_error(runs):
  """F_E keeps the best of parents and offspring, so each order statistic falls."""
  errors = np.sort(runs["validation"][3, :, :, 0], axis=1)
  assert np.all(np.diff(errors, axis=0) <= 1e-7)
  unselected = np.sort(runs["validation"][4, :, :, 0], axis=1)
  assert np.any(np.diff(unselected, axis=0) > 1e-4)


def test_the_least_of_each_objective_is_never_lost(runs):
  for i, wanted in enumerate(experiment.VARIANTS.values()):
    for objective in range(3):
      if wanted[objective]:
        least = runs["validation"][i, :, :, objective].min(1)
        assert np.all(np.diff(least) <= 1e-7)


def test_the_identity_holds_for_every_model(runs):
  for part in ("validation", "test"):
    mse, within, between, mean = np.moveaxis(runs[part], -1, 0)
    np.testing.assert_allclose(
      within + between, fairness.inequality_of_errors(mse, mean), rtol=1e-4
    )


def test_shifted_models_contain_the_unshifted(operands):
  """With no shift but zero, the selected ones are the final models themselves."""
  config = config_of(shifts=(0.0,), generations=1)
  found = jax.jit(lambda: experiment.PROGRAM(config, operands))()
  order = np.argsort(found["shifted"][:, 0]), np.argsort(found["test"][-1, :, 0])
  np.testing.assert_allclose(
    found["shifted"][order[0]], found["test"][-1][order[1]], rtol=1e-5, atol=1e-7
  )


def test_volumes_of_fewer_objectives():
  points = np.random.default_rng(0).uniform(size=(2, 3, 5, 2))
  found = indicators.volumes(points, np.zeros(2), np.ones(2))
  front = points[0, 0][np.argsort(points[0, 0, :, 0])]
  area, top = 0.0, 1.1
  for x, y in front:
    area += max(top - y, 0) * (1.1 - x)
    top = min(top, y)
  assert found.shape == (2, 3) and found[0, 0] == pytest.approx(area, rel=1e-5)


def made_conditions(seeds=3, generations=4, count=5):
  rng = np.random.default_rng(1)
  names = ("EIG", "EI", "EG", "E", "none", "EIG*", "E*")
  return {
    name: {
      "test": rng.uniform(size=(seeds, generations, count, 4)),
      "validation": rng.uniform(size=(seeds, generations, count, 4)),
      "shifted": rng.uniform(size=(seeds, count, 4)),
    }
    for name in names
  }


def plain_volume(points, sets):
  """Of points scaled by the extent of the front of sets of points."""
  low, high = indicators.extent([np.concatenate(sets)])
  scaled = jnp.asarray((points - low) / (high - low), jnp.float32)
  return search.hypervolume(scaled, jnp.full(3, 1.1))


def test_the_fronts_that_set_the_scales():
  conditions = made_conditions()
  found = indicators.of_all(conditions)
  test = {name: values["test"][..., :3] for name, values in conditions.items()}
  variants = [test[name] for name in q.ORDER]
  points = test["none"][1, -1]
  for which, sets in (
    ("hv", [values[:, -1].reshape(-1, 3) for values in variants]),
    ("hv_found", [values.reshape(-1, 3) for values in variants]),
    ("hv_own", [values[1, -1] for values in variants]),
  ):
    expected = plain_volume(points, sets)
    np.testing.assert_allclose(found["none"][which][1, -1], expected, rtol=1e-4)
  assert set(found) == {*q.ORDER, "none"}  # those with a star have a scale of their own
  pair = indicators.against(conditions)["none_shifted"]
  theirs, ours = conditions["none"]["shifted"][1, :, :3], test["EIG"][1, -1]
  np.testing.assert_allclose(pair["ours"][1], plain_volume(ours, [ours, theirs]), rtol=1e-4)
  np.testing.assert_allclose(
    pair["theirs"][1], plain_volume(theirs, [ours, theirs]), rtol=1e-4
  )


# --- claims -------------------------------------------------------------------------------


def made_up(good, seeds=15, generations=4, count=6):
  """Results in which every claim holds, or every claim fails."""
  rng = np.random.default_rng(0)
  sign = 1 if good else -1

  def near(value, *shape, spread=0.002):
    return value * (1 + spread * rng.uniform(-1, 1, (seeds, *shape)))

  def condition(advantage):
    """Criteria: larger advantages are better; the identity holds if good."""
    steps = np.arange(generations)[:, None]
    models = np.arange(count)
    mean = near(1 + 0.02 * sign * models[None], generations, count)
    mse = 0.2 - sign * 0.02 * steps - 0.002 * advantage + 0.002 * models + 0 * mean
    total = fairness.inequality_of_errors(mse, mean) * (1 if good else 1.1)
    fall = 1 - sign * 0.1 * steps - 0.05 * advantage
    between = near(0.005, generations, count) * fall * (1 + 0.1 * models)
    return np.stack([mse, total - between, between, mean], -1)

  # of the split, which all share if it is to hide the variants
  luck = 1.0 if good else np.linspace(1, 5, seeds)[:, None]
  level = {"EIG": 3, "EI": 1, "EG": 1, "E": 0, "none": 0, "EIG*": 3, "E*": 0}
  found, measured = {}, {}
  for name, value in level.items():
    advantage = sign * value
    values = condition(advantage)
    found[name] = {
      "validation": values,
      "test": values,
      "chance": values[:, -1, :, 2] * (0.5 if good else 2),
      "printed": values[:, -1, :, 1:3] * (1.0 if good else 1.1),
      "shifted": values[:, -1],
    }
    if name.endswith("*"):
      continue
    best = 1 + 0.1 * advantage
    rise = 1 + 0.1 * sign * np.sqrt(np.linspace(0, 1, generations))
    measured[name] = {
      "hv": near(best, 1) * rise * luck,
      "hv_found": near(best, 1) * rise * luck,
      "hv_own": near(best, 1) * rise,
      "hv_validation": near(best, 1) * rise,
      "hv_validation_pooled": near(best, 1) * rise,
      "pd": near(best),
      "spacing": near(1 / best),
      "pd_self": near(best),
      "spacing_self": near(1 / best),
    }
  if not good:
    found["none"]["validation"][0, 0, 0, 1] = -0.1  # no such inequality
  controls = ("none", "E_shifted", "none_shifted")
  return {
    "seeds": np.arange(seeds),
    "members": np.full(6, 50),
    "alpha": np.asarray(2.0),
    "conditions": found,
    "indicators": measured,
    "against": {c: {"ours": near(1 + 0.3 * sign), "theirs": near(1.0)} for c in controls},
  }


GOOD, BAD = made_up(True), made_up(False)


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_comes_out_both_ways(claim, both_ways):
  both_ways(claim, GOOD, BAD)


def test_two_trials_decide_nothing():
  few = jax.tree.map(lambda a: a[:2] if np.ndim(a) else a, GOOD)
  assert {c.check(few).verdict for c in claims.CLAIMS} == {check.NOT_TESTED}


def changed(name, which, values):
  """GOOD with another indicator of a variant."""
  measured = GOOD["indicators"]
  return GOOD | {"indicators": measured | {name: measured[name] | {which: values}}}


def test_what_is_not_significant_is_partly_only_in_the_claimed_direction():
  values = np.linspace(0, 1, 15)
  assert checks.better(values + 0.05, values, "").verdict == check.PARTLY
  assert checks.better(values - 0.05, values, "").verdict == check.NOT_REPRODUCED
  assert checks.better(values - 0.05, values, "", sign=-1.0).verdict == check.PARTLY
  assert checks.better(values, values, "").verdict == check.NOT_REPRODUCED


def test_a_table_without_a_reproduced_part_and_mostly_worse_is_not_reproduced():
  values = {name: GOOD["indicators"][name]["spacing"] for name in q.RIVALS}
  wide = np.linspace(0.5, 1.5, 15)
  level = wide * values["EG"].mean()  # by more than all of them differ from each other
  decide = checks.table_3("spacing", -1.0)
  verdicts = []
  for factor in (2.0, 1.02, 0.98):
    results = changed("EIG", "spacing", level * factor)
    for rival, other in (("EI", 1.0), ("EG", 1.0), ("E", 0.5)):
      measured = results["indicators"]
      results["indicators"] = measured | {rival: measured[rival] | {"spacing": level * other}}
    verdicts.append(decide(results).verdict)
  assert verdicts == [check.NOT_REPRODUCED, check.NOT_REPRODUCED, check.PARTLY]


def test_ties_are_not_the_highest():
  volumes = np.stack([GOOD["indicators"][name]["hv"] for name in q.ORDER], 1)
  assert q.highest_share(volumes) == 1.0
  assert q.highest_share(0 * volumes) == 0.0
  volumes[:, :, 1] = 0  # of three generations that count
  assert q.highest_share(volumes) == pytest.approx(2 / 3)
  zero = {
    name: {**GOOD["indicators"][name], "hv": 0 * GOOD["indicators"][name]["hv"]}
    for name in q.ORDER
  }
  assert checks.usually_highest(GOOD | {"indicators": zero}).verdict == check.NOT_REPRODUCED


def test_shares_of_the_variance_by_hand():
  trials, variants = np.array([[0.0], [1.0], [2.0]]), np.array([[0.0, 3.0]])
  total = 2 / 3 + 9 / 4
  np.testing.assert_allclose(q.shares(trials + variants), [2 / 3 / total, 9 / 4 / total])
  assert q.shares(np.zeros((3, 4))) == (0.0, 0.0)


def test_shares_of_two_unfairnesses_that_are_wrong_are_found():
  """The sum does not see it."""
  condition = dict(GOOD["conditions"]["E"])
  condition["test"] = condition["test"].copy()
  condition["test"][..., 1:3] = condition["test"][..., 1:3].mean(-1, keepdims=True)
  found = checks.identity(GOOD | {"conditions": GOOD["conditions"] | {"E": condition}})
  assert found.verdict == check.PARTLY
  assert "sum: reproduced" in found.why and "eqs. 1 and 2: not reproduced" in found.why


def test_a_single_domination_is_what_chance_gives(monkeypatch):
  for lost, won, verdict in (
    (0, 2, check.REPRODUCED),
    (0, 1, check.PARTLY),
    (0, 0, check.NOT_REPRODUCED),
    (3, 2, check.NOT_REPRODUCED),
  ):
    monkeypatch.setattr(q, "domination", lambda results, found=(lost, won): found)
    assert checks.dominates(GOOD).verdict == verdict


def test_selected_models_by_hand():
  found = q.selected(GOOD, "EIG", "f_I")
  values = GOOD["conditions"]["EIG"]["test"][:, -1]
  for row, model in zip(values, found, strict=True):
    np.testing.assert_array_equal(row[row[:, 1].argmin()], model)


def test_metrics_are_numbers():
  assert all(np.ndim(value) == 0 for value in claims.metrics(GOOD).values())


@pytest.mark.parametrize("figure", figures.FIGURES, ids=lambda figure: figure.name)
def test_figures_have_labelled_axes(figure):
  fig = figure.draw(GOOD)
  assert all(ax.get_xlabel() and ax.get_ylabel() for ax in fig.axes)

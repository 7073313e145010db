"""jacreg_uap: the programs against plain loops, and each claim both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.jacreg_uap import get_config
from lib import models, robustness
from lib.experiment import UserError, bind
from lib.experiment import claims as check
from projects.jacreg_uap import claims, experiment, figures


def config_of(preset="smoke", **changes):
  return bind(get_config(preset), {k.replace("__", "."): v for k, v in changes.items()})


@pytest.fixture(scope="module")
def operands():
  return experiment.prepare(config_of())


def test_the_paper_s_network():
  """5·5·6 + 6, 5·5·6·16 + 16, 400·120 + 120, 120·84 + 84, 84·10 + 10."""
  config = config_of("default")
  model = experiment.network(config, {"classes": np.zeros((10, 0))})
  shapes = jax.eval_shape(lambda key: models.init(model, key, (28, 28, 1)), jax.random.key(0))
  assert models.count(shapes["params"]) == 61_706


@pytest.mark.parametrize("preset", ["paper", "fashion_mnist"])
def test_the_paper_s_attack(preset):
  attack = config_of(preset).attack
  assert (attack.steps, attack.batch) == (100, 200)


def test_penalty_is_half_lambda_times_the_exact_norm_on_average(operands):
  config = config_of(jacobian=True, penalty=0.3)
  params = models.init(
    experiment.network(config, operands), jax.random.key(0), operands["train"].inputs.shape[1:]
  )["params"]
  x, y = (a[:20] for a in operands["train"])
  logits = experiment.logits_of(config, operands, params)

  @jax.jit
  @jax.vmap
  def losses(key):
    return experiment.objective(config, operands, key, y)(params, x)[0]

  drawn = losses(jax.random.split(jax.random.key(1), 300))
  plain = optax.losses.softmax_cross_entropy_with_integer_labels(logits(x), y).mean()
  exact = plain + 0.15 * robustness.squared_norms(robustness.jacobian(logits, x)).mean()
  assert abs(drawn.mean() - exact) < 5 * drawn.std() / 300**0.5
  assert exact - plain > 20 * drawn.std() / 300**0.5


def test_a_run_is_a_plain_loop(operands):
  """Standard training: optax in a host loop from the same keys gives the same network."""
  config = config_of(train__epochs=1, schedule={"name": "constant"})
  found = jax.jit(lambda: experiment.PROGRAM(config, operands))()
  state = experiment.init(config, operands)
  optimizer = experiment.optimizer(config, operands)
  params, opt_state = state.network.params, state.network.opt_state
  _, order_key = jax.random.split(state.key)
  images, labels = operands["train"]
  rows = jax.random.permutation(order_key, len(labels)).reshape(-1, config.train.batch_size)

  @jax.jit
  def step(params, opt_state, x, y):
    def loss(params):
      logits = experiment.logits_of(config, operands, params)(x)
      return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
    return optax.apply_updates(params, updates), opt_state

  for batch in rows:
    params, opt_state = step(params, opt_state, images[batch], labels[batch])
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    found["params"],
    params,
  )
  logits = experiment.logits_of(config, operands, params)(operands["test"].inputs)
  error = np.mean(np.argmax(logits, 1) != operands["test"].labels)
  np.testing.assert_allclose(found["test_error"], error, atol=0.011)
  assert np.all(found["uat_delta"] == 0)


def test_random_perturbation_has_every_pixel_at_the_radius(operands, monkeypatch):
  """A network that misclassifies what differs from the image by exactly ±ε in every pixel."""
  config = config_of(epsilon=0.1)
  images, labels = operands["test"]
  middle = operands | {"test": operands["test"]._replace(inputs=jnp.full_like(images, 0.5))}

  def logits_of(config, operands, params):
    def logits(x):
      far = jnp.all(jnp.abs(jnp.abs(x - 0.5) - 0.1) < 1e-6, (1, 2, 3))
      return jnp.stack([~far, far], -1).astype(jnp.float32)

    return logits

  state = experiment.init(config, operands)
  monkeypatch.setattr(experiment, "logits_of", logits_of)
  history = {"train_error": np.zeros(1), "train_loss": np.zeros(1)}
  found = experiment.finish(config, middle, state, history)
  np.testing.assert_allclose(found["random_evasion"], np.mean(labels != 1), rtol=1e-6)
  np.testing.assert_allclose(found["test_error"], np.mean(labels != 0), rtol=1e-6)


def test_attacks_of_a_linear_network_are_the_known_optimum(operands, monkeypatch):
  """Two classes, logits W x: δ = ε sign(w_1 − w_0), and with the printed sign the opposite."""
  w = 0.01 * jax.random.normal(jax.random.key(0), (256, 2))  # far from saturation
  monkeypatch.setattr(
    experiment,
    "logits_of",
    lambda config, operands, params: lambda x: x.reshape(len(x), -1) @ w,
  )
  config = config_of(attack__steps=30, attacks=3)
  rows = [(0.1, -1, 1.0, 0), (0.2, 0, 1.0, 1), (0.1, -1, -1.0, 0)]
  train = operands["train"]._replace(
    inputs=0.5 * jnp.ones_like(operands["train"].inputs),
    labels=jnp.zeros_like(operands["train"].labels),
  )
  shared = operands | {
    "train": train,
    "classes": jnp.zeros((2, 0)),
    "params": {"w": jnp.zeros((1, 1))},
    "seeds": jnp.zeros(1, jnp.int32),
  }

  def attacked(config):
    with_rows = shared | {"attacks": experiment.attack_list(rows)}
    return jax.jit(lambda: experiment.ATTACKS(config, with_rows))()

  found = attacked(config)
  best = np.sign(w[:, 1] - w[:, 0]).reshape(16, 16, 1)
  for delta, expected in zip(
    found["delta"], (0.1 * best, -0.2 * best, -0.1 * best), strict=True
  ):
    np.testing.assert_allclose(delta, expected, rtol=1e-6)
  # ‖J_N δ‖₂ of N identical Jacobians
  one = np.linalg.norm(0.1 * best.reshape(-1) @ np.asarray(w))
  np.testing.assert_allclose(
    found["linear_effect"][0], one * config.jacobian_images**0.5, rtol=1e-4
  )
  assert np.all(found["size"] <= np.float32([0.1, 0.2, 0.1]))
  # with a bound below every loss nothing is left to climb
  bounded = attacked(bind(config, {"attack.clip": 1e-3}))
  np.testing.assert_array_equal(bounded["delta"], np.zeros_like(found["delta"]))
  np.testing.assert_allclose(found["predicted"].sum(1), 1, rtol=1e-6)
  # the second attack is on class 0, and no test image is moved away from it
  others = np.asarray(operands["test"].labels) != 0
  predicted = np.argmax(
    np.clip(np.asarray(operands["test"].inputs) - 0.2 * best, 0, 1).reshape(len(others), -1)
    @ np.asarray(w),
    1,
  )
  np.testing.assert_allclose(
    found["targeted_others"][1], np.mean(predicted[others] == 0), rtol=1e-6
  )


@pytest.mark.parametrize("restarts", [1, 3])
def test_attacks_are_made_for_what_they_are_named(restarts):
  others = [(0.2, -1, 0.8, 1), (0.2, -1, 0.8, 2)] if restarts == 3 else []
  assert experiment.attack_rows(config_of(attack__restarts=restarts), classes=2) == {
    "radii": [(0.1, -1, 0.8, 0), (0.2, -1, 0.8, 0)],
    "printed": [(0.2, -1, -0.8, 0)],
    "orders": others,
    "small steps": [(0.2, -1, 0.1, order) for order in range(restarts)],
    "targeted": [(0.2, 0, 0.8, 0), (0.2, 1, 0.8, 1)],
    "choice": [(0.2, -1, 0.8, restarts)],  # an order of its own
  }


@pytest.mark.parametrize("restarts", [1, 2])
def test_results_are_those_of_the_attacks_that_they_are_named_after(monkeypatch, restarts):
  """Every attack of network m answers 100 m + its radius, target, step and order, mixed."""
  config = config_of(penalties=(0.05,), universal_steps=(0.1, 0.25), attack__restarts=restarts)
  operands = {"classes": np.zeros((10, 0))}
  names = ("standard", "uat_0.1", "uat_0.25", "jr_0.05")
  trained = {
    name: {
      k: np.full(2, float(i))
      for k in ("test_error", "train_error", "random_evasion", "uat_delta_error")
    }
    for i, name in enumerate(names)
  }

  def answer(*rows):
    return np.array([np.dot(row, (1e-1, 3.0, 1e-2, 40.0)) for row in rows])

  def of_networks(ctx, name, program, config, operands, networks, seeds, **changes):
    if program is experiment.JACOBIANS:
      return networks
    attacks = operands["attacks"]
    rows = np.stack([np.asarray(attacks[k], float) for k in experiment._ATTACK], 1).round(6)
    assert changes == {"set": {"attacks": len(rows)}}
    found = {}
    for method, values in networks.items():
      numbers = 100 * values["test_error"][:, None] + answer(*rows)
      measured = ("evasion", "validation_evasion", "targeted_others", "delta")
      found[method] = dict.fromkeys((*measured, "linear_effect", "size"), numbers)
      found[method]["predicted"] = numbers[..., None] + np.arange(10) / 10
    return found

  class Seeds:
    def seeds(self, config):
      return [0, 1]

  monkeypatch.setattr(experiment, "prepare", lambda config: operands)
  monkeypatch.setattr(experiment, "train_all", lambda *args: trained)
  monkeypatch.setattr(experiment, "of_networks", of_networks)
  results = experiment.run(config, Seeds())
  rows = experiment.attack_rows(config, classes=10)
  headline = [rows["radii"][1], *rows["orders"]]
  assert list(results["methods"]) == ["standard", "uat", "jr_0.05"]
  for method, hundred in (("standard", 0.0), ("uat", 100.0), ("jr_0.05", 300.0)):
    found, targeted = results["methods"][method], results["targeted"][method]
    for part, expected in (
      (found["untargeted"]["evasion"], answer(*rows["radii"])),
      (found["as_printed"]["evasion"][:, None], answer(*rows["printed"])),
      (found["restarts"]["evasion"], answer(*headline)),
      (found["restarts"]["validation_evasion"], answer(*headline)),
      (found["small_steps"]["evasion"], answer(*rows["small steps"])),
      (targeted["success_of_others"], answer(*rows["targeted"])),
      (targeted["success"], answer(*rows["targeted"]) + np.arange(10) / 10),
    ):
      np.testing.assert_allclose(part, np.tile(hundred + expected, (2, 1)), rtol=1e-6)
  np.testing.assert_array_equal(results["uat"]["step"], [0.1, 0.1])
  chosen = 100 * np.array([1.0, 2.0]) + answer(*rows["choice"])
  np.testing.assert_allclose(results["uat"]["validation_evasion"], [chosen, chosen])


def test_step_of_uat_is_the_one_with_the_least_evasion_on_validation_images(monkeypatch):
  config = config_of(universal_steps=(0.1, 0.25))
  trained = {
    name: {"test_error": np.full(2, i), "uat_delta_error": np.full(2, i)}
    for i, name in enumerate(("uat_0.1", "standard", "uat_0.25", "jr_1"))
  }
  held_out = {"uat_0.1": np.array([[0.1], [0.9]]), "uat_0.25": np.array([[0.4], [0.4]])}

  def attack_all(ctx, name, config, operands, networks, seeds, parts):
    assert parts == ["choice"] and list(networks) == list(held_out)
    return {name: {"choice": {"validation_evasion": held_out[name]}} for name in networks}

  monkeypatch.setattr(experiment, "attack_all", attack_all)
  classes = {"classes": np.zeros((10, 0))}
  kept, choice = experiment.choose_step(config, None, classes, trained, [0, 1])
  assert list(kept) == ["standard", "uat", "jr_1"]
  np.testing.assert_array_equal(choice["step"], [0.1, 0.25])
  np.testing.assert_array_equal(kept["uat"]["test_error"], [0, 2])
  np.testing.assert_array_equal(choice["validation_evasion"], [[0.1, 0.4], [0.9, 0.4]])
  np.testing.assert_array_equal(choice["test_error"], [[0, 2], [0, 2]])


def test_jacobian_statistics_against_numpy():
  """Also where the images do not fill the last chunk."""
  config = config_of(jacobian_images=7)
  found = np.random.default_rng(0).normal(size=(8, 3, 2, 2, 1)).astype(np.float32)
  history = {"jacobians": jnp.asarray(found).reshape(2, 4, 3, 2, 2, 1)}
  statistics = experiment.jacobian_statistics(config, {}, None, history)
  flat = found[:7].reshape(7, -1).astype(np.float64)
  norms = np.linalg.norm(flat, axis=1)
  cosines = (flat @ flat.T / norms / norms[:, None])[np.triu_indices(7, 1)]
  np.testing.assert_allclose(statistics["norm"], norms.mean(), rtol=1e-5)
  np.testing.assert_allclose(statistics["similarity"], np.median(cosines), atol=1e-6)
  np.testing.assert_array_equal(
    statistics["similarity_histogram"], np.histogram(cosines, 100, (-1, 1))[0]
  )
  np.testing.assert_allclose(statistics["stacked_squared"], np.square(flat).sum(), rtol=1e-5)
  np.testing.assert_allclose(statistics["bound_squared"], norms.sum() ** 2, rtol=1e-5)
  np.testing.assert_allclose(
    statistics["inner_products"], np.square(flat.sum(0)).sum(), rtol=1e-4
  )


def made_up(good, seeds=6):
  """Results in which every claim holds, or every claim fails."""
  rng = np.random.default_rng(0)
  epsilons = np.array([0.1, 0.2, 0.3])
  methods = ("standard", "uat", "noise_0.2", "jr_0.05", "jr_0.1", "jr_1")
  # evasion, clean error, norm and similarity of each; in `good` the norm ranks the methods as
  # evasion does, and the similarity all but two
  rows = (
    (
      (0.9, 0.3, 0.5, 0.15, 0.12, 0.1),
      (1, 2, 1, 1, 1, 5),
      (8, 3, 5, 1.5, 1.2, 1.0),
      (0.8, 0.3, 0.5, 0.15, 0.1, 0.12),
    )
    if good
    else (
      (0.2, 0.19, 0.21, 0.3, 0.31, 0.1),
      (5, 1, 5, 7, 6, 1),
      (2, 8, 7, 3, 1, 9),
      (0.2, 0.1, 0.5, 0.3, 0.25, 0.6),
    )
  )
  level, error, norms, similar = (dict(zip(methods, row, strict=True)) for row in rows)

  def near(value, *shape):
    return value * (1 + 0.01 * rng.uniform(-1, 1, (seeds, *shape)))

  def one(method):
    images = 10
    stacked = near(images * norms[method] ** 2)
    return {
      "test_error": near(error[method] / 100),
      "train_error": near(error[method] / 100),
      "random_evasion": near(0.05 if good else 0.9),
      "jacobians": {
        "norm": near(norms[method]),
        "similarity": near(similar[method]),
        "similarity_centred": near(similar[method]),
        "similarity_histogram": np.tile(np.arange(100), (seeds, 1)),
        "stacked_squared": stacked,
        "bound_squared": stacked * images,
        "inner_products": stacked * (1 if good else 3),
        "largest_eigenvalue": stacked / 3,
      },
      "untargeted": {
        "evasion": near(level[method] * np.array([0.5, 1.0, 1.1])[None], 3),
        "linear_effect": np.sqrt(stacked)[:, None] * epsilons * (0.5 if good else 4),
        "size": np.tile(epsilons, (seeds, 1)),
      },
      "as_printed": {"evasion": near(error[method] / 100 + (0.8 if good else -0.005))},
      "restarts": {
        "evasion": near(level[method], 3),
        "validation_evasion": near(level[method], 3),
      },
      # weaker than the others; by a factor of less than two where the claims fail
      "small_steps": {
        "evasion": near(level[method] * (0.9 if good else 1.5 - level[method]), 3)
      },
      "example": rng.uniform(-0.1, 0.1, (3, 8, 8, 1)),
    }

  return {
    "seeds": np.arange(seeds),
    "epsilons": epsilons,
    "epsilon": np.asarray(0.2),
    "penalties": np.array([0.05, 0.1, 1.0]),
    "penalty": np.asarray(0.05),
    "methods": {method: one(method) for method in methods},
    "targeted": {
      method: {name: near(level[method], 10) for name in ("success", "success_of_others")}
      for method in ("standard", "uat", "jr_0.05")
    },
    "uat": {
      "steps": np.array([0.1, 0.25]),
      "step": np.full(seeds, 0.25),
      **{
        name: near(0.3, 2) for name in ("validation_evasion", "test_error", "uat_delta_error")
      },
    },
  }


GOOD, BAD = made_up(True), made_up(False)


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_comes_out_both_ways(claim, both_ways):
  both_ways(claim, GOOD, BAD)


def test_one_seed_decides_nothing():
  alone = jax.tree.map(lambda a: a[:1] if np.ndim(a) else a, GOOD)
  verdicts = {claim.id: claim.check(alone).verdict for claim in claims.CLAIMS}
  assert verdicts["evasion_halved"] == verdicts["similarity_falls"] == check.NOT_TESTED


def test_the_strongest_attack_is_chosen_on_validation_images():
  one = {"evasion": np.array([[0.1, 0.5, 0.9]]), "validation_evasion": np.array([[0, 3, 2]])}
  results = {"methods": {"standard": {"restarts": one}}, "epsilon": 0.2}
  np.testing.assert_allclose(claims.strongest(results, "standard"), [50.0])
  np.testing.assert_allclose(claims.evasion(results, "standard"), [50.0])


def test_metrics_are_numbers():
  flat = claims.metrics(GOOD)
  assert all(np.ndim(value) == 0 for value in flat.values())
  np.testing.assert_allclose(flat["evasion/jr_0.05/0.2"], 0.15, rtol=0.02)
  np.testing.assert_allclose(flat["evasion/jr_0.05/0.1"], 0.075, rtol=0.02)
  np.testing.assert_allclose(flat["targeted_success/uat"], 0.3, rtol=0.02)


@pytest.mark.parametrize("figure", figures.FIGURES, ids=lambda figure: figure.name)
def test_figures_have_labelled_axes(figure):
  fig = figure.draw(GOOD)
  assert all(ax.get_xlabel() or ax.get_ylabel() for ax in fig.axes)


def test_impossible_numbers_are_refused():
  for changes, message in (
    ({"penalty": -1.0}, "penalty"),
    ({"epsilon": 0.17}, "epsilons must contain"),
    ({"seeds": 0}, "seeds"),
    ({"train.epochs": 1}, "warmup"),
    ({"attack.batch": 0}, "attack.batch"),
    ({"attack.steps": 0}, "attack.steps"),
    ({"attack.small_step": 0.0}, "attack.small_step"),
    ({"attack.small_step": 0.9}, "smaller than attack.step"),
    ({"attack.clip": -1.0}, "attack.clip"),
    ({"epsilons": (0.0, 0.2)}, "positive"),
    ({"universal_steps": ()}, "universal_steps"),
    ({"jacobian": True, "noise": 0.1}, "penalty alone"),
  ):
    with pytest.raises(UserError, match=message):
      experiment.check(config_of(**changes))
  with pytest.raises(UserError, match="jacobian_images"):
    experiment.prepare(config_of(jacobian_images=1000))
  with pytest.raises(UserError, match="classes of images"):
    experiment.prepare(config_of(dataset="sklearn:iris"))

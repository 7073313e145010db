"""lib.training: against slow loops, reproducible, vmapped members equal to single runs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from lib import losses, models, training
from lib.experiment import UserError


@pytest.fixture(name="data", scope="module")
def _data():
  """Three noisy classes in 6 dimensions; sizes that divide into nothing."""
  generator = np.random.default_rng(0)
  centres = generator.normal(size=(3, 6)) * 1.5

  def split(n):
    labels = generator.integers(0, 3, n)
    inputs = centres[labels] + generator.normal(size=(n, 6))
    return training.Split(jnp.asarray(inputs, jnp.float32), jnp.asarray(labels))

  return training.Data(split(70), split(31), split(23))


TERMS = {"uniform_kl": training.terms.uniform_kl, "l2": training.terms.l2}
HYPERS = training.Hypers(
  learning_rate=0.02,
  weight_decay=1e-3,
  weights={"uniform_kl": 0.1, "l2": 0.01},
  optimizer={"b1": 0.5},
  schedule={"rate": 0.9, "every": 2},
)
TASK = training.Task(
  models.MLP((8, 3)), TERMS, schedule="exponential", epochs=5, batch_size=20, eval_batch=10
)
KEY = jax.random.key(0)


def _same(a, b, tolerance=2e-5):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


TRAIN = jax.jit(functools.partial(training.train, TASK))


@pytest.fixture(name="run", scope="module")
def _run(data):
  return TRAIN(KEY, HYPERS, data)


def test_learns(run):
  results = run[1]
  assert results["train_cross_entropy"] < 0.6 * results["train_cross_entropy_history"][0]
  assert results["test_accuracy"] > 0.6  # a third by chance


def test_same_key_same_result_other_key_other_result(run, data):
  again = TRAIN(KEY, HYPERS, data)
  for x, y in zip(jax.tree.leaves(run[1]), jax.tree.leaves(again[1]), strict=True):
    np.testing.assert_array_equal(x, y)
  other = TRAIN(jax.random.key(1), HYPERS, data)
  assert other[1]["train_loss"] != run[1]["train_loss"]


def test_host_loop_equals_scan(run, data):
  state, results = training.train(TASK, KEY, HYPERS, data, unroll="host")
  _same(run[0].params, state.params)
  assert set(results) == set(run[1])
  _same(run[1], results)


@pytest.mark.parametrize("unroll", ["scan", "host"])
def test_a_member_of_a_sweep_equals_its_single_run(run, data, unroll):
  factors = jnp.array([0.5, 1.0, 2.0])
  hypers = jax.tree.map(lambda x: x * factors, HYPERS)
  hypers = hypers._replace(schedule=jax.tree.map(lambda x: x + 0 * factors, HYPERS.schedule))
  hypers = hypers._replace(optimizer={"b1": jnp.array([0.1, 0.5, 0.9])})
  keys = jnp.stack([jax.random.key(7), KEY, jax.random.key(9)])
  train = functools.partial(training.train, TASK, unroll=unroll)
  if unroll == "scan":
    train = jax.jit(jax.vmap(train, (0, 0, None)))
  state, results = train(keys, hypers, data)
  _same(run[0].params, jax.tree.map(lambda x: x[1], state.params))
  _same(run[1], jax.tree.map(lambda x: x[1], results))
  assert len(set(np.asarray(results["train_loss"]).tolist())) == 3


def test_an_epoch_against_a_plain_loop(data):
  """The same shuffles, by hand-written gradient descent with momentum and an L2 term."""
  task = training.Task(
    models.MLP((3,)), {"l2": training.terms.l2}, optimizer="sgd", epochs=2, batch_size=20
  )
  hypers = training.Hypers(0.1, weights={"l2": 0.03}, optimizer={"momentum": 0.9}, schedule={})
  state = training.init(task, KEY, hypers, data)
  epoch = jax.jit(functools.partial(training.epoch, task))
  w, b = (np.asarray(state.params["layer_0"]["dense"][n], float) for n in ("kernel", "bias"))
  vw, vb = 0 * w, 0 * b
  x, y = np.asarray(data.train.inputs, float), np.asarray(data.train.labels)
  for _ in range(2):
    _, shuffle = jax.random.split(state.key)
    order = np.asarray(jax.random.permutation(shuffle, 70))
    state, measured = epoch(hypers, state, data)
    total = hits = 0.0
    for first in (0, 20, 40, 60):
      rows = order[first : first + 20]
      z = x[rows] @ w + b
      p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
      loss = -np.log(p[np.arange(len(rows)), y[rows]]).mean()
      loss += 0.03 * 0.5 * ((w**2).sum() + (b**2).sum())
      total += loss * len(rows)
      hits += (z.argmax(1) == y[rows]).sum()
      d = (p - np.eye(3)[y[rows]]) / len(rows)
      vw = 0.9 * vw + x[rows].T @ d + 0.03 * w
      vb = 0.9 * vb + d.sum(0) + 0.03 * b
      w, b = w - 0.1 * vw, b - 0.1 * vb
    np.testing.assert_allclose(measured["train_loss"], total / 70, rtol=1e-4)
    np.testing.assert_allclose(measured["train_accuracy"], hits / 70, rtol=1e-5)
  np.testing.assert_allclose(
    state.params["layer_0"]["dense"]["kernel"], w, rtol=1e-3, atol=1e-5
  )
  assert state.step == 8
  # Evaluation counts every example, those that do not fill a chunk too.
  z = np.asarray(data.test.inputs) @ w + b
  np.testing.assert_allclose(
    measured["test_accuracy"], (z.argmax(1) == np.asarray(data.test.labels)).mean(), rtol=1e-5
  )


def test_every_example_once_an_epoch(data):
  """With a linear learning rate so small that nothing moves, measurements are full means."""
  seen = {}
  for remainder in ("keep", "drop"):
    task = training.Task(
      models.MLP((3,)), optimizer="sgd", epochs=1, batch_size=20, remainder=remainder
    )
    state = training.init(task, KEY, training.Hypers(0.0), data)
    _, measured = jax.jit(functools.partial(training.epoch, task))(
      training.Hypers(0.0), state, data
    )
    variables = training.variables(task, state)
    loss, _ = training.evaluate(task.model, variables, data.train, 33)
    seen[remainder] = float(measured["train_cross_entropy"]), float(loss)
  np.testing.assert_allclose(*seen["keep"], rtol=1e-5)
  assert abs(seen["drop"][0] - seen["drop"][1]) > 1e-4  # 10 of 70 are left out


def test_best_validation_is_kept(data):
  task = training.Task(
    models.MLP((8, 3)), epochs=6, batch_size=20, keep="best_validation", optimizer="sgd"
  )
  hypers = training.Hypers(3.0)  # so large that accuracy jumps about
  state, results = jax.jit(functools.partial(training.train, task))(KEY, hypers, data)
  history = results["validation_accuracy_history"]
  assert state.best.accuracy == history.max()
  assert results["best_validation_epoch"] == int(np.argmax(history))
  kept = training.variables(task, state)
  _, accuracy = training.evaluate(task.model, kept, data.validation)
  np.testing.assert_allclose(accuracy, history.max(), rtol=1e-6)
  _, accuracy = training.evaluate(task.model, kept, data.test)
  np.testing.assert_allclose(accuracy, results["test_accuracy_at_best_validation"], rtol=1e-6)


def test_figures_of_a_history():
  history = {
    "validation_accuracy": jnp.array([0.1, 0.7, 0.7, 0.2]),
    "test_accuracy": jnp.array([0.2, 0.5, 0.9, 0.4]),
    "train_loss": jnp.array([4.0, 3.0, 2.0, 1.0]),
  }
  results = training.finish(TASK, None, history)
  assert results["best_validation_epoch"] == 1
  np.testing.assert_allclose(results["test_accuracy_at_best_validation"], 0.5)
  np.testing.assert_allclose(results["test_accuracy_max_over_epochs"], 0.9)
  np.testing.assert_allclose(results["test_accuracy"], 0.4)
  assert results["train_loss"] == 1.0


def test_terms_are_redrawn_with_the_given_probability(data):
  def noise(params, batch_stats, key, batch):
    return jax.random.normal(key, ())

  def keys(redraw):
    task = training.Task(
      models.MLP((3,)), {"a": noise, "b": noise}, optimizer="sgd", batch_size=2, redraw=redraw
    )
    hypers = training.Hypers(0.0, weights={"a": 0.0, "b": 0.0})
    state = training.init(task, KEY, hypers, data)
    draw = jax.jit(
      lambda state: training.minibatch(
        task, hypers, state, training.Split(data.train.inputs[:2], data.train.labels[:2]), 70
      )
    )
    found = []
    for _ in range(100):
      state, measured = draw(state)
      found.append((float(measured["train_a"]), float(measured["train_b"])))
    assert all(a != b for a, b in found)
    return len(set(found))

  assert keys(1.0) == 100
  assert keys(0.0) == 1
  assert 3 <= keys(0.1) <= 25


def test_batch_statistics_move_in_training_only(data):
  task = training.Task(models.MLP((4, 3), batch_norm=True), epochs=1, batch_size=35)
  hypers = training.Hypers(0.0)
  state = training.init(task, KEY, hypers, data)
  after, _ = jax.jit(functools.partial(training.epoch, task))(hypers, state, data)
  dense = state.params["layer_0"]["dense"]
  batch_means = data.train.inputs.mean(0) @ dense["kernel"] + dense["bias"]
  # Two steps with momentum 0.9: between 0.1 and 0.19 of the way.
  found = after.batch_stats["layer_0"]["norm"]["mean"]
  _, shuffle = jax.random.split(state.key)
  halves = data.train.inputs[jax.random.permutation(shuffle, 70)].reshape(2, 35, 6).mean(1)
  halves = halves @ dense["kernel"] + dense["bias"]
  np.testing.assert_allclose(found, 0.09 * halves[0] + 0.1 * halves[1], rtol=1e-3, atol=1e-5)
  assert found.shape == batch_means.shape


def test_bottleneck_trains(data):
  task = training.Task(
    models.VIB(models.MLP((8, 4)), code=2, classes=3),
    {"bottleneck": training.terms.bottleneck},
    epochs=3,
    batch_size=35,
  )
  hypers = training.Hypers(0.01, weights={"bottleneck": 10.0})
  _, results = jax.jit(functools.partial(training.train, task))(KEY, hypers, data)
  history = results["train_bottleneck_history"]
  assert history[-1] < history[0]  # so heavy a weight presses the code to the prior


@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop", "lion", "adagrad", "adamw"])
def test_optimisers_are_those_of_optax(name):
  params = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([0.5])}
  gradient = jax.tree.map(lambda w: w * 0.3 + 0.1, params)
  own = training.optimizer(name, lambda count: 0.1, 0.0)
  expected = getattr(optax, name)(0.1, **({"weight_decay": 0.0} if name == "adamw" else {}))
  if name == "lion":
    expected = optax.lion(0.1, weight_decay=0.0)
  states = own.init(params), expected.init(params)
  for _ in range(3):
    a, first = own.update(gradient, states[0], params)
    b, second = expected.update(gradient, states[1], params)
    states = first, second
    _same(a, b, 1e-6)


def test_decoupled_decay_is_that_of_adamw():
  params = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([0.5])}
  rates = optax.exponential_decay(0.1, 1, 0.5)
  own = training.optimizer("adam", rates, 0.2, "decoupled")
  expected = optax.adamw(rates, weight_decay=0.2)
  a, b = own.init(params), expected.init(params)
  first = second = params
  for _ in range(3):
    updates, a = own.update(jax.tree.map(jnp.sin, first), a, first)
    first = optax.apply_updates(first, updates)
    updates, b = expected.update(jax.tree.map(jnp.sin, second), b, second)
    second = optax.apply_updates(second, updates)
    _same(first, second, 1e-6)


def test_l2_decay_is_the_gradient_of_the_l2_loss_and_may_leave_out_biases():
  params = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([0.5])}
  gradient = jax.tree.map(jnp.cos, params)
  for mask, chosen in (("all", None), ("kernels", losses.kernels_only)):
    own = training.optimizer("sgd", 0.1, 0.2, decay_mask=mask)
    updates, _ = own.update(gradient, own.init(params), params)
    total = jax.grad(lambda p, m=chosen: 0.2 * losses.l2(p, m))(params)
    _same(updates, jax.tree.map(lambda g, d: -0.1 * (g + d), gradient, total), 1e-6)
    decoupled = training.optimizer("sgd", 0.1, 0.2, "decoupled", mask)
    # Without momentum or scaling the two are the same.
    _same(updates, decoupled.update(gradient, decoupled.init(params), params)[0], 1e-6)


def test_state_has_one_structure_for_plain_and_traced_decay():
  params = {"kernel": jnp.ones((2, 2))}
  for decay in ("l2", "decoupled"):
    plain = training.optimizer("adam", 0.1, 0.0, decay).init(params)
    traced = jax.eval_shape(
      lambda w, d=decay: training.optimizer("adam", 0.1, w, d).init(params), 0.0
    )
    assert jax.tree.structure(plain) == jax.tree.structure(traced)


@pytest.mark.parametrize(
  ("name", "numbers", "expected"),
  [
    ("constant", {}, {0: 1, 999: 1}),
    # ×0.97 every 2 epochs of 10 steps: the capacity paper's
    ("exponential", {"rate": 0.97, "every": 2}, {0: 1, 19: 1, 20: 0.97, 40: 0.97**2}),
    # ×0.1 at one half and at three quarters
    ("piecewise", {}, {0: 1, 499: 1, 500: 0.1, 749: 0.1, 750: 0.01, 999: 0.01}),
    ("cosine", {"final": 0.2}, {0: 1, 500: 0.6, 1000: 0.2}),
    ("linear", {}, {0: 1, 250: 0.75, 1000: 0}),
    ("warmup_cosine", {"warmup": 10}, {0: 0, 50: 0.5, 100: 1, 550: 0.5, 1000: 0}),
  ],
)
def test_schedules(name, numbers, expected):
  factor = training.schedule(name, 10, 100, **numbers)
  for step, value in expected.items():
    np.testing.assert_allclose(factor(jnp.asarray(step)), value, rtol=1e-5, atol=1e-6)


def test_pad_crop_flip():
  image = jnp.arange(1.0, 26.0).reshape(1, 5, 5, 1)
  images = jnp.repeat(image, 400, 0)
  found = training.pad_crop_flip(jax.random.key(0), images, pad=1)
  assert found.shape == images.shape
  padded = np.pad(np.asarray(image[0, ..., 0]), 1)
  crops = [padded[i : i + 5, j : j + 5] for i in range(3) for j in range(3)]
  crops += [crop[:, ::-1] for crop in crops]
  seen = {np.asarray(f[..., 0]).tobytes() for f in found}
  assert seen == {crop.astype(np.float32).tobytes() for crop in crops}


def _config(**changes):
  config = ConfigDict(
    {
      "train": {"epochs": 3, "batch_size": 10, "other": 1},
      "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
      "schedule": {"name": "piecewise", "factor": 0.5},
      "weights": {"l2": 0.1},
    }
  )
  config.update(changes)
  return config


def test_from_config(data):
  terms = {"l2": training.terms.l2}
  task, hypers = training.from_config(_config(), models.MLP((3,)), terms)
  assert (task.epochs, task.batch_size, task.optimizer) == (3, 10, "sgd")
  assert hypers.optimizer == {"momentum": 0.9}
  assert dict(task.optimizer_options) == {"nesterov": True}
  assert hypers.schedule == {"factor": 0.5}
  assert hash(task) == hash(training.from_config(_config(), models.MLP((3,)), terms)[0])

  def run(rate, weight):
    config = _config()
    with config.ignore_type():
      config.optimizer.learning_rate = rate
      config.weights.l2 = weight
    task, hypers = training.from_config(config, models.MLP((3,)), terms)
    return training.train(task, KEY, hypers, data)[1]["train_loss"]

  values = jax.jit(jax.vmap(run))(jnp.array([0.1, 0.2]), jnp.array([0.1, 0.1]))
  assert values.shape == (2,)
  assert values[0] != values[1]
  np.testing.assert_allclose(
    values[0], training.train(task, KEY, hypers, data)[1]["train_loss"], rtol=1e-5
  )


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"optimizer": {"name": "addam"}}, "Did you mean 'adam"),
    ({"optimizer": {"momentun": 0.1}}, "momentum"),
    ({"optimizer": {"learning_rate": -0.1}}, "negative"),
    ({"optimizer": {"decay": "l3"}}, "decay"),
    ({"schedule": {"name": "cosin"}}, "Did you mean 'cosine'"),
    ({"schedule": {"rat": 0.1}}, "no number 'rat'"),
    ({"weights": {"l2": -1.0}}, "negative"),
    ({"weights": {"l3": 1.0}}, "no term"),
    ({"train": {"batch_size": 0}}, "at least 1"),
    ({"train": {"remainder": "skip"}}, "remainder"),
    ({"train": {"batch_size": 100, "remainder": "drop"}}, "do not fill"),
  ],
)
def test_mistakes_in_a_config(data, changes, message):
  with pytest.raises(UserError, match=message):
    task, hypers = training.from_config(
      _config(**changes), models.MLP((3,)), {"l2": training.terms.l2}
    )
    training.init(task, KEY, hypers, data)


def test_misuse(data):
  with pytest.raises(ValueError, match="weights for"):
    training.init(TASK, KEY, training.Hypers(0.1), data)
  with pytest.raises(ValueError, match="unroll"):
    training.train(TASK, KEY, HYPERS, data, unroll="while")
  task = training.Task(models.MLP((3,)), keep="best_validation")
  with pytest.raises(UserError, match="validation"):
    training.init(task, KEY, training.Hypers(0.1), training.Data(data.train))


def test_statistics_and_augmentation_in_both_loops():
  images = jax.random.normal(jax.random.key(0), (20, 4, 4, 1))
  split = training.Split(images, jnp.arange(20) % 4)
  task = training.Task(
    models.MLP((5, 4), batch_norm=True),
    optimizer="sgd",
    optimizer_options={"nesterov": True},
    epochs=2,
    batch_size=10,
    augment=functools.partial(training.pad_crop_flip, pad=1),
  )
  hypers = training.Hypers(0.1, optimizer={"momentum": 0.9})
  data = training.Data(split, test=split)
  state, results = jax.jit(functools.partial(training.train, task))(KEY, hypers, data)
  other, again = training.train(task, KEY, hypers, data, unroll="host")
  _same(state.params, other.params)
  _same(state.batch_stats, other.batch_stats)
  _same(results, again)


@pytest.mark.slow
def test_a_step_of_a_residual_network_lowers_the_loss():
  images = jax.random.normal(jax.random.key(0), (12, 8, 8, 3))
  batch = training.Split(images, jnp.arange(12) % 4)
  task = training.Task(models.PreActResNet(8, classes=4, width=2), optimizer="sgd")
  hypers = training.Hypers(0.1)
  state = jax.jit(lambda key: training.init(task, key, hypers, training.Data(batch)))(KEY)
  step = jax.jit(lambda state: training.minibatch(task, hypers, state, batch, 12))
  losses = []
  for _ in range(10):
    state, measured = step(state)
    losses.append(float(measured["train_loss"]))
  assert losses[-1] < 0.9 * losses[0]
  assert not any((s == 0).all() for s in jax.tree.leaves(state.batch_stats))

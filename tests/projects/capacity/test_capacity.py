import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lib import information, models
from lib.experiment import UserError, bind, configs
from projects.capacity import cells, experiment

ROOT = pathlib.Path(__file__).resolve().parents[3]


def config_of(preset="smoke", **changes):
  config = configs.load(f"configs/capacity.py:{preset}")
  return bind(config, {key.replace("__", "."): value for key, value in changes.items()})


def launch(*arguments, cwd):
  command = [sys.executable, "-m", "projects.capacity.main", *arguments]
  return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)


def test_parameter_counts():
  """784-1024-1024-10: 784·1024 + 1024·1024 + 1024·10 weights and 2058 biases."""
  config = config_of("paper")
  model = experiment.network(config, 10)
  shapes = jax.eval_shape(lambda key: models.init(model, key, (28, 28, 1)), jax.random.key(0))
  assert models.count(shapes["params"]) == 784 * 1024 + 1024 * 1024 + 1024 * 10 + 2058
  # 0.27 and 0.66 million without the two projections of 16·32 + 32·64
  for preset, without_projections in (("svhn", 269722), ("cifar10", 658586)):
    model = experiment.network(config_of(preset), 10)
    shapes = jax.eval_shape(
      lambda key, model=model: models.init(model, key, (32, 32, 3)), jax.random.key(0)
    )
    found = models.count(shapes["params"])
    assert found == without_projections + 16 * 32 + 32 * 64


def test_channels_compose_to_the_network():
  config = config_of("smoke", model__hidden=(7, 5))
  x = jax.random.normal(jax.random.key(1), (4, 8, 8, 1))
  model = experiment.network(config, 10)
  variables = models.init(model, jax.random.key(0), (8, 8, 1))
  whole, *layers = experiment.channels(model, (8, 8, 1))
  assert [layer.hidden for layer in layers] == [False, True, True]
  y = x
  for layer in layers:
    assert y.shape[1:] == layer.input_shape
    y = jax.jit(layer.apply)(variables, y)
  np.testing.assert_allclose(y, whole.apply(variables, x), rtol=1e-5)
  # with a stochastic code: encoder whole, its layers, classifier
  model = experiment.network(bind(config, {"model.bottleneck": True}), 10)
  variables = models.init(model, jax.random.key(0), (8, 8, 1))
  encoder, *layers, classifier = experiment.channels(model, (8, 8, 1))
  assert len(layers) == 3 and classifier.input_shape == (config.model.code,)
  assert encoder.apply(variables, x).shape == (4, 2 * config.model.code)
  z = jnp.ones((4, config.model.code))
  weights = variables["params"]["classifier"]
  np.testing.assert_allclose(classifier.apply(variables, z), z @ weights["kernel"], rtol=1e-5)


def members(config, operands, cell, key, values):
  """Training runs of a cell that differ in one number, as one program."""
  base = experiment.numbers_of(config, "none", {})
  static = bind(config, experiment.static(cell))

  @jax.jit
  @jax.vmap
  def run(value):
    return experiment.PROGRAM(bind(static, {**base, "seed": 0, key: value}), operands)

  found = jax.device_get(run(jnp.asarray(values)))
  return [{name: array[i] for name, array in found.items()} for i in range(len(values))]


@pytest.fixture(scope="module")
def runs():
  config = config_of("smoke", train__epochs=3)
  operands = experiment.prepare(config)
  plain = members(config, operands, "none", "optimizer.weight_decay", [0.0, 0.1])
  mic = members(config, operands, "mic", "regulariser.beta", [0.0, 0.5])
  return {"none": plain[0], "wd": plain[1], "mic at 0": mic[0], "mic": mic[1]}


def test_cells_are_paired(runs):
  """Same seed: same split, initial weights and order; a term of weight 0 changes nothing."""
  for name in ("test_accuracy_history", "train_cross_entropy_history", "frobenius_norm"):
    np.testing.assert_allclose(runs["none"][name], runs["mic at 0"][name], rtol=1e-4)
  # the first epoch's loss, dominated by the common start, is close but not the same
  first = [runs[c]["train_cross_entropy_history"][0] for c in ("none", "mic", "wd")]
  assert len(set(map(float, first))) == 3 and np.ptp(first) < 0.3 * first[0]


def test_terms_act_on_what_is_measured(runs):
  for cell in ("mic", "wd"):
    for name in ("mic_layer_sum", "frobenius_norm", "spectral_norm_mean"):
      assert runs[cell][name] < runs["none"][name], (cell, name)


def test_measured_complexity_is_the_exact_one():
  config = config_of("smoke", power_per_input=0.5)
  rng = np.random.default_rng(0)
  kernels = [rng.normal(size=s).astype(np.float32) for s in ((6, 4), (4, 3))]
  params = {f"layer_{i}": {"dense": {"kernel": k}} for i, k in enumerate(kernels)}
  found = jax.jit(lambda params: experiment.complexity(config, params))(params)
  for i, kernel in enumerate(kernels):
    exact = information.mic_linear(kernel, 0.5 * kernel.shape[0])
    np.testing.assert_allclose(found["mic_layers"][i], exact, rtol=1e-5)
    np.testing.assert_allclose(
      found["spectral_layers"][i], np.linalg.norm(kernel, 2), rtol=1e-5
    )
  norm = np.sqrt(sum(np.sum(k**2) for k in kernels))
  np.testing.assert_allclose(found["frobenius_norm"], norm, rtol=1e-5)
  np.testing.assert_allclose(found["mic_layer_sum"], found["mic_layers"].sum(), rtol=1e-6)


def test_splits_are_disjoint_and_scaled_by_the_train_part():
  config = config_of("smoke")
  operands = experiment.prepare(config)
  rows = experiment.split_rows(config, operands, jax.random.key(3))
  flat = np.concatenate([np.asarray(r) for r in rows])
  assert len(set(flat.tolist())) == len(flat) == 250
  found = experiment.splits(config, operands, rows)
  assert [len(part.labels) for part in found] == [100, 50, 100]
  np.testing.assert_allclose(found.train.inputs.mean(), 0, atol=1e-5)
  np.testing.assert_allclose(found.train.inputs.std(), 1, atol=1e-5)
  assert abs(found.test.inputs.mean()) > 1e-5


def test_equal_budgets():
  """In the default every part is tuned over as many values, and evaluation seeds are fresh."""
  config = config_of("default")
  assert {len(grid) for grid in config.tune.values()} == {6}
  assert set(config.tune) == set(cells.PARTS)
  tuning = set(range(config.tuning.seed, config.tuning.seed + config.tuning.seeds))
  assert not tuning & set(range(config.seed, config.seed + config.seeds))
  assert config.seeds >= 10


def test_numbers_of_a_cell():
  config = config_of("default")
  numbers = experiment.numbers_of(config, "cp+mic", {"cp": 0.3, "cp+mic": 0.02, "mic": 0.5})
  assert numbers["penalties.confidence"] == 0.3 and numbers["regulariser.beta"] == 0.02
  assert numbers["optimizer.weight_decay"] == 0
  numbers = experiment.numbers_of(config, "wd_matched_mic", {"wd_matched_mic": 0.07})
  assert numbers["optimizer.weight_decay"] == 0.07 and numbers["regulariser.beta"] == 0
  numbers = experiment.numbers_of(config, "lr", {"lr": 0.004})
  assert numbers["optimizer.learning_rate"] == 0.004


def test_selection_and_matching():
  accuracy = np.array([[0.8, 0.9], [0.9, 0.9], [0.9, 0.9], [0.7, 0.7]])
  loss = np.array([[0.1, 0.1], [0.5, 0.5], [0.4, 0.4], [0.0, 0.0]])
  best = experiment.best_value({"validation_accuracy": accuracy, "validation_loss": loss})
  assert best == 2
  tuning = {
    "wd": {
      "values": np.array([1e-4, 1e-3, 1e-2]),
      "frobenius_norm": np.array([[10.0], [8.0], [4.0]]),
    },
    "mic": {"chosen": np.asarray(0), "frobenius_norm": np.array([[6.0], [1.0]])},
  }
  np.testing.assert_allclose(experiment.matching_decay(tuning, "mic"), 10**-2.5)
  tuning["mic"]["chosen"] = np.asarray(1)  # lower than any: the end of the grid
  np.testing.assert_allclose(experiment.matching_decay(tuning, "mic"), 1e-2)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"regulariser__beta": -0.1}, "regulariser.beta is -0.1"),
    ({"penalties__smoothing": -1.0}, "penalties.smoothing is -1.0"),
    ({"tune__mic": (-0.1, 0.1)}, "tune.mic has -0.1"),
    ({"regulariser__name": "mix"}, "choose none, mic or eic"),
    ({"model__name": "cnn"}, "choose mlp or resnet"),
    ({"tuning__seeds": 0}, "tuning.seeds is 0"),
    ({"regulariser__samples": 1}, "regulariser.samples at least 2"),
    ({"split__train": 5000}, "together at most 1797"),
    ({"dataset": "sklearn:diabetes"}, "a regression"),
    ({"dataset": "sklearn:digit"}, "digits"),
  ],
)
def test_mistakes_end_in_one_sentence(changes, message):
  with pytest.raises(UserError, match=message) as error:
    experiment.prepare(config_of("smoke", **changes))
  assert "\n" not in str(error.value).strip()


def test_unknown_reading_and_cell():
  config = config_of("smoke", regulariser__reading="prose")
  with pytest.raises(UserError, match="choose paper or code"):
    experiment.reading(config)
  with pytest.raises(UserError, match="cells are"):
    experiment.run(config_of("smoke", cells=("none", "dropout")), None)


def test_residual_network_and_fake_inputs():
  """The convolutional path on 8 × 8 images, by stages as in the authors' program."""
  changes = {
    "model.name": "resnet",
    "model.depth": 8,
    "model.width": 4,
    "train.epochs": 1,
    "split.train": 50,
    "regulariser.name": "mic",
    "regulariser.reading": "code",
  }
  config = bind(config_of("smoke"), changes)
  operands = experiment.prepare(config)
  model = experiment.network(config, 10)
  term = experiment.complexity_term(config, model, (8, 8, 1))

  @jax.jit
  def value(key):
    variables = models.init(model, key, (8, 8, 1))
    return term(variables["params"], variables["batch_stats"], key, None)

  values = [float(value(jax.random.key(i))) for i in range(20)]
  # whole and three stages, each counting at a quarter of the steps, each at most 5
  assert min(values) >= 0 and 0 < max(values) <= 20 and len(set(values)) > 3
  # the whole run is traced only: training residual networks is lib.training's test
  shapes = jax.eval_shape(
    lambda seed: experiment.PROGRAM(bind(config, {"seed": seed}), operands), 0
  )
  assert shapes["test_accuracy"].shape == shapes["mic_layer_sum"].shape == ()


@pytest.mark.xdist_group("smoke capacity")  # beside the tests that need that run too
def test_smoke_preset_end_to_end(smoke):
  workdir = smoke("capacity").workdir
  results = json.loads((workdir / "results.json").read_text())
  assert results["project"] == "capacity" and results["preset"] == "smoke"
  for cell in results["config"]["cells"]:
    assert 0 <= results["metrics"][f"test_accuracy/{cell}"] <= 1
    assert results["metrics"][f"mic_layer_sum/{cell}"] > 0
  verdicts = {"reproduced", "partly", "not_reproduced", "not_tested"}
  assert {row["verdict"] for row in results["claims"]} <= verdicts
  assert all(row["why"] for row in results["claims"])
  figures = {path.stem for path in (workdir / "figures").glob("*.png")}
  assert figures == {
    "tables",
    "gains",
    "fig1_training_curves",
    "complexity_accuracy",
    "selection",
  }


def test_sweep_over_beta_and_seeds(tmp_path):
  done = launch(
    "--config=configs/capacity.py:smoke",
    f"--workdir={tmp_path}/sweep",
    "--sweep=regulariser.beta=0.01,0.5",
    "--sweep=seed=0:2",
    cwd=ROOT,
  )
  assert done.returncode == 0, done.stderr
  rows = (tmp_path / "sweep" / "sweep.csv").read_text().splitlines()
  assert len(rows) == 5 and "test_accuracy" in rows[0]
  column = rows[0].split(",").index("mic_layer_sum")
  values = [float(row.split(",")[column]) for row in rows[1:]]
  # rows: β = 0.01 with both seeds, then β = 0.5; the larger β has the lower capacity, paired
  assert values[0] > values[2] and values[1] > values[3]


def test_negative_beta_exits_with_2(tmp_path):
  done = launch(
    "--config=configs/capacity.py:smoke",
    "--config.regulariser.beta=-1",
    f"--workdir={tmp_path}/run",
    cwd=ROOT,
  )
  assert done.returncode == 2 and "regulariser.beta" in done.stderr
  assert "Traceback" not in done.stderr

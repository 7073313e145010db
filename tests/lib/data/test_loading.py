"""Sets by name: scikit-learn's against scikit-learn, generators against their Bayes scores."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from scipy import special
from sklearn import datasets

from lib import data
from lib.data import synthetic
from lib.experiment.errors import UserError


def test_scikit_sets_are_those_of_scikit_learn():
  for name, n, shape, classes in (
    ("digits", 1797, (8, 8, 1), 10),
    ("iris", 150, (4,), 3),
    ("wine", 178, (13,), 3),
    ("breast_cancer", 569, (30,), 2),
  ):
    found = data.load(f"sklearn:{name}")
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    assert found.info.input_shape == shape and found.info.num_classes == classes
    assert len(found.info.class_names) == classes and found.train.size == n
    assert found.test is None and found.validation is None
    np.testing.assert_array_equal(found.train.targets, y)
    np.testing.assert_allclose(found.train.inputs.reshape(n, -1), x, rtol=1e-6)


def test_images_are_asked_for():
  assert data.load_images("sklearn:digits").info.input_shape == (8, 8, 1)
  for name in ("sklearn:iris", "sklearn:diabetes"):
    with pytest.raises(UserError, match=f"'{name}', but this project needs classes of images"):
      data.load_images(name)


def test_one_feature_of_a_table():
  found = data.load("sklearn:diabetes/bmi")
  raw = datasets.load_diabetes(scaled=False)
  np.testing.assert_allclose(found.train.inputs[:, 0], raw.data[:, 2], rtol=1e-6)
  assert found.info.task == "regression" and found.info.feature_names == ("bmi",)
  normal, _ = data.normalise(found, targets=True)
  # scikit-learn's own standardised column is ours up to a factor
  theirs = datasets.load_diabetes().data[:, 2]
  np.testing.assert_allclose(normal.train.inputs[:, 0], theirs * np.sqrt(442), atol=1e-5)
  assert normal.train.targets.std() == pytest.approx(1, rel=1e-6)


def test_a_dataset_is_a_pytree_of_its_arrays():
  found = data.load("synthetic:parity?n_train=8&n_test=4")
  assert len(jax.tree.leaves(found)) == 4
  doubled = jax.jit(lambda d: jax.tree.map(lambda x: 2 * x, d))(found)
  assert doubled.info == found.info
  np.testing.assert_array_equal(doubled.train.inputs, 2 * found.train.inputs)


@pytest.mark.parametrize(
  ("name", "says"),
  [
    ("digits", "Did you mean 'sklearn:digits'"),
    ("sklern:digits", "Did you mean 'sklearn:digits'"),
    ("sklearn:digit", "Did you mean 'digits'"),
    ("sklearn:digits/bmi", "images"),
    ("sklearn:diabetes/bm", "Did you mean 'bmi'"),
    ("synthetic:two_moon", "Did you mean 'two_moons'"),
    ("synthetic:parity?dificulty=0.1", "Did you mean 'difficulty'"),
    ("synthetic:parity?difficulty", "cannot be read"),
    ("synthetic:parity?difficulty=many", "cannot be read"),
    ("synthetic:parity?difficulty=1.0", "outside"),
    ("synthetic:parity?n_train=0", "out of range"),
    ("synthetic:gaussian_mixture?classes=20", "dim >= classes"),
    ("sklearn:iris?seed=1", "take no options"),
    ("", "names no data set"),
  ],
)
def test_a_wrong_name_ends_in_one_clear_sentence(name, says):
  with pytest.raises(UserError, match=says.replace("?", r"\?")) as caught:
    data.load(name)
  assert "\n" not in str(caught.value)


def test_every_listed_name_that_needs_no_disk_loads():
  for name in data.names():
    if not name.startswith("tfds:"):
      found = data.load(name)
      assert found.info.name == name
      assert found.train.inputs.shape[1:] == found.info.input_shape
      assert found.train.targets.dtype == (
        np.int32 if found.info.task == "classification" else np.float32
      )


@pytest.mark.parametrize("generator", sorted(synthetic.GENERATORS))
def test_a_seed_fixes_a_task(generator):
  one = data.load(f"synthetic:{generator}", seed=5, n_train=20)
  again = data.load(f"synthetic:{generator}?seed=5&n_train=30")
  other = data.load(f"synthetic:{generator}", seed=6, n_train=20)
  np.testing.assert_array_equal(one.test.inputs, again.test.inputs)
  assert not np.array_equal(one.train.inputs, other.train.inputs)
  assert not np.array_equal(one.train.inputs, one.test.inputs[:20])


def test_bayes_accuracy_of_two_gaussians_is_the_closed_form():
  for separation in (0.5, 2.0, 5.0):
    assert synthetic.mixture_accuracy(separation, 2) == pytest.approx(
      special.ndtr(separation / 2), abs=1e-12
    )


def test_bayes_accuracy_of_a_mixture_is_what_the_bayes_classifier_reaches():
  """The nearest mean is the Bayes rule; the means are found back as class averages."""
  found = data.load(
    "synthetic:gaussian_mixture", difficulty=0.3, classes=5, n_train=200_000, n_test=100_000
  )
  assert found.info.bayes_accuracy == pytest.approx(1 - 0.3 * 0.8)
  x, y = found.train
  means = np.stack([x[y == k].mean(axis=0) for k in range(5)])
  distances = np.linalg.norm(means[:, None] - means[None], axis=-1)[np.triu_indices(5, 1)]
  np.testing.assert_allclose(distances, distances.mean(), rtol=0.03)
  scores = found.test.inputs @ means.T - 0.5 * (means**2).sum(axis=1)
  accuracy = (scores.argmax(axis=1) == found.test.targets).mean()
  assert accuracy == pytest.approx(found.info.bayes_accuracy, abs=0.005)


@pytest.mark.parametrize("name", ["two_moons", "spirals?classes=3"])
def test_bayes_accuracy_of_noisy_curves_by_monte_carlo(name):
  """Independent of the quadrature: densities from draws of the curve, at drawn points."""
  generator = name.split("?")[0]
  options = {"classes": 3} if "classes" in name else {}
  task = synthetic.GENERATORS[generator](0, 0.5, **options)
  noise = 0.25 if generator == "two_moons" else 0.125
  clean = synthetic.GENERATORS[generator](0, 0.0, **options)
  rng = np.random.default_rng(0)
  anchors, owner = clean.sample(rng, 1000 * task.num_classes)
  x, y = task.sample(rng, 4000)
  squared = ((x[:, None] - anchors[None]) ** 2).sum(axis=-1)
  kernel = np.exp(-squared / (2 * noise**2))
  density = np.stack([kernel[:, owner == k].mean(axis=1) for k in range(task.num_classes)])
  accuracy = (density.argmax(axis=0) == y).mean()
  assert task.bayes == pytest.approx(accuracy, abs=4 * np.sqrt(0.25 / 4000))


def test_difficulty_is_monotone():
  for generator in ("two_moons", "spirals", "gaussian_mixture", "parity"):
    scores = [synthetic.GENERATORS[generator](0, d).bayes for d in (0.1, 0.3, 0.6, 0.9)]
    assert scores == sorted(scores, reverse=True) and 1 > scores[0] > scores[-1] > 0.25


def test_parity_depends_on_the_relevant_bits_alone():
  found = data.load("synthetic:parity?difficulty=0&dim=6&bits=3&n_train=2000")
  x, y = found.train
  sign = 1 - 2 * y.astype(float)
  products = [
    (abs((x[:, [i, j, k]].prod(axis=1) * sign).mean()), (i, j, k))
    for i in range(6)
    for j in range(i + 1, 6)
    for k in range(j + 1, 6)
  ]
  best, second = sorted(products, reverse=True)[:2]
  assert best[0] == 1 and second[0] < 0.2


def test_least_squared_error_of_the_regressions():
  found = data.load("synthetic:linear_regression?difficulty=0.3&n_train=50000&dim=5")
  x, y = found.train
  weights, *_ = np.linalg.lstsq(x, y, rcond=None)
  assert np.mean((found.train.targets - x @ weights) ** 2) == pytest.approx(0.3, rel=0.03)
  assert y.var() == pytest.approx(1, rel=0.03) and found.info.bayes_mse == 0.3
  found = data.load("synthetic:sine_regression?difficulty=0.2&n_train=50000")
  x, y = found.train
  wave = np.sin(2 * np.pi * x[:, 0])
  amplitude = (wave @ y) / (wave @ wave)
  assert np.mean((y - amplitude * wave) ** 2) == pytest.approx(0.2, rel=0.03)


def test_importing_the_package_is_light():
  heavy = "['sklearn', 'tensorflow_datasets', 'tensorflow', 'scipy.stats', 'PIL', 'pandas']"
  code = f"import sys, lib.data; print([m for m in {heavy} if m in sys.modules])"
  out = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == "[]"

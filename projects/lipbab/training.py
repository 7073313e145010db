"""The networks that constants are computed of: scikit-learn's, as in the paper, and ours."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lib import data
from lib.experiment import Program
from lib.verification import Network, differentiable, from_arrays

HIDDEN = {"iris": (5, 5), "sd1": (15, 10), "sd2": (20, 15, 10), "sd3": (30, 30, 30)}
BOXES = {"iris": 1.0, "sd1": 0.1, "sd2": 0.1, "sd3": 0.1}  # upper ends; the lower are 0


def table_networks(name: str, seeds) -> dict[str, np.ndarray]:
  """An MLPClassifier for each seed: {"W0": (seeds, inputs, outputs), "b0": …}.

  Iris scaled to [0, 1], or ten inputs and three classes from make_classification with the same
  seed. The paper gives neither options nor seeds; these are scikit-learn's defaults but for
  the number of classes, which needs three informative inputs, and of points.
  """
  from sklearn.datasets import load_iris, make_classification

  found = []
  for seed in seeds:
    if name == "iris":
      x, y = load_iris(return_X_y=True)
      x = (x - x.min(0)) / (x.max(0) - x.min(0))
    else:
      x, y = make_classification(
        n_samples=1000, n_features=10, n_informative=5, n_classes=3, random_state=seed
      )
    found.append(_classifier(x, y, HIDDEN[name], 200, seed))
  return _stack(found)


def digits_networks(hidden, iterations: int, seeds) -> dict[str, np.ndarray]:
  """A classifier of digits for each seed, and `centre`, an image that it has not seen."""
  found = data.load("sklearn:digits")
  x = np.asarray(found.train.inputs, np.float64).reshape(len(found.train.inputs), -1)
  x = x / x.max()
  y = np.asarray(found.train.targets)
  networks, centres = [], []
  for seed in seeds:
    order = np.random.default_rng(seed).permutation(len(x))
    kept = order[1:]
    networks.append(_classifier(x[kept], y[kept], hidden, iterations, seed))
    centres.append(x[order[0]])
  return {**_stack(networks), "centre": np.stack(centres)}


def _classifier(x, y, hidden, iterations, seed):
  from sklearn.neural_network import MLPClassifier

  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of not having converged
    model = MLPClassifier(
      hidden_layer_sizes=tuple(hidden), max_iter=iterations, random_state=seed
    ).fit(x, y)
  return model.coefs_, model.intercepts_


def _stack(found) -> dict[str, np.ndarray]:
  depth = len(found[0][0])
  arrays = {f"W{i}": np.stack([w[i] for w, _ in found]) for i in range(depth)}
  return arrays | {f"b{i}": np.stack([b[i] for _, b in found]) for i in range(depth)}


def network(arrays, index: int) -> Network:
  """The network of one seed."""
  depth = sum(name[0] == "W" for name in arrays)
  return from_arrays(
    [arrays[f"W{i}"][index] for i in range(depth)],
    [arrays[f"b{i}"][index] for i in range(depth)],
  )


# --- a classifier trained with the root bound as a penalty -----------------------------------


def prepare(config):
  """Digits in [0, 1], two thirds for training."""
  found = data.load("sklearn:digits")
  x = np.asarray(found.train.inputs, np.float32).reshape(len(found.train.inputs), -1)
  y = np.asarray(found.train.targets)
  order = np.random.default_rng(0).permutation(len(x))
  cut = 2 * len(x) // 3
  x = x / x.max()
  return {
    "x": jnp.asarray(x[order[:cut]]),
    "y": jnp.asarray(y[order[:cut]]),
    "test_x": jnp.asarray(x[order[cut:]]),
    "test_y": jnp.asarray(y[order[cut:]]),
  }


def _logits(parameters, x):
  hidden = jax.nn.relu(x @ parameters["W0"] + parameters["b0"])
  return hidden @ parameters["W1"] + parameters["b1"]


def train(config, operands):
  """One classifier: cross entropy + weight · root bound of ‖J‖_2 on [0, 1]^64, by Adam."""
  settings = config.regulariser
  first, second = jax.random.split(jax.random.key(config.seed))
  inputs, classes = operands["x"].shape[1], 10
  normal = jax.random.normal
  parameters = {
    "W0": normal(first, (inputs, settings.hidden)) * (2 / inputs) ** 0.5,
    "b0": jnp.zeros(settings.hidden),
    "W1": normal(second, (settings.hidden, classes)) * (2 / settings.hidden) ** 0.5,
    "b1": jnp.zeros(classes),
  }
  low, high = jnp.zeros(inputs), jnp.ones(inputs)

  def objective(p):
    entropy = optax.softmax_cross_entropy_with_integer_labels(
      _logits(p, operands["x"]), operands["y"]
    ).mean()
    bound = differentiable.root_bound([p["W0"], p["W1"]], [p["b0"], p["b1"]], low, high, 2)
    return entropy + settings.weight * bound

  optimiser = optax.adam(settings.step_size)

  def step(carry, _):
    parameters, state = carry
    updates, state = optimiser.update(jax.grad(objective)(parameters), state)
    return (optax.apply_updates(parameters, updates), state), None

  start = parameters, optimiser.init(parameters)
  (parameters, _), _ = jax.lax.scan(step, start, None, length=settings.steps)
  right = jnp.argmax(_logits(parameters, operands["test_x"]), -1) == operands["test_y"]
  return {**parameters, "accuracy": right.mean()}


REGULARISED = Program.once(train)

"""Networks and their importers."""

import itertools
import pickle

import jax
import numpy as np
import pytest
from flax import linen as nn

from lib import models
from lib.verification import networks


def apply(network, x):
  """The network as it is lowered, at (k, n)."""
  for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
    x = x @ weight.T + bias
    if i < len(network.slopes):
      x = np.where(x > 0, network.slopes[i][1], network.slopes[i][0]) * x
  return x


def parameters(seed=0, widths=(3, 6, 6, 2)):
  rng = np.random.default_rng(seed)
  weights = [rng.standard_normal(s) for s in itertools.pairwise(widths)]
  return weights, [rng.standard_normal(k) for k in widths[1:]]


ACTIVATIONS = {
  "relu": lambda z: np.maximum(z, 0),
  "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
  "leaky_relu:0.3": lambda z: np.where(z > 0, z, 0.3 * z),
  "abs": np.abs,
  "identity": lambda z: z,
  "maxmin": lambda z: -np.sort(-z.reshape(len(z), -1, 2)).reshape(z.shape),
  "groupsort:3": lambda z: -np.sort(-z.reshape(len(z), -1, 3)).reshape(z.shape),
  "groupsort:6": lambda z: -np.sort(-z, -1),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_lowered_exactly(name):
  weights, biases = parameters()
  x = np.random.default_rng(1).standard_normal((50, 3))
  expected = x
  for w, b in zip(weights[:-1], biases[:-1], strict=True):
    expected = ACTIVATIONS[name](expected @ w + b)
  expected = expected @ weights[-1] + biases[-1]
  np.testing.assert_allclose(
    apply(networks.from_arrays(weights, biases, name), x), expected, rtol=1e-12, atol=1e-12
  )


@pytest.mark.parametrize("padding", ["VALID", "SAME", ((1, 0), (2, 1))])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
def test_convolution_and_pool_are_flax(padding, strides):
  class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
      x = nn.relu(nn.Conv(4, (3, 2), strides, padding)(x))
      x = nn.avg_pool(x, (2, 2), (1, 2))
      return nn.Dense(3)(x.reshape(x.shape[0], -1))

  with jax.enable_x64(True):
    x = np.random.default_rng(0).standard_normal((5, 6, 7, 2))
    values = Net().init(jax.random.key(0), x)
    values = jax.tree.map(lambda v: np.asarray(v, np.float64) + 0.1, values)
    expected = Net().apply(values, x)
  p = values["params"]
  network = networks.sequential(
    [
      networks.Convolution(p["Conv_0"]["kernel"], p["Conv_0"]["bias"], strides, padding),
      "relu",
      networks.AveragePool((2, 2), (1, 2)),
      networks.Affine(p["Dense_0"]["kernel"].T, p["Dense_0"]["bias"]),
    ],
    input_shape=(6, 7, 2),
  )
  np.testing.assert_allclose(apply(network, x.reshape(5, -1)), expected, rtol=1e-6, atol=1e-6)
  assert len(network.slopes) == 2  # the pool passes through


def test_flax_and_sklearn_and_npz(tmp_path):
  from sklearn.neural_network import MLPRegressor

  x = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
  model = models.MLP((7,) * 11 + (2,))  # more than ten layers: their names sort as numbers
  values = model.init(jax.random.key(0), x)
  found = apply(networks.from_flax(values), x.astype(np.float64))
  np.testing.assert_allclose(found, model.apply(values, x), rtol=1e-4, atol=1e-5)

  regressor = MLPRegressor(hidden_layer_sizes=(5, 4), max_iter=5, random_state=0).fit(
    x, x[:, :2]
  )
  found = apply(networks.from_sklearn(regressor), x.astype(np.float64))
  np.testing.assert_allclose(found, regressor.predict(x), rtol=1e-4, atol=1e-5)

  weights, biases = parameters()
  path = networks.to_npz(tmp_path / "net.npz", weights, biases)
  loaded = networks.from_npz(path)
  for ours, theirs in zip(loaded.weights, weights, strict=True):
    np.testing.assert_array_equal(ours, theirs.T)


def write(path, **arrays):
  np.savez(path, **arrays)
  return path


class Bomb:
  """Fails the test when it is unpickled."""

  def __reduce__(self):
    return (pytest.fail, ("unpickled",))


def test_bad_files_are_one_clear_sentence(tmp_path):
  weights, biases = parameters()
  w, b = weights[0], biases[0]
  for path, message in (
    (tmp_path / "absent.npz", "there is no file"),
    (write(tmp_path / "a.npz", W0=w, b0=b, W2=w, b2=b), "lacks W1, b1 of its 3 layers"),
    (write(tmp_path / "b.npz", W0=w), "lacks b0"),
    (write(tmp_path / "c.npz", x=w), "no arrays W0"),
    (write(tmp_path / "d.npz", W0=np.array([w, Bomb()], object), b0=b), "pickled objects"),
  ):
    with pytest.raises(ValueError, match=message):
      networks.from_npz(path)
  (tmp_path / "e.npz").write_bytes(b"PK\x03\x04 nonsense")
  with pytest.raises(ValueError, match="cannot be read"):
    networks.from_npz(tmp_path / "e.npz")
  (tmp_path / "f.npz").write_bytes(pickle.dumps(Bomb()))
  with pytest.raises(ValueError, match="pickled objects"):
    networks.from_npz(tmp_path / "f.npz")
  (tmp_path / "h.npz").write_text("W0")
  with pytest.raises(ValueError, match=r"not an \.npz"):
    networks.from_npz(tmp_path / "h.npz")
  np.save(tmp_path / "g.npy", w)
  with pytest.raises(ValueError, match=r"not an \.npz"):
    networks.from_npz(tmp_path / "g.npy")


@pytest.mark.parametrize(
  ("layers", "shape", "message"),
  [
    (["relu"], None, "cannot begin with an activation"),
    ([networks.Affine(np.ones((3, 2)), np.ones(3)), "maxmin"], None, "multiple of the group"),
    ([networks.Affine(np.ones((3, 2)), np.ones(3)), "groupsort:x"], None, "multiple of the"),
    ([networks.Affine(np.ones((3, 2)), np.ones(3)), "leaky_relu:x"], None, "has no slope"),
    ([networks.AveragePool((2, 2))], None, "input_shape"),
    ([networks.AveragePool((9, 2))], (4, 4, 1), "larger than its input"),
    ([networks.Convolution(np.ones((2, 2, 3, 1)), np.zeros(1))], (4, 4, 1), "channels"),
    ([networks.Affine(np.ones(3), np.ones(3))], None, "has shape"),
  ],
)
def test_bad_layers_are_one_clear_sentence(layers, shape, message):
  with pytest.raises(ValueError, match=message):
    networks.sequential(layers, shape)


def test_unfitted_and_unknown_models():
  from sklearn.neural_network import MLPClassifier

  with pytest.raises(ValueError, match="not fitted"):
    networks.from_sklearn(MLPClassifier())
  with pytest.raises(ValueError, match="no dense layer"):
    networks.from_flax({"params": {}})

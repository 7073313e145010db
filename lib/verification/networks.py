"""Piecewise linear networks as affine maps and slopes, and importers that make them.

A network is x_0 = x, z_l = W_l x_{l-1} + b_l, x_l = φ_l(z_l) and f(x) = W_L x_{L-1} + b_L. A
hidden unit has one kink, at 0: φ(z) = α z for z < 0 and β z for z > 0. ReLU is (0, 1), leaky
ReLU (a, 1), the absolute value (−1, 1), and a unit without a kink (1, 1). Everything else here
is lowered to that without a rounding error: MaxMin is max(a, b) = b + relu(a − b) and
min(a, b) = a − relu(a − b), GroupSort a sorting network of them; convolutions and average
pools are matrices, and a pass-through layer stands between two affine maps rather than their
product.
"""

import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

_SLOPES = {
  "relu": (0.0, 1.0),
  "leaky_relu": (0.01, 1.0),
  "abs": (-1.0, 1.0),
  "identity": (1.0, 1.0),
}
ACTIVATIONS = (*_SLOPES, "leaky_relu:SLOPE", "maxmin", "groupsort:SIZE")


class Network(NamedTuple):
  """f(x) = W_L φ(… φ(W_1 x + b_1) …) + b_L with one kink a unit.

  Attributes:
    weights: L matrices, W_l of shape (n_l, n_{l-1}), float64.
    biases: L vectors (n_l,).
    slopes: L − 1 arrays (2, n_l), the slopes of the hidden units for z < 0 and for z > 0.
  """

  weights: tuple[np.ndarray, ...]
  biases: tuple[np.ndarray, ...]
  slopes: tuple[np.ndarray, ...]

  @property
  def inputs(self) -> int:
    """Number of inputs."""
    return self.weights[0].shape[1]

  @property
  def outputs(self) -> int:
    """Number of outputs."""
    return self.weights[-1].shape[0]

  @property
  def hidden(self) -> tuple[int, ...]:
    """Widths of the hidden layers as lowered."""
    return tuple(len(b) for b in self.biases[:-1])


def from_arrays(weights: Sequence, biases: Sequence, activation: str = "relu") -> Network:
  """The network x ↦ φ(x @ W + b), with no activation after the last layer.

  Args:
    weights: L matrices (inputs of the layer, outputs of the layer).
    biases: L vectors.
    activation: one of ACTIVATIONS, after every layer but the last.

  Raises:
    ValueError: shapes do not chain, a number is not finite, or the activation is unknown.
  """
  if not len(weights):
    raise ValueError("a network has at least one layer; there is no weight matrix.")
  if len(weights) != len(biases):
    raise ValueError(f"{len(weights)} weight matrices do not go with {len(biases)} biases.")
  layers: list[Any] = []
  for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
    layers += [Affine(_matrix(weight, number).T, bias), activation]
  return _lower(layers[:-1], None, [i // 2 for i in range(len(layers))])


class Affine(NamedTuple):
  """x ↦ W x + b."""

  weight: Any
  bias: Any


class Convolution(NamedTuple):
  """A 2-D convolution over (height, width, channels), as flax.linen.Conv computes it.

  Attributes:
    kernel: (height, width, channels in, channels out).
    bias: (channels out,).
    strides: rows and columns.
    padding: "VALID", "SAME" or ((top, bottom), (left, right)).
  """

  kernel: Any
  bias: Any
  strides: tuple[int, int] = (1, 1)
  padding: Any = "VALID"


class AveragePool(NamedTuple):
  """Means over windows of (height, width, channels), without padding."""

  window: tuple[int, int]
  strides: tuple[int, int] | None = None


def sequential(layers: Sequence, input_shape: tuple[int, int, int] | None = None) -> Network:
  """A network from affine layers, convolutions, pools and names of activations, in order.

  Args:
    layers: Affine, Convolution, AveragePool, or one of ACTIVATIONS.
    input_shape: (height, width, channels), for networks that begin with a convolution or a
      pool; inputs are then flattened in this order.

  Raises:
    ValueError: shapes do not chain, a number is not finite, or an activation is unknown.
  """
  return _lower(layers, input_shape, range(len(layers)))


def _lower(layers, input_shape, numbers) -> Network:
  """`sequential`, with the number by which an error names each layer."""
  shape, size = input_shape, None if input_shape is None else int(np.prod(input_shape))
  weights, biases, slopes = [], [], []

  def add(weight, bias):
    if len(weights) > len(slopes):  # two affine maps in a row
      slopes.append(np.ones((2, len(biases[-1]))))
    weights.append(weight)
    biases.append(bias)

  for number, layer in zip(numbers, layers, strict=False):
    if isinstance(layer, str):
      if not weights or len(weights) == len(slopes):
        add(np.eye(_known(size)), np.zeros(_known(size)))
      for step in _activation(layer, len(biases[-1])):
        if isinstance(step, tuple):
          add(*step)
        else:
          slopes.append(step)
      continue
    if isinstance(layer, Affine):
      weight, bias = _matrix(layer.weight, number), _vector(layer.bias, number)
      shape = None
    else:
      if shape is None:
        raise ValueError(f"layer {number} needs input_shape=(height, width, channels).")
      weight, bias, shape = _lowered(layer, shape, number)
    if size is not None and weight.shape[1] != size:
      raise ValueError(
        f"shapes do not chain: layer {number} takes {weight.shape[1]} inputs, "
        f"but {size} come from before."
      )
    if len(bias) != len(weight):
      raise ValueError(
        f"shapes do not chain: layer {number} has {len(weight)} outputs, "
        f"but a bias of length {len(bias)}."
      )
    add(weight, bias)
    size = len(bias)
  if len(weights) == len(slopes):  # an activation came last
    add(np.eye(size), np.zeros(size))
  return Network(tuple(weights), tuple(biases), tuple(slopes))


def from_flax(parameters: Mapping[str, Any], activation: str = "relu") -> Network:
  """The network of a flax MLP's parameters: dense layers in the order of their names.

  Takes `{"params": {...}}` or what is in it, nested as it may be: every dict with a matrix
  `kernel` is a layer. Names are ordered with their numbers read as numbers.

  Raises:
    ValueError: there is no dense layer, or as `from_arrays`.
  """
  layers = []

  def visit(node, path):
    if "kernel" in node:
      kernel = np.asarray(node["kernel"])
      if kernel.ndim != 2:
        raise ValueError(
          f"'{'/'.join(path)}' is not a dense layer; give convolutions to `sequential`."
        )
      layers.append((kernel, node.get("bias", np.zeros(kernel.shape[1]))))
      return
    for name in sorted(node, key=_natural):
      if isinstance(node[name], Mapping):
        visit(node[name], (*path, name))

  visit(parameters, ())
  if not layers:
    raise ValueError("the parameters hold no dense layer (a dict with a 'kernel').")
  return from_arrays(*zip(*layers, strict=True), activation)


def from_sklearn(model: Any) -> Network:
  """The network before the last nonlinearity of an MLPClassifier or MLPRegressor.

  Raises:
    ValueError: it is not fitted, or its activation is not piecewise linear.
  """
  if not hasattr(model, "coefs_"):
    raise ValueError("the scikit-learn model is not fitted, so it has no weights.")
  return from_arrays(model.coefs_, model.intercepts_, model.activation)


def from_npz(path: str | pathlib.Path, activation: str = "relu") -> Network:
  """The network of an .npz with arrays W0, b0, W1, b1, …: x @ W + b.

  Pickled objects are never loaded.

  Raises:
    ValueError: the file is absent or no .npz, lacks a layer, holds objects, or as
      `from_arrays`.
  """
  try:
    file = np.load(path, allow_pickle=False)
    if not isinstance(file, np.lib.npyio.NpzFile):
      raise ValueError(f"'{path}' is not an .npz file with arrays W0, b0, W1, b1, ….")
    with file:
      found = _members(path, file)
  except FileNotFoundError as error:
    raise ValueError(f"there is no file '{path}'.") from error
  except (OSError, EOFError, zipfile.BadZipFile) as error:
    raise ValueError(f"'{path}' cannot be read as an .npz file ({error}).") from error
  except ValueError as error:
    if "pickle" not in str(error).lower():
      raise
    if not zipfile.is_zipfile(path):
      raise ValueError(
        f"'{path}' is not an .npz file with arrays W0, b0, W1, b1, …; pickled objects are "
        "never loaded."
      ) from error
    raise ValueError(
      f"'{path}' holds pickled objects, which are never loaded; save plain arrays "
      "W0, b0, W1, b1, … with numpy.savez."
    ) from error
  depth = 1 + max(int(name[1:]) for name in found)
  missing = [n for i in range(depth) for n in (f"W{i}", f"b{i}") if n not in found]
  if missing:
    raise ValueError(f"'{path}' lacks {', '.join(missing)} of its {depth} layers.")
  return from_arrays(
    [found[f"W{i}"] for i in range(depth)], [found[f"b{i}"] for i in range(depth)], activation
  )


def _members(path, file) -> dict[str, np.ndarray]:
  names = [n for n in file.files if n[:1] in ("W", "b") and n[1:].isdigit()]
  if not names:
    raise ValueError(f"'{path}' has no arrays W0, b0, W1, b1, ….")
  return {name: file[name] for name in names}


def to_npz(path: str | pathlib.Path, weights: Sequence, biases: Sequence) -> pathlib.Path:
  """Writes the file that `from_npz` reads, from matrices (inputs, outputs) and biases."""
  arrays = {f"W{i}": np.asarray(w, np.float64) for i, w in enumerate(weights)}
  arrays |= {f"b{i}": np.asarray(b, np.float64) for i, b in enumerate(biases)}
  np.savez(path, **arrays)
  return pathlib.Path(path)


def _natural(name: str):
  digits = "".join(c for c in name if c.isdigit())
  return ("".join(c for c in name if not c.isdigit()), int(digits or 0), name)


def _known(size):
  if size is None:
    raise ValueError("a network cannot begin with an activation; give input_shape or a layer.")
  return size


def _finite(array, number, what):
  try:
    array = np.array(array)
    if np.iscomplexobj(array):
      raise TypeError
    array = np.array(array, dtype=np.float64, order="C")
  except (TypeError, ValueError) as error:
    raise ValueError(
      f"the {what} of layer {number} is not an array of real numbers."
    ) from error
  if not np.all(np.isfinite(array)):
    raise ValueError(f"the {what} of layer {number} has NaN or infinite numbers.")
  return array


def _matrix(weight, number):
  weight = _finite(weight, number, "weight matrix")
  if weight.ndim != 2 or not weight.size:
    raise ValueError(f"the weight matrix of layer {number} has shape {weight.shape}.")
  return weight


def _vector(bias, number):
  bias = _finite(bias, number, "bias")
  if bias.ndim != 1:
    raise ValueError(
      f"the bias of layer {number} has shape {bias.shape}; it must be a vector."
    )
  return bias


def slopes_of(name: str) -> tuple[float, float]:
  """(slope below 0, slope above 0) of an elementwise activation.

  Raises:
    ValueError: it is unknown, or no number follows "leaky_relu:".
  """
  kind, _, argument = name.partition(":")
  if kind == "leaky_relu" and argument:
    try:
      slope = float(argument)
    except ValueError:
      slope = np.nan
    if not np.isfinite(slope):
      raise ValueError(f"'{name}' has no slope; write leaky_relu:0.1.")
    return slope, 1.0
  if name not in _SLOPES:
    raise ValueError(
      f"unknown activation '{name}': the certified ones are {', '.join(ACTIVATIONS)}."
    )
  return _SLOPES[name]


def _activation(name: str, width: int) -> list:
  """Slopes, or slopes and affine maps (weight, bias) in turn, that a name stands for."""
  kind, _, argument = name.partition(":")
  if kind not in ("maxmin", "groupsort"):
    return [np.repeat(np.array(slopes_of(name))[:, None], width, 1)]
  size = 2 if kind == "maxmin" else int(argument) if argument.isdigit() else 0
  if size < 2 or width % size or (kind == "maxmin" and argument):
    raise ValueError(
      f"'{name}' does not sort a layer of width {width}: the width must be a multiple of the "
      "group size, written maxmin or groupsort:SIZE."
    )
  steps: list[Any] = []
  rounds = 1 if size == 2 else size  # odd-even transposition sort
  for i in range(rounds):
    first = [g + j for g in range(0, width, size) for j in range(i % 2, size - 1, 2)]
    steps += _compare(first, width)
  return [np.ones((2, width)), *steps]


def _compare(first: Sequence[int], width: int) -> list:
  """Puts the larger of units j, j + 1 first, for each j: two maps with a layer in between."""
  pairs = len(first)
  into = np.zeros((width + pairs, width))
  into[:width] = np.eye(width)
  out = np.zeros((width, width + pairs))
  out[:, :width] = np.eye(width)
  slopes = np.ones((2, width + pairs))
  slopes[0, width:] = 0.0
  for k, j in enumerate(first):
    into[width + k, [j, j + 1]] = 1.0, -1.0
    out[j, j], out[j, j + 1], out[j, width + k] = 0.0, 1.0, 1.0
    out[j + 1, j + 1], out[j + 1, j], out[j + 1, width + k] = 0.0, 1.0, -1.0
  return [(into, np.zeros(width + pairs)), slopes, (out, np.zeros(width))]


def _lowered(layer, shape, number):
  """Matrix, bias and output shape of a convolution or pool on (height, width, channels)."""
  height, width, channels = shape
  if isinstance(layer, AveragePool):
    kernel = np.zeros((*layer.window, channels, channels))
    kernel[..., range(channels), range(channels)] = 1 / np.prod(layer.window)
    layer = Convolution(kernel, np.zeros(channels), layer.strides or layer.window)
  elif not isinstance(layer, Convolution):
    raise ValueError(f"layer {number} is a {type(layer).__name__}, which is not known here.")
  kernel = _finite(layer.kernel, number, "kernel")
  if kernel.ndim != 4 or kernel.shape[2] != channels:
    raise ValueError(
      f"shapes do not chain: layer {number} has a kernel of shape {kernel.shape}, "
      f"but {channels} channels come from before."
    )
  (top, left), (rows, columns) = _places(layer, kernel, height, width, number)
  weight = np.zeros((rows, columns, kernel.shape[3], height, width, channels))
  for i in range(rows):
    for j in range(columns):
      for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
          y, x = i * layer.strides[0] + a - top, j * layer.strides[1] + b - left
          if 0 <= y < height and 0 <= x < width:
            weight[i, j, :, y, x] = kernel[a, b].T
  out = (rows, columns, kernel.shape[3])
  bias = np.broadcast_to(_vector(layer.bias, number), out).ravel().copy()
  return weight.reshape(len(bias), -1), bias, out


def _places(layer, kernel, height, width, number):
  """((top, left) padding, (rows, columns) of the output)."""
  before, counts = [], []
  for axis, size in enumerate((height, width)):
    window, stride = kernel.shape[axis], layer.strides[axis]
    if layer.padding == "SAME":
      count = -(-size // stride)
      total = max((count - 1) * stride + window - size, 0)
      before.append(total // 2)
    else:
      low, high = (0, 0) if layer.padding == "VALID" else layer.padding[axis]
      count = (size + low + high - window) // stride + 1
      before.append(low)
    if count < 1:
      raise ValueError(f"the window of layer {number} is larger than its input.")
    counts.append(count)
  return tuple(before), tuple(counts)

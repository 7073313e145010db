"""Expected and maximum information complexity of a network as regularisers.

A network is the channel Y = f_θ(X) + ε with ε ~ N(0, I). Its maximum information complexity
(MIC) is the largest I(X; Y) over input laws of bounded power, its expected information
complexity (EIC) the mean of I(X; Y) over a prior on input laws. Neither has a closed form
for a network, so training uses a bound and a surrogate that need no data, only fake inputs:

  EIC ≤ ½ E_v tr K_f(X),   X ~ N(0, diag v)       eic_trace          (sec. 3.3, 'upper bound')
  MICS = E[‖f(X)‖/‖X‖] + Var[‖f(X)‖/‖X‖]          mic_surrogate      (sec. 3.3, 'surrogate')

(K_Y = K_f + I, and log det(I + K) ≤ tr K: with both constants kept, none is left over.)

Two readings of the method exist and differ in most details: PAPER follows the text, CODE the
program that its authors published. Reading lists the differences, each can be had alone.

References: Ye and Lin, Channel Capacity of Neural Networks (2021), and their program
github.com/IanyePKU/IC-Regularization-methods (models/reg_helper.py, models/fc.py).
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Reading(NamedTuple):
  """How fake inputs are drawn and what is averaged. The defaults are the paper's text.

  Attributes:
    laws: n, number of input laws v drawn at once.
    samples: k, inputs of each law.
    low, high: v ~ U[low, high] for each coordinate.
    scale_is_std: v is the standard deviation of its coordinate, not the variance.
    isotropic_mic: the surrogate of MIC sees X ~ N(0, I) instead of the prior's laws.
    squared_ratio: the surrogate uses ‖f(x)‖²/‖x‖² instead of ‖f(x)‖/‖x‖.
    mean_outputs: the trace is divided by the number of outputs.
    unbiased: sums of squares are divided by k − 1. The print (and the code) divides by k,
      which makes the estimated trace too small by the factor 1 − 1/k.
    absolute_hidden: the trace term of a block behind a ReLU sees |x| (Block.hidden).
    cap: the surrogate's value and gradient are halved until the value is at most this.
    redraw: probability that a step draws new fake inputs. The functions here draw from the
      key they are given; to hold a key for several steps is the trainer's part
      (lib.training's Task.redraw).
    share: blocks whose inputs have the same shape see the same fake inputs.
    rate: probability that a block's term counts at a step.
  """

  laws: int = 4
  samples: int = 8
  low: float = 0.5
  high: float = 1.0
  scale_is_std: bool = False
  isotropic_mic: bool = True
  squared_ratio: bool = False
  mean_outputs: bool = False
  unbiased: bool = True
  absolute_hidden: bool = False
  cap: float = float("inf")
  redraw: float = 1.0
  share: bool = False
  rate: float = 1.0


PAPER = Reading()
CODE = Reading(
  laws=1,
  samples=32,
  low=0.0,
  high=1.0,
  scale_is_std=True,
  isotropic_mic=False,
  squared_ratio=True,
  mean_outputs=True,
  unbiased=False,
  absolute_hidden=True,
  cap=5.0,
  redraw=0.1,
  share=True,
)


class Block(NamedTuple):
  """A part of a network that can be applied alone.

  Attributes:
    apply: (params, x [batch, *input_shape]) -> [batch, ...], params being the whole network's
      (or whatever the caller keeps the network's numbers in).
    input_shape: shape of one input.
    hidden: its inputs come out of a ReLU, so they are never negative.
  """

  apply: Callable[[Any, jax.Array], jax.Array]
  input_shape: tuple[int, ...]
  hidden: bool = False


def fake_inputs(key, shapes, reading=PAPER, isotropic=False):
  """Fake inputs X = √v·Z (or v·Z), Z ~ N(0, I), with one v ~ U[low, high]^dim for each law.

  Args:
    key: random key.
    shapes: shapes of single inputs; all are drawn in one go, independently.
    reading: see Reading.
    isotropic: X ~ N(0, I) instead.

  Returns:
    A list of arrays [laws, samples, *shape].
  """
  sizes = [math.prod(shape) for shape in shapes]
  # One call of the generator (each takes about a second to compile on a CPU): Φ(Z) is uniform.
  rows = reading.samples + (not isotropic)
  inputs = jax.random.normal(key, (reading.laws, rows, sum(sizes)))
  if not isotropic:
    inputs, uniform = inputs[:, 1:], jax.scipy.special.ndtr(inputs[:, :1])
    v = reading.low + (reading.high - reading.low) * uniform
    inputs = inputs * (v if reading.scale_is_std else jnp.sqrt(v))
  ends = list(itertools.accumulate(sizes))
  return [
    inputs[..., end - size : end].reshape(reading.laws, reading.samples, *shape)
    for shape, size, end in zip(shapes, sizes, ends, strict=True)
  ]


def mean_output_trace(outputs, unbiased=True):
  """Mean over laws of the trace of the outputs' covariance, tr̂ of sec. 3.3.

    tr̂ = 1/(n(k−1)) Σ_i Σ_j ‖y_ij − ȳ_i‖²

  printed with 1/(nk) (unbiased=False), whose expectation is (1 − 1/k) tr.

  Args:
    outputs: y [n, k, ...].

  Raises:
    ValueError: unbiased with a single sample of each law.
  """
  n, k = outputs.shape[:2]
  if unbiased and k < 2:
    raise ValueError("an unbiased trace needs at least two samples of each law")
  centred = outputs - jnp.mean(outputs, axis=1, keepdims=True)
  return jnp.sum(jnp.square(centred)) / (n * (k - 1 if unbiased else k))


def gain_mean_and_spread(outputs, inputs, squared=False, unbiased=True):
  """E[r] + Var[r] of the gain r = ‖y‖/‖x‖ (or its square) over a batch.

  For y = Wx and x ~ N(0, I): r² = Σ γ_i² u_i² with u uniform on the sphere, so that
  E r² = ‖W‖_F²/n, and r = c without spread for an isometry times c.
  The gradient of ‖y‖ at y = 0 is taken as 0.

  Args:
    outputs: y [batch, ...]; inputs: x [batch, ...].
  """
  batch = inputs.shape[0]
  if unbiased and batch < 2:
    raise ValueError("an unbiased variance needs at least two inputs")
  energy = jnp.sum(jnp.square(outputs.reshape(batch, -1)), axis=-1)
  ratio = energy / jnp.sum(jnp.square(inputs.reshape(batch, -1)), axis=-1)
  if not squared:
    alive = ratio > 0
    ratio = jnp.where(alive, jnp.sqrt(jnp.where(alive, ratio, 1)), 0)
  return jnp.mean(ratio) + jnp.var(ratio, ddof=1 if unbiased else 0)


def _halved(value, cap):
  """value and its gradient times the power of ½ that brings it to at most cap."""
  halvings = jnp.ceil(jnp.log2(lax.stop_gradient(value) / cap))
  return value * jnp.exp2(-jnp.maximum(halvings, 0))


def _apply(block, params, inputs):
  """block of [laws, samples, *shape], applied to all of them as one batch."""
  return block.apply(params, inputs.reshape(-1, *inputs.shape[2:]))


def eic_trace(params, block, inputs, reading=PAPER):
  """tr̂ of a block at params: twice the upper bound of its expected information complexity.

  For the linear map y = Wx in the paper's reading its expectation is ¾‖W‖_F².

  Args:
    params: what the block is applied with.
    block: see Block.
    inputs: [laws, samples, *block.input_shape], see fake_inputs.
    reading: see Reading.
  """
  if reading.absolute_hidden and block.hidden:
    inputs = jnp.abs(inputs)
  outputs = _apply(block, params, inputs).reshape(*inputs.shape[:2], -1)
  trace = mean_output_trace(outputs, reading.unbiased)
  return trace / outputs.shape[-1] if reading.mean_outputs else trace


def mic_surrogate(params, block, inputs, reading=PAPER):
  """MICS = E[‖f(X)‖/‖X‖] + Var[‖f(X)‖/‖X‖] of a block at params; arguments as in eic_trace."""
  outputs = _apply(block, params, inputs)
  flat = inputs.reshape(len(outputs), -1)
  value = gain_mean_and_spread(outputs, flat, reading.squared_ratio, reading.unbiased)
  return value if reading.cap == float("inf") else _halved(value, reading.cap)


def regulariser(measure, blocks, reading=PAPER):
  """The sum of a measure over blocks, as a pure term(key, params) -> scalar.

  The objective is L(θ) + β_e Σ_b tr̂_b + β_m Σ_b MICS_b (sec. 3.3), b the whole network and
  each of its layers or residual blocks:

    term = regulariser(mic_surrogate, [whole, *layers])
    loss = cross_entropy(params, batch) + beta * term(key, params)

  Args:
    measure: eic_trace or mic_surrogate, (params, block, inputs, reading) -> scalar.
    blocks: sequence of Block.
    reading: PAPER, CODE or another Reading.

  Raises:
    ValueError: no block.
  """
  blocks = tuple(blocks)
  if not blocks:
    raise ValueError("a regulariser needs at least one block")
  shapes = [tuple(block.input_shape) for block in blocks]
  drawn = list(dict.fromkeys(shapes)) if reading.share else shapes
  source = [drawn.index(shape) if reading.share else i for i, shape in enumerate(shapes)]
  isotropic = reading.isotropic_mic and measure is mic_surrogate

  def term(key, params):
    inputs = fake_inputs(key, drawn, reading, isotropic)
    values = [
      measure(params, block, inputs[i], reading)
      for block, i in zip(blocks, source, strict=True)
    ]
    if reading.rate < 1:
      counts = jax.random.bernoulli(jax.random.fold_in(key, 1), reading.rate, (len(blocks),))
      values = [value * count for value, count in zip(values, counts, strict=True)]
    return sum(values)

  return term

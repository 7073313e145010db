"""Infinite-width kernels of fully connected networks, composed layer by layer.

NTK parametrisation: a layer of fan-in n is h ↦ (σ_w/√n) W h + σ_b b with all entries of W
and b drawn from N(0, 1) and trained. As the widths go to infinity the network's output is
a Gaussian process with covariance `nngp`, and its tangent kernel Θ = ⟨∂f/∂θ, ∂f/∂θ⟩ tends
to the deterministic `ntk` (Jacot et al. 2018; Lee et al. 2019).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lib.kernels import duals

Array = jax.Array


class Kernel(NamedTuple):
  """Covariance of the outputs at initialisation, and tangent kernel; both (n1, n2)."""

  nngp: Array
  ntk: Array


class Covariance(NamedTuple):
  """What one layer hands to the next.

  `between` is (n1, n2); `first` (n1, 1) and `second` (1, n2) are the variances of the two
  sets of inputs, None where both sets are the same: the variances are then the diagonal of
  `between`, to the last bit, which keeps the angle of an input with itself exactly 0.
  """

  between: Array
  ntk: Array
  first: Array | None = None
  second: Array | None = None


Layer = Callable[[Covariance], Covariance]
KernelFn = Callable[..., Kernel]


def input_covariance(x1: Array, x2: Array | None = None) -> Covariance:
  """k(x, x') = x·x'/d of inputs (n, d); inputs (n,) are n scalars, d = 1."""
  x1 = _as_matrix(x1)
  dimension = x1.shape[1]

  def product(a, b):
    return jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST) / dimension

  if x2 is None:
    between = product(x1, x1)
    between = (between + between.T) / 2
    return Covariance(between, jnp.zeros_like(between))
  x2 = _as_matrix(x2)
  if x2.shape[1] != dimension:
    raise ValueError(f"inputs of different dimension: {x1.shape} and {x2.shape}")
  between = product(x1, x2)
  first = jnp.mean(x1**2, axis=1)[:, None]
  second = jnp.mean(x2**2, axis=1)[None, :]
  return Covariance(between, jnp.zeros_like(between), first, second)


def _as_matrix(x):
  x = jnp.asarray(x)
  x = x.astype(jnp.result_type(float, x))
  if x.ndim not in (1, 2):
    raise ValueError(f"inputs must be (n, d), or (n,) for scalars, got shape {x.shape}")
  return x[:, None] if x.ndim == 1 else x


def dense(weight_variance: float | Array = 1.0, bias_variance: float | Array = 0.0) -> Layer:
  """A dense layer: K ↦ σ_w² K + σ_b², and Θ ↦ σ_w² Θ + (σ_w² K + σ_b²).

  The bracket is the layer's own weights' and biases' part of the tangent kernel
  (Lee et al. 2019). Variances may be traced, so they can be fitted.
  """

  def apply(state):
    def affine(k):
      return None if k is None else weight_variance * k + bias_variance

    between = affine(state.between)
    ntk = between + weight_variance * state.ntk
    return Covariance(between, ntk, affine(state.first), affine(state.second))

  return apply


def activation(function: str | Callable) -> Layer:
  """An elementwise nonlinearity: K ↦ κ(K), Θ ↦ κ̇(K) ⊙ Θ.

  Args:
    function: a name in `ACTIVATIONS`, or a callable whose dual is found by quadrature. For
      a dual of your own use `from_dual`.
  """
  return from_dual(duals.activation_dual(function))


def from_dual(dual: duals.DualFn) -> Layer:
  """The layer of a dual `(k11, k12, k22) -> (κ, κ̇)`; see `activation`."""

  def apply(state):
    between, ntk, first, second = state
    if first is None:
      diagonal = jnp.diagonal(between)
      kappa, kappa_dot = dual(diagonal[:, None], between, diagonal[None, :])
      return Covariance(kappa, kappa_dot * ntk)
    kappa, kappa_dot = dual(first, between, second)

    def own(k):
      return dual(k, k, k)[0]

    return Covariance(kappa, kappa_dot * ntk, own(first), own(second))

  return apply


def serial(*layers: Layer) -> KernelFn:
  """Composes layers into `kernel_fn(x1, x2=None) -> Kernel`.

  x1 (n1, d) and x2 (n2, d) with x2=None for x2 = x1 (cheaper, exactly symmetric, and more
  accurate on the diagonal); (n,) stands for n scalar inputs. Pure, differentiable in the
  inputs and in traced variances; jit and vmap as you like. Costs O(n1 n2 (d + depth)).
  An angle θ is resolved to about √eps near 0, i.e. 3e-4 in float32: a test point that
  repeats a training point has κ̇ of ReLU off by 1e-4. Use float64 if that matters.
  """

  def kernel_fn(x1, x2=None):
    state = input_covariance(x1, x2)
    for layer in layers:
      state = layer(state)
    return Kernel(state.between, state.ntk)

  return kernel_fn


def fully_connected(
  depth: int,
  nonlinearity: str | Callable = "relu",
  weight_variance: float | Array | Sequence = 1.0,
  bias_variance: float | Array | Sequence = 0.0,
) -> KernelFn:
  """Kernels of a network with `depth` hidden layers and a linear read-out.

  Each variance is one number, or a sequence of depth + 1 (hidden layers, then read-out).
  `fully_connected(1, "relu", 1.0, (1.0, 0.0))` on scalar inputs is the network
    f(x) = m^{-1/2} Σ_j b_j σ(a_j x + a0_j),  a, a0, b ~ N(0, 1), all trained:
    Θ(x, x') = E[σ(u) σ(u')] + (x x' + 1) E[σ'(u) σ'(u')],  u = a x + a0.

  Args:
    depth: number of hidden layers, ≥ 0.
    nonlinearity: a name in `ACTIVATIONS` or an elementwise callable.
    weight_variance: σ_w², of weights divided by fan-in.
    bias_variance: σ_b².

  Raises:
    ValueError: a sequence of the wrong length, or depth < 0.
  """
  if depth < 0:
    raise ValueError(f"depth must not be negative, got {depth}")
  weights = _per_layer(weight_variance, depth + 1, "weight_variance")
  biases = _per_layer(bias_variance, depth + 1, "bias_variance")
  layers = [dense(weights[0], biases[0])]
  for w, b in zip(weights[1:], biases[1:], strict=True):
    layers += [activation(nonlinearity), dense(w, b)]
  return serial(*layers)


def _per_layer(value, count, name):
  if not isinstance(value, Sequence) and jnp.ndim(value) == 0:
    return [value] * count
  if len(value) != count:
    raise ValueError(f"{name} needs {count} entries, one a layer, got {len(value)}")
  return list(value)

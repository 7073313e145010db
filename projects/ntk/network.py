"""The wide network, its gradient descent and its gradient flow, as pure functions.

    f(x; θ) = α Σ_{j=1..m} b_j σ(a_j x + a0_j),   θ_j = (a_j, a0_j, b_j) ~ N(0, I_3),
    L = Σ_i w_i (f(x_i) − y_i)²,   Σ_i w_i = 1,   dθ/dt = −½ γ ∇L,
with α = m^{-c}, γ = m^{2c−1}. NTK parametrisation is c = 1/2: α = 1/√m, γ = 1. Mean field is
c = 1: α = 1/m and a flow sped up by m (Mei, Montanari and Nguyen 2018; Chizat and Bach
2018), without which nothing would be learned at m → ∞. For every c the tangent kernel starts
at the same size, and parameters move by m^{c−1}.
Per neuron, with r_i = f(x_i) − y_i and β = αγ = m^{c−1}:
    da_j/dt  = −β Σ_i w_i r_i σ'(a_j x_i + a0_j) x_i b_j,
    da0_j/dt = −β Σ_i w_i r_i σ'(a_j x_i + a0_j) b_j,
    db_j/dt  = −β Σ_i w_i r_i σ(a_j x_i + a0_j).

Layout. The parameters are one array θ (blocks, 3, block), m = blocks · block. A step goes over
θ block by block, with everything elementwise over neurons and unrolled over data points; no
(m, n) array exists. Sums over neurons are taken over the blocks first, in n · block / 2 lanes,
and over the lanes then, which keeps the digits of float32 that one long sum would lose.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lib import kernels

Array = jax.Array
A, A0, B = 0, 1, 2
PARAMETERS = ("a", "a0", "b")

_BLOCK = 2048  # neurons on a CPU; its lanes for 8 points are 32 KiB, the first-level cache
_BLOCK_ACCELERATOR = 2**20  # there a loop over small blocks would only launch kernels
_SINGLE = 16384  # up to this width there is one block
_FOLD = 2  # neurons of a block that share a lane: halves the traffic of the accumulators
_UNROLL = 16  # data points written out; more are worked off in chunks of half as many


class Data(NamedTuple):
  """Training points x, y and their weights w in the mean square loss, (n,) each, Σ w = 1."""

  x: Array
  y: Array
  weight: Array


class Scale(NamedTuple):
  """α of the output and β of the gradient flow, see the module's docstring."""

  output: Array
  flow: Array


def scale(exponent, width: int) -> Scale:
  """α = m^{-c}, β = m^{c−1} for c = exponent, which may be traced: 1/2 NTK, 1 mean field."""
  return Scale(jnp.power(float(width), -exponent), jnp.power(float(width), exponent - 1))


def blocks(width: int, limit: int | None = None) -> tuple[int, int]:
  """(blocks, block): the largest block of at most `limit` neurons that divides the width.

  Small widths, and those without a divisor of at least limit/16, are one block. The limit is
  by default what suits the backend.
  """
  if limit is None:
    limit = _BLOCK if jax.default_backend() == "cpu" else _BLOCK_ACCELERATOR
  if width <= max(limit, _SINGLE):
    return 1, width
  divisors = [d for d in range(limit, limit // 16 - 1, -1) if width % d == 0]
  aligned = [d for d in divisors if d % 16 == 0]
  block = (aligned or divisors or [width])[0]
  return width // block, block


def initial(key: Array, width: int) -> Array:
  """θ(0) ~ N(0, I_{3m}) as (blocks, 3, block), float32; a draw is the same for any blocks."""
  drawn = jax.random.normal(key, (3, width), jnp.float32)
  return jnp.moveaxis(drawn.reshape(3, *blocks(width)), 1, 0)


def neurons(theta: Array) -> Array:
  """(3, m): a, a0, b of all neurons in order."""
  return jnp.moveaxis(theta, 1, 0).reshape(3, -1)


def _unrolled(term: Callable, x: Array, weighted: Array):
  """Σ_i term(x_i, weighted_i), written out, or in a loop over chunks of points."""
  if len(x) <= _UNROLL:
    parts = [term(x[i], weighted[i]) for i in range(len(x))]
    return jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *parts)
  chunk = _UNROLL // 2
  padding = (0, -len(x) % chunk)
  x, weighted = (jnp.pad(v, padding).reshape(-1, chunk) for v in (x, weighted))

  def body(i, total):
    return jax.tree.map(jnp.add, total, _unrolled(term, x[i], weighted[i]))

  return lax.fori_loop(1, len(x), body, _unrolled(term, x[0], weighted[0]))


def _slopes(activation: Callable, q: Array, x: Array, weighted: Array) -> Array:
  """Of one block: Σ_i ρ_i (σ'_i x_i b, σ'_i b, σ_i) with ρ = w r, (3, block).

  ReLU is homogeneous, σ(u) = σ'(u) u, so its third sum follows from the two others.
  """
  a, a0, b = q[A], q[A0], q[B]

  def slopes(xi, rho):
    slope = jnp.where(a * xi + a0 > 0, rho, 0)
    return slope * xi, slope

  def slopes_and_value(xi, rho):
    u = a * xi + a0
    value, slope = jax.jvp(activation, (u,), (jnp.broadcast_to(rho, u.shape),))
    return slope * xi, slope, rho * value

  if activation is _relu:
    along_a, along_a0 = _unrolled(slopes, x, weighted)
    along_b = a * along_a + a0 * along_a0
  else:
    along_a, along_a0, along_b = _unrolled(slopes_and_value, x, weighted)
  return jnp.stack([b * along_a, b * along_a0, along_b])


def _terms(activation: Callable, q: Array, x: Array) -> Array:
  """Of one block: b_j σ(a_j x_i + a0_j), summed over the neurons that share a lane."""
  fold = _FOLD if q.shape[1] % _FOLD == 0 else 1
  parts = q.reshape(3, fold, -1)
  return sum(
    activation(parts[A, k] * x[:, None] + parts[A0, k]) * parts[B, k] for k in range(fold)
  )


def _sums(activation: Callable, q: Array, x: Array) -> Array:
  """Of one block that is the whole network: Σ_j b_j σ(a_j x_i + a0_j), (n,)."""

  def some(x):
    hidden = activation(q[A] * x[:, None] + q[A0])
    return jnp.matmul(hidden, q[B], precision=lax.Precision.HIGHEST)

  if len(x) <= _UNROLL:
    return some(x)
  chunk = _UNROLL // 2
  padded = jnp.pad(x, (0, -len(x) % chunk)).reshape(-1, chunk)
  return lax.map(some, padded).reshape(-1)[: len(x)]


def _block(theta: Array, i) -> Array:
  return lax.dynamic_index_in_dim(theta, jnp.minimum(i, theta.shape[0] - 1), 0, False)


def outputs(activation: Callable, alpha, theta: Array, x: Array) -> Array:
  """f(x_i; θ) at points x (n,), for θ (blocks, 3, block)."""
  if theta.shape[0] == 1:
    return alpha * _sums(activation, theta[0], x)

  # The next block is carried: a loop that indexes θ itself is not vectorised on the CPU.
  def body(i, carry):
    lanes, q = carry
    return lanes + _terms(activation, q, x), _block(theta, i + 1)

  start = _terms(activation, theta[0], x), theta[1]
  lanes, _ = lax.fori_loop(1, theta.shape[0], body, start)
  return alpha * jnp.sum(lanes, axis=1)


def _move_and_sums(
  activation: Callable, theta: Array, x: Array, weighted: Array
) -> tuple[Array, Array]:
  """θ_j − Σ_i ρ_i ∂(b_j σ(a_j x_i + a0_j))/∂θ_j and Σ_j b_j σ(a_j x_i + a0_j) of the new θ."""
  if theta.shape[0] == 1:
    theta = theta - _slopes(activation, theta[0], x, weighted)[None]
    return theta, _sums(activation, theta[0], x)

  # One pass, in place. The sums are those of the block before, still in the cache: of the
  # block just updated, XLA would compute the update a second time inside the sums.
  def body(i, carry):
    theta, q, before, lanes = carry
    lanes = lanes + _terms(activation, before, x)
    q = q - _slopes(activation, q, x, weighted)
    theta = lax.dynamic_update_index_in_dim(theta, q, i, 0)
    return theta, _block(theta, i + 1), q, lanes

  nothing = jnp.zeros_like(theta[0])
  lanes = jnp.zeros_like(_terms(activation, nothing, x))
  start = theta, theta[0], nothing, lanes
  theta, _, last, lanes = lax.fori_loop(0, theta.shape[0], body, start)
  return theta, jnp.sum(lanes + _terms(activation, last, x), axis=1)


def descent_step(
  activation: Callable,
  scale: Scale,
  data: Data,
  h,
  theta: Array,
  found: Array,
  axis: str | None = None,
) -> tuple[Array, Array]:
  """One step of gradient descent, θ ← θ − ½ h γ ∇L(θ).

  Args:
    activation: σ, elementwise.
    scale: α, β.
    data: training points.
    h: step in flow time.
    theta: parameters (blocks, 3, block).
    found: the network's outputs f(x_i; θ), (n,).
    axis: mesh axis over which the neurons are sharded, inside `jax.shard_map`; the step's only
      communication is the sum of n numbers.

  Returns:
    The new θ and its outputs, in one pass over the parameters.
  """
  weighted = (h * scale.flow) * data.weight * (found - data.y)
  theta, sums = _move_and_sums(activation, theta, data.x, weighted)
  found = scale.output * sums
  return theta, found if axis is None else lax.psum(found, axis)


def flow_field(activation: Callable, scale: Scale, data: Data, theta: Array) -> Array:
  """dθ/dt = −½ γ ∇L(θ), of θ's shape."""
  residual = outputs(activation, scale.output, theta, data.x) - data.y
  weighted = scale.flow * data.weight * residual
  if theta.shape[0] == 1:
    return -_slopes(activation, theta[0], data.x, weighted)[None]
  return -lax.map(lambda q: _slopes(activation, q, data.x, weighted), theta)


def loss(data: Data, found: Array) -> Array:
  """L = Σ_i w_i (f(x_i) − y_i)²."""
  return jnp.sum(data.weight * (found - data.y) ** 2)


def activation_function(name: str) -> Callable:
  """σ by name. ReLU is written with a comparison: XLA's maximum has to treat NaN apart."""
  if name == "relu":
    return _relu
  return kernels.activation_function(name)


@jax.custom_jvp
def _relu(u):
  return jnp.where(u > 0, u, 0)


@_relu.defjvp
def _relu_jvp(primals, tangents):
  (u,), (tangent,) = primals, tangents
  return _relu(u), jnp.where(u > 0, tangent, 0)

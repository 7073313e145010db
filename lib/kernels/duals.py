"""Dual activations: what an activation does to the covariance of a pair of Gaussians.

For (u, v) ~ N(0, [[k11, k12], [k12, k22]]) a *dual* returns
  κ  = E[σ(u) σ(v)]    and    κ̇ = E[σ'(u) σ'(v)]
elementwise over arrays that broadcast against each other. κ turns the covariance of
pre-activations into that of activations, κ̇ carries the tangent kernel through the layer.

Every dual is symmetric in its two Gaussians, safe for identical, opposite and zero inputs
(values and gradients are finite), and neither overflows nor underflows before κ itself does.
Where a derivative is truly infinite (κ̇ of ReLU at identical inputs, which has a square-root
cusp there) the gradient returned is that of the symmetric subdifferential, 0.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


class Dual(NamedTuple):
  """κ = E[σ(u) σ(v)] and κ̇ = E[σ'(u) σ'(v)]."""

  kappa: Array
  kappa_dot: Array


DualFn = Callable[[Array, Array, Array], Dual]


# The plane spanned by the two Gaussians. With θ the angle between them, k12 = s cos θ and
# the root of the determinant is s sin θ, where s = √(k11 k22). Formulas in (k12, s sin θ)
# need neither a division by s nor an arccos, whose slope is infinite at ±1.


def _safe_sqrt(x):
  positive = x > 0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def _scaled(k11, k12, k22, floor=0):
  """The three divided by their largest: products of two can then not overflow."""
  scale = jax.lax.stop_gradient(jnp.maximum(jnp.maximum(k11, k22), floor))
  scale = jnp.where(scale > 0, scale, 1)
  return scale, k11 / scale, k12 / scale, k22 / scale


def _determinant(k11, k12, k22):
  """k11 k22 − k12² ≥ 0; exactly 0 where k11 = k12 = k22, whatever the compiler fuses."""
  mean, half_difference = (k11 + k22) / 2, (k11 - k22) / 2
  equal = (mean - k12) * (mean + k12) - half_difference**2
  determinant = jnp.where(k11 == k22, equal, k11 * k22 - k12**2)
  return jnp.where(determinant < 0, 0, determinant)  # full slope at 0, unlike maximum


def _sine(k11, k12, k22):
  return _safe_sqrt(_determinant(k11, k12, k22))


def _as_floats(*covariances):
  dtype = jnp.result_type(float, *covariances)
  return tuple(jnp.asarray(k, dtype) for k in covariances)


def _arcsine(k12, sine):
  """Angle with tangent k12 / sine, in [−π/2, π/2]; 0 for a vanishing Gaussian."""
  scale = jax.lax.stop_gradient(jnp.maximum(jnp.abs(k12), sine))
  undefined = scale == 0
  scale = jnp.where(undefined, 1, scale)  # squares inside the slope must not underflow
  return jnp.arctan2(k12 / scale, jnp.where(undefined, 1, sine / scale))


@jax.custom_jvp
def _abs_kappa(k11, k12, k22):
  """E|u||v| = (2/π) (s sin θ + k12 (π/2 − θ)), the even part of arc-cosine order 1."""
  scale, k11, k12, k22 = _scaled(k11, k12, k22)
  sine = _sine(k11, k12, k22)
  return scale * (2 / np.pi) * (sine + k12 * _arcsine(k12, sine))


@_abs_kappa.defjvp
def _abs_kappa_jvp(primals, tangents):
  # The terms that diverge at sin θ = 0 cancel; what is left is
  # dκ = (2/π) ((π/2 − θ) dk12 + ½ s sin θ (dk11 / k11 + dk22 / k22)).
  d11, d12, d22 = tangents
  _, k11, k12, k22 = _scaled(*primals)
  sine = _sine(k11, k12, k22)

  def per_variance(k):
    return jnp.where(k > 0, sine / jnp.where(k > 0, k, 1), 0)

  slope = _arcsine(k12, sine) * d12
  slope += (per_variance(k11) * d11 + per_variance(k22) * d22) / 2
  return _abs_kappa(*primals), (2 / np.pi) * slope


def _sign_kappa(k11, k12, k22):
  """E[sign u sign v] = (2/π) (π/2 − θ), arc-cosine order 0 up to a constant."""
  _, k11, k12, k22 = _scaled(k11, k12, k22)
  return (2 / np.pi) * _arcsine(k12, _sine(k11, k12, k22))


def abrelu_dual(negative_slope: float, positive_slope: float) -> DualFn:
  """Dual of σ(u) = a min(u, 0) + b max(u, 0): ReLU (0, 1), leaky (α, 1), abs (−1, 1).

  With p = (a + b)/2, q = (b − a)/2 it is σ(u) = p u + q |u| and, θ being the angle
  between the inputs and s = √(k11 k22),
    κ = p² k12 + q² (2/π) s (sin θ + (π/2 − θ) cos θ),   κ̇ = p² + q² (2/π) (π/2 − θ),
  for ReLU the arc-cosine kernels of order 1 and 0 over 2 (Cho & Saul 2009).
  """
  odd = (negative_slope + positive_slope) / 2
  even = (positive_slope - negative_slope) / 2

  def dual(k11, k12, k22):
    k11, k12, k22 = jnp.broadcast_arrays(*_as_floats(k11, k12, k22))
    kappa = odd**2 * k12 + even**2 * _abs_kappa(k11, k12, k22)
    return Dual(kappa, odd**2 + even**2 * _sign_kappa(k11, k12, k22))

  return dual


def leaky_relu_dual(negative_slope: float = 0.01) -> DualFn:
  """Dual of the leaky ReLU with the given slope for u < 0; see `abrelu_dual`."""
  return abrelu_dual(negative_slope, 1.0)


def relu_dual(k11: Array, k12: Array, k22: Array) -> Dual:
  """Dual of max(u, 0): κ = s (sin θ + (π − θ) cos θ) / 2π, κ̇ = (π − θ) / 2π.

  Cho & Saul 2009 (arc-cosine kernels of order 1 and 0, over 2). At identical
  inputs κ = k/2 and κ̇ = 1/2, both exactly.
  """
  return abrelu_dual(0.0, 1.0)(k11, k12, k22)


def abs_dual(k11: Array, k12: Array, k22: Array) -> Dual:
  """Dual of |u|; see `abrelu_dual`."""
  return abrelu_dual(-1.0, 1.0)(k11, k12, k22)


def identity_dual(k11: Array, k12: Array, k22: Array) -> Dual:
  """Dual of σ(u) = u: κ = k12, κ̇ = 1."""
  del k11, k22
  k12 = jnp.asarray(k12)
  return Dual(k12, jnp.ones_like(k12))


def erf_dual(k11: Array, k12: Array, k22: Array) -> Dual:
  """Dual of erf(u): κ = (2/π) arcsin(2 k12 / √((1 + 2 k11)(1 + 2 k22))).

  Williams 1997 (there for an augmented input). By Price's theorem κ̇ = ∂κ/∂k12
  = (4/π) / √((1 + 2 k11)(1 + 2 k22) − 4 k12²).
  """
  k11, k12, k22 = _as_floats(k11, k12, k22)
  # Divided by the scale twice, so that the root's argument stays finite for large inputs.
  scale, k11, k12, k22 = _scaled(k11, k12, k22, floor=1)
  root = jnp.sqrt((1 / scale + 2 * (k11 + k22)) / scale + 4 * _determinant(k11, k12, k22))
  kappa = (2 / np.pi) * jnp.arctan2(2 * k12, root)
  return Dual(kappa, (4 / np.pi) / root / scale)


def sin_dual(k11: Array, k12: Array, k22: Array) -> Dual:
  """Dual of sin(u): κ = ½ (e^{−½ Var(u−v)} − e^{−½ Var(u+v)}), κ̇ with a plus.

  From sin u sin v = ½ (cos(u−v) − cos(u+v)) and E cos w = e^{−½ Var w}.
  """
  k11, k12, k22 = _as_floats(k11, k12, k22)
  half = (k11 + k22) / 2
  minus, plus = (jnp.exp(-jnp.where(v < 0, 0, v)) for v in (half - k12, half + k12))
  # The difference through expm1, for small inputs, of an argument ≤ 0, for large ones.
  positive = k12 >= 0
  kappa = jnp.where(
    positive,
    -minus * jnp.expm1(-2 * jnp.where(positive, k12, 0)),
    plus * jnp.expm1(2 * jnp.where(positive, 0, k12)),
  )
  return Dual(kappa / 2, (minus + plus) / 2)


# Any other activation, by quadrature. On the standard Gaussian weight a trapezoidal rule
# converges geometrically for smooth integrands, as Gauss-Hermite does, and quadratically in
# the spacing for kinks and steps, which Gauss-Hermite resolves badly at its wide nodes.


def _nodes(points):
  z = np.linspace(-13, 13, points)
  weights = np.exp(-(z**2) / 2)
  return z, weights / weights.sum()


def _hermite(degree, points):
  """Nodes (q,) and matrix (degree, q) with entries w_i he_k(z_i)/√k!, in float64."""
  z, weights = _nodes(points)
  rows = [np.sqrt(weights)]  # √w he_k/√k! is bounded; he_k itself is not
  rows.append(z * rows[0])
  for k in range(1, degree - 1):
    rows.append((z * rows[-1] - np.sqrt(k) * rows[-2]) / np.sqrt(k + 1))
  return z, np.stack(rows[:degree]) * np.sqrt(weights)


def hermite_dual(activation: Callable, degree: int = 64, points: int = 521) -> DualFn:
  """Dual of any elementwise activation, by its Hermite coefficients (Mehler's formula).

  With unit Gaussians z and normalised Hermite polynomials h_k = he_k/√k!,
    a_k(q) = E[σ(√q z) h_k(z)],   κ = Σ_{k < degree} a_k(k11) a_k(k22) c^k,
  c = k12/√(k11 k22), and κ̇ the same from σ' (Daniely et al. 2016). Against a 2-D
  Gauss-Hermite rule this costs one 1-D quadrature for each *input* and `degree` products
  for each pair; it is symmetric, positive semi-definite by construction and has finite
  gradients at c = ±1. Second moments lost at c = 1 by truncation: Σ_{k ≥ degree} a_k².
  For tanh, gelu and softplus that is below 1e-10 at variance 1 and 4e-6 at variance 4
  (tanh is the worst); κ̇ loses up to 20 times more. Raise `degree` and `points` for large
  variances (σ steep on the scale √q) and for kinks (ReLU: 1e-4 k, and 0.02 in κ̇).

  Args:
    activation: elementwise function, differentiable almost everywhere.
    degree: number of Hermite coefficients kept, ≥ 2.
    points: number of nodes of the 1-D quadrature on [−13, 13].

  Raises:
    ValueError: degree < 2, or fewer than 2·degree points.
  """
  if degree < 2 or points < 2 * degree:
    raise ValueError(f"need degree >= 2 and points >= 2 degree, got {degree}, {points}")
  nodes, matrix = _hermite(degree, points)

  def slope(u):
    return jax.jvp(activation, (u,), (jnp.ones_like(u),))[1]

  def coefficients(function, deviation):
    # One shape of product for rows and columns: they then agree to the last bit.
    values = function(deviation.reshape(-1, 1) * jnp.asarray(nodes, deviation.dtype))
    weights = jnp.asarray(matrix.T, deviation.dtype)
    a = jnp.matmul(values, weights, precision=jax.lax.Precision.HIGHEST)
    return a.T.reshape(-1, *deviation.shape)

  def dual(k11, k12, k22):
    k11, k12, k22 = _as_floats(k11, k12, k22)
    # The first terms are right for any deviation if σ is linear on its scale, so a vanishing
    # one is taken as √eps: the cosine stays defined, and the gradient of κ in k12 right.
    eps = float(jnp.finfo(k12.dtype).eps)
    s1, s2 = (jnp.sqrt(jnp.where(k > eps**2, k, eps)) for k in (k11, k22))
    cosine = k12 / (s1 * s2)
    cosine = cosine / jax.lax.stop_gradient(jnp.maximum(jnp.abs(cosine), 1))

    def series(function):
      a1, a2 = coefficients(function, s1), coefficients(function, s2)
      zero = jnp.zeros(jnp.broadcast_shapes(k11.shape, k12.shape, k22.shape), k12.dtype)

      def horner(total, term):
        return total * cosine + term[0] * term[1], None

      return jax.lax.scan(horner, zero, (a1, a2), reverse=True)[0]

    return Dual(series(activation), series(slope))

  return dual


_DUALS = {
  "relu": relu_dual,
  "abs": abs_dual,
  "leaky_relu": leaky_relu_dual(),
  "erf": erf_dual,
  "sin": sin_dual,
  "identity": identity_dual,
}
_FUNCTIONS = {
  "relu": jax.nn.relu,
  "abs": jnp.abs,
  "leaky_relu": jax.nn.leaky_relu,
  "erf": jax.lax.erf,
  "sin": jnp.sin,
  "identity": lambda u: u,
  "tanh": jnp.tanh,
  "gelu": lambda u: jax.nn.gelu(u, approximate=False),
  "softplus": jax.nn.softplus,
}
ACTIVATIONS = tuple(_FUNCTIONS)


def activation_function(activation: str | Callable) -> Callable:
  """The elementwise function of a name in `ACTIVATIONS`, or the callable itself."""
  if callable(activation):
    return activation
  if activation not in _FUNCTIONS:
    raise ValueError(f"unknown activation {activation!r}, choose from {ACTIVATIONS}")
  return _FUNCTIONS[activation]


def activation_dual(activation: str | Callable) -> DualFn:
  """The dual of a name in `ACTIVATIONS` (closed form if there is one) or of a callable.

  Raises:
    ValueError: unknown name.
  """
  if isinstance(activation, str) and activation in _DUALS:
    return _DUALS[activation]
  return hermite_dual(activation_function(activation))


def activation_mean(activation: str | Callable, variance: Array) -> Array:
  """E[σ(u)] for u ~ N(0, variance), elementwise; √(variance/2π) for ReLU.

  Other activations by 1-D quadrature, exactly 0 for the odd ones that have a name.
  """
  (variance,) = _as_floats(variance)
  root = _safe_sqrt(variance)
  if activation in ("erf", "sin", "tanh", "identity"):
    return jnp.zeros_like(variance)
  if activation in ("relu", "abs", "leaky_relu"):
    negative = {"relu": 0.0, "abs": -1.0, "leaky_relu": 0.01}[activation]
    return (1 - negative) / np.sqrt(2 * np.pi) * root
  nodes, weights = (jnp.asarray(a, variance.dtype) for a in _nodes(2081))
  values = activation_function(activation)(root[..., None] * nodes)
  return jnp.matmul(values, weights, precision=jax.lax.Precision.HIGHEST)

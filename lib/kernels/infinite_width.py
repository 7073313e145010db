"""Training of infinitely wide networks: linear dynamics in function space.

The network's outputs obey the differential equation of its tangent kernel Θ. With the
residual r = f(X) − y on n training points and the flow dr/dt = −(1/N) Θ r,
  r(t) = e^{−Θ t/N} r(0),   ∫_0^t r ds = N Θ^{-1} (I − e^{−Θ t/N}) r(0),
  f_t(x) = f_0(x) − (1/N) Θ(x, X) ∫_0^t r ds
(Jacot et al. 2018; Lee et al. 2019). N is the normalisation of the loss:
n for parameters that follow −½∇ of the mean square, 1 for −½∇ of the sum of squares.

Everything goes through one eigendecomposition. Directions whose eigenvalue is 0 to rounding
are harmless at finite t (they just do not move); at t = inf they count as not trained. An
eigenvalue is known to about eps ‖Θ‖: in float32 nothing smaller than 1e-7 of the largest
can be resolved, so enter float64 (`with jax.enable_x64(True)`) for long times.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lib.kernels.analytic import Kernel

Array = jax.Array

# Accelerators would otherwise multiply in reduced precision.
_matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
_einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


class Flow(NamedTuple):
  """Residual r(t) and its time integral, each (..., n) or (..., n, o)."""

  residual: Array
  integral: Array


class Gaussian(NamedTuple):
  """Mean (..., m, o) or (..., m) and covariance (..., m, m), the same for every output."""

  mean: Array
  covariance: Array


def _phi(z):
  """(1 − e^{−z})/z, 1 at z = 0, for z ≥ 0."""
  small = z < 1e-4
  safe = jnp.where(small, 1, z)
  return jnp.where(small, 1 - z / 2 + z**2 / 6, -jnp.expm1(-safe) / safe)


def _spectrum(values, time):
  """e^{−λt} and (1 − e^{−λt})/λ for eigenvalues λ (n,), and which of them are kept."""
  values = jnp.maximum(values, 0)
  threshold = values.shape[-1] * jnp.finfo(values.dtype).eps * values.max(initial=0)
  resolved = values > threshold
  forever = jnp.isinf(time)
  z = values * jnp.where(forever, 0, time)
  inverse = jnp.where(resolved, 1 / jnp.where(resolved, values, 1), 0)
  decay = jnp.where(forever, jnp.where(resolved, 0, 1), jnp.exp(-z))
  response = jnp.where(forever, inverse, jnp.where(forever, 0, time) * _phi(z))
  return values, decay, response, resolved | ~forever


@jax.custom_jvp
def _evolve(kernel, vector, time):
  """e^{−At} B and A^{-1} (I − e^{−At}) B of a symmetric A (n, n) and B (n, k)."""
  values, vectors = jnp.linalg.eigh(kernel)
  _, decay, response, _ = _spectrum(values, time)
  projected = _matmul(vectors.T, vector)
  return tuple(_matmul(vectors, f[:, None] * projected) for f in (decay, response))


@_evolve.defjvp
def _evolve_jvp(primals, tangents):
  # Derivative of a matrix function by divided differences (Daleckii & Krein 1965): unlike
  # the derivative of eigh it is finite for repeated eigenvalues.
  kernel, vector, time = primals
  d_kernel, d_vector, d_time = tangents
  values, vectors = jnp.linalg.eigh(kernel)
  values, decay, response, kept = _spectrum(values, time)

  projected = _matmul(vectors.T, vector)
  rotated = _matmul(_matmul(vectors.T, (d_kernel + d_kernel.T) / 2), vectors)
  change = _matmul(vectors.T, d_vector)
  clock = jnp.where(jnp.isinf(time), 0, d_time)
  slopes = _divided_differences(values, decay, response, time, kept)
  rates = (-values * decay, decay)  # of the two in time

  def both(f, slope, rate):
    tangent = _matmul(slope * rotated, projected) + f[:, None] * change
    tangent += clock * rate[:, None] * projected
    return _matmul(vectors, f[:, None] * projected), _matmul(vectors, tangent)

  pairs = [both(*args) for args in zip((decay, response), slopes, rates, strict=True)]
  return tuple(p for p, _ in pairs), tuple(t for _, t in pairs)


def _divided_differences(values, decay, response, time, kept):
  """(f(λi) − f(λj))/(λi − λj) of e^{−λt} and of (1 − e^{−λt})/λ, (n, n) each."""
  low = jnp.minimum(values[:, None], values[None, :])
  high = jnp.maximum(values[:, None], values[None, :])
  pick = values[:, None] <= values[None, :]
  decay_low = jnp.where(pick, decay[:, None], decay[None, :])
  response_low = jnp.where(pick, response[:, None], response[None, :])

  forever = jnp.isinf(time)
  t = jnp.where(forever, 0, time)
  d_decay = -t * decay_low * _phi((high - low) * t)
  # From g(λ) λ = 1 − e^{−λt}; the difference loses its digits for λt → 0: series there.
  small = (high * t < 0.1) & ~forever
  d_response = -(d_decay + response_low) / jnp.where(small | (high == 0), 1, high)
  a, b = jnp.where(small, high * t, 0), jnp.where(small, low * t, 0)
  series, complete, power, factor = 0.0, 1.0, 1.0, 1.0
  for k in range(1, 9):  # Σ (−1)^k h_{k−1}(a, b)/(k + 1)!, h complete homogeneous
    factor = -factor / (k + 1)
    series += factor * complete
    power = power * a
    complete = power + b * complete
  d_response = jnp.where(small, t**2 * series, d_response)
  both = kept[:, None] & kept[None, :]
  return jnp.where(both, d_decay, 0), jnp.where(both, d_response, 0)


def _evolve_times(kernel, vector, t, normalisation):
  """`_evolve` for time(s) t; a vector (n,) or (n, o); N times the second, for ∫ r."""
  dtype = jnp.result_type(float, kernel, vector)
  kernel, vector = jnp.asarray(kernel, dtype), jnp.asarray(vector, dtype)
  if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:
    raise ValueError(f"the training kernel must be (n, n), got {kernel.shape}")
  if vector.ndim not in (1, 2) or vector.shape[0] != kernel.shape[0]:
    raise ValueError(f"need ({kernel.shape[0]},) or (n, o) values, got {vector.shape}")
  matrix = vector[:, None] if vector.ndim == 1 else vector
  scale = kernel.shape[0] if normalisation is None else normalisation
  time = jnp.asarray(t, dtype) / scale

  def evolve(tau):
    return _evolve(kernel, matrix, tau)

  for _ in range(time.ndim):
    evolve = jax.vmap(evolve)
  decayed, response = evolve(time)
  if vector.ndim == 1:
    decayed, response = decayed[..., 0], response[..., 0]
  return decayed, response, scale


def gradient_flow(
  kernel_train: Array,
  residual0: Array,
  t: Array,
  normalisation: float | None = None,
) -> Flow:
  """Residual at time t, and its integral from 0 to t, under dr/dt = −(1/N) Θ r.

  Args:
    kernel_train: Θ (n, n), symmetric positive semi-definite (is symmetrised).
    residual0: r(0) = f_0(X) − y, (n,) or (n, o).
    t: flow time ≥ 0, a number or an array of times, whose shape comes first in the result;
      may be inf (the directions of zero eigenvalue then keep r(0) and add nothing to the
      integral, which diverges there).
    normalisation: N, by default n (mean square loss with dθ/dt = −½ ∇L).

  Returns:
    Flow(residual, integral), each t.shape + residual0.shape. Differentiable in all
    arguments, also at repeated eigenvalues.

  Raises:
    ValueError: shapes that do not fit.
  """
  decayed, response, scale = _evolve_times(kernel_train, residual0, t, normalisation)
  # A^{-1}(I − e^{−At/N}) with A = Θ is 1/N of the integral.
  return Flow(decayed, scale * response)


def predict(
  kernel_train: Array,
  kernel_test_train: Array,
  output0: Array,
  residual0: Array,
  t: Array,
  normalisation: float | None = None,
) -> Array:
  """f_t(x) = f_0(x) − (1/N) Θ(x, X) ∫_0^t r ds at m test points (Lee et al. 2019).

  Args:
    kernel_train: Θ(X, X), (n, n).
    kernel_test_train: Θ(x, X), (m, n).
    output0: f_0 at the test points, (m,) or (m, o), or 0.
    residual0: r(0) at the training points, (n,) or (n, o).
    t: time or times ≥ 0, also inf.
    normalisation: N, by default n.

  Returns:
    t.shape + (m,) or (m, o).
  """
  _, response, _ = _evolve_times(kernel_train, residual0, t, normalisation)
  equation = "mn,...n->...m" if jnp.ndim(residual0) == 1 else "mn,...no->...mo"
  return output0 - _einsum(equation, kernel_test_train, response)


def ensemble(
  train: Kernel,
  test_train: Kernel,
  test_nngp: Array,
  y: Array,
  t: Array,
  normalisation: float | None = None,
) -> Gaussian:
  """Outputs at time t over random initialisations of infinitely wide networks.

  With R = Θ^{-1} (I − e^{−Θ t/N}), Θ and K between training points, subscript * test:
    mean = Θ_* R y,
    covariance = K_** + Θ_* R K R Θ_*ᵀ − (Θ_* R K_*ᵀ + its transpose)
  (Lee et al. 2019). It starts at the NNGP prior at t = 0; its limit t = inf is
  not the NNGP posterior, which is trained in the last layer only (`nngp_posterior`).

  Args:
    train: kernels (n, n) between training points.
    test_train: kernels (m, n).
    test_nngp: K_** (m, m).
    y: targets (n,) or (n, o).
    t: time or times ≥ 0, also inf.
    normalisation: N, by default n.

  Returns:
    Gaussian(mean t.shape + (m,) or (m, o), covariance t.shape + (m, m)).
  """
  _, weights, _ = _evolve_times(train.ntk, test_train.ntk.T, t, normalisation)  # R Θ_*ᵀ
  equation = "...nm,n->...m" if jnp.ndim(y) == 1 else "...nm,no->...mo"
  mean = _einsum(equation, weights, y)
  cross = _einsum("...nm,pn->...mp", weights, test_train.nngp)
  spread = _einsum("...nm,nk,...kp->...mp", weights, train.nngp, weights)
  return Gaussian(mean, test_nngp + spread - cross - jnp.swapaxes(cross, -1, -2))


def nngp_posterior(
  nngp_train: Array,
  nngp_test_train: Array,
  nngp_test: Array,
  y: Array,
  noise_variance: float | Array = 0.0,
) -> Gaussian:
  """Gaussian-process posterior under the NNGP prior: exact Bayesian wide networks.

    mean = K_* (K + σ² I)^{-1} y,   covariance = K_** − K_* (K + σ² I)^{-1} K_*ᵀ
  (Rasmussen & Williams 2006, ch. 2). The inverse is a
  pseudo-inverse: directions with eigenvalue 0 to rounding are left at the prior.

  Args:
    nngp_train: K (n, n).
    nngp_test_train: K_* (m, n).
    nngp_test: K_** (m, m).
    y: targets (n,) or (n, o).
    noise_variance: σ² of the observations.
  """
  noisy = nngp_train + noise_variance * jnp.eye(nngp_train.shape[0], dtype=nngp_train.dtype)
  _, weights, _ = _evolve_times(noisy, nngp_test_train.T, jnp.inf, 1)
  covariance = nngp_test - _matmul(nngp_test_train, weights)
  return Gaussian(_matmul(weights.T, y), (covariance + covariance.T) / 2)

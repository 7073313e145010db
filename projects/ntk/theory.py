"""What happens at infinite width, in closed form (NTK parametrisation).

With u_i = a x_i + a0 the pre-activations of one random neuron, N(0, x_i x_j + 1):
  tangent kernel  Θ_ij = E[σ(u_i) σ(u_j)] + (x_i x_j + 1) E[σ'(u_i) σ'(u_j)],
  residual        dr/dt = −Θ W r,  W = diag(w),
  mean features   μ_i = E[σ(u_i)]  (ReLU: √((x_i² + 1)/2π); 0 for an odd σ),
  post-neuronal   B_s(t) − B_s(0) → −s Σ_i w_i μ_i ∫_0^t r_i,
  pre-neuronal    A_s(t) − A_s(0) → 0, because E[b] = 0.
Everything is linear in r(0), the network's own initial residual, so that the prediction holds
for every realisation and not on average only. Float64 on the host.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lib import kernels


def tangent_kernel(activation: str, x) -> np.ndarray:
  """Θ (n, n) of the network at scalar points x (n,), float64."""
  with jax.enable_x64(True):
    kernel = jax.jit(kernels.fully_connected(1, activation, 1.0, (1.0, 0.0)))
    return np.asarray(kernel(np.asarray(x, np.float64).reshape(-1, 1)).ntk)


def mean_features(activation: str, x) -> np.ndarray:
  """μ_i = E[σ(a x_i + a0)], (n,), float64."""
  with jax.enable_x64(True):
    x = jnp.asarray(np.asarray(x, np.float64))
    return np.asarray(kernels.activation_mean(activation, x**2 + 1))


def residual_maps(activation: str, x, weight, times) -> tuple[np.ndarray, np.ndarray]:
  """(R, I) with r(t) = R(t) r(0) and ∫_0^t r = I(t) r(0), (times, n, n) each.

  Weights that differ make Θ W unsymmetric; √W r obeys the symmetric √W Θ √W.
  """
  root = np.sqrt(np.asarray(weight, np.float64))
  symmetric = root[:, None] * tangent_kernel(activation, x) * root
  with jax.enable_x64(True):
    arguments = (symmetric, np.eye(len(root)), np.asarray(times, np.float64), 1.0)
    residual, integral = (np.asarray(v) for v in jax.jit(kernels.gradient_flow)(*arguments))
  back = root / root[:, None]  # √W^{-1} M √W
  return residual * back, integral * back


def response_of_b(activation: str, x, weight, times) -> np.ndarray:
  """(times, n): B_1(t) − B_1(0) → response(t) · r(0)."""
  features = np.asarray(weight, np.float64) * mean_features(activation, x)
  if not features.any():  # odd σ
    return np.zeros((len(times), len(features)))
  _, integral = residual_maps(activation, x, weight, times)
  return -np.einsum("i,tij->tj", features, integral)

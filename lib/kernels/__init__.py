"""Neural kernels: analytic NNGP and NTK, empirical NTK, training at infinite width.

Kernels of vectors (`rbf_kernel`, `median_gamma`), and support vector machines (`machines`).

`fully_connected` has the kernels of infinite width in closed form, `empirical_ntk` that of any
function with parameters, and `gradient_flow` and `predict` what training does under a kernel.

>>> import jax.numpy as jnp
>>> kernel = fully_connected(1, "relu")(jnp.eye(2))
>>> [f"{value:.4f}" for value in kernel.ntk[0]]
['0.5000', '0.0796']
"""

from lib.kernels.analytic import (
  Covariance,
  Kernel,
  activation,
  dense,
  from_dual,
  fully_connected,
  input_covariance,
  serial,
)
from lib.kernels.duals import (
  ACTIVATIONS,
  Dual,
  abrelu_dual,
  abs_dual,
  activation_dual,
  activation_function,
  activation_mean,
  erf_dual,
  hermite_dual,
  identity_dual,
  leaky_relu_dual,
  relu_dual,
  sin_dual,
)
from lib.kernels.empirical import empirical_ntk, ntk_vector_product
from lib.kernels.infinite_width import (
  Flow,
  Gaussian,
  ensemble,
  gradient_flow,
  nngp_posterior,
  predict,
)
from lib.kernels.vectors import (
  linear_kernel,
  median_gamma,
  polynomial_kernel,
  rbf_kernel,
  squared_distances,
)

__all__ = [
  "ACTIVATIONS",
  "Covariance",
  "Dual",
  "Flow",
  "Gaussian",
  "Kernel",
  "abrelu_dual",
  "abs_dual",
  "activation",
  "activation_dual",
  "activation_function",
  "activation_mean",
  "dense",
  "empirical_ntk",
  "ensemble",
  "erf_dual",
  "from_dual",
  "fully_connected",
  "gradient_flow",
  "hermite_dual",
  "identity_dual",
  "input_covariance",
  "leaky_relu_dual",
  "linear_kernel",
  "median_gamma",
  "nngp_posterior",
  "ntk_vector_product",
  "polynomial_kernel",
  "predict",
  "rbf_kernel",
  "relu_dual",
  "serial",
  "sin_dual",
  "squared_distances",
]

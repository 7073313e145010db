"""The networks of the experiments, drawn from a seed or read from a file."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np

from lib.dynamics import couplings, lagrangean, nonlinearities
from lib.experiment import UserError


def nonlinearity(name: str) -> nonlinearities.Nonlinearity:
  """One of NONLINEARITIES, or a function of x = |z|² by "module:function".

  Raises:
    UserError: there is none of that name, or its derivative is not finite at 0.
  """
  if name in nonlinearities.NONLINEARITIES:
    return nonlinearities.NONLINEARITIES[name]
  module, _, function = name.partition(":")
  try:
    return nonlinearities.custom(getattr(importlib.import_module(module), function), name)
  except (ImportError, AttributeError, ValueError) as error:
    if function and isinstance(error, ValueError):
      raise UserError(str(error)) from error
    known = ", ".join(nonlinearities.NONLINEARITIES)
    raise UserError(
      f"nonlinearity is '{name}'; choose from {known}, or give MODULE:FUNCTION of |z|²."
    ) from error


def draws(config) -> dict[str, np.ndarray]:
  """Standard normals of every seed, seeds first: the operands of the members.

  Drawn on the host, since a random draw costs a second of compilation in each program. Smaller
  networks are corners of larger ones: a corner of a Gaussian matrix is one.
  """
  n = max(config.size, config.small_size, config.contrast.size)
  shapes = {"omega": (2, n, n), "state": (2, n), "gain": (n, config.inputs), "noise": (n,)}
  shapes |= {"source": (config.inputs,), "states": (2, config.states, config.small_size)}
  shapes |= {"drive": (3, config.inputs + config.small_size)}
  shapes |= {"lattice": (2, config.lattice.limit_size), "pulse": (2,)}
  found = {"first": np.asarray(config.seed)}
  for stream, (name, shape) in enumerate(shapes.items()):
    rows = [
      np.random.default_rng([config.seed + k, stream]).standard_normal(shape)
      for k in range(config.seeds)
    ]
    found[name] = np.stack(rows)
  return found


def of_seed(config, operands) -> dict:
  """The numbers of the member's seed."""
  row = config.seed - operands["first"]
  return {k: v[row] for k, v in operands.items() if k not in ("first", "network")}


def state(normals, amplitude):
  """z with RMS |z_j| = amplitude, from (2, N)."""
  return jax.lax.complex(normals[0], normals[1]) * amplitude / np.sqrt(2)


def draw(config, operands, size: int, inputs: int = 0):
  """(network, z): Hermitian couplings, real inputs where wanted, and an initial state."""
  found = of_seed(config, operands)
  omega = couplings.from_normals(
    found["omega"][:, :size, :size], config.frequency, config.radius
  )
  gain = found["gain"][:size, :inputs] / np.sqrt(max(inputs, 1))
  source = 0.3 * found["source"][:inputs]
  noise = 0.3 * found["noise"][:size] * bool(inputs)
  net = lagrangean.Network(omega, gain, source, noise)
  return net, state(found["state"][:, :size], config.amplitude)


def fast(net: lagrangean.Network) -> lagrangean.Network:
  """The network with couplings in the form that is fastest on a CPU at small sizes."""
  return net._replace(coupling=couplings.real_blocks(net.coupling))


def read(path: str) -> lagrangean.Network:
  """A network from an .npz with omega (N, N) and, if it has inputs, gamma, v and w.

  Raises:
    UserError: the file is missing, or what it holds is no network.
  """
  try:
    with np.load(path) as file:
      parts = {name: file[name] for name in file.files}
  except (OSError, ValueError) as error:
    raise UserError(f"network is '{path}', which cannot be read as an .npz file.") from error
  if "omega" not in parts:
    raise UserError(f"'{path}' holds {sorted(parts)}; it must hold an array named omega.")
  try:
    net = lagrangean.network(
      jnp.asarray(parts["omega"]), parts.get("gamma"), parts.get("v"), parts.get("w")
    )
    return lagrangean.check(net)
  except ValueError as error:
    raise UserError(f"'{path}': {error}") from error

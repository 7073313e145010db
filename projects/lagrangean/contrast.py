"""The conservative network beside the dissipative ones with the same couplings.

All have the same real symmetric Ω (Gaussian orthogonal ensemble around 0.2 or −1.5), the same
start and no input: dz/dt = −i ∂H/∂z̄, the linear FFML network, DCM dx/dt = ± Ω x, and a
continuous Hopfield network dx/dt = −x + 2 Ω tanh x.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lib.dynamics import couplings, integrate, lagrangean, nonlinearities, rate_networks
from lib.experiment import by_name
from projects.lagrangean import networks

MODELS = ("lagrangean", "linear", "hopfield", "dcm", "dcm_damped")
SHOWN = 6  # neurons whose trajectories are kept


def spectrum(x):
  """Power at non-negative frequencies of real signals (T, N), mean over N, Hann window.

  By matrix products: on several CPU devices XLA's FFT can wait for the thread that it runs on.
  """
  count = x.shape[0]
  windowed = (x - x.mean(0)) * np.hanning(count)[:, None]
  turned = jnp.outer(jnp.arange(count // 2 + 1), jnp.arange(count)) % count
  angle = (2 * jnp.pi / count) * turned.astype(x.dtype)
  return ((jnp.cos(angle) @ windowed) ** 2 + (jnp.sin(angle) @ windowed) ** 2).mean(1)


def persistence(x):
  """Variance in time over the last quarter, over that in the first quarter, (T, N) real.

  Both are means over the neurons: 1 is an oscillation that stays, 0 rest.
  """
  quarter = x.shape[0] // 4
  first, last = x[:quarter].var(0).mean(), x[-quarter:].var(0).mean()
  return last / first


def turns(x):
  """Mean number of turning points of a signal (T, N) in its last half."""
  slope = jnp.diff(x[x.shape[0] // 2 :], axis=0)
  return (slope[1:] * slope[:-1] < 0).sum(0).mean()


def members(config, operands):
  """Trajectories, spectra and persistence of all models for one seed.

  DCM is integrated over a tenth of the time: it has left every scale by then.
  """
  settings = config.contrast
  n = settings.size
  found = networks.of_seed(config, operands)
  # The real part of the unitary ensemble has half its variance.
  omega = couplings.from_normals(found["omega"][:, :n, :n], 0.0, np.sqrt(2)).real
  z = networks.state(found["state"][:, :n], 1.0)
  own = networks.nonlinearity(config.nonlinearity)
  times = np.linspace(0, settings.time, settings.records + 1)
  substeps = max(1, round(settings.time / settings.records / 0.1))
  eye = jnp.eye(n)
  net = lagrangean.network(couplings.real_blocks(omega + eye))

  def conservative(index):
    g = nonlinearities.select(index, (own, nonlinearities.LINEAR))
    return integrate(lagrangean.field(g, net), z, times, substeps=substeps).saved.real

  def dissipative(index):
    hopfield = rate_networks.hopfield_field(2 * omega, jnp.zeros(n))
    shift = jnp.array([0.0, 0.2, -1.5])[index]
    silent = (jnp.zeros((n, 0)), jnp.zeros(0), jnp.zeros(n))
    dcm = rate_networks.dcm_field(omega + shift * eye, *silent)

    def field(t, x):
      return jnp.where(index == 0, hopfield(t, x), dcm(t, x))

    at = times * jnp.where(index == 0, 1.0, 0.1)
    return integrate(field, z.real, at, method="rk4", substeps=substeps).saved

  signals = jnp.concatenate(
    [jax.lax.map(conservative, jnp.arange(2)), jax.lax.map(dissipative, jnp.arange(3))]
  )
  found = jax.lax.map(measure, signals)
  return by_name(MODELS, found)


def measure(x):
  """What is kept of real signals (T, N)."""
  return {
    "shown": x[:, :SHOWN],
    "spectrum": spectrum(x[x.shape[0] // 2 :]),
    "persistence": persistence(x),
    "turns": turns(x),
    "growth": jnp.log10(jnp.linalg.norm(x[-1]) / jnp.linalg.norm(x[0])),
  }

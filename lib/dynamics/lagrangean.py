"""Nonlinear Lagrangean networks: N complex neurons with an action principle.

    L = (i/2) Σ_j (z̄_j ż_j − ż̄_j z_j) − H                                            (eq. 9)
    H = Σ_jk z̄_j g_j Ω_jk g_k z_k + Σ_j I_j (z_j + z̄_j),   I = Γ V + W                (eq. 18)
    i ż_j = (g_j + |z_j|² g'_j) s_j + z_j² g'_j s̄_j + I_j,   s = Ω (g z)              (eq. 14)

with g_j = g(|z_j|²), g' its derivative, Ω Hermitian, and Γ, V, W real (Wedemann and Plastino
2021). g = 1 is the linear network of Fagerholm, Friston, Moran and Leech.

The field is here three times: written out, from H by Wirtinger derivatives, and from L by the
Euler-Lagrange equations. All are pure functions of (nonlinearity, network, z); an input that
depends on time is a network that does: `network._replace(source=V(t))`.

The paper's Hamiltonian form (eqs. 23, 24) is twice as fast as its own eq. 14: z and χ = i z̄/2
are not canonically conjugate, because L is linear in the velocities and half of the pair is a
constraint. The conjugate of z is i z̄; `printed_hamilton_velocity` has the print.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lib import numerics
from lib.dynamics import couplings, hamiltonian
from lib.dynamics.couplings import Coupling
from lib.dynamics.nonlinearities import Nonlinearity

Array = jax.Array


class Network(NamedTuple):
  """A network's parameters.

  Attributes:
    coupling: Ω, Hermitian, (N, N) or an operator of `couplings`.
    gain: Γ, real, (N, M).
    source: V, real, (M,).
    noise: W, real, (N,).
  """

  coupling: Coupling
  gain: Array
  source: Array
  noise: Array


def network(coupling: Coupling, gain=None, source=None, noise=None) -> Network:
  """A network; what is left out is no input."""
  n = couplings.size(coupling)
  source = jnp.zeros(0 if gain is None else jnp.shape(gain)[1]) if source is None else source
  gain = jnp.zeros((n, jnp.shape(source)[0])) if gain is None else gain
  noise = jnp.zeros(n) if noise is None else noise
  return Network(coupling, *map(jnp.asarray, (gain, source, noise)))


def check(net: Network, g: Nonlinearity | None = None, tolerance: float = 1e-10) -> Network:
  """The network itself, if it is one (on the host).

  Raises:
    ValueError: Ω is not Hermitian (by more than the tolerance times its largest entry), Γ, V
      or W is complex, sizes do not match, or g or its derivative is not finite at 0.
  """
  omega = net.coupling
  if not hasattr(omega, "product") and (np.ndim(omega) != 2 or len(set(np.shape(omega))) > 1):
    raise ValueError(f"the coupling Ω has shape {np.shape(omega)}; it must be square.")
  for name, value in (("Γ", net.gain), ("V", net.source), ("W", net.noise)):
    if np.iscomplexobj(value):
      raise ValueError(f"{name} is complex; Γ, V and W must be real, or H is not.")
  n = couplings.size(omega)
  gain, source, noise = np.shape(net.gain), np.shape(net.source), np.shape(net.noise)
  if len(source) != 1 or gain != (n, source[0]) or noise != (n,):
    raise ValueError(
      f"sizes do not match: Ω is for {n} neurons, Γ is {gain}, V {source}, W {noise}; "
      f"Γ must be ({n}, M), V (M,) and W ({n},)."
    )
  scale = (
    1.0 if hasattr(omega, "product") else max(float(np.abs(omega).max(initial=0)), 1e-300)
  )
  wrong = couplings.asymmetry(omega)
  if not wrong <= tolerance * scale:
    raise ValueError(
      f"Ω is not Hermitian: it differs from its adjoint by {wrong:.3g}; use (Ω + Ω†)/2."
    )
  if g is not None:
    g.check()
  return net


def total_input(net: Network) -> Array:
  """I = Γ V + W, (N,)."""
  return net.gain @ net.source + net.noise


def norm(z: Array) -> Array:
  """𝒩 = Σ_j |z_j|² (eq. 20)."""
  return (z.real**2 + z.imag**2).sum(-1)


def energy(g: Nonlinearity, net: Network, z: Array) -> Array:
  """H (eq. 18), for z (N,), or (..., N) if the coupling takes so many."""
  b = g.value(z.real**2 + z.imag**2) * z
  s = couplings.product(net.coupling, b)
  quadratic = (b.real * s.real + b.imag * s.imag).sum(-1)
  return quadratic + 2 * (total_input(net) * z.real).sum(-1)


def lagrangean(g: Nonlinearity, net: Network, z: Array, velocity: Array) -> Array:
  """L (eq. 9) of a state and its velocity, (N,) each: −Im Σ z̄ ż − H."""
  return -jnp.vdot(z, velocity).imag - energy(g, net, z)


def velocity(g: Nonlinearity, net: Network, z: Array) -> Array:
  """dz/dt written out (eq. 14), (N,)."""
  x = z.real**2 + z.imag**2
  value, slope = g.value(x), g.slope(x)
  s = couplings.product(net.coupling, value * z)
  # (g + x g') s + z² g' s̄ = g s + 2 g' z Re(z̄ s)
  along = 2 * slope * (z.real * s.real + z.imag * s.imag)
  return -1j * (value * s + along * z + total_input(net))


def hamilton_velocity(g: Nonlinearity, net: Network, z: Array) -> Array:
  """dz/dt = −i ∂H/∂z̄ by automatic differentiation of `energy`."""
  return hamiltonian.complex_field(lambda t, z: energy(g, net, z))(0.0, z)


def printed_hamilton_velocity(g: Nonlinearity, net: Network, z: Array) -> Array:
  """dz/dt = ∂H/∂χ = −2i ∂H/∂z̄ as printed in eqs. 23 and 24: twice eq. 14."""
  return 2 * hamilton_velocity(g, net, z)


def euler_lagrange_velocity(g: Nonlinearity, net: Network, z: Array) -> Array:
  """dz/dt from `lagrangean` by the Euler-Lagrange equations in (u, v), O(N³)."""

  def real_lagrangean(q, dq):
    to_complex = hamiltonian.to_complex
    return lagrangean(g, net, to_complex(q), to_complex(dq))

  q = hamiltonian.to_real(z)
  return hamiltonian.to_complex(hamiltonian.first_order_velocity(real_lagrangean, q))


def field(g: Nonlinearity, net: Network, inputs: Callable | None = None, frame=None):
  """F(t, z) for `integrate`.

  Args:
    g, net: the network.
    inputs: t -> (V, W), in place of the network's constant ones.
    frame: rate μ of a frame that turns with the state: the field of w = e^{iμt} z. Without
      input the phase is a symmetry, H and 𝒩 are the same functions of w, and a method
      that keeps 𝒩 makes smaller errors the slower w turns.
  """

  def at(t, z):
    now = net
    if inputs is not None:
      source, noise = inputs(t)
      now = net._replace(source=source, noise=noise)
    slope = velocity(g, now, z)
    return slope if frame is None else slope + 1j * frame * z

  return at


def real_field(g: Nonlinearity, net: Network, frame=0.0) -> Callable:
  """`field` in the coordinates x = (u, v), (..., 2 N), for many states of one network at once.

  Leading axes are states, so that Ω is applied to all of them by one real matrix product: the
  fastest form on a CPU. The coupling is a `couplings.RealBlocks`; `frame` as in `field`.
  """
  matrix, drive = net.coupling.matrix, total_input(net)

  def at(t, x):
    u, v = jnp.split(x, 2, -1)
    square = u**2 + v**2
    value, slope = g.value(square), g.slope(square)
    s = jnp.concatenate([value * u, value * v], -1) @ matrix
    s_u, s_v = jnp.split(s, 2, -1)
    along = 2 * slope * (u * s_u + v * s_v) - frame
    return jnp.concatenate([value * s_v + along * v, -(value * s_u + along * u + drive)], -1)

  return at


def turning_rate(g: Nonlinearity, net: Network, z: Array) -> Array:
  """Median over the neurons of −d arg z_j/dt: how fast the network oscillates now.

  A good rate for the `frame` of `field`. (The mean would be at the mercy of neurons near 0.)
  """
  rate = (z.conj() * 1j * velocity(g, net, z)).real / (z.real**2 + z.imag**2)
  ordered = jnp.sort(rate)  # jnp.median compiles to ten times as much
  return (ordered[(rate.shape[0] - 1) // 2] + ordered[rate.shape[0] // 2]) / 2


def norm_rate(net: Network, z: Array) -> Array:
  """d𝒩/dt = −2 Σ_j I_j Im z_j: zero without input (the paper says always)."""
  return -2 * jnp.dot(total_input(net), z.imag)


def linear_flow(omega: Array, drive: Array | None = None) -> Callable:
  """(t, z, h) -> z(t + h) of i ż = Ω z + I, exactly, by the eigenvectors of Ω (N, N).

  z(h) = e^{−iΩh} z + (e^{−iΩh} − 1) Ω^{-1} I,   with the limit −i h I where Ω is singular.
  """
  values, vectors = numerics.one_at_a_time(jnp.linalg.eigh)(omega)
  drive = jnp.zeros(omega.shape[-1]) if drive is None else drive
  forced = vectors.conj().T @ drive.astype(vectors.dtype)

  def flow(t, z, h):
    half = values * h / 2
    turn = jnp.exp(-2j * half)
    # (e^{−iλh} − 1)/λ = −i h e^{−iλh/2} sin(λh/2)/(λh/2)
    push = -1j * h * jnp.exp(-1j * half) * jnp.sinc(half / jnp.pi)
    return vectors @ (turn * (vectors.conj().T @ z) + push * forced)

  return flow


def remainder_field(g: Nonlinearity, net: Network) -> Callable:
  """What `field` has beyond the linear network with the same Ω and no input.

  With `linear_flow` as the other part a splitting solves the linear network exactly, input
  included when it is given to both as the same constant drive (it stays with the linear part).
  """
  quiet = net._replace(source=jnp.zeros_like(net.source), noise=jnp.zeros_like(net.noise))

  def at(t, z):
    return velocity(g, quiet, z) + 1j * couplings.product(net.coupling, z)

  return at

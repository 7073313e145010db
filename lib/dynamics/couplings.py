"""Hermitian couplings Ω as arrays or structured operators, with one product.

An array (N, N) is a coupling; so is any pytree with `product(b)` and `size`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


class RealBlocks(NamedTuple):
  """A dense Ω as the real matrix that acts on (Re b, Im b), (2 N, 2 N), transposed.

  On a CPU one real product of a few vectors is several times faster than a complex one while
  the matrix fits the caches; it takes twice the memory.
  """

  matrix: Array

  @property
  def size(self) -> int:
    return self.matrix.shape[-1] // 2

  def product(self, b: Array) -> Array:
    both = jnp.concatenate([b.real, b.imag], -1) @ self.matrix
    return jax.lax.complex(both[..., : self.size], both[..., self.size :])


class RealPair(NamedTuple):
  """A dense Ω as its real and imaginary parts, (N, N) each: four real products.

  For matrices beyond the caches, where memory bounds and real products use it best.
  """

  real: Array
  imag: Array

  @property
  def size(self) -> int:
    return self.real.shape[-1]

  def product(self, b: Array) -> Array:
    both = jnp.stack([b.real, b.imag])
    along, across = both @ self.real.T, both @ self.imag.T
    return jax.lax.complex(along[0] - across[1], along[1] + across[0])


class Chain(NamedTuple):
  """Tridiagonal: Ω_jj = diagonal_j, Ω_j,j+1 = hopping_j, and its conjugate below.

  `hopping` has N entries; the last joins the ends of a ring and is 0 for an open chain.
  """

  diagonal: Array
  hopping: Array

  @property
  def size(self) -> int:
    return self.diagonal.shape[-1]

  def product(self, b: Array) -> Array:
    after = self.hopping * jnp.roll(b, -1)
    before = jnp.roll(self.hopping.conj() * b, 1)
    return self.diagonal * b + after + before


class LowRank(NamedTuple):
  """Ω = diag(diagonal) + U diag(weights) U†, with real diagonal and weights, U (N, R)."""

  diagonal: Array
  factors: Array
  weights: Array

  @property
  def size(self) -> int:
    return self.diagonal.shape[-1]

  def product(self, b: Array) -> Array:
    overlaps = self.weights * (self.factors.conj().T @ b)
    return self.diagonal * b + self.factors @ overlaps


Coupling = Array | RealBlocks | RealPair | Chain | LowRank


def real_blocks(omega) -> RealBlocks:
  """The `RealBlocks` of a complex or real (N, N) array."""
  images = jnp.concatenate([omega.T, 1j * omega.T])  # of the unit vectors e_k and i e_k
  return RealBlocks(jnp.concatenate([images.real, images.imag], -1))


def product(coupling: Coupling, b: Array) -> Array:
  """Ω b."""
  return coupling.product(b) if hasattr(coupling, "product") else coupling @ b


def size(coupling: Coupling) -> int:
  """N."""
  return coupling.size if hasattr(coupling, "product") else coupling.shape[-1]


def dense(coupling: Coupling) -> Array:
  """The matrix (N, N), column by column."""
  if not hasattr(coupling, "product"):
    return coupling
  return jax.vmap(coupling.product, out_axes=1)(jnp.eye(coupling.size) + 0j)


def asymmetry(coupling: Coupling, probes: int = 8, seed: int = 0) -> float:
  """How far Ω is from Hermitian (on the host).

  For an array max |Ω − Ω†|. For an operator max |⟨a, Ωb⟩ − ⟨Ωa, b⟩| over random unit pairs.
  """
  if not hasattr(coupling, "product"):
    omega = np.asarray(coupling)
    return float(np.abs(omega - omega.conj().T).max())
  rng = np.random.default_rng(seed)
  a, b = rng.standard_normal((2, probes, coupling.size, 2)) @ np.array([1, 1j])
  a, b = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b))
  apply = jax.vmap(coupling.product)
  left = np.einsum("pn,pn->p", a.conj(), np.asarray(apply(jnp.asarray(b))))
  right = np.einsum("pn,pn->p", np.asarray(apply(jnp.asarray(a))).conj(), b)
  return float(np.abs(left - right).max())


def from_normals(normals: Array, frequency=1.0, radius=0.5) -> Array:
  """frequency I + a matrix of the Gaussian unitary ensemble with spectrum in ± radius.

  Args:
    normals: (2, N, N) independent standard normals.
    frequency, radius: centre and half width of the semicircle that the spectrum tends to.
  """
  half = jax.lax.complex(normals[0], normals[1])
  n = half.shape[0]
  return (half + half.conj().T) * (radius / np.sqrt(16.0 * n)) + frequency * jnp.eye(n)


def gaussian_hermitian(key: Array, size: int, frequency=1.0, radius=0.5) -> Array:
  """`from_normals` of a random key, (size, size)."""
  return from_normals(jax.random.normal(key, (2, size, size)), frequency, radius)

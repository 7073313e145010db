"""Synthetic signatures written in the air: one motion, many writers, repetitions of each.

A stand-in for recordings of hands: all writers write the same characters, a curve in space
made of sinusoids; a writer has a style, and each repetition deviates from it. `imitation`
makes impostors who have seen the target's style. Host-side NumPy, every draw from the
generator given.
"""

from __future__ import annotations

import numpy as np

HARMONICS = 6
RATE = 100.0  # positions a second
# Two coefficients of each harmonic and coordinate, four of the speed profile, slant and depth.
STYLE = 3 * HARMONICS * 2 + 4 + 2


def template(rng: np.random.Generator) -> np.ndarray:
  """The curve that all write: coefficients (3, HARMONICS, 2) of sin, cos, falling as 1/k."""
  return rng.standard_normal((3, HARMONICS, 2)) / np.arange(1, HARMONICS + 1)[:, None]


def styles(rng: np.random.Generator, writers: int) -> np.ndarray:
  """Independent writers, (writers, STYLE) standard normal numbers."""
  return rng.standard_normal((writers, STYLE))


def imitation(own: np.ndarray, target: np.ndarray, copied: float) -> np.ndarray:
  """Styles of writers who imitate a target: c target + √(1 − c²) own; (…, STYLE).

  For c = 0 they write as themselves, for c = 1 as the target.
  """
  return copied * target + np.sqrt(1 - copied**2) * own


def write(
  rng: np.random.Generator,
  curve: np.ndarray,
  style: np.ndarray,
  difficulty: float = 0.5,
  points: int = 128,
) -> np.ndarray:
  """One repetition of each style (n, STYLE): positions (n, points, 3) in the air.

  The style moves every coefficient of the template by a standard deviation of 0.3 of its
  scale, warps time, slants x by y, and stretches the depth z. `difficulty` is the standard
  deviation of a repetition around its writer, where that of writers around each other is 1;
  0 repeats exactly. Positions differ in place and size too, which `normalise` takes out.
  """
  n = len(style)
  u = style + difficulty * rng.standard_normal(style.shape)
  shape = u[:, : 6 * HARMONICS].reshape(n, 3, HARMONICS, 2)
  warp, (slant, depth) = u[:, -6:-2], u[:, -2:].T
  k = np.arange(1, HARMONICS + 1)
  coefficients = curve + 0.3 * shape / k[:, None]
  # Time: the integral of a positive speed profile, from 0 to 1.
  s = np.linspace(0, 1, points)
  waves = np.stack([f(2 * np.pi * j * s) for j in (1, 2) for f in (np.sin, np.cos)])
  speed = np.exp(0.3 * warp @ waves)
  time = np.cumsum(speed, 1) - speed[:, :1]
  time /= time[:, -1:]
  angle = np.pi * time[:, None] * k[:, None]
  xyz = np.einsum("nck,nkt->nct", coefficients[..., 0], np.sin(angle))
  xyz += np.einsum("nck,nkt->nct", coefficients[..., 1], np.cos(angle))
  xyz[:, 0] += 0.3 * slant[:, None] * xyz[:, 1]
  xyz[:, 2] *= np.exp(0.3 * depth[:, None])
  size = np.exp(0.1 * rng.standard_normal((n, 1, 1)))
  place = rng.standard_normal((n, 3, 1))
  return (size * xyz + place).transpose(0, 2, 1)


def velocities(positions: np.ndarray, rate: float = RATE) -> np.ndarray:
  """Central differences times the rate; (n, points, 3) -> the same, a second."""
  return np.gradient(positions, axis=1) * rate


def normalise(positions: np.ndarray) -> np.ndarray:
  """Each coordinate of each signature to [0, 1]: (f − min f)/(max f − min f).

  Eq. 37 of the semi-hard SVM paper. A coordinate that does not move becomes 0.
  """
  low = positions.min(1, keepdims=True)
  extent = positions.max(1, keepdims=True) - low
  return (positions - low) / np.where(extent > 0, extent, 1.0)


def resample(series: np.ndarray, points: int) -> np.ndarray:
  """Linear interpolation of (n, I, c) to (n, points, c), eq. 38 of the same paper.

  f'_j = f_i + (f_{i+1} − f_i)(j I/I' − i) for i ≤ j I/I' < i + 1, j = 0, …, I' − 1; past the
  last value, which has no next one, it is held.
  """
  length = series.shape[1]
  place = np.arange(points) * (length / points)
  before = np.floor(place).astype(int)
  after = np.minimum(before + 1, length - 1)
  share = (place - before)[:, None]
  return series[:, before] + (series[:, after] - series[:, before]) * share


def features(positions: np.ndarray, points: int = 32) -> np.ndarray:
  """Normalised positions and speed, resampled, as vectors (n, 4 points).

  The speed ‖v‖ is divided by its own maximum, so that size does not count.
  """
  speed = np.linalg.norm(velocities(positions), axis=-1, keepdims=True)
  speed /= speed.max(1, keepdims=True)
  series = np.concatenate([normalise(positions), speed], -1)
  return resample(series, points).reshape(len(positions), -1)

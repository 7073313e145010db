"""Image corruptions in the families of CIFAR-10-C that need no data files, in pure JAX.

Hendrycks and Dietterich (2019), *Benchmarking neural network robustness to common corruptions
and perturbations*. The constants of severities 1 to 5 are those of the authors' program for
32 × 32 images; lengths in pixels are not scaled to other sizes. Kernels and random fields are
written anew, so that single pixels differ from the published files. Left out: frost (needs
photographs) and spatter (needs OpenCV's edges and distances).

    corrupted = corruptions.corrupt("fog", key, images, severity=3)

Images are (n, height, width, channels) in [0, 1]; each gets draws of its own. The result is in
[0, 1]. The severity is a Python number: it sets shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# --- noise ------------------------------------------------------------------------------


def gaussian_noise(key, x, deviation):
  """x + N(0, σ²)."""
  return x + deviation * jax.random.normal(key, x.shape)


def shot_noise(key, x, photons):
  """Poisson(λ x) / λ."""
  return jax.random.poisson(key, x * photons) / photons


def impulse_noise(key, x, amount):
  """A share of the values is set to 0 or 1, with equal probability."""
  hit_key, salt_key = jax.random.split(key)
  salt = jax.random.bernoulli(salt_key, 0.5, x.shape).astype(x.dtype)
  return jnp.where(jax.random.bernoulli(hit_key, amount, x.shape), salt, x)


def speckle_noise(key, x, deviation):
  """x (1 + N(0, σ²))."""
  return x + deviation * x * jax.random.normal(key, x.shape)


# --- blur -------------------------------------------------------------------------------


def _filter(x, kernels, mode="edge"):
  """Each image filtered with its kernel, (n, h, w, c) and (n or 1, k, l), k and l odd."""
  rows, columns = kernels.shape[1:]
  up, left = rows // 2, columns // 2
  padded = jnp.pad(x, ((0, 0), (up, up), (left, left), (0, 0)), mode=mode)
  height, width = x.shape[1:3]
  terms = (
    kernels[:, i, j, None, None, None] * padded[:, i : i + height, j : j + width]
    for i in range(rows)
    for j in range(columns)
  )
  return sum(terms)


def _gaussian_weights(sigma, radius):
  t = np.arange(-radius, radius + 1)
  weights = np.exp(-0.5 * (t / sigma) ** 2)
  return jnp.asarray(weights / weights.sum(), jnp.float32)


def gaussian_filter(x, sigma, mode="edge"):
  """Gaussian of standard deviation σ pixels, cut off at 4σ, (n, h, w, c)."""
  weights = _gaussian_weights(sigma, max(1, round(4 * sigma)))
  return _filter(_filter(x, weights[None, :, None], mode), weights[None, None], mode)


def gaussian_blur(key, x, sigma):
  """A Gaussian filter."""
  del key
  return gaussian_filter(x, sigma)


def defocus_blur(key, x, radius, alias):
  """A disc of the radius, smoothed by a 3 × 3 Gaussian of standard deviation `alias`."""
  del key
  reach = math.ceil(radius) + 1
  axis = np.arange(-reach, reach + 1)
  disc = (axis[:, None] ** 2 + axis**2 <= radius**2).astype(np.float32)
  disc = jnp.asarray(disc / disc.sum())[None, :, :, None]
  smooth = _gaussian_weights(alias, 1)
  kernel = _filter(
    _filter(disc, smooth[None, :, None], "constant"), smooth[None, None], "constant"
  )
  return _filter(x, kernel[..., 0], "reflect")


def glass_blur(key, x, sigma, reach, rounds):
  """Neighbouring pixels swapped at random, between two Gaussian filters."""
  n, height, width, _ = x.shape
  x = gaussian_filter(x, sigma)
  rows = jnp.arange(height - reach - 1, reach - 1, -1)
  columns = jnp.arange(width - reach - 1, reach - 1, -1)
  places = jnp.stack(jnp.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
  places = jnp.tile(places, (rounds, 1))
  moves = jax.random.randint(key, (len(places), n, 2), -reach, reach)

  def swap(x, draw):
    place, move = draw
    i = jnp.arange(n)
    here, there = (i, place[0], place[1]), (i, place[0] + move[:, 0], place[1] + move[:, 1])
    first, second = x[here], x[there]
    return x.at[here].set(second).at[there].set(first), None

  x, _ = lax.scan(swap, x, (places, moves))
  return gaussian_filter(x, sigma)


def motion_blur(key, x, radius, sigma):
  """A one-sided Gaussian streak of `radius` pixels at an angle within ±45°."""
  angle = jax.random.uniform(key, (len(x),), minval=-math.pi / 4, maxval=math.pi / 4)
  return _filter(x, _streaks(angle, radius, sigma))


def _streaks(angle, radius, sigma):
  """Kernels (n, 2 radius + 1, 2 radius + 1) of streaks at angles (n,), 0 along a row."""
  t = jnp.arange(radius + 1)
  weights = jnp.exp(-0.5 * (t / sigma) ** 2)
  axis = jnp.arange(-radius, radius + 1)
  # Every point of the streak is shared between the four pixels around it.
  hat = lambda position: jnp.maximum(0, 1 - jnp.abs(position[..., None] - axis))  # noqa: E731
  rows, columns = hat(t * jnp.sin(angle)[:, None]), hat(t * jnp.cos(angle)[:, None])
  return jnp.einsum("t,ntr,ntc->nrc", weights / weights.sum(), rows, columns)


def _sample(x, rows, columns):
  """Bilinear values at real positions, (n, h, w, c) and (n, h', w') -> (n, h', w', c)."""
  height, width = x.shape[1:3]
  rows, columns = jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1)
  top = jnp.clip(jnp.floor(rows), 0, height - 2).astype(int)
  left = jnp.clip(jnp.floor(columns), 0, width - 2).astype(int)
  down, right = (rows - top)[..., None], (columns - left)[..., None]
  i = jnp.arange(len(x))[:, None, None]
  upper = (1 - right) * x[i, top, left] + right * x[i, top, left + 1]
  lower = (1 - right) * x[i, top + 1, left] + right * x[i, top + 1, left + 1]
  return (1 - down) * upper + down * lower


def _grid(x):
  height, width = x.shape[1:3]
  rows, columns = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
  return jnp.broadcast_to(rows, (len(x), height, width)), jnp.broadcast_to(
    columns, (len(x), height, width)
  )


def zoom_blur(key, x, largest):
  """The mean of the image and of its zooms by 1, 1.01, … up to below `largest`."""
  del key
  factors = np.arange(1, largest, 0.01)
  centre = (np.array(x.shape[1:3]) - 1) / 2
  rows, columns = _grid(x)
  zooms = (
    _sample(x, (rows - centre[0]) / f + centre[0], (columns - centre[1]) / f + centre[1])
    for f in factors
  )
  return (x + sum(zooms)) / (len(factors) + 1)


# --- weather and colour -----------------------------------------------------------------


def plasma(key, n, size, decay):
  """Random fields in [0, 1] whose roughness halves in scale by a factor of `decay`, (n, s, s).

  Sums of bilinearly interpolated white noise on grids of 2, 4, 8, … points a side: the look of
  the diamond-square algorithm, whose mid-points move by a step divided by `decay` every level.
  """
  grids = [2]
  while 2 * grids[-1] < 2 * size:
    grids.append(2 * grids[-1])
  ends = np.cumsum([(points + 1) ** 2 for points in grids])
  noises = jnp.split(jax.random.uniform(key, (n, ends[-1]), minval=-1.0), ends[:-1], 1)
  total, axis = 0.0, np.arange(size)
  for level, (points, noise) in enumerate(zip(grids, noises, strict=True)):
    # Linear interpolation in both directions, as two products with hat functions.
    hats = jnp.maximum(0, 1 - jnp.abs(axis[:, None] * points / size - np.arange(points + 1)))
    noise = noise.reshape(n, points + 1, points + 1)
    total = total + jnp.einsum("ya,nab,xb->nyx", hats, noise, hats) / decay**level
  low = total.min((1, 2), keepdims=True)
  return (total - low) / (total.max((1, 2), keepdims=True) - low)


def fog(key, x, amount, decay):
  """A plasma field added, then the largest value restored."""
  field = plasma(key, len(x), max(x.shape[1:3]), decay)[:, : x.shape[1], : x.shape[2], None]
  largest = x.max((1, 2, 3), keepdims=True)
  return (x + amount * field) * largest / (largest + amount)


def snow(key, x, mean, deviation, zoom, least, radius, sigma, kept):
  """Flakes on a paler image, p x + (1 − p) max(x, 1.5 grey + 0.5) with p = `kept`.

  They are N(mean, deviation²) noise, magnified, cut off below `least` and streaked within ±45°
  of the vertical, once as they are and once turned by 180°.
  """
  noise_key, angle_key = jax.random.split(key)
  n, (height, width) = len(x), x.shape[1:3]
  rows, columns = (
    (place - (size - 1) / 2) / zoom + (size - 1) / 2
    for place, size in zip(_grid(x), (height, width), strict=True)
  )
  noise = mean + deviation * jax.random.normal(noise_key, (n, height, width, 1))
  noise = _sample(noise, rows, columns)
  angle = jax.random.uniform(angle_key, (n,), minval=math.pi / 4, maxval=3 * math.pi / 4)
  flakes = jnp.where(noise < least, 0.0, jnp.minimum(noise, 1.0))
  flakes = _filter(flakes, _streaks(angle, radius, sigma))
  grey = x if x.shape[-1] == 1 else (x @ _YCC[0])[..., None]
  x = kept * x + (1 - kept) * jnp.maximum(x, 1.5 * grey + 0.5)
  return x + flakes + flakes[:, ::-1, ::-1]


def rgb_to_hsv(x):
  """(…, 3) -> hue in [0, 1), saturation, value."""
  most, least = x.max(-1), x.min(-1)
  span = most - least
  safe = jnp.where(span > 0, span, 1.0)
  red, green, blue = x[..., 0], x[..., 1], x[..., 2]
  hue = jnp.where(
    most == red,
    (green - blue) / safe,
    jnp.where(most == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
  )
  hue = jnp.where(span > 0, (hue / 6) % 1.0, 0.0)
  saturation = jnp.where(most > 0, span / jnp.where(most > 0, most, 1.0), 0.0)
  return jnp.stack([hue, saturation, most], -1)


def hsv_to_rgb(x):
  """The inverse of `rgb_to_hsv`."""
  hue, saturation, value = x[..., 0], x[..., 1], x[..., 2]

  def channel(shift):
    k = (shift + hue * 6) % 6
    return value - value * saturation * jnp.clip(jnp.minimum(k, 4 - k), 0, 1)

  return jnp.stack([channel(5), channel(3), channel(1)], -1)


def _in_hsv(x, function):
  """`function` of (hue, saturation, value); grey images have the value alone."""
  if x.shape[-1] == 1:
    grey = jnp.concatenate([jnp.zeros_like(x), jnp.zeros_like(x), x], -1)
    return function(grey)[..., 2:]
  return hsv_to_rgb(function(rgb_to_hsv(x)))


def brightness(key, x, amount):
  """The value (HSV) raised by an amount."""
  del key
  return _in_hsv(x, lambda v: v.at[..., 2].set(jnp.clip(v[..., 2] + amount, 0, 1)))


def saturate(key, x, factor, offset):
  """The saturation (HSV) times a factor plus an offset; grey images stay as they are."""
  del key
  return _in_hsv(x, lambda v: v.at[..., 1].set(jnp.clip(v[..., 1] * factor + offset, 0, 1)))


def contrast(key, x, factor):
  """Distances from every channel's mean times a factor."""
  del key
  mean = x.mean((1, 2), keepdims=True)
  return (x - mean) * factor + mean


# --- digital ----------------------------------------------------------------------------


def _box(old, new):
  """Resampling matrix (new, old) of Pillow's box filter.

  The mean of the old pixels whose centres lie in a new pixel; the nearest one in enlarging.
  """
  centres = (np.arange(new)[:, None] + 0.5) * old / new
  distance = (np.arange(old) + 0.5 - centres) / max(1.0, old / new)
  inside = (distance > -0.5) & (distance <= 0.5)
  return jnp.asarray(inside / inside.sum(1, keepdims=True), jnp.float32)


def pixelate(key, x, factor):
  """Down to a share of the size and back, by box filters."""
  del key
  matrices = []
  for size in x.shape[1:3]:
    small = max(1, int(size * factor))
    matrices.append(_box(small, size) @ _box(size, small))
  return jnp.einsum("ab,nbdc,ed->naec", matrices[0], x, matrices[1])


def elastic(key, x, amplitude, sigma, affine):
  """A random affine map and a smooth random displacement, in shares of 32 pixels.

  Three points of the image move by up to `affine` each way; the displacement is uniform noise
  of ± `amplitude`, filtered by a Gaussian of `sigma`.
  """
  affine_key, field_key = jax.random.split(key)
  n, (height, width) = len(x), x.shape[1:3]
  middle = np.array([height // 2, width // 2], np.float32)
  third = min(height, width) // 3
  points = middle + third * np.array([[1, 1], [1, -1], [-1, -1]], np.float32)
  moved = points + 32 * affine * jax.random.uniform(affine_key, (n, 3, 2), minval=-1.0)
  ones = jnp.ones((n, 3, 1))
  # The map that takes the moved points back to where they were.
  back = jnp.linalg.solve(
    jnp.concatenate([moved, ones], -1), jnp.broadcast_to(points, (n, 3, 2))
  )
  place = jnp.stack(_grid(x), -1).astype(jnp.float32)
  place = place @ back[:, None, :2] + back[:, None, None, 2]
  if amplitude:
    noise = jax.random.uniform(field_key, (n, height, width, 2), minval=-1.0)
    radius = min(max(1, round(3 * 32 * sigma)), min(height, width) - 1)
    weights = _gaussian_weights(32 * sigma, radius)
    noise = _filter(noise, weights[None, :, None], "reflect")
    place = place + 32 * amplitude * _filter(noise, weights[None, None], "reflect")
  return _sample(x, place[..., 0], place[..., 1])


_LUMINANCE = np.array(  # ITU-T T.81, Annex K, Table K.1
  [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
  ]
)
_CHROMINANCE = np.full((8, 8), 99)  # Table K.2
_CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
_YCC = np.array(  # JFIF: Y, Cb, Cr of red, green and blue
  [
    [0.299, 0.587, 0.114],
    [-0.168736, -0.331264, 0.5],
    [0.5, -0.418688, -0.081312],
  ],
  np.float32,
)


def _quantised(planes, table, quality):
  """Planes (n, h, w) through the 8 × 8 cosine transform, rounding, and back."""
  scale = 5000 / quality if quality < 50 else 200 - 2 * quality
  steps = np.clip(np.floor((table * scale + 50) / 100), 1, 255).astype(np.float32)
  k, t = np.arange(8)[:, None], np.arange(8)
  cosines = np.cos((2 * t + 1) * k * np.pi / 16) * np.where(k == 0, 8**-0.5, 0.5)
  cosines = jnp.asarray(cosines, jnp.float32)
  n, height, width = planes.shape
  padded = jnp.pad(planes, ((0, 0), (0, -height % 8), (0, -width % 8)), mode="edge")
  blocks = padded.reshape(n, padded.shape[1] // 8, 8, padded.shape[2] // 8, 8)
  found = jnp.einsum("ka,nyaxb,lb->nyxkl", cosines, blocks, cosines)
  found = jnp.round(found / steps) * steps
  blocks = jnp.einsum("ka,nyxkl,lb->nyaxb", cosines, found, cosines)
  return blocks.reshape(padded.shape)[:, :height, :width]


def jpeg(key, x, quality):
  """What JPEG compression of a quality leaves: baseline tables, colour at half resolution."""
  del key
  pixels = jnp.round(255 * x)
  if x.shape[-1] == 1:
    grey = _quantised(pixels[..., 0] - 128, _LUMINANCE, quality) + 128
    return jnp.round(grey)[..., None] / 255
  planes = pixels @ _YCC.T
  luminance = _quantised(jnp.round(planes[..., 0]) - 128, _LUMINANCE, quality) + 128
  n, height, width = planes.shape[:3]
  colour = jnp.pad(planes[..., 1:], ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), "edge")
  rows, columns = colour.shape[1] // 2, colour.shape[2] // 2
  colour = jnp.round(colour.reshape(n, rows, 2, columns, 2, 2).mean((2, 4)))
  colour = [_quantised(colour[..., i], _CHROMINANCE, quality) for i in range(2)]
  colour = jnp.stack(colour, -1).repeat(2, 1).repeat(2, 2)[:, :height, :width]
  planes = jnp.concatenate([luminance[..., None], colour], -1)
  return jnp.clip(jnp.round(planes @ np.linalg.inv(_YCC).T), 0, 255) / 255


# --- families ---------------------------------------------------------------------------

FAMILIES: dict[str, tuple[Callable, tuple[tuple, ...]]] = {  # constants of severities 1 - 5
  "gaussian_noise": (gaussian_noise, ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,))),
  "shot_noise": (shot_noise, ((500,), (250,), (100,), (75,), (50,))),
  "impulse_noise": (impulse_noise, ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,))),
  "speckle_noise": (speckle_noise, ((0.06,), (0.1,), (0.12,), (0.16,), (0.2,))),
  "gaussian_blur": (gaussian_blur, ((0.4,), (0.6,), (0.7,), (0.8,), (1.0,))),
  "defocus_blur": (defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
  "glass_blur": (
    glass_blur,
    ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
  ),
  "motion_blur": (motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
  "zoom_blur": (zoom_blur, ((1.06,), (1.11,), (1.16,), (1.21,), (1.26,))),
  "snow": (
    snow,
    (
      (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
      (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
      (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
      (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
      (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
  ),
  "fog": (fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
  "brightness": (brightness, ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,))),
  "saturate": (saturate, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))),
  "contrast": (contrast, ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,))),
  "pixelate": (pixelate, ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,))),
  "elastic": (
    elastic,
    (
      (0, 0, 0.08),
      (0.05, 0.2, 0.07),
      (0.08, 0.06, 0.06),
      (0.1, 0.04, 0.05),
      (0.1, 0.03, 0.03),
    ),
  ),
  "jpeg": (jpeg, ((80,), (65,), (58,), (50,), (40,))),
}


def corrupt(family: str, key: jax.Array, images: jax.Array, severity: int) -> jax.Array:
  """Images under a corruption, clipped to [0, 1].

  Args:
    family: a name in FAMILIES.
    key: of the draws; the families without any ignore it.
    images: (n, height, width, 1 or 3) in [0, 1].
    severity: 1 to 5, not traced.

  Raises:
    ValueError: there is no such family or severity.
  """
  if family not in FAMILIES:
    raise ValueError(f"the corruptions are {', '.join(FAMILIES)}, not {family!r}")
  if severity not in range(1, 6):
    raise ValueError(f"a severity is 1 to 5, not {severity}")
  chex.assert_rank(images, 4)
  function, constants = FAMILIES[family]
  return jnp.clip(function(key, images, *constants[severity - 1]), 0.0, 1.0)


def expected_corruption_error(errors: Mapping[str, jax.Array]) -> jax.Array:
  """Mean error over corruptions and severities; {family: (severities, …)} -> (…)."""
  return jnp.stack([jnp.asarray(e).mean(0) for e in errors.values()]).mean(0)


def mean_corruption_error(
  errors: Mapping[str, jax.Array],
  reference: Mapping[str, jax.Array],
  clean: jax.Array | None = None,
  reference_clean: jax.Array | None = None,
) -> jax.Array:
  """mCE = mean_c Σ_s E_{s,c} / Σ_s E^ref_{s,c}: Hendrycks and Dietterich (2019), sec. 4.1.

  Errors are {family: (severities, …)}, those of a reference network the same families. With
  the clean errors of both it is the relative mCE, of the rises above them.

  Raises:
    ValueError: the families differ, or only one clean error is given.
  """
  if set(errors) != set(reference):
    raise ValueError("errors and reference are of different corruptions")
  if (clean is None) != (reference_clean is None):
    raise ValueError("a relative mCE needs the clean errors of both networks")
  mine, theirs = (0.0, 0.0) if clean is None else (clean, reference_clean)
  ratios = [
    (jnp.asarray(errors[c]) - mine).sum(0) / (jnp.asarray(reference[c]) - theirs).sum(0)
    for c in errors
  ]
  return jnp.stack(ratios).mean(0)

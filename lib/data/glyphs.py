"""Images of digits and letters under random affine maps, from a 5 × 7 bitmap font.

A stand-in for MNIST and CIFAR-10 that needs no files: ten classes (or up to 36), as many
examples as wanted, and a knob from one fixed image a class to heavily distorted ones.
"""

import functools
import math

import numpy as np

_ROWS = """
.###. ..#.. .###. ##### ...#. ##### ..##. ##### .###. .###.
#...# .##.. #...# ...#. ..##. #.... .#... ....# #...# #...#
#..## ..#.. ....# ..#.. .#.#. ####. #.... ...#. #...# #...#
#.#.# ..#.. ...#. ...#. #..#. ....# ####. ..#.. .###. .####
##..# ..#.. ..#.. ....# ##### ....# #...# ..#.. #...# ....#
#...# ..#.. .#... #...# ...#. #...# #...# ..#.. #...# ...#.
.###. .###. ##### .###. ...#. .###. .###. ..#.. .###. .##..

.###. ####. .###. ###.. ##### ##### .###. #...# .###. ..### #...# #.... #...#
#...# #...# #...# #..#. #.... #.... #...# #...# ..#.. ...#. #..#. #.... ##.##
#...# #...# #.... #...# #.... #.... #.... #...# ..#.. ...#. #.#.. #.... #.#.#
##### ####. #.... #...# ####. ####. #.### ##### ..#.. ...#. ##... #.... #.#.#
#...# #...# #.... #...# #.... #.... #...# #...# ..#.. ...#. #.#.. #.... #...#
#...# #...# #...# #..#. #.... #.... #...# #...# ..#.. #..#. #..#. #.... #...#
#...# ####. .###. ###.. ##### #.... .#### #...# .###. .##.. #...# ##### #...#

#...# .###. ####. .###. ####. .#### ##### #...# #...# #...# #...# #...# #####
#...# #...# #...# #...# #...# #.... ..#.. #...# #...# #...# #...# #...# ....#
##..# #...# #...# #...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#.
#.#.# #...# ####. #...# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#..
#..## #...# #.... #.#.# #.#.. ....# ..#.. #...# #...# #.#.# .#.#. ..#.. .#...
#...# #...# #.... #..#. #..#. ....# ..#.. #...# .#.#. #.#.# #...# ..#.. #....
#...# .###. #.... .##.# #...# ####. ..#.. .###. ..#.. .#.#. #...# ..#.. #####
"""
NAMES = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CHUNK = 1000  # images drawn at once
_BORDER = 2  # empty cells around a bitmap, so that what lies outside of it reads 0


@functools.cache
def font() -> np.ndarray:
  """The bitmaps of NAMES, (36, 7, 5) of 0 and 1."""
  blocks = [block.split("\n") for block in _ROWS.strip().split("\n\n")]
  rows = [[row.split() for row in block] for block in blocks]
  bitmaps = [
    [[cell == "#" for cell in line[i]] for line in block]
    for block in rows
    for i in range(len(block[0]))
  ]
  return np.array(bitmaps, np.float32)


def _bilinear(bitmaps, rows, columns):
  """Values at real positions, in cells from the centre of the first: (n, …) -> (n, …)."""
  padded = np.pad(bitmaps, ((0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER)))
  height, width = padded.shape[1:]
  rows = np.clip(rows + _BORDER, 0, height - 1.001)
  columns = np.clip(columns + _BORDER, 0, width - 1.001)
  top, left = rows.astype(int), columns.astype(int)
  down, right = rows - top, columns - left
  flat = padded.reshape(len(padded), -1)

  def at(r, c):
    return np.take_along_axis(flat, (r * width + c).reshape(len(flat), -1), 1).reshape(r.shape)

  upper = (1 - right) * at(top, left) + right * at(top, left + 1)
  lower = (1 - right) * at(top + 1, left) + right * at(top + 1, left + 1)
  return (1 - down) * upper + down * lower


def draw(rng, symbols, size: int, difficulty: float) -> np.ndarray:
  """Masks in [0, 1] of symbols under random affine maps, (n, size, size) float32.

  A glyph's cell is size / 10 pixels wide, so that it covers half the width and 0.7 of the
  height. With d the difficulty, all uniform: rotation up to ±60° d, shear up to ±0.6 d, the
  logarithm of each axis's scale up to ±0.5 d, shift up to ±0.2 d of the size on each axis.

  Args:
    rng: NumPy generator.
    symbols: (n,) indices into NAMES.
    size: of the image, in pixels.
    difficulty: d in [0, 1).
  """
  n, d = len(symbols), difficulty
  angle = d * math.radians(60) * rng.uniform(-1, 1, n)
  shear = 0.6 * d * rng.uniform(-1, 1, n)
  scale = np.exp(0.5 * d * rng.uniform(-1, 1, (n, 2)))
  shift = 0.2 * d * size * rng.uniform(-1, 1, (n, 2))
  cos, sin = np.cos(angle), np.sin(angle)
  turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
  slant = np.zeros((n, 2, 2))
  slant[:, 0, 0] = slant[:, 1, 1] = 1.0
  slant[:, 0, 1] = shear
  # x = turn · slant · diag(scale) · cell + shift: its inverse says which cell a pixel shows.
  inverse = np.linalg.inv(turn @ slant * scale[:, None, :]) * (10 / size)
  axis = np.arange(size) - (size - 1) / 2
  pixels = np.stack(np.meshgrid(axis, axis, indexing="xy"), -1)  # (size, size, 2): x, y
  cells = np.einsum("nij,nyxj->nyxi", inverse, pixels[None] - shift[:, None, None])
  mask = _bilinear(font()[symbols], cells[..., 1] + 3, cells[..., 0] + 2)
  return np.clip(1.3 * mask, 0, 1).astype(np.float32)


def _texture(rng, n, size, amplitude):
  """A smooth random field a channel: three plane waves of at most two periods."""
  axis = np.arange(size) / size
  wave = rng.uniform(-2, 2, (n, 3, 3, 2))
  phase = rng.uniform(0, 1, (n, 3, 3))
  x, y = wave[..., 0, None] * axis, wave[..., 1, None] * axis
  angle = 2 * np.pi * (x[..., None, :] + y[..., :, None] + phase[..., None, None])
  return amplitude * np.cos(angle).mean(2).transpose(0, 2, 3, 1)


def _colours(rng, n, least):
  """Background and foreground, (n, 3) each, their mean distance at least `least`."""
  dark, bright = rng.uniform(0.1, 0.5, (n, 3)), rng.uniform(0.5, 1.0, (n, 3))
  missing = np.maximum(least - (bright - dark).mean(-1, keepdims=True), 0)
  dark, bright = np.maximum(dark - missing, 0), np.minimum(bright + missing, 1)
  swapped = rng.integers(2, size=(n, 1)) == 1
  return np.where(swapped, bright, dark), np.where(swapped, dark, bright)


def images(rng, symbols, size: int, difficulty: float, colour: bool) -> np.ndarray:
  """Pixels 0..255 of `draw`'s masks, (n, size, size, 1 or 3) uint8.

  Grey: white on black, with Gaussian noise of standard deviation 0.2 d. Colour: a random
  foreground on a random background, either of them the darker, at a mean distance of at least
  0.3 in [0, 1]; both carry a smooth texture of amplitude 0.3 d and the same noise.
  """
  out = np.empty((len(symbols), size, size, 3 if colour else 1), np.uint8)
  for i in range(0, len(symbols), _CHUNK):
    part = symbols[i : i + _CHUNK]
    x = draw(rng, part, size, difficulty)[..., None]
    if colour:
      ground, figure = (c[:, None, None] for c in _colours(rng, len(part), 0.3))
      x = ground + (figure - ground) * x + _texture(rng, len(part), size, 0.3 * difficulty)
    x = x + 0.2 * difficulty * rng.standard_normal(x.shape, np.float32)
    out[i : i + _CHUNK] = np.rint(255 * np.clip(x, 0, 1))
  return out

"""Synthetic data sets: seeded, with a knob for difficulty and the best possible score.

A generator is a function `(seed, difficulty, **options) -> Task`. `difficulty` runs from 0 (no
noise, solvable without error) towards 1 (nothing to learn); each generator says what it sets.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from lib.data import glyphs, mixtures, signatures
from lib.data.dataset import Dataset, Examples, Info


class Task(NamedTuple):
  """A data-generating distribution.

  Attributes:
    sample: (rng, n) -> (inputs (n, d), or images (n, height, width, channels), and targets
      (n,)), independent draws.
    num_classes: 0 for a regression.
    bayes: the accuracy of the Bayes classifier, or the mean squared error of the regression
      function E[y | x]: what no learner can beat in expectation. None where it is not known.
    posterior: inputs (n, d) -> (n, num_classes), the exact P(class | input); None where it is
      not known.
    class_names: of the classes, by default their numbers.
    maximum: the largest value where inputs are integers (255 for images), else None.
    feature_names: of the columns of a table, by default x0, x1, …
  """

  sample: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
  num_classes: int
  bayes: float | None
  posterior: Callable[[np.ndarray], np.ndarray] | None = None
  class_names: tuple[str, ...] = ()
  maximum: int | None = None
  feature_names: tuple[str, ...] = ()


def _check(difficulty: float):
  if not 0.0 <= difficulty < 1.0:
    raise ValueError(f"difficulty is {difficulty}, outside [0, 1)")


def _rotation(seed: int, dim: int) -> np.ndarray:
  """An orthogonal matrix from the Haar measure (QR with the signs of R's diagonal removed)."""
  q, r = np.linalg.qr(np.random.default_rng([seed, 7]).standard_normal((dim, dim)))
  return q * np.sign(np.diag(r))


def mixture_accuracy(separation: float, classes: int) -> float:
  """Bayes accuracy of K unit Gaussians whose means have the same distance δ from each other.

  With means a e_k, a = δ/√2, the Bayes rule picks the largest coordinate, so the accuracy is
  E_z[Φ(z + a)^(K-1)], z ~ N(0, 1); for K = 2 it is Φ(δ/2). Gauss-Hermite quadrature.
  """
  from scipy import special

  nodes, weights = np.polynomial.hermite_e.hermegauss(200)
  values = special.ndtr(nodes + separation / math.sqrt(2)) ** (classes - 1)
  return float(weights @ values / math.sqrt(2 * math.pi))


def gaussian_mixture(
  seed: int, difficulty: float = 0.2, *, classes: int = 4, dim: int = 10
) -> Task:
  """Unit Gaussians, one a class, at equal distances, in a random orientation.

  `difficulty` is the Bayes error as a share of the error of guessing: the Bayes accuracy is
  exactly 1 - difficulty (1 - 1/classes). Needs dim >= classes >= 2 and difficulty > 0.
  """
  from scipy import optimize

  _check(difficulty)
  if not dim >= classes >= 2:
    raise ValueError(f"needs dim >= classes >= 2, not dim {dim} and classes {classes}")
  bayes = 1 - difficulty * (1 - 1 / classes)
  if bayes > 1 - 1e-9:
    raise ValueError("Gaussians always overlap: difficulty must be above 0")
  separation = optimize.brentq(lambda d: mixture_accuracy(d, classes) - bayes, 0, 40)
  means = separation / math.sqrt(2) * _rotation(seed, dim)[:classes]

  def sample(rng, n):
    y = rng.integers(classes, size=n)
    return means[y] + rng.standard_normal((n, dim)), y

  mixture = mixtures.Mixture(means[:, None], np.ones(()))
  return Task(sample, classes, bayes, functools.partial(_posterior, mixture))


def _posterior(mixture: mixtures.Mixture, x) -> np.ndarray:
  """Exact posterior in float64, in pieces that need little memory."""
  with jax.enable_x64(True):
    exact = jax.jit(mixtures.posterior)
    pieces = [exact(mixture, x[i : i + 20_000]) for i in range(0, len(x), 20_000)]
  return np.concatenate([np.asarray(piece) for piece in pieces])


def _mixture_task(mixture: mixtures.Mixture, seed: int) -> Task:
  """The task of a mixture; Bayes accuracy E[max_c P(c | x)] by 50,000 draws (± 0.001)."""
  classes, modes, dim = mixture.means.shape

  def sample(rng, n):
    y, mode = rng.integers(classes, size=n), rng.integers(modes, size=n)
    noise = rng.standard_normal((n, dim))
    if mixture.roots.ndim:
      noise = np.einsum("nij,nj->ni", mixture.roots[y, mode], noise)
    else:
      noise = mixture.roots * noise
    return mixture.means[y, mode] + noise, y

  posterior = functools.partial(_posterior, mixture)
  x, _ = sample(np.random.default_rng([seed, 8]), 50_000)
  return Task(sample, classes, float(posterior(x).max(1).mean()), posterior)


def modal_gaussians(
  seed: int,
  difficulty: float = 0.5,
  *,
  classes: int = 3,
  dim: int = 2,
  modes: int = 4,
  low: float = 0.0,
) -> Task:
  """Classes of several Gaussian modes: means uniform in [low, 1]^d, covariances A Aᵀ.

  The elements of A are uniform in [−a, a], a = 0.6 `difficulty`; 0.5 is the a = 0.3 of Posocco
  and Bonnefoy, *Estimating expected calibration errors* (ICANN 2021), who print low = 0. Needs
  difficulty > 0.
  """
  _check(difficulty)
  if difficulty == 0 or classes < 2 or dim < 1 or modes < 1 or not low < 1:
    raise ValueError("needs difficulty > 0, classes >= 2, dim >= 1, modes >= 1 and low < 1")
  rng = np.random.default_rng([seed, 7])
  spread = 0.6 * difficulty
  means = rng.uniform(low, 1.0, size=(classes, modes, dim))
  roots = rng.uniform(-spread, spread, size=(classes, modes, dim, dim))
  return _mixture_task(mixtures.Mixture(means, roots), seed)


def hierarchical_gaussians(
  seed: int,
  difficulty: float = 0.5,
  *,
  classes: int = 20,
  groups: int = 5,
  dim: int = 32,
  between: float = 0.6,
  within: float = 0.3,
) -> Task:
  """Classes in groups, class c in group c mod `groups`: the mean is the group's
  N(0, between² I) plus the class's own N(0, within² I), and the noise 2 `difficulty` in every
  direction. Needs difficulty > 0.
  """
  _check(difficulty)
  if difficulty == 0 or not classes >= groups >= 1 or dim < 1:
    raise ValueError("needs difficulty > 0, classes >= groups >= 1 and dim >= 1")
  rng = np.random.default_rng([seed, 7])
  centres = between * rng.standard_normal((groups, dim))
  means = centres[np.arange(classes) % groups] + within * rng.standard_normal((classes, dim))
  return _mixture_task(mixtures.Mixture(means[:, None], np.array(2 * difficulty)), seed)


@functools.lru_cache(maxsize=32)
def _curve_accuracy(curve, noise: float, classes: int) -> float | None:
  """Bayes accuracy of equally likely classes that are noisy curves in the plane.

  p(x | c) = ∫₀¹ N(x; curve(c, t), noise² I) dt, accuracy = ∫ max_c p(x | c) / C dx, both by
  the midpoint rule, at a spacing well below the noise. None for noise that would take too fine
  a grid.
  """
  if noise == 0:
    return 1.0
  if noise < 0.01:
    return None
  coarse = curve(0, np.linspace(0, 1, 400))
  length = np.linalg.norm(np.diff(coarse, axis=0), axis=1).sum()
  points = max(400, math.ceil(2 * length / noise))
  t = (np.arange(points) + 0.5) / points
  curves = [curve(c, t) for c in range(classes)]
  points = np.concatenate(curves)
  low, high = points.min(axis=0) - 5 * noise, points.max(axis=0) + 5 * noise
  step = min(noise / 4, 0.05)
  axes = [np.arange(lo, hi, step) + step / 2 for lo, hi in zip(low, high, strict=True)]
  best = 0.0
  for c in curves:
    # The Gaussian factorises over the two coordinates: a product of two matrices.
    gx, gy = (
      np.exp(-0.5 * ((a[:, None] - c[None, :, i]) / noise) ** 2) for i, a in enumerate(axes)
    )
    best = np.maximum(best, gx @ gy.T)
  return float(best.sum() * step**2 / (len(t) * 2 * np.pi * noise**2 * classes))


def _noisy_curves(curve, noise: float, classes: int) -> Task:
  def sample(rng, n):
    y = rng.integers(classes, size=n)
    t = rng.uniform(size=n)
    points = np.empty((n, 2))
    for c in range(classes):
      points[y == c] = curve(c, t[y == c])
    return points + noise * rng.standard_normal((n, 2)), y

  return Task(sample, classes, _curve_accuracy(curve, noise, classes))


def _moon(c, t):
  angle = np.pi * t
  if c == 0:
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)
  return np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=-1)


def two_moons(seed: int, difficulty: float = 0.2) -> Task:
  """Two interleaving half circles of radius 1; the noise has a standard deviation of
  `difficulty`/2. Bayes accuracy by quadrature.
  """
  del seed  # the distribution has nothing random about it
  _check(difficulty)
  return _noisy_curves(_moon, difficulty / 2, 2)


def _banana(c, t):
  angle = np.pi * (0.125 + 1.25 * t if c == 0 else 0.375 - 1.25 * t)
  return np.stack([np.sin(angle), np.cos(angle)], axis=-1) - 0.75 * c


def banana(seed: int, difficulty: float = 0.4) -> Task:
  """Two interlocking crescents: arcs of radius 1 over 225°, the second one opposite to the
  first and shifted by −0.75 in both coordinates (PRTools' `gendatb`, of radius 5 there); the
  noise has a standard deviation of `difficulty`/2. Bayes accuracy by quadrature.
  """
  del seed  # the distribution has nothing random about it
  _check(difficulty)
  return _noisy_curves(_banana, difficulty / 2, 2)


def aerial_signatures(
  seed: int,
  difficulty: float = 0.5,
  *,
  copied: float = 0.5,
  writers: int = 20,
  points: int = 32,
) -> Task:
  """Features of a motion in the air: class 1 is one writer, class 0 are `writers` imitators.

  `difficulty` is the spread of a writer's repetitions, in units of that of writers around each
  other, and `copied` the share of the target's style that imitators take over: see
  `lib.data.signatures`. The Bayes accuracy is not known (1 at difficulty 0).
  """
  _check(difficulty)
  if not 0 <= copied < 1 or writers < 1 or points < 2:
    raise ValueError("needs 0 <= copied < 1, writers >= 1 and points >= 2")
  rng = np.random.default_rng([seed, 7])
  curve, target = signatures.template(rng), signatures.styles(rng, 1)
  others = signatures.imitation(signatures.styles(rng, writers), target, copied)

  def sample(rng, n):
    y = rng.integers(2, size=n)
    style = np.where(y[:, None] == 1, target, others[rng.integers(writers, size=n)])
    written = signatures.write(rng, curve, style, difficulty)
    return signatures.features(written, points), y

  return Task(sample, 2, 1.0 if difficulty == 0 else None, class_names=("impostor", "genuine"))


def _spiral(classes, turns, c, t):
  angle = 2 * np.pi * (turns * t + c / classes)
  return t[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


@functools.lru_cache(maxsize=32)
def _spirals_curve(classes, turns):
  return functools.partial(_spiral, classes, turns)


def spirals(
  seed: int, difficulty: float = 0.2, *, classes: int = 2, turns: float = 1.0
) -> Task:
  """Arms r = t, angle = 2π (turns t + c/classes), t uniform in [0, 1]; the noise has a
  standard deviation of `difficulty`/4. Bayes accuracy by quadrature. At difficulty 0 the arms
  still meet at the origin.
  """
  del seed
  _check(difficulty)
  if classes < 2:
    raise ValueError(f"needs at least 2 classes, not {classes}")
  return _noisy_curves(_spirals_curve(classes, turns), difficulty / 4, classes)


def parity(seed: int, difficulty: float = 0.2, *, dim: int = 10, bits: int = 2) -> Task:
  """Inputs uniform in {-1, 1}^dim; the class is the parity of `bits` of them (2: XOR), flipped
  with probability `difficulty`/2, so that the Bayes accuracy is 1 - difficulty/2.
  """
  _check(difficulty)
  if not 1 <= bits <= dim:
    raise ValueError(f"needs 1 <= bits <= dim, not bits {bits} and dim {dim}")
  relevant = np.random.default_rng([seed, 7]).permutation(dim)[:bits]

  def sample(rng, n):
    x = rng.choice([-1.0, 1.0], size=(n, dim))
    y = x[:, relevant].prod(axis=1) < 0
    return x, (y ^ (rng.uniform(size=n) < difficulty / 2)).astype(int)

  return Task(sample, 2, 1 - difficulty / 2)


def sine_regression(
  seed: int, difficulty: float = 0.1, *, dim: int = 1, frequency: float = 1.0
) -> Task:
  """y = a sin(2π frequency u·x + φ) + noise, x standard normal, u a random direction, φ a
  random phase (dim 1: u = 1, φ = 0, x uniform in [-1, 1], a toy to plot).

  `difficulty` is the variance of the noise, and so the least mean squared error; the signal
  has the amplitude a = √(2 (1 - difficulty)), a variance of about 1 - difficulty.
  """
  _check(difficulty)
  if dim < 1:
    raise ValueError(f"needs dim >= 1, not {dim}")
  rng = np.random.default_rng([seed, 7])
  direction = _rotation(seed, dim)[0] if dim > 1 else np.ones(1)
  phase = rng.uniform(0, 2 * np.pi) if dim > 1 else 0.0
  amplitude, noise = math.sqrt(2 * (1 - difficulty)), math.sqrt(difficulty)

  def sample(rng, n):
    x = rng.standard_normal((n, dim)) if dim > 1 else rng.uniform(-1, 1, size=(n, 1))
    clean = amplitude * np.sin(2 * np.pi * frequency * (x @ direction) + phase)
    return x, clean + noise * rng.standard_normal(n)

  return Task(sample, 0, difficulty)


def linear_regression(seed: int, difficulty: float = 0.1, *, dim: int = 10) -> Task:
  """y = w·x + noise, x standard normal, |w|² = 1 - difficulty, noise variance `difficulty`:
  the targets have variance 1, and the least mean squared error is `difficulty`.
  """
  _check(difficulty)
  if dim < 1:
    raise ValueError(f"needs dim >= 1, not {dim}")
  weights = np.random.default_rng([seed, 7]).standard_normal(dim)
  weights *= math.sqrt(1 - difficulty) / np.linalg.norm(weights)

  def sample(rng, n):
    x = rng.standard_normal((n, dim))
    return x, x @ weights + math.sqrt(difficulty) * rng.standard_normal(n)

  return Task(sample, 0, difficulty)


def affine_glyphs(
  seed: int,
  difficulty: float = 0.5,
  *,
  size: int = 28,
  colour: int = 0,
  first: int = 0,
  classes: int = 10,
) -> Task:
  """Images of digits and letters under random affine maps, integers 0..255.

  Classes are `classes` consecutive symbols of 0-9, A-Z from number `first` on: the default is
  the ten digits, first=10 and classes=26 are the letters. `difficulty` sets how far they are
  rotated, sheared, scaled and shifted, the noise, and for `colour` (1) the texture: see
  `lib.data.glyphs`. At 0 grey images of a class are all the same. The Bayes accuracy is not
  known (1 at difficulty 0).
  """
  del seed  # the distribution has nothing random about it
  _check(difficulty)
  if size < 8:
    raise ValueError(f"needs a size of at least 8 pixels, not {size}")
  if colour not in (0, 1):
    raise ValueError(f"colour is 0 or 1, not {colour}")
  if classes < 2 or first < 0 or first + classes > len(glyphs.NAMES):
    raise ValueError(
      f"there are {len(glyphs.NAMES)} symbols, not {classes} from number {first} on"
    )

  def sample(rng, n):
    y = rng.integers(classes, size=n)
    return glyphs.images(rng, first + y, size, difficulty, bool(colour)), y

  names = tuple(glyphs.NAMES[first : first + classes])
  bayes = None if difficulty else 1.0
  return Task(sample, classes, bayes, class_names=names, maximum=255)


_UNEQUAL = np.array([[0.0, 0.4, 0.8], [0.5, 0.9, 1.0]])  # u of (a, b)
_A, _B = (0.65, 0.35), np.array([[0.6, 0.25, 0.15], [0.4, 0.35, 0.25]])  # P(a), P(b | a)


def unequal_groups(
  seed: int,
  difficulty: float = 0.5,
  *,
  dim: int = 8,
  shift: float = 0.8,
  gap: float = 1.5,
  bias: float = 0.3,
  proxy: float = 0.7,
) -> Task:
  """A table of people with two sensitive attributes and a label to which they matter.

  Attribute a has 2 values, b has 3 and depends on a; the six groups are at a disadvantage u in
  [0, 1]. A person has a merit z ~ N(0, 1) and `dim` features x = z w + proxies + τ_g ε, w a
  random direction, ε ~ N(0, I). The label is 1 if z + `shift` (½ − u) > 0, and a positive one
  of the disadvantaged is turned into 0 with probability `bias` · u · `difficulty`.

  `difficulty` is the share of the variance of the merit that the features do not tell,
  1 / (1 + 1/τ²), for the group with u = 0; for the others it is difficulty^{1/(1 + gap u)},
  more. `shift` makes base rates differ, `gap` how well people are measured, `bias` how they
  are judged, and `proxy` how much the features tell of the attributes (two directions
  orthogonal to w, `proxy` standard deviations of the noise of the group with u = 0.5 apart).

  Columns: a=0, a=1, b=0, b=1, b=2 (0 or 1), then x0, x1, … The posterior given all of them is
  known: (1 − flips) Φ((m + shift (½ − u)) / √v), with m and v the mean and variance of the
  merit given the features.
  """
  from scipy import special

  _check(difficulty)
  if dim < 3:
    raise ValueError(f"needs dim >= 3, not {dim}")
  if shift < 0 or gap < 0 or not 0 <= bias <= 1 or proxy < 0:
    raise ValueError("needs shift, gap and proxy >= 0 and a bias from 0 to 1")
  directions = _rotation(seed, dim)[:3]
  unknown = difficulty ** (1 / (1 + gap * _UNEQUAL))  # (2, 3): Var(z | x)
  unknown = np.clip(unknown, 1e-12, None)
  noise = np.sqrt(unknown / (1 - unknown))
  middle = difficulty ** (1 / (1 + 0.5 * gap))
  apart = proxy * np.sqrt(middle / (1 - middle))

  def offset(a, b):
    return apart * (a[:, None] * directions[1] + (b - 1)[:, None] * directions[2])

  def sample(rng, n):
    a = rng.choice(2, size=n, p=_A)
    b = (rng.uniform(size=n)[:, None] > np.cumsum(_B[a], 1)[:, :2]).sum(1)
    merit = rng.standard_normal(n)
    x = merit[:, None] * directions[0] + offset(a, b)
    x = x + noise[a, b, None] * rng.standard_normal((n, dim))
    disadvantage = _UNEQUAL[a, b]
    y = merit + shift * (0.5 - disadvantage) > 0
    y &= rng.uniform(size=n) >= bias * disadvantage * difficulty
    return np.concatenate([np.eye(2)[a], np.eye(3)[b], x], 1), y.astype(int)

  def posterior(inputs):
    inputs = np.asarray(inputs, np.float64)
    a, b = inputs[:, :2].argmax(1), inputs[:, 2:5].argmax(1)
    left, disadvantage = unknown[a, b], _UNEQUAL[a, b]
    mean = (1 - left) * ((inputs[:, 5:] - offset(a, b)) @ directions[0])
    p = special.ndtr((mean + shift * (0.5 - disadvantage)) / np.sqrt(left))
    p = p * (1 - bias * disadvantage * difficulty)
    return np.stack([1 - p, p], 1)

  x, _ = sample(np.random.default_rng([seed, 8]), 50_000)
  names = ("a=0", "a=1", "b=0", "b=1", "b=2", *(f"x{i}" for i in range(dim)))
  bayes = float(posterior(x).max(1).mean())
  return Task(sample, 2, bayes, posterior, ("0", "1"), feature_names=names)


GENERATORS: dict[str, Callable[..., Task]] = {
  "affine_glyphs": affine_glyphs,
  "gaussian_mixture": gaussian_mixture,
  "hierarchical_gaussians": hierarchical_gaussians,
  "linear_regression": linear_regression,
  "modal_gaussians": modal_gaussians,
  "parity": parity,
  "sine_regression": sine_regression,
  "spirals": spirals,
  "two_moons": two_moons,
  "banana": banana,
  "aerial_signatures": aerial_signatures,
  "unequal_groups": unequal_groups,
}


def generate(
  generator: str, *, seed: int = 0, n_train: int = 1000, n_test: int = 1000, **options
) -> Dataset:
  """Draws a training and a test split, independent of each other, from a generator's task.

  The same seed gives the same task and the same draws; `n_train` does not change the test
  split.

  Args:
    generator: a name in GENERATORS.
    seed: of the task (orientation, relevant features) and of the draws.
    n_train, n_test: sizes; with n_test 0 there is no test split.
    **options: `difficulty` and the generator's own.

  Raises:
    ValueError: for sizes or options out of range.
  """
  if n_train < 1 or n_test < 0 or seed < 0:
    raise ValueError(f"n_train {n_train}, n_test {n_test} or seed {seed} is out of range")
  task = GENERATORS[generator](seed, **options)
  regression = task.num_classes == 0

  def draw(stream, n):
    x, y = task.sample(np.random.default_rng([seed, stream]), n)
    x = x if task.maximum else x.astype(np.float32)
    return Examples(x, y.astype(np.float32 if regression else np.int32))

  train = draw(0, n_train)
  shape = train.inputs.shape[1:]
  info = Info(
    name=f"synthetic:{generator}",
    task="regression" if regression else "classification",
    input_shape=shape,
    num_classes=task.num_classes,
    class_names=task.class_names or tuple(str(c) for c in range(task.num_classes)),
    feature_names=task.feature_names
    or (tuple(f"x{i}" for i in range(shape[0])) if len(shape) == 1 else ()),
    maximum=task.maximum,
    bayes_accuracy=None if regression else task.bayes,
    bayes_mse=task.bayes if regression else None,
    target_name="y",
  )
  return Dataset(train, None, draw(1, n_test) if n_test else None, info)

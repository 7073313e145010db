"""Bounds on ‖J‖_p of a batch of cells: signs that follow, and the norm of what is open.

The work is a pure function of arrays. With the backend "jax" it is compiled and runs on the
default device, an accelerator where there is one; batches are padded to powers of two so that
few shapes are compiled; pre-activations are then bounded on the box and not on the cell. With
"numpy" it runs at once, which is faster for small networks.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lib.verification import branch_and_bound as bab
from lib.verification import exact, jacobian, norms, propagation, rounding, sector
from lib.verification.networks import Network
from lib.verification.rounding import namespace, up

POINTS = 16  # inputs kept for each cell
ROUNDING = 1e-11  # of a leaf's Jacobian, relative, beyond which it is computed exactly


class Setting(NamedTuple):
  """What all sub-problems share.

  Attributes:
    network: the network, homogenised for a global constant.
    lower, upper: (boxes, n) boxes.
    columns: how many of the inputs count in the Jacobian.
    p: of the norm.
    points: inputs kept for each cell.
    relaxation: whether to use backward linear relaxations of the Jacobian.
    signed: whether to use ‖C‖ + ‖R‖ beside ‖|C| + R‖.
    score: "effect" branches on the unit with the largest effect on the bound, "first" on the
      first open one.
    reuse: whether points inside a cell spare linear programs.
    symbolic: relaxations of the pre-activation bounds.
    cuts: whether pre-activations are bounded on the cell instead of the box.
    sector: whether to use the quadratic bound.
    backend: "numpy" or "jax", for the bounds of a batch.
  """

  network: Network
  lower: np.ndarray
  upper: np.ndarray
  columns: int
  p: float
  points: int = POINTS
  relaxation: bool = False
  signed: bool = True
  score: str = "effect"
  reuse: bool = True
  symbolic: tuple[str, ...] = ("parallel",)
  cuts: bool = True
  sector: bool = True
  backend: str = "numpy"


class Lines(NamedTuple):
  """z_k = rows x + offsets of all units of a batch, with errors over the box."""

  rows: np.ndarray
  offsets: np.ndarray
  errors: np.ndarray


def lines(forms, lower, upper) -> Lines:
  """The affine forms that `jacobian.forward` found, (b, N) of them, on boxes (b, n)."""
  xp = namespace(forms[0].centre, lower)
  reach = xp.maximum(xp.abs(lower), xp.abs(upper))
  centre = xp.concatenate([f.centre for f in forms[:-1]], 1)
  radius = xp.concatenate([f.radius for f in forms[:-1]], 1)
  errors = (radius[..., :-1] * reach[:, None]).sum(-1) + radius[..., -1]
  return Lines(centre[..., :-1], centre[..., -1], up(errors, reach.shape[1]))


def most_cuts(cut: np.ndarray) -> int:
  """How many half-spaces the cell with most has."""
  return int(cut.sum(-1).max(initial=0))


def cuts_of(signs, cut, forms: Lines, count: int) -> propagation.Cuts:
  """The half-spaces of each cell, `count` rows; those that a cell does not have are 0 ≥ 0."""
  xp = namespace(signs, forms.rows)
  order = rounding.first(cut, count)
  sign = xp.take_along_axis(xp.where(cut, signs, 0), order, -1)
  rows = xp.take_along_axis(forms.rows, order[..., None], 1) * sign[..., None]
  offsets = xp.take_along_axis(forms.offsets, order, -1) * sign
  errors = xp.take_along_axis(forms.errors, order, -1) * xp.abs(sign)
  return propagation.Cuts(rows, offsets, errors)


class Evaluation(NamedTuple):
  """What `evaluate` finds, (b, ...) each.

  Attributes:
    signs: with those that follow from the others.
    possible: False where the signs contradict each other.
    values: upper bounds of ‖J‖_p.
    rounding: largest radius of an entry of J over the largest entry.
  """

  signs: np.ndarray
  possible: np.ndarray
  values: np.ndarray
  rounding: np.ndarray


def evaluate(setting: Setting, count: int, signs, cut, lower, upper) -> Evaluation:
  """Signs and bounds of a batch, a pure function in NumPy or JAX.

  Args:
    setting: see `Setting`.
    count: rows of half-spaces, at least as many as a cell has.
    signs, cut: (b, N).
    lower, upper: (b, n).
  """
  xp = namespace(signs, lower)
  network = setting.network
  cuts = None
  if setting.cuts and count and xp is np:  # compiled, its sorts would take minutes to compile
    known = lines(jacobian.forward(network, signs), lower, upper)
    cuts = cuts_of(signs, cut, known, count)
  bounds = None
  for relaxation in setting.symbolic:
    found = propagation.symbolic(network, lower, upper, signs, relaxation, cuts)
    bounds = found if bounds is None else propagation.intersect(bounds, found)
  signs, possible = propagation.decide(network, bounds, signs)
  forms = jacobian.forward(network, signs)
  effects = jacobian.backward(network, signs)
  signs = _drop_irrelevant(network, signs, forms, effects)
  ball = _ball(setting, signs, forms, effects)
  values = _norm(setting, ball)
  if setting.sector:
    values = xp.minimum(values, _sector(setting, signs, forms, effects, ball, values))
  leaves = ~xp.any(signs == 0, -1)
  if not setting.signed:  # a leaf has one Jacobian, whose norm is known
    alone = norms.upper(ball.centre, ball.radius, setting.p)
    values = xp.where(leaves, xp.minimum(values, alone), values)
  size = xp.abs(ball.centre).max((-2, -1))
  relative = ball.radius.max((-2, -1)) / xp.where(size > 0, size, 1.0)
  return Evaluation(signs, possible, values, relative)


def evaluator(setting: Setting) -> Callable[..., Evaluation]:
  """`evaluate` for a setting: (count, signs, cut, lower, upper) -> Evaluation."""
  if setting.backend == "numpy":
    return functools.partial(evaluate, setting)
  if setting.backend != "jax":
    raise ValueError(f"backend is '{setting.backend}', not 'numpy' or 'jax'.")
  import jax

  compiled = jax.jit(functools.partial(evaluate, setting), static_argnums=0)

  def run(count, *arrays):
    size = len(arrays[0])
    width = max(32, 1 << (size - 1).bit_length())
    padded = [np.concatenate([a, np.repeat(a[-1:], width - size, 0)]) for a in arrays]
    with jax.enable_x64(True):
      found = compiled(0, *map(jax.numpy.asarray, padded))
      return Evaluation(*(np.array(v[:size]) for v in found))

  return run


def bound(
  setting: Setting, compute: Callable[..., Evaluation], nodes: bab.Nodes
) -> tuple[bab.Nodes, np.ndarray]:
  """Completes the signs of cells, and bounds ‖J‖_p on each; −inf where a cell is empty."""
  lower, upper = setting.lower[nodes["box"]], setting.upper[nodes["box"]]
  count = most_cuts(nodes["cut"])
  found = compute(count, nodes["signs"], nodes["cut"], lower, upper)
  values = found.values.copy()
  leaves = ~np.any(found.signs == 0, -1)
  for i in np.flatnonzero(leaves & found.possible & (found.rounding > ROUNDING)):
    known = exact_ball(setting, found.signs[i])
    if known is not None:
      values[i] = min(values[i], float(norms.upper(*known, setting.p)))
  values = np.where(found.possible, np.minimum(values, nodes["bound"]), -np.inf)
  return {**nodes, "signs": found.signs, "bound": values}, values


def _ball(setting, signs, forms, effects):
  columns = setting.columns
  last = jacobian.Ball(*(v[..., :-1] for v in forms[-1]))
  if setting.relaxation:
    last = jacobian.intersect(last, effects[-1])
    last = jacobian.intersect(last, jacobian.relaxed(setting.network, signs, forms))
  return jacobian.Ball(*(v[..., :columns] for v in last))


def _norm(setting, ball):
  if setting.signed:
    return norms.upper(ball.centre, ball.radius, setting.p)
  return norms.upper(ball.size, 0 * ball.radius, setting.p)


def _sector(setting, signs, forms, effects, ball, values):
  """The bound of `sector`; for other p interpolated between its neighbours (Riesz-Thorin)."""
  p, xp = setting.p, namespace(values)
  form = sector.fraction(setting.network, signs, forms, effects, setting.columns)
  if p in (1, 2, np.inf):
    return sector.bound(form, p, values)
  outer = 1.0 if p < 2 else np.inf
  first, second = (
    xp.minimum(known, sector.bound(form, q, known))
    for q in (outer, 2.0)
    for known in (norms.upper(ball.centre, ball.radius, q),)
  )
  share = 2 - 2 / p if p < 2 else 2 / p
  return up(first ** (1 - share) * second**share, 64)


def _drop_irrelevant(network, signs, forms, effects):
  """Marks open units with 2 whose slope changes nothing: no effect on f, or z = 0."""
  xp = namespace(signs)
  new = []
  hidden = propagation.split(network, signs)
  for sign, form, effect in zip(hidden, forms[:-1], effects[:-1], strict=True):
    idle = ~xp.any(xp.abs(effect.centre) + effect.radius > 1e-280, -2)
    flat = ~xp.any(xp.abs(form.centre) + form.radius > 1e-280, -1)
    new.append(xp.where((sign == 0) & (idle | flat), 2, sign).astype(sign.dtype))
  return xp.concatenate(new, -1) if new else signs


def exact_ball(setting: Setting, signs) -> jacobian.Ball | None:
  """The Jacobian of one leaf to the last place, from rational arithmetic; None if unknown."""
  found = exact.jacobian(setting.network, signs)
  if found is None:
    return None
  found = found[:, : setting.columns]
  return jacobian.Ball(found, up(2.0**-52 * np.abs(found)))

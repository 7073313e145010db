"""Propagation, Jacobian bounds and norms against sampling and enumeration."""

import itertools

import numpy as np
import pytest

from lib.verification import (
  baselines,
  bounding,
  from_arrays,
  jacobian,
  norms,
  propagation,
  sector,
)


def problem(seed, widths=(3, 6, 5, 4), activation="relu"):
  rng = np.random.default_rng(seed)
  weights = [rng.standard_normal(s) for s in itertools.pairwise(widths)]
  biases = [0.3 * rng.standard_normal(k) for k in widths[1:]]
  return (
    from_arrays(weights, biases, activation),
    -rng.random(widths[0]),
    rng.random(widths[0]),
  )


def pre_activations(network, x):
  found = []
  for weight, bias, slopes in zip(
    network.weights[:-1], network.biases[:-1], network.slopes, strict=True
  ):
    z = x @ weight.T + bias
    found.append(z)
    x = np.where(z > 0, slopes[1], slopes[0]) * z
  return found


def jacobians(network, slopes):
  """J for slopes given layer by layer, (k, n_l) each."""
  found = np.broadcast_to(network.weights[0], (len(slopes[0]), *network.weights[0].shape))
  for weight, s in zip(network.weights[1:], slopes, strict=True):
    found = weight @ (s[..., None] * found)
  return found


@pytest.mark.parametrize("activation", ["relu", "leaky_relu:0.2", "abs", "maxmin"])
@pytest.mark.parametrize("seed", range(3))
def test_pre_activations_are_inside(activation, seed):
  network, low, high = problem(seed, (3, 6, 4, 2), activation)
  x = low + np.random.default_rng(0).random((2000, 3)) * (high - low)
  found = [
    propagation.intervals(network, low, high),
    propagation.symbolic(network, low, high),
    propagation.symbolic(network, low, high, relaxation="fresh"),
  ]
  for bounds in found:
    for z, bound in zip(pre_activations(network, x), bounds, strict=True):
      assert np.all(z >= bound.lower) and np.all(z <= bound.upper)
  first = found[0][0]  # of the first layer both are exact
  np.testing.assert_allclose(found[1][0].lower, first.lower, rtol=1e-12)
  reach = np.abs(network.weights[0]) @ (0.5 * (high - low))
  middle = network.weights[0] @ (0.5 * (high + low)) + network.biases[0]
  np.testing.assert_allclose(first.upper, middle + reach, rtol=1e-12)


def test_symbolic_keeps_what_decided_units_share():
  # z = x − x through two units that are always on: intervals do not see that it is 0.
  network = from_arrays(
    [np.ones((1, 2)), np.array([[1.0], [-1.0]]), np.ones((1, 1))],
    [np.full(2, 5.0), np.zeros(1), np.zeros(1)],
  )
  low, high = -np.ones(1), np.ones(1)
  loose = propagation.intervals(network, low, high)[1]
  tight = propagation.symbolic(network, low, high)[1]
  assert loose.upper[0] >= 2 and abs(tight.upper[0]) < 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_cuts_bound_what_is_left_of_the_box(seed):
  from scipy.optimize import linprog

  network, low, high = problem(seed, (4, 8, 3))
  rng = np.random.default_rng(seed)
  rows = rng.standard_normal((3, 4))
  offsets = -rows @ (0.5 * (low + high)) + 0.05
  cuts = propagation.Cuts(rows[None], offsets[None], np.zeros((1, 3)))
  signs = propagation.undecided(network, (1,))
  box = propagation.symbolic(network, low, high, signs)[0]
  tight = propagation.symbolic(network, low, high, signs, cuts=cuts, sweeps=20)[0]
  gained = []
  for k, (weight, bias) in enumerate(zip(network.weights[0], network.biases[0], strict=True)):
    if not box.lower[0, k] < 0 < box.upper[0, k]:
      continue
    bounds = list(zip(low, high, strict=True))
    best = -linprog(-weight, -rows, offsets, bounds=bounds).fun + bias
    assert best <= tight.upper[0, k] + 1e-12 <= box.upper[0, k] + 1e-11
    gained.append((box.upper[0, k] - tight.upper[0, k], box.upper[0, k] - best))
  gained = np.array(gained)
  assert gained[:, 0].sum() > 0.8 * gained[:, 1].sum()  # most of what the program finds


@pytest.mark.parametrize("activation", ["relu", "abs", "leaky_relu:0.2"])
@pytest.mark.parametrize("seed", range(3))
def test_jacobians_are_inside_for_all_slopes(activation, seed):
  network, low, high = problem(seed, activation=activation)
  signs = baselines.root_signs(network, 0.3 * low, 0.3 * high)[None]
  forms, effects = jacobian.forward(network, signs), jacobian.backward(network, signs)
  form = sector.fraction(network, signs, forms, effects, 3)
  last = jacobian.Ball(*(v[..., :-1] for v in forms[-1]))
  balls = {"forward": last, "backward": effects[-1]}
  balls["relaxed"] = jacobian.relaxed(network, signs, forms)
  balls["both"] = jacobian.intersect(last, balls["relaxed"])
  rng = np.random.default_rng(0)
  slopes = []
  for a, b in jacobian.slope_intervals(network, signs):
    share = rng.random((3000, a.shape[-1]))
    share[:2000] = np.round(share[:2000])
    slopes.append(a + share * (b - a))
  j = jacobians(network, slopes)
  for name, ball in balls.items():
    slack = 1e-12 * np.abs(j).max()
    assert np.all(np.abs(j - ball.centre) <= ball.radius + slack), name
  for p in (1, 2, np.inf):
    largest = np.linalg.norm(j, p, axis=(-2, -1)).max()
    start = norms.upper(last.centre, last.radius, p)
    assert largest <= start[0]
    assert largest <= sector.bound(form, p, start)[0]


def test_sector_bound_is_exact_for_one_unit():
  # J = D + c δ b with |δ| ≤ 1/2 around 1/2: the largest norm is at an end.
  for p in (1, 2, np.inf):
    network = from_arrays([np.array([[2.0]]), np.array([[3.0]])], [np.zeros(1), np.zeros(1)])
    signs = propagation.undecided(network, (1,))
    forms, effects = jacobian.forward(network, signs), jacobian.backward(network, signs)
    form = sector.fraction(network, signs, forms, effects, 1)
    found = sector.bound(form, p, np.array([6.0]))
    np.testing.assert_allclose(found, 6.0, rtol=1e-6)


def test_definite_is_never_true_for_indefinite_matrices():
  rng = np.random.default_rng(0)
  q, _ = np.linalg.qr(rng.standard_normal((6, 6)))
  for least, expected in ((-1e-15, False), (-1e-3, False), (0.0, False), (1e-6, True)):
    matrix = q @ np.diag([1.0, 1, 1, 1, 1, least]) @ q.T
    diagonal = np.zeros((1, 6))
    found = sector.definite(
      diagonal, -0.5 * (matrix + matrix.T)[None], np.abs(matrix)[None], 12
    )
    assert bool(found[0]) == expected


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 4), (4, 1), (3, 3)])
@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1.0, 1e150])
def test_norms_enclose_and_meet(shape, scale):
  rng = np.random.default_rng(0)
  a = scale * rng.standard_normal((20, *shape))
  for p in (1, 2, np.inf):
    truth = np.linalg.norm(a, p, axis=(-2, -1))
    low, high = norms.lower(a, 0 * a, p), norms.upper(a, 0 * a, p)
    assert np.all(low <= truth * (1 + 1e-15)) and np.all(truth * (1 - 1e-15) <= high)
    np.testing.assert_allclose(low, high, rtol=1e-12)
    radius = 0.1 * np.abs(a)
    moved = a + radius * rng.uniform(-1, 1, (50, *a.shape))
    values = np.linalg.norm(moved, p, axis=(-2, -1))
    assert np.all(values <= norms.upper(a, radius, p))
    assert np.all(values >= norms.lower(a, radius, p))


@pytest.mark.parametrize("p", [1.3, 3.0, 7.0])
def test_other_norms(p):
  rng = np.random.default_rng(0)
  a = rng.standard_normal((10, 3, 4))
  x = rng.standard_normal((4, 5000))
  ratio = ((np.abs(a @ x) ** p).sum(-2) / (np.abs(x) ** p).sum(-2)) ** (1 / p)
  low, high = norms.lower(a, 0 * a, p), norms.upper(a, 0 * a, p)
  assert np.all(low <= high) and np.all(ratio.max(-1) <= high)
  assert np.all(ratio.max(-1) <= low * (1 + 1e-9))  # the power method beats sampling
  positive = np.abs(a)  # where Schur's test is exact
  np.testing.assert_allclose(
    norms.lower(positive, 0 * a, p), norms.upper(positive, 0 * a, p), rtol=1e-6
  )
  row = a[:, :1]  # ‖row‖_p is the dual norm
  q = p / (p - 1)
  np.testing.assert_allclose(
    norms.lower(row, 0 * row, p), (np.abs(row) ** q).sum((-1, -2)) ** (1 / q), rtol=1e-9
  )


def test_p_below_one():
  with pytest.raises(ValueError, match="p ≥ 1"):
    norms.check_p(0.5)


def test_enumeration_finds_the_cells_that_sampling_sees():
  network, low, high = problem(3, (2, 5, 4, 2))
  cells = baselines.enumerate_cells(network, low, high)
  x = low + np.random.default_rng(0).random((20000, 2)) * (high - low)
  slopes = [(z > 0).astype(float) for z in pre_activations(network, x)]
  seen = np.unique(np.round(jacobians(network, slopes), 9), axis=0)
  listed = np.round(np.stack([j.astype(float) for j, _ in cells]), 9)
  for j in seen:
    assert np.any(np.all(np.abs(listed - j) < 1e-8, (-1, -2)))
  area = 0
  for _, corners in cells:  # cells cover the box once
    c = np.array(corners, float)
    area += 0.5 * abs(np.sum(c[:, 0] * np.roll(c[:, 1], -1) - c[:, 1] * np.roll(c[:, 0], -1)))
  np.testing.assert_allclose(area, np.prod(high - low), rtol=1e-9)
  with pytest.raises(ValueError, match="one or two inputs"):
    baselines.enumerate_cells(problem(0)[0], low, high)


def test_order_of_bounds():
  for seed in range(5):
    network, low, high = problem(seed)
    for p in (1, 2, np.inf):
      interval = baselines.interval_bound(network, low, high, p)
      x = low + np.random.default_rng(0).random((500, 3)) * (high - low)
      sampled = baselines.gradient_norms(network, x, p).max()
      assert baselines.layer_norm_product(network, p) > sampled
      assert interval >= baselines.relaxed_bound(network, low, high, p) > sampled
      assert interval >= baselines.sector_bound(network, low, high, p) > sampled


def test_compiled_bounds_are_those_of_numpy():
  network, low, high = problem(1, (3, 4, 3, 2))
  for p in (2, np.inf):
    setting = bounding.Setting(network, low[None], high[None], 3, p, cuts=False)
    signs = np.stack([propagation.undecided(network)] * 3)
    signs[1, :2], signs[2, :4] = (1, -1), 1
    arguments = (signs, np.zeros(signs.shape, bool), *(np.stack([v] * 3) for v in (low, high)))
    ours = bounding.evaluator(setting)(0, *arguments)
    compiled = bounding.evaluator(setting._replace(backend="jax"))(0, *arguments)
    np.testing.assert_array_equal(compiled.signs, ours.signs)
    np.testing.assert_array_equal(compiled.possible, ours.possible)
    np.testing.assert_allclose(compiled.values, ours.values, rtol=1e-6)
  with pytest.raises(ValueError, match="not 'numpy' or 'jax'"):
    bounding.evaluator(setting._replace(backend="torch"))

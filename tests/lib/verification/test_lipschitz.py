"""Certified constants against enumeration in rational arithmetic, and the paper's numbers."""

import itertools
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy.optimize import linprog

from lib.verification import baselines, from_arrays, lipschitz_constant
from lib.verification import lipschitz as module
from tests.conftest import SHARED

CHUNK = 64
ACTIVATIONS = ("relu", "relu", "relu", "leaky_relu:0.1", "abs", "maxmin", "groupsort:3")


def high_precision(value):
  return mpmath.mpf(value.numerator) / value.denominator


def norm(jacobian, p):
  """‖J‖_p of a matrix of Fractions with one or two columns, to 60 digits."""
  if p != 2:
    axis = 0 if p == 1 else 1
    return high_precision(Fraction(np.max(np.abs(jacobian).sum(axis))))
  gram = jacobian.T @ jacobian
  if gram.shape == (1, 1):
    return mpmath.sqrt(high_precision(Fraction(gram[0, 0])))
  a, b, d = (Fraction(v) for v in (gram[0, 0], gram[0, 1], gram[1, 1]))
  root = mpmath.sqrt(high_precision((a - d) ** 2 + 4 * b * b))
  return mpmath.sqrt((high_precision(a + d) + root) / 2)


def brute_force(network, low, high, p):
  """max ‖J‖_p over all cells, in rational arithmetic."""
  with mpmath.workdps(60):
    return max(norm(j, p) for j, _ in baselines.enumerate_cells(network, low, high))


def random_problem(seed):
  """A small network on a box, in every way awkward: see the module's checks."""
  rng = np.random.default_rng(seed)
  activation = str(rng.choice(ACTIVATIONS))
  group = {"maxmin": 2, "groupsort:3": 3}.get(activation, 1)
  inputs, depth = int(rng.integers(1, 3)), int(rng.integers(1, 4))
  hidden = [int(rng.integers(1, 5 if group == 1 else 3)) * group for _ in range(depth)]
  widths = [inputs, *hidden, int(rng.integers(1, 4))]
  scale = rng.choice([1e-8, 1e-4, 1, 1, 1, 1e4, 1e8], len(widths) - 1)
  pairs = list(itertools.pairwise(widths))
  weights = [rng.standard_normal(s) * c for s, c in zip(pairs, scale, strict=True)]
  biases = [rng.standard_normal(s[1]) * c for s, c in zip(pairs, scale, strict=True)]
  kind = rng.integers(0, 6)
  if kind == 0:  # all boundaries of the first layer meet at 0
    biases = [0 * b for b in biases]
  elif kind == 1:  # ... or nearly
    biases = [1e-14 * b for b in biases]
  elif kind == 2:  # boundaries coincide, on equal and on opposite sides
    for i in range(1, widths[1]):
      if rng.random() < 0.5:
        j, f = int(rng.integers(0, i)), rng.choice([1.0, -1.0, 2.0, 0.1])
        weights[0][:, i] = f * weights[0][:, j]
        biases[0][i] = f * biases[0][j] + rng.choice([0, 0, 1e-13])
  elif kind == 3:  # small integers: ties everywhere
    weights = [np.round(2 * w / c) * c / 2 for w, c in zip(weights, scale, strict=True)]
    biases = [np.round(2 * b / c) * c / 2 for b, c in zip(biases, scale, strict=True)]
  elif kind == 4:  # dead units
    k = int(rng.integers(0, len(weights) - 1))
    weights[k][:, rng.integers(0, widths[k + 1])] = 0
    biases[k] -= 10 * np.abs(biases[k]).max() * rng.integers(0, 2)
  radius = rng.choice([1.0, 1e-6, 1e6, 0.5]) * rng.random(inputs) + 1e-12
  centre = rng.choice([0.0, 1.0]) * rng.standard_normal(inputs)
  low, high = centre - radius, centre + radius
  if rng.random() < 0.3:
    low = 0 * radius
    high = radius
  return from_arrays(weights, biases, activation), low, high


@pytest.mark.parametrize("chunk", range(8))
def test_bounds_hold_and_meet_on_512_awkward_networks(chunk):
  for seed in range(CHUNK * chunk, CHUNK * (chunk + 1)):
    network, low, high = random_problem(seed)
    p = (1, 2, np.inf)[seed % 3]
    truth = brute_force(network, low, high, p)
    found = lipschitz_constant(network, low, high, p)
    assert found.upper_bound >= truth, (seed, found.upper_bound, truth)
    assert found.lower_bound <= truth, (seed, found.lower_bound, truth)
    if truth:
      assert found.upper_bound <= truth * (1 + 1e-7), (seed, found.upper_bound, truth)
      assert found.lower_bound >= truth * (1 - 1e-7), (seed, found.lower_bound, truth)
      assert found.exact
    history = found.history
    assert np.all(history["upper"] >= float(truth) * (1 - 1e-15))
    assert np.all(history["lower"] <= float(truth) * (1 + 1e-15))
    assert found.first_estimate >= truth and found.root_bound >= truth


@pytest.mark.parametrize("p", [1.5, 3.0])
def test_other_norms_are_bracketed(p):
  for seed in range(30):
    network, low, high = random_problem(seed)
    cells = baselines.enumerate_cells(network, low, high)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((network.inputs, 400))
    found = lipschitz_constant(network, low, high, p)
    for jacobian, _ in cells:
      y = jacobian.astype(float) @ x
      ratio = (np.abs(y) ** p).sum(0) ** (1 / p) / (np.abs(x) ** p).sum(0) ** (1 / p)
      assert found.upper_bound >= ratio.max() * (1 - 1e-12)
    sizes = [np.abs(j.astype(float)) for j, _ in cells]
    holder = max(j.sum(0).max() ** (1 / p) * j.sum(1).max() ** (1 - 1 / p) for j in sizes)
    assert found.lower_bound <= holder * (1 + 1e-12)  # Riesz-Thorin bounds every cell


def patterns_by_programs(weights, biases, low, high):
  """Jacobians of all cells with an inscribed ball, by Chebyshev centres."""
  found = []

  def visit(layer, a, c, rows, offsets):
    if layer == len(weights) - 1:
      found.append(weights[-1].T @ a)
      return
    a, c = weights[layer].T @ a, weights[layer].T @ c + biases[layer]
    for signs in itertools.product((1, -1), repeat=len(c)):
      s = np.array(signs)
      h, d = np.concatenate([rows, s[:, None] * a]), np.concatenate([offsets, s * c])
      size = np.linalg.norm(h, axis=1, keepdims=True)
      n = h.shape[1]
      solved = linprog(
        np.append(np.zeros(n), -1),
        np.concatenate([-h, size], 1),
        d,
        bounds=[*zip(low, high, strict=True), (None, 1)],
      )
      if solved.x is not None and solved.x[-1] > 1e-9:
        on = s > 0
        visit(layer + 1, on[:, None] * a, on * c, h, d)

  n = len(low)
  visit(0, np.eye(n), np.zeros(n), np.zeros((0, n)), np.zeros(0))
  return found


@pytest.mark.parametrize("seed", range(4))
def test_more_inputs_against_linear_programs(seed):
  rng = np.random.default_rng(seed)
  n = 3 + seed % 3
  widths = [n, 4, 3, 2]
  weights = [rng.standard_normal(s) for s in itertools.pairwise(widths)]
  biases = [0.3 * rng.standard_normal(k) for k in widths[1:]]
  low, high = -rng.random(n), rng.random(n)
  cells = patterns_by_programs(weights, biases, low, high)
  for p in (1, 2, np.inf):
    found = lipschitz_constant((weights, biases), low, high, p)
    truth = max(np.linalg.norm(j, p) for j in cells)
    np.testing.assert_allclose([found.lower_bound, found.upper_bound], truth, rtol=1e-9)
    value = baselines.gradient_norms(
      module.as_network((weights, biases)), found.maximiser[None], p
    )
    np.testing.assert_allclose(value, truth, rtol=1e-9)  # attained where it is said to be
    assert np.all(found.maximiser >= low) and np.all(found.maximiser <= high)


def test_box_that_is_a_point():
  rng = np.random.default_rng(0)
  weights = [rng.standard_normal(s) for s in ((3, 5), (5, 4), (4, 2))]
  biases = [rng.standard_normal(k) for k in (5, 4, 2)]
  for _ in range(10):
    x = rng.standard_normal(3)
    a, jacobian = x, np.eye(3)
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
      z = a @ w + b
      a, jacobian = np.maximum(z, 0), jacobian @ (w * (z > 0))
    truth = np.linalg.norm((jacobian @ weights[-1]).T, 2)
    found = lipschitz_constant((weights, biases), x, x, 2)
    assert found.exact
    np.testing.assert_allclose(found.upper_bound, truth, rtol=1e-12)


def test_point_in_a_kink_counts_both_sides():
  found = lipschitz_constant(([np.eye(1), np.eye(1)], [np.zeros(1), np.zeros(1)]), 0.0, 0.0)
  assert found.upper_bound >= 1.0 and found.lower_bound <= found.upper_bound


@pytest.mark.parametrize("p", [1, 2, np.inf])
def test_global_constant_is_that_of_a_huge_box(p):
  for seed in range(6):
    rng = np.random.default_rng(seed)
    widths = [2, 4, 3, 2]
    weights = [rng.standard_normal(s) for s in itertools.pairwise(widths)]
    biases = [rng.standard_normal(k) for k in widths[1:]]
    network = from_arrays(weights, biases)
    truth = brute_force(network, [-1e9, -1e9], [1e9, 1e9], p)  # cells are all within
    found = lipschitz_constant(network, p=p)
    assert found.upper_bound >= truth >= found.lower_bound
    np.testing.assert_allclose(found.upper_bound, float(truth), rtol=1e-9)
    value = baselines.gradient_norms(network, found.maximiser[None], p)
    np.testing.assert_allclose(value, float(truth), rtol=1e-9)


def test_affine_and_zero_networks():
  w = np.array([[1.0, 2.0], [3.0, -4.0]])
  found = lipschitz_constant(([w], [np.zeros(2)]), -1, 1, np.inf)
  assert found.exact and abs(found.upper_bound - 6) < 1e-12  # columns of W are rows of J
  found = lipschitz_constant(([0 * w, w], [np.ones(2), np.ones(2)]), -1, 1)
  assert found.exact and found.lower_bound == 0 and found.upper_bound < 1e-200


def medium():
  rng = np.random.default_rng(6)
  widths = [5, 9, 7, 3]
  weights = [rng.standard_normal(s) / s[0] ** 0.5 for s in itertools.pairwise(widths)]
  biases = [0.2 * rng.standard_normal(k) for k in widths[1:]]
  return from_arrays(weights, biases)


def test_limits_leave_valid_bounds_and_progress_resumes_identically(tmp_path):
  network = medium()
  whole = lipschitz_constant(network, -1, 1)
  assert whole.exact and whole.nodes > 60
  part = lipschitz_constant(network, -1, 1, node_limit=30)
  assert not part.finished and part.nodes < whole.nodes
  assert part.lower_bound <= whole.lower_bound <= whole.upper_bound <= part.upper_bound
  module.save(tmp_path / "progress.npz", part.progress)
  rest = lipschitz_constant(network, -1, 1, progress=module.load(tmp_path / "progress.npz"))
  assert (rest.upper_bound, rest.lower_bound) == (whole.upper_bound, whole.lower_bound)
  assert (rest.nodes, rest.lps) == (whole.nodes, whole.lps)
  np.testing.assert_array_equal(rest.history["upper"], whole.history["upper"])
  np.testing.assert_array_equal(rest.maximiser, whole.maximiser)


def test_time_limit_and_stop():
  network = medium()
  found = lipschitz_constant(network, -1, 1, time_limit=0.0)
  assert not found.finished and found.upper_bound >= found.lower_bound > 0
  seen = []
  found = lipschitz_constant(network, -1, 1, stop=lambda r: seen.append(r) or len(seen) == 2)
  assert len(seen) == 2 and not found.finished


def test_small_frontier_stays_valid():
  network = medium()
  truth = lipschitz_constant(network, -1, 1).lower_bound
  found = lipschitz_constant(network, -1, 1, frontier_limit=4, batch=4)
  assert len(found.progress.search.bounds) <= 4
  assert found.upper_bound >= truth >= found.lower_bound
  for seed in range(60):  # as awkward as above, with room for a single sub-problem
    network, low, high = random_problem(seed)
    p = (1, 2, np.inf)[seed % 3]
    truth = brute_force(network, low, high, p)
    found = lipschitz_constant(network, low, high, p, frontier_limit=1, batch=2)
    assert found.upper_bound >= truth >= found.lower_bound, seed
    assert np.all(found.history["upper"] >= float(truth) * (1 - 1e-15)), seed


def test_memory_of_the_frontier_is_bounded(monkeypatch):
  network = medium()
  truth = lipschitz_constant(network, -1, 1).lower_bound
  part = lipschitz_constant(network, -1, 1, node_limit=60)
  nodes = part.progress.search.frontier
  each = sum(v.nbytes for v in nodes.values()) // len(part.progress.search.bounds)
  monkeypatch.setattr(module, "FRONTIER_BYTES", 5 * each)
  most = []

  def note(result):
    most.append(len(result.progress.search.bounds))
    assert result.upper_bound >= truth >= result.lower_bound

  found = lipschitz_constant(network, -1, 1, stop=note)
  assert max(most) == 5 and not found.exact and found.upper_bound >= truth


def test_progress_of_another_problem_is_refused():
  network = medium()
  part = lipschitz_constant(network, -1, 1, node_limit=10)
  moved = network._replace(biases=(network.biases[0] + 1e-9, *network.biases[1:]))
  for other, box, p in ((moved, (-1, 1), 2), (network, (-1, 2), 2), (network, (-1, 1), 1)):
    with pytest.raises(ValueError, match="another network, box or p"):
      lipschitz_constant(other, *box, p, progress=part.progress)


def test_factor_is_reached_with_less_work():
  network = medium()
  whole = lipschitz_constant(network, -1, 1)
  found = lipschitz_constant(network, -1, 1, factor=1.2)
  assert found.finished and found.nodes < whole.nodes
  assert found.lower_bound <= whole.lower_bound <= found.upper_bound
  assert found.upper_bound <= 1.2 * found.lower_bound * (1 + 1e-9)


def test_every_option_gives_the_same_constant():
  network = medium()
  truth = lipschitz_constant(network, -1, 1).upper_bound
  for options in (
    {"sector": False},
    {"cuts": False},
    {"relaxation": True},
    {"reuse": False},
    {"score": "first"},
    {"symbolic": ("fresh", "parallel")},
    {"batch": 1},
  ):
    found = lipschitz_constant(network, -1, 1, **options)
    np.testing.assert_allclose(found.upper_bound, truth, rtol=1e-9)


AUTHORS = {  # what the authors' own program gives for their networks
  "iris_net_(4,5,5,3)": (1.0, (5.958048912394726, 6.771454513402937, 12.605085581416922)),
  "SDnet_(10,15,10,3)": (0.1, (10.41286850374477, 9.530716922306004, 16.274810805318676)),
}
FIRST = {
  "iris_net_(4,5,5,3)": (8.776, 8.810, 14.663),
  "SDnet_(10,15,10,3)": (15.105, 13.019, 25.243),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", AUTHORS)
def test_authors_networks(name, tmp_path):
  folder = SHARED / "data" / "lipbab"
  if not folder.is_dir():
    pytest.skip("needs the authors' networks")
  weights, biases = (
    [
      np.array(v, np.float64).squeeze()
      for v in np.load(folder / f"{name}_{part}.npy", allow_pickle=True)
    ]
    for part in ("weights", "biases")
  )
  upper, constants = AUTHORS[name]
  for p, constant, first in zip((1, 2, np.inf), constants, FIRST[name], strict=True):
    found = lipschitz_constant((weights, biases), 0.0, upper, p)
    assert found.exact
    np.testing.assert_allclose([found.lower_bound, found.upper_bound], constant, rtol=1e-9)
    assert abs(found.first_estimate - first) < 1e-3  # Table 1, first column


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"p": 0.5}, "p ≥ 1"),
    ({"p": np.nan}, "p ≥ 1"),
    ({"p": "two"}, "give 1, 2, inf"),
    ({"lower": "zero"}, "lower is not a number"),
    ({"network": 3}, "'int' is no network"),
    ({"network": ([], [])}, "at least one layer"),
    ({"network": ([[[1.0, 2.0], [3.0]]], [[0.0]])}, "not an array of real numbers"),
    ({"network": ([1j * np.ones((2, 3))], [np.zeros(3)])}, "not an array of real numbers"),
    ({"time_limit": -1}, "time_limit is -1"),
    ({"node_limit": -1}, "node_limit is -1"),
    ({"batch": 0}, "batch is 0"),
    ({"frontier_limit": 0}, "frontier_limit is 0"),
    ({"factor": 0.9}, "at least 1"),
    ({"lower": 2.0}, "lower > upper for input 0"),
    ({"lower": np.nan}, "not finite"),
    ({"lower": np.zeros(3)}, "the network has 2 inputs"),
    ({"lower": None}, "both ends"),
    ({"activation": "tanh"}, "unknown activation 'tanh'"),
    (
      {"network": ([np.ones((2, 3)), np.ones((2, 1))], [np.zeros(3), np.zeros(1)])},
      "do not chain: layer 1 takes 2 inputs, but 3 come",
    ),
    ({"network": ([np.ones((2, 3))], [np.zeros(2)])}, "do not chain"),
    ({"network": ([np.full((2, 3), np.inf)], [np.zeros(3)])}, "NaN or infinite"),
    ({"network": ([np.ones((2, 3))], [np.full(3, np.nan)])}, "NaN or infinite"),
  ],
)
def test_bad_input_is_one_clear_sentence(change, message):
  arguments = {
    "network": ([np.ones((2, 3)), np.ones((3, 1))], [np.zeros(3), np.zeros(1)]),
    "lower": -1.0,
    "upper": 1.0,
  }
  with pytest.raises(ValueError, match=message):
    lipschitz_constant(**{**arguments, **change})

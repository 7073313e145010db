"""Certified linear programs, and rational ones."""

import numpy as np
import pytest
from scipy.optimize import linprog

from lib.verification import exact, from_arrays, polytope


def random_polytope(seed):
  rng = np.random.default_rng(seed)
  n, k = int(rng.integers(1, 6)), int(rng.integers(0, 8))
  low, high = -rng.random(n), rng.random(n)
  rows = rng.standard_normal((k, n))
  inside = low + (high - low) * rng.random(n)
  offsets = -rows @ inside + 0.1 * rng.random(k)
  return polytope.Polytope(rows, offsets, np.zeros(k), low, high), rng


def reference(problem, c, c0):
  k = len(problem.rows)
  solved = linprog(
    -c,
    -problem.rows if k else None,
    problem.offsets if k else None,
    bounds=list(zip(problem.lower, problem.upper, strict=True)),
  )
  return -solved.fun + c0


def integer_rows(rows, offsets):
  return exact.integers(np.concatenate([rows, np.atleast_1d(offsets)[:, None]], 1))[0]


def test_certified_maxima_and_rational_signs():
  solver = polytope.Solver()
  for seed in range(60):
    problem, rng = random_polytope(seed)
    solver.load(problem)
    for _ in range(3):
      c, c0 = rng.standard_normal(len(problem.lower)), rng.standard_normal()
      found, truth = solver.maximise(c, c0), reference(problem, c, c0)
      assert truth - 1e-12 <= found.bound <= truth + 1e-8
      assert abs(found.value - truth) < 1e-7
      rows = integer_rows(problem.rows, problem.offsets)
      objective = integer_rows(c[None], c0)[0]
      basis = found.active, found.columns, found.at_upper
      box = problem.lower, problem.upper
      assert exact.vertex_sign(objective, rows, *box, *basis) == np.sign(truth)
      assert exact.maximum_sign(objective, rows, *box) == np.sign(truth)
  assert solver.solved == 180


def test_bound_holds_for_any_multipliers():
  for seed in range(40):
    problem, rng = random_polytope(seed)
    c, c0 = rng.standard_normal(len(problem.lower)), rng.standard_normal()
    truth = reference(problem, c, c0)
    for _ in range(5):
      weights = rng.standard_normal(len(problem.rows)) * 10 ** rng.uniform(-3, 3)
      weights[rng.random(len(weights)) < 0.1] = np.nan
      assert polytope.certified_bound(problem, c, c0, 0.0, weights) >= truth - 1e-12


def test_errors_of_rows_widen_the_bound():
  problem, rng = random_polytope(3)
  c = rng.standard_normal(len(problem.lower))
  weights = np.ones(len(problem.rows))
  wide = problem._replace(errors=np.full(len(problem.rows), 0.5))
  narrow = polytope.certified_bound(problem, c, 0.0, 0.0, weights)
  found = polytope.certified_bound(wide, c, 0.0, 0.25, weights)
  np.testing.assert_allclose(found - narrow, 0.25 + 0.5 * len(weights), rtol=1e-9)


def test_empty_side_that_only_rational_arithmetic_sees():
  # x > 0 and −x/3·3 > 0 touch in x = 0: no float margin can tell that the interior is empty.
  third = 1 / 3
  rows = np.array([[third, 0.1]])
  objective = -np.array([[third, 0.1, 0.0]])
  problem = polytope.Polytope(rows, np.zeros(1), np.full(1, 1e-17), -np.ones(2), np.ones(2))
  solver = polytope.Solver()
  solver.load(problem)
  found = solver.maximise(objective[0, :2], 0.0, 1e-17)
  assert 0 < found.bound < 1e-12
  integers = integer_rows(rows, np.zeros(1))
  target = exact.integers(objective)[0][0]
  box = problem.lower, problem.upper
  assert exact.maximum_sign(target, integers, *box) == -1
  assert exact.maximum_sign(-target, integers, *box) == 1


def test_centre_is_inside():
  solver = polytope.Solver()
  for seed in range(30):
    problem, _ = random_polytope(seed)
    solver.load(problem)
    x = solver.centre()
    assert np.all(problem.rows @ x + problem.offsets > 0)
    assert np.all((x >= problem.lower) & (x <= problem.upper))


def test_infeasible_set_has_no_positive_maximum():
  rows = np.array([[1.0], [-1.0]])
  integers = integer_rows(rows, np.array([-0.5, 0.25]))  # x ≥ 1/2 and x ≤ 1/4
  assert (
    exact.maximum_sign(integer_rows(np.ones((1, 1)), 5.0)[0], integers, [0.0], [1.0]) == -1
  )


def test_integers_are_exact():
  values = np.array([0.1, -3.5, 1e-300, 2.0**80, 0.0])
  found, scale = exact.integers(values)
  for integer, value in zip(found, values, strict=True):
    assert exact._float(integer, scale) == value


def test_exact_jacobian_survives_cancellation():
  # 1e16 (x + 1) − 1e16 x: in floats the second layer loses the 1.
  big = 1e16
  weights = [np.array([[1.0, 1.0]]), np.array([[big], [-big]]), np.ones((1, 1))]
  weights[0][0, 1] = 1 - 2.0**-53
  network = from_arrays(weights, [np.full(2, 5.0), np.zeros(1), np.zeros(1)])
  found = exact.jacobian(network, np.array([1, 1, 1]))
  assert found[0, 0] == big * 2.0**-53
  assert exact.jacobian(network, np.array([0, 1, 1])) is None


def test_singular_systems():
  from fractions import Fraction as F

  assert exact.solve([[F(1), F(2)], [F(2), F(4)]], [F(1), F(2)]) is None
  assert exact.solve([[F(0), F(2)], [F(3), F(0)]], [F(1), F(2)]) == [F(2, 3), F(1, 2)]


@pytest.mark.parametrize("n", [1, 3])
def test_box_without_interior(n):
  point = np.full(n, 0.5)
  solver = polytope.Solver()
  solver.load(polytope.Polytope(np.zeros((0, n)), np.zeros(0), np.zeros(0), point, point))
  found = solver.maximise(np.ones(n), 1.0)
  np.testing.assert_allclose([found.value, found.bound], 1 + 0.5 * n, rtol=1e-12)

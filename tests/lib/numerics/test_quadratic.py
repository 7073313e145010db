"""Quadratic programs: the conditions of optimality, other solvers, and degenerate cases."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from lib import numerics

N = 12


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


@functools.cache
def compiled(n):
  del n
  return jax.jit(numerics.solve_qp)


def solve(p, q, a=None, b=0.0, upper=None):
  n = len(q)
  a = np.zeros(n) if a is None else a
  upper = np.full(n, np.inf) if upper is None else upper
  return jax.tree.map(np.asarray, compiled(n)(p, q, a, float(b), upper))


def assert_optimal(found, p, q, a, b, upper, tolerance=1e-6):
  """Every one of the conditions of Karush, Kuhn and Tucker, in plain NumPy."""
  x, scale = found.x, 1 + np.abs(p @ found.x).max() + np.abs(q).max()
  gradient = p @ x + q - a * found.y - found.z + found.v
  assert np.abs(gradient).max() < tolerance * scale
  assert abs(a @ x - b) < tolerance * (1 + np.abs(x).max())
  assert x.min() >= -tolerance and (upper - x).min() >= -tolerance * (1 + np.abs(x).max())
  assert found.z.min() >= 0 and found.v.min() >= 0
  assert (found.z * x).max() < tolerance * scale * (1 + np.abs(x).max())
  slack = np.where(np.isinf(upper), 0, upper - x)
  assert (found.v * slack).max() < tolerance * scale * (1 + np.abs(x).max())


@settings(deadline=None, max_examples=40)
@given(
  seed=st.integers(0, 2**32 - 1),
  rank=st.integers(1, N),
  equality=st.booleans(),
  bounded=st.booleans(),
  repeated=st.booleans(),
  scale=st.sampled_from([1e-4, 1.0, 1e4]),
)
def test_conditions_of_optimality(seed, rank, equality, bounded, repeated, scale):
  rng = np.random.default_rng(seed)
  root = rng.standard_normal((N, rank))
  if repeated:  # equal variables: minimisers are not unique
    root[N // 2 :] = root[: N // 2]
  p = scale * root @ root.T
  q = p @ rng.uniform(size=N) - rng.uniform(size=N) * bounded
  if not bounded:  # bounded below: q + something non-negative is in the range of P
    q = p @ rng.standard_normal(N) + rng.uniform(size=N)
  upper = np.where(rng.uniform(size=N) < 0.5, rng.uniform(0.5, 2, N), np.inf)
  upper = np.minimum(upper, 3.0) if bounded else np.full(N, np.inf)
  a = rng.choice([-1.0, 1.0], N) if equality else np.zeros(N)
  b = float(a @ (np.minimum(upper, 1) * rng.uniform(0.2, 0.8, N)))
  found = solve(p, q, a, b, upper)
  assert found.error < 1e-7
  assert_optimal(found, p, q, a, b, upper)


def test_degenerate_problems():
  """Linear programs, rank one, curvature over 12 orders and none, equalities of mixed scale.

  Among them is one on which Mehrotra's corrector alone goes in circles.
  """
  rng = np.random.default_rng(0)
  for trial in range(300):
    n, kind = 8, trial % 5
    upper = rng.uniform(0.5, 2, n)
    a = rng.choice([-1.0, 0.0, 1.0, 1e3], n)
    a[0] = a[0] if a.any() else 1.0
    b = float(a @ (upper * rng.uniform(0, 1, n)))
    q = rng.normal(size=n)
    if kind == 0:
      p = np.zeros((n, n))
    elif kind == 1:
      p = np.outer(*[rng.normal(size=n)] * 2)
    elif kind == 2:
      p = np.diag((rng.uniform(size=n) < 0.5) * 10.0 ** rng.uniform(-6, 6, n))
    elif kind == 3:
      root = rng.normal(size=(n, n))
      p = 1e-8 * root @ root.T
    else:
      p = np.full((n, n), 1e6)
    found = solve(p, q, a, b, upper)
    assert found.error < 1e-7, (trial, found.error)
    assert_optimal(found, p, q, a, b, upper)
    if kind == 0:
      bounds = [(0, u) for u in upper]
      exact = optimize.linprog(q, A_eq=a[None], b_eq=[b], bounds=bounds).fun
      assert q @ found.x == pytest.approx(exact, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("b", [0.0, 3.0])
def test_a_single_feasible_point(b):
  """x = 0 and x = u: no point is inside."""
  found = solve(np.eye(3), np.ones(3), np.ones(3), b, np.ones(3))
  np.testing.assert_allclose(found.x, b / 3, atol=1e-8)
  assert found.error < 1e-8


def test_agrees_with_scipy():
  rng = np.random.default_rng(1)
  root = rng.standard_normal((20, 20))
  p, q = root @ root.T / 20 + 0.01 * np.eye(20), -np.ones(20)
  a = np.repeat([1.0, -1.0], 10)
  found = solve(p, q, a)
  other = optimize.minimize(
    lambda x: x @ p @ x / 2 + q @ x,
    np.ones(20),
    jac=lambda x: p @ x + q,
    bounds=[(0, None)] * 20,
    constraints={"type": "eq", "fun": lambda x: a @ x, "jac": lambda x: a},
    method="SLSQP",
    options={"ftol": 1e-14, "maxiter": 1000},
  )
  np.testing.assert_allclose(found.x, other.x, atol=1e-5)


def test_agrees_with_clarabel():
  cvxpy = pytest.importorskip("cvxpy")
  rng = np.random.default_rng(2)
  root = rng.standard_normal((40, 8))
  p, q, a = root @ root.T, rng.standard_normal(40), np.ones(40)
  found = solve(p, q, a, 3.0, np.full(40, 0.4))
  x = cvxpy.Variable(40)
  problem = cvxpy.Problem(
    cvxpy.Minimize(cvxpy.sum_squares(root.T @ x) / 2 + q @ x),
    [x >= 0, x <= 0.4, a @ x == 3],
  )
  expected = problem.solve(solver="CLARABEL")
  assert found.x @ p @ found.x / 2 + q @ found.x == pytest.approx(expected, abs=1e-7)


def test_by_hand():
  # ½ x² − x per coordinate over x ≤ ½: at the bound, with multiplier ½
  found = solve(np.eye(2), -np.ones(2), upper=np.full(2, 0.5))
  np.testing.assert_allclose(found.x, 0.5, atol=1e-8)
  np.testing.assert_allclose(found.v, 0.5, atol=1e-8)
  # the projection of (1, 2, −3) onto the simplex is (0, 1, 0)
  found = solve(np.eye(3), -np.array([1.0, 2.0, -3.0]), np.ones(3), 1.0)
  np.testing.assert_allclose(found.x, [0, 1, 0], atol=1e-4)  # degenerate: x₁ = z₁ = 0


def test_multipliers_over_many_orders_of_magnitude():
  """The dual of a machine whose slack costs 0.1 to 10¹⁰, on overlapping classes."""
  rng = np.random.default_rng(3)
  y = np.repeat([1.0, -1.0], 20)
  x = rng.standard_normal((40, 2)) + 0.5 * y[:, None]
  k = np.exp(-((x[:, None] - x) ** 2).sum(-1))
  for lam in (0.1, 1e3, 1e6, 1e10):
    p = np.outer(y, y) * k + np.diag((y > 0) / lam)
    found = solve(p, -np.ones(40), y)
    margins = p @ found.x - y * found.y  # y D + ξ ≥ 1
    assert margins.min() > 1 - 1e-4
    support = found.x > 1e-6 * found.x.max()
    np.testing.assert_allclose(margins[support], 1, atol=1e-4)


def test_a_batch_is_what_its_problems_are():
  rng = np.random.default_rng(4)
  root = rng.standard_normal((3, 2, N, N))
  p = root @ root.swapaxes(-1, -2)
  q = rng.standard_normal((3, 2, N))
  batched = jax.jit(jax.vmap(jax.vmap(numerics.solve_qp)))(p, q)
  assert batched.x.shape == (3, 2, N)
  for i in range(3):
    np.testing.assert_allclose(batched.x[i, 1], solve(p[i, 1], q[i, 1]).x, atol=1e-7)
  text = jax.jit(jax.vmap(numerics.solve_qp)).lower(p[0], q[0]).as_text()
  assert not numerics.batched_lapack(text)


def test_what_has_no_solution_shows_in_the_error():
  assert solve(np.zeros((3, 3)), -np.ones(3)).error > 1e-3  # unbounded
  assert solve(np.eye(3), np.ones(3), np.ones(3), -1.0).error > 1e-3  # infeasible
  with pytest.raises(ValueError, match="positive"):
    numerics.solve_qp(np.eye(2), np.ones(2), upper=np.zeros(2))

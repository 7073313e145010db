"""Vector kernels and semi-hard machines: other libraries, margins, identities, and limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics, svm

from lib import kernels, numerics
from lib.kernels import machines

N = 40
Y = np.where(np.arange(N) < 15, 1.0, -1.0)
_RNG = np.random.default_rng(0)
X = _RNG.standard_normal((N, 2)) + 0.7 * Y[:, None]
NEW = _RNG.standard_normal((30, 2))
K = np.exp(-0.5 * ((X[:, None] - X) ** 2).sum(-1))
CROSS = np.exp(-0.5 * ((X[:, None] - NEW) ** 2).sum(-1))
H = (1 + Y) / 2


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


_qp = jax.jit(numerics.solve_qp)


def alpha_of(dual):
  found = _qp(*dual)
  assert found.error < 1e-8
  return found.x


def semi_hard(lam, k=K, y=Y, where=None):
  ridge = (1 + y) / 2 / lam
  alpha = alpha_of(machines.margin_dual(k, y, ridge, where))
  return alpha, machines.margin_machine(k, y, ridge, alpha, where)


def test_kernels_agree_with_scikit_learn():
  np.testing.assert_allclose(kernels.linear_kernel(X, NEW), X @ NEW.T, atol=1e-12)
  expected = metrics.pairwise.polynomial_kernel(X, NEW, degree=3, gamma=1, coef0=1)
  np.testing.assert_allclose(kernels.polynomial_kernel(X, NEW, 3), expected)
  expected = metrics.pairwise.rbf_kernel(X, NEW, gamma=0.3)
  np.testing.assert_allclose(kernels.rbf_kernel(X, NEW, 0.3), expected)
  distances = metrics.pairwise_distances(X) ** 2
  expected = 1 / np.median(distances[np.triu_indices(N, 1)])
  np.testing.assert_allclose(kernels.median_gamma(X), expected)
  where = np.arange(N) < 20
  np.testing.assert_allclose(kernels.median_gamma(X, where), kernels.median_gamma(X[:20]))


@pytest.mark.parametrize("hard", [False, True])
def test_agrees_with_libsvm(hard):
  """Squared slack is a ridge on the kernel, which libsvm takes with a C without effect."""
  lam = 10.0
  ridge = H / lam if hard else np.ones(N) / lam
  alpha = alpha_of(machines.margin_dual(K, Y, ridge))
  machine = machines.margin_machine(K, Y, ridge, alpha)
  other = svm.SVC(C=1e8, kernel="precomputed", tol=1e-9).fit(K + np.diag(ridge), Y)
  np.testing.assert_allclose(
    machines.decision(machine, CROSS), other.decision_function(CROSS.T), rtol=1e-4, atol=1e-4
  )


@pytest.mark.parametrize("lam", [0.1, 10.0, 1e5])
def test_margins(lam):
  alpha, machine = semi_hard(lam)
  found = np.asarray(machines.decision(machine, K))
  support = np.asarray(alpha > machines.SUPPORT * alpha.max())
  assert found[Y < 0].max() == pytest.approx(-1, abs=1e-5)
  genuine = support & (Y > 0)
  np.testing.assert_allclose(found[genuine], (1 - alpha / lam)[genuine], atol=1e-5)
  # the same of spheres: genuine ones are inside R² − 1 but for their slack
  alpha = alpha_of(machines.sphere_dual(K, Y, H / lam))
  sphere = machines.sphere_machine(K, Y, H / lam, alpha)
  found = np.asarray(machines.decision(sphere, K, np.ones(N)))
  assert found[Y < 0].max() == pytest.approx(-1, abs=1e-5)
  genuine = np.asarray(alpha > machines.SUPPORT * alpha.max()) & (Y > 0)
  np.testing.assert_allclose(found[genuine], (1 - alpha / lam)[genuine], atol=1e-5)


def test_primal_is_not_beaten():
  """Feasible neighbours of w, b have no smaller objective (eq. 2-3), linear kernel."""
  k, lam = X @ X.T, 3.0
  alpha, machine = semi_hard(lam, k)
  w, b = X.T @ (alpha * Y), float(machine.bias)

  def objective(w, b):
    d = X @ w + b
    if d[Y < 0].max() > -1 + 1e-6:
      return np.inf
    return w @ w / 2 + lam / 2 * np.sum(np.maximum(0, 1 - d[Y > 0]) ** 2)

  w, least = np.asarray(w), objective(np.asarray(w), b - 1e-6)
  rng = np.random.default_rng(0)
  for _ in range(300):
    step = 10.0 ** rng.uniform(-4, 0) * rng.standard_normal(3)
    assert objective(w + step[:2], b + step[2]) > least - 1e-4


def test_sphere_is_the_machine_with_a_penalised_bias():
  """K_ii = 1: min ¼‖w‖² + b + λ/2 Σ ξ², w = 2a, b = R² − ‖a‖² − 1, under the same constraints.

  Its dual is the sphere's without K_ii in q, as that adds a multiple of a·α = 1.
  """
  lam = 10.0
  alpha = alpha_of(machines.sphere_dual(K, Y, H / lam))
  machine = machines.sphere_machine(K, Y, H / lam, alpha)
  reduced = machines.Dual(2 * np.outer(Y, Y) * K + np.diag(H / lam), -np.ones(N), Y, 1.0)
  other = _qp(*reduced)
  values = 2 * (np.asarray(other.x) * Y) @ CROSS - float(other.y)
  found = machines.decision(machine, CROSS, np.ones(30))
  np.testing.assert_allclose(found, values, atol=1e-5)


def test_separable_data_and_large_costs_leave_no_difference():
  x = X + 4 * Y[:, None]
  k = x @ x.T
  _, hard = semi_hard(1e8, k)
  ridge = np.full(N, 1e-8)
  alpha = alpha_of(machines.margin_dual(k, Y, ridge))
  both = machines.margin_machine(k, Y, ridge, alpha)
  cross = x @ NEW.T
  np.testing.assert_allclose(
    machines.decision(hard, cross), machines.decision(both, cross), atol=1e-4
  )


def test_printed_sphere():
  """Eq. 32 and 33 accept no training impostor; d² = R² − y with eq. 33 accepts some."""
  ridge = H / 10
  alpha = alpha_of(machines.sphere_dual(K, Y, ridge, printed=True))

  def top(margin):
    machine = machines.sphere_machine(K, Y, ridge, alpha, margin=margin)
    return float(machines.decision(machine, K, np.ones(N))[Y < 0].max())

  assert top(0.0) < 1e-6 and top(1.0) > 0.1
  # R² of eq. 32: its terms one by one
  support = np.flatnonzero(alpha > machines.SUPPORT * alpha.max())
  a, y = np.asarray(alpha)[support], Y[support]
  k = K[np.ix_(support, support)]
  whole = (a * y) @ k @ (a * y)
  radius = [
    k[i, i] - 2 * (a * y) @ k[i] + whole - (1 + y[i]) / (2 * 10) * a[i] * y[i]
    for i in range(len(support))
  ]
  machine = machines.sphere_machine(K, Y, ridge, alpha, margin=0.0)
  centre = np.asarray(alpha) * Y
  np.testing.assert_allclose(machine.bias + centre @ K @ centre, np.mean(radius), atol=1e-5)
  np.testing.assert_allclose(radius, np.mean(radius), atol=1e-5)  # one boundary for both


def test_the_dual_as_printed_moves_the_threshold():
  """Eq. 10 without ½ has half the α, so D' = D/2 + mean y of supports/2."""
  ridge = H / 10
  alpha, machine = semi_hard(10.0)
  dual = machines.margin_dual(K, Y, ridge)
  printed = alpha_of(dual._replace(p=2 * dual.p))
  np.testing.assert_allclose(printed, alpha / 2, atol=1e-6)
  other = machines.margin_machine(K, Y, ridge, printed)
  support = np.asarray(alpha > machines.SUPPORT * alpha.max())
  expected = (machines.decision(machine, CROSS) + Y[support].mean()) / 2
  np.testing.assert_allclose(machines.decision(other, CROSS), expected, atol=1e-5)


def test_twin_against_the_formulas():
  rows = np.hstack([K, np.ones((N, 1))])
  left, right = rows[Y > 0], rows[Y < 0]
  gram = left.T @ left
  inverse = np.linalg.inv(gram + 1e-4 * np.trace(gram) / (N + 1) * np.eye(N + 1))
  dual = machines.twin_dual(K, Y)
  expected = right @ inverse @ right.T
  np.testing.assert_allclose(dual.p[15:, 15:], expected, rtol=1e-6, atol=1e-7 * expected.max())
  alpha = alpha_of(dual)
  np.testing.assert_allclose(alpha[:15], 0, atol=1e-8)
  machine = machines.twin_machine(K, Y, alpha)
  expected = -inverse @ right.T @ np.asarray(alpha)[15:]
  np.testing.assert_allclose(machine.coefficients, expected[:-1], rtol=1e-5, atol=1e-6)
  found = machines.decision(machine, K)
  assert found[15:].max() == pytest.approx(-1, abs=1e-5)
  assert -1 < found[:15].mean() < 0


@pytest.mark.parametrize("kind", ["margin", "sphere", "twin"])
def test_examples_left_out_do_not_count(kind):
  where = np.arange(N) % 3 > 0
  kept = np.flatnonzero(where)
  small, y = K[np.ix_(kept, kept)], Y[kept]
  ridge = H / 10

  def values(k, y, ridge, cross, where=None):
    if kind == "margin":
      alpha = alpha_of(machines.margin_dual(k, y, ridge, where))
      return machines.decision(machines.margin_machine(k, y, ridge, alpha, where), cross)
    if kind == "sphere":
      alpha = alpha_of(machines.sphere_dual(k, y, ridge, where))
      machine = machines.sphere_machine(k, y, ridge, alpha, where)
      return machines.decision(machine, cross, jnp.ones(30))
    alpha = alpha_of(machines.twin_dual(k, y, where))
    return machines.decision(machines.twin_machine(k, y, alpha, where), cross)

  found = values(K, Y, ridge, CROSS, where)
  np.testing.assert_allclose(found, values(small, y, ridge[kept], CROSS[kept]), atol=1e-4)

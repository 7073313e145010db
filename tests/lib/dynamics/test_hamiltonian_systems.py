"""Harmonic oscillator, Kepler and Hénon-Heiles: order, invariants, reversal, phase volume."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lib.dynamics import gauss, hamiltonian, integrate, invariants, splitting, trajectories


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def harmonic(t, state):
  q, p = state
  return (q @ q + p @ p) / 2


def kepler(t, state):
  q, p = state
  return p @ p / 2 - 1 / jnp.sqrt(q @ q)


def henon_heiles(t, state):
  (x, y), p = state
  return (p @ p + x**2 + y**2) / 2 + x**2 * y - y**3 / 3


def angular_momentum(state):
  q, p = state
  return q[0] * p[1] - q[1] * p[0]


def kepler_start(eccentricity):
  e = eccentricity
  return jnp.array([1 - e, 0.0]), jnp.array([0.0, np.sqrt((1 + e) / (1 - e))])


@functools.partial(jax.jit, static_argnames="method")
def kepler_error(steps, method):
  """Distance from the start after one period, 2π."""
  y = kepler_start(0.3)
  field = hamiltonian.canonical_field(kepler)
  end = integrate(field, y, jnp.array([0, 2 * np.pi]), method=method, substeps=steps).final
  return jnp.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(end, y, strict=True)))


@pytest.mark.parametrize(
  ("method", "order", "steps"),
  [("midpoint", 2, 400), ("gauss4", 4, 100), ("gauss6", 6, 50), ("rk4", 4, 400)],
)
def test_order_of_convergence_on_kepler(method, order, steps):
  errors = [float(kepler_error(steps * k, method)) for k in (1, 2)]
  np.testing.assert_allclose(np.log2(errors[0] / errors[1]), order, atol=0.1)


def test_order_when_the_field_depends_on_time():
  # y' = −y + cos t, y(0) = ½: y = ½ (cos t + sin t).
  @functools.partial(jax.jit, static_argnames="method")
  def error(method, steps):
    found = integrate(
      lambda t, y: -y + jnp.cos(t), jnp.float64(0.5), [0, 2.0], method=method, substeps=steps
    )
    return jnp.abs(found.final - 0.5 * (np.cos(2) + np.sin(2)))

  for method, order in (("midpoint", 2), ("gauss4", 4), ("gauss6", 6), ("rk4", 4)):
    order_found = np.log2(error(method, 10) / error(method, 20))
    np.testing.assert_allclose(order_found, order, atol=0.15, err_msg=method)


def test_one_midpoint_step_by_hand():
  # Implicit midpoint on y' = i ω y is the Cayley transform (1 + iωh/2)/(1 − iωh/2).
  y, inner = gauss.implicit_midpoint_step(lambda t, y: 2j * y, 0.0, jnp.asarray(1.0 + 0j), 0.1)
  np.testing.assert_allclose(y, (1 + 0.1j) / (1 - 0.1j), rtol=1e-15)
  assert bool(inner.converged) and float(inner.residual) < 1e-15


@pytest.mark.parametrize(("stages", "order"), [(1, 2), (2, 4), (3, 6)])
def test_tableau_is_the_symplectic_collocation(stages, order):
  a, b, c = gauss.tableau(stages)
  roots = np.polynomial.legendre.leggauss(stages)
  np.testing.assert_allclose(c, (roots[0] + 1) / 2, atol=1e-15)
  np.testing.assert_allclose(b, roots[1] / 2, atol=1e-15)
  symplectic = b[:, None] * a + (b[:, None] * a).T - np.outer(b, b)
  np.testing.assert_allclose(symplectic, 0, atol=1e-16)
  for k in range(1, stages + 1):  # C(s)
    np.testing.assert_allclose(a @ c ** (k - 1), c**k / k, atol=1e-15)
  for k in range(1, order + 1):  # B(2s)
    np.testing.assert_allclose(b @ c ** (k - 1), 1 / k, atol=1e-15)
  with pytest.raises(ValueError, match="stages"):
    gauss.tableau(4)


def test_extrapolation_is_exact_for_polynomials():
  nodes = gauss.tableau(2).nodes
  weights = gauss.extrapolation(nodes, 3)
  past = np.concatenate([nodes - 3, nodes - 2, nodes - 1])
  polynomial = np.array([0.3, -1.0, 2.0, 0.5, -0.7, 1.1])
  np.testing.assert_allclose(
    weights @ np.polyval(polynomial, past), np.polyval(polynomial, nodes), rtol=1e-12
  )


def test_harmonic_energy_is_kept_to_rounding():
  """A quadratic invariant: no error of the method at all, over 1000 periods."""
  field = hamiltonian.canonical_field(harmonic)
  y = jnp.array([1.0]), jnp.array([0.3])
  times = np.linspace(0, 2000 * np.pi, 101)
  for method in ("midpoint", "gauss4", "gauss6"):
    energy = jax.jit(
      lambda y, method=method: (
        integrate(
          field, y, times, method=method, substeps=300, save=lambda t, s: harmonic(t, s)
        ).saved
      )
    )(y)
    assert float(invariants.drift(energy)) < 3e-14, method


def test_kepler_symplectic_is_bounded_and_explicit_drifts():
  field = hamiltonian.canonical_field(kepler)
  times = np.linspace(0, 2 * np.pi * 200, 513)
  save = invariants.monitor(
    energy=lambda s: kepler(0.0, s), momentum=lambda s: angular_momentum(s)
  )

  def run(method, substeps):
    solve = jax.jit(
      lambda y: integrate(field, y, times, method=method, substeps=substeps, save=save).saved
    )
    return jax.device_get(solve(kepler_start(0.3)))

  symplectic, explicit = run("gauss4", 20), run("rk4", 20)
  assert float(invariants.drift(symplectic["momentum"])) < 1e-13  # quadratic
  assert float(invariants.drift(symplectic["energy"])) < 1e-4
  assert invariants.growth(symplectic["energy"]) < 0.3
  assert invariants.growth(explicit["energy"]) > 0.8


def test_henon_heiles_keeps_energy_volume_and_the_arrow_of_time():
  field = hamiltonian.canonical_field(henon_heiles)
  y = jnp.array([0.1, 0.2]), jnp.array([0.3, -0.1])
  times = jnp.linspace(0, 100.0, 201)
  run = jax.jit(lambda y, times: integrate(field, y, times, method="gauss6", substeps=5))
  solution = run(y, times)
  energy = jax.vmap(lambda s: henon_heiles(0.0, s))(solution.saved)
  assert float(invariants.drift(energy)) < 1e-8
  back = run(solution.final, times[::-1]).final
  for a, b in zip(back, y, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-10)

  def flat(t, x):
    return jnp.concatenate(field(t, (x[:2], x[2:])))

  start = jnp.concatenate(y)
  derivative, _ = hamiltonian.flow_jacobian(flat, start, [0.0, 20.0], substeps=100)
  assert float(hamiltonian.symplectic_error(derivative)) < 1e-10
  np.testing.assert_allclose(np.linalg.det(derivative), 1, atol=1e-11)
  explicit, _ = hamiltonian.flow_jacobian(flat, start, [0.0, 20.0], substeps=100, method="rk4")
  assert float(hamiltonian.symplectic_error(explicit)) > 1e-8
  np.testing.assert_allclose(hamiltonian.divergence(flat, 0.0, start), 0, atol=1e-15)


def test_adaptive_agrees_and_runs_backwards():
  field = hamiltonian.canonical_field(henon_heiles)
  y = jnp.array([0.1, 0.2]), jnp.array([0.3, -0.1])
  times = jnp.linspace(0, 10.0, 6)
  exact = integrate(field, y, times, method="gauss6", substeps=100).saved
  for method in ("tsit5", "dopri8"):
    run = jax.jit(
      lambda y, times, method=method: integrate(
        field, y, times, method=method, rtol=1e-11, atol=1e-13
      )
    )
    found = run(y, times)
    np.testing.assert_allclose(found.saved[0], exact[0], atol=1e-8)
    assert int(found.evaluations) > 0
  back = run(found.final, times[::-1])
  np.testing.assert_allclose(back.final[0], y[0], atol=1e-8)


def test_splitting_of_kepler_has_its_order():
  def drift(t, y, h):
    return y[0] + h * y[1], y[1]

  def kick(t, y, h):
    q, p = y
    return q, p - h * q / (q @ q) ** 1.5

  second = splitting.strang(splitting.exact_flow(drift), splitting.exact_flow(kick))
  fourth = splitting.triple_jump(second)
  for flow, order in ((second, 2), (fourth, 4)):
    method = splitting.method(flow, order)
    errors = [float(kepler_error(k, method)) for k in (800, 1600)]
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), order, atol=0.1)


def test_gradients_through_the_inner_solve():
  @jax.jit
  def loss(rate, start):
    field = lambda t, z: -1j * rate * z * (1 + jnp.abs(z) ** 2)  # noqa: E731
    end = integrate(field, start, [0.0, 2.0], method="gauss4", substeps=40).final
    return (end.real**3 + end.imag * end.real).sum()

  rate, start = jnp.float64(0.7), jnp.array([0.5 + 0.2j, -0.3 + 0.9j])
  gradient, conjugate = jax.jit(jax.grad(loss, argnums=(0, 1)))(rate, start)
  e = 1e-6
  numeric = (loss(rate + e, start) - loss(rate - e, start)) / (2 * e)
  np.testing.assert_allclose(gradient, numeric, rtol=1e-7)
  np.testing.assert_allclose(jax.jvp(lambda r: loss(r, start), (rate,), (1.0,))[1], gradient)
  for j in range(2):
    for unit, part in ((1.0, conjugate[j].real), (1j, -conjugate[j].imag)):
      move = e * unit * jnp.eye(2)[j]
      numeric = (loss(rate, start + move) - loss(rate, start - move)) / (2 * e)
      np.testing.assert_allclose(part, numeric, rtol=1e-6)


def test_compensation_keeps_what_plain_addition_loses():
  with jax.enable_x64(False):
    steps = 200_000
    y = lost = jnp.float32(0)
    plain = jnp.float32(0)

    def step(_, carry):
      y, lost, plain = carry
      y, lost = trajectories.compensated_add(y, jnp.float32(1e-3), lost)
      return y, lost, plain + jnp.float32(1e-3)

    y, lost, plain = jax.jit(lambda c: jax.lax.fori_loop(0, steps, step, c))((y, lost, plain))
  exact = steps * float(np.float32(1e-3))
  assert abs(float(y) - exact) < 1e-5 * exact / 50
  assert abs(float(plain) - exact) > 1e-4 * exact


def test_a_step_too_large_says_when_and_by_how_much():
  field = lambda t, y: -1j * (1 + 5 * t) * y  # noqa: E731
  solution = integrate(field, jnp.ones(2) + 0j, [0.0, 2.0, 4.0], substeps=4)
  with pytest.raises(trajectories.ConvergenceError, match=r"t = \d.*residual .*smaller step"):
    trajectories.require_converged(solution)
  assert 0 < float(solution.failed_at) < 4
  fine = integrate(field, jnp.ones(2) + 0j, [0.0, 2.0], substeps=400)
  assert trajectories.require_converged(fine) is fine


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"method": "gaus4"}, "choose from"),
    ({"substeps": 0}, "substeps"),
    ({"times": [0.0]}, "times"),
  ],
)
def test_misuse(options, message):
  options = {"times": [0.0, 1.0], **options}
  with pytest.raises(ValueError, match=message):
    integrate(lambda t, y: y, jnp.ones(2), options.pop("times"), **options)


def test_growth_tells_bounded_from_secular():
  t = np.arange(4097.0)
  rng = np.random.default_rng(0)
  walks = np.cumsum(rng.standard_normal((200, 4097)), -1)
  assert abs(invariants.growth(np.sin(t))) < 0.1
  np.testing.assert_allclose(invariants.growth(1 + 1e-9 * t), 1, atol=0.01)
  np.testing.assert_allclose(invariants.growth(walks).mean(), 0.5, atol=0.06)


def test_wirtinger_convention():
  def function(z):  # |z|² Re z + (Im z)²: by hand
    return (jnp.abs(z) ** 2 * z.real + z.imag**2).sum()

  z = jnp.array([0.4 + 0.3j, -1.2 + 0.5j])
  u, v = np.real(z), np.imag(z)
  du, dv = 3 * u**2 + v**2, 2 * u * v + 2 * v
  plain, conjugate = hamiltonian.wirtinger(function, z)
  np.testing.assert_allclose(plain, (du - 1j * dv) / 2, rtol=1e-13)
  np.testing.assert_allclose(conjugate, (du + 1j * dv) / 2, rtol=1e-13)
  np.testing.assert_allclose(conjugate[0], jnp.conj(jax.grad(function)(z)[0]) / 2, rtol=1e-15)
  # df = ∂f/∂z dz + ∂f/∂z̄ dz̄, against finite differences.
  dz = np.array([0.3 - 0.2j, 0.1 + 0.7j])
  e = 1e-6
  numeric = (function(z + e * dz) - function(z - e * dz)) / (2 * e)
  np.testing.assert_allclose((plain * dz + conjugate * dz.conj()).sum(), numeric, rtol=1e-8)


def test_euler_lagrange_of_a_pendulum():
  def pendulum(q, dq):
    return (dq @ dq) / 2 + jnp.cos(q).sum()

  q, dq = jnp.array([0.4]), jnp.array([-0.7])
  np.testing.assert_allclose(
    hamiltonian.euler_lagrange(pendulum, q, dq, -jnp.sin(q)), 0, atol=1e-15
  )
  np.testing.assert_allclose(
    hamiltonian.euler_lagrange(pendulum, q, dq, jnp.zeros(1)), jnp.sin(q), rtol=1e-14
  )

"""The network three ways, against slow loops and finite differences; couplings; bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from lib.dynamics import (
  couplings,
  hamiltonian,
  integrate,
  invariants,
  lagrangean,
  nonlinearities,
  rate_networks,
  splitting,
)
from lib.dynamics.nonlinearities import LINEAR, NONLINEARITIES, SATURATING

N, M = 5, 2


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def random_network(seed=0, inputs=True):
  rng = np.random.default_rng(seed)
  half = rng.standard_normal((N, N)) + 1j * rng.standard_normal((N, N))
  gain, source = rng.standard_normal((N, M)), rng.standard_normal(M)
  noise = rng.standard_normal(N)
  on = 1.0 if inputs else 0.0
  net = lagrangean.network(jnp.asarray(half + half.conj().T), gain, on * source, on * noise)
  z = jnp.asarray(rng.standard_normal(N) + 1j * rng.standard_normal(N))
  return net, z


G = {  # name: (g, g') in plain NumPy
  "linear": (lambda x: 1.0, lambda x: 0.0),
  "saturating": (lambda x: (1 + x) ** -0.5, lambda x: -0.5 * (1 + x) ** -1.5),
  "tanh": (
    lambda x: np.tanh(np.sqrt(x)) / np.sqrt(x),
    lambda x: (
      (1 - np.tanh(np.sqrt(x)) ** 2) / (2 * x) - np.tanh(np.sqrt(x)) / (2 * x * np.sqrt(x))
    ),
  ),
  "gaussian": (lambda x: np.exp(-x / 2), lambda x: -np.exp(-x / 2) / 2),
}


def slow_energy(name, net, z):
  """Eq. 18, index by index."""
  omega, gain = np.asarray(net.coupling), np.asarray(net.gain)
  g = G[name][0]
  total = 0
  for j in range(N):
    for k in range(N):
      total += np.conj(z[j]) * g(abs(z[j]) ** 2) * omega[j, k] * g(abs(z[k]) ** 2) * z[k]
    drive = sum(gain[j, m] * net.source[m] for m in range(M)) + net.noise[j]
    total += drive * (z[j] + np.conj(z[j]))
  assert abs(total.imag) < 1e-12 * abs(total)
  return total.real


def slow_velocity(name, net, z):
  """Eq. 14, index by index."""
  omega, gain = np.asarray(net.coupling), np.asarray(net.gain)
  g, slope = G[name]
  out = np.zeros(N, complex)
  for j in range(N):
    x = abs(z[j]) ** 2
    plain = sum(omega[j, k] * g(abs(z[k]) ** 2) * z[k] for k in range(N))
    conjugate = sum(np.conj(omega[j, k]) * g(abs(z[k]) ** 2) * np.conj(z[k]) for k in range(N))
    drive = sum(gain[j, m] * net.source[m] for m in range(M)) + net.noise[j]
    total = (g(x) + x * slope(x)) * plain + z[j] ** 2 * slope(x) * conjugate + drive
    out[j] = -1j * total
  return out


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize("name", sorted(G))
def test_the_field_three_ways_and_by_hand(name, inputs):
  net, z = random_network(1, inputs)
  g = NONLINEARITIES[name]
  expected = slow_velocity(name, net, np.asarray(z))
  scale = np.abs(expected).max()
  for function in (
    lagrangean.velocity,
    lagrangean.hamilton_velocity,
    lagrangean.euler_lagrange_velocity,
  ):
    found = jax.jit(functools.partial(function, g))(net, z)
    np.testing.assert_allclose(found, expected, atol=1e-12 * scale, err_msg=function.__name__)
  np.testing.assert_allclose(
    lagrangean.energy(g, net, z), slow_energy(name, net, np.asarray(z)), rtol=1e-12
  )
  printed = jax.jit(functools.partial(lagrangean.printed_hamilton_velocity, g))(net, z)
  np.testing.assert_allclose(printed, 2 * expected, atol=1e-12 * scale)


def test_lagrangean_by_hand_and_its_real_form():
  net, z = random_network(2)
  dz = jnp.asarray(np.random.default_rng(5).standard_normal((2, N)) @ np.eye(N))
  dz = dz[0] + 1j * dz[1]
  kinetic = 0.5j * sum(np.conj(z[j]) * dz[j] - np.conj(dz[j]) * z[j] for j in range(N))
  expected = kinetic - slow_energy("saturating", net, np.asarray(z))
  np.testing.assert_allclose(
    lagrangean.lagrangean(SATURATING, net, z, dz), expected.real, rtol=1e-12
  )
  # u' = ½ ∂H/∂v, v' = −½ ∂H/∂u by central differences of the slow energy.
  found = np.asarray(lagrangean.velocity(SATURATING, net, z))
  e = 1e-6
  for j in range(N):
    unit = e * np.eye(N)[j]
    by_u, by_v = (
      (slow_energy("saturating", net, z + d) - slow_energy("saturating", net, z - d)) / (2 * e)
      for d in (unit, 1j * unit)
    )
    np.testing.assert_allclose(found[j], by_v / 2 - 0.5j * by_u, rtol=1e-6, atol=1e-6)


def test_balances_of_energy_and_norm():
  net, z = random_network(3)
  dz = lagrangean.velocity(SATURATING, net, z)
  e = 1e-6
  change = (lagrangean.norm(z + e * dz) - lagrangean.norm(z - e * dz)) / (2 * e)
  np.testing.assert_allclose(change, lagrangean.norm_rate(net, z), rtol=1e-7)
  energy = lambda z: lagrangean.energy(SATURATING, net, z)  # noqa: E731
  assert abs((energy(z + e * dz) - energy(z - e * dz)) / (2 * e)) < 1e-7


def test_linear_flow_is_the_exponential():
  net, z = random_network(4)
  omega, drive = np.asarray(net.coupling), np.asarray(lagrangean.total_input(net))
  shift = np.linalg.solve(omega, drive)
  for h in (0.3, -1.7, 20.0):
    exact = linalg.expm(-1j * omega * h) @ (np.asarray(z) + shift) - shift
    found = lagrangean.linear_flow(net.coupling, jnp.asarray(drive))(0.0, z, h)
    np.testing.assert_allclose(found, exact, atol=1e-11)
  # A singular Ω: only the drive acts on its null space, z(h) = z − i h I.
  null = lagrangean.linear_flow(jnp.zeros((N, N)), jnp.asarray(drive))(0.0, z, 0.7)
  np.testing.assert_allclose(null, z - 0.7j * drive, atol=1e-14)


def test_gauss_and_splitting_solve_the_linear_network():
  net, z = random_network(5)
  drive = lagrangean.total_input(net)
  exact = lagrangean.linear_flow(net.coupling, drive)
  flow = splitting.strang(
    splitting.exact_flow(exact), splitting.gauss_flow(lagrangean.remainder_field(LINEAR, net))
  )
  split = integrate(None, z, [0.0, 3.0], method=splitting.method(flow, 2), substeps=7)
  np.testing.assert_allclose(split.final, exact(0.0, z, 3.0), atol=1e-12)
  field = lagrangean.field(LINEAR, net)
  gauss = integrate(field, z, [0.0, 3.0], method="gauss6", substeps=300)
  np.testing.assert_allclose(gauss.final, exact(0.0, z, 3.0), atol=1e-8)


def test_splitting_converges_on_the_nonlinear_network():
  net, z = random_network(6)
  net = net._replace(coupling=net.coupling / 4)
  drive = lagrangean.total_input(net)
  flow = splitting.strang(
    splitting.exact_flow(lagrangean.linear_flow(net.coupling, drive)),
    splitting.gauss_flow(lagrangean.remainder_field(SATURATING, net)),
  )
  field = lagrangean.field(SATURATING, net)
  exact = integrate(field, z, [0.0, 2.0], method="gauss6", substeps=200).final
  for flow_, order in ((flow, 2), (splitting.triple_jump(flow), 4)):
    method = splitting.method(flow_, order)
    run = jax.jit(
      lambda k, method=method: integrate(None, z, [0, 2.0], method=method, substeps=k).final
    )
    errors = [float(jnp.abs(run(k) - exact).max()) for k in (40, 80)]
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), order, atol=0.25)


@pytest.mark.parametrize("inputs", [True, False])
def test_invariants_of_the_network(inputs):
  net, z = random_network(7, inputs)
  net = net._replace(coupling=net.coupling / 4)
  save = invariants.monitor(
    energy=lambda z: lagrangean.energy(SATURATING, net, z), norm=lagrangean.norm
  )
  run = integrate(
    lagrangean.field(SATURATING, net), z, np.linspace(0, 20, 41), substeps=10, save=save
  ).saved
  assert float(invariants.drift(run["energy"])) < 1e-4
  norm = float(invariants.drift(run["norm"]))
  assert norm > 1e-2 if inputs else norm < 1e-14


def test_the_turning_frame_is_the_same_motion():
  net, z = random_network(8, inputs=False)
  rate = float(lagrangean.turning_rate(SATURATING, net, z))
  options = {"method": "gauss6", "substeps": 300}
  plain = integrate(lagrangean.field(SATURATING, net), z, [0.0, 2.0], **options).final
  turned = integrate(lagrangean.field(SATURATING, net, frame=rate), z, [0.0, 2.0], **options)
  np.testing.assert_allclose(turned.final * np.exp(-2j * rate), plain, atol=1e-8)


@pytest.mark.parametrize("inputs", [True, False])
def test_many_states_at_once_in_real_coordinates(inputs):
  net, _ = random_network(10, inputs)
  rng = np.random.default_rng(10)
  z = jnp.asarray(rng.standard_normal((2, 3, N)) + 1j * rng.standard_normal((2, 3, N)))
  fast = net._replace(coupling=couplings.real_blocks(net.coupling))
  for name, g in NONLINEARITIES.items():
    plain = lagrangean.field(g, net, frame=0.3)
    found = lagrangean.real_field(g, fast, frame=0.3)(0.0, hamiltonian.to_real(z))
    energy = lagrangean.energy(g, fast, z)
    for i, j in np.ndindex(2, 3):
      expected = hamiltonian.to_real(plain(0.0, z[i, j]))
      np.testing.assert_allclose(found[i, j], expected, atol=1e-12)
      by_hand = slow_energy(name, net, np.asarray(z[i, j]))
      np.testing.assert_allclose(energy[i, j], by_hand, rtol=1e-12, atol=1e-12)


def test_divergence_vanishes_and_that_of_rate_networks_is_known():
  net, z = random_network(9)
  for g in NONLINEARITIES.values():
    field = lagrangean.field(g, net)
    found = jax.jit(lambda z, field=field: hamiltonian.divergence(field, 0.0, z))(z)
    np.testing.assert_allclose(found, 0, atol=1e-12)
  omega, x = net.coupling.real, z.real
  dcm = rate_networks.dcm_field(omega, net.gain, net.source, net.noise)
  np.testing.assert_allclose(hamiltonian.divergence(dcm, 0.0, x), np.trace(omega), rtol=1e-12)
  hopfield = rate_networks.hopfield_field(omega, net.noise)
  expected = -N + np.sum(np.diag(omega) * (1 - np.tanh(x) ** 2))
  np.testing.assert_allclose(hamiltonian.divergence(hopfield, 0.0, x), expected, rtol=1e-12)
  # dE/dt = −Σ (dx/dt)² σ'(x)
  slope = jax.grad(rate_networks.hopfield_energy, argnums=2)(omega, net.noise, x)
  velocity = hopfield(0.0, x)
  np.testing.assert_allclose(
    slope @ velocity, -(velocity**2) @ (1 - np.tanh(x) ** 2), rtol=1e-10
  )


# --- nonlinearities and couplings


@pytest.mark.parametrize("name", sorted(G))
def test_nonlinearities_and_slopes(name):
  g = NONLINEARITIES[name]
  x = np.concatenate([np.geomspace(1e-6, 0.09999, 40), np.linspace(0.1, 20, 60)])
  value, slope = jax.jit(g.value), jax.jit(g.slope)
  np.testing.assert_allclose(value(jnp.asarray(x)), [G[name][0](v) for v in x], rtol=1e-13)
  by_jax = jax.jit(jax.vmap(jax.grad(lambda x: jnp.sum(g.value(x)))))(jnp.asarray(x))
  np.testing.assert_allclose(slope(jnp.asarray(x)), by_jax, rtol=3e-12, atol=1e-15)
  assert float(g.value(jnp.zeros(()))) == 1.0
  at_zero = {"linear": 0, "saturating": -0.5, "tanh": -1 / 3, "gaussian": -0.5}[name]
  np.testing.assert_allclose(g.slope(jnp.zeros(())), at_zero, rtol=1e-15)


def test_user_nonlinearity_and_selection():
  mine = nonlinearities.custom(lambda x: 1 / (1 + x))
  np.testing.assert_allclose(mine.slope(jnp.array([0.0, 1.0])), [-1.0, -0.25])
  chosen = nonlinearities.select(jnp.asarray(1), (LINEAR, SATURATING))
  np.testing.assert_allclose(chosen.value(jnp.array(3.0)), 0.5)
  np.testing.assert_allclose(nonlinearities.power(2.0, -0.5).value(jnp.array(4.0)), 1 / 3)
  with pytest.raises(ValueError, match="derivative"):
    nonlinearities.custom(jnp.sqrt)


def test_couplings_are_their_matrices():
  rng = np.random.default_rng(0)
  b = jnp.asarray(rng.standard_normal(7) + 1j * rng.standard_normal(7))
  hopping = jnp.asarray(rng.standard_normal(7) + 1j * rng.standard_normal(7))
  factors = jnp.asarray(rng.standard_normal((7, 2)) + 1j * rng.standard_normal((7, 2)))
  omega = couplings.gaussian_hermitian(jax.random.key(0), 7)
  for coupling in (
    omega,
    couplings.real_blocks(omega),
    couplings.RealPair(omega.real, omega.imag),
    couplings.Chain(jnp.asarray(rng.standard_normal(7)), hopping),
    couplings.LowRank(jnp.ones(7), factors, jnp.array([0.5, -2.0])),
  ):
    matrix = np.asarray(jax.jit(couplings.dense)(coupling))
    np.testing.assert_allclose(matrix, matrix.conj().T, atol=1e-14)
    np.testing.assert_allclose(jax.jit(couplings.product)(coupling, b), matrix @ b, atol=1e-13)
    assert couplings.size(coupling) == 7 and couplings.asymmetry(coupling) < 1e-13
  np.testing.assert_array_equal(couplings.dense(couplings.real_blocks(omega)), omega)
  chain = np.asarray(couplings.dense(couplings.Chain(jnp.zeros(7), hopping)))
  np.testing.assert_allclose(chain[2, 3], hopping[2])
  np.testing.assert_allclose(chain[6, 0], hopping[6])


def test_gaussian_couplings_have_the_spectrum_asked_for():
  omega = couplings.gaussian_hermitian(jax.random.key(1), 400, frequency=2.0, radius=0.5)
  values = np.linalg.eigvalsh(omega)
  np.testing.assert_allclose([values[0], values[-1]], [1.5, 2.5], atol=0.03)
  np.testing.assert_allclose(np.var(values), 0.25**2, rtol=0.05)  # of a semicircle


# --- bad input


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"coupling": jnp.array([[0, 1.0], [2.0, 0]])}, r"not Hermitian.* by 1\b"),
    ({"coupling": jnp.ones((2, 3))}, "square"),
    ({"gain": jnp.ones((2, 1)) * 1j}, "Γ is complex"),
    ({"source": jnp.ones(1) * 1j}, "V is complex"),
    ({"noise": jnp.ones(2) * 1j}, "W is complex"),
    ({"noise": jnp.ones(3)}, "sizes do not match"),
    ({"source": jnp.ones(4)}, "sizes do not match"),
  ],
)
def test_bad_networks_are_refused(changes, message):
  good = lagrangean.network(jnp.eye(2) + 0j, jnp.ones((2, 1)), jnp.ones(1), jnp.ones(2))
  assert lagrangean.check(good, SATURATING) is good
  with pytest.raises(ValueError, match=message):
    lagrangean.check(good._replace(**changes))


def test_an_operator_that_is_not_hermitian_is_refused():
  wrong = couplings.LowRank(jnp.ones(4), jnp.ones((4, 1)) + 0j, jnp.array([1j]))
  with pytest.raises(ValueError, match="not Hermitian"):
    lagrangean.check(lagrangean.network(wrong))


def test_a_nonlinearity_without_derivative_at_zero_is_refused():
  root = nonlinearities.Nonlinearity("root", jnp.sqrt, lambda x: 0.5 / jnp.sqrt(x))
  with pytest.raises(ValueError, match="derivative inf at 0"):
    lagrangean.check(lagrangean.network(jnp.eye(2) + 0j), root)

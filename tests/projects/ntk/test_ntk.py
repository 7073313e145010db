"""The network, its processes and its theory against slow obvious versions and closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from configs import ntk as config_file
from lib import dynamics
from lib.experiment import UserError, bind
from projects.ntk import experiment, network, processes, theory

X = np.array([-0.9, -0.3, 0.1, 0.4, 0.8])
Y = np.sin(3 * X)
W = np.array([0.1, 0.3, 0.2, 0.2, 0.2])
SIGMA = {
  "relu": (lambda u: np.maximum(u, 0), lambda u: (u > 0).astype(float)),
  "tanh": (np.tanh, lambda u: 1 - np.tanh(u) ** 2),
  "erf": (special.erf, lambda u: 2 / np.sqrt(np.pi) * np.exp(-(u**2))),
  "softplus": (lambda u: np.logaddexp(u, 0), special.expit),
}


def points(dtype=jnp.float32):
  return network.Data(*(jnp.asarray(v, dtype) for v in (X, Y, W)))


def numpy_descent(parameters, activation, exponent, h, steps):
  """Float64, one neuron and one data point at a time."""
  sigma, slope = SIGMA[activation]
  a, a0, b = (np.array(v, np.float64) for v in parameters)
  m = len(a)
  for _ in range(steps):
    u = a[:, None] * X + a0[:, None]
    r = m**-exponent * (b @ sigma(u)) - Y
    da, da0, db = np.zeros(m), np.zeros(m), np.zeros(m)
    for j in range(m):
      for i in range(len(X)):
        da[j] -= W[i] * r[i] * slope(u[j, i]) * X[i] * b[j]
        da0[j] -= W[i] * r[i] * slope(u[j, i]) * b[j]
        db[j] -= W[i] * r[i] * sigma(u[j, i])
    rate = h * m ** (exponent - 1)
    a, a0, b = a + rate * da, a0 + rate * da0, b + rate * db
  return np.stack([a, a0, b])


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def descend(theta, activation, exponent, h, steps, data=None):
  data = points() if data is None else data
  sigma = network.activation_function(activation)
  width = theta.shape[0] * theta.shape[2]
  scale = network.scale(exponent, width)

  def step(_, carry):
    return network.descent_step(sigma, scale, data, h, *carry)

  found = network.outputs(sigma, scale.output, theta, data.x)
  return jax.lax.fori_loop(0, steps, step, (theta, found))


def split(parameters, blocks):
  """(3, m) -> (blocks, 3, block)."""
  return jnp.moveaxis(jnp.asarray(parameters, jnp.float32).reshape(3, blocks, -1), 0, 1)


@pytest.mark.parametrize("activation", sorted(SIGMA))
@pytest.mark.parametrize(("exponent", "blocks"), [(0.5, 1), (0.5, 3), (1.0, 4)])
def test_descent_against_slow_numpy(activation, exponent, blocks):
  start = np.random.default_rng(0).standard_normal((3, 24))
  expected = numpy_descent(start, activation, exponent, 0.2, 5)
  theta, found = descend(split(start, blocks), activation, exponent, 0.2, 5)
  np.testing.assert_allclose(network.neurons(theta), expected, rtol=2e-5, atol=2e-6)
  u = expected[0][:, None] * X + expected[1][:, None]
  outputs = 24**-exponent * (expected[2] @ SIGMA[activation][0](u))
  np.testing.assert_allclose(found, outputs, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("activation", sorted(SIGMA))
def test_step_is_minus_half_the_gradient_of_the_loss(activation):
  sigma, data = network.activation_function(activation), points()
  scale, width = network.scale(0.5, 30), 30
  theta = network.initial(jax.random.key(1), width)

  def loss(theta):
    return network.loss(data, network.outputs(sigma, scale.output, theta, data.x))

  expected = -0.5 * jax.jit(jax.grad(loss))(theta)
  field = jax.jit(lambda theta: network.flow_field(sigma, scale, data, theta))(theta)
  np.testing.assert_allclose(field, expected, rtol=1e-4, atol=1e-6)
  moved, _ = descend(theta, activation, 0.5, 0.3, 1)
  np.testing.assert_allclose(moved, theta + 0.3 * expected, rtol=1e-5, atol=1e-6)


def test_many_points_in_chunks_equal_few_at_a_time():
  rng = np.random.default_rng(2)
  x, y, w = rng.uniform(-1, 1, 45), rng.standard_normal(45), rng.dirichlet(np.ones(45))
  theta = split(rng.standard_normal((3, 12)), 2)
  sigma, scale = network.activation_function("relu"), network.scale(0.5, 12)
  data = network.Data(*(jnp.asarray(v, jnp.float32) for v in (x, y, w)))
  whole = jax.jit(lambda theta: network.flow_field(sigma, scale, data, theta))(theta)
  first = network.Scale(jnp.float32(1), jnp.float32(1))

  @jax.jit
  def move(x, rho):  # of one point, with residual 1 and weight rho
    one = network.Data(x, jnp.zeros(1), rho)
    return network.descent_step(sigma, first, one, 1.0, theta, jnp.ones(1))[0] - theta

  residual = np.asarray(network.outputs(sigma, scale.output, theta, data.x)) - y
  parts = np.zeros(theta.shape)
  for i in range(45):
    rho = jnp.float32(scale.flow * w[i] * residual[i])
    parts += np.asarray(move(data.x[i : i + 1], rho[None]))
  np.testing.assert_allclose(whole, parts, atol=1e-5)


def test_descent_converges_to_the_flow_with_order_one():
  theta = network.initial(jax.random.key(3), 50)
  sigma, scale = network.activation_function("softplus"), network.scale(0.5, 50)
  with jax.enable_x64(True):
    data, theta = points(jnp.float64), jnp.asarray(np.asarray(theta), jnp.float64)

    def field(theta):
      return network.flow_field(sigma, scale, data, theta)

    solve = jax.jit(lambda y: dynamics.tsit5(field, y, 2.0, rtol=1e-9, atol=1e-11))
    flow = solve(theta)
    errors = [
      float(jnp.abs(descend(theta, "softplus", 0.5, 2.0 / n, n, data)[0] - flow).max())
      for n in (20, 40, 80)
    ]
    rk4 = dynamics.fixed_steps(dynamics.rk4_step, field, theta, 0.1, 20)
    assert float(jnp.abs(rk4 - flow).max()) < 1e-5
  np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 1.0, atol=0.1)


@pytest.mark.parametrize("width", [1, 7, 100, 16_384, 16_385, 100_000, 10**6, 10**7])
def test_blocks_cover_the_width(width):
  count, block = network.blocks(width)
  assert count * block == width
  assert block <= 16_384 or count == 1


def test_a_seed_is_the_same_network_in_any_blocks(monkeypatch):
  first = network.initial(jax.random.key(5), 40_000)
  monkeypatch.setattr(network, "_BLOCK", 500)
  second = network.initial(jax.random.key(5), 40_000)
  assert first.shape != second.shape
  np.testing.assert_array_equal(network.neurons(first), network.neurons(second))


def test_sums_over_many_neurons_keep_their_digits():
  width = 1_000_000
  theta = network.initial(jax.random.key(0), width)
  values = np.asarray(network.neurons(theta), np.float64)
  found = network.outputs(network.activation_function("relu"), 1e-3, theta, points().x)
  exact = [values[2] @ np.maximum(values[0] * x + values[1], 0) * 1e-3 for x in X]
  np.testing.assert_allclose(found, exact, atol=2e-5)  # of terms that add up to ±1
  sums = processes.cumulative_sum(network.neurons(theta), 50)
  expected = np.cumsum(values, 1)[:, 19_999::20_000] * 1e-3
  np.testing.assert_allclose(sums[:, 1:], expected, atol=1e-5)


# --- processes


@pytest.mark.parametrize(
  ("m", "grid"), [(60, 10), (60, 60), (61, 10), (7, 10), (13, 5), (3, 8)]
)
def test_processes_against_cumsum_and_interp(m, grid):
  values = np.random.default_rng(m).standard_normal((3, m)).astype(np.float32)
  found = processes.cumulative_sum(jnp.asarray(values), grid)
  for row, process in zip(values.astype(np.float64), found, strict=True):
    knots = np.concatenate([[0.0], np.cumsum(row)]) / np.sqrt(m)
    expected = np.interp(processes.grid(grid), np.arange(m + 1) / m, knots)
    np.testing.assert_allclose(process, expected, atol=2e-6)


# --- theory


def test_tangent_kernel_and_mean_features_by_quadrature():
  kernel = theory.tangent_kernel("relu", X)

  # In polar coordinates (a, a0) = ρ(cos φ, sin φ): E[ρ²] = 2, and the midpoint rule in φ.
  phi = (np.arange(200_000) + 0.5) / 200_000 * 2 * np.pi
  u, v = (np.cos(phi) * x + np.sin(phi) for x in (X[0], X[3]))
  expected = 2 * np.mean(np.maximum(u, 0) * np.maximum(v, 0))
  expected += (X[0] * X[3] + 1) * np.mean((u > 0) & (v > 0))
  np.testing.assert_allclose(kernel[0, 3], expected, atol=2e-5)
  np.testing.assert_allclose(np.diag(kernel), X**2 + 1, rtol=1e-12)
  np.testing.assert_allclose(
    theory.mean_features("relu", X), np.sqrt((X**2 + 1) / (2 * np.pi)), rtol=1e-12
  )
  for odd in ("tanh", "erf"):
    np.testing.assert_array_equal(theory.mean_features(odd, X), 0)


def test_residual_maps_solve_their_equation_with_weights():
  times = np.array([0.0, 0.7, 5.0])
  residual, integral = theory.residual_maps("relu", X, W, times)
  rate = theory.tangent_kernel("relu", X) * W
  start = np.array([1.0, -2.0, 0.5, 0.0, 1.5])
  solved = integrate.solve_ivp(
    lambda t, z: np.concatenate([-rate @ z[:5], z[:5]]),
    (0, 5),
    np.concatenate([start, np.zeros(5)]),
    t_eval=times,
    rtol=1e-9,
    atol=1e-11,
  ).y.T
  np.testing.assert_allclose(residual @ start, solved[:, :5], atol=1e-6)
  np.testing.assert_allclose(integral @ start, solved[:, 5:], atol=1e-6)
  response = theory.response_of_b("relu", X, W, times)
  features = np.sqrt((X**2 + 1) / (2 * np.pi))
  np.testing.assert_allclose(response @ start, -solved[:, 5:] @ (W * features), atol=1e-6)
  np.testing.assert_array_equal(theory.response_of_b("tanh", X, W, times), 0)


# --- one member


def config(**changes):
  found = config_file.get_config("smoke")
  with found.unlocked():
    found.update(changes)
  return found


def member(config, seeds):
  operands = experiment.prepare(config)
  one = jax.jit(
    jax.vmap(lambda seed: experiment.PROGRAM(bind(config, {"seed": seed}), operands))
  )
  return jax.device_get(one(jnp.arange(seeds))), operands


def test_theory_line_is_the_limit_of_the_simulation():
  small, _ = member(config(width=200, time=20.0, step_size=0.2), 4)
  large, operands = member(config(width=60_000, time=20.0, step_size=0.2), 4)
  errors = [
    np.mean(found["b_shift_error"]) / np.sqrt(np.mean(found["b_line"][:, -1] ** 2))
    for found in (small, large)
  ]
  assert errors[1] < 0.02 < errors[0]
  line = large["b_line"][:, -1]
  np.testing.assert_allclose(large["shift"][:, -1, 2, -1], line, atol=0.02)
  # The whole process is a straight line, not only its end; A and A0 rest.
  straight = processes.grid(10) * line[:, None]
  np.testing.assert_allclose(large["shift"][:, -1, 2], straight, atol=0.03)
  assert np.abs(large["shift"][:, -1, :2]).max() < 0.1 * np.abs(line).max()
  assert operands["data"].x.shape == (6,)


def test_measurements_by_hand():
  c = config(width=40, grid=8, tracked=50)
  found, operands = member(c, 1)
  theta = network.initial(jax.random.key(0), 40)
  steps = experiment.substeps(c) * c.records
  end, outputs = descend(theta, "relu", 0.5, c.time / steps, steps, operands["data"])
  start, last = (np.asarray(network.neurons(v), np.float64) for v in (theta, end))
  close = {"rtol": 1e-4, "atol": 1e-5}
  np.testing.assert_allclose(found["mean"][0, -1], last.mean(1), **close)
  np.testing.assert_allclose(found["second"][0], (start**2).mean(1), **close)
  change = (last**2 - start**2).mean(1)
  np.testing.assert_allclose(found["energy_change"][0, -1], change, **close)
  np.testing.assert_allclose(found["change_max"][0, -1], np.abs(last - start).max(1), **close)
  np.testing.assert_allclose(
    found["change_rms"][0, -1], np.sqrt(((last - start) ** 2).mean(1)), **close
  )
  np.testing.assert_allclose(found["tracked"][0, -1, :, :40], last - start, **close)
  np.testing.assert_array_equal(found["tracked"][0, -1, :, 40:], 0)
  ends = last.sum(1) / np.sqrt(40)
  process = found["start"][0] + found["shift"][0, -1]
  np.testing.assert_allclose(process[:, -1], ends, **close)
  residual = np.asarray(outputs) - np.asarray(operands["data"].y)
  np.testing.assert_allclose(found["residual"][0, -1], residual, **close)
  np.testing.assert_allclose(found["final_loss"][0], np.mean(residual**2), **close)
  for name in ("shift", "energy_change", "change_max"):
    np.testing.assert_array_equal(found[name][:, 0], 0)


@pytest.mark.parametrize("integrator", ["rk4", "tsit5"])
def test_flow_and_descent_agree_for_small_steps(integrator):
  changes = {"width": 40, "time": 2.0, "records": 2}
  flow, _ = member(config(integrator=integrator, step_size=0.1, **changes), 2)
  descent, _ = member(config(step_size=0.005, **changes), 2)
  np.testing.assert_allclose(flow["residual"], descent["residual"], atol=5e-3)


def test_real_data_merges_equal_inputs_without_changing_the_loss():
  operands = experiment.prepare(config(dataset="sklearn:diabetes/bmi"))
  data = operands["data"]
  assert len(data.x) == len(np.unique(data.x)) < 442
  np.testing.assert_allclose(np.sum(data.weight), 1, rtol=1e-6)
  # f = 0 leaves the variance of the standardised targets, 1.
  loss = network.loss(data, jnp.zeros(len(data.x))) + operands["within"]
  np.testing.assert_allclose(loss, 1, rtol=1e-4)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"width": 0}, "width"),
    ({"step_size": 0.0}, "step_size"),
    ({"step_size": -0.1}, "step_size"),
    ({"step_size": 3.0}, "step_size"),
    ({"time": 0.0}, "time"),
    ({"widths": (0, 10)}, "widths"),
    ({"widths": ()}, "widths"),
    ({"activation": "rleu"}, "activation"),
    ({"integrator": "euler"}, "integrator"),
    ({"dataset": "sklearn:digits"}, "dataset"),
    ({"dataset": "sklearn:diabetes"}, "dataset"),
  ],
)
def test_bad_configs_name_the_key(changes, message):
  with pytest.raises(UserError, match=message):
    experiment.prepare(config(**changes))


def test_ensembles_shrink_with_the_width_inside_their_bounds():
  c = config(neurons=10_000, seeds=4, max_seeds=50)
  assert [experiment.ensemble(c, m) for m in (10, 1000, 100_000)] == [50, 10, 4]

"""Members of the experiment against closed forms and slow versions; bad configs; bad files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate as scipy_integrate

from configs import lagrangean as config_file
from lib.dynamics import invariants, lagrangean
from lib.dynamics.nonlinearities import SATURATING
from lib.experiment import UserError, bind
from projects.lagrangean import (
  contrast,
  experiment,
  identification,
  lattice,
  memory,
  networks,
  precision,
  statements,
)


def config(preset="smoke", **changes):
  found = config_file.get_config(preset)
  for key, value in changes.items():
    *path, leaf = key.split("__")
    node = found
    for part in path:
      node = node[part]
    node[leaf] = value
  return found


def members(function, c, operands):
  """The function for all seeds of the config."""
  with jax.enable_x64(True):
    one = lambda seed, operands: function(bind(c, {"seed": seed}), operands)  # noqa: E731
    run = jax.jit(jax.vmap(one, (0, None)))
    return jax.device_get(run(jnp.arange(c.seeds) + c.seed, operands))


# --- networks


def test_draws_belong_to_their_seed_and_have_the_spectrum_asked_for():
  c = config(size=300, seeds=2)
  both = networks.draws(c)
  second = networks.draws(config(size=300, seeds=1, seed=1))
  for name in both:
    if name != "first":
      np.testing.assert_array_equal(both[name][1], second[name][0])
  with jax.enable_x64(True):
    net, z = networks.draw(bind(c, {"seed": 1}), both, 300)
    values = np.linalg.eigvalsh(net.coupling)
  np.testing.assert_allclose([values[0], values[-1]], [0.5, 1.5], atol=0.03)
  np.testing.assert_allclose(np.mean(np.abs(z) ** 2), 1, atol=0.15)


def test_inputs_balance_against_scipy():
  c = config(input__time=4.0, seeds=1)
  operands = networks.draws(c)
  found = members(statements.inputs, c, operands)
  with jax.enable_x64(True):
    net, z = networks.draw(c, operands, c.small_size, c.inputs)
    velocity = jax.jit(lambda z: lagrangean.velocity(SATURATING, net, z))
    solution = scipy_integrate.solve_ivp(
      lambda t, z: np.asarray(velocity(z)), (0, 4), np.asarray(z), rtol=1e-10, atol=1e-12
    )
    end = jnp.asarray(solution.y[:, -1])
    norm = float(lagrangean.norm(end))
  curves = found["constant_vw"]["curves"]
  np.testing.assert_allclose(curves["norm"][0, -1], norm, rtol=1e-8)
  np.testing.assert_allclose(
    curves["norm"][0, -1] - curves["norm"][0, 0], curves["gained"][0, -1], rtol=1e-10
  )
  assert found["silent"]["norm"][0] < 1e-14 < 1e-2 < found["constant_vw"]["norm"][0]
  assert found["constant_vw"]["energy"][0] < 1e-9 < found["changing"]["energy"][0]


def test_reversal_loses_rounding_and_nothing_else():
  c = config(reversal__periods=(0.5,), seeds=2)
  found = members(statements.reversal, c, networks.draws(c))
  assert (found["gauss4"] < 1e-12).all() and (found["moved_gauss4"] > 0.05).all()


def test_the_chain_is_the_discrete_nls_equation_in_the_limit():
  c = config(lattice__frequencies=(20.0, 40.0), lattice__limit_size=24)
  error = members(lattice.limit, c, networks.draws(c))["error"]
  np.testing.assert_allclose(error[:, 0] / error[:, 1], 2, atol=0.1)


def test_discrete_nls_keeps_its_own_energy():
  rng = np.random.default_rng(0)
  psi = rng.standard_normal(9) + 1j * rng.standard_normal(9)

  def energy(psi):
    hop = 2 * lattice.KAPPA * (psi.conj() * np.roll(psi, -1)).real.sum()
    return hop + lattice.GAMMA / 2 * (np.abs(psi) ** 4).sum()

  with jax.enable_x64(True):
    slope = np.asarray(lattice.discrete_nls(0.0, jnp.asarray(psi)))
  e = 1e-6
  assert abs(energy(psi + e * slope) - energy(psi - e * slope)) / (2 * e) < 1e-7
  by_hand = -1j * (
    lattice.KAPPA * (psi[3] + psi[5]) + lattice.GAMMA * abs(psi[4]) ** 2 * psi[4]
  )
  np.testing.assert_allclose(slope[4], by_hand)


def test_envelope_of_the_pulse_solves_the_chain_to_higher_order():
  """The residual of the envelope's soliton in the network's equation falls like a³."""
  residuals = []
  with jax.enable_x64(True):
    for amplitude in (0.08, 0.04):
      c = config(lattice__amplitude=amplitude)
      velocity, width = lattice.envelope(c, SATURATING)
      k, n = c.lattice.carrier, 2001
      omega = c.lattice.frequency + 2 * lattice.KAPPA * np.cos(k)
      shift = 4 * -0.5 * omega * amplitude**2 / 2  # Q a²/2
      x = np.arange(n) - n // 2

      def state(t, a=amplitude, v=velocity, w=width, s=shift, x=x, k=k, omega=omega):
        return a / np.cosh((x - v * t) / w) * np.exp(1j * (k * x - (omega + s) * t))

      e = 1e-5
      rate = (state(e) - state(-e)) / (2 * e)
      net = lattice.chain(n, c.lattice.frequency)
      field = np.asarray(lagrangean.velocity(SATURATING, net, jnp.asarray(state(0.0))))
      residuals.append(np.abs(rate - field).max())
  assert residuals[0] < 0.02 * 0.08 * omega
  np.testing.assert_allclose(np.log2(residuals[0] / residuals[1]), 4, atol=1.2)


@pytest.mark.parametrize("count", [64, 65])
def test_the_spectrum_is_that_of_the_fourier_transform(count):
  x = np.random.default_rng(0).standard_normal((count, 3))
  windowed = (x - x.mean(0)) * np.hanning(count)[:, None]
  expected = (np.abs(np.fft.rfft(windowed, axis=0)) ** 2).mean(1)
  with jax.enable_x64(True):
    np.testing.assert_allclose(contrast.spectrum(jnp.asarray(x)), expected, rtol=1e-10)


def test_contrast_models_do_what_their_equations_say():
  c = config(seeds=2, contrast__time=60.0, contrast__records=200)
  found = members(contrast.members, c, networks.draws(c))
  assert (np.abs(np.log(found["lagrangean"]["persistence"])) < np.log(3)).all()
  assert (found["hopfield"]["persistence"] < 0.5).all()
  # DCM: the norm grows by the largest eigenvalue.
  assert (found["dcm"]["growth"] > 1).all() and (found["dcm_damped"]["growth"] < -0.5).all()
  x = np.cos(0.7 * np.arange(400.0))[:, None]
  power = np.asarray(contrast.spectrum(jnp.asarray(x)))
  np.testing.assert_allclose(np.argmax(power), 0.7 * 400 / (2 * np.pi), atol=1)
  np.testing.assert_allclose(contrast.persistence(jnp.asarray(x)), 1, atol=0.05)


# --- beyond the paper


def test_identification_recovers_a_network_without_noise():
  c = config("default", seeds=1)
  c.identify.update({"size": 2, "times": (6.0,), "restarts": 3, "iterations": 25})
  with c.unlocked():
    c.identify.update(noise=0.0, restart=0, time=6.0)
  operands = identification.draws(c)
  with jax.enable_x64(True):
    one = lambda restart, operands: identification.member(  # noqa: E731
      bind(c, {"identify.restart": restart}), operands
    )
    found = jax.device_get(jax.jit(jax.vmap(one, (0, None)))(jnp.arange(3), operands))
  best = np.argmin(found["cost"])
  for name in ("identification_error", "gain_error", "g_error", "forecast_error"):
    assert found[name][best] < 1e-5, name


def test_levenberg_marquardt_on_rosenbrock():
  with jax.enable_x64(True):
    x, cost, kept = identification.levenberg_marquardt(
      lambda x: (jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]]), {"sum": x.sum()}),
      jnp.array([-1.2, 1.0]),
      60,
    )
    x, cost, kept = jax.device_get((x, cost, kept))
  np.testing.assert_allclose(x, [1, 1], atol=1e-6)
  np.testing.assert_allclose(kept["sum"], x.sum())
  assert cost < 1e-12


def test_dephasing_is_the_projection_on_the_patterns():
  c = config(memory__size=40, memory__time=150.0, memory__loads=(0.1, 0.3), seeds=2)
  drawn = memory.draws(c)
  patterns, cue = drawn["signs"][0], drawn["signs"][0][0] * drawn["wrong"][0]
  active = np.arange(len(patterns)) < 4
  with jax.enable_x64(True):
    found = memory.dephase(
      memory.nonlinearities.LINEAR,
      jnp.asarray(patterns + 0j),
      jnp.asarray(active, float),
      jnp.asarray(cue + 0j),
      c.memory,
    )
  stored = patterns[active]
  expected = stored.T @ np.linalg.solve(stored @ stored.T, stored @ cue)
  np.testing.assert_allclose(found, expected, atol=1e-3)


def test_memory_theory_against_random_projections():
  n, load, flips = 1000, 0.3, 0.1
  rng = np.random.default_rng(0)
  overlaps = []
  for _ in range(4):
    patterns = rng.choice([-1.0, 1.0], (int(load * n), n))
    wrong = np.where(np.arange(n) < flips * n, -1.0, 1.0)
    cue = patterns[0] * rng.permutation(wrong)
    answer = patterns.T @ np.linalg.solve(patterns @ patterns.T, patterns @ cue)
    overlaps.append(np.sign(answer) @ patterns[0] / n)
  np.testing.assert_allclose(np.mean(overlaps), memory.theory(load, flips), atol=0.01)


def test_hopfield_updates_against_a_loop():
  rng = np.random.default_rng(1)
  patterns, n = rng.choice([-1.0, 1.0], (4, 30)), 30
  weights = patterns.T @ patterns / n * (1 - np.eye(n))
  cue = rng.choice([-1.0, 1.0], n)
  expected = cue.copy()
  for _ in range(memory.SWEEPS):
    for i in range(n):
      field = weights[i] @ expected
      expected[i] = np.sign(field) if field else expected[i]
  with jax.enable_x64(True):
    found = memory.hopfield(jnp.asarray(weights), jnp.asarray(cue))
  np.testing.assert_array_equal(found, expected)


def test_large_structured_networks_keep_their_invariants():
  c = config(scale__periods=0.3)
  with jax.enable_x64(True):
    for kind in ("low_rank", "chain"):
      found = precision.scale(c, kind, 500)
      assert found["norm"] < 1e-13 and found["energy"] < 1e-5


def test_growth_of_the_drift_on_a_member():
  c = config(seeds=2, compare__periods=40.0, compare__records=256)
  for method, low, high in (("rk4", 0.7, 1.5), ("gauss4", -0.2, 0.6)):
    c.compare.method = method
    found = members(statements.compare, c, networks.draws(c))
    assert (low < invariants.growth(found["energy"])).all()
    assert (invariants.growth(found["energy"]) < high).all()


# --- bad input


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"size": 0}, "size is 0"),
    ({"long__step": -0.1}, "long.step"),
    ({"long__method": "gaus4"}, "long.method is 'gaus4'; choose"),
    ({"compare__methods": ("rk5",)}, "compare.methods has 'rk5'"),
    ({"precision__methods": ("rk5",)}, "precision.methods has 'rk5'"),
    ({"memory__flips": 0.7}, "memory.flips"),
    ({"memory__loads": (0.3, 0.1)}, "memory.loads"),
    ({"reversal__periods": ()}, "reversal.periods"),
    ({"nonlinearity": "saturatign"}, "nonlinearity is 'saturatign'"),
    ({"nonlinearity": "jax.numpy:sqrt"}, "derivative"),
    ({"nonlinearity": "jax.numpy:cosh"}, "no travelling pulse"),
  ],
)
def test_bad_configs_name_the_key(changes, message):
  with pytest.raises(UserError, match=message):
    experiment.check(config(**changes))


def test_networks_from_files(tmp_path):
  path = tmp_path / "net.npz"
  with pytest.raises(UserError, match="cannot be read"):
    networks.read(str(path))
  np.savez(path, couplings=np.eye(2))
  with pytest.raises(UserError, match="named omega"):
    networks.read(str(path))
  np.savez(path, omega=np.array([[0, 1.0], [0, 0]]))
  with pytest.raises(UserError, match="not Hermitian"):
    networks.read(str(path))
  np.savez(path, omega=np.eye(2), gamma=1j * np.ones((2, 1)), v=np.ones(1))
  with pytest.raises(UserError, match="Γ is complex"):
    networks.read(str(path))
  np.savez(path, omega=np.array([[1, 1j], [-1j, 1]]), gamma=np.ones((2, 1)), v=np.ones(1))
  net = networks.read(str(path))
  assert net.coupling.shape == (2, 2) and net.noise.shape == (2,)


def test_a_step_too_large_ends_with_its_time_and_residual(tmp_path):
  from lib.experiment import Context

  c = config(seeds=1, long__periods=40.0, long__records=2, long__step=20.0)
  with (
    jax.enable_x64(True),
    pytest.raises(UserError, match=r"did not converge at t = \d.*\(residual .*long.step"),
  ):
    stage = experiment._long(c, {"seed": [0]}, networks.draws(c))
    experiment._refuse_unconverged(c, Context(tmp_path).members(*stage))


def test_the_long_run_of_a_network_from_a_file(tmp_path):
  from lib.experiment import Context

  rng = np.random.default_rng(0)
  half = rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3))
  omega = np.eye(3) + 0.1 * (half + half.conj().T)
  for name, w in (("silent", np.zeros(3)), ("driven", np.full(3, 0.05))):
    np.savez(tmp_path / f"{name}.npz", omega=omega, w=w)
    c = config(network=str(tmp_path / f"{name}.npz"), seeds=2)
    with jax.enable_x64(True):
      stage = experiment._long(c, {"seed": [0, 1]}, None)
      found = Context(tmp_path / name).members(*stage)
    assert np.abs(found["energy"]).max() < 1e-7
    norm = np.abs(found["norm"]).max()
    assert norm < 1e-13 if name == "silent" else norm > 1e-3

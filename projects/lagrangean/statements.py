"""The paper's statements on one random network: members of the experiment (pure functions)."""

import jax
import jax.numpy as jnp
import numpy as np

from lib import numerics
from lib.dynamics import (
  hamiltonian,
  integrate,
  invariants,
  lagrangean,
  nonlinearities,
  rate_networks,
  splitting,
)
from lib.experiment import Program, by_name
from projects.lagrangean import networks

NAMES = tuple(nonlinearities.NONLINEARITIES)
CHOICES = tuple(nonlinearities.NONLINEARITIES.values())


def _relative(a, b):
  return jnp.abs(a - b).max() / jnp.abs(b).max()


# --- the three forms of the field, and what it does to volumes -------------------------------


def fields(config, operands):
  """Sec. 4 and 7 at random states, with and without input, for every nonlinearity.

  Returns, with axes (nonlinearities, input yes or no), maxima over the states:
    hamilton, euler_lagrange: relative difference to eq. 14; divergence: |trace| over the
    field's largest derivative; printed: speed of eqs. 23 and 24 over eq. 14. And the
    divergence per neuron of DCM and of a Hopfield network at the same states.
  """
  net, _ = networks.draw(config, operands, config.small_size, config.inputs)
  re, im = networks.of_seed(config, operands)["states"] * config.amplitude
  states = jax.lax.complex(re, im)

  def measure(index, on, z):
    g = nonlinearities.select(index, CHOICES)
    mine = net._replace(source=on * net.source, noise=on * net.noise)
    written = lagrangean.velocity(g, mine, z)
    hamilton = lagrangean.hamilton_velocity(g, mine, z)
    field = hamiltonian.real_field(lagrangean.field(g, mine))
    jacobian = jax.jacfwd(lambda x: field(0.0, x))(hamiltonian.to_real(z))
    printed = lagrangean.printed_hamilton_velocity(g, mine, z)
    return {
      "hamilton": _relative(hamilton, written),
      "euler_lagrange": _relative(lagrangean.euler_lagrange_velocity(g, mine, z), written),
      "divergence": jnp.abs(jnp.trace(jacobian)) / jnp.abs(jacobian).max(),
      "printed": jnp.vdot(written, printed).real / jnp.vdot(written, written).real,
    }

  over = jax.vmap(measure, (None, None, 0))
  over = jax.vmap(jax.vmap(over, (None, 0, None)), (0, None, None))
  found = over(jnp.arange(len(NAMES)), jnp.array([1.0, 0.0]), states)
  found = {name: value.max(-1) for name, value in found.items()}
  symmetric, drive = net.coupling.real, lagrangean.total_input(net)

  def per_neuron(field):
    return jax.vmap(lambda x: hamiltonian.divergence(field, 0.0, x))(re).mean() / re.shape[-1]

  dcm = rate_networks.dcm_field(symmetric, net.gain, net.source, net.noise)
  return found | {
    "divergence_dcm": per_neuron(dcm),
    "divergence_hopfield": per_neuron(rate_networks.hopfield_field(symmetric, drive)),
  }


def volume(config, operands):
  """Phase-space volume along the flow: determinants and symplecticity of D φ, and a cloud.

  The cloud is a state and 2 N neighbours at a distance of 1e-5: its volume after the flow
  over that before, by the differences of the points.
  """
  g = networks.nonlinearity(config.nonlinearity)
  n = max(2, config.small_size // 2)
  net, z = networks.draw(config, operands, n, config.inputs)
  field = lagrangean.real_field(g, networks.fast(net))
  x, times = hamiltonian.to_real(z), jnp.array([0.0, 10.0])
  eye, distance = jnp.eye(2 * n), 1e-5
  cloud = x + distance * jnp.concatenate([eye, -eye])
  along = hamiltonian.variational_field(field)

  def joint(t, state):  # tangents and cloud at once are one program
    variation, cloud = state
    return along(t, variation), jax.vmap(field, (None, 0))(t, cloud)

  options = {"substeps": 50, "save": lambda t, state: ()}
  start = hamiltonian.Variation(x, eye)
  both = integrate(joint, (start, cloud), times, method="gauss4", **options).final
  explicit = integrate(along, start, times, method="rk4", **options).final
  found, determinant = {}, numerics.one_at_a_time(jnp.linalg.det)
  for method, end in (("gauss4", both[0]), ("rk4", explicit)):
    jacobian = end.tangents.T
    found[f"volume_{method}"] = jnp.abs(determinant(jacobian) - 1)
    found[f"symplectic_{method}"] = hamiltonian.symplectic_error(jacobian)
  sides = (both[1][: 2 * n] - both[1][2 * n :]) / (2 * distance)
  found["cloud"] = jnp.abs(determinant(sides) - 1)
  return found


# --- inputs ----------------------------------------------------------------------------------


CASES = ("silent", "constant_v", "constant_vw", "changing")


def inputs(config, operands):
  """Energy and norm with constant and with changing input, against their balances.

      dH/dt = 2 Σ_j (Γ V̇ + Ẇ)_j u_j,      d𝒩/dt = −2 Σ_j (Γ V + W)_j v_j.

  The right-hand sides are integrated along with the state. Each component of a changing input
  is a constant and a sine of its own frequency.

  Returns, for each of CASES:
    energy and norm: the largest relative change; energy_balance and norm_balance: the largest
    difference between the change and the integrated rate, over the initial value; and the
    curves (times,) of energy, work, norm and gained norm.
  """
  g = networks.nonlinearity(config.nonlinearity)
  net, z = networks.draw(config, operands, config.small_size, config.inputs)
  mean, depth, phase = networks.of_seed(config, operands)["drive"]
  m = config.inputs
  rate = 0.2 + np.linspace(0.0, 0.8, mean.shape[0])
  times = np.linspace(0, config.input.time, 41)
  substeps = max(1, round(config.input.time / 40 / config.input.step))

  def case(on):
    constant_v, constant_w, changing = on

    def at(t):
      both = changing * 0.3 * (mean + depth * jnp.sin(rate * t + phase))
      source = both[:m] + constant_v * net.source
      return net._replace(source=source, noise=both[m:] + constant_w * net.noise)

    def joint(t, state):
      z, _, _ = state
      both = changing * 0.3 * depth * rate * jnp.cos(rate * t + phase)
      work = 2 * jnp.dot(net.gain @ both[:m] + both[m:], z.real)
      return lagrangean.velocity(g, at(t), z), work, lagrangean.norm_rate(at(t), z)

    def save(t, state):
      z, work, gained = state
      return lagrangean.energy(g, at(t), z), work, lagrangean.norm(z), gained

    start = (z, jnp.zeros(()), jnp.zeros(()))
    solution = integrate(joint, start, times, method="gauss6", substeps=substeps, save=save)
    energy, work, norm, gained = solution.saved
    return {
      "energy": invariants.drift(energy),
      "norm": invariants.drift(norm),
      "energy_balance": jnp.abs(energy - energy[0] - work).max() / jnp.abs(energy[0]),
      "norm_balance": jnp.abs(norm - norm[0] - gained).max() / norm[0],
      "curves": {"energy": energy, "work": work, "norm": norm, "gained": gained},
    }

  on = jnp.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1]])
  found = jax.lax.map(case, on)
  return by_name(CASES, found)


# --- the linear network, and the arrow of time -----------------------------------------------


def linear(config, operands):
  """g = 1 with constant input against e^{−iΩt} (z(0) + Ω^{-1} I) − Ω^{-1} I, relative."""
  net, z = networks.draw(config, operands, config.small_size, config.inputs)
  drive = lagrangean.total_input(net)
  omega, duration = net.coupling, config.linear.time
  exact = lagrangean.linear_flow(omega, drive)(0.0, z, duration)
  steps = max(1, round(duration / config.linear.step))
  g, times = nonlinearities.LINEAR, jnp.array([0.0, duration])
  found = {}
  split = splitting.strang(
    splitting.exact_flow(lagrangean.linear_flow(omega, drive)),
    splitting.gauss_flow(lagrangean.remainder_field(g, net)),
  )
  methods = {"splitting": splitting.method(split, 2), "gauss4": "gauss4"}
  for name, method in methods.items():
    solution = integrate(
      lagrangean.field(g, net),
      z,
      times,
      method=method,
      substeps=steps,
      save=lambda t, z: (),
    )
    found[name] = _relative(solution.final, exact)
  return found


def reversal(config, operands):
  """There and back over several horizons: the distance to the start, relative to its size.

  Rounding is what is lost on the way; the motion is chaotic and makes it grow exponentially.

  Returns:
    For each method, and as moved_<method> for the way there: (horizons,).
  """
  g = networks.nonlinearity(config.nonlinearity)
  net, z = networks.draw(config, operands, config.size)
  field = lagrangean.field(g, networks.fast(net))
  period = 2 * jnp.pi / jnp.abs(lagrangean.turning_rate(g, net, z))
  horizons = jnp.asarray(config.reversal.periods)
  per_period = round(2 * np.pi / TYPICAL_RATE / config.reversal.step)
  found = {}
  for method in ("gauss4", "rk4"):

    def go(z, span, steps, method=method):
      options = {"method": method, "substeps": steps, "save": lambda t, z: ()}
      return integrate(field, z, span, **options).final

    def there_and_back(periods, go=go):
      span, steps = jnp.array([0.0, 1.0]) * periods * period, jnp.round(periods * per_period)
      steps = steps.astype(int)

      def leg(z, direction):
        end = go(z, jnp.where(direction > 0, span, span[::-1]), steps)
        return end, end

      _, (there, back) = jax.lax.scan(leg, z, jnp.array([1, -1]))
      return _relative(back, z), _relative(there, z)

    found[method], found[f"moved_{method}"] = jax.lax.map(there_and_back, horizons)
  return found


# --- long runs -------------------------------------------------------------------------------


def _long_start(config, operands):
  """(g, network, z, rate): the user's network where there is one."""
  g = networks.nonlinearity(config.nonlinearity)
  net, z = networks.draw(config, operands, config.size)
  net = operands.get("network", net)
  return g, net, z, lagrangean.turning_rate(g, net, z)


TYPICAL_RATE = 0.3  # of the default networks: all get the same number of steps a period


def _substeps(settings) -> int:
  """Steps between two records; `step` is their size where μ is the typical rate."""
  interval = settings.periods / settings.records * 2 * np.pi / TYPICAL_RATE
  return max(1, round(interval / settings.step))


def long_init(config, operands):
  """The state and its time, and the energy and norm it starts with."""
  g, net, z, _ = _long_start(config, operands)
  start = {"energy": lagrangean.energy(g, net, z), "norm": lagrangean.norm(z)}
  return start | {"z": z, "t": jnp.zeros(())}


def long_step(config, operands, state):
  """From one record to the next, in the frame that turns at the network's rate μ.

  Without input the phase is a symmetry, so that H and 𝒩 are the same in that frame; the field
  is slower there. Periods are 2π/μ, which the neurons themselves turn through in less.
  """
  g, net, _, rate = _long_start(config, operands)
  interval = config.long.periods / config.long.records * 2 * jnp.pi / jnp.abs(rate)
  substeps = _substeps(config.long)
  # A network from a file may have an input, which breaks the symmetry.
  frame = jnp.where((lagrangean.total_input(net) == 0).all(), rate, 0.0)
  solution = integrate(
    lagrangean.field(g, networks.fast(net), frame=frame),
    state["z"],
    jnp.stack([0 * interval, interval]),
    method=config.long.method,
    substeps=substeps,
    save=lambda t, z: (),
  )
  z = solution.final
  energy = lagrangean.energy(g, net, z) - state["energy"]
  measured = {
    "energy": energy / jnp.abs(state["energy"]),
    "norm": (lagrangean.norm(z) - state["norm"]) / state["norm"],
    "residual": solution.residual,
    "failed_at": state["t"] + solution.failed_at,
    "step": interval / substeps,
    "evaluations": solution.evaluations,
  }
  return {**state, "z": z, "t": state["t"] + interval}, measured


LONG = Program(
  long_init,
  long_step,
  lambda config, operands, state, history: history,
  steps=lambda config: config.long.records,
)


def compare(config, operands):
  """Drift of one method over time, in the laboratory frame."""
  g, net, z, rate = _long_start(config, operands)
  duration = config.compare.periods * 2 * jnp.pi / jnp.abs(rate)
  records = config.compare.records
  substeps = _substeps(config.compare)
  save = invariants.monitor(
    energy=lambda z: lagrangean.energy(g, net, z), norm=lagrangean.norm
  )
  solution = integrate(
    lagrangean.field(g, networks.fast(net)),
    z,
    np.linspace(0, 1, records + 1) * duration,
    method=config.compare.method,
    substeps=substeps,
    save=save,
    rtol=config.compare.rtol,
    atol=config.compare.rtol * 1e-2,
  )
  changes = {k: invariants.relative_change(v) for k, v in solution.saved.items()}
  return changes | {"evaluations": solution.evaluations, "failed_at": solution.failed_at}

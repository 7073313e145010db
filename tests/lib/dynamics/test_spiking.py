"""The event-driven layer against a slow obvious simulator and hand-computed numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lib import updates
from lib.dynamics import balanced_input, patterns, spike_trains, spiking

CHUNK = 10


@functools.cache
def slow_kernel(delay, variance, window=40):
  """Currents at steps 1 .. window of one synapse, float64."""
  shape = [np.exp(-((t - delay) ** 2) / (2 * variance)) for t in range(1, window + 1)]
  return np.array(shape) / np.sum(shape)


def slow_simulator(spikes, synapses, constants, learn, *, gain, steps, inhibition=False):
  """One millisecond, one spike, one synapse at a time, in float64.

  Args:
    spikes: list of (time, afferent).
    synapses: dict of (neurons, afferents) arrays, changed in place.
    constants: (tau, threshold, rest, reset).
    learn: object with post(synapses of a neuron, since_input) and maybe pre(since_output).

  Returns:
    output spikes (time, neuron), voltages (steps, neurons) before the reset.
  """
  tau, threshold, rest, reset = constants
  neurons, afferents = synapses["delay"].shape
  ring = np.zeros((steps + 41, neurons))
  voltage = np.full(neurons, rest)
  last_input, last_output = np.full(afferents, -1e6), np.full(neurons, -1e6)
  at = [[] for _ in range(steps)]
  for time, afferent in spikes:
    if time < steps:
      at[time].append(afferent)
  fired_at, trace, waiting = [], [], []
  for now in range(steps):
    voltage = voltage + (rest - voltage + ring[now]) / tau
    trace.append(voltage.copy())
    fired = voltage >= threshold
    if inhibition and fired.any():
      fired = np.arange(neurons) == np.argmax(voltage)
      voltage[:] = reset
    for neuron in np.flatnonzero(fired):
      voltage[neuron] = reset
      fired_at.append((now, int(neuron)))
    for afferent in at[now]:
      for neuron in range(neurons):
        delay, variance = (synapses[k][neuron, afferent] for k in ("delay", "variance"))
        weight = synapses["weight"][neuron, afferent] if "weight" in synapses else 1.0
        kernel = slow_kernel(round(delay), round(variance * 100) / 100)
        ring[now + 1 : now + 41, neuron] += gain * weight * kernel
      last_input[afferent] = now
    if hasattr(learn, "pre"):  # takes effect at the chunk's end or at an output spike
      waiting += [
        (a, n, learn.pre(now - last_output[n])) for a in at[now] for n in range(neurons)
      ]
      if fired.any() or (now + 1) % CHUNK == 0:
        for afferent, neuron, change in waiting:
          w = synapses["weight"][neuron, afferent] + change
          synapses["weight"][neuron, afferent] = np.clip(w, 0, 1)
        waiting = []
    for neuron in np.flatnonzero(fired):
      learn.post({k: v[neuron] for k, v in synapses.items()}, now - last_input)
      last_output[neuron] = now
  return fired_at, np.array(trace)


class SlowDelays:
  """sSDVL for one synapse after the other."""

  def __init__(self, alpha2):
    self.alpha2 = alpha2

  def post(self, synapses, since):
    for i, t0 in enumerate(since):
      delay, variance = synapses["delay"][i], synapses["variance"][i]
      k = (variance + 0.9) ** 2 * 0.04
      if abs(t0 - delay) >= 3:
        change = k if t0 > delay else -k
      elif t0 >= self.alpha2:
        change = -k
      else:
        change = 0.0
      spread = k if abs(t0 - delay) >= 20 else -k
      synapses["delay"][i] = min(max(delay + change, 1.0), 20.0)
      synapses["variance"][i] = min(max(variance + spread, 0.1), 10.0)


class SlowWeights:
  """Pair STDP for one synapse after the other."""

  def pre(self, since):
    return -0.0265625 * np.exp(-since / 33.7)

  def post(self, synapses, since):
    for i, t in enumerate(since):
      synapses["weight"][i] = min(synapses["weight"][i] + 0.03125 * np.exp(-t / 16.8), 1.0)


@functools.cache
def grid():
  return spiking.kernels()


def embedded(key, seconds_rate=10.0, capacity=320):
  pattern = patterns.uniform_pattern(jax.random.key(key), 500, 50)
  return balanced_input.embedded_patterns(
    jax.random.key(key + 1),
    pattern,
    afferents=2000,
    members=500,
    rate=seconds_rate,
    presentations=5.0,
    length=50,
    slot=7,
    chunk=CHUNK,
    capacity=capacity,
  )


def listed(source, chunks):
  """The same input as a host list of (time, afferent)."""
  draw = balanced_input.draw(source)
  found = jax.jit(jax.vmap(lambda c: draw.events(draw.outline(c))))(jnp.arange(chunks))
  valid = np.asarray(found.valid)
  time = np.asarray(found.step) + CHUNK * np.arange(chunks)[:, None]
  return list(
    zip(time[valid].tolist(), np.asarray(found.afferent)[valid].tolist(), strict=True)
  )


def start(neurons=1, afferents=2000, weight=None, spread=0.0):
  """Synapses with delays 5 and variances 2, spread at random where asked for."""
  rng = np.random.default_rng(0)
  delay = 5 + spread * rng.uniform(-3, 10, (neurons, afferents))
  variance = 2 + spread * rng.uniform(-1.8, 6, (neurons, afferents))
  weights = None if weight is None else jnp.full((neurons, afferents), weight)
  return updates.Synapses(
    jnp.asarray(delay, jnp.float32), jnp.asarray(variance, jnp.float32), weights
  )


def slow(synapses):
  return {k: np.array(v, np.float64) for k, v in synapses._asdict().items() if v is not None}


def simulate(rule, membrane, draw, synapses, chunks, **options):
  state = spiking.layer(synapses, grid(), membrane, CHUNK)
  run = jax.jit(
    lambda state: spiking.run(grid(), membrane, rule, draw, state, chunks, **options)
  )
  return jax.device_get(run(state))


CASES = {
  "integrator": (updates.simplified_sdvl(), SlowDelays(20), 20.0, 0.49, None, 1, False),
  "detector": (updates.simplified_sdvl(), SlowDelays(20), 3.0, 0.44, None, 1, False),
  "print": (
    updates.simplified_sdvl(reading="print"),
    SlowDelays(3),
    20.0,
    0.49,
    None,
    1,
    False,
  ),
  "stdp": (updates.pair_stdp(), SlowWeights(), 20.0, 1.2, 0.475, 1, False),
  "layer": (updates.simplified_sdvl(), SlowDelays(20), 20.0, 0.47, None, 3, False),
  "inhibition": (updates.simplified_sdvl(), SlowDelays(20), 10.0, 0.47, None, 3, True),
}


@pytest.mark.parametrize("case", CASES)
def test_same_spikes_as_a_slow_simulator_for_five_seconds(case):
  rule, learn, tau, gain, weight, neurons, inhibition = CASES[case]
  seconds = 5 if neurons == 1 else 2
  chunks = seconds * 1000 // CHUNK
  source, membrane = embedded(3), spiking.Membrane(tau)
  synapses = start(neurons, weight=weight, spread=float(neurons > 1))
  state, spikes = simulate(
    rule,
    membrane,
    balanced_input.draw(source),
    synapses,
    chunks,
    gain=lambda chunk: gain,
    inhibition=inhibition,
  )
  expected_synapses = slow(synapses)
  expected, _ = slow_simulator(
    listed(source, chunks),
    expected_synapses,
    (tau, -55.0, -65.0, -70.0),
    learn,
    gain=gain,
    steps=chunks * CHUNK,
    inhibition=inhibition,
  )
  count = int(spikes.count)
  assert count > 5, "nothing was compared"
  found = list(zip(spikes.time[:count].tolist(), spikes.neuron[:count].tolist(), strict=True))
  assert found == expected
  assert np.all(spikes.time[count:] == -1)
  for name, values in expected_synapses.items():
    np.testing.assert_allclose(getattr(state.synapses, name), values, atol=2e-4)
  assert int(state.chunk) == chunks and int(state.overflow) == 0


# --- by hand


def test_voltage_of_a_neuron_with_two_synapses_by_hand():
  # Afferent 0 at 2 ms through μ = 3, σ = 0.5; afferent 1 at 4 ms through μ = 1, σ = 2.
  synapses = updates.Synapses(jnp.asarray([[3.0, 1.0]]), jnp.asarray([[0.5, 2.0]]))
  membrane = spiking.Membrane(4.0, threshold=jnp.inf)
  events = spike_trains.from_lists([0, 1], [2, 4], chunk=20, chunks=1, capacity=2)
  first = jax.tree.map(lambda x: x[0], events)
  state = spiking.layer(synapses, grid(), membrane, 20)
  due, pending = spiking.drive(grid(), state.rows, None, first, state.pending)
  trace = spiking.integrate(membrane, state.voltage, 10.0 * due)[0]

  def gauss(t, delay, variance):
    total = sum(np.exp(-((j - delay) ** 2) / (2 * variance)) for j in range(1, 41))
    return np.exp(-((t - delay) ** 2) / (2 * variance)) / total if t >= 1 else 0.0

  voltage, expected = -65.0, []
  for t in range(20):
    current = 10.0 * (gauss(t - 2, 3, 0.5) + gauss(t - 4, 1, 2.0))
    voltage += (-65.0 - voltage + current) / 4.0
    expected.append(voltage)
  # In float32, 1e-6 of what moves: the distance from rest.
  np.testing.assert_allclose(trace + 65.0, np.add(expected, 65.0), atol=1e-5)
  with jax.enable_x64(True):
    exact = spiking.integrate(
      membrane, jnp.float64(-65.0), 10.0 * jnp.asarray(np.asarray(due[0], np.float64))
    )
    np.testing.assert_allclose(exact, expected, atol=1e-6)
  assert trace[2] == -65.0 and trace[3] > -65.0  # a spike arrives a step later at the earliest
  total = float(due.sum() + pending.sum())
  np.testing.assert_allclose(total, 2.0, rtol=1e-6)


def test_every_kernel_has_the_same_integral():
  found = grid()
  sums = np.asarray(found.table[:-1], np.float64).sum(-1)
  assert found.table.shape == (20 * 996 + 1, 40)
  np.testing.assert_allclose(sums, 1.0, atol=3e-7)
  np.testing.assert_array_equal(found.table[-1], 0.0)


@pytest.mark.parametrize("factor", [2.0, 1.0])
def test_rows_of_the_table_are_the_gaussians_of_the_synapses(factor):
  found = spiking.kernels(factor=factor)
  for delay, variance in [(1.0, 0.1), (1.4, 10.0), (20.0, 0.1), (7.0, 3.22), (19.6, 9.994)]:
    row = spiking.kernel_rows(
      found,
      start(1, 1)._replace(delay=jnp.full((1, 1), delay), variance=jnp.full((1, 1), variance)),
    )
    t = np.arange(1, 41)
    spread = round(variance * factor / 2, 2)  # rounded on the grid of the table
    shape = np.exp(-((t - round(delay)) ** 2) / (2 * spread))
    np.testing.assert_allclose(found.table[row[0, 0]], shape / shape.sum(), atol=2e-5)


def test_narrow_gaussians_between_two_steps_do_not_vanish():
  shape = spiking.gaussian(jnp.float32(5.5), jnp.float32(1e-4), 40)
  np.testing.assert_allclose(shape[4:6], 0.5, atol=1e-6)
  np.testing.assert_allclose(shape.sum(), 1.0, rtol=1e-6)


def test_membrane_step_and_reset():
  membrane = spiking.Membrane(20.0)
  voltage = spiking.membrane_step(membrane, jnp.float32(-60.0), jnp.float32(2.0))
  np.testing.assert_allclose(voltage, -60.0 + (-5.0 + 2.0) / 20, rtol=1e-7)
  after, fired = spiking.fire(membrane, jnp.asarray([-55.0, -55.001]))
  np.testing.assert_allclose(after, [-70.0, -55.001])
  assert fired.tolist() == [True, False]


def test_integrate_is_the_step_repeated():
  membrane, rng = spiking.Membrane(3.0), np.random.default_rng(1)
  current = jnp.asarray(rng.uniform(0, 20, (4, 10)), jnp.float32)
  voltage = jnp.asarray(rng.uniform(-70, -55, 4), jnp.float32)
  found = spiking.integrate(membrane, voltage, current)
  for k in range(10):
    voltage = spiking.membrane_step(membrane, voltage, current[:, k])
    np.testing.assert_allclose(found[:, k], voltage, atol=2e-5)


def test_arrivals_shift_every_row_by_its_step():
  injected = jnp.asarray(np.random.default_rng(0).standard_normal((2, 4, 6)), jnp.float32)
  found = np.asarray(spiking.arrivals(injected))
  expected = np.zeros((2, 4, 10), np.float32)
  for s in range(4):
    expected[:, s, s + 1 : s + 7] = injected[:, s, :9]
  np.testing.assert_array_equal(found, expected)


def test_the_length_of_a_chunk_does_not_matter():
  source = embedded(11)
  spikes = listed(source, 200)
  found = []
  for chunk in (5, 10, 25):
    events = spike_trains.from_lists(
      *reversed(list(zip(*spikes, strict=True))),
      chunk=chunk,
      chunks=2000 // chunk,
      capacity=900,
    )
    membrane = spiking.Membrane(5.0)
    state = spiking.layer(start(), grid(), membrane, chunk)
    run = jax.jit(
      lambda state, chunk=chunk, events=events, membrane=membrane: spiking.run(
        grid(),
        membrane,
        updates.simplified_sdvl(),
        spike_trains.recorded(events),
        state,
        2000 // chunk,
        gain=lambda _: 0.48,
      )
    )
    _, output = run(state)
    found.append(output.time[: int(output.count)].tolist())
  assert len(found[0]) > 5
  assert found[0] == found[1] == found[2]


def test_a_run_can_be_cut_anywhere():
  source, membrane, rule = embedded(5), spiking.Membrane(3.0), updates.simplified_sdvl()
  draw = balanced_input.draw(source)

  def run(state, until):
    return spiking.run(grid(), membrane, rule, draw, state, until, gain=lambda _: 0.46)

  run = jax.jit(run)
  begin = spiking.layer(start(), grid(), membrane, CHUNK)
  whole, spikes = run(begin, 150)
  half, first = run(begin, 70)
  rest, second = run(half, 150)
  jax.tree.map(np.testing.assert_array_equal, whole, rest)
  joined = [*first.time[: int(first.count)], *second.time[: int(second.count)]]
  assert joined == spikes.time[: int(spikes.count)].tolist() and len(joined) > 5


# --- overflow


def test_lost_input_spikes_are_counted_and_raise():
  source = embedded(3, capacity=190)  # a chunk has 200 on average
  state, _ = simulate(
    updates.no_learning(), spiking.Membrane(20.0), balanced_input.draw(source), start(), 50
  )
  assert int(state.overflow) > 100
  with pytest.raises(OverflowError, match="capacity"):
    spike_trains.raise_on_overflow(state.overflow)


def test_too_many_output_spikes_are_counted():
  _, spikes = simulate(
    updates.no_learning(),
    spiking.Membrane(3.0),
    balanced_input.draw(embedded(3)),
    start(),
    100,
    gain=lambda _: 1.0,
    capacity=8,
  )
  assert int(spikes.count) > 8 and np.all(np.diff(spikes.time) > 0)
  with pytest.raises(OverflowError):
    spike_trains.raise_on_overflow(spikes.count - 8, "output spikes")


@pytest.mark.parametrize("change", [{"factor": 0.5}, {"delay_range": (0, 20)}, {"window": 10}])
def test_bad_kernels(change):
  with pytest.raises(ValueError, match=r"factor|delays"):
    spiking.kernels(**change)

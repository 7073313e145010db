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
  fired_at, trace = [], []
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
    if hasattr(learn, "pre"):
      for afferent in at[now]:
        for neuron in range(neurons):
          w = synapses["weight"][neuron, afferent] + learn.pre(now - last_output[neuron])
          synapses["weight"][neuron, afferent] = np.clip(w, 0, 1)
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
  return list(zip(time[valid].tolist(), np.asarray(found.afferent)[valid].tolist(), strict=True))


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
  return {
    k: np.array(v, np.float64) for k, v in synapses._asdict().items() if v is not None
  }


def simulate(rule, membrane, draw, synapses, chunks, **options):
  state = spiking.layer(synapses, grid(), membrane, CHUNK)
  run = jax.jit(
    lambda state: spiking.run(grid(), membrane, rule, draw, state, chunks, **options)
  )
  return jax.device_get(run(state))


CASES = {
  "integrator": (updates.simplified_sdvl(), SlowDelays(20), 20.0, 0.49, None, 1, False),
  "detector": (updates.simplified_sdvl(), SlowDelays(20), 3.0, 0.44, None, 1, False),
  "print": (updates.simplified_sdvl(reading="print"), SlowDelays(3), 20.0, 0.49, None, 1, False),
  "stdp": (updates.pair_stdp(), SlowWeights(), 20.0, 1.0, 0.475, 1, False),
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

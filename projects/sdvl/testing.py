"""The test of a trained neuron, with learning off: detections, false alarms, mean voltages.

Without learning the current does not depend on the output, so one simulated current serves
any number of thresholds.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lib.dynamics import balanced_input, spike_trains, spiking
from lib.experiment import Program
from projects.sdvl import neuron

Array = jax.Array


class Tally(NamedTuple):
  """Counts of regions; a region is a presentation's slot or a stretch without any.

  Attributes:
    presentations, detected, gaps, silent: (thresholds,) int32.
    spikes: (thresholds,) int32 output spikes.
  """

  presentations: Array
  detected: Array
  gaps: Array
  silent: Array
  spikes: Array


def _membrane(membrane, voltage, current):
  """(voltage, trace) over (steps,) of current; the trace is before each step's reset."""

  def step(voltage, current):
    moved = spiking.membrane_step(membrane, voltage, current)
    return spiking.fire(membrane, moved)[0], moved

  return lax.scan(step, voltage, current)


def listen(
  grid, rows, weight, membrane, thresholds, source, *, chunks: int, cycle: int, gain
) -> tuple[Tally, Array, Array]:
  """What a neuron does with an input at each threshold, with learning off.

  As in the authors' program a presentation's region is its slot: the pattern and the gap of
  at least the longest delay after it. The first 100 ms are not counted.

  Args:
    grid, rows, weight: synapses of one neuron, see `spiking.drive`.
    membrane: its constants.
    thresholds: (thresholds,) mV, to be counted at.
    source: `balanced_input.Input`.
    chunks: to simulate.
    cycle: chunks in the longest slot.
    gain: the fixed global integral.

  Returns:
    (tally, mean, overflow): mean (2, cycle · steps) mV, the voltage averaged over
    presentations from the start of their slot, without a threshold and at the membrane's;
    NaN after the slot's end.
  """
  steps, draw = source.chunk, balanced_input.draw(source)
  counted = jnp.concatenate([jnp.array([jnp.inf, membrane.threshold]), thresholds])
  membrane = membrane._replace(threshold=counted)
  skipped = -(-100 // steps)
  zero = jnp.zeros(counted.shape, jnp.int32)

  def advance(carry, chunk):
    pending, voltage, region, tally, sums, now, present, following = carry
    # The first two turns only draw: each turn draws what the next ones simulate.
    now = now._replace(count=jnp.where(chunk < 0, 0, now.count))
    due, pending = spiking.drive(grid, rows, weight, now, pending)
    voltage, trace = _membrane(membrane, voltage, gain * due[0])
    count = (trace >= counted).sum(0, dtype=jnp.int32)
    position = chunk % source.slot
    was_presentation, fired_before, counts = region
    fresh = (position == 0) & (present | was_presentation) & (chunk >= 0)
    tally = jax.tree.map(
      lambda a, b: jnp.where(fresh & counts, b, a),
      tally,
      close(tally, was_presentation, fired_before),
    )
    tally = tally._replace(spikes=tally.spikes + count * (chunk >= skipped))
    region = (
      jnp.where(fresh, present, was_presentation),
      jnp.where(fresh, False, fired_before) | (count > 0),
      jnp.where(fresh, chunk >= skipped, counts),
    )
    total, shown = sums
    shows = present & region[2] & (chunk - position + source.slot <= chunks)
    total = total.at[position].add(jnp.where(shows, trace[:, :2] - membrane.rest, 0.0))
    sums = (total, shown + (shows & (position == 0)))
    ahead = (draw.events(following), following.present, draw.outline(chunk + 2))
    return (pending, voltage, region, tally, sums, *ahead), now.overflow

  events, outline = spike_trains.nothing(draw)
  start = (
    jnp.zeros((1, steps + grid.table.shape[1])),
    jnp.full(counted.shape, membrane.rest, jnp.float32),
    (jnp.bool_(False), jnp.zeros(counted.shape, bool), jnp.bool_(False)),
    Tally(zero, zero, zero, zero, zero),
    (jnp.zeros((cycle, steps, 2)), jnp.int32(0)),
    events,
    jnp.bool_(False),
    outline,
  )
  (*_, tally, sums, _, _, _), lost = lax.scan(advance, start, jnp.arange(-2, chunks))
  total, shown = sums
  mean = membrane.rest + total / jnp.maximum(shown, 1)
  mean = jnp.where(jnp.arange(cycle)[:, None, None] < source.slot, mean, jnp.nan)
  tally = jax.tree.map(lambda x: x[2:], tally)
  return tally, mean.reshape(-1, 2).T, lost.sum()


def close(tally: Tally, presentation: Array, fired: Array) -> Tally:
  """The tally after a region has ended."""
  present = presentation.astype(jnp.int32)
  fires = fired.astype(jnp.int32)
  return Tally(
    presentations=tally.presentations + present,
    detected=tally.detected + present * fires,
    gaps=tally.gaps + (1 - present),
    silent=tally.silent + (1 - present) * (1 - fires),
    spikes=tally.spikes,
  )


def scores(tally: Tally) -> dict[str, Array]:
  """Detected and silent shares, and the accuracy: their product."""
  detected = tally.detected / jnp.maximum(tally.presentations, 1)
  silent = tally.silent / jnp.maximum(tally.gaps, 1)
  return {"detected": detected, "silent": silent, "accuracy": detected * silent}


# --- one member of a test --------------------------------------------------------------------


def _test(config, operands):
  """A trained neuron of the operands hears its pattern morphed, jittered, with spikes dropped.

  Returns:
    detected, silent, accuracy, rate (thresholds,); voltage and firing (ms,): see
    `listen`; overflow.
  """
  setting = config.test
  source = neuron.embedded(
    config,
    neuron.TEST,
    morph=setting.morph,
    deviation=setting.jitter,
    dropout=setting.dropout,
    disturbed=operands["disturbed"],
  )
  tally, voltage, lost = listen(
    neuron.kernels(config),
    operands["rows"][setting.neuron][None],
    operands["weight"][setting.neuron][None],
    neuron.membrane(config),
    jnp.asarray(setting.thresholds, jnp.float32),
    source,
    chunks=neuron.chunks(config, 1000 * setting.time),
    cycle=neuron.chunks(config, longest(config) + config.pattern.gap),
    gain=neuron.final_integral(config),
  )
  return {
    **scores(tally),
    "rate": tally.spikes / setting.time,
    "voltage": voltage[0],
    "firing": voltage[1],
    "overflow": lost,
  }


def longest(config) -> float:
  """The longest tested pattern, ms."""
  factors = (1.0, *config.test.morphs, *config.test.fine_morphs)
  return config.pattern.length * max(map(abs, factors))


TEST = Program.once(_test)

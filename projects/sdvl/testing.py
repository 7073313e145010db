"""Tests of a trained neuron, with learning off: detections, false alarms, mean voltages.

Without learning the current does not depend on the output, so one simulated current serves
any number of thresholds.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lib.dynamics import balanced_input, spiking

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


def detections(grid, rows, weight, membrane, thresholds, source, chunks, gain):
  """What a neuron does with an input at each threshold, with learning off.

  As in the authors' program a presentation's region is its slot: the pattern and the gap of
  at least the longest delay after it. The first 100 ms are not counted.

  Args:
    grid, rows, weight: synapses of one neuron, see `spiking.drive`.
    membrane: its constants; the threshold is replaced.
    thresholds: (thresholds,) mV, inf for none.
    source: `balanced_input.Input`.
    chunks: to simulate.
    gain: the fixed global integral.

  Returns:
    (Tally, overflow).
  """
  steps, draw = source.chunk, balanced_input.draw(source)
  membrane = membrane._replace(threshold=thresholds)
  skipped = -(-100 // steps)
  zero = jnp.zeros(thresholds.shape, jnp.int32)

  def advance(carry, chunk):
    pending, voltage, region, tally, now, following = carry
    due, pending = spiking.drive(grid, rows, weight, now, pending)
    voltage, trace = _membrane(membrane, voltage, gain * due[0])
    count = (trace >= thresholds).sum(0, dtype=jnp.int32)
    slot = chunk // source.slot
    at_start = chunk % source.slot == 0
    _, present = balanced_input.presentation(source, slot)
    _, present_before = balanced_input.presentation(source, slot - 1)
    fresh = at_start & (present | present_before)
    was_presentation, fired_before, counts = region
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
    ahead = (draw.events(following), draw.outline(chunk + 2))
    return (pending, voltage, region, tally, *ahead), now.overflow

  start = (
    jnp.zeros((1, steps + grid.table.shape[1])),
    jnp.full(thresholds.shape, membrane.rest, jnp.float32),
    (jnp.bool_(False), jnp.zeros(thresholds.shape, bool), jnp.bool_(False)),
    Tally(zero, zero, zero, zero, zero),
    draw.events(draw.outline(jnp.int32(0))),
    draw.outline(jnp.int32(1)),
  )
  (_, _, _, tally, *_), lost = lax.scan(advance, start, jnp.arange(chunks))
  return tally, lost.sum()


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


def responses(grid, rows, weight, membrane, source, presentations: int, slot: int, gain):
  """Mean voltages over presentations that start every slot, with learning off.

  Args:
    grid, rows, weight, membrane, gain: see `detections`.
    source: input that presents its pattern in each slot of `slot` chunks.
    presentations: how many; one more before them is not averaged.
    slot: chunks in a slot.

  Returns:
    (free, firing, overflow): (slot · steps,) mV from the start of the presentation, without
    and with the threshold.
  """
  steps, draw = source.chunk, balanced_input.draw(source)
  thresholds = jnp.stack([jnp.float32(jnp.inf), jnp.float32(membrane.threshold)])
  membrane = membrane._replace(threshold=thresholds)

  def advance(carry, chunk):
    pending, voltage, now, following = carry
    due, pending = spiking.drive(grid, rows, weight, now, pending)
    voltage, trace = _membrane(membrane, voltage, gain * due[0])
    ahead = (draw.events(following), draw.outline(chunk + 2))
    return (pending, voltage, *ahead), (trace, now.overflow)

  start = (
    jnp.zeros((1, steps + grid.table.shape[1])),
    jnp.full(2, membrane.rest, jnp.float32),
    draw.events(draw.outline(jnp.int32(0))),
    draw.outline(jnp.int32(1)),
  )
  _, (trace, lost) = lax.scan(advance, start, jnp.arange((presentations + 1) * slot))
  mean = trace.reshape(presentations + 1, slot * steps, 2)[1:].mean(0)
  return mean[:, 0], mean[:, 1], lost.sum()

"""What such neurons are for: words of different length and tempo, one neuron for each.

A word is a pattern on the same afferents as every other, in an order and of a length of its
own. Each afferent fires once in each word, so that no rate tells words apart, nor from the
background: only the order of the spikes does.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lib import updates
from lib.dynamics import balanced_input, counter_random, patterns, spike_trains, spiking
from lib.experiment import Program
from projects.sdvl import neuron


def vocabulary(config) -> patterns.Pattern:
  """(words, spikes): the member's words."""
  found = [
    neuron.word(config, number, length) for number, length in enumerate(config.words.lengths)
  ]
  return jax.tree.map(lambda *x: jnp.stack(x), *found)


def heard(config, stream, tempos) -> balanced_input.Input:
  """Input with all words at several tempos, each as often as any other.

  Args:
    config: of the member.
    stream: of the random input.
    tempos: factors of the length; variant w · tempos + t is word w at tempo t.
  """
  words = vocabulary(config)
  factors = jnp.asarray(tempos, jnp.float32)
  times = (words.time[:, None] * factors[:, None]).reshape(-1, config.pattern.spikes)
  afferents = jnp.repeat(words.afferent, len(tempos), 0)
  lengths = np.ceil(np.outer(config.words.lengths, tempos) - 1e-3).astype(int).ravel()
  return balanced_input.embedded_patterns(
    neuron.key(config, stream),
    patterns.Pattern(times, afferents),
    afferents=config.afferents,
    members=config.pattern.spikes,
    rate=config.rate,
    presentations=config.presentations,
    length=lengths,
    slot=slot(config, tempos),
    chunk=config.chunk,
    capacity=config.capacity,
  )


def slot(config, tempos) -> int:
  """Chunks in a slot: the longest word at its slowest, and the gap."""
  longest = max(config.words.lengths) * max(tempos)
  return neuron.chunks(config, longest + config.pattern.gap)


# --- a layer learns all words without a teacher ----------------------------------------------


def _init(config, operands):
  """As many neurons as words, whose first delays are random: equal ones would stay equal."""
  shape = (len(config.words.lengths), config.afferents)
  counter = jnp.arange(math.prod(shape), dtype=jnp.uint32)
  bits, _ = counter_random.threefry(neuron.key(config, neuron.INITIAL), counter, jnp.uint32(1))
  low, high = config.delay_range
  delay = (low + (high - low) * counter_random.uniform(bits)).reshape(shape)
  variance = jnp.full(shape, config.initial.variance, jnp.float32)
  grid, membrane = neuron.kernels(config), neuron.membrane(config)
  return spiking.layer(updates.Synapses(delay, variance), grid, membrane, config.chunk)


def _step(config, operands, state):
  """An interval in which all words are spoken, at their own tempo."""
  source = heard(config, neuron.LAYER, (1.0,))
  state, spikes, overflow = neuron.learn(config, source, state, config.words.inhibition)
  return state, {"spikes": spikes.count, "overflow": overflow}


def _finish(config, operands, state, history):
  return {
    "rows": state.rows,
    "spikes": history["spikes"],
    "overflow": history["overflow"].max(),
  }


LAYER = Program(
  _init, _step, _finish, lambda config: round(config.words.layer_time / config.interval)
)


# --- all neurons hear all words --------------------------------------------------------------


def _listen(config, operands):
  """Peaks of the voltages, without a threshold, in every slot.

  Returns:
    peak (slots, words) mV; variant (slots,), −1 where nothing was said.
  """
  words, tempos = len(config.words.lengths), tuple(config.words.tempos)
  grid, membrane = neuron.kernels(config), neuron.membrane(config)
  source = heard(config, neuron.TEST, tempos)
  draw, length = balanced_input.draw(source), slot(config, tempos)
  rows = operands["rows"][config.seed - operands["first"]]
  steps = config.chunk

  def advance(carry, chunk):
    pending, voltage, now, following = carry
    now = now._replace(count=jnp.where(chunk < 0, 0, now.count))  # those turns only draw
    due, pending = spiking.drive(grid, rows, None, now, pending)
    trace = spiking.integrate(membrane, voltage, neuron.final_integral(config) * due)
    ahead = (draw.events(following), draw.outline(chunk + 2))
    return (pending, trace[:, -1], *ahead), (trace.max(-1), now.overflow)

  start = (
    jnp.zeros((words, steps + grid.table.shape[1])),
    jnp.full(words, membrane.rest, jnp.float32),
    *spike_trains.nothing(draw),
  )
  slots = neuron.chunks(config, 1000 * config.words.test_time) // length
  _, (peak, lost) = lax.scan(advance, start, jnp.arange(-2, slots * length))
  variant, present = balanced_input.presentation(source, jnp.arange(slots))
  return {
    "peak": peak[2:].reshape(slots, length, words).max(1),
    "variant": jnp.where(present, variant, -1),
    "overflow": lost.sum(),
  }


LISTEN = Program.once(_listen)

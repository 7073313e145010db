"""What such neurons are for: words of different length and tempo, one neuron for each.

A word is a pattern on the same afferents as every other, in an order and of a length of its
own. Each afferent fires once in each word, so that no rate tells words apart, nor from the
background: only the order of the spikes does.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lib.dynamics import balanced_input, counter_random, patterns, spiking
from lib.experiment import Program
from projects.sdvl import neuron


def vocabulary(config) -> patterns.Pattern:
  """(words, spikes): the member's words."""
  found = []
  for index, length in enumerate(config.words.lengths):
    key = counter_random.from_seed(config.seed, 100 + index)
    times = patterns.uniform_pattern(key, config.pattern.spikes, length)
    counter = jnp.arange(config.pattern.spikes, dtype=jnp.uint32)
    bits, _ = counter_random.threefry(key, counter, jnp.uint32(1))
    found.append(times._replace(afferent=jnp.argsort(bits).astype(jnp.int32)))
  return jax.tree.map(lambda *x: jnp.stack(x), *found)


def heard(config, stream, *, share, tempos) -> balanced_input.Input:
  """Input with words at several tempos; variant w · tempos + t is word w at tempo t.

  Args:
    config: of the member.
    stream: of the random input.
    share: (words,) probability of each word.
    tempos: factors of the length.
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
    share=jnp.repeat(jnp.asarray(share), len(tempos)) / len(tempos),
  )


def slot(config, tempos) -> int:
  """Chunks in a slot: the longest word at its slowest, and the gap."""
  longest = max(config.words.lengths) * max(tempos)
  return neuron.chunks(config, longest + config.pattern.gap)


# --- a neuron learns its word ----------------------------------------------------------------


def _init(config, operands):
  return neuron.initial(config)


def _step(config, operands, state):
  """An interval in which only the word `words.word` is spoken, at its own tempo."""
  share = (jnp.arange(len(config.words.lengths)) == config.words.word).astype(jnp.float32)
  source = heard(config, neuron.TRAINING, share=share, tempos=(1.0,))
  state, spikes, overflow = neuron.learn(config, source, state)
  return state, {"spikes": spikes.count, "overflow": overflow}


def _finish(config, operands, state, history):
  return {
    "rows": state.rows[0],
    "spikes": history["spikes"],
    "overflow": history["overflow"].max(),
  }


LEARN = Program(
  _init, _step, _finish, lambda config: round(config.words.train_time / config.interval)
)


# --- all neurons hear all words --------------------------------------------------------------


def _listen(config, operands):
  """Peaks of the voltages, without a threshold, in every slot.

  Returns:
    peak (slots, words) mV; variant (slots,), −1 where nothing was said.
  """
  words, tempos = len(config.words.lengths), tuple(config.words.tempos)
  grid, membrane = neuron.kernels(config), neuron.membrane(config)
  source = heard(config, neuron.TEST, share=jnp.full(words, 1 / words), tempos=tempos)
  draw, length = balanced_input.draw(source), slot(config, tempos)
  rows = operands["rows"][config.seed - operands["first"]]
  steps = config.chunk

  def advance(carry, chunk):
    pending, voltage, now, following = carry
    due, pending = spiking.drive(grid, rows, None, now, pending)
    trace = spiking.integrate(membrane, voltage, neuron.final_integral(config) * due)
    ahead = (draw.events(following), draw.outline(chunk + 2))
    return (pending, trace[:, -1], *ahead), (trace.max(-1), now.overflow)

  start = (
    jnp.zeros((words, steps + grid.table.shape[1])),
    jnp.full(words, membrane.rest, jnp.float32),
    draw.events(draw.outline(jnp.int32(0))),
    draw.outline(jnp.int32(1)),
  )
  slots = neuron.chunks(config, 1000 * config.words.test_time) // length
  _, (peak, lost) = lax.scan(advance, start, jnp.arange(slots * length))
  variant, present = balanced_input.presentation(source, jnp.arange(slots))
  return {
    "peak": peak.reshape(slots, length, words).max(1),
    "variant": jnp.where(present, variant, -1),
    "overflow": lost.sum(),
  }


LISTEN = Program.once(_listen)

"""The paper's neuron and its input, as built from a config."""

import jax.numpy as jnp

from lib import updates
from lib.dynamics import balanced_input, counter_random, patterns, spiking

TRAINING, TEST, LAYER, PATTERN, INITIAL = range(5)  # streams of random numbers


def chunks(config, milliseconds) -> int:
  """Whole chunks that cover a time."""
  return -(-round(milliseconds) // config.chunk)


def kernels(config) -> spiking.Kernels:
  """The table of synaptic currents."""
  return spiking.kernels(
    delay_range=config.delay_range,
    variance_range=config.variance_range,
    factor=config.kernel_factor,
  )


def membrane(config) -> spiking.Membrane:
  """The neuron's constants."""
  neuron = config.neuron
  return spiking.Membrane(neuron.tau, neuron.threshold, neuron.rest, neuron.reset)


def rule(config) -> updates.Rule:
  """The learning rule by its name."""
  ranges = {"delay_range": config.delay_range, "variance_range": config.variance_range}
  setting = config.rule
  if setting.name == "sdvl":
    return updates.sdvl(
      alpha1=setting.alpha,
      alpha2=setting.alpha2,
      beta1=setting.beta,
      beta2=setting.beta,
      delay_rate=setting.rate,
      variance_rate=setting.rate * setting.variance_share,
      **ranges,
    )
  if setting.name == "stdp":
    return updates.pair_stdp(
      potentiation=setting.potentiation,
      depression=setting.potentiation * setting.depression_ratio,
    )
  return updates.no_learning()


def synapses(config) -> updates.Synapses:
  """One neuron before learning; weights only where the rule changes them."""
  shape = (1, config.afferents)
  weighted = config.rule.name == "stdp"
  return updates.Synapses(
    delay=jnp.full(shape, config.initial.delay, jnp.float32),
    variance=jnp.full(shape, config.initial.variance, jnp.float32),
    weight=jnp.full(shape, config.initial.weight, jnp.float32) if weighted else None,
  )


def global_integral(config):
  """chunk -> fixed global integral: `fgi`, falling to `fgi_end` where `fgi_fall` is not 0."""
  start, end, fall = config.neuron.fgi, config.neuron.fgi_end, config.neuron.fgi_fall

  def gain(chunk):
    share = jnp.clip(chunk * (config.chunk / 1000.0) / jnp.maximum(fall, 1e-6), 0.0, 1.0)
    return jnp.where(fall > 0, start + (end - start) * share, start)

  return gain


def final_integral(config):
  """The fixed global integral after training."""
  return jnp.where(config.neuron.fgi_fall > 0, config.neuron.fgi_end, config.neuron.fgi)


def key(config, stream):
  """The key of one stream of a member, as words."""
  return counter_random.from_seed(config.seed, 1 + stream)


def pattern(config) -> patterns.Pattern:
  """The pattern that the member learns."""
  return word(config, config.pattern.word, config.pattern.length)


def word(config, number, length) -> patterns.Pattern:
  """A pattern of a member's vocabulary; −1 is the paper's, with afferents as they fire."""
  paper = key(config, PATTERN)
  own = jnp.stack(counter_random.threefry(paper, number, jnp.uint32(1)))
  drawn = patterns.uniform_pattern(
    jnp.where(number < 0, paper, own), config.pattern.spikes, length
  )
  bits, _ = counter_random.threefry(own, drawn.afferent, jnp.uint32(2))
  order = jnp.argsort(bits).astype(jnp.int32)
  return drawn._replace(afferent=jnp.where(number < 0, drawn.afferent, order))


def initial(config) -> spiking.Layer:
  """The neuron before it has heard anything."""
  return spiking.layer(synapses(config), kernels(config), membrane(config), config.chunk)


def learn(config, source, state, inhibition=False):
  """An interval of input from `source` while the synapses learn.

  Args:
    config: of the member.
    source: `balanced_input.Input`.
    state: one neuron or a layer.
    inhibition: see `spiking.advance`.

  Returns:
    (state, output spikes, input and output spikes that did not fit their lists).
  """
  state, spikes = spiking.run(
    kernels(config),
    membrane(config),
    rule(config),
    balanced_input.draw(source),
    state,
    state.chunk + chunks(config, 1000 * config.interval),
    gain=global_integral(config),
    inhibition=inhibition,
    capacity=round(config.max_rate * config.interval) * state.voltage.shape[0],
  )
  lost = jnp.maximum(spikes.count - spikes.time.shape[0], 0)
  return state, spikes, state.overflow + lost


def embedded(config, stream, *, morph=1.0, **disturbance):
  """Input with the (morphed) pattern, in slots of the pattern and the gap after it.

  Args:
    config: of the member.
    stream: TRAINING or TEST.
    morph: factor, negative for the reversed pattern.
    **disturbance: deviation, dropout and disturbed of `balanced_input`.
  """
  length = config.pattern.length
  morphed = patterns.morph(pattern(config), length, morph)
  long = jnp.ceil(length * jnp.abs(morph) - 1e-3).astype(jnp.int32)
  return balanced_input.embedded_patterns(
    key(config, stream),
    morphed,
    afferents=config.afferents,
    members=config.pattern.spikes,
    rate=config.rate,
    presentations=config.presentations,
    length=long,
    slot=-(-(long + config.pattern.gap) // config.chunk),
    chunk=config.chunk,
    capacity=config.capacity,
    **disturbance,
  )

"""Poisson input with embedded patterns in which no rate gives the pattern away.

Time is cut into slots of whole chunks. A slot starts with a presentation of one of the
patterns with a given probability. Every afferent fires at the same mean rate, and the total
rate is the same inside and outside presentations: pattern afferents fire once in each and are
quieter outside, the others (distractors) are quieter inside and busier outside.

Everything is a function of (key, chunk number): a chunk can be drawn again at any time, and
nothing is stored.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lib.dynamics import counter_random, patterns, spike_trains
from lib.dynamics.patterns import Pattern
from lib.dynamics.spike_trains import Events, poisson_cdf, poisson_count

Array = jax.Array
_NOISE, _COUNT, _SLOT, _CHANGE = (i << 24 for i in range(4))  # parts of the counter

BEYOND = 128  # counts beyond the capacity that are still drawn, so that an overflow shows


class Rates(NamedTuple):
  """Expected spikes a ms of whole groups: what balances the input.

  Attributes:
    pattern_outside: of all pattern afferents, outside presentations.
    distractors_outside, distractors_inside: of all distractors; (variants,) inside.
  """

  pattern_outside: Array
  distractors_outside: Array
  distractors_inside: Array


def balanced_rates(
  *, afferents: int, spikes, rate, presentations, lengths: Array, shares: Array
) -> Rates:
  """Rates that hide the patterns.

  With r the rate of every afferent, ρ_v the presentations of pattern v a ms, L_v its length
  and k the spikes in a presentation, each of one of the K pattern afferents:
    pattern afferents outside  (K r − k Σρ_v) / (1 − Σ ρ_v L_v),
    distractors inside         N r − k / L_v,
    distractors outside        N r minus the pattern afferents', so that the total is N r.
  For one pattern of K = k spikes these are the paper's (10 − 5)/(1 − 5·0.05) Hz and
  10·0.05·2000 − 500 spikes.

  Args:
    afferents: N.
    spikes: (K, k): pattern afferents, and expected spikes in a presentation.
    rate: r, Hz.
    presentations: Σ ρ_v, Hz.
    lengths: (variants,) ms.
    shares: (variants,) probability of each pattern, given a presentation.

  A rate below 0 (a pattern denser than the background, or more presentations than an
  afferent has spikes) cannot be balanced: `check_rates`.
  """
  members, fired = spikes
  per_ms = presentations / 1000.0
  total = afferents * rate / 1000.0
  outside = 1.0 - per_ms * jnp.sum(shares * lengths)
  quiet = (members * rate / 1000.0 - fired * per_ms) / outside
  return Rates(quiet, total - quiet, total - fired / lengths)


def check_rates(rates: Rates) -> None:
  """Host-side check that the input can be balanced.

  Raises:
    ValueError: a rate is negative.
  """
  for name, value in rates._asdict().items():
    if float(jnp.min(value)) < -1e-4:
      raise ValueError(
        f"the input cannot be balanced: {name.replace('_', ' ')} would have "
        f"{float(jnp.min(value)):.3g} spikes a ms"
      )


class Input(NamedTuple):
  """Input with embedded patterns, see `embedded_patterns`; arrays only.

  Attributes:
    key: (2,) uint32.
    pattern: (variants, spikes) times and afferents.
    length: (variants,) int32, ms.
    share: (variants,) cumulative probability of the variants.
    probability: of a presentation in a slot.
    slot: () int32, chunks in a slot.
    members: () int32, K: pattern afferents are 0 .. K − 1.
    afferents: () int32, N.
    rates: of the background.
    cdf: (variants, chunk + 1, capacity + BEYOND) of the number of background spikes of a
      chunk of which so many steps lie in a presentation.
    deviation, dropout: of the spikes of each presentation; None where there are none.
    disturbed: () bool, or None: where it is False these two are not applied.
  """

  key: Array
  pattern: Pattern
  length: Array
  share: Array
  probability: Array
  slot: Array
  members: Array
  afferents: Array
  rates: Rates
  cdf: Array
  deviation: Array | None
  dropout: Array | None
  disturbed: Array | None

  @property
  def chunk(self) -> int:
    """Steps of 1 ms in a chunk."""
    return self.cdf.shape[-2] - 1

  @property
  def capacity(self) -> int:
    """Length of the event lists."""
    return self.cdf.shape[-1] - BEYOND


def embedded_patterns(
  key: Array,
  pattern: Pattern,
  *,
  afferents: int,
  members: int,
  rate,
  presentations,
  length,
  slot,
  chunk: int,
  capacity: int,
  share=None,
  deviation=None,
  dropout=None,
  disturbed=None,
) -> Input:
  """Input in which one of some patterns starts a slot now and then.

  Args:
    key: of all randomness, a `jax.random.key` or the words of one.
    pattern: (spikes,), or (variants, spikes); times in [0, length).
    afferents: N.
    members: K; the patterns use afferents 0 .. K − 1, each spike another one.
    rate: of every afferent, Hz.
    presentations: on average, Hz.
    length: of the pattern or (variants,), whole ms.
    slot: chunks in a slot; at least as long as a pattern.
    chunk: steps of 1 ms in a chunk.
    capacity: of an event list, see `poisson_capacity`.
    share: (variants,) probability of each pattern, by default equal.
    deviation: of a Gaussian jitter of the times in each presentation, ms.
    dropout: probability with which a pattern's spike is left out of a presentation.
    disturbed: whether `deviation` and `dropout` are applied, by default always. One that a
      whole batch shares spares an undisturbed batch the work.
  """
  time, afferent = (jnp.atleast_2d(x) for x in pattern)
  variants = time.shape[0]
  length = jnp.broadcast_to(jnp.asarray(length, jnp.int32), (variants,))
  share = jnp.full(variants, 1 / variants) if share is None else jnp.asarray(share)
  present = time.shape[1] * (1.0 if dropout is None else 1.0 - dropout)
  rates = balanced_rates(
    afferents=afferents,
    spikes=(members, present),
    rate=rate,
    presentations=presentations,
    lengths=length.astype(jnp.float32),
    shares=share,
  )
  inside = jnp.arange(chunk + 1, dtype=jnp.float32)
  total = rates.pattern_outside + rates.distractors_outside
  mean = inside * rates.distractors_inside[:, None] + (chunk - inside) * total
  slot = jnp.asarray(slot, jnp.int32)
  return Input(
    key=counter_random.words(key),
    pattern=Pattern(time, afferent),
    length=length,
    share=jnp.cumsum(share),
    probability=jnp.asarray(presentations * slot * chunk / 1000.0, jnp.float32),
    slot=slot,
    members=jnp.asarray(members, jnp.int32),
    afferents=jnp.asarray(afferents, jnp.int32),
    rates=rates,
    cdf=poisson_cdf(jnp.maximum(mean, 0.0), capacity + BEYOND),
    deviation=deviation,
    dropout=dropout,
    disturbed=None if disturbed is None else jnp.asarray(disturbed),
  )


def presentation(source: Input, slot: Array) -> tuple[Array, Array]:
  """(which pattern, whether any) at the start of slots, arrays of their shape."""
  bits = counter_random.threefry(source.key, slot, jnp.uint32(_SLOT))
  which, whether = (counter_random.uniform(b) for b in bits)
  passed = jnp.sum(which[..., None] >= source.share, -1, dtype=jnp.int32)
  variant = jnp.minimum(passed, source.length.shape[0] - 1)
  return variant, whether < source.probability


def presented(source: Input, slot: Array, variant: Array, low: Array, high: Array) -> Pattern:
  """The pattern as it appears in a slot, after jitter and dropout.

  Where these are applied only its spikes in [low, high) ms are in it, in front.
  """
  pattern = jax.tree.map(lambda x: x[variant], source.pattern)
  if source.deviation is None and source.dropout is None:
    return pattern

  def disturbed():
    index = jnp.arange(pattern.time.shape[0], dtype=jnp.uint32)
    shift, keep = counter_random.threefry(source.key, slot, jnp.uint32(_CHANGE) + index)
    found = pattern
    if source.deviation is not None:
      length = source.length[variant].astype(jnp.float32)
      found = patterns.jitter(shift, found, source.deviation, length)
    if source.dropout is not None:
      found = patterns.drop(keep, found, source.dropout)
    return patterns.between(found, low, high)

  if source.disturbed is None:
    return disturbed()
  return jax.lax.cond(source.disturbed, disturbed, lambda: pattern)


class Outline(NamedTuple):
  """What a chunk holds, but for the spikes themselves; () int32 but for the pattern.

  Attributes:
    chunk: its number.
    slot, variant: of the slot it lies in, and of the pattern presented in that.
    position: ms from the start of the slot.
    present: bool, whether the slot has a presentation.
    inside: steps of the chunk that lie in a presentation, its first ones.
    first, of_pattern: the pattern's spikes in the chunk: index of the first, how many.
    noise: background spikes.
    pattern: (spikes,) the pattern as presented, where jitter or dropout change it.
  """

  chunk: Array
  slot: Array
  variant: Array
  position: Array
  present: Array
  inside: Array
  first: Array
  of_pattern: Array
  noise: Array
  pattern: Pattern | None


def outline(source: Input, chunk: Array) -> Outline:
  """The outline of a chunk, int32 from 0."""
  steps = source.chunk
  slot, position = chunk // source.slot, chunk % source.slot * steps
  variant, present = presentation(source, slot)
  pattern = presented(source, slot, variant, position, position + steps)
  time = pattern.time
  changed = source.deviation is not None or source.dropout is not None
  first = jnp.sum(time < position, dtype=jnp.int32)
  of_pattern = jnp.sum(time < position + steps, dtype=jnp.int32) - first
  inside = jnp.where(present, jnp.clip(source.length[variant] - position, 0, steps), 0)
  bits, _ = counter_random.threefry(source.key, chunk, jnp.uint32(_COUNT))
  noise = poisson_count(counter_random.uniform(bits), source.cdf[variant, inside])
  return Outline(
    chunk,
    slot,
    variant,
    position,
    present,
    inside,
    first,
    jnp.where(present, of_pattern, 0),
    noise,
    pattern if changed else None,
  )


def events(source: Input, chunk: Outline) -> Events:
  """The spikes of a chunk: those of the pattern first, then the background's."""
  steps, capacity = source.chunk, source.capacity
  index = jnp.arange(capacity)
  pattern = chunk.pattern
  if pattern is None:
    pattern = jax.tree.map(lambda x: x[chunk.variant], source.pattern)
  where = jnp.minimum(chunk.first + index, pattern.time.shape[0] - 1)
  pattern_step = jnp.clip(pattern.time[where].astype(jnp.int32) - chunk.position, 0, steps - 1)
  afferent, step = _background(source, chunk, index)
  of_pattern = index < chunk.of_pattern
  return spike_trains.events(
    jnp.where(of_pattern, pattern.afferent[where], afferent),
    jnp.where(of_pattern, pattern_step, step),
    chunk.of_pattern + chunk.noise,
  )


def draw(source: Input) -> spike_trains.Draw:
  """The input as a source of spikes for `spiking.run`."""
  return spike_trains.Draw(partial(outline, source), partial(events, source))


def _background(source, chunk, index):
  """Afferents and steps of background spikes: a piecewise constant density over the chunk.

  The first word of random bits places a spike in time, the second picks its afferent.
  """
  rates, steps, inside = source.rates, source.chunk, chunk.inside
  bits = counter_random.threefry(
    source.key, chunk.chunk, jnp.uint32(_NOISE) + index.astype(jnp.uint32)
  )
  time, pick = (counter_random.uniform(b) for b in bits)
  before = rates.distractors_inside[chunk.variant]  # spikes a ms in the presentation
  after = rates.pattern_outside + rates.distractors_outside
  area = time * (before * inside + after * (steps - inside))
  early = area < before * inside
  step = jnp.where(
    early,
    area * (1.0 / jnp.maximum(before, 1e-6)),
    inside + (area - before * inside) * (1.0 / after),
  )
  share = jnp.where(early, 0.0, rates.pattern_outside / after)
  members = source.members.astype(jnp.float32)
  others = source.afferents.astype(jnp.float32) - members
  afferent = jnp.where(
    pick < share,
    pick * (after / rates.pattern_outside) * members,
    members + (pick - share) / (1.0 - share) * others,
  ).astype(jnp.int32)
  return (
    jnp.clip(afferent, 0, source.afferents - 1),
    jnp.clip(step.astype(jnp.int32), 0, steps - 1),
  )

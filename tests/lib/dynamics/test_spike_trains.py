"""Event lists, patterns, and the statistics of balanced input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lib.dynamics import balanced_input, counter_random, patterns, spike_trains

# --- random numbers


def test_threefry_against_the_published_vectors():
  # Random123's known answers for threefry2x32 with 20 rounds.
  for counter, key, expected in [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
  ]:
    key = jnp.asarray(key, jnp.uint32)
    found = counter_random.threefry(key, *(jnp.uint32(c) for c in counter))
    assert tuple(int(x) for x in found) == expected


def test_words_and_streams():
  key = jax.random.key(7)
  np.testing.assert_array_equal(counter_random.words(key), jax.random.key_data(key))
  np.testing.assert_array_equal(counter_random.from_seed(7), jax.random.key_data(key))
  streams = [tuple(np.asarray(counter_random.from_seed(7, i)).tolist()) for i in range(5)]
  assert len(set(streams)) == 5


def test_uniform_and_normal():
  counter = jnp.arange(200_000, dtype=jnp.uint32)
  bits, others = counter_random.threefry(counter_random.from_seed(1), counter, jnp.uint32(0))
  uniform = np.asarray(counter_random.uniform(bits), np.float64)
  assert uniform.min() >= 0 and uniform.max() < 1
  assert stats.kstest(uniform, "uniform").pvalue > 1e-4
  normal = np.asarray(counter_random.normal(others), np.float64)
  assert np.all(np.isfinite(normal))
  assert stats.kstest(normal, "norm").pvalue > 1e-4
  assert abs(np.corrcoef(uniform, normal)[0, 1]) < 5 / np.sqrt(len(uniform))


@pytest.mark.parametrize("mean", [0.0, 0.5, 20.0, 200.0])
def test_poisson_capacity_and_cdf_against_scipy(mean):
  capacity = spike_trains.poisson_capacity(mean)
  assert stats.poisson.sf(capacity, mean) < 1e-9
  if mean:
    assert stats.poisson.sf(capacity - 1, mean) >= 1e-9
  cdf = spike_trains.poisson_cdf(jnp.float32(mean), capacity + 5)
  np.testing.assert_allclose(cdf, stats.poisson.cdf(np.arange(capacity + 5), mean), atol=2e-5)
  assert float(cdf[-1]) == 1.0  # the largest uniform number is inside the table


def test_poisson_counts():
  bits, _ = counter_random.threefry(
    counter_random.from_seed(3), jnp.arange(100_000, dtype=jnp.uint32), jnp.uint32(1)
  )
  cdf = spike_trains.poisson_cdf(jnp.float32(7.0), 40)
  found = np.asarray(spike_trains.poisson_count(counter_random.uniform(bits), cdf))
  table = np.bincount(found, minlength=40)[:20]
  expected = 100_000 * stats.poisson.pmf(np.arange(20), 7.0)
  assert np.all(np.abs(table - expected) < 5 * np.sqrt(expected) + 1)


# --- lists


def test_lists_by_hand():
  events = spike_trains.from_lists(
    [7, 3, 7, 9], [0, 12, 12, 39], chunk=10, chunks=3, capacity=3
  )
  assert events.count.tolist() == [1, 2, 0]
  assert events.valid.tolist() == [[True, False, False], [True, True, False], [False] * 3]
  assert events.afferent[1, :2].tolist() == [3, 7] and events.step[1, :2].tolist() == [2, 2]
  spike_trains.raise_on_overflow(events.overflow)
  short = spike_trains.from_lists([1, 2, 3], [0, 1, 2], chunk=10, chunks=1, capacity=2)
  assert short.overflow.tolist() == [1]
  with pytest.raises(OverflowError, match="1 input spikes"):
    spike_trains.raise_on_overflow(short.overflow)


# --- patterns


def pattern():
  return patterns.uniform_pattern(jax.random.key(0), 500, 50.0)


def test_a_pattern_is_sorted_and_uniform():
  found = pattern()
  time = np.asarray(found.time)
  assert np.all(np.diff(time) >= 0) and time[0] >= 0 and time[-1] < 50
  assert stats.kstest(time / 50, "uniform").pvalue > 1e-4
  assert found.afferent.tolist() == list(range(500))
  shuffled = patterns.shuffle(jax.random.key(1), found)
  assert sorted(shuffled.afferent.tolist()) == list(range(500))


def test_reversal_of_a_reversal_is_the_identity():
  found = pattern()
  twice = patterns.reverse(patterns.reverse(found, 50.0), 50.0)
  np.testing.assert_allclose(twice.time, found.time, atol=4e-6)
  np.testing.assert_array_equal(twice.afferent, found.afferent)


def test_morphs_by_hand():
  small = patterns.Pattern(jnp.asarray([1.0, 4.0, 8.0]), jnp.arange(3))
  np.testing.assert_allclose(patterns.morph(small, 10.0, 1.5).time, [1.5, 6.0, 12.0])
  backward = patterns.morph(small, 10.0, -0.5)
  np.testing.assert_allclose(backward.time, [1.0, 3.0, 4.5])
  assert backward.afferent.tolist() == [2, 1, 0]
  np.testing.assert_allclose(patterns.stretch(small, 2.0).time, [2.0, 8.0, 16.0])


def test_jitter_is_gaussian_inside_and_reflected_at_the_ends():
  bits, keep = counter_random.threefry(
    counter_random.from_seed(2), jnp.arange(20_000, dtype=jnp.uint32), jnp.uint32(0)
  )
  middle = patterns.Pattern(jnp.full(20_000, 25.0), jnp.arange(20_000))
  moved = np.asarray(patterns.jitter(bits, middle, 2.0, 50.0).time)
  assert stats.kstest((moved - 25) / 2, "norm").pvalue > 1e-4
  edge = patterns.Pattern(jnp.where(jnp.arange(20_000) < 10_000, 0.5, 49.5), middle.afferent)
  moved = np.asarray(patterns.jitter(bits, edge, 3.0, 50.0).time)
  assert moved.min() >= 0 and moved.max() < 50
  dropped = patterns.drop(keep, middle, 0.3)
  share = np.isinf(dropped.time).mean()
  assert abs(share - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 20_000)
  again = np.asarray(patterns.jitter(bits, dropped, 3.0, 50.0).time)
  assert np.isinf(again).mean() == share


def test_a_stretch_of_a_pattern_by_hand():
  whole = patterns.Pattern(jnp.array([7.0, 2.0, jnp.inf, 4.0, 5.0]), jnp.arange(5))
  found = patterns.between(whole, 2, 5)
  assert found.time.tolist() == [2.0, 4.0, np.inf, np.inf, np.inf]
  assert found.afferent[:2].tolist() == [1, 3]


# --- balanced input

CHUNK, SECONDS = 10, 150


def source(morph=1.0, dropout=None, deviation=None, lengths=None, seed=0):
  drawn = patterns.uniform_pattern(jax.random.key(seed), 500, 50.0)
  if lengths is None:
    length, shape = round(50 * abs(morph)), patterns.morph(drawn, 50.0, morph)
  else:
    keys = jax.random.split(jax.random.key(seed), len(lengths))
    each = [patterns.uniform_pattern(k, 500, n) for k, n in zip(keys, lengths, strict=True)]
    each = [patterns.shuffle(k, p) for k, p in zip(keys, each, strict=True)]
    shape = jax.tree.map(lambda *x: jnp.stack(x), *each)
    length = jnp.asarray(lengths)
  longest = int(np.max(length))
  return balanced_input.embedded_patterns(
    jax.random.key(seed + 100),
    shape,
    afferents=2000,
    members=500,
    rate=10.0,
    presentations=5.0,
    length=length,
    slot=-(-(longest + 20) // CHUNK),
    chunk=CHUNK,
    capacity=340,
    deviation=deviation,
    dropout=dropout,
  )


@functools.cache
def drawn(**changes):
  """(spikes of each afferent, spikes of each ms, whether each ms is in a presentation)."""
  found = source(**dict(changes))
  draw = balanced_input.draw(found)

  def counts(chunk):
    outline = draw.outline(chunk)
    events = draw.events(outline)
    one = events.valid.astype(jnp.int32)
    by_step = jnp.zeros(CHUNK, jnp.int32).at[events.step].add(one)
    inside = jnp.arange(CHUNK) < outline.inside
    return events.afferent, one, by_step, inside, outline.variant, events.overflow

  def scan(total, chunk):
    afferent, one, by_step, inside, variant, lost = counts(chunk)
    return total.at[afferent].add(one), (by_step, inside, variant, lost)

  run = jax.jit(
    lambda: jax.lax.scan(scan, jnp.zeros(2000, jnp.int32), jnp.arange(SECONDS * 100))
  )
  total, (by_step, inside, variant, lost) = run()
  assert int(lost.sum()) == 0
  return np.asarray(total), np.asarray(by_step).ravel(), np.asarray(inside).ravel(), variant


CASES = [
  {},
  {"morph": 0.5},
  {"morph": -1.5},
  {"morph": 2.0},
  {"dropout": 0.3, "deviation": 3.0},
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_every_afferent_fires_at_ten_hertz(case):
  total, _, inside, _ = drawn(**CASES[case])
  expected = 10.0 * SECONDS
  assert np.abs(total - expected).max() < 5 * np.sqrt(expected)
  # The number of presentations, a binomial: 5 a second.
  length = 50 * abs(CASES[case].get("morph", 1.0))
  slot = 10 * -(-(length + 20) // 10)
  slots, chance = SECONDS * 1000 / slot, 5.0 * slot / 1000
  shown = inside.sum() / length
  assert abs(shown - 5.0 * SECONDS) < 5 * np.sqrt(slots * chance * (1 - chance)) + 1
  # Given these, each group's spikes are Poisson but for the pattern's own.
  rates = source(**CASES[case]).rates
  in_each = 500 * (1 - CASES[case].get("dropout", 0.0))
  outside = float(rates.pattern_outside) * (~inside).sum()
  assert abs(total[:500].sum() - shown * in_each - outside) < 5 * np.sqrt(total[:500].sum())
  others = float(rates.distractors_outside) * (~inside).sum()
  others += float(rates.distractors_inside[0]) * inside.sum()
  assert abs(total[500:].sum() - others) < 5 * np.sqrt(total[500:].sum())


@pytest.mark.parametrize("case", range(len(CASES)))
def test_no_rate_gives_a_presentation_away(case):
  _, by_step, inside, _ = drawn(**CASES[case])
  for part in (by_step[inside], by_step[~inside]):
    assert abs(part.mean() - 20.0) < 5 * np.sqrt(20.0 / part.size)
  background = by_step[~inside]
  assert abs(background.var() - 20.0) < 5 * 20.0 * np.sqrt(2 / background.size) + 0.01


def test_each_presentation_holds_the_pattern_exactly_once():
  found = source()
  draw = balanced_input.draw(found)
  wanted = np.asarray(found.pattern.time[0]).astype(int)
  every = jax.jit(jax.vmap(lambda c: draw.events(draw.outline(c))))(jnp.arange(30 * 7))
  _, present = balanced_input.presentation(found, jnp.arange(30))
  for slot in np.flatnonzero(present):
    one = jax.tree.map(lambda x, slot=slot: x[slot * 7 : slot * 7 + 7], every)
    valid = np.asarray(one.valid)
    time = (np.asarray(one.step) + 10 * np.arange(7)[:, None])[valid]
    afferent = np.asarray(one.afferent)[valid]
    in_pattern = (afferent < 500) & (time < 50)
    order = np.argsort(afferent[in_pattern])
    np.testing.assert_array_equal(afferent[in_pattern][order], np.arange(500))
    np.testing.assert_array_equal(time[in_pattern][order], wanted)
  assert np.sum(present) > 3


def test_several_patterns_share_the_afferents_and_stay_balanced():
  total, by_step, inside, variant = drawn(lengths=(30, 50, 80))
  assert np.abs(total - 10.0 * SECONDS).max() < 5 * np.sqrt(10.0 * SECONDS)
  assert abs(by_step[inside].mean() - 20.0) < 5 * np.sqrt(20.0 / inside.sum())
  counts = np.bincount(np.asarray(variant)[::10], minlength=3)
  assert np.all(np.abs(counts - counts.sum() / 3) < 5 * np.sqrt(counts.sum() * 2 / 9))


def test_input_that_cannot_be_balanced_is_refused():
  rates = balanced_input.balanced_rates(
    afferents=2000,
    spikes=(500, 500),
    rate=10.0,
    presentations=5.0,
    lengths=jnp.asarray([20.0]),
    shares=jnp.asarray([1.0]),
  )
  with pytest.raises(ValueError, match="distractors inside"):
    balanced_input.check_rates(rates)
  fine = balanced_input.balanced_rates(
    afferents=2000,
    spikes=(500, 500),
    rate=10.0,
    presentations=5.0,
    lengths=jnp.asarray([50.0]),
    shares=jnp.asarray([1.0]),
  )
  balanced_input.check_rates(fine)
  # The paper's numbers: 500 (10 − 5)/(1 − 5·0.05) Hz, and 10·0.05·2000 − 500 in 50 ms.
  np.testing.assert_allclose(fine.pattern_outside, 500 * (5 / 0.75) / 1000, rtol=1e-6)
  np.testing.assert_allclose(fine.distractors_inside[0] * 50, 500, rtol=1e-6)

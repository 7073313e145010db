"""Training, tests of trained neurons, and words against slow obvious versions."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import sdvl as config_file
from lib.dynamics import balanced_input, spiking
from lib.experiment import UserError, bind
from projects.sdvl import experiment, neuron, testing, words


def config(**changes):
  found = config_file.get_config("smoke")
  with found.unlocked():
    for key, value in changes.items():
      node, *path = key.split("__")[::-1]
      target = found
      for part in path[::-1]:
        target = target[part]
      target[node] = value
  return found


def drawn(source, chunks):
  """Host lists of a source: [(time, afferent), ...]."""
  draw = balanced_input.draw(source)
  every = jax.jit(jax.vmap(lambda c: draw.events(draw.outline(c))))(jnp.arange(chunks))
  valid = np.asarray(every.valid)
  time = np.asarray(every.step) + source.chunk * np.arange(chunks)[:, None]
  return np.asarray(time)[valid], np.asarray(every.afferent)[valid]


def currents(grid, rows, source, chunks):
  """The current of every ms, one spike at a time."""
  total = np.zeros(chunks * source.chunk + 41)
  table = np.asarray(grid.table, np.float64)
  for time, afferent in zip(*drawn(source, chunks), strict=True):
    total[time + 1 : time + 41] += table[rows[afferent]]
  return total[: chunks * source.chunk]


@functools.cache
def setting():
  """A neuron that fires now and then: all delays 5, and its input."""
  c = config()
  grid = neuron.kernels(c)
  rows = spiking.kernel_rows(grid, neuron.synapses(c))
  return c, grid, rows, neuron.embedded(c, neuron.TEST)


@functools.cache
def heard(morph, disturbed):
  """What `testing.listen` finds in 4 s, with jitter and dropped spikes where disturbed."""
  c, grid, rows, _ = setting()
  thresholds = jnp.array([-56.5, -55.5, -55.0, -54.0, 100.0])

  @jax.jit
  def listen(disturbed):
    source = neuron.embedded(
      c, neuron.TEST, morph=morph, deviation=3.0, dropout=0.3, disturbed=disturbed
    )
    found = testing.listen(
      grid,
      rows,
      None,
      spiking.Membrane(5.0),
      thresholds,
      source,
      chunks=400,
      cycle=12,
      gain=0.46,
    )
    return source, found

  return jax.device_get(thresholds), *listen(disturbed)


@pytest.mark.parametrize(("morph", "disturbed"), [(1.0, False), (-1.5, False), (1.0, True)])
def test_listening_against_a_slow_count(morph, disturbed):
  c, grid, rows, _ = setting()
  chunks, gain = 400, 0.46
  thresholds, source, (tally, mean, lost) = heard(morph, disturbed)
  assert int(lost) == 0
  current = gain * currents(grid, np.asarray(rows[0]), source, chunks)
  slot = int(source.slot) * c.chunk
  slots = np.arange(chunks * c.chunk // slot + 1)
  _, present = balanced_input.presentation(source, jnp.asarray(slots))
  present = np.asarray(present)
  ends = [i for i in slots if i == 0 or present[i] or present[i - 1]]  # regions' starts
  for column, threshold in enumerate(thresholds):
    voltage, fired = -65.0, []
    for now, value in enumerate(current):
      voltage += (-65.0 - voltage + value) / 5.0
      if voltage >= threshold:
        fired.append(now)
        voltage = -70.0
    counts = {True: [0, 0], False: [0, 0]}
    for start, end in itertools.pairwise(ends):
      low, high = start * slot, end * slot
      if low < 100 or high >= len(current):
        continue
      hit = any(low <= t < high for t in fired)
      counts[bool(present[start])][0] += 1
      counts[bool(present[start])][1] += hit
    found = [int(x[column]) for x in tally]
    shown, hits = counts[True]
    gaps, alarms = counts[False]
    assert found[:4] == [shown, hits, gaps, gaps - alarms]
    assert found[4] == sum(t >= 100 for t in fired)
  assert tally.presentations[0] > 3 and tally.gaps[0] > 3
  assert int(tally.spikes[1]) > 0 and int(tally.spikes[4]) == 0

  starts = [i * slot for i in slots if present[i] and i * slot >= 100]
  starts = [start for start in starts if start + slot <= len(current)]
  assert len(starts) > 3
  for row, threshold in zip(np.asarray(mean), (np.inf, -55.0), strict=True):
    voltage, trace = -65.0, []
    for value in current:
      voltage += (-65.0 - voltage + value) / 5.0
      trace.append(voltage)
      if voltage >= threshold:
        voltage = -70.0
    expected = np.mean([trace[start : start + slot] for start in starts], 0)
    np.testing.assert_allclose(row[:slot], expected, atol=2e-3)
    assert np.isnan(row[slot:]).all() and len(row) == 120


def test_undisturbed_input_is_the_plain_one():
  c, _, _, plain = setting()
  source = neuron.embedded(
    c, neuron.TEST, deviation=jnp.float32(0), dropout=jnp.float32(0), disturbed=False
  )
  for a, b in zip(drawn(source, 100), drawn(plain, 100), strict=True):
    np.testing.assert_array_equal(a, b)


def test_training_records_what_happened():
  c = config(neuron__fgi=0.49, neuron__fgi_end=0.49, train_time=4.0, interval=2.0)
  run = jax.jit(lambda seed: experiment.PROGRAM(bind(c, {"seed": seed}), ()))
  found = jax.device_get(run(5))
  source = neuron.embedded(bind(c, {"seed": 5}), neuron.TRAINING)
  slot = int(source.slot) * c.chunk
  assert int(found["overflow"]) == 0 and found["spikes"].sum() > 5
  slots = np.arange(4000 // slot)
  _, present = balanced_input.presentation(source, jnp.asarray(slots))
  low = [i for i in slots if (i + 1) * slot <= 2000]
  assert found["presented"][0] == np.asarray(present)[low].sum()
  assert found["presented"][0] + found["free"][0] == len(low)
  assert np.all(found["detected"] <= found["presented"])
  assert np.all(found["silent"] <= found["free"])
  assert ((found["latency"] != -2).sum(1) == found["spikes"]).all()
  assert found["latency"].max() < slot
  assert np.all((found["delay"] >= 1) & (found["delay"] <= 20))
  assert np.all(np.diff(found["time"]) >= 0)


def test_falling_integral():
  c = config(neuron__fgi=0.5, neuron__fgi_end=0.4, neuron__fgi_fall=10.0)
  gain = neuron.global_integral(c)
  np.testing.assert_allclose(
    [gain(0), gain(500), gain(1000), gain(5000)], [0.5, 0.45, 0.4, 0.4]
  )
  np.testing.assert_allclose(neuron.final_integral(c), 0.4)
  c = config(neuron__fgi=0.45, neuron__fgi_end=0.4, neuron__fgi_fall=0.0)
  gain = neuron.global_integral(c)
  np.testing.assert_allclose([gain(0), gain(10_000), neuron.final_integral(c)], 0.45)


def test_streams_and_seeds_are_independent():
  c = config()
  keys = {
    tuple(np.asarray(neuron.key(bind(c, {"seed": seed}), stream)).tolist())
    for seed in range(3)
    for stream in range(5)
  }
  assert len(keys) == 15


def test_a_taught_word_is_that_of_the_test():
  c = config()
  found = words.vocabulary(c)
  for number, length in enumerate(c.words.lengths):
    own = bind(c, {"pattern.word": number, "pattern.length": float(length)})
    jax.tree.map(
      lambda a, b, i=number: np.testing.assert_array_equal(a[i], b), found, neuron.pattern(own)
    )
  paper = neuron.pattern(c)
  assert paper.afferent.tolist() == list(range(c.pattern.spikes))
  assert abs(np.corrcoef(paper.time, found.time[0])[0, 1]) > 0.9  # both ascend
  assert not np.array_equal(paper.time / c.pattern.length, found.time[0] / c.words.lengths[0])


def test_words_share_afferents_and_differ_in_order():
  c = config()
  found = words.vocabulary(c)
  assert found.afferent.shape == (len(c.words.lengths), c.pattern.spikes)
  for order in np.asarray(found.afferent):
    assert sorted(order.tolist()) == list(range(c.pattern.spikes))
  assert abs(np.corrcoef(*np.asarray(found.afferent)[:2])[0, 1]) < 0.2
  assert np.all(found.time.max(1) < np.array(c.words.lengths))
  source = words.heard(c, neuron.TEST, (0.8, 1.25))
  assert source.length.tolist() == [32, 50, 48, 75]
  balanced_input.check_rates(source.rates)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"seeds": 0}, "seeds"),
    ({"rule__name": "hebb"}, "rule.name"),
    ({"kernel_factor": 3.0}, "kernel_factor"),
    ({"neuron__tau": 0.5}, "tau"),
    ({"pattern__spikes": 5000}, "spikes"),
    ({"chunk": 500}, "chunk"),
    ({"test__morphs": (0.2, 1.0)}, "hidden"),
    ({"test__morphs": (0.0, 1.0)}, "factor of 0"),
    ({"test__morphs": (5.0, 1.0)}, "do not fit"),
    ({"presentations": 20.0}, "do not fit"),
    ({"train_time": -1.0}, "train_time"),
  ],
)
def test_bad_configs_name_the_key(changes, message):
  with pytest.raises(UserError, match=message):
    experiment.check(config(**changes))


def test_overflow_is_an_error_that_names_the_key():
  with pytest.raises(UserError, match="capacity"):
    experiment._raise_on_overflow(np.array([0, 3]), "capacity")

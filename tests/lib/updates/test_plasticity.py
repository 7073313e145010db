"""Each branch and boundary of the learning rules by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from lib import updates

K = (2.0 + 0.9) ** 2  # acceleration at variance 2


def synapses(delay, variance=2.0, weight=None):
  delay = jnp.atleast_1d(jnp.asarray(delay, jnp.float32))
  weights = None if weight is None else jnp.full(delay.shape, weight)
  return updates.Synapses(delay, jnp.full(delay.shape, variance, jnp.float32), weights)


def moved(rule, delay, since, variance=2.0):
  """(Δμ, Δσ) of one synapse."""
  before = synapses(delay, variance)
  after = rule.post(before, jnp.asarray([since], jnp.float32))
  change = (after.delay - before.delay)[0], (after.variance - before.variance)[0]
  return [float(x) for x in change]


def test_acceleration():
  np.testing.assert_allclose(updates.acceleration(jnp.float32(0.1)), 1.0, rtol=1e-6)
  np.testing.assert_allclose(updates.acceleration(jnp.float32(2.0)), K, rtol=1e-6)


@pytest.mark.parametrize(
  ("delay", "since", "sign"),
  [
    (10.0, 13.0, 1),  # |t0 − μ| = α1 exactly, late: towards longer delays
    (10.0, 7.0, -1),  # and early
    (10.0, 12.9, -1),  # inside α1, t0 ≥ α2: shorter
    (10.0, 10.0, -1),  # on the spot, t0 ≥ α2
    (4.0, 6.0, -1),  # t0 = α2 exactly
    (4.0, 5.9, 0),  # inside α1, t0 < α2: rests
    (2.0, 0.0, 0),
    (10.0, 0.0, -1),  # the same ms
    (10.0, 1e6, 1),  # an input that never spiked
  ],
)
def test_every_branch_of_the_delay(delay, since, sign):
  rule = updates.sdvl(alpha1=3, alpha2=6, beta1=8, beta2=8, delay_rate=0.01, variance_rate=0.0)
  change, spread = moved(rule, delay, since)
  np.testing.assert_allclose(change, sign * 0.01 * K, atol=1e-6)
  assert spread == 0.0


@pytest.mark.parametrize(
  ("since", "sign"),
  [(19.0, 1), (18.9, 0), (15.0, 0), (14.9, -1), (10.0, -1), (5.1, -1), (5.0, 0), (1.0, 1)],
)
def test_every_branch_of_the_variance(since, sign):
  rule = updates.sdvl(alpha1=3, alpha2=6, beta1=9, beta2=5, delay_rate=0.0, variance_rate=0.01)
  change, spread = moved(rule, 10.0, since)
  np.testing.assert_allclose(spread, sign * 0.01 * K, atol=1e-6)
  assert change == 0.0


def test_both_changes_use_the_variance_before_the_spike():
  rule = updates.simplified_sdvl()
  change, spread = moved(rule, 10.0, 15.0)
  np.testing.assert_allclose([change, spread], [0.04 * K, -0.04 * K], rtol=1e-5)


def test_clipping():
  rule = updates.simplified_sdvl(rate=10.0)
  since = jnp.asarray([0.0, 100.0])
  after = rule.post(synapses([10.0, 10.0]), since)
  np.testing.assert_array_equal(after.delay, [1.0, 20.0])
  np.testing.assert_allclose(after.variance, [0.1, 10.0])


@pytest.mark.parametrize(
  ("since", "program", "printed"), [(5.0, 0, -1), (2.9, 0, 0), (9, 1, 1)]
)
def test_the_two_readings_differ_inside_alpha(since, program, printed):
  size = 0.04 * K
  for reading, sign in (("program", program), ("print", printed)):
    change, _ = moved(updates.simplified_sdvl(reading=reading), 4.0, since)
    np.testing.assert_allclose(change, sign * size, atol=1e-6)


def test_the_readings_agree_on_delays_that_are_longest():
  # t0 ≥ 20 and |t0 − μ| < 3: the program too shortens delays beyond 17 ms.
  for reading in ("program", "print"):
    change, _ = moved(updates.simplified_sdvl(reading=reading), 19.0, 20.0)
    np.testing.assert_allclose(change, -0.04 * K, atol=1e-6)


def test_unknown_reading():
  with pytest.raises(ValueError, match="reading"):
    updates.simplified_sdvl(reading="letter")


def test_stdp_by_hand_and_its_bounds():
  rule = updates.pair_stdp()
  before = synapses([5.0, 5.0, 5.0], weight=0.5)
  after = rule.post(before, jnp.asarray([0.0, 16.8, 1e6]))
  np.testing.assert_allclose(
    after.weight, 0.5 + 0.03125 * np.array([1.0, np.exp(-1), 0.0]), rtol=1e-6
  )
  np.testing.assert_allclose(
    rule.pre(jnp.asarray([0.0, 33.7])), [-0.0265625, -0.00977180], rtol=1e-4
  )
  high = rule.post(synapses(5.0, weight=0.99), jnp.asarray([0.0]))
  assert float(high.weight[0]) == 1.0
  assert float(rule.bound(synapses(5.0, weight=-0.1)).weight[0]) == 0.0
  np.testing.assert_array_equal(after.delay, before.delay)


def test_no_learning_changes_nothing_and_rules_share_a_signature():
  start = synapses([3.0, 9.0], weight=0.5)
  since = jnp.asarray([4.0, 0.0])
  for rule in (updates.no_learning(), updates.simplified_sdvl(), updates.pair_stdp()):
    after = rule.post(start, since)
    assert [x.shape for x in after] == [x.shape for x in start]
  after = updates.no_learning().post(start, since)
  for a, b in zip(after, start, strict=True):
    np.testing.assert_array_equal(a, b)


def test_rules_broadcast_over_a_layer():
  rule = updates.simplified_sdvl()
  rng = np.random.default_rng(0)
  delay, variance = rng.uniform(1, 20, (3, 50)), rng.uniform(0.1, 10, (3, 50))
  since = jnp.asarray(rng.uniform(0, 50, 50), jnp.float32)
  layer = updates.Synapses(jnp.asarray(delay, jnp.float32), jnp.asarray(variance, jnp.float32))
  whole = rule.post(layer, since)
  for i in range(3):
    one = rule.post(updates.Synapses(layer.delay[i], layer.variance[i]), since)
    np.testing.assert_array_equal(whole.delay[i], one.delay)
    np.testing.assert_array_equal(whole.variance[i], one.variance)

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from lib import information
from lib.information import CODE, PAPER, Block


def linear(weight):
  return Block(_linear, (weight.shape[1],))


def _linear(params, x):
  return x @ params.T


@functools.cache
def compiled(measure, block, reading, slope=False):
  """(key, params) -> value, or value and gradient, of one block with fresh fake inputs."""
  term = information.regulariser(measure, [block], reading)
  return jax.jit(jax.value_and_grad(term, argnums=1) if slope else term)


def average(measure, params, block, reading, draws=2000, seed=0):
  term = information.regulariser(measure, [block], reading)
  keys = jax.random.split(jax.random.key(seed), draws)
  values = np.asarray(jax.jit(jax.vmap(term, (0, None)))(keys, params), np.float64)
  return values.mean(), values.std() / np.sqrt(draws)


WEIGHT = jnp.array(np.random.default_rng(0).normal(size=(3, 6)), jnp.float32)


def test_trace_term_of_a_linear_map_has_the_closed_form():
  """E tr(W diag(v) Wᵀ) = ¾‖W‖_F² for v ~ U[½, 1]: the unbiased estimate is centred on it."""
  exact = 0.75 * float(jnp.sum(WEIGHT**2))
  mean, error = average(information.eic_trace, WEIGHT, linear(WEIGHT), PAPER)
  assert abs(mean - exact) < 4 * error < 0.05 * exact


@pytest.mark.parametrize("samples", [2, 8])
def test_printed_trace_estimate_is_biased(samples):
  """The printed 1/(kn) has expectation (1 − 1/k) tr."""
  reading = PAPER._replace(unbiased=False, samples=samples)
  exact = (1 - 1 / samples) * 0.75 * float(jnp.sum(WEIGHT**2))
  mean, error = average(information.eic_trace, WEIGHT, linear(WEIGHT), reading)
  assert abs(mean - exact) < 4 * error < 0.05 * exact


def test_code_reading_of_a_linear_map():
  """Standard deviation s ~ U[0, 1]: variance 1/3 on average; mean over outputs; 1 − 1/32.

  Behind a ReLU the inputs are |x|, with variance (1 − 2/π)/3.
  """
  scale = float(jnp.sum(WEIGHT**2)) / 3 * (31 / 32)
  for hidden, variance in ((False, 1 / 3), (True, (1 - 2 / np.pi) / 3)):
    block = linear(WEIGHT)._replace(hidden=hidden)
    mean, error = average(information.eic_trace, WEIGHT, block, CODE)
    assert abs(mean - variance * scale) < 4 * error
  # MIC does not take |x|: for an odd map both give the same
  pair = [
    compiled(information.mic_surrogate, linear(WEIGHT)._replace(hidden=hidden), CODE)(
      jax.random.key(3), WEIGHT
    )
    for hidden in (False, True)
  ]
  assert pair[0] == pair[1]


def test_trace_bounds_the_expected_information():
  """E_v I(X; WX + ε) ≤ ½ E tr K, with no constant left over, and tight for small W."""
  v = jax.random.uniform(jax.random.key(0), (500, 6), minval=0.5, maxval=1.0)
  for size, tight in ((1.0, False), (0.01, True)):
    weight = size * WEIGHT
    eic = jax.vmap(lambda v, w=weight: information.gaussian_information(w, v))(v).mean()
    half_trace = 0.5 * 0.75 * jnp.sum(weight**2)
    assert eic <= half_trace
    assert (eic > 0.98 * half_trace) == tight
    # the capacity at the largest power that the laws use is above the expectation
    assert eic <= information.mic_linear(weight, 6.0)


def test_gain_of_linear_maps_on_the_sphere():
  n = 5
  # an isometry times c: r = c, no spread
  measure = compiled(information.mic_surrogate, linear(jnp.eye(n)), PAPER)
  value = measure(jax.random.key(0), 3.0 * jnp.eye(n))
  np.testing.assert_allclose(value, 3.0, rtol=1e-6)
  # rank one, γ|u_1|: E|u_1| = Γ(n/2) / (√π Γ((n+1)/2)), E u_1² = 1/n
  gamma = 2.0
  weight = jnp.zeros((1, n)).at[0, 0].set(gamma)
  first = gamma * special.gamma(n / 2) / (np.sqrt(np.pi) * special.gamma((n + 1) / 2))
  exact = first + gamma**2 / n - first**2
  mean, error = average(information.mic_surrogate, weight, linear(weight), PAPER)
  assert abs(mean - exact) < 4 * error < 0.05 * exact


def test_squared_gain_of_a_linear_map():
  """E r² = ‖W‖_F²/n; r² of rank one is γ² Beta(½, (n−1)/2)."""
  n, gamma = 5, 0.8
  weight = jnp.zeros((1, n)).at[0, 0].set(gamma)
  reading = PAPER._replace(squared_ratio=True)
  a, b = 0.5, (n - 1) / 2
  variance = a * b / ((a + b) ** 2 * (a + b + 1))
  exact = gamma**2 / n + gamma**4 * variance
  mean, error = average(information.mic_surrogate, weight, linear(weight), reading)
  assert abs(mean - exact) < 4 * error < 0.05 * exact
  # the biased variance of the code is (1 − 1/32) of it
  biased = CODE._replace(isotropic_mic=True)
  exact = gamma**2 / n + gamma**4 * variance * 31 / 32
  mean, error = average(information.mic_surrogate, weight, linear(weight), biased)
  assert abs(mean - exact) < 4 * error < 0.05 * exact


def test_scaling_of_the_terms():
  """Under W → cW the trace goes with c², the gain's mean with c and its variance with c²."""
  key, block = jax.random.key(1), linear(WEIGHT)
  trace = compiled(information.eic_trace, block, PAPER)
  ratio = trace(key, 3 * WEIGHT) / trace(key, WEIGHT)
  np.testing.assert_allclose(ratio, 9.0, rtol=1e-5)
  x = jax.random.normal(key, (64, 6))
  r = np.linalg.norm(x @ WEIGHT.T, axis=1) / np.linalg.norm(x, axis=1)
  for squared in (False, True):
    q = r**2 if squared else r
    found = information.gain_mean_and_spread(x @ WEIGHT.T, x, squared)
    np.testing.assert_allclose(found, q.mean() + q.var(ddof=1), rtol=1e-5)
    # images are flattened
    shaped = information.gain_mean_and_spread(
      (x @ WEIGHT.T).reshape(64, 3, 1), x.reshape(64, 2, 3), squared
    )
    np.testing.assert_allclose(shaped, found, rtol=1e-6)


def test_mean_output_trace_against_loops():
  y = np.random.default_rng(2).normal(size=(3, 4, 2, 5))
  total = 0.0
  for i in range(3):
    flat = y[i].reshape(4, -1)
    total += np.trace(np.cov(flat.T))
  np.testing.assert_allclose(information.mean_output_trace(jnp.array(y)), total / 3, rtol=1e-5)
  np.testing.assert_allclose(
    information.mean_output_trace(jnp.array(y), unbiased=False), total / 4, rtol=1e-5
  )


def test_halving_matches_the_loop():
  """The published loop: while value > 5, halve it (so value and gradient scale together)."""
  block = linear(WEIGHT)
  for size in (0.1, 1.0, 3.0, 30.0):
    free = CODE._replace(cap=float("inf"))
    key = jax.random.key(0)
    slope = compiled(information.mic_surrogate, block, free, slope=True)
    expected, unhalved = slope(key, size * WEIGHT)
    expected = float(expected)
    halvings = 0
    while expected > 5:
      expected /= 2
      halvings += 1
    slope = compiled(information.mic_surrogate, block, CODE, slope=True)
    found, gradient = slope(key, size * WEIGHT)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient * 2.0**halvings, unhalved, rtol=1e-5)


def test_gradients_by_finite_differences():
  rng = np.random.default_rng(0)
  with jax.enable_x64(True):
    params = [jnp.array(rng.normal(size=s)) for s in ((8, 6), (3, 8))]
    whole = Block(lambda p, x: jax.nn.relu(x @ p[0].T) @ p[1].T, (6,))
    layers = [
      Block(lambda p, x: jax.nn.relu(x @ p[0].T), (6,)),
      Block(lambda p, x: x @ p[1].T, (8,), hidden=True),
    ]
    for measure in (information.eic_trace, information.mic_surrogate):
      for reading in (PAPER, CODE):
        term = information.regulariser(measure, [whole, *layers], reading)
        key = jax.random.key(4)
        both = jax.jit(jax.value_and_grad(term, argnums=1))
        gradient = both(key, params)[1]
        direction = [rng.normal(size=p.shape) for p in params]
        h = 1e-6
        up, down = (
          both(key, [p + s * h * d for p, d in zip(params, direction, strict=True)])[0]
          for s in (1, -1)
        )
        slope = sum(np.sum(g * d) for g, d in zip(gradient, direction, strict=True))
        np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=1e-5)


def test_dead_network_has_a_finite_gradient():
  block = Block(lambda p, x: jax.nn.relu(x @ p.T), (6,))
  for reading in (PAPER, CODE):
    for measure in (information.eic_trace, information.mic_surrogate):
      slope = compiled(measure, block, reading, slope=True)
      value, gradient = slope(jax.random.key(0), jnp.zeros((3, 6)))
      assert value == 0 and np.all(np.isfinite(gradient))


def test_regulariser_sums_its_blocks():
  key, block = jax.random.key(0), linear(WEIGHT)
  one = jax.jit(information.regulariser(information.eic_trace, [block]))(key, WEIGHT)
  # shared fake inputs: the second block sees the same, so the sum is exactly twice
  shared = PAPER._replace(share=True)
  twice = information.regulariser(information.eic_trace, [block, block], shared)
  twice = jax.jit(twice)(key, WEIGHT)
  np.testing.assert_allclose(twice, 2 * one, rtol=1e-6)
  # inputs of their own otherwise
  inputs = information.fake_inputs(key, [(6,), (6,)])
  assert not np.any(np.asarray(inputs[0]) == np.asarray(inputs[1]))
  parts = [information.eic_trace(WEIGHT, block, x) for x in inputs]
  both = jax.jit(information.regulariser(information.eic_trace, [block, block]))(key, WEIGHT)
  np.testing.assert_allclose(both, sum(parts), rtol=1e-6)
  # a rate below one keeps the expectation rate times the sum
  half = information.regulariser(information.eic_trace, [block], PAPER._replace(rate=0.25))
  keys = jax.random.split(key, 4000)
  values = jax.jit(jax.vmap(lambda key: half(key, WEIGHT)))(keys)
  assert abs((values == 0).mean() - 0.75) < 0.03
  with pytest.raises(ValueError, match="at least one block"):
    information.regulariser(information.eic_trace, [])
  with pytest.raises(ValueError, match="two samples"):
    information.mean_output_trace(jnp.zeros((3, 1, 2)))
  with pytest.raises(ValueError, match="two inputs"):
    information.gain_mean_and_spread(jnp.zeros((1, 2)), jnp.ones((1, 2)))


def test_fake_inputs_have_the_laws_variances():
  reading = PAPER._replace(laws=2, samples=50_000)
  x = np.asarray(information.fake_inputs(jax.random.key(0), [(3,)], reading)[0])
  variances = x.var(axis=1)
  assert np.all(variances > 0.48) and np.all(variances < 1.02)
  assert variances.std() > 0.05  # a law of its own for each i and coordinate
  x = np.asarray(information.fake_inputs(jax.random.key(0), [(3,)], reading, True)[0])
  np.testing.assert_allclose(x.var(axis=1), 1, atol=0.04)

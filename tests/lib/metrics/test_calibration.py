"""Estimators of the calibration error: by hand, against slow versions, and in the limit."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.metrics import binning, calibration, density

ESTIMATORS = {
  "ece": calibration.ece,
  "adaptive": calibration.adaptive_ece,
  "convex": calibration.convex_ece,
  "adaptive convex": calibration.adaptive_convex_ece,
  "kde": functools.partial(calibration.kde_ece, points=256),
}


# --- slow, obvious versions in float64


def slow_edges(s, bins, adaptive):
  if not adaptive:
    return [j / bins for j in range(bins + 1)]
  ordered = sorted(s)
  return [0.0] + [ordered[j * len(s) // bins] for j in range(1, bins)] + [1.0]


def slow_weights(s, edges, convex):
  """The matrix W of definition 5."""
  bins = len(edges) - 1
  weights = np.zeros((len(s), bins))
  centres = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
  for i, x in enumerate(s):
    if not convex:
      weights[i, max([0] + [j for j in range(1, bins) if edges[j] <= x])] = 1
      continue
    below = [j for j in range(bins) if centres[j] <= x]
    if not below:
      weights[i, 0] = 1
    elif below[-1] == bins - 1:
      weights[i, -1] = 1
    else:
      j = below[-1]
      share = (x - centres[j]) / (centres[j + 1] - centres[j])
      weights[i, j], weights[i, j + 1] = 1 - share, share
  return weights


def slow_ece(s, h, bins, adaptive=False, convex=False):
  weights = slow_weights(s, slow_edges(s, bins, adaptive), convex)
  return np.abs(weights.T @ (h - s)).sum() / len(s)


def slow_density(x, weights, bandwidth, kernel, points):
  """Σ_i w_i φ((g − x_i)/h)/h with the samples mirrored at 0 and 1, no binning."""
  grid = (np.arange(points) + 0.5) / points
  total = np.zeros(points)
  for image in (x, -x, 2 - x):
    u = (grid[:, None] - image) / bandwidth
    if kernel == "gaussian":
      value = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    else:
      value = np.where(np.abs(u) <= 1, 35 / 32 * (1 - u**2) ** 3, 0)
    total += value @ weights / bandwidth
  return grid, total


def slow_kde_ece(s, h, bandwidth, kernel="gaussian", points=5000):
  grid, f = slow_density(s, np.ones_like(s), bandwidth, kernel, points)
  _, hits = slow_density(s, h, bandwidth, kernel, points)
  accuracy = hits / np.maximum(f, 1e-300)
  return np.mean(f * np.abs(accuracy - grid)) / len(s)


def draws(n, seed=0, ties=False):
  rng = np.random.default_rng(seed)
  s = rng.beta(3, 1.5, n)
  s = np.round(s, 1) if ties else s
  return s.astype(np.float32).astype(np.float64), (rng.uniform(size=n) < s**1.5) * 1.0


# --- by hand


def test_four_samples_by_hand():
  """Bins of width ½: sums −0.1 − 0.4 + 1 and −0.6 + 1 − 0.9."""
  s, h = jnp.array([0.1, 0.4, 0.6, 0.9]), jnp.array([0, 1, 0, 1])
  np.testing.assert_allclose(calibration.ece(s, h, bins=2), (0.5 + 0.5) / 4, rtol=1e-6)
  # centres ¼ and ¾: 0.4 goes to the right with 0.3, 0.6 with 0.7
  left = -0.1 + 0.7 * 0.6 - 0.3 * 0.6
  right = 0.3 * 0.6 - 0.7 * 0.6 + 0.1
  np.testing.assert_allclose(
    calibration.convex_ece(s, h, bins=2), (abs(left) + abs(right)) / 4, rtol=1e-5
  )
  np.testing.assert_allclose(calibration.mce(s, h, bins=2), 0.25, rtol=1e-6)
  diagram = calibration.reliability_diagram(s, h, binning.uniform_edges(4))
  np.testing.assert_allclose(diagram.weight, [0.25, 0.25, 0.25, 0.25])
  np.testing.assert_allclose(diagram.accuracy, [0, 1, 0, 1])


def test_which_bin_an_edge_belongs_to():
  s, h = jnp.array([0.5, 0.75]), jnp.array([1.0, 0.0])
  np.testing.assert_allclose(calibration.ece(s, h, bins=2), 0.25 / 2)  # both in [½, 1]
  np.testing.assert_allclose(calibration.ece(s, h, bins=2, closed="right"), 1.25 / 2)
  ends = jnp.array([0.0, 1.0])
  for closed in ("left", "right"):
    sums = binning.bin_sums(jnp.ones(2), ends, binning.uniform_edges(3), closed=closed)
    np.testing.assert_array_equal(sums, [1, 0, 1])


def test_convex_shares_in_bins_of_different_width():
  edges = jnp.array([0.0, 0.2, 1.0])  # centres 0.1 and 0.6
  below, share = binning.convex_share(jnp.array([0.05, 0.1, 0.35, 0.6, 0.9]), edges)
  np.testing.assert_array_equal(below, [-1, 0, 0, 1, 1])
  np.testing.assert_allclose(share, [1, 0, 0.5, 0, 0], atol=1e-6)


def test_square_root_bins_round_up():
  assert [binning.square_root_bins(n) for n in (1, 4, 5, 30, 500)] == [1, 2, 3, 6, 23]


# --- against the slow versions


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("bins", [1, 2, 7, 15, 100])
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("convex", [False, True])
def test_binned_estimators_against_the_matrix_of_weights(bins, adaptive, convex, ties):
  s, h = draws(157, ties=ties)
  edges = binning.adaptive_edges(jnp.asarray(s, jnp.float32), bins)
  edges = edges if adaptive else binning.uniform_edges(bins)
  found = calibration.binned_ece(
    jnp.asarray(s, jnp.float32), jnp.asarray(h), edges, "convex" if convex else "one"
  )
  exact = [float(e) for e in edges]  # the same roundings of the edges
  np.testing.assert_allclose(exact, slow_edges(s, bins, adaptive), atol=1e-7)
  weights = slow_weights(s, exact, convex)
  np.testing.assert_allclose(weights.sum(1), 1)
  np.testing.assert_allclose(
    found, np.abs(weights.T @ (h - s)).sum() / len(s), rtol=2e-4, atol=1e-6
  )


@pytest.mark.parametrize("kernel", ["gaussian", "triweight"])
@pytest.mark.parametrize("bandwidth", [0.02, 0.1, 0.25])
def test_densities_against_sums_of_mirrored_kernels(kernel, bandwidth):
  s, h = draws(60)
  _, slow = slow_density(s, np.full(60, 1 / 60), bandwidth, kernel, 1024)
  found = density.density(jnp.asarray(s, jnp.float32), bandwidth, kernel)
  np.testing.assert_allclose(found, slow, atol=2e-3 * slow.max())
  np.testing.assert_allclose(found.mean(), 1, rtol=1e-4)
  for points, tolerance in ((1024, 1e-3), (256, 1e-2)):
    found = calibration.kde_ece(
      jnp.asarray(s, jnp.float32), jnp.asarray(h), bandwidth, kernel, points
    )
    np.testing.assert_allclose(found, slow_kde_ece(s, h, bandwidth, kernel), rtol=tolerance)


@pytest.mark.parametrize("kernel", ["gaussian", "triweight"])
def test_characteristic_functions_by_quadrature(kernel):
  t = np.linspace(0, 40, 81)
  u = np.linspace(-10, 10, 400_001)
  if kernel == "gaussian":
    phi = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
  else:
    phi = np.where(np.abs(u) <= 1, 35 / 32 * (1 - u**2) ** 3, 0)
  exact = [np.trapezoid(phi * np.cos(x * u), u) for x in t]
  np.testing.assert_allclose(density.KERNELS[kernel](jnp.asarray(t)), exact, atol=3e-6)


def test_bandwidth_rules():
  x = np.random.default_rng(0).normal(size=400) * 0.1 + 0.5
  iqr = np.subtract(*np.percentile(x, [75, 25]))
  expected = min(x.std(ddof=1), iqr / 1.349) * (4 / (3 * 400)) ** 0.2
  np.testing.assert_allclose(density.silverman(jnp.asarray(x)), expected, rtol=1e-5)
  np.testing.assert_allclose(
    density.normal_reference(jnp.asarray(x)), 1.06 * x.std(ddof=1) * 400**-0.2, rtol=1e-5
  )
  # no interquartile range: the standard deviation alone
  x = np.r_[np.zeros(30), np.ones(5)]
  np.testing.assert_allclose(
    density.silverman(jnp.asarray(x)), x.std(ddof=1) * (4 / (3 * 35)) ** 0.2, rtol=1e-5
  )
  assert density.silverman(jnp.full(10, 0.3)) < 1e-6


def test_reliability_curve_of_known_probability():
  """P(h = 1 | s) = s²: the curve finds it, and so does the band."""
  rng = np.random.default_rng(0)
  s = rng.uniform(size=40_000).astype(np.float32)
  h = (rng.uniform(size=s.size) < s**2).astype(np.float32)
  curve = calibration.reliability_curve(jnp.asarray(s), jnp.asarray(h), 0.03, points=128)
  inner = (curve.grid > 0.1) & (curve.grid < 0.9)
  np.testing.assert_allclose(curve.accuracy[inner], curve.grid[inner] ** 2, atol=0.03)
  np.testing.assert_allclose(curve.density, 1, atol=0.1)
  band = calibration.reliability_band(
    jax.random.key(0), s[:2000], h[:2000], 0.05, resamples=100, points=128
  )
  assert np.all(band.low <= band.median) and np.all(band.median <= band.high)
  inside = (band.low < curve.grid**2) & (curve.grid**2 < band.high)
  assert inside[inner].mean() > 0.7 and (band.high - band.low)[inner].max() < 0.2


def test_curve_has_no_value_where_there_are_no_samples():
  curve = calibration.reliability_curve(jnp.array([0.9, 0.95]), jnp.array([1, 0]), 0.02)
  assert np.isnan(curve.accuracy[100]) and np.isfinite(curve.accuracy[920])


# --- in the limit


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_calibrated_sampler_has_no_error_in_the_limit(name):
  """h ~ Bernoulli(s): the estimate falls like n^(−1/2) for fixed bins, and the limit is 0."""
  rng = np.random.default_rng(1)
  options = {} if name == "kde" else {"bins": 10}
  values = []
  for n in (1000, 100_000):
    s = rng.beta(2, 1, (10, n)).astype(np.float32)
    h = (rng.uniform(size=s.shape) < s).astype(np.float32)
    values.append(ESTIMATORS[name](jnp.asarray(s), jnp.asarray(h), **options).mean())
  assert values[1] < values[0] / 4 and values[1] < 0.005


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_known_error_is_found_in_the_limit(name):
  """P(h = 1 | s) = s²,  s ~ U: ECE = ∫ (s − s²) ds = 1/6; the kernel smooths a little off."""
  rng = np.random.default_rng(2)
  s = rng.uniform(size=200_000).astype(np.float32)
  h = (rng.uniform(size=s.size) < s**2).astype(np.float32)
  np.testing.assert_allclose(
    ESTIMATORS[name](jnp.asarray(s), jnp.asarray(h)), 1 / 6, atol=4e-3
  )


def test_true_ece_has_no_bias_where_the_legacy_estimator_has():
  rng = np.random.default_rng(3)
  s = rng.uniform(size=(50, 20_000)).astype(np.float32)
  p = np.clip(s + rng.uniform(-0.2, 0.2, s.shape) * np.minimum(s, 1 - s), 0, 1)  # calibrated
  p = p.astype(np.float32)
  found = calibration.true_ece(jnp.asarray(s), jnp.asarray(p))
  legacy = calibration.ece(jnp.asarray(s), jnp.asarray(p), bins=200)
  assert abs(found.mean()) < 3 * found.std() / np.sqrt(50) < 1e-3 < legacy.mean()
  uneven = calibration.true_ece(jnp.asarray(s), jnp.asarray(s) ** 2)
  np.testing.assert_allclose(uneven, 1 / 6, atol=5e-3)


# --- properties


@st.composite
def pairs(draw):
  numbers = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 0.5, 1.0]))
  s = draw(st.lists(numbers, min_size=12, max_size=12))
  h = draw(st.lists(st.integers(0, 1), min_size=12, max_size=12))
  return np.array(s, np.float32), np.array(h, np.float32)


@functools.cache
def compiled(name, bins):
  options = {"bandwidth": 0.02} if name == "kde" else {"bins": bins}
  return jax.jit(functools.partial(ESTIMATORS[name], **options))


@settings(max_examples=60, deadline=None)
@given(pairs(), st.sampled_from([1, 3, 8]))
def test_estimates_are_bounded_and_above_the_gap_of_the_means(drawn, bins):
  """|mean h − mean s| ≤ estimate ≤ mean |h − s|, in any order of the samples."""
  s, h = drawn
  order = np.random.default_rng(0).permutation(len(s))
  gap, most = abs((h - s).mean()), np.abs(h - s).mean()
  for name in ESTIMATORS:
    estimator = compiled(name, bins if name != "kde" else 0)
    value = float(estimator(s, h))
    slack = 1e-5 if name != "kde" else 0.03  # the kernel moves mass
    assert gap - slack <= value <= most + slack, name
    np.testing.assert_allclose(value, estimator(s[order], h[order]), rtol=1e-4, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(pairs(), st.sampled_from([1, 3, 8]), st.booleans(), st.sampled_from(binning.MAPPINGS))
def test_shares_sum_to_one_and_the_diagram_gives_the_error(drawn, bins, adaptive, mapping):
  s, h = drawn
  sums, d, found = compiled_diagram(bins, adaptive, mapping)(s, h)
  np.testing.assert_allclose(sums.sum(), len(s), rtol=1e-5)
  error = np.nansum(d.weight * np.abs(d.accuracy - d.confidence))
  np.testing.assert_allclose(found, error, rtol=1e-4, atol=1e-6)


@functools.cache
def compiled_diagram(bins, adaptive, mapping):
  def run(s, h):
    edges = binning.adaptive_edges(s, bins) if adaptive else binning.uniform_edges(bins)
    return (
      binning.bin_sums(jnp.ones_like(s), s, edges, mapping),
      calibration.reliability_diagram(s, h, edges, mapping),
      calibration.binned_ece(s, h, edges, mapping),
    )

  return jax.jit(run)


def test_batched_and_compiled_are_the_same():
  both = [draws(80, seed) for seed in range(3)]
  s = np.stack([b[0] for b in both]).astype(np.float32)
  h = np.stack([b[1] for b in both]).astype(np.float32)
  for name, estimator in ESTIMATORS.items():
    one = [float(estimator(*row)) for row in zip(s, h, strict=True)]
    np.testing.assert_allclose(estimator(s, h), one, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(jax.jit(estimator)(s, h), one, rtol=1e-4)
    np.testing.assert_allclose(jax.jit(jax.vmap(estimator))(s, h), one, rtol=1e-4)


@pytest.mark.parametrize("name", ["convex", "kde"])
def test_gradients_by_finite_differences(name):
  """The convex and the kernel estimator are differentiable in the scores almost everywhere."""
  s, h = draws(40)
  options = {"bins": 5} if name == "convex" else {"bandwidth": 0.1, "points": 256}
  with jax.enable_x64(True):
    run = lambda s: ESTIMATORS[name](s, jnp.asarray(h), **options)  # noqa: E731
    s = jnp.asarray(s)
    gradient = jax.jit(jax.grad(run))(s)
    for i in (0, 7, 23):
      step = jnp.zeros(40).at[i].set(1e-6)
      numeric = (run(s + step) - run(s - step)) / 2e-6
      np.testing.assert_allclose(gradient[i], numeric, rtol=1e-3, atol=1e-5)


# --- scores and labels


SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]], np.float32)
LABELS = np.array([0, 1, 1])


def test_pairs_of_scores_and_labels_by_hand():
  s, h = calibration.confidence_pairs(SCORES, LABELS)
  np.testing.assert_allclose(s, [0.7, 0.6, 0.5])
  np.testing.assert_array_equal(h, [1, 0, 1])
  s, h = calibration.class_pairs(SCORES, LABELS)
  np.testing.assert_allclose(s, SCORES.T)
  np.testing.assert_array_equal(h, [[1, 0, 0], [0, 1, 1], [0, 0, 0]])
  s, h = calibration.pooled_pairs(SCORES, LABELS)
  assert s.shape == h.shape == (9,) and h.sum() == 3


def test_lists_and_a_single_example():
  for name, estimator in ESTIMATORS.items():
    value = estimator([0.25], [1])
    np.testing.assert_allclose(value, 0.75, atol=0.01, err_msg=name)
  found = calibration.confidence(calibration.ece)(SCORES.tolist(), LABELS.tolist())
  np.testing.assert_allclose(found, calibration.confidence(calibration.ece)(SCORES, LABELS))


def test_settings_of_calibration():
  one_bin = {"bins": 1}
  top = calibration.confidence(calibration.ece)(SCORES, LABELS, **one_bin)
  np.testing.assert_allclose(top, abs((1 - 0.7) + (0 - 0.6) + (1 - 0.5)) / 3, rtol=1e-6)
  each = calibration.classwise(calibration.ece)(SCORES, LABELS, **one_bin)
  np.testing.assert_allclose(each, (0 + 1 + 1) / 9, atol=1e-6)
  # pooled in one bin: scores and hits both sum to n
  whole = calibration.pooled(calibration.ece)(SCORES, LABELS, **one_bin)
  np.testing.assert_allclose(whole, 0, atol=1e-6)


@pytest.mark.parametrize("setting", ["confidence", "classwise", "pooled"])
def test_labels_drawn_from_the_scores_have_no_error_in_any_setting(setting):
  """In the limit; and batches are their members."""
  rng = np.random.default_rng(4)
  scores = rng.dirichlet(np.full(4, 0.7), (2, 30_000)).astype(np.float32)
  scores /= scores.sum(-1, keepdims=True)
  labels = (scores.cumsum(-1) < rng.uniform(size=(2, 30_000, 1))).sum(-1).clip(0, 3)
  for name in ("ece", "adaptive convex", "kde"):
    estimate = jax.jit(getattr(calibration, setting)(ESTIMATORS[name]))
    limit = 0.04 if setting == "pooled" else 0.01  # four scores an example
    found = estimate(scores, labels)
    assert found.shape == (2,) and np.all(found < limit), (name, found)
    np.testing.assert_allclose(found[1], estimate(scores[1], labels[1]), rtol=1e-3, atol=1e-5)
    wrong = estimate(scores, (labels + 1) % 4)
    assert np.all(wrong > 10 * found), name


def test_pooled_error_per_score_is_bounded_by_two_over_the_classes():
  rng = np.random.default_rng(0)
  scores = np.eye(50, dtype=np.float32)[rng.integers(50, size=400)]
  labels = rng.integers(50, size=400)
  printed = calibration.pooled(calibration.ece, per="score")(scores, labels)
  shown = calibration.pooled(calibration.ece)(scores, labels)
  assert 0.03 < printed <= 2 / 50 and 1.9 < shown <= 2
  np.testing.assert_allclose(shown, 50 * printed, rtol=1e-5)
  with pytest.raises(ValueError, match="neither"):
    calibration.pooled(calibration.ece, per="class")


@pytest.mark.parametrize(
  ("scores", "labels", "message"),
  [
    ([[0.7, 0.4], [0.5, 0.5]], [0, 1], "example 0 sum to 1.1"),
    ([[1.2, -0.2], [0.5, 0.5]], [0, 1], "score 0, 0 is 1.2, outside"),
    ([[np.nan, 1.0], [0.5, 0.5]], [0, 1], "outside"),
    ([[0.5, 0.5], [0.5, 0.5]], [0, 2], "label 2 is none"),
    ([[0.5, 0.5], [0.5, 0.5]], [0, -1], "label -1 is none"),
    ([[0.5, 0.5], [0.5, 0.5]], [0.0, 1.0], "integers"),
    ([[0.5, 0.5], [0.5, 0.5]], [0], "do not belong"),
    ([[1.0], [1.0]], [0, 0], "at least 2 classes"),
  ],
)
def test_scores_that_are_no_probabilities_are_refused(scores, labels, message):
  for wrapped in (calibration.confidence, calibration.classwise, calibration.pooled):
    with pytest.raises(ValueError, match=message):
      wrapped(calibration.ece)(np.array(scores, np.float32), np.array(labels))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_single_scores_outside_the_unit_interval_are_refused(name):
  with pytest.raises(ValueError, match=r"score 1 is 1\.5"):
    ESTIMATORS[name](np.array([0.5, 1.5], np.float32), np.array([0, 1]))
  with pytest.raises(ValueError, match="hit 0 is 2"):
    ESTIMATORS[name](np.array([0.5, 0.5], np.float32), np.array([2, 1]))


def test_half_precision_softmaxes_are_probabilities():
  logits = jax.random.normal(jax.random.key(0), (64, 100))
  for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
    calibration.check_scores(jax.nn.softmax(logits.astype(dtype)))

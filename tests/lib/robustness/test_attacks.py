"""Attacks: inside ball and range in exact arithmetic, optimal where the optimum is known."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import models, robustness
from lib.robustness import balls, universal

PIXELS = st.floats(0, 1, width=32, allow_subnormal=False)
RADII = st.floats(0, 1.5, width=32, allow_subnormal=False)
project_linf = jax.jit(robustness.project_linf)
project_l2 = jax.jit(robustness.project_l2)


def exactly_inside(found, x, radius, norm, low=0.0, high=1.0):
  """Whether every example is in ball and range, in rational arithmetic."""
  found, x = (np.asarray(a, np.float32).reshape(len(x), -1) for a in (found, x))
  radius = Fraction(float(np.float32(radius)))
  if not (np.all(found >= np.float32(low)) and np.all(found <= np.float32(high))):
    return False
  for a, b in zip(found, x, strict=True):
    differences = [
      Fraction(float(p)) - Fraction(float(q)) for p, q in zip(a, b, strict=True) if p != q
    ]
    if norm == "linf":
      if any(abs(d) > radius for d in differences):
        return False
    elif sum(d * d for d in differences) > radius**2:
      return False
  return True


@settings(deadline=None, max_examples=200)
@given(
  st.lists(st.tuples(PIXELS, st.floats(-3, 3, width=32)), min_size=6, max_size=6),
  RADII,
)
def test_projections_are_inside_to_the_last_bit(pairs, radius):
  x, wild = (np.array(v, np.float32).reshape(2, 3) for v in zip(*pairs, strict=True))
  assert exactly_inside(project_linf(wild, x, radius), x, radius, "linf")
  assert exactly_inside(project_l2(wild, x, radius), x, radius, "l2")
  # what is inside stays where it is
  inside = np.asarray(project_linf(wild, x, radius))
  np.testing.assert_array_equal(project_linf(inside, x, radius), inside)


def test_the_box_is_the_largest_one():
  """One float further on either side is outside: nothing of the ball is given away."""
  rng = np.random.default_rng(0)
  x, radius = rng.random(2000, np.float32), np.float32(0.1)
  low, high = map(np.asarray, jax.jit(balls.bounds)(x, radius))
  exact = Fraction(float(radius))
  naive_outside = 0
  for a, l, h in zip(x, low, high, strict=True):
    a = Fraction(float(a))
    assert (
      a - Fraction(float(l)) <= exact < a - Fraction(float(np.nextafter(l, np.float32(-9))))
    )
    assert (
      Fraction(float(h)) - a <= exact < Fraction(float(np.nextafter(h, np.float32(9)))) - a
    )
    naive_outside += Fraction(float(np.float32(a) + radius)) - a > exact
  assert naive_outside > 200  # plain x + ε is outside for every few pixels


def test_l2_projection_of_a_far_point():
  x = np.full((3, 16, 16, 1), 0.5, np.float32)
  direction = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
  found = np.asarray(project_l2(x + 5 * direction, x, 0.7)) - x
  lengths = np.linalg.norm(found.reshape(3, -1), axis=1)
  np.testing.assert_allclose(lengths, 0.7, rtol=2e-4)
  unit = direction / np.linalg.norm(direction.reshape(3, -1), axis=1).reshape(3, 1, 1, 1)
  np.testing.assert_allclose(found, 0.7 * unit, atol=1e-4)


@pytest.fixture(scope="module")
def network():
  """A small trained-looking network and examples with pixels in [0, 1]."""
  model = models.MLP((16, 4))
  variables = models.init(model, jax.random.key(0), (5, 5, 1))
  x = jax.random.uniform(jax.random.key(1), (40, 5, 5, 1))
  x = x.at[:10].set(jnp.round(x[:10]))  # pixels at the ends of the range too
  logits = lambda x: models.apply(model, variables, 10 * x)  # noqa: E731
  return logits, x, logits(x).argmax(-1)


@pytest.mark.parametrize("norm", balls.NORMS)
@pytest.mark.parametrize("targeted", [False, True])
def test_attacks_stay_inside_and_work(network, norm, targeted):
  logits, x, labels = network
  radius = {"linf": 0.1, "l2": 0.3}[norm]
  goal = (labels + 1) % 4 if targeted else labels
  options = {"norm": norm, "targeted": targeted}

  @jax.jit
  def attack(x):
    steps = {"step": radius / 4, "steps": 10}
    return (
      robustness.fgsm(logits, x, goal, radius, **options),
      robustness.bim(logits, x, goal, radius, **steps, **options),
      robustness.pgd(
        jax.random.key(2), logits, x, goal, radius, restarts=3, **steps, **options
      ),
    )

  def success(x):
    return jnp.mean((logits(x).argmax(-1) == goal) == targeted)

  rates = [float(success(found)) for found in attack(x)]
  for found in attack(x):
    assert exactly_inside(found, x, radius, norm)
  assert rates[0] > success(x)
  assert rates[1] >= rates[0] and rates[2] >= rates[1]


def test_linear_logits_have_a_known_optimum():
  """For two classes of a linear map the worst δ is ε sign(w_1 − w_0), as far as pixels go."""
  w = jax.random.normal(jax.random.key(0), (12, 2))
  x = jax.random.uniform(jax.random.key(1), (30, 12))
  labels = jnp.zeros(30, jnp.int32)
  best = robustness.project(x + 0.2 * jnp.sign(w[:, 1] - w[:, 0]), x, 0.2)
  logits = lambda x: x @ w  # noqa: E731
  for found in (
    robustness.fgsm(logits, x, labels, 0.2),
    robustness.bim(logits, x, labels, 0.2, step=0.05, steps=5),
    robustness.pgd(jax.random.key(2), logits, x, labels, 0.2, step=0.05, steps=20),
    robustness.fgsm(logits, x, labels + 1, 0.2, targeted=True),
  ):
    np.testing.assert_array_equal(found, best)


def test_difference_of_logits_ratio_by_hand():
  logits = jnp.array([[5.0, 3.0, 1.0, 0.0], [5.0, 3.0, 1.0, 0.0]])
  found = robustness.difference_of_logits_ratio(logits, jnp.array([0, 1]))
  np.testing.assert_allclose(found, [-2 / 4, 2 / 4])
  scaled = robustness.difference_of_logits_ratio(7 * logits + 3, jnp.array([0, 1]))
  np.testing.assert_allclose(scaled, found, rtol=1e-6)
  with pytest.raises(ValueError, match="three classes"):
    robustness.difference_of_logits_ratio(logits[:, :2], jnp.array([0, 1]))


def test_pgd_with_the_dlr_loss(network):
  logits, x, labels = network
  found = jax.jit(
    lambda x: robustness.pgd(
      jax.random.key(2), logits, x, labels, 0.1, step=0.02, steps=10, loss="dlr"
    )
  )(x)
  assert exactly_inside(found, x, 0.1, "linf")
  before, after = (
    robustness.difference_of_logits_ratio(logits(a), labels) for a in (x, found)
  )
  assert np.mean(after > before) > 0.9
  for options in ({"loss": "hinge"}, {"loss": "dlr", "targeted": True}):
    with pytest.raises(ValueError, match=r"loss|untargeted"):
      robustness.pgd(jax.random.key(2), logits, x, labels, 0.1, step=0.1, steps=1, **options)


def test_gradient_of_a_perturbation_is_the_sum_over_the_inputs_inside_the_pixel_range():
  rng = np.random.default_rng(0)
  x = rng.uniform(size=(7, 3, 2, 1)).astype(np.float32)
  delta, weights = rng.normal(0, 0.3, (3, 2, 1)).astype(np.float32), rng.normal(size=x.shape)
  found = robustness.perturb(x, jnp.asarray(delta))
  np.testing.assert_array_equal(found, np.clip(x + delta, 0, 1))
  inside = (x + delta > 0) & (x + delta < 1)
  total = lambda d: jnp.sum(weights * robustness.perturb(x, d))  # noqa: E731
  gradient = jax.grad(total)(jnp.asarray(delta))
  np.testing.assert_allclose(gradient, (weights * inside).sum(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("target", [robustness.UNTARGETED, 1])
def test_universal_perturbation_of_linear_logits(target):
  w = jax.random.normal(jax.random.key(0), (12, 2))
  x = jax.random.uniform(jax.random.key(1), (50, 12), minval=0.3, maxval=0.7)
  labels = jnp.zeros(50, jnp.int32)
  delta, values = robustness.universal_perturbation(
    jax.random.key(2),
    lambda x: x @ w,
    x,
    labels,
    0.2,
    step=0.03,
    steps=9,
    batch=20,
    target=target,
  )
  np.testing.assert_array_equal(delta, jnp.float32(0.2) * jnp.sign(w[:, 1] - w[:, 0]))
  assert values.shape == (9,) and values[-1] > values[0]


def test_universal_perturbations_of_all_targets_at_once(network):
  """One vmapped program: each δ is in the ball, raises its class, beats chance."""
  logits, x, labels = network
  targets = jnp.arange(-1, 4)

  @jax.jit
  def attack(target):
    return robustness.universal_perturbation(
      jax.random.key(3), logits, x, labels, 0.15, step=0.02, steps=40, batch=16, target=target
    )[0]

  deltas = jax.vmap(attack)(targets)
  assert float(jnp.abs(deltas).max()) <= np.float32(0.15)
  np.testing.assert_allclose(attack(2), deltas[3], atol=1e-6)

  def rate(delta, c):
    return robustness.target_rate(logits(robustness.perturb(x, delta)), c)

  for c in range(4):
    assert rate(deltas[c + 1], c) > rate(jnp.zeros((5, 5, 1)), c)
  random = 0.15 * jax.random.rademacher(jax.random.key(4), (20, 5, 5, 1), jnp.float32)
  evaded = [
    float(robustness.evasion_rate(logits(robustness.perturb(x, d)), labels)) for d in random
  ]
  found = robustness.evasion_rate(logits(robustness.perturb(x, deltas[0])), labels)
  assert found > max(evaded)


def test_inputs_above_the_clipped_loss_count_no_more():
  """Two pixels, two inputs: one is lost anyway, and alone would move its own pixel."""
  w = jnp.array([[-30.0, 30.0], [-1.0, 1.0]])
  x = jnp.array([[0.9, 0.5], [0.1, 0.5]])  # logits 55 and 7 apart, to the wrong side
  labels = jnp.zeros(2, jnp.int32)

  def logits(x):
    return jnp.stack([x * w[:, 0], x * w[:, 1]], -1).sum(1)

  def moved(clip):
    gradient = jax.grad(
      lambda delta: universal.objective(logits(x[:1] + delta), labels[:1], -1, clip).sum()
    )(jnp.zeros(2))
    return np.asarray(gradient)

  np.testing.assert_array_equal(moved(12.0), [0, 0])
  np.testing.assert_allclose(moved(jnp.inf), [60, 2], rtol=1e-6)
  losses = universal.objective(logits(x), labels, -1, 12.0)
  np.testing.assert_allclose(losses, [12.0, np.log1p(np.exp(7.0))], rtol=1e-6)
  np.testing.assert_array_equal(universal.objective(logits(x), labels, 0, 12.0), -losses)

  def attacked(**clip):
    delta, _ = robustness.universal_perturbation(
      jax.random.key(0), logits, x[:1], labels[:1], 0.05, step=0.01, steps=9, batch=1, **clip
    )
    return np.asarray(delta)

  np.testing.assert_array_equal(attacked(clip=12.0), [0, 0])
  np.testing.assert_array_equal(attacked(), np.float32([0.05, 0.05]))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-2, 2, width=32), min_size=4, max_size=4), RADII)
def test_universal_ball(values, radius):
  delta = np.array(values, np.float32)
  for norm in balls.NORMS:
    found = jax.jit(balls.project_perturbation, static_argnums=2)(delta, radius, norm)
    assert exactly_inside(found[None], np.zeros((1, 4)), radius, norm, -9, 9)


def test_universal_training_without_a_ball_is_training():
  """Radius 0: bit for bit the optimiser's own step; with a radius δ stays in its ball."""
  model = models.MLP((6, 3))
  params = models.init(model, jax.random.key(0), (4,))["params"]
  x = jax.random.uniform(jax.random.key(1), (10, 4))
  y = jnp.arange(10) % 3

  def loss(params, x):
    logits = model.apply({"params": params}, x)
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean(), logits

  optimizer = optax.sgd(0.1, 0.9)
  plain, state = params, optimizer.init(params)
  universal = robustness.training_init(params, optimizer, (4,))
  attacked = universal
  for _ in range(5):
    (_, logits), gradient = jax.value_and_grad(loss, has_aux=True)(plain, x)
    updates, state = optimizer.update(gradient, state, plain)
    plain = optax.apply_updates(plain, updates)
    universal, (_, seen) = robustness.training_step(loss, optimizer, universal, x, 0.0, 0.1)
    np.testing.assert_allclose(seen, logits, rtol=1e-6)
    attacked, _ = robustness.training_step(loss, optimizer, attacked, x, 0.1, 0.04)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), universal.params, plain
  )
  assert np.all(np.abs(attacked.delta) <= np.float32(0.1)) and np.any(attacked.delta != 0)


def test_mistakes_are_named():
  with pytest.raises(ValueError, match="norm must be one of"):
    robustness.project(jnp.ones((1, 2)), jnp.ones((1, 2)), 0.1, "l1")
  with pytest.raises(ValueError, match="batch of 5 from 3"):
    robustness.universal_perturbation(
      jax.random.key(0), lambda x: x, jnp.ones((3, 2)), jnp.zeros(3, int), 0.1,
      step=0.1, steps=1, batch=5,
    )  # fmt: skip

"""Centralisation against loops, the algebra of projections, and means at zero in training."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import models, training, updates
from lib.updates import centralisation

KERNEL = np.random.default_rng(0).normal(1.0, 2.0, (3, 2, 4, 5)).astype(np.float32)


def test_areas_against_loops():
  """Table 2 in the layout (height, width, in, out)."""
  means = {
    "global": np.full(KERNEL.shape, KERNEL.mean()),
    "tensor": np.empty(KERNEL.shape),
    "channel": np.empty(KERNEL.shape),
    "instance": np.empty(KERNEL.shape),
  }
  for i, o in itertools.product(range(4), range(5)):
    means["tensor"][..., o] = KERNEL[..., o].mean()
    means["channel"][:, :, i] = KERNEL[:, :, i].mean()
    means["instance"][:, :, i, o] = KERNEL[:, :, i, o].mean()
  for area, mean in means.items():
    np.testing.assert_allclose(updates.centre(KERNEL, area), KERNEL - mean, atol=1e-6)


def test_normalisations_against_loops():
  for o in range(5):
    w = KERNEL[..., o].astype(np.float64)
    np.testing.assert_allclose(
      updates.normalise(KERNEL, 3.0)[..., o], 3 * w / np.linalg.norm(w), rtol=1e-5
    )
    standard = (w - w.mean()) / w.std()
    np.testing.assert_allclose(updates.standardise(KERNEL)[..., o], standard, atol=1e-5)
    np.testing.assert_allclose(
      updates.standardise(KERNEL, scaled=True)[..., o], standard / 24**0.5, atol=1e-5
    )
  # a constant filter has no direction: 0, not NaN
  assert np.all(updates.standardise(jnp.ones((3, 3, 2, 2))) == 0)
  assert np.all(updates.normalise(jnp.zeros((4, 2))) == 0)
  for function in (updates.standardise, updates.normalise):
    kernel = jnp.zeros((1, 2)).at[0, 1].set(3.0)
    assert np.all(np.isfinite(jax.grad(lambda w, f=function: f(w).sum())(kernel)))


def test_scaled_standardisation_keeps_the_variance_and_the_printed_one_does_not():
  x = jax.random.normal(jax.random.key(0), (4000, 100))
  w = jax.random.normal(jax.random.key(1), (100, 30))
  np.testing.assert_allclose((x @ updates.standardise(w, True)).var(), 1, rtol=0.03)
  np.testing.assert_allclose((x @ updates.standardise(w)).var(), 100, rtol=0.03)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.sampled_from(centralisation.AREAS))
def test_centring_is_a_projection(seed, area):
  """P P = P, and ⟨P a, b⟩ = ⟨a, P b⟩."""
  rng = np.random.default_rng(seed)
  a, b = rng.normal(size=(2, 3, 3, 2, 4)).astype(np.float32)
  once = updates.centre(a, area)
  np.testing.assert_allclose(updates.centre(once, area), once, atol=1e-6)
  np.testing.assert_allclose(
    np.sum(once * b), np.sum(a * updates.centre(b, area)), rtol=1e-3, atol=1e-3
  )


def test_only_what_is_chosen_changes():
  params = models.init(models.LeNet((2, 3), (8, 8)), jax.random.key(0), (16, 16, 1))["params"]
  changed = updates.map_kernels(
    updates.centre,
    params,
    lambda path, leaf: updates.is_kernel(path, leaf) and path[0] != "layer_2",
  )
  same = jax.tree.map(lambda a, b: bool(np.all(a == b)), params, changed)
  assert same["conv_0"]["conv"] == {"kernel": False, "bias": True}
  assert same["layer_1"]["dense"] == {"kernel": False, "bias": True}
  assert same["layer_2"]["dense"] == {"kernel": True, "bias": True}
  only = updates.map_kernels(updates.centre, params, updates.is_convolution)
  assert np.all(only["layer_0"]["dense"]["kernel"] == params["layer_0"]["dense"]["kernel"])


def test_optax_centralises_other_axes():
  """optax.centralize has PyTorch's layout in mind: it needs a transposed kernel."""
  gradient = {"kernel": jnp.asarray(KERNEL)}
  ours, _ = updates.centralise_gradients().update(gradient, optax.EmptyState())
  transposed = {"kernel": jnp.asarray(KERNEL.transpose(3, 2, 0, 1))}
  theirs, _ = optax.centralize().update(transposed, optax.EmptyState())
  np.testing.assert_allclose(ours["kernel"].transpose(3, 2, 0, 1), theirs["kernel"], atol=1e-6)
  untransposed, _ = optax.centralize().update(gradient, optax.EmptyState())
  assert np.abs(untransposed["kernel"] - ours["kernel"]).max() > 0.1


def _train(optimizer, weights, gradients, steps=200):
  """Squared error of a small network in float64; the last parameters."""
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(40, 6)), rng.normal(size=(40, 3))
  params = {
    "a": {"kernel": rng.normal(size=(6, 8)), "bias": np.zeros(8)},
    "b": {"kernel": rng.normal(size=(8, 3)), "bias": np.zeros(3)},
  }
  project = updates.map_kernels if weights else lambda function, params: params

  def loss(params):
    h = jnp.tanh(x @ params["a"]["kernel"] + params["a"]["bias"])
    return jnp.mean((h @ params["b"]["kernel"] + params["b"]["bias"] - y) ** 2)

  chain = [updates.centralise_gradients()] if gradients else []
  optimizer = optax.chain(*chain, optimizer)
  params = project(updates.centre, jax.tree.map(jnp.asarray, params))

  def step(carry, _):
    params, state = carry
    change, state = optimizer.update(jax.grad(loss)(params), state, params)
    params = project(updates.centre, optax.apply_updates(params, change))
    return (params, state), None

  return jax.jit(
    lambda: jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[0][0]
  )()


@pytest.mark.parametrize(
  ("optimizer", "equal"),
  [
    (optax.sgd(0.05), True),
    (optax.sgd(0.05, 0.9), True),
    (optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(0.05, 0.9, nesterov=True)), True),
    (optax.adam(0.02), False),
    (optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.5)), False),
  ],
  ids=["sgd", "momentum", "nesterov with decay", "adam", "clipping"],
)
def test_wc_and_wc_with_gc_are_one_algorithm_under_linear_optimisers(optimizer, equal):
  """P (W − η g) = P W − η P g: one trajectory, unless the optimiser is not linear in g."""
  with jax.enable_x64(True):
    alone, both = _train(optimizer, True, False), _train(optimizer, True, True)
    largest = max(
      np.abs(a - b).max()
      for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(both), strict=True)
    )
  assert largest < 1e-12 if equal else largest > 1e-3


def test_gc_alone_is_wc_with_frozen_means():
  """Under SGD the filters' means stay where they were; their centred parts do not follow WC's
  network, which has other means.
  """
  with jax.enable_x64(True):
    start = _train(optax.sgd(0.0), False, False, 1)
    end = _train(optax.sgd(0.05, 0.9), False, True)
    for layer in ("a", "b"):
      np.testing.assert_allclose(
        end[layer]["kernel"].mean(0), start[layer]["kernel"].mean(0), atol=1e-12
      )
      assert np.abs(end[layer]["kernel"] - start[layer]["kernel"]).max() > 0.1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_means_stay_at_zero_through_training(optimizer):
  """A whole training run of lib.training, at every step."""
  x = jax.random.uniform(jax.random.key(0), (60, 12, 12, 1))
  data = training.Data(training.Split(x, jnp.arange(60) % 3))

  def where(path, leaf):
    return updates.is_kernel(path, leaf) and path[0] != "layer_2"

  def project(params):
    return updates.map_kernels(updates.centre, params, where)

  task = training.Task(
    models.LeNet((2, 3), (8, 8), 3),
    optimizer=optimizer,
    epochs=3,
    batch_size=20,
    transform=updates.centralise_gradients(),
    project=project,
  )
  hypers = training.Hypers(0.1)
  state = training.init(task, jax.random.key(1), hypers, data)

  @jax.jit
  def step(state, i):
    rows = (20 * i + jnp.arange(20)) % 60
    batch = training.Split(*(a[rows] for a in data.train))
    state, _ = training.minibatch(task, hypers, state, batch, 60)
    return state, state.params

  for i in range(9):
    state, params = step(state, i)
    for name, layer in params.items():
      (kernel,) = (k["kernel"] for k in layer.values())
      means = np.abs(kernel.mean(tuple(range(kernel.ndim - 1))))
      if name == "layer_2":
        assert means.max() > 1e-3  # the output layer is left alone
      else:
        assert means.max() <= 1e-7 * max(1, float(np.abs(kernel).max()))
  trained, _ = jax.jit(lambda: training.train(task, jax.random.key(1), hypers, data))()
  kernel = trained.params["conv_0"]["conv"]["kernel"]
  assert np.abs(kernel.mean((0, 1, 2))).max() <= 1e-7


def test_centred_errors():
  """The value is untouched; the gradient loses its mean over the chosen axes."""
  x = jax.random.normal(jax.random.key(0), (3, 4, 5, 2))
  error = jax.random.normal(jax.random.key(1), x.shape)
  for over, axes in (
    ((0, 1, 1, 1), (1, 2, 3)),
    ((1, 1, 1, 0), (0, 1, 2)),
    ((1, 1, 1, 1), (0, 1, 2, 3)),
    ((0, 1, 1, 0), (1, 2)),
  ):
    y, pull = jax.vjp(lambda x, over=over: updates.centre_errors(x, jnp.array(over, float)), x)
    np.testing.assert_array_equal(y, x)
    expected = error - error.mean(axes, keepdims=True)
    np.testing.assert_allclose(pull(error)[0], expected, atol=1e-6)
  y, pull = jax.vjp(lambda x: updates.centre_errors(x, jnp.zeros(4)), x)
  np.testing.assert_array_equal(pull(error)[0], error)


def test_mistakes_are_named():
  with pytest.raises(ValueError, match="area must be one of"):
    updates.centre(KERNEL, "filter")
  with pytest.raises(ValueError, match="no masks"):
    updates.centre(jnp.ones((3, 4)), "instance")

"""The root bound in JAX, its gradient, and sampling by ascent."""

import itertools

import jax
import numpy as np
import pytest

from lib.verification import baselines, differentiable, from_arrays, lipschitz_constant


def parameters(widths=(3, 6, 5, 2)):
  rng = np.random.default_rng(0)
  weights = [rng.standard_normal(s) for s in itertools.pairwise(widths)]
  return weights, [rng.standard_normal(k) for k in widths[1:]]


@pytest.mark.parametrize("p", [1, 2, np.inf])
@pytest.mark.parametrize(
  ("activation", "slopes"), [("relu", (0, 1)), ("abs", (-1, 1)), ("leaky_relu:0.2", (0.2, 1))]
)
def test_bound_is_above_the_constant_and_global_one_matches(p, activation, slopes):
  weights, biases = parameters()
  network = from_arrays(weights, biases, activation)
  low, high = -np.ones(3), np.ones(3)
  with jax.enable_x64(True):
    local = float(differentiable.root_bound(weights, biases, low, high, p, slopes))
    everywhere = float(differentiable.root_bound(weights, biases, p=p, slopes=slopes))
    tiny = float(differentiable.root_bound(weights, biases, low / 1e9, high / 1e9, p, slopes))
  assert lipschitz_constant(network, low, high, p).upper_bound <= local <= everywhere
  np.testing.assert_allclose(
    everywhere, baselines.interval_bound(network, None, None, p), rtol=1e-7
  )
  # On a tiny box every unit is decided, and the bound is the Jacobian's with absolute values.
  signs = baselines.root_signs(network, low / 1e9, high / 1e9)
  assert np.all(np.abs(signs) == 1) and tiny <= local


def test_gradient_by_finite_differences():
  weights, biases = parameters()
  low, high = -np.ones(3), np.ones(3)
  with jax.enable_x64(True):

    def bound(weights):
      return differentiable.root_bound(weights, biases, low, high, 2)

    found = jax.grad(bound)(weights)
    direction = [np.random.default_rng(1).standard_normal(w.shape) for w in weights]
    h = 1e-6
    up, down = (
      bound([w + s * h * d for w, d in zip(weights, direction, strict=True)]) for s in (1, -1)
    )
    slope = sum(np.sum(g * d) for g, d in zip(found, direction, strict=True))
  np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=1e-6)


@pytest.mark.parametrize("p", [1.0, 2.0, np.inf])
def test_quotients_climb_towards_the_constant_and_stay_below(p):
  network = from_arrays(*parameters((2, 5, 4, 2)))
  low, high = -np.ones(2), np.ones(2)
  truth = lipschitz_constant(network, low, high, p)
  with jax.enable_x64(True):
    found, x, y = differentiable.sampled_quotient(
      network, low, high, p, jax.random.key(0), starts=64, steps=100
    )
    first, _, _ = differentiable.sampled_quotient(
      network, low, high, p, jax.random.key(0), starts=64, steps=1
    )
  found, first = np.asarray(found), np.asarray(first)
  assert found.max() <= truth.upper_bound * (1 + 1e-9)
  assert found.max() >= 0.5 * truth.lower_bound
  assert np.all(found >= first) and found.mean() > 1.1 * first.mean()
  assert np.all((x >= low) & (x <= high)) and np.all((y >= low) & (y <= high))


def test_other_p_is_refused():
  with pytest.raises(ValueError, match="1, 2 or ∞"):
    differentiable.root_bound(*parameters(), p=3)

"""The engine on problems that have nothing to do with networks."""

import numpy as np
import pytest

from lib.verification import branch_and_bound as bab


def knapsack(values, weights, capacity):
  """0/1 knapsack: a node fixes the first items; its bound is the fractional relaxation."""
  order = np.argsort(-values / weights)
  values, weights = values[order], weights[order]
  n = len(values)

  def split(nodes, lower):
    depth = nodes["depth"]
    children = []
    for take in (0, 1):
      chosen = nodes["chosen"].copy()
      chosen[np.arange(len(depth)), depth] = take
      children.append({"chosen": chosen, "depth": depth + 1})
    both = bab.join(*children)
    return bab.take(both, both["chosen"] @ weights <= capacity)

  def bound(nodes, lower):
    room = capacity - nodes["chosen"] @ weights
    best = nodes["chosen"] @ values
    for i in range(n):
      free = nodes["depth"] <= i
      share = np.where(free, np.clip(room / weights[i], 0, 1), 0)
      room, best = room - share * weights[i], best + share * values[i]
    return nodes, best

  def solve(nodes, bounds):
    return bab.Solutions(nodes["chosen"] @ values, nodes["chosen"], nodes["depth"] == n)

  root = {"chosen": np.zeros((1, n)), "depth": np.zeros(1, int)}
  return bab.Problem(split, bound, solve), root


def dynamic_programming(values, weights, capacity):
  best = np.zeros(capacity + 1)
  for v, w in zip(values, weights, strict=True):
    best[w:] = np.maximum(best[w:], best[:-w] + v)
  return best[-1]


def instance(seed, n=18):
  rng = np.random.default_rng(seed)
  weights = rng.integers(5, 40, n)
  return weights + rng.random(n) * 10, weights, int(weights.sum() // 3)


@pytest.mark.parametrize("batch", [1, 7])
def test_finds_the_maximum(batch):
  for seed in range(8):
    values, weights, capacity = instance(seed)
    problem, root = knapsack(values, weights, capacity)
    state = bab.search(problem, bab.start(problem, root), batch=batch)
    truth = dynamic_programming(values, weights, capacity)
    np.testing.assert_allclose([state.lower, state.upper], truth, rtol=1e-9)
    history = state.history
    assert np.all(np.diff(history["upper"]) <= 1e-12) and np.all(
      np.diff(history["lower"]) >= 0
    )
    assert np.all(history["upper"] >= truth - 1e-9) and np.all(
      history["lower"] <= truth + 1e-9
    )


def test_resuming_changes_nothing():
  problem, root = knapsack(*instance(0))
  whole = bab.search(problem, bab.start(problem, root), batch=4)
  state = bab.start(problem, root)
  while not bab.finished(state):
    state = bab.search(problem, state, batch=4, node_limit=int(state.bounded) + 1)
  for name in ("lower", "upper", "bounded", "expanded"):
    assert getattr(state, name) == getattr(whole, name)
  np.testing.assert_array_equal(state.point, whole.point)


@pytest.mark.parametrize("factor", [1.02, 1.2])
def test_factor_and_what_is_dropped_stay_valid(factor):
  for seed in range(5):
    values, weights, capacity = instance(seed)
    problem, root = knapsack(values, weights, capacity)
    truth = dynamic_programming(values, weights, capacity)
    state = bab.search(problem, bab.start(problem, root), factor=factor)
    assert state.lower <= truth + 1e-9 <= state.upper + 2e-9
    assert state.upper <= factor * state.lower * (1 + 1e-9)
    state = bab.search(problem, bab.start(problem, root), frontier_limit=3, batch=2)
    assert len(state.bounds) <= 3 and state.lower <= truth + 1e-9 <= state.upper + 2e-9


def test_time_limit_cuts_batches(monkeypatch):
  problem, root = knapsack(*instance(2))
  clock = [0.0]
  monkeypatch.setattr(bab.time, "perf_counter", lambda: clock[0])

  def slow(nodes, lower):
    clock[0] += bab.size(nodes)  # a second for each
    return problem.split(nodes, lower)

  start = bab.start(problem, root)
  state = bab.search(problem._replace(split=slow), start, batch=64, time_limit=20.0)
  assert not bab.finished(state) and state.seconds == 20 == state.expanded


def test_stops_when_asked():
  problem, root = knapsack(*instance(1))
  state = bab.search(problem, bab.start(problem, root), time_limit=0.0)
  assert state.expanded == 1
  state = bab.search(
    problem, bab.start(problem, root), batch=1, stop=lambda s: s.expanded >= 5
  )
  assert state.expanded == 5

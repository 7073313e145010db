"""Each claim comes out both ways on made-up results."""

import copy

import numpy as np
import pytest

from projects.lipbab import claims

SEEDS = 10
NAMES = ("iris", "sd1", "sd2", "sd3")


def noise(size=0.02, seed=0):
  return 1 + size * np.random.default_rng(seed).standard_normal(SEEDS)


def row(first):
  one = np.ones(SEEDS)
  return {
    "lower": one,
    "upper": one * (1 + 1e-14),
    "first": first * noise(),
    "root": one * 1.2,
    "layers": one * 20,
    "relaxed": 0.5 + 0.5 * first * noise(0.001),
    "sampled": one * 0.9,
    "upper_2": one * 1.8,
    "upper_1.5": one * 1.4,
    "expanded_1.5": 20 * noise(),
    "expanded_2": one * 5,
    "expanded": one * 100,
    "nodes": one * 150,
    "lps": one * 300,
    "seconds": one,
    "exact": one,
    "least_upper": one * 1e-14,
    "most_lower": -one * 1e-14,
    "rise": 0 * one,
    "fall": 0 * one,
  }


def good():
  one = np.ones(SEEDS)
  rungs = ("printed", "points", "batches", "effect", "signs", "relaxation", "cuts", "sector")
  return {
    "table": {
      name: {p: row(claims.PRINTED_RATIOS[name]) for p in ("1", "2", "inf")} for name in NAMES
    },
    "ascent": {name: {"quotient": 0.8 * one} for name in NAMES},
    "ranges": {name: {"ratio": 0.5 * noise()} for name in NAMES},
    "ablation": {
      name: {
        "nodes": 1000 * 0.6**i * noise(seed=i),
        "lps": 5000 * 0.6**i * noise(seed=i),
        "seconds": one,
        "lower": one,
        "upper": one * (1 + 1e-14),
        "finished": one.astype(bool),
      }
      for i, name in enumerate(rungs)
    },
    "enumeration": {"excess": np.full(30, 1e-14), "deficit": np.full(30, 1e-14)},
    "digits": {
      "ours": {"radius": 0.1 * one, "nodes": 100 * one},
      "interval": {"radius": 0.02 * noise(), "nodes": 100 * one},
    },
    "regulariser": {
      "plain": {"accuracy": 0.95 * noise(0.002), "lower": 10 * noise(), "upper": 11 * noise()},
      "penalised": {
        "accuracy": 0.945 * noise(0.002),
        "lower": 3 * noise(),
        "upper": 3.5 * noise(),
      },
    },
  }


def broken(path, value):
  results = copy.deepcopy(good())
  node = results
  *parts, last = path.split("/")
  for part in parts:
    node = node[part]
  node[last] = value
  return results


ONE = np.ones(SEEDS)
SPOILED = {
  "bounds_hold": ("table/sd2/2/least_upper", np.full(SEEDS, -1e-6)),
  "exact": ("table/sd3/1/upper", ONE * 1.01),
  "factors": ("table/sd1/inf/upper_1.5", ONE * 1.51),
  "depth": ("table/iris", {p: row(2.5) for p in ("1", "2", "inf")}),
  "size_of_first": ("table/iris", {p: row(9.0) for p in ("1", "2", "inf")}),
  "slow_end": (
    "table/sd3",
    {p: {**row(7.0), "expanded_1.5": 90 * noise()} for p in ("1", "2")},
  ),
  "closing": ("table/iris/1/rise", ONE * 1e-3),
  "ranges": ("ranges/sd3/ratio", noise()),
  "sampler_below": ("table/sd3/2/sampled", ONE * 1.001),
  "enumeration": ("enumeration/excess", np.full(30, -1e-12)),
  "same_constant": ("ablation/printed/upper", ONE * 0.99),
  "smaller_tree": ("ablation/sector/nodes", 900 * noise(seed=3)),
  "order_of_bounds": ("table/sd1/2/relaxed", ONE * 0.5),
  "larger_boxes": ("digits/ours/radius", 0.021 * noise(seed=5)),
  "penalty": ("regulariser/penalised/upper", 9 * noise(seed=4)),
}


def test_every_claim_is_spoiled_below():
  assert {claim.id for claim in claims.CLAIMS} == set(SPOILED)


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda c: c.id)
def test_both_ways(claim):
  assert claim.check(good()).verdict == "reproduced", claim.check(good()).why
  assert claim.check(broken(*SPOILED[claim.id])).verdict in ("not_reproduced", "partly")


@pytest.mark.parametrize("name", ["bounds_hold", "exact", "factors", "closing", "slow_end"])
def test_single_statements_are_refuted(name):
  claim = next(c for c in claims.CLAIMS if c.id == name)
  assert claim.check(broken(*SPOILED[name])).verdict == "not_reproduced"


def test_accuracy_alone_can_refute_the_penalty():
  spoiled = broken("regulariser/penalised/accuracy", 0.8 * noise(0.002))
  found = next(c for c in claims.CLAIMS if c.id == "penalty").check(spoiled)
  assert found.verdict == "partly" and "accuracy: not reproduced" in found.why


def test_metrics_are_numbers_and_times_are_named():
  found = claims.metrics(good())
  assert all(np.isfinite(v) and np.ndim(v) == 0 for v in found.values())
  assert found["upper_bound/sd3/p=2"] == pytest.approx(1)
  assert {k.split("/")[0] for k in found if "second" in k or "_s/" in k} == {
    "solve_s",
    "ablation_s",
  }


def test_a_network_of_ones_own_is_judged_by_what_is_always_true():
  history = {
    "upper": np.array([3.0, 2.0]),
    "lower": np.array([1.0, 1.5]),
    "seconds": np.zeros(2),
    "expanded": np.arange(2.0),
  }
  single = {"lower": 1.5, "upper": 2.0, "sampled": 1.2, "history": history}
  by_id = {c.id: c.check for c in claims.CLAIMS}
  assert by_id["bounds_hold"]({"single": single}).verdict == "reproduced"
  assert by_id["exact"]({"single": single}).verdict == "not_tested"
  bad = {**single, "sampled": 2.1}
  assert by_id["sampler_below"]({"single": bad}).verdict == "not_reproduced"
  bad = {**single, "history": {**history, "upper": np.array([1.4, 2.0])}}
  assert by_id["bounds_hold"]({"single": bad}).verdict == "not_reproduced"

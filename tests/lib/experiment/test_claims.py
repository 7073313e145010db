"""Claims: each helper comes out every way."""

import math

import numpy as np
import pytest

from lib.experiment import Claim
from lib.experiment import claims as check


def test_between_follows_the_interval():
  samples = [0.9, 1.0, 1.1]  # t interval 1 ± 4.303 * 0.1 / sqrt(3) = 1 ± 0.248
  assert check.between(samples, 0.7, 1.3).verdict == "reproduced"
  assert check.between(samples, 0.9, 1.1).verdict == "partly"
  assert check.between(samples, 1.3, 2.0).verdict == "not_reproduced"
  assert check.below(samples, 1.2).verdict == "partly"
  assert check.below(samples, 0.7).verdict == "not_reproduced"
  assert check.above(samples, 0.7).verdict == "reproduced"
  found = check.above(samples, 0.7)
  assert found.interval == pytest.approx((1 - 0.2484, 1 + 0.2484), abs=1e-4)
  assert found.seeds == 3


def test_one_seed_cannot_decide():
  assert check.below([0.0], 1.0).verdict == "partly"


def test_greater_is_paired():
  base = np.array([0.0, 10.0, 20.0, 30.0])
  assert check.greater(base + [1.0, 1.1, 0.9, 1.0], base).verdict == "reproduced"
  assert check.greater(base, base + [1.0, 1.1, 0.9, 1.0]).verdict == "not_reproduced"
  assert check.greater(base + [1, -1, 1, -1], base).verdict == "partly"


def test_exact_and_every():
  good, bad = check.exact(0.5, 1.0), check.exact(2.0, 1.0)
  assert (good.verdict, bad.verdict) == ("reproduced", "not_reproduced")
  assert check.every({"a": good, "b": good}).verdict == "reproduced"
  mixed = check.every({"a": good, "b": bad}, quantity="ratio")
  assert (mixed.verdict, mixed.measured, mixed.quantity) == ("partly", 2.0, "ratio (b)")
  assert check.every([bad, bad]).verdict == "not_reproduced"
  assert check.every([good, check.not_tested("no data")]).verdict == "partly"
  assert check.every([check.not_tested("no data")]).verdict == "not_tested"


def test_not_a_number_does_not_pass():
  assert check.exact(math.nan, 1.0).verdict == "not_reproduced"
  with pytest.raises(ValueError, match="not finite"):
    check.below([1.0, math.nan], 2.0)


def test_rows_hold_json_numbers():
  claim = Claim("c", "Table 1", "s", "e", lambda r: check.below([r["x"]], 2.0))
  (row,) = check.evaluate([claim], {"x": 1.0})
  assert row["measured"] == 1.0 and row["uncertainty"] is None
  assert row["interval"] == [None, None]
  with pytest.raises(ValueError, match="unique"):
    check.evaluate([claim, claim], {"x": 1.0})


def test_too_few_seeds_decide_nothing():
  @check.with_seeds(3)
  def positive(results):
    """Its name and text stay."""
    return check.above(results["x"], 0.0)

  results = {"seeds": np.arange(3), "x": np.array([1.0, 1.1, 0.9])}
  assert positive(results).verdict == check.REPRODUCED
  few = positive({"seeds": np.arange(2), "x": np.array([1.0, 1.1])})
  assert few.verdict == check.NOT_TESTED and "fewer than 3" in few.why
  assert positive.__doc__ == "Its name and text stay."

"""Claims: what a paper says, as data, with a pure check over measured results.

A check returns an `Outcome`. The helpers decide by an interval: `reproduced` when all of it
satisfies the condition, `not_reproduced` when all of it violates it, `partly` when the
condition lies inside it, that is, when the measurement cannot tell.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.metrics import statistics

REPRODUCED, PARTLY = "reproduced", "partly"
NOT_REPRODUCED, NOT_TESTED = "not_reproduced", "not_tested"
VERDICTS = (REPRODUCED, PARTLY, NOT_REPRODUCED, NOT_TESTED)


@dataclass(frozen=True)
class Outcome:
  """What a check found.

  Attributes:
    measured: the measured number, None where nothing was measured.
    interval: its 95 % interval (low, high), None for a deterministic value.
    seeds: how many independent seeds it rests on.
    verdict: one of VERDICTS.
    why: one sentence with the numbers that decided.
    quantity: what the measured number is.
  """

  measured: float | None
  interval: tuple[float, float] | None
  seeds: int
  verdict: str
  why: str
  quantity: str = ""

  def __post_init__(self):
    if self.verdict not in VERDICTS:
      raise ValueError(f"verdict '{self.verdict}' is none of {VERDICTS}")


@dataclass(frozen=True)
class Claim:
  """A statement of the paper, or a control that it lacks.

  Attributes:
    id: short unique name.
    source: where in the paper ("Table 1", "Fig. 5"), or "control".
    statement: what is claimed, in our words.
    expected: what the measurement has to show for `reproduced`.
    check: pure function of the measured results; must be able to come out either way.
    control: whether this is an addition to the paper.
  """

  id: str
  source: str
  statement: str
  expected: str
  check: Callable[[Mapping[str, Any]], Outcome]
  control: bool = False


def verdict(*, measured, interval=None, seeds, verdict, why, quantity="") -> Outcome:
  """An outcome built by hand, for checks that no helper expresses."""
  return Outcome(_number(measured), _pair(interval), int(seeds), verdict, why, quantity)


def not_tested(why: str) -> Outcome:
  """The claim could not be tested here, and why."""
  return Outcome(None, None, 0, NOT_TESTED, why)


def with_seeds(least: int) -> Callable[[Callable], Callable]:
  """A decorator for checks: with fewer seeds than `least` the claim is not tested.

  The results have their seeds under the key "seeds".
  """

  def decorate(decide):
    @functools.wraps(decide)
    def checked(results):
      if len(results["seeds"]) < least:
        return not_tested(f"fewer than {least} seeds have no spread to compare with.")
      return decide(results)

    return checked

  return decorate


def estimate(value, low, high, seeds) -> statistics.Interval:
  """A ready-made estimate with its interval, where the samples themselves are not at hand."""
  return statistics.Interval(float(value), float(low), float(high), int(seeds))


def below(samples, limit: float, *, quantity: str = "") -> Outcome:
  """The mean lies below the limit."""
  return between(samples, -math.inf, limit, quantity=quantity)


def above(samples, limit: float, *, quantity: str = "") -> Outcome:
  """The mean lies above the limit."""
  return between(samples, limit, math.inf, quantity=quantity)


def between(samples, low: float, high: float, *, quantity: str = "") -> Outcome:
  """The mean lies between two limits (either may be infinite).

  Args:
    samples: per-seed values, or an `Interval` (see `estimate`).
    low, high: the limits.
    quantity: what the number is, for the table.
  """
  found = (
    samples if isinstance(samples, statistics.Interval) else statistics.mean_interval(samples)
  )
  if low < found.low and found.high < high:
    decided = REPRODUCED
  elif found.high <= low or found.low >= high:
    decided = NOT_REPRODUCED
  else:
    decided = PARTLY
  wanted = {
    (True, False): f"below {_show(high)}",
    (False, True): f"above {_show(low)}",
  }.get((math.isinf(low), math.isinf(high)), f"between {_show(low)} and {_show(high)}")
  relation = {
    REPRODUCED: f"the whole interval is {wanted}",
    NOT_REPRODUCED: f"the whole interval is not {wanted}",
    PARTLY: f"the interval straddles the limit, wanted {wanted}",
  }[decided]
  why = f"{_show(found.mean)} [{_show(found.low)}, {_show(found.high)}]: {relation}."
  return Outcome(found.mean, _pair((found.low, found.high)), found.n, decided, why, quantity)


def greater(a, b, *, margin: float = 0.0, quantity: str = "") -> Outcome:
  """Paired over seeds, a exceeds b by more than the margin (t interval of the difference)."""
  test = statistics.paired_test(a, b)
  outcome = above(estimate(test.difference, test.low, test.high, test.n), margin)
  why = f"paired difference {outcome.why[:-1]} (p = {test.p:.2g})."
  return Outcome(
    outcome.measured, outcome.interval, outcome.seeds, outcome.verdict, why, quantity
  )


def exact(value: float, limit: float, *, seeds: int = 1, quantity: str = "") -> Outcome:
  """A deterministic value is at most the limit."""
  holds = float(value) <= limit
  why = f"{_show(value)} is {'at most' if holds else 'more than'} {_show(limit)}."
  decided = REPRODUCED if holds else NOT_REPRODUCED
  return Outcome(_number(value), None, seeds, decided, why, quantity)


def every(
  outcomes: Mapping[str, Outcome] | Sequence[Outcome], *, quantity: str = ""
) -> Outcome:
  """All parts hold: reproduced if each is, not reproduced if none is, partly otherwise.

  The number shown is that of the part furthest from its goal: the first that is not
  reproduced, else the first that is partly so, else the first.
  """
  named = (
    dict(outcomes)
    if isinstance(outcomes, Mapping)
    else {str(i + 1): o for i, o in enumerate(outcomes)}
  )
  if not named:
    raise ValueError("a claim needs at least one part")
  tested = {k: o for k, o in named.items() if o.verdict != NOT_TESTED}
  if not tested:
    return not_tested("; ".join(f"{k}: {o.why}" for k, o in named.items()))
  verdicts = [o.verdict for o in tested.values()]
  if all(v == REPRODUCED for v in verdicts) and len(tested) == len(named):
    decided = REPRODUCED
  elif all(v == NOT_REPRODUCED for v in verdicts):
    decided = NOT_REPRODUCED
  else:
    decided = PARTLY
  order = (NOT_REPRODUCED, PARTLY, REPRODUCED)
  worst = min(tested, key=lambda k: order.index(tested[k].verdict))
  shown = tested[worst]
  why = "; ".join(f"{k}: {o.verdict.replace('_', ' ')}, {o.why}" for k, o in named.items())
  label = f"{quantity or shown.quantity} ({worst})".strip()
  seeds = min(o.seeds for o in tested.values())
  return Outcome(shown.measured, shown.interval, seeds, decided, why, label)


def evaluate(claims: Sequence[Claim], results: Mapping[str, Any]) -> list[dict[str, Any]]:
  """The claims' rows of `results.json`.

  A check that raises is a fault of the project, not a verdict: it is raised on.
  """
  ids = [claim.id for claim in claims]
  if len(set(ids)) != len(ids):
    raise ValueError(f"claim ids are not unique: {ids}")
  return [_row(claim, claim.check(results)) for claim in claims]


def _row(claim: Claim, outcome: Outcome) -> dict[str, Any]:
  interval = outcome.interval
  return {
    "id": claim.id,
    "source": claim.source,
    "control": claim.control,
    "statement": claim.statement,
    "expected": claim.expected,
    "quantity": outcome.quantity,
    "measured": outcome.measured,
    "uncertainty": None if interval is None else _number((interval[1] - interval[0]) / 2),
    "interval": None if interval is None else list(map(_number, interval)),
    "seeds": outcome.seeds,
    "verdict": outcome.verdict,
    "why": outcome.why,
  }


def _number(value) -> float | None:
  """A float, or None for what JSON cannot hold."""
  if value is None:
    return None
  value = float(np.asarray(value))
  return value if math.isfinite(value) else None


def _pair(interval) -> tuple[float, float] | None:
  return None if interval is None else (float(interval[0]), float(interval[1]))


def _show(value) -> str:
  return f"{float(value):.4g}"

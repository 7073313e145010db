import itertools

import numpy as np
import pytest

from lib.experiment import claims as check
from projects.capacity import cells, claims, figures

SEEDS, EPOCHS = 12, 10


def made_up(effect, complexity=-1.0, rising=0.5, inflation=0.001, violation=0.0):
  """Results of all cells in which MIC and EIC add `effect` to the accuracy of their base.

  WD adds nothing, LS, CP and VIB are a little better than the baseline where effect is
  negative and a little worse where it is positive.
  """
  rng = np.random.default_rng(0)
  seed_part = 0.02 * rng.normal(size=SEEDS)
  found = {}
  for cell in (*cells.TABLE_1, *cells.TABLE_2, *cells.CONTROLS):
    regularised = any(p.startswith(("mic", "eic")) for p in cells.parts(cell))
    regularised &= cell not in cells.MATCHED
    other = cells.parts(cell)[:1] and cells.parts(cell)[0] in ("cp", "ls", "vib")
    accuracy = 0.9 + seed_part + 0.0005 * rng.normal(size=SEEDS)
    accuracy += effect * (1.5 if "wd+" in cell else 1.0) * regularised
    accuracy -= 0.1 * effect * bool(other)
    level = 1.0 + complexity * regularised * 0.5 + 0.01 * rng.uniform(size=SEEDS)
    change = -np.ones((SEEDS, EPOCHS)) * 0.01 + 0.001 * rng.normal(size=(SEEDS, EPOCHS))
    if regularised == (rising > 0):  # these rise at every second epoch
      change[:, ::2] *= -0.5
    curve = 1 + np.cumsum(change, 1) + (0.5 * rising if regularised else 0)
    bounds = np.tile(np.arange(1.0, 6.0), (SEEDS, 3, 1))
    bounds[0, 0, 0] += violation
    found[cell] = {
      "test_accuracy": accuracy,
      "test_accuracy_max_over_epochs": accuracy + inflation + 1e-4 * rng.uniform(size=SEEDS),
      "test_accuracy_history": np.tile(accuracy[:, None], EPOCHS),
      "train_cross_entropy": curve[:, -1],
      "train_cross_entropy_history": curve,
      "mic_layer_sum": level,
      "frobenius_norm": level,
      "spectral_norm_mean": level,
      "bounds_layers": bounds,
    }
  values = np.geomspace(0.01, 0.5, 6)
  tuning = {
    cell: {
      "values": values,
      "validation_accuracy": 0.9 + 0.01 * rng.normal(size=(6, 3)),
      "validation_loss": np.ones((6, 3)),
      "mic_layer_sum": complexity * np.arange(6)[:, None] + 0.1 * rng.uniform(size=(6, 3)),
      "frobenius_norm": np.ones((6, 3)),
      "chosen": np.asarray(2),
    }
    for cell in cells.tuned(found)
  }
  return {
    "seeds": np.arange(SEEDS),
    "tuning_seeds": np.asarray(3),
    "cells": found,
    "tuning": tuning,
    "chosen": {cell: np.asarray(0.1) for cell in tuning},
  }


GOOD = made_up(effect=0.05)
BAD = made_up(effect=-0.05, complexity=1.0, rising=-1.0, violation=5.0)


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_comes_out_both_ways(claim):
  good, bad = claim.check(GOOD), claim.check(BAD)
  assert good.verdict == check.REPRODUCED, good.why
  assert bad.verdict == check.NOT_REPRODUCED, bad.why


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_what_was_not_run_is_not_tested(claim):
  empty = GOOD | {"cells": {"none": GOOD["cells"]["none"]}, "tuning": {}}
  if claim.id != "bound_chain_holds":
    assert claim.check(empty).verdict == check.NOT_TESTED


def test_chance_is_not_a_gain():
  """No effect: no claim about accuracy is reproduced, and Holm keeps none."""
  null = made_up(effect=0.0)
  named = {claim.id: claim for claim in claims.CLAIMS}
  for name in ("ic_always_improves", "gains_exceed_seed_spread", "control_holm"):
    assert named[name].check(null).verdict != check.REPRODUCED


def test_serration():
  falling = np.linspace(1, 0, 21)[None]
  assert claims.serration(falling) == 0
  noise = np.random.default_rng(0).normal(size=(1, 4001))
  np.testing.assert_allclose(claims.serration(noise), 0.5, atol=0.01)
  # two down, one up of equal size: a third of the variation rises
  saw = np.cumsum(np.tile([-1.0, -1.0, 1.0], 20))[None]
  np.testing.assert_allclose(claims.serration(saw), 1 / 3, atol=0.02)
  # scale and level do not matter
  np.testing.assert_allclose(claims.serration(5 + 3 * saw), claims.serration(saw))
  assert claims.serration(np.ones((1, 9))) == 0


def test_metrics_are_numbers_by_cell():
  flat = claims.metrics(GOOD)
  for cell in GOOD["cells"]:
    np.testing.assert_allclose(
      flat[f"test_accuracy/{cell}"], GOOD["cells"][cell]["test_accuracy"].mean()
    )
  np.testing.assert_allclose(flat["accuracy_gain/cp+mic"], 0.05, atol=0.002)
  assert flat["accuracy_gain_holm_p/cp+mic"] >= flat["accuracy_gain_p/cp+mic"]
  assert all(np.ndim(value) == 0 for value in flat.values())


def test_cells():
  """18 cells of the two tables; each addition stands on a tuned cell."""
  assert len(set(cells.TABLE_1) | set(cells.TABLE_2)) == 18
  assert set(claims.PAPER_MNIST) == {*cells.TABLE_1, *cells.TABLE_2}
  tuned = cells.tuned((*cells.TABLE_1, *cells.TABLE_2, *cells.CONTROLS))
  assert len(tuned) == 20
  for i, cell in enumerate(tuned):
    assert cells.parent(cell) in ("none", *tuned[:i])
  assert cells.tuned(("wd_matched_eic",)) == ("wd", "eic")
  assert cells.group("vib+eic") == cells.Group(True, "eic", False)
  assert cells.group("mic_code") == cells.Group(False, "mic", True)
  assert cells.group("wd_matched_mic") == cells.group("cp+wd") == cells.group("none")
  assert cells.label("wd+mic") == "WD + MIC"


def test_paper_says_that_every_term_improves_its_table():
  """Read off the printed table: MIC and EIC are above their base in all ten MNIST cells."""
  for base, addition in itertools.product(cells.BASES, ("mic", "eic")):
    assert claims.PAPER_MNIST[cells.added(base, addition)] > claims.PAPER_MNIST[base]


@pytest.mark.parametrize("figure", figures.FIGURES, ids=lambda figure: figure.name)
def test_figures_have_labelled_axes(figure):
  for results in (
    GOOD,
    GOOD | {"cells": {k: GOOD["cells"][k] for k in ("none", "wd", "mic")}},
  ):
    fig = figure.draw(results)
    assert all(ax.get_xlabel() for ax in fig.axes)
    assert any(ax.get_ylabel() or len(ax.get_yticklabels()) > 2 for ax in fig.axes)

"""The benchmark's pieces against plain loops, each claim both ways, and the smoke preset."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.ece_estimators import get_config
from lib.experiment import UserError, bind
from lib.metrics import binning, calibration, density
from projects.ece_estimators import claims, estimators, experiment, figures, printed
from projects.ece_estimators import quantities as q

SIZES = np.array([30, 61, 122, 247, 500])
BINS, BANDWIDTHS, FEW = (10, 30), (0.033, 0.1), 5
NAMES = estimators.names(BINS, BANDWIDTHS, FEW)
PAPERS = estimators.paper_names(BINS, BANDWIDTHS)


# --- pieces


def test_names_are_in_the_order_of_the_estimates():
  rng = np.random.default_rng(0)
  s = rng.uniform(size=50).astype(np.float32)
  h = (rng.uniform(size=50) < s).astype(np.float32)
  run = jax.jit(lambda s, h: jnp.stack(estimators.estimates(s, h, BINS, BANDWIDTHS, FEW, 128)))
  found = dict(zip(NAMES, map(float, run(s, h)), strict=True))
  assert NAMES[: len(PAPERS)] == PAPERS and len(PAPERS) == 15 and len(NAMES) == 27
  expected = {
    "ece_30": calibration.ece(s, h, 30),
    "a_sqrt": calibration.adaptive_ece(s, h, 8),
    "c_5": calibration.convex_ece(s, h, 5),
    "ac_10": calibration.adaptive_convex_ece(s, h, 10),
    "d_silverman": calibration.kde_ece(s, h, points=128),
    "d_0.1": calibration.kde_ece(s, h, 0.1, points=128),
    "d_silverman_0.9": calibration.kde_ece(s, h, density.silverman(s, 0.9), points=128),
    "ac_sqrt_printed": printed.convex_ece(s, h, binning.adaptive_edges(s, 8)),
    "a_5": calibration.adaptive_ece(s, h, 5),
    "a_10_printed": calibration.binned_ece(s, h, printed.adaptive_edges(s, 10)),
  }
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-4, err_msg=name)


def test_printed_formulas_by_hand():
  s = jnp.arange(1, 13) / 13
  np.testing.assert_allclose(
    printed.adaptive_edges(s, 4), np.array([0, 4, 5, 7, 13]) / 13, rtol=1e-6
  )
  # centres ¼ and ¾; 0.4 is 0.3 of the way, and the print gives that share to the near bin
  edges = binning.uniform_edges(2)
  found = printed.convex_ece(jnp.array([0.4, 0.1]), jnp.array([1.0, 0.0]), edges)
  np.testing.assert_allclose(found, (abs(0.3 * 0.6 - 0.1) + 0.7 * 0.6) / 2, rtol=1e-5)


def test_coarse_grid_is_fine_enough():
  """512 cells instead of the paper's 3334, at the bandwidths that occur."""
  rng = np.random.default_rng(0)
  s = rng.beta(8, 2, (5, 120)).astype(np.float32)
  h = (rng.uniform(size=s.shape) < s**2).astype(np.float32)
  for bandwidth in (None, 0.02, 0.005):
    coarse, fine = (calibration.kde_ece(s, h, bandwidth, points=g) for g in (512, 3334))
    np.testing.assert_allclose(coarse, fine, rtol=6e-3)


def test_errors_by_hand():
  estimates = np.array([[1.0, 2.0], [3.0, 2.0]])[None]  # one model, two sets, two estimators
  error, bias, spread = experiment.relative_errors(estimates, np.array([2.0]), 100.0)
  np.testing.assert_allclose(error, [[0.5, 0.0]])
  np.testing.assert_allclose(bias, [[0.0, 0.0]])
  np.testing.assert_allclose(spread, [[0.5, 0.0]])


def small():
  return bind(get_config("smoke"), {"holdout.points": 4000, "holdout.pool": 500})


def test_score_distributions_belong_to_their_seed():
  both = experiment.distributions(small(), 3, 2, [0, 1])
  one = experiment.distribution(small(), 3, 2, 1)
  assert both["s"].shape == (2, 1, 2, 4, 500)
  for name in one:
    np.testing.assert_array_equal(both[name][1], one[name])
  # rows: the confidence is the largest of the classes', and hits of the classes are exclusive
  np.testing.assert_array_equal(one["s"][..., 0, :], one["s"][..., 1:, :].max(-2))
  assert np.all(one["h"][..., 1:, :].sum(-2) == 1)
  # exact truth and that from labels agree up to noise; the models are not calibrated
  np.testing.assert_allclose(one["true_ece"], one["labelled_ece"], atol=0.05)
  assert 0.005 < one["true_ece"].min() < one["true_ece"].max() < 0.5


def test_an_estimate_of_the_truth_that_is_not_positive_is_refused():
  config = bind(small(), {"holdout.points": 200, "holdout.pool": 100, "holdout.bins": 100})
  with pytest.raises(UserError, match="true error is estimated"):
    experiment.distributions(config, 2, 2, range(4))


def test_evaluation_sets_are_the_same_for_all_rows_of_a_classifier():
  config = bind(small(), {"size": 40})
  rng = np.random.default_rng(0)
  s = rng.uniform(size=(3, 500)).astype(np.float32)
  operands = {"s": jnp.asarray(np.stack([s[0], s[0], s[2]])), "h": jnp.zeros((3, 500), bool)}
  state = jnp.asarray(2)
  run = jax.jit(
    lambda row, draw: experiment.step(
      bind(config, {"row": row, "draw": draw}), operands, state
    )[1]["estimates"]
  )
  np.testing.assert_array_equal(run(0, 5), run(1, 5))
  assert not np.array_equal(run(0, 5), run(0, 6))
  with_labels = bind(config, {"calibrated": True})
  _, found = jax.jit(lambda x: experiment.step(with_labels, operands, x))(state)
  # without a hit every estimator reports the mean score, a half; these labels are calibrated
  assert np.all(found["estimates"] < run(0, 0) - 0.1)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"models": ("logistic", "tree")}, "models has 'tree'"),
    ({"seeds": 0}, "seeds is 0"),
    ({"classes": (1,)}, "at least 2"),
    ({"train.size": 30}, "20 examples"),
    ({"sizes": (100, 30)}, "rising"),
    ({"holdout.pool": 10**9}, "at most holdout.points"),
    ({"percentile": 100.0}, "between 0 and 100"),
    ({"bandwidths": (0.0,)}, "positive"),
    ({"bandwidths": ()}, "bandwidths is empty"),
    ({"models": ()}, "models is empty"),
    ({"dims": (2, 2)}, "each once"),
    ({"figure.bandwidth": -1.0}, "positive"),
    ({"figure.resamples": 0}, "figure.resamples is 0"),
    ({"figure.size": 1}, "figure.size is 1"),
    ({"few_bins": 10}, "bins has already"),
    ({"low": 1.0}, "below 1"),
  ],
)
def test_impossible_numbers_are_refused(changes, message):
  with pytest.raises(UserError, match=message):
    experiment.check(bind(get_config(), changes))


# --- claims


def made_up(good: bool):
  """Median errors as the paper describes them, or the other way round."""
  rng = np.random.default_rng(0)
  x = np.log(SIZES / 30) / np.log(500 / 30)  # 0 to 1
  column = {name: i for i, name in enumerate(NAMES)}
  errors = {}
  for setting in ("conf", "cw"):
    table = np.exp(-x)[:, None] * np.linspace(1.0, 1.01, len(NAMES))

    def times(name, factor, table=table):
      table[:, column[name]] *= factor

    for name in NAMES:
      family, _, option = name.partition("_")
      option, _, form = option.partition("_")
      if option == "sqrt":
        times(name, 1.0 + (0.3 if good else -0.3) * x)
      if option in ("10", "30"):
        steps = {"a": 1.1, "c": 0.95, "ac": 1.02}.get(family, 1.0)
        times(name, steps if good else 1 / steps)
      if option == "silverman":
        factors = (0.92, 1.5) if good else (2.0, 0.5)
        times(
          name, factors[setting == "cw"] * (1.02 if form and good else 1 + 0.5 * bool(form))
        )
      elif form == "printed":
        times(name, 1.03 if good else 0.7 if family == "a" else 0.98)
      if option == "5":
        times(name, 3.0 if good else 0.1)
    if setting == "conf":  # estimators far from the best at small N, or at large N
      far = [i for i, name in enumerate(NAMES) if name.split("_")[1] in ("10", "30")]
      table[:, far] *= (2 - x if good else 1 + 3 * x)[:, None]
      table[:, [column[n] for n in PAPERS if n.startswith("d_0")]] *= 1 if good else 3
    elif good:
      for form in ("", "_printed"):
        for name, best in (("ac_sqrt", SIZES < 100), ("ac_10", SIZES >= 100)):
          table[:, column[name + form]] = (
            np.where(best, 0.5, 3.0) * np.exp(-x) * (1.03 if form else 1)
          )
      for family in ("ece", "a", "c", "ac"):
        fixed = table[:, [column[f"{family}_{b}"] for b in BINS]].min(1)
        if family != "ac":
          table[:, column[f"{family}_sqrt"]] = fixed * (1 + 0.3 * x)
    noise = np.exp(0.01 * rng.normal(size=(40, 4, 1, 1)))
    table *= (0.12 if good else 2.0) / table[0, : len(PAPERS)].min()
    truth = np.full((40, 4), 1.0)
    # of adaptive bins over equal ones, against the errors where those are the other way
    ratio = np.where([n.startswith("a_") for n in NAMES], 1.5 if good else 0.6, 1.0)
    order = slice(None) if good else slice(None, None, -1)
    errors[setting] = {
      "error": table * noise,
      "error_labelled": (table * noise)[..., order],
      "bias": table * noise * ratio,
      "spread": table * noise * ratio,
      "true_ece": truth,
      "labelled_ece": truth * (1.0 if good else 1.3) * noise[..., 0, 0] ** 0.1,
    }
    errors[setting]["resampled"] = {
      reading: q.resampled(q.error(errors, setting, reading), 40) for reading in q.READINGS
    }
  base = 0.05 + 0.001 * rng.normal(size=(40, 4, len(NAMES)))
  base[..., NAMES.index("d_silverman")] += -0.02 if good else 0.02
  return errors | {
    "names": np.array(NAMES),
    "papers": np.array(len(PAPERS)),
    "few": np.array(FEW),
    "bins": np.array(BINS),
    "sizes": SIZES,
    "models": np.array(list(experiment.MODELS)),
    "accuracy": np.full((40, 4), 0.7),
    "calibrated": base,
  }


GOOD, BAD = made_up(True), made_up(False)


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_comes_out_both_ways(claim, both_ways):
  both_ways(claim, GOOD, BAD)


def test_medians_and_their_intervals():
  errors = np.random.default_rng(0).lognormal(size=(30, 2, 1, 1))
  np.testing.assert_allclose(q.median(errors)[0, 0], np.median(errors))
  drawn = q.resampled(errors, 200)
  assert drawn.shape == (200, 1, 1) and drawn.min() < np.median(errors) < drawn.max()
  # a mixture's classifiers stay together: identical mixtures have no spread
  same = np.broadcast_to(errors[:1], errors.shape)
  assert np.ptp(q.resampled(same, 50)) == 0


def test_metrics_are_numbers():
  flat = claims.metrics(GOOD)
  assert all(np.ndim(value) == 0 and np.isfinite(value) for value in flat.values())
  np.testing.assert_allclose(
    flat["error/conf/ece_10/30"], np.median(GOOD["conf"]["error"][:, :, 0, 0])
  )


def test_smoke_preset_end_to_end(command, comparable, tmp_path):
  run = ("-m", "projects.ece_estimators.main", "--config=configs/ece_estimators.py:smoke")
  done = command.run(*run, f"--workdir={tmp_path}/a")
  assert done.returncode == 0, done.stderr
  results = json.loads((tmp_path / "a" / "results.json").read_text())
  assert results["project"] == "ece_estimators" and len(results["claims"]) == len(
    claims.CLAIMS
  )
  assert {p.stem for p in (tmp_path / "a/figures").glob("*.png")} == {
    figure.name for figure in figures.FIGURES
  }
  again = command.run(*run, f"--workdir={tmp_path}/b")
  assert again.returncode == 0, again.stderr
  assert comparable(tmp_path / "a/results.json") == comparable(tmp_path / "b/results.json")

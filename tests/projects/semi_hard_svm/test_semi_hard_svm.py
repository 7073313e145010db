"""The experiment's pieces against single machines, claims both ways, and the smoke preset."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.semi_hard_svm import get_config
from lib import numerics
from lib.experiment import UserError, bind
from lib.experiment import claims as check
from lib.kernels import machines
from projects.semi_hard_svm import claims, experiment, figures, quantities

# --- pieces


def test_a_batch_of_machines_is_its_rows():
  rng = np.random.default_rng(0)
  y = experiment.labels(8, 12)
  x = rng.standard_normal((20, 2)) + y[:, None]
  k = np.exp(-((x[:, None] - x) ** 2).sum(-1))
  lams, where = (1.0, 100.0), np.arange(20) % 5 > 0
  with jax.enable_x64(True):
    fit = jax.jit(lambda k: experiment.fit(k, jnp.asarray(y), lams, where))
    made, _, error = fit(k)
    found = jax.vmap(lambda one: machines.decision(one, k, jnp.ones(20)))(made)
    rows = experiment.rows(lams)
    assert len(rows) == len(found) == 13 and error.max() < 1e-8
    genuine, solve = (1 + y) / 2, jax.jit(numerics.solve_qp)
    for name, ridge in (
      ("svm", np.ones(20) / 100),
      ("weighted", (genuine + (1 - genuine) / 100) / 100),
      ("sh_svm", genuine / 100),
    ):
      alpha = solve(*machines.margin_dual(k, y, ridge, where)).x
      one = machines.margin_machine(k, y, ridge, alpha, where)
      expected = machines.decision(one, k)
      np.testing.assert_allclose(found[rows.index((name, 100.0))], expected, atol=1e-5)
    for name, printed, margin in (
      ("sh_svdd", False, 1.0),
      ("printed_svdd", True, 0.0),
      ("mixed_svdd", True, 1.0),
    ):
      alpha = solve(*machines.sphere_dual(k, y, genuine, where, printed)).x
      one = machines.sphere_machine(k, y, genuine, alpha, where, margin)
      expected = machines.decision(one, k, np.ones(20))
      np.testing.assert_allclose(found[rows.index((name, 1.0))], expected, atol=1e-5)
    alpha = solve(*machines.twin_dual(k, y, where)).x
    expected = machines.decision(machines.twin_machine(k, y, alpha, where), k)
    np.testing.assert_allclose(found[-1], expected, atol=1e-4)


def test_measure_by_hand():
  y, test_y = experiment.labels(2, 3), experiment.labels(2, 4)
  scores = jnp.array([1.0, -0.2, 0.4, -1.0, 0.1, 0.3, 0.5, 0.45, -0.6, -2.0, 0.2])
  where = np.array([True, True, True, True, False])
  found = experiment.measure(scores, y, where, test_y, jnp.array(0.9))
  assert found["top"] == pytest.approx(0.4) and found["train_far"] == 0.5
  np.testing.assert_allclose(found["far"], [0.5, 0.25, 0.5, 0.25, 0.0])
  np.testing.assert_allclose(found["frr"], [0.0, 0.5, 0.0, 0.5, 1.0], atol=1e-7)
  np.testing.assert_array_equal(found["left_false_accepts"], [1, 0, 1, 0, 0])
  np.testing.assert_array_equal(found["left_false_rejects"], 0)


def test_impostors_of_training_and_test_are_others_and_folds_are_stratified():
  config = bind(get_config("smoke"), {"difficulty": 0.0})
  drawn = experiment.draw(config, 3)
  genuine, impostors = config.genuine.train, config.train_writers * config.repetitions
  x = drawn["inputs"][0]
  first, then = (
    x[genuine : genuine + impostors],
    x[genuine + impostors + config.genuine.test :],
  )
  assert len(np.unique(first.round(6), axis=0)) == config.train_writers
  distance = np.abs(first[:, None] - then).max(-1)
  assert distance.min() > 1e-3
  np.testing.assert_allclose(x[:genuine], np.broadcast_to(x[0], x[:genuine].shape), atol=1e-9)
  counts = np.bincount(drawn["folds"][0][genuine:])
  assert np.ptp(counts) <= 1 and len(counts) == config.folds


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"folds": 9}, "folds is 9"),
    ({"kernels": ("gauss:1",)}, "kernels has 'gauss:1'"),
    ({"kernels": ("poly:x",)}, "poly:DEGREE"),
    ({"lams": (0.0,)}, "positive"),
    ({"banana.lam": 7.0}, "must contain"),
    ({"kernels": ("rbf:-1",)}, "positive"),
    ({"kernels": ("poly:0",)}, "poly:DEGREE"),
    ({"kernels": ()}, "kernels is empty"),
    ({"lams": ()}, "lams is empty"),
    ({"shrinkage": 0.0}, "shrinkage"),
    ({"copied": 1.0}, "copied"),
    ({"targets": 0}, "targets is 0"),
  ],
)
def test_impossible_numbers_are_refused(changes, message):
  with pytest.raises(UserError, match=message):
    experiment.check(bind(get_config(), changes))


# --- claims


def made_up(good: bool):
  """Errors as the paper describes them, with every control in its favour, or the contrary."""
  rng = np.random.default_rng(0)
  seeds, targets = 8, 10
  lams = (1.0, 100.0)
  shifts = {
    quantities.SHIFTED: 0.2,
    quantities.HALF: -0.1,
    quantities.LEAST: 0.9,
    quantities.PRINTED: 0.001,
  }

  def table(names, row_lams, shape, values):
    """{name: array}: a value of each machine and threshold, with a little noise."""
    found = {}
    for key in ("cv_far", "cv_frr", "far", "frr"):
      found[key] = np.zeros((*shape, len(names), 5))
    for key in ("auc", "frr_at_1", "top", "train_far", "train_frr", "error"):
      found[key] = np.zeros((*shape, len(names)))
    for i, name in enumerate(names):
      far, frr, auc, late = values[name]
      for t in range(5):
        shift = shifts.get(t, 0.0)
        if name.endswith("svdd") or name.startswith("sh"):
          shift = 0.0 if t in (quantities.SHIFTED, quantities.LEAST) else shift
        scale = 1.0 if good else (-1.0 if t != quantities.PRINTED else 100.0)
        found["far"][..., i, t], found["frr"][..., i, t] = far, frr + scale * shift
      found["auc"][..., i], found["frr_at_1"][..., i] = auc, late
      found["top"][..., i] = -1 if good else 0.5
    worse = np.asarray(row_lams) == lams[0]
    found["cv_far"][...] = 0.1 + 0.1 * worse[:, None]
    for key, value in found.items():
      if key not in ("cv_far", "cv_frr", "top", "error"):
        value += 1e-4 * rng.normal(size=value.shape[:1]).reshape(-1, *[1] * (value.ndim - 1))
    return found

  values = {  # FAR, FRR, AUC, FRR at 1 %
    "svm": (0.3, 0.3, 0.85, 0.8),
    "weighted": (0.2, 0.5, 0.85, 0.8),
    "sh_svm": (0.2, 0.32, 0.9, 0.7),
    "sh_svdd": (0.2, 0.32, 0.9, 0.7),
    "sh_twsvm": (0.15, 0.9, 0.8, 0.8),
    "printed_svdd": (0.2, 0.32, 0.8, 0.8),
    "mixed_svdd": (1.0, 0.0, 0.8, 0.8),
  }
  if not good:
    values |= {
      "svm": (0.1, 0.3, 0.95, 0.5),
      "weighted": (0.1, 0.3, 0.95, 0.5),
      "sh_svm": (0.3, 0.4, 0.9, 0.7),
      "sh_svdd": (0.2, 0.5, 0.9, 0.7),
      "sh_twsvm": (0.05, 0.1, 0.8, 0.8),
    }
  rows = experiment.rows(lams)
  names, row_lams = zip(*rows, strict=True)
  signatures = table(names, row_lams, (seeds, targets, 2), values)
  if not good:  # FRR falls at equal λ, but not where λ is selected
    values["sh_svm"] = (0.3, 0.2, 0.9, 0.7)
    signatures["frr"][..., names.index("sh_svm"), :] = -1.0
  plane_rows = experiment.rows((100.0,))
  plane_names, plane_lams = zip(*plane_rows, strict=True)
  plane = table(plane_names, plane_lams, (seeds,), values)
  svm, mixed, twin = (plane_names.index(n) for n in ("svm", "mixed_svdd", "sh_twsvm"))
  noise = 1e-4 * rng.normal(size=seeds)
  for key in ("train_far", "train_frr"):
    plane[key][:, svm] = 0.1 * good
    signatures[key][...] = 0.1 * good
  plane["train_far"][:, mixed] = 0.0 if good else 0.5
  plane["train_far"][:, mixed] += abs(noise) * 0.01
  plane["map"] = np.ones((seeds, len(plane_names), 100))
  area = np.arange(100)
  plane["map"][:, :, :50] = -1
  plane["map"][:, twin] = np.where(area < (80 if good else 20), -1, 1)
  cm_far, cm_frr = (0.01, 1.0) if good else (0.9, 0.5)
  cm = {
    "far": np.full((seeds, targets, 5), cm_far),
    "frr": np.full((seeds, targets, 5), cm_frr),
  }
  if good:
    twin_rows = np.flatnonzero(np.array(names) == "sh_twsvm")
    signatures["frr"][:, 0, :, twin_rows[0], quantities.ZERO] = 1.0
  return {
    "machines": signatures,
    "cm": cm,
    "kernels": np.array(["linear", "rbf:1"]),
    "row_names": np.array(names),
    "row_lams": np.array(row_lams),
    "banana": plane,
    "banana_names": np.array(plane_names),
    "banana_lams": np.array(plane_lams),
    "banana_lam": np.array(100.0),
  }


GOOD, BAD = made_up(True), made_up(False)


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_comes_out_both_ways(claim, both_ways):
  both_ways(claim, GOOD, BAD)


def test_selection_by_hand():
  results = {
    "row_names": np.array(["svm", "svm", "sh_svm"]),
    "row_lams": np.array([1.0, 10.0, 1.0]),
    "kernels": np.array(["linear", "rbf:1"]),
  }
  far, frr = np.zeros((1, 3, 2, 3, 5)), np.zeros((1, 3, 2, 3, 5))
  frr[..., :2, :] = 0.5
  frr[0, 0, 1, 0] = 0.1  # the least sum
  far[0, 1], frr[0, 1, :, :2] = 0.2, 0.3  # a tie: the lower FAR
  far[0, 1, 1, 0], frr[0, 1, 1, 0] = 0.1, 0.4
  results["machines"] = {"cv_far": far, "cv_frr": frr}
  kernel, row = quantities.chosen(results, "svm")
  # the last: all equal, the larger λ
  np.testing.assert_array_equal(kernel[0], [1, 1, 0])
  np.testing.assert_array_equal(row[0], [0, 0, 1])
  _, row = quantities.chosen(results, "svm", smallest=True)  # … the smaller λ
  np.testing.assert_array_equal(row[0], [0, 0, 0])


def test_without_gaussian_kernels_what_is_said_of_them_is_not_tested():
  results = GOOD | {"kernels": np.array(["linear", "poly:2"])}
  verdicts = {c.id: c.check(results).verdict for c in claims.CLAIMS}
  untested = [k for k, v in verdicts.items() if v == check.NOT_TESTED]
  assert untested == ["equal_parameters", "svdd_like_svm"]
  assert claims.metrics(results)


def test_smoke_preset_end_to_end(command, comparable, tmp_path):
  run = ("-m", "projects.semi_hard_svm.main", "--config=configs/semi_hard_svm.py:smoke")
  done = command.run(*run, f"--workdir={tmp_path}/a")
  assert done.returncode == 0, done.stderr
  results = json.loads((tmp_path / "a" / "results.json").read_text())
  assert results["project"] == "semi_hard_svm"
  assert len(results["claims"]) == len(claims.CLAIMS)
  assert results["metrics"]["largest_kkt_error"] < 1e-6
  assert {p.stem for p in (tmp_path / "a/figures").glob("*.png")} == {
    figure.name for figure in figures.FIGURES
  }
  again = command.run(*run, f"--workdir={tmp_path}/b")
  assert again.returncode == 0, again.stderr
  assert comparable(tmp_path / "a/results.json") == comparable(tmp_path / "b/results.json")

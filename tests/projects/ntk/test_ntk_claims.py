"""Each claim of ntk on made-up results, where it holds and where it does not; real runs."""

import json

import jax
import numpy as np
import pytest

from lib import experiment
from lib.experiment.claims import NOT_REPRODUCED, NOT_TESTED, PARTLY, REPRODUCED
from projects.ntk import claims, figures
from projects.ntk import quantities as q

WIDTHS = (100, 1000, 10_000, 100_000)
S = np.linspace(0, 1, 21)
SIZES = {  # quantity: (size at m = 100, exponent)
  "a": (0.2, -0.5),
  "b": (0.4, 0.0),
  "error": (0.1, -0.5),
  "change": (0.3, -0.45),
  "rms": (0.1, -0.5),
  "energy": (0.1, -0.5),
  "energy_change": (0.02, -1.0),
  "residual": (0.01, 0.0),
  "drift": (0.0, 0.0),
}


def made_up(widths=WIDTHS, networks=40, spread=0.1, law="normal", **sizes):
  """A stage whose measurements follow given powers of the width, with 10 % noise."""
  sizes = SIZES | sizes
  rng = np.random.default_rng(0)
  stage = {
    "x": np.linspace(-1, 1, 6),
    "y": np.ones(6),
    "weight": np.full(6, 1 / 6),
    "within": np.zeros(()),
    "curve_x": np.linspace(-1, 1, 11),
    "times": np.array([0.0, 1.0, 2.0]),
    "s": S,
    "step_size": np.array(0.1),
  }
  time = np.array([0.0, 0.5, 1.0])
  for m in widths:

    def size(name, m=m):
      base, power = sizes[name]
      noise = 1 + spread * rng.uniform(-1, 1, networks)
      return base * (m / 100) ** power * noise

    if law == "normal":
      steps = rng.standard_normal((networks, 3, 20))
    else:
      steps = rng.uniform(-np.sqrt(3), np.sqrt(3), (networks, 3, 1)) * np.ones(20)
    start = np.concatenate([np.zeros((networks, 3, 1)), np.cumsum(steps, -1)], -1) / np.sqrt(
      20
    )
    shifts = np.stack([size("a"), size("a"), size("b")], 1) + size("drift")[:, None]
    error = size("error") * np.sqrt(np.mean(shifts[:, 2] ** 2))
    energy = size("energy") * rng.choice([-1, 1], networks)
    change = size("energy_change")
    three = np.ones(3)
    stage[f"width_{m}"] = {
      "start": start,
      "shift": shifts[:, None, :, None] * time[:, None, None] * S,
      "a_shift": np.abs(shifts[:, 0]),
      "a0_shift": np.abs(shifts[:, 1]),
      "b_shift": np.abs(shifts[:, 2]),
      "b_shift_error": error,
      "b_line": shifts[:, 2, None] * time,
      "mean": np.zeros((networks, 3, 3)),
      "second": 1 + energy[:, None] * three,
      "energy_change": change[:, None, None] * time[:, None] * three,
      "change_max": size("change")[:, None, None] * time[:, None] * three,
      "change_rms": size("rms")[:, None, None] * time[:, None] * three,
      "tracked": rng.standard_normal((networks, 3, 3, 4)) * time[:, None, None],
      "residual": size("residual")[:, None, None] * np.ones((3, 6)),
      "loss": np.ones((networks, 3)),
      "final_loss": np.ones(networks),
      "curve": rng.standard_normal((networks, 2, 11)),
    }
  return stage


def made_up_flow(order=1.0, size=1e-3, networks=10):
  rng = np.random.default_rng(1)
  exact = rng.standard_normal((networks, 1, 1, 1)) * np.ones((1, 2, 3, 1)) * S
  flow = {"step_sizes": 0.1 / 2.0 ** np.arange(3), "width": np.array(10)}
  flow["flow"] = {"shift": exact}
  for i in range(3):
    wrong = size * 2.0 ** (-order * i) * (1 + 0.1 * rng.uniform(-1, 1, (networks, 1, 1, 1)))
    flow[f"descent_{i}"] = {"shift": exact + wrong * S}
  return flow


def results(**changes):
  """What a paper come true looks like; `changes` replaces stages."""
  odd = {"b": (0.3, -0.5), "error": (1.0, 0.0)}
  lazy = {"rms": (0.5, 0.0), "energy_change": (0.4, 0.0), "drift": (3.0, 0.5)}
  good = {
    "relu": made_up(),
    "tanh": made_up(WIDTHS[:3], **odd),
    "erf": made_up(WIDTHS[:3], **odd),
    "mean_field": made_up(WIDTHS[:3], **lazy),
    "real": made_up(WIDTHS[:3]),
    "flow": made_up_flow(),
  }
  return good | changes


def verdict(name, **changes):
  (claim,) = [c for c in claims.CLAIMS if c.id == name]
  return claim.check(results(**changes)).verdict


def relu(**sizes):
  return {"relu": made_up(**sizes)}


def test_all_claims_hold_where_everything_is_as_stated():
  found = {c.id: c.check(results()) for c in claims.CLAIMS}
  wrong = {name: o.why for name, o in found.items() if o.verdict != REPRODUCED}
  assert not wrong


FAILURES = {
  "outputs_fit": relu(residual=(0.5, 0.0)),
  "parameters_rest": relu(change=(0.3, 0.0)),
  "pre_sums_rest": relu(a=(0.3, 0.0)),
  "b_sum_moves": relu(b=(0.2, -0.5)),
  "b_follows_theory": relu(error=(0.3, 0.0)),
  "energies_conserved": relu(energy=(0.1, 0.0)),
  "tightness": relu(drift=(3.0, 0.5)),
  "donsker": relu(law="uniform", networks=400),
  "energy_change_faster": relu(energy_change=(0.02, -0.5)),
  "odd_activation_control": {"tanh": made_up(WIDTHS[:3]), "erf": made_up(WIDTHS[:3])},
  "mean_field_control": {"mean_field": made_up(WIDTHS[:3])},
  "mean_field_not_tight": {"mean_field": made_up(WIDTHS[:3], networks=400)},
  "wider_than_paper": relu(a=(0.2, 0.3), b=(0.4, -0.5), error=(0.5, 0.0)),
  "descent_is_flow": {"flow": made_up_flow(order=0.0, size=0.1)},
  "real_data": {"real": made_up(WIDTHS[:3], error=(0.5, 0.0))},
}


def test_every_claim_has_a_failure():
  assert set(FAILURES) == {c.id for c in claims.CLAIMS}


@pytest.mark.parametrize("name", sorted(FAILURES))
def test_each_claim_fails_where_it_is_false(name):
  assert verdict(name, **FAILURES[name]) == NOT_REPRODUCED


def test_b_that_rests_is_not_called_moving_at_small_widths_only():
  assert verdict("b_sum_moves", **relu(b=(0.02, 0.0))) == PARTLY


def test_noise_is_called_undecided():
  wild = relu(networks=4, spread=0.99, error=(1.58, -0.5))
  assert verdict("b_follows_theory", **wild) == PARTLY


def test_too_few_widths_or_networks_are_not_tested():
  assert verdict("tightness", **relu(networks=4)) == NOT_TESTED
  assert verdict("donsker", **relu(networks=4)) == NOT_TESTED
  assert verdict("parameters_rest", **relu(widths=(100,))) == NOT_TESTED
  assert verdict("wider_than_paper", **relu(widths=(100, 1000))) == NOT_TESTED


# --- quantities


def test_energy_about_the_ensemble_mean():
  rng = np.random.default_rng(3)
  start, end = rng.standard_normal((2, 5, 3, 700))
  end = 1.5 * end + 0.7  # (networks, parameters, neurons)
  found = q.Energy(
    {
      "mean": np.stack([start.mean(-1), end.mean(-1)], 1),
      "second": (start**2).mean(-1),
      "energy_change": np.stack([0 * start.mean(-1), (end**2 - start**2).mean(-1)], 1),
    }
  )
  for t, values in enumerate((start, end)):
    centre = values.mean((0, 2))[:, None]
    np.testing.assert_allclose(found.value[:, t], ((values - centre) ** 2).mean(-1))
    np.testing.assert_allclose(found.expectation[t], centre[:, 0])
  error = end.mean(-1).std(0, ddof=1) / np.sqrt(5)
  np.testing.assert_allclose(found.monte_carlo[1], error)
  assert (found.max_change <= found.max_deviation + np.abs(found.value[:, 0] - 1)).all()


def test_fourth_moments_of_brownian_motion_are_three():
  stage = made_up(widths=(100,), networks=4000, a=(0.0, 0.0))
  lags, samples = q.fourth_moments(q.members(stage, 100), q.A)
  assert lags[0] == 1 / 20 and lags[-1] == 1
  np.testing.assert_allclose(samples.mean((0, 1)), 3, atol=0.6)
  assert 2.7 < q.sup_fourth_moment(q.members(stage, 100), q.A, 10)[0] < 3.7


def test_fourth_moments_by_hand():
  member = {"start": np.zeros((1, 3, 3)), "shift": np.zeros((1, 1, 3, 3))}
  member["shift"][0, 0, 2] = [0.0, 1.0, 3.0]
  lags, samples = q.fourth_moments(member, q.B)
  np.testing.assert_allclose(lags, [0.5, 1.0])
  np.testing.assert_allclose(samples[0, 0], [(1 + 16) / 2 / 0.25, 81.0])


def test_theory_error_is_relative_to_the_lines_of_the_ensemble():
  member = {"b_line": np.array([[0, 3.0], [0, -4.0]]), "b_shift_error": np.array([1.0, 0.5])}
  np.testing.assert_allclose(q.theory_error(member), np.array([1, 0.5]) / np.sqrt(12.5))


def test_metrics_are_finite_and_have_the_names_that_are_promised():
  found = claims.metrics(results())
  for name in ("a_shift_exponent", "b_shift_exponent"):
    assert name in found
  for m in WIDTHS:
    assert f"b_shift_vs_theory_relative_error/width_{m}" in found
    for parameter in ("a", "a0", "b"):
      assert f"energy_max_deviation/{parameter}/width_{m}" in found
  assert all(np.isfinite(v) for v in found.values())
  assert abs(found["a_shift_exponent"] + 0.5) < 0.05


@pytest.mark.parametrize("figure", figures.FIGURES, ids=lambda f: f.name)
def test_figures_draw(figure, tmp_path):
  from lib import plotting

  found = results(real=made_up((100,)), mean_field=made_up(()))
  assert plotting.save(figure.draw(found), tmp_path / "figure.png").stat().st_size > 5000


# --- the command


@pytest.mark.xdist_group("smoke ntk")  # beside the tests that need that run too
def test_smoke_preset_from_the_shell(smoke):
  workdir = smoke("ntk").workdir
  written = json.loads((workdir / "results.json").read_text())
  assert len(written["claims"]) == len(claims.CLAIMS)
  tested = [c for c in written["claims"] if c["verdict"] != NOT_TESTED]
  assert len(tested) * 2 >= len(claims.CLAIMS)
  assert {f"{f.name}.png" for f in figures.FIGURES} == {
    path.name for path in (workdir / "figures").glob("*.png")
  }


@pytest.mark.slow
@pytest.mark.parametrize(
  ("flag", "key"), [("--config.width=0", "width"), ("--config.step_size=-1.0", "step_size")]
)
def test_bad_input_ends_in_one_sentence(command, tmp_path, flag, key):
  done = command.run(
    "-m", "projects.ntk.main", "--config=configs/ntk.py:smoke", flag, f"--workdir={tmp_path}"
  )
  assert done.returncode == 2
  assert key in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_sweep_members_equal_single_runs(tmp_path):
  from configs import ntk as config_file
  from lib.experiment import Context, sweep
  from projects.ntk.experiment import PROGRAM, prepare

  config = config_file.get_config("smoke")
  axes = sweep.parse(config, ["width=20,30", "seed=0:3", "step_size=0.25,0.5"])
  swept = sweep.run(Context(tmp_path), PROGRAM, prepare, config, axes)
  assert swept["b_shift"].shape == (2, 3, 2)
  assert len(np.unique(swept["b_shift"])) == 12
  one = experiment.bind(config, {"width": 30, "seed": 2, "step_size": 0.25})
  alone = jax.jit(lambda operands: PROGRAM(one, operands))(prepare(one))
  for name in ("b_shift", "a_shift", "final_loss"):
    np.testing.assert_allclose(swept[name][1, 2, 0], alone[name], rtol=1e-4)

"""The project as its users meet it: a network of their own, interruptions, bad input."""

import itertools
import json
import signal
import time

import numpy as np
import pytest

from lib.verification import lipschitz_constant, to_npz
from projects.lipbab import experiment, training

MAIN = ("-m", "projects.lipbab.main", "--config=configs/lipbab.py")

pytestmark = pytest.mark.xdist_group("lipbab")


def random_network(widths, seed=0):
  rng = np.random.default_rng(seed)
  weights = [rng.standard_normal(s) * (2 / s[0]) ** 0.5 for s in itertools.pairwise(widths)]
  return weights, [0.2 * rng.standard_normal(k) for k in widths[1:]]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
  path = tmp_path_factory.mktemp("networks") / "small.npz"
  return to_npz(path, *random_network((4, 8, 6, 3)))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
  path = tmp_path_factory.mktemp("networks") / "large.npz"
  return to_npz(path, *random_network((10, 60, 60, 60, 5)))


def run(command, network, workdir, **keys):
  flags = [f"--config.{key}={value}" for key, value in keys.items()]
  return command.run(*MAIN, f"--config.network={network}", f"--workdir={workdir}", *flags)


@pytest.mark.parametrize("p", ["2", "inf"])
def test_a_network_of_ones_own(command, small, tmp_path, p):
  done = run(command, small, tmp_path, lower="0.0", upper="1.0", p=p, factor="1.0")
  assert done.returncode == 0, done.stderr
  results = json.loads((tmp_path / "results.json").read_text())
  found = results["metrics"]
  expected = lipschitz_constant(str(small), 0.0, 1.0, float(p))
  assert found["upper_bound"] == expected.upper_bound
  assert found["lower_bound"] == expected.lower_bound
  assert (found["nodes"], found["lps"]) == (expected.nodes, expected.lps)
  assert found["first_estimate"] >= found["relaxed_bound"] >= found["upper_bound"]
  assert found["sampled_lower_bound"] <= found["upper_bound"] and found["solve_s"] > 0
  assert f"certified: L = {expected.upper_bound:.15g}" in done.stdout
  assert {p.name for p in (tmp_path / "figures").iterdir()} == {
    "bounds.png",
    "bounds_close.png",
  }
  verdicts = {c["id"]: c["verdict"] for c in results["claims"]}
  assert verdicts["bounds_hold"] == verdicts["sampler_below"] == "reproduced"
  assert verdicts["exact"] == "not_tested"


def test_boxes_with_one_number_an_input_and_global(command, small, tmp_path):
  low, high = "0,0.1,0.2,0", "1,0.5,0.2,2"
  done = run(command, small, tmp_path / "box", lower=low, upper=high)
  assert done.returncode == 0, done.stderr
  box = json.loads((tmp_path / "box" / "results.json").read_text())["metrics"]
  done = run(command, small, tmp_path / "all", everywhere="true", node_limit="40")
  assert done.returncode == 0, done.stderr
  everywhere = json.loads((tmp_path / "all" / "results.json").read_text())["metrics"]
  assert everywhere["upper_bound"] >= box["lower_bound"]


def bounds_of(line):
  """(lower, upper) of a line `... 1.2 ≤ L ≤ 3.4 ...`."""
  low, rest = line.split(": ", 1)[1].split(" ≤ L ≤ ")
  return float(low), float(rest.split()[0])


def test_interrupt_prints_valid_bounds_and_resume_goes_on(command, large, tmp_path):
  flags = (*MAIN, f"--config.network={large}", f"--workdir={tmp_path}", "--config.upper=1.0")
  process = command.start(*flags, "--checkpoint_every_s=0")
  saved = tmp_path / "checkpoints" / "search" / "progress.npz"
  deadline = time.monotonic() + 60
  while not saved.exists() and time.monotonic() < deadline:
    time.sleep(0.05)
  time.sleep(0.5)
  process.send_signal(signal.SIGINT)
  out, err = process.communicate(timeout=120)
  assert process.returncode == 0, err
  assert "goes on from there" in err and not (tmp_path / "results.json").exists()
  line = next(line for line in out.splitlines() if line.startswith("certified so far"))
  low, high = bounds_of(line)
  assert 0 < low < high
  with np.load(saved) as file:
    before = int(file["bounded"])
    assert len(file["bounds"]) and file["history/upper"][-1] == pytest.approx(high, rel=1e-8)

  process = command.start(*flags, "--checkpoint_every_s=0")
  deadline = time.monotonic() + 60
  bounded = before
  while bounded <= before and time.monotonic() < deadline:
    time.sleep(0.1)
    with np.load(saved) as file:
      bounded = int(file["bounded"])
  process.send_signal(signal.SIGTERM)
  out, err = process.communicate(timeout=120)
  assert process.returncode == 0, err
  later = bounds_of(next(line for line in out.splitlines() if "so far" in line))
  assert bounded > before and low <= later[0] <= later[1] <= high


def test_time_limit_ends_with_results_and_the_same_command_goes_on(command, large, tmp_path):
  keys = {"upper": "1.0", "time_limit": "0.3"}
  done = run(command, large, tmp_path, **keys)
  assert done.returncode == 0, done.stderr
  first = json.loads((tmp_path / "results.json").read_text())["metrics"]
  done = run(command, large, tmp_path, **keys)
  assert done.returncode == 0, done.stderr
  second = json.loads((tmp_path / "results.json").read_text())["metrics"]
  assert second["nodes"] > first["nodes"]
  assert first["lower_bound"] <= second["lower_bound"] <= second["upper_bound"]
  assert second["upper_bound"] <= first["upper_bound"]


def test_damaged_progress_begins_again(command, small, tmp_path):
  file = tmp_path / "checkpoints" / "search" / "progress.npz"
  file.parent.mkdir(parents=True)
  file.write_bytes(b"PK\x03\x04 truncated")
  done = run(command, small, tmp_path, upper="1.0")
  assert done.returncode == 0, done.stderr
  assert "damaged" in done.stderr


def test_another_network_under_the_same_name_is_refused(command, tmp_path):
  path = to_npz(tmp_path / "net.npz", *random_network((4, 8, 6, 3)))
  done = run(command, path, tmp_path / "run", upper="1.0")
  assert done.returncode == 0, done.stderr
  to_npz(path, *random_network((4, 8, 6, 3), seed=1))
  done = run(command, path, tmp_path / "run", upper="1.0")
  assert done.returncode == 2
  assert done.stderr.strip().splitlines()[-1].startswith("error: the progress to go on from")


@pytest.mark.parametrize(
  ("keys", "message"),
  [
    ({"p": "0.5"}, "p of at least 1"),
    ({"p": "two"}, "give 1, 2, inf"),
    ({"factor": "0.5"}, "at least 1"),
    ({"lower": "2.0"}, "lower > upper"),
    ({"lower": "0,1"}, "the network has 4 inputs"),
    ({"activation": "tanh"}, "unknown activation 'tanh'"),
    ({"network": "absent.npz"}, "no file 'absent.npz'"),
    ({"time_limit": "-1"}, "0 for no limit"),
    ({"backend": "torch"}, "choose numpy or jax"),
  ],
)
def test_mistakes_are_one_sentence(small, keys, message):
  from lib.experiment import UserError, configs

  config = configs.load("configs/lipbab.py")
  overrides = {"network": str(small), **keys}
  with pytest.raises(UserError, match=message) as error:
    experiment.check(configs.override(config, list(overrides.items())))
  assert str(error.value).count("\n") == 0


def test_unknown_network_of_the_table():
  from lib.experiment import UserError, configs

  config = configs.load("configs/lipbab.py")
  with pytest.raises(UserError, match="choose from iris, sd1, sd2, sd3"):
    experiment.check(configs.override(config, [("networks", "('iris', 'sd9')")]))


def test_networks_have_the_sizes_of_table_1():
  arrays = training.table_networks("sd1", [3])
  assert training.network(arrays, 0).hidden == (15, 10)
  assert arrays["W0"].shape == (1, 10, 15) and arrays["b2"].shape == (1, 3)
  again = training.table_networks("sd1", [2, 3])
  np.testing.assert_array_equal(again["W1"][1], arrays["W1"][0])  # a seed is a network


def test_summary_reads_the_table_off_one_history():
  weights, biases = random_network((4, 8, 6, 3))
  result = lipschitz_constant((weights, biases), 0.0, 1.0)
  row = experiment.summary(result)
  for k in (2.0, 1.5):
    stopped = lipschitz_constant((weights, biases), 0.0, 1.0, factor=k)
    assert stopped.nodes <= result.nodes
    for value in (row[f"upper_{k:g}"], stopped.upper_bound):
      assert row["lower"] <= value <= k * row["lower"] * (1 + 1e-9)
    assert row[f"expanded_{k:g}"] <= row["expanded"]
  assert row["least_upper"] >= 0 >= row["most_lower"] and row["rise"] == row["fall"] == 0


def test_ladder_begins_with_the_printed_method_and_ends_with_ours():
  rungs = experiment.variants()
  weights, biases = random_network((4, 8, 6, 3))
  default = lipschitz_constant((weights, biases), 0.0, 1.0)
  last = lipschitz_constant((weights, biases), 0.0, 1.0, **rungs["sector"])
  printed = lipschitz_constant((weights, biases), 0.0, 1.0, **rungs["printed"])
  assert (last.nodes, last.upper_bound) == (default.nodes, default.upper_bound)
  assert printed.root_bound == printed.first_estimate  # both the paper's
  assert printed.upper_bound == pytest.approx(default.upper_bound, rel=1e-9)
  assert printed.nodes > default.nodes and printed.lps > default.lps

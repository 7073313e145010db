"""Exact Lipschitz constants: time, ablation, scale.

    python -m benchmarks.lipbab exact|shell|ablation|digits|wide ... [--seeds=6] [--seconds=60]

Each part takes at most three minutes on two cores (digits: with one of `--bounds`):
  exact     networks of size (10,30,30,30,3) on [0, 0.1]^10, p = 2, factor 1, one a seed:
            seconds, sub-problems and linear programs of this program and of the algorithm as
            printed (our code with the printed options: the same solver of linear programs,
            one sub-problem at a time), and their ratios. The authors' program takes 33.5 s,
            663 sub-problems and 6274 programs for its network of this size on two cores;
  shell     seconds of the whole command for one such network (seed 2), three times;
  ablation  the same by parts, from the printed algorithm to ours, and ours without each part:
            sums over the seeds;
  digits    a digits classifier 64-100-100-10: the largest radius at which factor 1.5 is
            reached in so many seconds, with interval bounds or with ours (`--bounds`); with
            `--radius`, sub-problems of both at factor 1.5 on one box;
  wide      784-100-100-10 on boxes around an image: bounds over a quarter of the seconds each.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from lib.verification import lipschitz_constant, to_npz
from projects.lipbab import training
from projects.lipbab.experiment import variants

AUTHORS = {"seconds": 33.5, "nodes": 663, "lps": 6274}


def network_of(name, seed):
  """A network of Table 1."""
  return training.network(training.table_networks(name, [seed]), 0)


def text(result):
  """Seconds, sub-problems and programs."""
  return f"{result.seconds:.2f} s, {result.nodes} sub-problems, {result.lps} programs"


def exact(seeds, limit):
  """One line a seed, and the seed whose printed tree is nearest to the authors'."""
  rows = []
  lipschitz_constant(network_of("sd1", 0), 0.0, 0.1)  # imports
  for seed in range(seeds):
    network = network_of("sd3", seed)
    ours = min(
      (lipschitz_constant(network, 0.0, 0.1) for _ in range(2)), key=lambda r: r.seconds
    )
    printed = lipschitz_constant(network, 0.0, 0.1, time_limit=limit, **variants()["printed"])
    rows.append((seed, ours, printed))
    print(
      f"seed {seed}: L = {ours.upper_bound:.6f}; ours {text(ours)}; printed {text(printed)}"
      f"{'' if printed.finished else ' (not finished)'}; "
      f"{printed.seconds / ours.seconds:.0f} × faster, "
      f"{printed.nodes / ours.nodes:.1f} × fewer sub-problems",
      flush=True,
    )
  nearest = min(rows, key=lambda r: abs(np.log(r[2].nodes / AUTHORS["nodes"])))
  ours = nearest[1]
  print(
    f"nearest to the authors' tree: seed {nearest[0]}, {nearest[2].nodes} sub-problems as "
    f"printed; {AUTHORS['seconds'] / ours.seconds:.0f} × faster than the authors' program on "
    f"theirs (goal 100), {ours.seconds:.2f} s (goal 0.3)"
  )


def shell():
  """The command of the README, from the shell."""
  network = network_of("sd3", 2)
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    path = to_npz(folder / "net.npz", [w.T for w in network.weights], network.biases)
    command = [sys.executable, "-m", "projects.lipbab.main", "--config=configs/lipbab.py"]
    command += [f"--config.network={path}", "--config.lower=0.0", "--config.upper=0.1"]
    times = []
    for i in range(3):
      began = time.perf_counter()
      subprocess.run(
        [*command, f"--workdir={folder / str(i)}"],
        check=True,
        cwd=pathlib.Path(__file__).parents[1],
        stdout=subprocess.DEVNULL,
      )
      times.append(time.perf_counter() - began)
  print(f"from the shell: {', '.join(f'{t:.1f} s' for t in times)} (goal 6 s)")


def ablation(seeds):
  """One line a rung, sums over the seeds."""
  networks = [network_of("sd3", seed) for seed in range(seeds)]
  rungs = {**variants(), "ours": {}}
  rungs |= {
    "ours, no quadratic bound": {"sector": False},
    "ours, no bounds on cuts": {"cuts": False},
    "ours, no known points": {"reuse": False},
    "ours, first unit": {"score": "first"},
    "ours, with relaxation": {"relaxation": True},
    "ours, no batches": {"batch": 1},
  }
  lipschitz_constant(networks[0], 0.0, 0.1)  # imports
  print(f"{'rung':24} {'sub-problems':>12} {'programs':>9} {'seconds':>8}")
  for name, options in rungs.items():
    found = [lipschitz_constant(network, 0.0, 0.1, **options) for network in networks]
    nodes, lps, spent = (
      sum(getattr(r, k) for r in found) for k in ("nodes", "lps", "seconds")
    )
    print(f"{name:24} {nodes:12} {lps:9} {spent:8.2f}", flush=True)


RUNGS = {"interval": "effect", "ours": "sector"}


def digits(seconds, names, only):
  """Largest radii, or sub-problems on one box."""
  arrays = training.digits_networks((100, 100), 60, [0])
  network, centre = training.network(arrays, 0), arrays["centre"][0]

  def reach(name, radius):
    found = lipschitz_constant(
      network,
      centre - radius,
      centre + radius,
      2,
      1.5,
      time_limit=seconds,
      **variants()[RUNGS[name]],
    )
    print(
      f"{name}: radius {radius:.5f}, {found.lower_bound:.3f} ≤ L ≤ {found.upper_bound:.3f}, "
      f"{text(found)}{'' if found.finished else ' (not reached)'}",
      flush=True,
    )
    return found

  if only:
    theirs, ours = (reach(name, only) for name in RUNGS)
    at_least = "" if theirs.finished else "at least "
    print(f"{at_least}{theirs.nodes / ours.nodes:.1f} × fewer sub-problems (goal 5)")
    return
  for name in names:
    radius = 0.00125
    while reach(name, radius).finished:
      radius *= 2**0.5
    print(f"{name}: largest radius {radius / 2**0.5:.5f}")


def wide(seconds):
  """784 inputs: digits blown up to 28 × 28."""
  from sklearn.datasets import load_digits
  from sklearn.neural_network import MLPClassifier

  x, y = load_digits(return_X_y=True)
  x = np.kron(x.reshape(-1, 8, 8) / 16, np.ones((1, 4, 4)))[:, 2:30, 2:30].reshape(len(x), -1)
  model = MLPClassifier(hidden_layer_sizes=(100, 100), max_iter=20, random_state=0).fit(x, y)
  for radius in (0.003, 0.01, 0.03, 0.1):
    began = time.perf_counter()
    found = lipschitz_constant(model, x[0] - radius, x[0] + radius, 2, time_limit=seconds / 4)
    h = found.history
    shown = [0, *np.searchsorted(h["seconds"], (1.0, 5.0)), len(h["upper"]) - 1]
    line = ", ".join(
      f"{h['upper'][i] / h['lower'][i]:.4f} at {h['seconds'][i]:.1f} s"
      for i in sorted({min(i, len(h["upper"]) - 1) for i in shown})
    )
    print(
      f"radius {radius}: interval {found.first_estimate:.2f}, {found.lower_bound:.3f} ≤ L ≤ "
      f"{found.upper_bound:.3f}; upper / lower {line} ({time.perf_counter() - began:.1f} s)",
      flush=True,
    )


def main():
  """Prints times and ratios."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    "parts", nargs="+", choices=["exact", "shell", "ablation", "digits", "wide"]
  )
  parser.add_argument("--seeds", type=int, default=6)
  parser.add_argument("--seconds", type=float, default=60.0)
  parser.add_argument("--bounds", choices=list(RUNGS), help="of digits; both by default")
  parser.add_argument("--radius", type=float, help="of digits: both on this box alone")
  options = parser.parse_args()
  if "exact" in options.parts:
    exact(options.seeds, options.seconds)
  if "shell" in options.parts:
    shell()
  if "ablation" in options.parts:
    ablation(options.seeds)
  if "digits" in options.parts:
    names = [options.bounds] if options.bounds else list(RUNGS)
    digits(options.seconds, names, options.radius)
  if "wide" in options.parts:
    wide(options.seconds)


if __name__ == "__main__":
  main()

"""Exact Lipschitz constants: time, ablation, scale.

    python -m benchmarks.lipbab [exact] [ablation] [digits] [wide] [--seeds=6] [--seconds=60]

Prints, from one run each:
  exact     networks of size (10,30,30,30,3) on [0, 0.1]^10, p = 2, factor 1, one a seed:
            seconds, sub-problems and linear programs of this program and of the algorithm as
            printed (our code with the printed options: the same solver of linear programs,
            one sub-problem at a time), and their ratios. The authors' program takes 33.5 s,
            663 sub-problems and 6274 programs for its network of this size on two cores;
  ablation  the same by parts, from the printed algorithm to ours, for the seed whose printed
            tree is nearest to 663 sub-problems;
  digits    a digits classifier 64-100-100-10: the largest radius at which factor 1.5 is
            reached in so many seconds, with interval bounds and with ours, and sub-problems at
            equal factor and radius;
  wide      784-100-100-10 on boxes around an image: bounds over time.
"""

import argparse
import time

import numpy as np

from lib.verification import lipschitz_constant
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
  """Rows of (seed, ours, printed)."""
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
  return nearest[0]


def ablation(seed):
  """One line a rung."""
  network = network_of("sd3", seed)
  print(f"{'rung':12} {'sub-problems':>12} {'programs':>9} {'seconds':>8}")
  for name, options in variants().items():
    found = lipschitz_constant(network, 0.0, 0.1, **options)
    print(f"{name:12} {found.nodes:12} {found.lps:9} {found.seconds:8.2f}", flush=True)
  for name, options in (
    ("no cuts", {"cuts": False}),
    ("no points", {"reuse": False}),
    ("first unit", {"score": "first"}),
    ("relaxation", {"relaxation": True}),
    ("no batches", {"batch": 1}),
  ):
    found = lipschitz_constant(network, 0.0, 0.1, **options)
    print(f"ours, {name:10} {found.nodes:8} {found.lps:9} {found.seconds:8.2f}", flush=True)


def digits(seconds):
  """Largest radii, and sub-problems at the radius that both reach."""
  arrays = training.digits_networks((100, 100), 60, [0])
  network, centre = training.network(arrays, 0), arrays["centre"][0]
  reached = {}
  for name in ("effect", "sector"):
    options, radius, best = variants()[name], 0.00125, 0.0
    while True:
      found = lipschitz_constant(
        network, centre - radius, centre + radius, 2, 1.5, time_limit=seconds, **options
      )
      print(
        f"{name}: radius {radius:.5f}, {found.lower_bound:.3f} ≤ L ≤ {found.upper_bound:.3f}, "
        f"{found.nodes} sub-problems, {found.seconds:.1f} s",
        flush=True,
      )
      if not found.finished:
        break
      best, radius = radius, radius * 2**0.5
      reached[name, best] = found.nodes
    reached[name] = best
  print(f"radius ratio {reached['sector'] / max(reached['effect'], 1e-9):.1f}")
  common = reached["effect"]
  if common:
    ratio = reached["effect", common] / reached["sector", common]
    print(f"sub-problems at radius {common:.5f}: {ratio:.1f} × fewer (goal 5)")


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
  parser.add_argument("parts", nargs="*", default=["exact", "ablation", "digits", "wide"])
  parser.add_argument("--seeds", type=int, default=6)
  parser.add_argument("--seed", type=int, help="of the ablation, else the nearest of `exact`")
  parser.add_argument("--seconds", type=float, default=60.0)
  options = parser.parse_args()
  seed = options.seed
  if "exact" in options.parts:
    nearest = exact(options.seeds, options.seconds)
    seed = nearest if seed is None else seed
  if "ablation" in options.parts:
    ablation(seed or 0)
  if "digits" in options.parts:
    digits(options.seconds)
  if "wide" in options.parts:
    wide(options.seconds)


if __name__ == "__main__":
  main()

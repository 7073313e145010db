"""Calibration errors: this library against netcal and scikit-learn.

    python -m benchmarks.calibration [bootstrap] [large] [--repeats=5]

Prints seconds and their ratio from one run (compilation not counted; the estimates are
compared too):
  bootstrap  200 evaluation sets of 30 to 500 scores, as in `ece_estimators`: the legacy
             estimator with 15 bins, and all of the project's estimators at once;
  large      one set of 10⁶ scores of 10 classes: top-label and class-wise ECE.

netcal (`pip install netcal`, which brings PyTorch) is left out where it is not installed;
scikit-learn's `calibration_curve` is always there.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from lib.metrics import calibration
from projects.ece_estimators import estimators

SIZES = (30, 61, 122, 247, 500)
SETS, BINS = 200, 15


def netcal_ece():
  """(s, h) -> ECE of netcal, or None."""
  try:
    from netcal.metrics import ECE
  except ImportError:
    return None
  return lambda s, h: ECE(BINS).measure(s, h)


def scikit_ece(s, h):
  """ECE from scikit-learn's calibration curve, weighted by the bins' counts."""
  from sklearn.calibration import calibration_curve

  hit, score = calibration_curve(h, s, n_bins=BINS)
  counts = np.histogram(s, np.linspace(0, 1, BINS + 1))[0]
  return np.sum(counts[counts > 0] * np.abs(hit - score)) / len(s)


def fastest(function, repeats):
  """(least seconds, result) of several calls."""
  result, best = function(), np.inf
  for _ in range(repeats):
    start = time.perf_counter()
    result = function()
    best = min(best, time.perf_counter() - start)
  return best, result


def draws(rng, sets, n):
  """Scores and hits (sets, n), over-confident."""
  s = rng.beta(3, 1.2, (sets, n)).astype(np.float32)
  return s, (rng.uniform(size=s.shape) < s**1.5).astype(np.int64)


def others():
  """{name: function of one set}."""
  found = {"scikit-learn": scikit_ece, "netcal": netcal_ece()}
  return {name: function for name, function in found.items() if function}


def bootstrap(repeats):
  """Many small sets."""
  rng = np.random.default_rng(0)
  data = [draws(rng, SETS, n) for n in SIZES]
  on_device = [(jnp.asarray(s), jnp.asarray(h, jnp.float32)) for s, h in data]
  legacy = jax.jit(functools.partial(calibration.ece, bins=BINS))
  every = [
    jax.jit(
      jax.vmap(
        lambda s, h: jnp.stack(
          estimators.estimates(s, h, (5, 10, 15, 25), (0.02, 0.05, 0.1), 512)
        )
      )
    )
    for _ in SIZES
  ]
  ours, found = fastest(lambda: [np.asarray(legacy(*pair)) for pair in on_device], repeats)
  whole, _ = fastest(
    lambda: [np.asarray(f(*pair)) for f, pair in zip(every, on_device, strict=True)], repeats
  )
  count = SETS * len(SIZES)
  print(f"ours, legacy estimator: {1e6 * ours / count:.1f} µs a set")
  print(f"ours, all 29 estimators: {1e6 * whole / count:.0f} µs a set")
  for name, function in others().items():
    theirs, values = fastest(
      lambda function=function: [
        [function(*pair) for pair in zip(*d, strict=True)] for d in data
      ],
      1,
    )
    gap = max(np.abs(np.array(a) - b).max() for a, b in zip(values, found, strict=True))
    print(
      f"{name}, legacy estimator: {1e6 * theirs / count:.0f} µs a set; ours "
      f"{theirs / ours:.0f} × faster, all 29 together {theirs / whole:.1f} × faster "
      f"(largest difference {gap:.1g})"
    )


def large(repeats):
  """One large set."""
  rng = np.random.default_rng(0)
  logits = 2 * rng.standard_normal((1_000_000, 10)).astype(np.float32)
  scores = np.array(jax.nn.softmax(logits))
  labels = (scores.cumsum(1) > rng.uniform(size=(len(scores), 1))).argmax(1)
  s, h = map(np.asarray, calibration.confidence_pairs(scores, labels))
  each = jax.tree.map(np.asarray, calibration.class_pairs(scores, labels))
  legacy = jax.jit(functools.partial(calibration.ece, bins=BINS))
  device = [tuple(map(jnp.asarray, pair)) for pair in ((s, h), each)]
  for title, pair, ours_pair in (
    ("top-label", (s, h), device[0]),
    ("class-wise", each, device[1]),
  ):
    ours, found = fastest(lambda pair=ours_pair: np.asarray(legacy(*pair)).mean(), repeats)
    print(f"{title}, 10⁶ × 10: ours {1e3 * ours:.1f} ms")
    rows = [pair] if title == "top-label" else list(zip(*pair, strict=True))
    for name, function in others().items():
      theirs, values = fastest(
        lambda function=function, rows=rows: [function(a, b.astype(int)) for a, b in rows], 1
      )
      print(
        f"  {name} {1e3 * theirs:.0f} ms, {theirs / ours:.0f} × slower "
        f"(difference {abs(np.mean(values) - found):.1g})"
      )


if __name__ == "__main__":
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("parts", nargs="*", default=["bootstrap", "large"])
  parser.add_argument("--repeats", type=int, default=5)
  options = parser.parse_args()
  for part in options.parts or ["bootstrap", "large"]:
    {"bootstrap": bootstrap, "large": large}[part](options.repeats)

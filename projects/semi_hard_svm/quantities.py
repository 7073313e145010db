"""What is measured of the machines, at the hyper-parameters that cross-validation selects.

Kernel and λ are selected for each target, machine and threshold: the least FAR + FRR of the
left-out folds, then the lower FAR, the larger λ, and the kernel that the config names first.
Samples are populations (seeds): means over their targets.
"""

import numpy as np

ZERO, SHIFTED, HALF, LEAST, PRINTED = range(5)  # experiment.THRESHOLDS
NAMES = {
  "svm": "SVM",
  "weighted": "SVM, impostors ×100",
  "sh_svm": "SH-SVM",
  "sh_twsvm": "SH-TWSVM",
  "sh_svdd": "SH-SVDD",
  "printed_svdd": "SH-SVDD as printed",
}
SEMI_HARD = ("sh_svm", "sh_twsvm", "sh_svdd")


def of(results, machine):
  """Rows of a machine."""
  return np.flatnonzero(results["row_names"] == machine)


def chosen(results, machine, threshold=ZERO, kernels=None, smallest=False):
  """The selected kernel and row of each target, two (seeds, targets) arrays.

  With `smallest` equals are decided by the smallest λ, not the largest.
  """
  rows, m = of(results, machine), results["machines"]
  kernels = np.arange(len(results["kernels"])) if kernels is None else np.asarray(kernels)
  far, frr = (m[k][:, :, kernels][..., rows, threshold] for k in ("cv_far", "cv_frr"))
  lams = np.broadcast_to(results["row_lams"][rows] * (1 if smallest else -1), far.shape)
  flat = [a.reshape(*far.shape[:2], -1) for a in (lams, np.round(far, 9), far + frr)]
  flat[2] = np.round(flat[2], 9)
  best = np.lexsort(flat, axis=-1)[..., 0]
  return kernels[best // len(rows)], rows[best % len(rows)]


def selected(results, name, machine, threshold=ZERO, kernels=None, smallest=False):
  """A measurement at the selected hyper-parameters, (seeds, targets)."""
  kernel, row = chosen(results, machine, threshold, kernels, smallest)
  values = results["machines"][name]
  seed, target = np.ogrid[: values.shape[0], : values.shape[1]]
  found = values[seed, target, kernel, row]
  return found[..., threshold] if found.ndim == 3 else found


def mean(results, name, machine, threshold=ZERO, kernels=None, smallest=False):
  """… its mean over targets, (seeds,)."""
  return selected(results, name, machine, threshold, kernels, smallest).mean(1)


def half_total(results, machine, threshold=ZERO):
  """(FAR + FRR)/2, (seeds,)."""
  return sum(mean(results, name, machine, threshold) for name in ("far", "frr")) / 2


def rbf(results):
  """Which kernels are Gaussian."""
  return [i for i, name in enumerate(results["kernels"]) if str(name).startswith("rbf")]


def equal(results, name, machine):
  """Mean over targets and all Gaussian kernels and λ, nothing selected, (seeds,)."""
  values = results["machines"][name][:, :, rbf(results)][..., of(results, machine), ZERO]
  return values.mean((1, 2, 3))


def plane(results, name, machine, threshold=ZERO):
  """A measurement on the crescents at the λ of the claims, (seeds,)."""
  here = (results["banana_names"] == machine) & np.isin(
    results["banana_lams"], [results["banana_lam"], 0]
  )
  values = results["banana"][name][:, np.flatnonzero(here)[0]]
  return values[:, threshold] if values.ndim == 2 else values


def plane_half_total(results, machine, threshold=ZERO):
  """(FAR + FRR)/2 on the crescents, (seeds,)."""
  return sum(plane(results, name, machine, threshold) for name in ("far", "frr")) / 2


def rejected(results, machine):
  """Share of the map of the plane that is rejected, (seeds,)."""
  return (results["banana"]["map"][:, mapped(results).index(machine)] <= 0).mean(-1)


def mapped(results):
  """Names of the machines that have a map of the plane, in order."""
  shown = np.isin(results["banana_lams"], [results["banana_lam"], 0])
  return [str(name) for name in results["banana_names"][shown]]

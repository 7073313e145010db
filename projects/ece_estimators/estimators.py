"""The estimators that are compared, by name: binning × mapping × bins, and densities.

`ece_10` is the legacy estimator with 10 bins, `a` adaptive, `c` convex, `ac` both; `sqrt` the
square-root rule; `d_silverman` and `d_0.1` the density estimator with Silverman's rule and
with a bandwidth. `_printed` marks a formula as it is in print. The paper's own come first, by
default those of its authors' program.
"""

from __future__ import annotations

import functools

from lib.metrics import binning, calibration, density
from projects.ece_estimators import printed

FAMILIES = {
  "ece": calibration.ece,
  "a": calibration.adaptive_ece,
  "c": calibration.convex_ece,
  "ac": calibration.adaptive_convex_ece,
}
CONVEX = ("c", "ac")


def paper_names(bins, bandwidths) -> list[str]:
  """Names of the paper's estimators."""
  binned = [f"{family}_{b}" for family in FAMILIES for b in (*bins, "sqrt")]
  return [*binned, "d_silverman", *(f"d_{h:g}" for h in bandwidths)]


def names(bins, bandwidths, few) -> list[str]:
  """All names, the paper's first; `few` is a number of bins that the paper does not have."""
  return [
    *paper_names(bins, bandwidths),
    *(f"{family}_{b}_printed" for family in CONVEX for b in (*bins, "sqrt")),
    *(f"{family}_{few}" for family in FAMILIES),
    f"a_{bins[0]}_printed",
    "d_silverman_0.9",
  ]


def estimates(s, h, bins, bandwidths, few, points) -> list:
  """Every estimator of one evaluation set (n,), in the order of `names`."""
  counts = (*bins, binning.square_root_bins(s.shape[-1]))
  found = [function(s, h, bins=b) for function in FAMILIES.values() for b in counts]
  kde = functools.partial(calibration.kde_ece, s, h, points=points)
  found += [kde(), *(kde(bandwidth) for bandwidth in bandwidths)]
  found += [printed.convex_ece(s, h, binning.uniform_edges(b)) for b in counts]
  found += [printed.convex_ece(s, h, binning.adaptive_edges(s, b)) for b in counts]
  found += [function(s, h, bins=few) for function in FAMILIES.values()]
  found.append(calibration.binned_ece(s, h, printed.adaptive_edges(s, bins[0])))
  return [*found, kde(density.silverman(s, 0.9))]

"""The estimators that are compared, by name: binning × mapping × bins, and densities.

`ece_10` is the legacy estimator with 10 bins, `a` adaptive, `c` convex, `ac` both; `sqrt` the
square-root rule; `d_silverman` and `d_0.05` the density estimator with Silverman's rule and
with a bandwidth. Those after `CONTROLS` are not the paper's.
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
PRINTED_BINS = 10


def paper_names(bins, bandwidths) -> list[str]:
  """Names of the paper's estimators."""
  binned = [f"{family}_{b}" for family in FAMILIES for b in (*bins, "sqrt")]
  return [*binned, "d_silverman", *(f"d_{h:g}" for h in bandwidths)]


CONTROLS = ("d_silverman_0.9", "a_printed", "c_printed")


def names(bins, bandwidths) -> list[str]:
  """All names, the paper's first."""
  return [
    *paper_names(bins, bandwidths),
    *CONTROLS,
    f"a_{PRINTED_BINS}*",
    f"c_{PRINTED_BINS}*",
  ]


def estimates(s, h, bins, bandwidths, points) -> list:
  """Every estimator of one evaluation set (n,), in the order of `names`."""
  counts = (*bins, binning.square_root_bins(s.shape[-1]))
  found = [function(s, h, bins=b) for function in FAMILIES.values() for b in counts]
  kde = functools.partial(calibration.kde_ece, s, h, points=points)
  found += [kde(), *(kde(bandwidth) for bandwidth in bandwidths)]
  found.append(kde(density.silverman(s, 0.9)))
  edges = printed.adaptive_edges(s, PRINTED_BINS)
  found.append(calibration.binned_ece(s, h, edges))
  found.append(printed.convex_ece(s, h, binning.uniform_edges(PRINTED_BINS)))
  found.append(calibration.adaptive_ece(s, h, bins=PRINTED_BINS))
  found.append(calibration.convex_ece(s, h, bins=PRINTED_BINS))
  return found

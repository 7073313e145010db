"""The labels that are compared, as data: which similarities, α, β and mixup."""

from typing import NamedTuple

KINDS = (
  "l1",
  "l2",
  "ae",
  "we",
  "shuffled",
  "we_other",
  "oracle",
  "uniform",
  "uniform_matched",
)
SIMILARITIES = ("l1", "l2", "ae", "we")  # the paper's four
POST_HOC = ("ts", "dirichlet", "ets", "ets_mse")

LABELS = {
  "onehot": "one-hot",
  "ts": "TS",
  "uls": "ULS",
  "mixup": "mixup",
  "dirichlet": "Dir-ODIR",
  "ets": "ETS (NLL)",
  "ets_mse": "ETS",
  "l1": "L1",
  "l2": "L2",
  "ae": "AE",
  "we": "WE",
  "shuffled": "WE, shuffled",
  "we_other": "WE, other standardisation",
  "oracle": "oracle",
  "uls_matched": "ULS, matched mass",
  "uls_tuned": "ULS, tuned α",
  "we_tuned": "WE, tuned α, β",
  "mixup_tuned": "mixup, tuned",
}


class Labels(NamedTuple):
  """Numbers of a label matrix; `kind` is a place in KINDS."""

  kind: int
  alpha: float
  beta: float
  mixup: float


def smooth(kind: str, alpha: float, beta: float = 0.0) -> Labels:
  """(1 − α) e_k + α times a distribution over classes."""
  return Labels(KINDS.index(kind), alpha, beta, 0.0)


def members(grid, available) -> dict[str, Labels]:
  """Every kind of labels that is trained, by name; `available` are the distances there are.

  `we@0.1,2` is α = 0.1, β = 2.
  """
  found = {
    "onehot": smooth("uniform", 0.0),
    "uls_matched": smooth("uniform_matched", grid.alpha),
  }
  for share in sorted({*grid.mixups, grid.mixup}):
    found[f"mixup@{share:g}"] = smooth("uniform", 0.0)._replace(mixup=share)
  found |= {f"uls@{a:g}": smooth("uniform", a) for a in sorted({*grid.alphas, grid.alpha})}
  betas = sorted({*grid.betas, grid.beta})
  for kind in available:
    for beta in betas:
      found[name(kind, grid.alpha, beta)] = smooth(kind, grid.alpha, beta)
  if "we" in available:
    found |= {name("we", a, grid.beta): smooth("we", a, grid.beta) for a in grid.alphas}
  if "oracle" in available:  # its similarities have no β
    found = {n: v for n, v in found.items() if not n.startswith("oracle")}
    found[name("oracle", grid.alpha, grid.beta)] = smooth("oracle", grid.alpha, grid.beta)
  return found


def name(kind: str, alpha: float, beta: float) -> str:
  """Of a member."""
  return f"{kind}@{alpha:g},{beta:g}"

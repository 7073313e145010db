"""What claims and figures are about, from a stage's measurements (NumPy, float64).

A stage is a dict with a member dict for each width, "width_<m>", whose arrays have the seeds
(networks) as first axis; see `experiment.measure` and `experiment.finish`.
"""

import numpy as np

from lib.metrics import statistics
from projects.ntk.network import A0, PARAMETERS, A, B

__all__ = [
  "A0",
  "PARAMETERS",
  "A",
  "B",
  "Energy",
  "energy",
  "exponent",
  "fourth_moments",
  "members",
  "networks",
  "sup_fourth_moment",
  "theory_error",
  "widths",
]


def widths(stage) -> list[int]:
  """The widths of a stage, rising."""
  return sorted(int(k.removeprefix("width_")) for k in stage if k.startswith("width_"))


def members(stage, width) -> dict[str, np.ndarray]:
  """The measurements at a width."""
  return stage[f"width_{width}"]


def networks(stage, width) -> int:
  """How many networks there are of a width."""
  return len(members(stage, width)["b_shift"])


def exponent(stage, samples, at=None) -> statistics.Fit:
  """Power of m in samples(member dict) -> (seeds,), over the stage's widths (or `at`).

  Raises:
    ValueError: fewer than two widths, or a mean that is not positive.
  """
  at = widths(stage) if at is None else list(at)
  return statistics.exponent_fit(at, [samples(members(stage, m)) for m in at])


def theory_error(member) -> np.ndarray:
  """sup_s |B_s(t) − B_s(0) − theory line| at the last time, over the line's RMS end, (seeds,).

  The line ends at a random height, now and then near 0; dividing each network by its own would
  make a mean over networks meaningless.
  """
  line = np.asarray(member["b_line"], np.float64)[:, -1]
  return member["b_shift_error"] / np.sqrt(np.mean(line**2))


class Energy:
  """E_p(t) = (1/m) Σ_j (p_j(t) − E[p_j(t)])² of the members of a width.

  Neurons are exchangeable, so E[p_j(t)] is estimated by the mean over neurons and networks
  (Monte Carlo). From the same networks this biases the energy by O(1/(m networks)).

  Attributes:
    value: (seeds, times, 3).
    expectation: the estimate of E[p_j(t)], (times, 3).
    monte_carlo: standard error of the expectation, (times, 3).
    error: its effect on the energy, RMS over the networks, (times, 3).
  """

  def __init__(self, member):
    mean = np.asarray(member["mean"], np.float64)
    count = len(mean)
    self.expectation = mean.mean(0)
    spread = mean.std(0, ddof=1) if count > 1 else np.full_like(self.expectation, np.nan)
    self.monte_carlo = spread / np.sqrt(count)
    second = np.asarray(member["second"], np.float64)[:, None] + member["energy_change"]
    self.value = second - 2 * self.expectation * mean + self.expectation**2
    distance = np.sqrt(np.mean((mean - self.expectation) ** 2, axis=0))
    self.error = 2 * distance * self.monte_carlo + self.monte_carlo**2

  @property
  def max_deviation(self) -> np.ndarray:
    """max_t |E(t) − 1|, (seeds, 3)."""
    return np.abs(self.value - 1).max(1)

  @property
  def max_change(self) -> np.ndarray:
    """max_t |E(t) − E(0)|, (seeds, 3)."""
    return np.abs(self.value - self.value[:, :1]).max(1)


def energy(stage, width) -> Energy:
  """The energies at a width."""
  return Energy(members(stage, width))


def fourth_moments(member, parameter: int, times: int = 11) -> tuple[np.ndarray, np.ndarray]:
  """|P_s − P_u|⁴/|s − u|² by lag, averaged over the pairs (s, u) of a lag.

  Neurons are exchangeable, so the law of P_s − P_u depends on |s − u| alone: averaging over
  the pairs of a lag estimates the same expectation with less noise.

  Returns:
    (lags in (0, 1], samples (seeds, times, lags)), at up to `times` of the recorded times.
  """
  shift = np.asarray(member["shift"], np.float64)[:, :, parameter]
  keep = np.unique(np.linspace(0, shift.shape[1] - 1, times).astype(int))
  process = np.asarray(member["start"], np.float64)[:, None, parameter] + shift[:, keep]
  points = process.shape[-1] - 1
  lags = np.unique(np.geomspace(1, points, 10).astype(int))
  samples = [
    np.mean((process[..., lag:] - process[..., :-lag]) ** 4, axis=-1) / (lag / points) ** 2
    for lag in lags
  ]
  return lags / points, np.stack(samples, axis=-1)


def sup_fourth_moment(member, parameter: int, resamples: int = 400) -> np.ndarray:
  """sup over times and lags of E|P_s − P_u|⁴/|s − u|², and its bootstrap over the networks.

  Returns:
    (1 + resamples,), the estimate first.
  """
  _, samples = fourth_moments(member, parameter)
  rng = np.random.default_rng(0)
  count = len(samples)
  found = [samples.mean(0).max()]
  found += [samples[rng.integers(0, count, count)].mean(0).max() for _ in range(resamples)]
  return np.array(found)

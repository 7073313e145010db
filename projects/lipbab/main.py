"""Certified and exact Lipschitz constants of piecewise linear networks (Table 1, Fig. 1)."""

from lib import experiment
from projects.lipbab import claims, figures
from projects.lipbab.experiment import check, run

PROJECT = experiment.Project(
  "lipbab", run, claims.CLAIMS, figures.FIGURES, claims.metrics, check=check
)

if __name__ == "__main__":
  experiment.main(PROJECT)

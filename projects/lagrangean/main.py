"""Conservative neural dynamics from an action principle, each statement tested."""

from lib import experiment
from projects.lagrangean import claims, figures
from projects.lagrangean.experiment import check, run

PROJECT = experiment.Project(
  "lagrangean", run, claims.CLAIMS, figures.FIGURES, claims.metrics, check=check
)

if __name__ == "__main__":
  experiment.main(PROJECT)

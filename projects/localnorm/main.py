"""LocalNorm: Robust Image Classification Through Dynamically Regularized Normalization."""

from lib.experiment import Project, main
from projects.localnorm import claims, experiment, figures

PROJECT = Project.of("localnorm", experiment, claims, figures)

if __name__ == "__main__":
  main(PROJECT)

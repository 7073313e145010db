"""Support vector machines that accept no training impostor, against shifted thresholds."""

from lib.experiment import Project, main
from projects.semi_hard_svm import claims, experiment, figures

PROJECT = Project.of("semi_hard_svm", experiment, claims, figures)

if __name__ == "__main__":
  main(PROJECT)

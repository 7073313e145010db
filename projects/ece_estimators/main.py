"""Estimators of the expected calibration error, ranked where the truth is known."""

from lib.experiment import Project, main
from projects.ece_estimators import claims, experiment, figures

PROJECT = Project.of("ece_estimators", experiment, claims, figures)

if __name__ == "__main__":
  main(PROJECT)

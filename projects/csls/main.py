"""Class-similarity label smoothing: soft labels that calibrate, against six other ways."""

from lib.experiment import Project, main
from projects.csls import claims, experiment, figures

PROJECT = Project.of("csls", experiment, claims, figures)

if __name__ == "__main__":
  main(PROJECT)

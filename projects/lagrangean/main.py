"""Conservative neural dynamics from an action principle, each statement tested."""

from lib.experiment import Project, main
from projects.lagrangean import claims, experiment, figures

PROJECT = Project.of("lagrangean", experiment, claims, figures)

if __name__ == "__main__":
  main(PROJECT)

"""Networks evolved for accuracy and two measures of fairness at once (NSGA-II)."""

from lib.experiment import Project, main
from projects.moel_fairness import claims, experiment, figures

PROJECT = Project.of("moel_fairness", experiment, claims, figures)

if __name__ == "__main__":
  main(PROJECT)

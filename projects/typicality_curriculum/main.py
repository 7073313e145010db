"""Curricula by typicality: does the order of the rows help, or the number of updates?"""

from lib.experiment import Project, main
from projects.typicality_curriculum import claims, experiment, figures

PROJECT = Project.of("typicality_curriculum", experiment, claims, figures)

if __name__ == "__main__":
  main(PROJECT)

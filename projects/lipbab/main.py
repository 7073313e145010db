"""Certified and exact Lipschitz constants of piecewise linear networks (Table 1, Fig. 1)."""

from lib.experiment import Project, main
from projects.lipbab import claims, experiment, figures

PROJECT = Project.of("lipbab", experiment, claims, figures)

if __name__ == "__main__":
  main(PROJECT)

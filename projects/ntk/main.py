"""Energy conservation and cumulative sums of parameters in wide networks (Fig. 1-7)."""

from lib.experiment import Project, main
from projects.ntk import claims, experiment, figures

PROJECT = Project.of("ntk", experiment, claims, figures)

if __name__ == "__main__":
  main(PROJECT)

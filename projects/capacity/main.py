"""Channel capacity of networks as a regulariser (MIC, EIC): Tables 1 and 2 with controls."""

from lib.experiment import Project, main
from projects.capacity import claims, experiment, figures

PROJECT = Project.of("capacity", experiment, claims, figures)

if __name__ == "__main__":
  main(PROJECT)

"""Weight and Gradient Centralization in Deep Neural Networks."""

from lib.experiment import Project, main
from projects.weight_grad_centralization import claims, experiment, figures

PROJECT = Project.of("weight_grad_centralization", experiment, claims, figures)

if __name__ == "__main__":
  main(PROJECT)

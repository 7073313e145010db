"""Layer-wise activation clusters of CNNs against out-of-distribution inputs."""

from lib.experiment import Project, main
from projects.layer_cluster_ood import claims, experiment, figures

PROJECT = Project.of("layer_cluster_ood", experiment, claims, figures)

if __name__ == "__main__":
  main(PROJECT)

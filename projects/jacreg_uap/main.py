"""Jacobian Regularization for Mitigating Universal Adversarial Perturbations."""

from lib.experiment import Project, main
from projects.jacreg_uap import claims, experiment, figures

PROJECT = Project.of("jacreg_uap", experiment, claims, figures)

if __name__ == "__main__":
  main(PROJECT)

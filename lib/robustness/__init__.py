"""Robustness of classifiers: adversarial examples, universal perturbations, Jacobians,
corruptions of images.
"""

from lib.robustness import corruptions
from lib.robustness.attacks import bim, difference_of_logits_ratio, fgsm, pgd
from lib.robustness.balls import project, project_l2, project_linf, project_perturbation
from lib.robustness.jacobians import (
  centre_outputs,
  input_projected_squared_norms,
  jacobian,
  largest_eigenvalue,
  off_diagonal,
  projected_squared_norms,
  similarities,
  sketch,
  squared_norms,
)
from lib.robustness.universal import (
  UNTARGETED,
  Training,
  evasion_rate,
  perturb,
  target_rate,
  training_init,
  training_step,
  universal_perturbation,
)

__all__ = [
  "UNTARGETED",
  "Training",
  "bim",
  "centre_outputs",
  "corruptions",
  "difference_of_logits_ratio",
  "evasion_rate",
  "fgsm",
  "input_projected_squared_norms",
  "jacobian",
  "largest_eigenvalue",
  "off_diagonal",
  "perturb",
  "pgd",
  "project",
  "project_l2",
  "project_linf",
  "project_perturbation",
  "projected_squared_norms",
  "similarities",
  "sketch",
  "squared_norms",
  "target_rate",
  "training_init",
  "training_step",
  "universal_perturbation",
]

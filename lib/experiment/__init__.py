"""The entry point of every project: configs, run directories, checkpoints, claims, sweeps."""

from lib.experiment import claims, presets
from lib.experiment.claims import Claim, Outcome
from lib.experiment.context import Context
from lib.experiment.entry import Project, main, run
from lib.experiment.errors import NonFiniteError, UserError
from lib.experiment.program import Program, bind
from lib.experiment.report import Figure

__all__ = [
  "Claim",
  "Context",
  "Figure",
  "NonFiniteError",
  "Outcome",
  "Program",
  "Project",
  "UserError",
  "bind",
  "claims",
  "main",
  "presets",
  "run",
]

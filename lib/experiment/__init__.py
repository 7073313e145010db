"""The entry point of every project: configs, run directories, checkpoints, claims, sweeps.

A run is a `Program`, three pure functions of a config and its operands; `Context.members` runs
one for every combination of seeds and numbers as a compiled batch, keeps the results on disk
and resumes. `Claim` judges measured results. `main` is all that a project's `main.py` calls.

>>> import jax, jax.numpy as jnp
>>> def mean_of_normals(config, operands):
...   return {"mean": jax.random.normal(jax.random.key(config.seed), (config.n,)).mean()}
>>> from ml_collections import ConfigDict
>>> results = Program.once(mean_of_normals)(ConfigDict({"seed": 0, "n": 10_000}), ())
>>> bool(abs(results["mean"]) < 0.05)
True
"""

from lib.experiment import claims, presets
from lib.experiment.claims import Claim, Outcome
from lib.experiment.configs import at_least
from lib.experiment.context import Context, Stage
from lib.experiment.entry import Project, main, run
from lib.experiment.errors import NonFiniteError, UserError
from lib.experiment.program import Program, bind, by_name
from lib.experiment.report import Figure

__all__ = [
  "Claim",
  "Context",
  "Figure",
  "NonFiniteError",
  "Outcome",
  "Program",
  "Project",
  "Stage",
  "UserError",
  "at_least",
  "bind",
  "by_name",
  "claims",
  "main",
  "presets",
  "run",
]

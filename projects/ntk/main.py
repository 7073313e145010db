"""Energy conservation and cumulative sums of parameters in wide networks (Fig. 1-7)."""

from lib import experiment
from projects.ntk import claims, figures
from projects.ntk.experiment import PROGRAM, check, prepare, run

PROJECT = experiment.Project(
  "ntk",
  run,
  claims.CLAIMS,
  figures.FIGURES,
  claims.metrics,
  prepare=prepare,
  program=PROGRAM,
  check=check,
)

if __name__ == "__main__":
  experiment.main(PROJECT)

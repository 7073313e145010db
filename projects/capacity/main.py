"""Channel capacity of networks as a regulariser (MIC, EIC): Tables 1 and 2 with controls."""

from lib import experiment
from projects.capacity import claims, figures
from projects.capacity.experiment import PROGRAM, check, prepare, run

PROJECT = experiment.Project(
  "capacity",
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

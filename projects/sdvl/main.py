"""Synaptic delay learning (SDVL): one spiking neuron recognises time-warped patterns."""

from lib import experiment
from projects.sdvl import claims, figures
from projects.sdvl.experiment import PROGRAM, check, prepare, run

PROJECT = experiment.Project(
  "sdvl",
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

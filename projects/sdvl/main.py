"""Synaptic delay learning (SDVL): one spiking neuron recognises time-warped patterns."""

from lib.experiment import Project, main
from projects.sdvl import claims, experiment, figures

PROJECT = Project.of("sdvl", experiment, claims, figures)

if __name__ == "__main__":
  main(PROJECT)

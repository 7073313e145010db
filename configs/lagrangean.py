"""Nonlinear Lagrangean networks: every statement of a theory paper, measured."""

from ml_collections import ConfigDict

from lib.experiment import presets

PRESETS = {
  # Every path in seconds; its numbers mean little.
  "smoke": {
    "seeds": 3,
    "size": 8,
    "small_size": 4,
    "states": 4,
    "long.periods": 6.0,
    "long.records": 6,
    "compare.periods": 8.0,
    "compare.records": 16,
    "compare.methods": ("gauss4", "rk4"),
    "input.time": 4.0,
    "reversal.periods": (1.0, 2.0),
    "linear.time": 5.0,
    "lattice.size": 96,
    "lattice.time": 20.0,
    "lattice.records": 8,
    "lattice.frequencies": (10.0, 40.0),
    "lattice.limit_size": 16,
    "contrast.time": 40.0,
    "contrast.records": 128,
    "precision.time": 4.0,
    "precision.points": 2,
    "precision.methods": ("gauss6",),
    "identify.size": 2,
    "identify.noises": (0.0, 0.01),
    "identify.times": (4.0,),
    "identify.restarts": 2,
    "identify.iterations": 8,
    "memory.size": 24,
    "memory.loads": (0.1, 0.3),
    "memory.time": 20.0,
    "scale.dense": (16,),
    "scale.sparse": (),
    "scale.periods": 0.5,
  },
  # 10⁴ periods, thousands of restarts, 10⁴ neurons with dense couplings.
  "paper": {
    "seeds": 20,
    "long.periods": 10_000.0,
    "long.records": 1000,
    "long.step": 0.06,
    "compare.periods": 1000.0,
    "identify.restarts": 64,
    "identify.iterations": 40,
    "memory.size": 512,
    "memory.time": 400.0,
    "scale.dense": (256, 1024, 4096, 10_000),
  },
}


def get_config(preset="default"):
  """64 neurons with saturating g, random Hermitian couplings, float64 throughout.

  Expect the energy within 1e-9 and the norm within 1e-12 by Gauss-Legendre 4, however long
  the run, the norm to move with an input, and volumes to 1e-11. Two to four minutes on two
  cores.
  """
  config = ConfigDict()
  config.seed = 0  # first seed; a seed is a network and its initial state
  config.seeds = 10
  config.network = ""  # an .npz with omega and, if any, gamma, v, w: used for the long run
  config.nonlinearity = "saturating"  # linear, saturating, tanh, gaussian or MODULE:FUNCTION

  # Ω = frequency + Gaussian unitary ensemble with spectrum in ± radius.
  config.size = 64
  config.frequency = 1.0
  config.radius = 0.5
  config.amplitude = 1.0  # RMS |z_j| at the start
  config.inputs = 2  # M, the inputs V

  # Three forms of the field, and phase-space volume.
  config.small_size = 16
  config.states = 20

  # The long run, in periods 2π/μ, in the frame that turns at the network's own rate μ.
  config.long = {"method": "gauss4", "periods": 300.0, "step": 0.07, "records": 200}
  # Methods against each other, in the laboratory frame.
  config.compare = {
    "methods": ("midpoint", "gauss4", "gauss6", "rk4", "dopri8"),
    "method": "gauss4",  # the experiment sets it
    "periods": 64.0,
    "step": 0.2,
    "rtol": 1e-8,
    "records": 256,
  }
  config.input = {"time": 40.0, "step": 0.05}
  config.reversal = {"periods": (2.0, 5.0, 10.0, 20.0), "step": 0.1}
  config.linear = {"time": 50.0, "step": 0.1}

  # Chains: towards the discrete NLS as the frequency grows, and a travelling pulse.
  config.lattice = {
    "limit_size": 64,
    "frequencies": (10.0, 20.0, 40.0, 80.0),
    "limit_time": 5.0,
    "size": 384,
    "time": 200.0,
    "records": 50,
    "frequency": 4.0,
    "carrier": 0.5,
    "amplitude": 0.12,
  }
  config.contrast = {"size": 64, "time": 400.0, "records": 1024}
  config.precision = {
    "methods": ("midpoint", "gauss4", "gauss6", "splitting2", "splitting4", "rk4", "dopri8"),
    "time": 50.0,
    "points": 4,
  }

  # Beyond the paper.
  config.identify = {
    "size": 3,
    "noises": (0.0, 0.003, 0.03),
    "times": (5.0, 10.0),
    "spacing": 0.5,
    "restarts": 8,
    "iterations": 30,
  }
  config.memory = {
    "size": 128,
    "loads": (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5),
    "flips": 0.1,
    "time": 80.0,
    "step": 0.3,
    "amplitude": 1.0,
  }
  config.scale = {"dense": (256, 1024, 2048), "sparse": (1000, 10_000), "periods": 1.0}
  return presets.apply(config, preset, PRESETS)

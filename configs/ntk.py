"""Width experiments in the NTK parametrisation: cumulative sums and energies of parameters."""

from ml_collections import ConfigDict

from lib.experiment import presets

_POINTS = "n_train=6&n_test=0&difficulty=0&frequency=0.5&seed=18"

PRESETS = {
  # Every path in seconds; its numbers mean little.
  "smoke": {
    "widths": (20, 100),
    "seeds": 4,
    "max_seeds": 8,
    "time": 4.0,
    "records": 4,
    "grid": 10,
    "tracked": 4,
    "control.widths": (100,),
    "control.odd": ("tanh",),
    "mean_field.time": 2.0,
    "real.widths": (100,),
    "real.time": 2.0,
    "real.step_size": 0.2,
    "flow.width": 40,
    "flow.seeds": 4,
    "flow.time": 1.0,
    "flow.halvings": 0,
    "flow.integrator": "rk4",
  },
  # The paper's widths with an ensemble of 1000, and widths that need an accelerator.
  "paper": {
    "widths": (100, 1000, 10_000, 100_000, 1_000_000, 10_000_000),
    "seeds": 8,
    "max_seeds": 1000,
    "neurons": 80_000_000,
    "control.widths": (100, 1000, 10_000, 100_000, 1_000_000),
    "real.widths": (100, 1000, 10_000, 100_000),
  },
}


def get_config(preset="default"):
  """Six points of a sine, widths 10² to 10⁶ (the paper: 10² to 10⁴), controls, real data.

  Expect the sums of a and a0 to move like m^{-1/2}, those of b to follow the line of the
  infinite-width theory (to 10 % at m = 10⁴, 1.2 % at 10⁶), and energies of 1. Two
  minutes on two CPU cores, 200 networks at small widths and 4 at the largest.
  """
  config = ConfigDict()
  config.seed = 0  # first seed; a seed is one network
  config.dataset = (
    "synthetic:sine_regression?n_train=6&n_test=0&difficulty=0&frequency=0.5&seed=18"
  )

  # The network of a single run or a sweep; the experiment sets these itself.
  config.width = 1000
  config.activation = "relu"
  config.output_exponent = 0.5  # c of f = m^{-c} Σ b σ: 0.5 is NTK, 1.0 mean field
  config.integrator = "descent"  # or rk4, tsit5: the gradient flow

  config.step_size = 0.5  # of descent, in flow time
  config.time = 600.0  # end of the flow
  config.records = 60  # measurements after the one at t = 0
  config.grid = 100  # points of s on which the processes are kept
  config.tracked = 20  # neurons whose parameters are recorded

  # Networks a width: neurons / width, at least `seeds` and at most `max_seeds`.
  config.widths = (100, 1000, 10_000, 100_000, 1_000_000)
  config.seeds = 4
  config.max_seeds = 200
  config.neurons = 1_000_000

  # Controls: odd activations, and the mean-field parametrisation, whose tangent kernel grows
  # so that it needs a smaller step (and less time).
  config.control = {"widths": (100, 1000, 10_000), "odd": ("tanh", "erf")}
  config.mean_field = {"time": 100.0, "step_size": 0.1}

  # A real regression of one input (442 patients).
  config.real = {
    "dataset": "sklearn:diabetes/bmi",
    "widths": (100, 1000, 10_000),
    "time": 20.0,
    "step_size": 0.2,
  }

  # Descent with steps h, h/2, ... against the gradient flow by an integrator of higher order.
  config.flow = {
    "width": 1000,
    "seeds": 32,
    "time": 20.0,
    "halvings": 2,
    "integrator": "tsit5",
  }
  return presets.apply(config, preset, PRESETS)

"""A spiking neuron that learns delays and recognises stretched patterns (SDVL)."""

from ml_collections import ConfigDict

from lib.experiment import presets

_GRID = (0.5, 1.0, 1.5, 2.0)
_FINE = tuple(round(0.1 * k, 1) for k in range(5, 21))
# The paper leaves the integral out. At τ = 20 ms it is the authors' program's (0.0228 τ); at
# τ = 3 ms it was fitted, on the seeds of the search, to the one number that pins it: a peak
# mean voltage of −38 mV.
_DETECTOR = {"tau": 3.0, "fgi": 0.46, "fgi_end": 0.4, "fgi_fall": 30.0}
_INTEGRATOR = {"tau": 20.0, "fgi": 0.456}
_CONDITIONS = {
  "detector": _DETECTOR,
  "integrator": _INTEGRATOR,
  "detector_accurate": {**_DETECTOR, "fgi_end": 0.38},  # noise never fires it
  "detector_constant": {**_DETECTOR, "fgi": 0.4, "fgi_end": 0.4},
  "detector_print": {**_DETECTOR, "alpha2": 3.0},
  "integrator_print": {**_INTEGRATOR, "alpha2": 3.0},
  "detector_kernel": {**_DETECTOR, "kernel_factor": 1.0},
  "integrator_kernel": {**_INTEGRATOR, "kernel_factor": 1.0},
  "detector_frozen": {**_DETECTOR, "variance_share": 0.0},
  "integrator_frozen": {**_INTEGRATOR, "variance_share": 0.0},
  "untrained": {"rule": "none", "tau": 3.0, "fgi": 0.4},
  "stdp": {"rule": "stdp", "tau": 20.0, "fgi": 1.1},
}

PRESETS = {
  # Every path in seconds; its numbers mean little.
  "smoke": {
    "seeds": 2,
    "conditions": {
      name: dict(values) for name, values in _CONDITIONS.items() if name != "stdp"
    },
    "train_time": 4.0,
    "interval": 2.0,
    "max_rate": 100.0,
    "test.time": 3.0,
    "test.thresholds": (-55.0, -52.0),
    "test.morphs": (-1.0, 0.5, 1.0, 1.5),
    "test.fine_morphs": (-1.0, 0.5, 1.0, 1.5),
    "search.seeds": 1,
    "search.train_time": 4.0,
    "search.constant": (0.4,),
    "search.ends": (0.38,),
    "search.falls": (2.0,),
    "words.lengths": (40, 60),
    "words.tempos": (1.0,),
    "words.train_time": 4.0,
    "words.layer_time": 4.0,
    "words.test_time": 3.0,
    "robustness.conditions": ("detector",),
    "robustness.jitter": (2.0,),
    "robustness.dropout": (0.2,),
  },
  "paper": {"seeds": 100, "search.seeds": 100},
}


def get_config(preset="default"):
  """Twenty neurons in each of twelve conditions, 300 s of training, and their tests.

  Expect τ = 3 ms to recognise every morph factor from 0.5 to 1.4 and no reversed pattern at
  −52 mV, peaks of −37, −44 and −52 mV at factors 1, 0.5 and 1.5, and the rule as printed to
  learn rising instead of falling delays. Three and a half minutes on two CPU cores.
  """
  config = ConfigDict()
  config.seed = 0  # the first of
  config.seeds = 20  # so many neurons, each with a pattern and an input of its own

  # The input.
  config.afferents = 2000
  config.rate = 10.0  # of every afferent, Hz
  config.presentations = 5.0  # of the pattern, a second
  config.pattern = {
    "spikes": 500,
    "length": 50,  # ms
    "gap": 20,  # ms after it, in its slot
    "word": -1,  # one of a vocabulary; −1: the paper's, with afferents as they fire
  }
  config.chunk = 10  # ms simulated at once between output spikes
  config.capacity = 320  # spikes that a chunk can hold; too many are an error
  config.max_rate = 120.0  # of output spikes recorded, Hz; too many are an error

  # The neuron of a single run or a sweep; the experiment's conditions change it.
  config.neuron = {
    "tau": 20.0,  # ms
    "threshold": -55.0,  # mV
    "rest": -65.0,
    "reset": -70.0,
    "fgi": 0.456,  # fixed global integral: the sum of a spike's current, at the start
    "fgi_end": 0.456,  # and after it has fallen
    "fgi_fall": 0.0,  # for so many seconds; 0: it does not fall
  }
  config.initial = {"delay": 5.0, "variance": 2.0, "weight": 0.5}
  config.delay_range = (1.0, 20.0)  # ms
  config.variance_range = (0.1, 10.0)  # ms²
  config.kernel_factor = 2.0  # exp(−(t − μ)²/(2σ)), the program's; 1: the print's
  config.rule = {
    "name": "sdvl",  # or stdp, none
    "alpha": 3.0,
    "alpha2": 20.0,  # the program's; 3: the print's
    "beta": 20.0,
    "rate": 0.04,
    "variance_share": 1.0,  # rate of the variance over that of the delay
    "potentiation": 0.01,
    "depression_ratio": 0.85,
  }
  config.train_time = 300.0  # s
  config.interval = 15.0  # s of training between two records

  # The conditions; what they do not name is as above.
  config.conditions = {name: dict(values) for name, values in _CONDITIONS.items()}

  # Tests: negative morph factors are reversed patterns.
  config.test = {
    "time": 20.0,  # s
    "thresholds": tuple(float(v) for v in range(-64, -41)),
    "morphs": tuple(-m for m in _GRID[::-1]) + _GRID,
    "fine_morphs": tuple(-m for m in _FINE[::-1]) + _FINE,
    "fine_conditions": ("detector", "integrator"),
    "morph": 1.0,  # these are set for each test
    "jitter": 0.0,
    "dropout": 0.0,
    "neuron": 0,
  }

  # The integral at τ = 3 ms: constant, and falling from the detector's to `ends` in `falls` s.
  config.search = {
    "first_seed": 1000,
    "seeds": 20,
    "train_time": 300.0,
    "constant": tuple(round(0.37 + 0.01 * k, 2) for k in range(8)),
    "ends": (0.36, 0.38, 0.4, 0.42),
    "falls": (30.0, 100.0),
  }
  config.robustness = {
    "conditions": ("detector", "integrator"),
    "jitter": (0.0, 1.0, 2.0, 4.0, 8.0),  # ms
    "dropout": (0.1, 0.25, 0.5),
  }
  # Words: patterns of several lengths on the same afferents, spoken at several tempos.
  config.words = {
    "lengths": (40, 50, 60, 70),  # ms
    "tempos": (0.8, 1.0, 1.25),
    "train_time": 150.0,  # s of each neuron's own word
    "layers": {"inhibited": True, "free": False},  # without a teacher; inhibition or not
    "layer_time": 600.0,  # s of all words: each as often as a taught neuron hears its own
    "inhibition": True,  # is set for each layer
    "test_time": 60.0,
  }
  return presets.apply(config, preset, PRESETS)

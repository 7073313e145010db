"""Training on a hidden pattern, and tests of the trained neuron on its morphed versions.

A member of the training is one neuron with its own pattern and input (a seed). Tests take the
trained synapses of all seeds as operands and draw fresh input of another stream.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lib import updates
from lib.dynamics import balanced_input, counter_random, spiking
from lib.dynamics.spike_trains import raise_on_overflow
from lib.experiment import Program, UserError
from projects.sdvl import neuron, testing, words

RULES = ("sdvl", "stdp", "none")
CURVES = ("spikes", "presented", "detected", "free", "silent")  # of every interval
# What conditions may change, all swept, so that they share compiled functions.
SWEPT = {
  "tau": "neuron.tau",
  "kernel_factor": "kernel_factor",
  "fgi": "neuron.fgi",
  "fgi_end": "neuron.fgi_end",
  "fgi_fall": "neuron.fgi_fall",
  "alpha2": "rule.alpha2",
  "variance_share": "rule.variance_share",
}
PATTERN = ("pattern.length", "pattern.word")  # swept too in the training
TESTS = ("test.morph", "test.jitter", "test.dropout")


def check(config):
  """Raises `UserError` for numbers and names out of range."""
  positive = ("seeds", "afferents", "rate", "train_time", "interval", "chunk", "capacity")
  for name in positive:
    value = config[name]
    if not isinstance(value, jax.core.Tracer) and not value > 0:
      raise UserError(f"{name} is {value}; it must be positive.")
  if config.rule.name not in RULES:
    raise UserError(f"rule.name is '{config.rule.name}'; choose from {', '.join(RULES)}.")
  low, high = spiking.FACTORS
  factor = config.kernel_factor
  if not isinstance(factor, jax.core.Tracer) and not low <= factor <= high:
    raise UserError(f"kernel_factor is {factor}; it must lie between {low:g} and {high:g}.")
  if not isinstance(config.neuron.tau, jax.core.Tracer) and config.neuron.tau < 1:
    raise UserError(f"neuron.tau is {config.neuron.tau} ms; a step of 1 ms needs at least 1.")
  if config.pattern.spikes > config.afferents:
    raise UserError(
      f"pattern.spikes is {config.pattern.spikes}, more than the {config.afferents} afferents."
    )
  if config.chunk > 128:
    raise UserError(f"chunk is {config.chunk}; it must be at most 128 ms.")
  for factor in (1.0, *config.test.morphs, *config.test.fine_morphs):
    if factor == 0:
      raise UserError("a morph factor of 0 has no pattern; leave it out.")
    _check_balance(config, config.pattern.length * abs(factor))
  for length in config.words.lengths:
    for tempo in (1.0, *config.words.tempos):
      _check_balance(config, length * tempo)


def _check_balance(config, length):
  if config.pattern.spikes > config.afferents * config.rate * length / 1000 + 1e-6:
    raise UserError(
      f"the pattern's {config.pattern.spikes} spikes in {length:g} ms exceed the background "
      "rate, so that it could not be hidden; lengthen it or raise the morph factor."
    )
  slot = neuron.chunks(config, length + config.pattern.gap) * config.chunk / 1000
  if config.presentations * slot > 1 or config.presentations > config.rate:
    raise UserError(
      f"{config.presentations} presentations a second of {length:g} ms do not fit; lower "
      "`presentations`."
    )


def prepare(config):
  """Nothing is loaded: all input is drawn on the device."""
  check(config)
  return ()


# --- one member: a neuron that learns --------------------------------------------------------


def init(config, operands):
  """The neuron before it has seen anything."""
  return neuron.initial(config)


def step(config, operands, state):
  """An interval of learning, and what the neuron did in it.

  Returns:
    latency: (capacity,), of each output spike, ms after the start of the presentation it
    lies in, −1 between presentations and −2 where the list is empty; spikes: how many;
    presented and detected: slots with a presentation, and those of them with a spike;
    free and silent: slots without a presentation, and those of them without a spike;
    overflow.
  """
  source = neuron.embedded(config, neuron.TRAINING)
  chunks = neuron.chunks(config, 1000 * config.interval)
  before = state.chunk
  state, spikes, overflow = neuron.learn(config, source, state)
  slot_ms = source.slot * config.chunk
  real = spikes.time >= 0
  slots = before // source.slot + jnp.arange(chunks)  # all that the interval touches
  _, present = balanced_input.presentation(source, slots)
  slot = jnp.maximum(spikes.time, 0) // slot_ms
  place = slot - slots[0]
  latency = jnp.where(present[place], jnp.maximum(spikes.time, 0) - slot * slot_ms, -1)

  # Slots that start and end in the interval.
  whole = (slots * source.slot >= before) & ((slots + 1) * source.slot <= before + chunks)
  hit = jnp.zeros(chunks, bool).at[jnp.where(real, place, chunks)].set(True, mode="drop")
  return state, {
    "latency": jnp.where(real, latency, -2).astype(jnp.int16),
    "spikes": spikes.count,
    "presented": (whole & present).sum(dtype=jnp.int32),
    "detected": (whole & present & hit).sum(dtype=jnp.int32),
    "free": (whole & ~present).sum(dtype=jnp.int32),
    "silent": (whole & ~present & ~hit).sum(dtype=jnp.int32),
    "overflow": overflow,
  }


def finish(config, operands, state, history):
  """The synapses, the pattern, and the history.

  Returns:
    delay, variance, rows (afferents,), weight (afferents,) or (0,); time (spikes,), of the
    pattern; of every interval what `step` returns; overflow; and the numbers of the last
    interval for sweeps: final_detected and final_silent shares of slots, final_rate in Hz.
  """
  last = {name: history[name][-1].astype(jnp.float32) for name in CURVES}
  weight = state.synapses.weight
  return {
    "delay": state.synapses.delay[0],
    "variance": state.synapses.variance[0],
    "weight": jnp.zeros(0) if weight is None else weight[0],
    "rows": state.rows[0],
    "time": neuron.pattern(config).time,
    "latency": history["latency"],
    **{name: history[name] for name in CURVES},
    "overflow": history["overflow"].max(),
    "final_detected": last["detected"] / jnp.maximum(last["presented"], 1.0),
    "final_silent": last["silent"] / jnp.maximum(last["free"], 1.0),
    "final_rate": last["spikes"] / config.interval,
  }


PROGRAM = Program(
  init, step, finish, lambda config: round(config.train_time / config.interval)
)


# --- one that does not -----------------------------------------------------------------------


def _untrained(config, operands):
  """What `finish` returns of a neuron that never learnt, with random delays and variances."""
  counter = jnp.arange(config.afferents, dtype=jnp.uint32)
  bits = counter_random.threefry(neuron.key(config, neuron.INITIAL), counter, jnp.uint32(0))
  ranges = (config.delay_range, config.variance_range)
  drawn = [
    (low + (high - low) * counter_random.uniform(b))[None]
    for b, (low, high) in zip(bits, ranges, strict=True)
  ]
  rows = spiking.kernel_rows(neuron.kernels(config), updates.Synapses(*drawn))
  return {
    "delay": drawn[0][0],
    "variance": drawn[1][0],
    "weight": jnp.zeros(0),
    "rows": rows[0],
    "time": neuron.pattern(config).time,
  }


UNTRAINED = Program.once(_untrained)


# --- the experiment --------------------------------------------------------------------------


def run(config, ctx):
  """All stages, as nested dicts with seeds first.

  conditions/<name>: what `finish` returns, and test (seeds, morphs, thresholds) and response
  (seeds, morphs, ms) of the trained neuron; search: the global integral and its schedule at
  τ = 3 ms; robustness: jitter and dropout of the pattern; words: the second use.

  On a CPU training runs in batches of as many members as there are seeds, tests in batches of
  as many as there are seeds and morphs, so that all stages share two compiled functions.
  """
  check(config)
  seeds = ctx.seeds(config)
  results = {
    "seeds": np.array(seeds),
    "morphs": np.array(config.test.morphs),
    "fine_morphs": np.array(config.test.fine_morphs),
    "thresholds": np.array(config.test.thresholds),
    "length": np.array(config.pattern.length),
    "interval": np.array(config.interval),
    "raster": ctx.stage("raster", raster, config),
    "search": _search(ctx, config),
    "conditions": {},
    "robustness": {},
  }
  for name in config.conditions:
    found = _train(ctx, config, name, seeds)
    results["conditions"][name] = found | _tests(ctx, config, name, found, seeds)
  for name in config.robustness.conditions:
    found = results["conditions"][name]
    results["robustness"][name] = _robustness(ctx, config, name, found, seeds)
  results["words"] = _words(ctx, config, seeds)
  timing = [ctx.timings[f"train {name}"] for name in config.conditions if name != "untrained"]
  busy = sum(t["wall_s"] - t["compile_s"] for t in timing)
  simulated = len(timing) * len(seeds) * config.train_time
  results["simulated_seconds_per_second"] = np.array(simulated / max(busy, 1e-9))
  return results


def _batch(members):
  """Members computed together: so many on a CPU, all on an accelerator."""
  return members if jax.default_backend() == "cpu" else None


def _row(config, condition):
  """The swept values of a condition."""
  defaults = {
    "tau": config.neuron.tau,
    "kernel_factor": config.kernel_factor,
    "fgi": config.neuron.fgi,
    "fgi_fall": config.neuron.fgi_fall,
    "alpha2": config.rule.alpha2,
    "variance_share": config.rule.variance_share,
  }
  values = defaults | {k: v for k, v in condition.items() if k in SWEPT}
  values.setdefault("fgi_end", values["fgi"])
  return tuple(float(values[name]) for name in SWEPT)


def _learn(ctx, stage, config, rows, seeds, *, words=((None, -1),), rule=None, time=None):
  """Trained neurons of every row of swept values, word (length, number) and seed.

  Returns:
    What `finish` returns, with an axis of rows × words × seeds.
  """
  kind = rule or config.rule.name
  words = [(float(length or config.pattern.length), number) for length, number in words]
  over = {tuple(SWEPT.values()): rows, PATTERN: words, "seed": seeds}
  found = ctx.members(
    stage,
    UNTRAINED if kind == "none" else PROGRAM,
    config,
    (),
    over,
    set={"rule.name": kind, "train_time": time or config.train_time},
    batch=_batch(config.seeds),
  )
  _raise_on_overflow(found.get("overflow", 0), "capacity or max_rate")
  count = len(rows) * len(words) * len(seeds)
  return {key: value.reshape(count, *value.shape[3:]) for key, value in found.items()}


def _hear(ctx, stage, config, found, rows, seeds, tests):
  """Tests (morph, jitter, dropout) of trained neurons, of every row and seed as `_learn`'s.

  Returns:
    What `_test` returns, with axes (rows × seeds, tests).
  """
  weight = found["weight"]
  if not weight.shape[-1]:  # of a rule without weights
    weight = np.ones(found["rows"].shape, np.float32)
  neurons = [(*row, seed) for row in rows for seed in seeds]
  part = ctx.members(
    stage,
    testing.TEST,
    config,
    {
      "rows": found["rows"],
      "weight": weight,
      "disturbed": np.array(any(test[1:] != (0.0, 0.0) for test in tests)),
    },
    {
      (*SWEPT.values(), "seed", "test.neuron"): [(*n, i) for i, n in enumerate(neurons)],
      TESTS: tests,
    },
    batch=_batch(config.seeds * len(config.test.morphs)),
  )
  _raise_on_overflow(part["overflow"], "capacity")
  return part


def _train(ctx, config, name, seeds):
  condition = config.conditions[name]
  rows = [_row(config, condition)]
  return _learn(ctx, f"train {name}", config, rows, seeds, rule=condition.get("rule"))


def _tests(ctx, config, name, found, seeds):
  """Accuracies over morphs and thresholds, and mean voltages over the coarser morphs."""
  fine = name in config.test.fine_conditions
  morphs = [float(m) for m in (config.test.fine_morphs if fine else config.test.morphs)]
  rows = [_row(config, config.conditions[name])]
  tests = [(m, 0.0, 0.0) for m in morphs]
  test = _hear(ctx, f"test {name}", config, found, rows, seeds, tests)
  coarse = [int(np.argmin(np.abs(np.array(morphs) - m))) for m in config.test.morphs]
  return {
    "test_morphs": np.array(morphs),
    "test": {key: test[key] for key in ("detected", "silent", "accuracy", "rate")},
    "response": {key: test[key][:, coarse] for key in ("voltage", "firing")},
  }


def _search(ctx, config):
  """The range of the global integral in which the coincidence detector learns.

  On seeds of its own: constant integrals, then falling ones; of each trained neuron the
  accuracy at the end of training and the peak of its mean voltage. The config's values were
  chosen from these curves.
  """
  search = config.search
  seeds = list(range(search.first_seed, search.first_seed + search.seeds))
  detector = dict(config.conditions["detector"].to_dict())
  schedules = [{"fgi": f, "fgi_end": f, "fgi_fall": 0.0} for f in search.constant]
  schedules += [
    {"fgi_end": end, "fgi_fall": fall} for end in search.ends for fall in search.falls
  ]
  rows = [_row(config, detector | schedule) for schedule in schedules]
  found = _learn(ctx, "search", config, rows, seeds, time=search.train_time)
  test = _hear(ctx, "search test", config, found, rows, seeds, [(1.0, 0.0, 0.0)])
  measured = {"peak": np.nanmax(test["voltage"][:, 0], -1), **{k: found[k] for k in CURVES}}
  return {
    "constant": np.array(search.constant),
    "ends": np.array(search.ends),
    "falls": np.array(search.falls),
    **{  # seeds first
      key: value.reshape(len(rows), len(seeds), *value.shape[1:]).swapaxes(0, 1)
      for key, value in measured.items()
    },
  }


def _robustness(ctx, config, name, found, seeds):
  """Tests with jittered and with dropped spikes of the pattern."""
  tests = [(1.0, float(j), 0.0) for j in config.robustness.jitter]
  tests += [(1.0, 0.0, float(p)) for p in config.robustness.dropout]
  rows = [_row(config, config.conditions[name])]
  test = _hear(ctx, f"robustness {name}", config, found, rows, seeds, tests)
  return {
    "jitter": np.array(config.robustness.jitter),
    "dropout": np.array(config.robustness.dropout),
    **{key: test[key] for key in ("detected", "silent", "accuracy", "rate")},
  }


def _words(ctx, config, seeds):
  """A neuron taught each word, layers that are taught nothing, and what they make of words.

  Returns:
    lengths, tempos; taught, inhibited, free: peak and variant of `words.LISTEN`, seeds first.
  """
  setting, row = config.words, _row(config, config.conditions["detector"])
  spoken = [(length, number) for number, length in enumerate(setting.lengths)]
  learnt = _learn(
    ctx, "learn words", config, [row], seeds, words=spoken, time=setting.train_time
  )
  rows = {"taught": learnt["rows"].reshape(len(spoken), len(seeds), -1).swapaxes(0, 1)}
  over = {tuple(SWEPT.values()): [row], "seed": seeds}
  if setting.layers:
    layer = ctx.members(
      "layers of words",
      words.LAYER,
      config,
      (),
      over | {"words.inhibition": list(setting.layers.values())},
      batch=_batch(config.seeds),
    )
    _raise_on_overflow(layer["overflow"], "capacity or max_rate")
    rows |= {name: layer["rows"][0, :, i] for i, name in enumerate(setting.layers)}
  found = {}
  for name, synapses in rows.items():
    operands = {"first": np.int32(seeds[0]), "rows": synapses}
    heard = ctx.members(f"words {name}", words.LISTEN, config, operands, over)
    _raise_on_overflow(heard["overflow"], "capacity")
    found[name] = {key: heard[key][0] for key in ("peak", "variant")}
  return {
    "lengths": np.array(setting.lengths),
    "tempos": np.array(setting.tempos),
    **found,
  }


def raster(config):
  """A second of the first seed's input: time (ms) and afferent of each spike, and onsets."""
  chunks = neuron.chunks(config, 1000)

  @jax.jit
  def drawn():
    source = neuron.embedded(config, neuron.TRAINING)
    draw = balanced_input.draw(source)
    spikes = jax.lax.map(lambda chunk: draw.events(draw.outline(chunk)), jnp.arange(chunks))
    time = spikes.step + config.chunk * jnp.arange(chunks)[:, None]
    _, present = balanced_input.presentation(source, jnp.arange(chunks) // source.slot)
    starts = present & (jnp.arange(chunks) % source.slot == 0)
    return time, spikes.afferent, spikes.valid, starts

  time, afferent, valid, starts = jax.device_get(drawn())
  onsets = np.flatnonzero(starts) * config.chunk
  return {"time": time[valid], "afferent": afferent[valid], "onsets": onsets}


def _raise_on_overflow(overflow, keys):
  try:
    raise_on_overflow(overflow, "spikes")
  except OverflowError as error:
    raise UserError(f"{error} Raise {keys} in the config.") from error

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
  "fgi": "neuron.fgi",
  "fgi_end": "neuron.fgi_end",
  "fgi_fall": "neuron.fgi_fall",
  "alpha2": "rule.alpha2",
  "variance_share": "rule.variance_share",
}


def check(config):
  """Raises `UserError` for numbers and names out of range."""
  positive = ("seeds", "afferents", "rate", "train_time", "interval", "chunk", "capacity")
  for name in positive:
    value = config[name]
    if not isinstance(value, jax.core.Tracer) and not value > 0:
      raise UserError(f"{name} is {value}; it must be positive.")
  if config.rule.name not in RULES:
    raise UserError(f"rule.name is '{config.rule.name}'; choose from {', '.join(RULES)}.")
  if config.kernel not in spiking.KERNELS:
    raise UserError(f"kernel is '{config.kernel}'; choose from {', '.join(spiking.KERNELS)}.")
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
    _check_balance(config, abs(factor))


def _check_balance(config, factor):
  length = config.pattern.length * factor
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
  slot = jnp.maximum(spikes.time, 0) // slot_ms
  _, in_pattern = balanced_input.presentation(source, slot)
  latency = jnp.where(in_pattern, jnp.maximum(spikes.time, 0) - slot * slot_ms, -1)

  first = -(-before // source.slot)  # slots that start and end in the interval
  slots = first + jnp.arange(chunks)
  whole = (slots + 1) * source.slot <= before + chunks
  _, present = balanced_input.presentation(source, slots)
  hit = jnp.zeros(chunks, bool).at[jnp.where(real & (slot >= first), slot - first, chunks)]
  hit = hit.set(True, mode="drop")
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


# --- one member of a test --------------------------------------------------------------------


def _trained(config, operands):
  """(rows, weight) of the member's seed, each with an axis of one neuron."""
  index = config.seed - operands["first"]
  return operands["rows"][index][None], operands["weight"][index][None]


def _test(config, operands, **changes):
  source = neuron.embedded(config, neuron.TEST, morph=config.test.morph, **changes)
  rows, weight = _trained(config, operands)
  tally, lost = testing.detections(
    neuron.kernels(config),
    rows,
    weight,
    neuron.membrane(config),
    jnp.asarray(config.test.thresholds, jnp.float32),
    source,
    neuron.chunks(config, 1000 * config.test.time),
    neuron.final_integral(config),
  )
  return {**testing.scores(tally), "rate": tally.spikes / config.test.time, "overflow": lost}


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


def _disturbed_test(config, operands):
  return _test(config, operands, deviation=config.test.jitter, dropout=config.test.dropout)


def _response(config, operands):
  slot = neuron.chunks(config, 1000 / config.presentations)
  source = neuron.embedded(config, neuron.RESPONSE, morph=config.test.morph, slot=slot)
  rows, weight = _trained(config, operands)
  free, firing, lost = testing.responses(
    neuron.kernels(config),
    rows,
    weight,
    neuron.membrane(config),
    source,
    config.test.presentations,
    slot,
    neuron.final_integral(config),
  )
  return {"voltage": free, "firing": firing, "overflow": lost}


TEST = Program.once(_test)
DISTURBED = Program.once(_disturbed_test)
RESPONSE = Program.once(_response)
UNTRAINED = Program.once(_untrained)


# --- the experiment --------------------------------------------------------------------------


def run(config, ctx):
  """All stages, as nested dicts with seeds first.

  conditions/<name>: what `finish` returns, and test (seeds, morphs, thresholds) and response
  (seeds, morphs, ms) of the trained neuron; search: the global integral and its schedule at
  τ = 3 ms; robustness: jitter and dropout of the pattern.
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


def _row(config, condition):
  """The swept values of a condition."""
  defaults = {
    "tau": config.neuron.tau,
    "fgi": config.neuron.fgi,
    "fgi_fall": config.neuron.fgi_fall,
    "alpha2": config.rule.alpha2,
    "variance_share": config.rule.variance_share,
  }
  values = defaults | {k: v for k, v in condition.items() if k in SWEPT}
  values.setdefault("fgi_end", values["fgi"])
  return tuple(float(values[name]) for name in SWEPT)


def _train(ctx, config, name, seeds):
  condition = config.conditions[name]
  kind = condition.get("rule", config.rule.name)
  over = {"seed": seeds, tuple(SWEPT.values()): [_row(config, condition)]}
  program = UNTRAINED if kind == "none" else PROGRAM
  stage = f"train {name}"
  found = ctx.members(stage, program, config, (), over, set={"rule.name": kind})
  _raise_on_overflow(found.get("overflow", 0), "capacity or max_rate")
  return {key: value[:, 0] for key, value in found.items()}


def _operands(found, seeds):
  """What the tests need of all trained neurons; rules without weights leave them at 1."""
  weight = found["weight"]
  if not weight.shape[-1]:
    weight = np.ones(found["rows"].shape, np.float32)
  return {"first": np.int32(seeds[0]), "rows": found["rows"], "weight": weight}


def _tests(ctx, config, name, found, seeds):
  """Accuracies over morphs and thresholds, and mean voltages.

  Morphs come in groups of one size, so that all tests share a compiled function.
  """
  operands = _operands(found, seeds)
  over = {"seed": seeds, tuple(SWEPT.values()): [_row(config, config.conditions[name])]}

  def at(stage, program, morphs):
    values = {**over, "test.morph": [float(m) for m in morphs]}
    part = ctx.members(stage, program, config, operands, values)
    _raise_on_overflow(part["overflow"], "capacity")
    return {key: value[:, 0] for key, value in part.items()}

  size = len(config.test.morphs)
  groups = [config.test.morphs]
  if name in config.test.fine_conditions:
    fine = config.test.fine_morphs
    groups = [fine[i : i + size] for i in range(0, len(fine), size)]
  parts = [at(f"test {name} {i}", TEST, group) for i, group in enumerate(groups)]
  return {
    "test_morphs": np.array([m for group in groups for m in group]),
    "test": {key: np.concatenate([p[key] for p in parts], 1) for key in parts[0]},
    "response": at(f"response {name}", RESPONSE, config.test.morphs),
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
  rows = [detector | {"fgi": f, "fgi_end": f} for f in search.constant]
  rows += [
    detector | {"fgi_end": end, "fgi_fall": fall}
    for end in search.ends
    for fall in search.falls
  ]
  parts = []
  for i, row in enumerate(rows):
    over = {"seed": seeds, tuple(SWEPT.values()): [_row(config, row)]}
    changed = {"train_time": search.train_time}
    found = ctx.members(f"search {i}", PROGRAM, config, (), over, set=changed)
    _raise_on_overflow(found["overflow"], "capacity or max_rate")
    found = {key: value[:, 0] for key, value in found.items()}
    over["test.morph"] = [1.0]
    response = ctx.members(
      f"search response {i}", RESPONSE, config, _operands(found, seeds), over
    )
    peak = response["voltage"][:, 0, 0].max(-1)
    parts.append({"peak": peak, **{key: found[key] for key in CURVES}})
  return {
    "constant": np.array(search.constant),
    "ends": np.array(search.ends),
    "falls": np.array(search.falls),
    **{key: np.stack([part[key] for part in parts], 1) for key in parts[0]},
  }


def _robustness(ctx, config, name, found, seeds):
  """Tests with jittered and with dropped spikes of the pattern."""
  disturbed = [(float(j), 0.0) for j in config.robustness.jitter]
  disturbed += [(0.0, float(p)) for p in config.robustness.dropout]
  over = {
    "seed": seeds,
    tuple(SWEPT.values()): [_row(config, config.conditions[name])],
    ("test.jitter", "test.dropout"): disturbed,
  }
  operands = _operands(found, seeds)
  test = ctx.members(f"robustness {name}", DISTURBED, config, operands, over)
  _raise_on_overflow(test["overflow"], "capacity")
  return {
    "jitter": np.array(config.robustness.jitter),
    "dropout": np.array(config.robustness.dropout),
    **{key: value[:, 0] for key, value in test.items()},
  }


def _words(ctx, config, seeds):
  """One coincidence detector for each word, and what all of them make of all words."""
  row = _row(config, config.conditions["detector"])
  over = {
    "seed": seeds,
    tuple(SWEPT.values()): [row],
    "words.word": list(range(len(config.words.lengths))),
  }
  learnt = ctx.members("learn words", words.LEARN, config, (), over)
  _raise_on_overflow(learnt["overflow"], "capacity or max_rate")
  operands = {"first": np.int32(seeds[0]), "rows": learnt["rows"][:, 0]}
  del over["words.word"]
  heard = ctx.members("listen to words", words.LISTEN, config, operands, over)
  _raise_on_overflow(heard["overflow"], "capacity")
  return {
    "lengths": np.array(config.words.lengths),
    "tempos": np.array(config.words.tempos),
    **{key: heard[key][:, 0] for key in ("peak", "variant")},
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

"""What the claims check: pure functions of the measured results."""

import numpy as np

from lib.experiment import claims as check
from projects.sdvl import quantities as q

# The paper's numbers in mV, and how far off a mean may be: 2 mV where peaks span 14, and 1 mV
# where they span 3. Set before looking.
PEAKS_DETECTOR = {1.0: -38.0, 0.5: -43.0, 1.5: -52.0}
PEAKS_INTEGRATOR = {1.0: -52.0, 0.5: -52.0, 1.5: -54.0, 2.0: -54.7}
TOLERANCE = {"detector": 2.0, "integrator": 1.0}
WITHIN_HALF = (0.5, 1.0, 1.5)  # the paper's grid inside ±50 %
LOW, HIGH = -55.0, -52.0  # thresholds
SETTLED = 2  # intervals at the end of training


def _parts(samples, decide):
  """A check of each named sample; those that were not measured are not tested."""
  found = {}
  for name, values in samples.items():
    if values is None:
      found[name] = check.not_tested("not in this preset.")
    elif not np.all(np.isfinite(values)):
      lost = int(np.sum(~np.isfinite(values)))
      found[name] = check.verdict(
        measured=None,
        seeds=len(values),
        verdict=check.NOT_REPRODUCED,
        why=f"{lost} of {len(values)} neurons have no value.",
      )
    else:
      found[name] = decide(name, values)
  return check.every(found)


def _one(values, decide):
  return _parts({"": values}, lambda _, v: decide(v))


def delays_fall(results):
  """Fig. 2A."""
  found = q.condition(results, "detector")
  return check.below(
    q.correlation(found), -0.8, quantity="correlation of delay and firing time"
  )


def inputs_learnt(results):
  """Sec. 4.1."""
  members, _ = q.main_feature(q.condition(results, "detector"))
  return check.between(members.sum(1), 150, 200, quantity="inputs in the main feature")


def steady_firing(results):
  """Fig. 2B."""
  jitter = q.firing_jitter(q.condition(results, "detector"), SETTLED)
  return _one(jitter, lambda v: check.below(v, 1.0, quantity="SD of the latency, ms"))


def _peaks(results, name, expected):
  tolerance = TOLERANCE[name.split("_")[0]]
  return _parts(
    {f"mf={m:g}": q.peaks(results, name, m) for m in expected},
    lambda label, v: check.between(
      v,
      expected[float(label[3:])] - tolerance,
      expected[float(label[3:])] + tolerance,
      quantity="peak mean voltage, mV",
    ),
  )


def peaks_detector(results):
  """Fig. 3A."""
  return _peaks(results, "detector", PEAKS_DETECTOR)


def peaks_integrator(results):
  """Fig. 3C."""
  return _peaks(results, "integrator", PEAKS_INTEGRATOR)


def stretching_costs_more(results):
  """Sec. 4.2: a coincidence detector loses more by stretching than by compression."""
  short, long = (q.peaks(results, "detector", m) for m in (0.5, 1.5))
  if short is None or long is None:
    return check.not_tested("not in this preset.")
  return check.greater(short, long, quantity="peak at mf=0.5 over mf=1.5, mV")


def reversed_is_lower(results):
  """Sec. 4.2: more than 15 mV."""
  learnt = q.peaks(results, "detector", 1.0)
  samples = {
    f"mf={-m:g}": None if p is None else learnt - p
    for m in (0.5, 1.0, 1.5, 2.0)
    for p in (q.peaks(results, "detector", -m),)
  }
  return _parts(samples, lambda _, v: check.above(v, 15.0, quantity="peaks' difference, mV"))


def accurate_at_55(results):
  """The abstract: above 99 % for morphs up to 50 %."""
  samples = {
    f"mf={m:g}": q.score(results, "detector", "accuracy", m, LOW) for m in WITHIN_HALF
  }
  return _parts(samples, lambda _, v: check.above(v, 0.99, quantity="accuracy at −55 mV"))


def selective_at_52(results):
  """Fig. 4: near perfect, read as above 95 %, and reversed patterns near zero, below 5 %."""
  accuracy = {
    f"accuracy, mf={m:g}": q.score(results, "detector", "accuracy", m, HIGH)
    for m in WITHIN_HALF
  }
  detected = {
    f"detected, mf={-m:g}": q.score(results, "detector", "detected", -m, HIGH)
    for m in WITHIN_HALF
  }

  def decide(name, values):
    if name.startswith("accuracy"):
      return check.above(values, 0.95, quantity="accuracy at −52 mV")
    return check.below(values, 0.05, quantity="reversed patterns detected at −52 mV")

  return _parts({**accuracy, **detected}, decide)


def reversed_fires_at_55(results):
  """Sec. 4.2: the neuron does respond frequently to the reversed pattern at −55 mV."""
  return _one(
    q.score(results, "detector", "detected", -1.0, LOW),
    lambda v: check.above(v, 0.5, quantity="reversed patterns detected at −55 mV"),
  )


def integrator_is_worse(results):
  """Sec. 4.3: an integrator separates the learnt from the reversed pattern less well."""
  parts = {}
  for name in ("detector", "integrator"):
    forward, backward = (q.peaks(results, name, m) for m in (1.0, -1.0))
    parts[name] = None if forward is None or backward is None else forward - backward
  if any(p is None for p in parts.values()):
    return check.not_tested("not in this preset.")
  return check.greater(
    parts["detector"], parts["integrator"], quantity="gap to the reversed peak, mV"
  )


# --- controls


def finer_grid(results):
  """Every morph factor from 0.5 to 1.5 in steps of 0.1, at −52 mV."""
  factors = [round(0.1 * k, 1) for k in range(5, 16)]
  samples = {f"mf={m:g}": q.score(results, "detector", "accuracy", m, HIGH) for m in factors}
  samples = {k: v for k, v in samples.items() if v is not None}
  if not samples:
    return check.not_tested("not in this preset.")
  return _parts(samples, lambda _, v: check.above(v, 0.95, quantity="accuracy at −52 mV"))


def best_separation(results, name):
  """(seeds,): accuracy on the pattern minus its reversed detections, at the best threshold.

  One threshold for all seeds, chosen for the condition: the most that it can do.
  """
  found = q.condition(results, name)
  if found is None:
    return None
  forward, backward = (q.at_morph(found, m) for m in (1.0, -1.0))
  if forward is None or backward is None:
    return None
  test = found["test"]
  values = test["accuracy"][:, forward] - test["detected"][:, backward]
  return np.asarray(values[:, values.mean(0).argmax()], np.float64)


def _below_detector(results, name, margin):
  control, learnt = best_separation(results, name), best_separation(results, "detector")
  if control is None or learnt is None:
    return check.not_tested("not in this preset.")
  return check.greater(
    learnt, control, margin=margin, quantity="separation from the reversed pattern"
  )


def untrained_cannot(results):
  """Random delays do not recognise anything, at any threshold."""
  return _one(
    best_separation(results, "untrained"),
    lambda v: check.below(v, 0.1, quantity="separation at the best threshold"),
  )


def frozen_variance(results):
  """Delays alone learn less than delays with variances."""
  return check.every(
    {"detector": _below_detector(results, "detector_frozen", 0.0)},
  )


def stdp_confuses(results):
  """A neuron that learns weights finds the pattern and takes its reversal for it."""
  found = q.condition(results, "stdp")
  if found is None:
    return check.not_tested("not in this preset.")
  level = q.best_threshold(results, "stdp")
  return check.every(
    {
      "pattern": check.above(
        q.score(results, "stdp", "accuracy", 1.0, level), 0.9, quantity="accuracy"
      ),
      "reversed": check.above(
        q.score(results, "stdp", "detected", -1.0, level), 0.5, quantity="reversed detected"
      ),
    }
  )


def readings_differ(results):
  """The print's α2 = 3 and the program's α2 = 20 do not learn the same."""
  pairs = {
    name: [
      None if q.condition(results, n) is None else q.correlation(q.condition(results, n))
      for n in (f"{name}_print", name)
    ]
    for name in ("detector", "integrator")
  }
  parts = {
    name: check.not_tested("not in this preset.")
    if a is None or b is None
    else check.greater(a, b, margin=0.5, quantity="correlation, print over program")
    for name, (a, b) in pairs.items()
  }
  return check.every(parts)


def printed_kernel(results):
  """What the neuron learns with exp(−(t − μ)²/σ), with the same limits as for 2σ."""
  found = q.condition(results, "detector_kernel")
  delays = check.not_tested("not in this preset.")
  if found is not None:
    delays = check.below(q.correlation(found), -0.8, quantity="correlation, τ = 3 ms")
  return check.every(
    {
      "delays": delays,
      "τ = 3 ms": _peaks(results, "detector_kernel", PEAKS_DETECTOR),
      "τ = 20 ms": _peaks(results, "integrator_kernel", PEAKS_INTEGRATOR),
    }
  )


def schedule_matters(results):
  """Falling to the same value or constant from the start, at −55 mV."""
  pair = [
    q.score(results, name, "accuracy", 1.0, LOW) for name in ("detector", "detector_constant")
  ]
  if any(values is None for values in pair):
    return check.not_tested("not in this preset.")
  return check.greater(*pair, quantity="accuracy at −55 mV, falling over constant")


def accurate_integral(results):
  """The abstract's number at a smaller integral, at which noise is silent."""
  samples = {
    f"mf={m:g}": q.score(results, "detector_accurate", "accuracy", m, LOW) for m in WITHIN_HALF
  }
  return _parts(samples, lambda _, v: check.above(v, 0.99, quantity="accuracy at −55 mV"))


def words_told_apart(results):
  """The neuron with the highest peak names the word, at every tempo."""
  shares = q.words_recognised(results["words"], "taught")
  samples = {
    f"tempo {tempo:g}": shares[:, i] for i, tempo in enumerate(results["words"]["tempos"])
  }
  return _parts(samples, lambda _, v: check.above(v, 0.95, quantity="words recognised"))


def _words_compared(results, better, worse):
  part = results["words"]
  if better not in part or worse not in part:
    return check.not_tested("not in this preset.")
  shares = [q.words_recognised(part, kind).mean(-1) for kind in (better, worse)]
  if not np.all(np.isfinite(shares)):
    return check.not_tested("too few words were heard.")
  return check.greater(*shares, quantity=f"words recognised, {better} over {worse}")


def teacher_matters(results):
  """One taught neuron a word against a layer that shares the words by inhibition."""
  return _words_compared(results, "taught", "inhibited")


def inhibition_matters(results):
  """The same layer with and without lateral inhibition."""
  return _words_compared(results, "inhibited", "free")


def robust(results):
  """A quarter of the pattern's spikes dropped, or jitter of 2 ms, at −52 mV."""
  found = results["robustness"].get("detector")
  level = q.at_threshold(results, HIGH)
  if found is None or level is None:
    return check.not_tested("not in this preset.")
  jitter, dropout = list(found["jitter"]), list(found["dropout"])
  cases = {}
  if 2.0 in jitter:
    cases["jitter 2 ms"] = jitter.index(2.0)
  if 0.25 in dropout:
    cases["a quarter dropped"] = len(jitter) + dropout.index(0.25)
  if not cases:
    return check.not_tested("not in this preset.")
  return _parts(
    {k: np.asarray(found["accuracy"][:, i, level], np.float64) for k, i in cases.items()},
    lambda _, v: check.above(v, 0.95, quantity="accuracy at −52 mV"),
  )

"""The paper's claims and the controls it lacks, and the flat numbers of a run."""

import numpy as np

from lib.experiment import Claim
from projects.sdvl import checks
from projects.sdvl import quantities as q
from projects.sdvl.checks import HIGH, LOW, SETTLED


def _claim(name, source, statement, expected, function):
  return Claim(name, source, statement, expected, function, control=source == "control")


CLAIMS = (
  _claim(
    "delays_fall",
    "Fig. 2A",
    "Learnt delays fall linearly with the firing time of their input (τ = 3 ms).",
    "correlation over inputs with a small variance below -0.8",
    checks.delays_fall,
  ),
  _claim(
    "inputs_learnt",
    "Sec. 4.1",
    "One main feature has 150 to 200 of the 500 pattern inputs.",
    "learnt inputs that arrive within 2 ms of each other's middle: between 150 and 200",
    checks.inputs_learnt,
  ),
  _claim(
    "steady_firing",
    "Fig. 2B",
    "Once trained, the neuron fires at a fixed time in each presentation, to 1 ms.",
    "standard deviation of the first spike's latency in the last 30 s below 1 ms",
    checks.steady_firing,
  ),
  _claim(
    "peaks_detector",
    "Fig. 3A",
    "Peak mean voltages at τ = 3 ms: -38 mV, compressed -43, stretched -52.",
    "each within 2 mV",
    checks.peaks_detector,
  ),
  _claim(
    "peaks_integrator",
    "Fig. 3C",
    "Peak mean voltages at τ = 20 ms: -52 mV, 0.5: -52, 1.5: -54, 2: -54.7.",
    "each within 1 mV",
    checks.peaks_integrator,
  ),
  _claim(
    "stretching_costs_more",
    "Sec. 4.2",
    "Stretching by half lowers the detector's response more than compression by half.",
    "peak at mf = 0.5 above that at mf = 1.5, paired",
    checks.stretching_costs_more,
  ),
  _claim(
    "reversed_is_lower",
    "Sec. 4.2",
    "Reversed patterns evoke a peak more than 15 mV below the learnt one (τ = 3 ms).",
    "difference above 15 mV for each reversed morph",
    checks.reversed_is_lower,
  ),
  _claim(
    "accurate_at_55",
    "Abstract",
    "Accuracy is above 99 % for morphs up to 50 % (threshold -55 mV, τ = 3 ms).",
    "accuracy above 0.99 at mf = 0.5, 1 and 1.5",
    checks.accurate_at_55,
  ),
  _claim(
    "selective_at_52",
    "Fig. 4",
    "At -52 mV morphs up to 50 % are recognised near perfectly and no reversed pattern is.",
    "accuracy above 0.95, and below 0.05 of reversed patterns detected",
    checks.selective_at_52,
  ),
  _claim(
    "reversed_fires_at_55",
    "Sec. 4.2",
    "At -55 mV the neuron often responds to the reversed pattern.",
    "more than half of the reversed presentations detected",
    checks.reversed_fires_at_55,
  ),
  _claim(
    "integrator_is_worse",
    "Sec. 4.3",
    "An integrator (τ = 20 ms) separates the learnt from the reversed pattern less.",
    "difference of the peaks larger at τ = 3 ms, paired",
    checks.integrator_is_worse,
  ),
  _claim(
    "finer_grid",
    "control",
    "Between the paper's morph factors, in steps of 0.1, nothing else happens.",
    "accuracy above 0.95 at each of 0.5, 0.6, ..., 1.5 and -52 mV",
    checks.finer_grid,
  ),
  _claim(
    "untrained_control",
    "control",
    "An untrained neuron with random delays does not tell the pattern from its reversal.",
    "accuracy minus reversed detections below 0.1 at its best threshold",
    checks.untrained_cannot,
  ),
  _claim(
    "frozen_variance_control",
    "control",
    "With frozen variances, the rest of the rule separates the reversed pattern less well.",
    "separation at the best threshold below the full rule's, paired",
    checks.frozen_variance,
  ),
  _claim(
    "stdp_control",
    "control",
    "A neuron that learns weights by STDP finds the pattern but confuses its reversal.",
    "accuracy above 0.9, and more than half of the reversed detected, at one threshold",
    checks.stdp_confuses,
  ),
  _claim(
    "readings_differ",
    "control",
    "The rule as printed (α2 = 3) and as programmed (α2 = 20) learn different delays.",
    "correlation of delay and time higher by 0.5 for the print, τ = 3 and 20 ms",
    checks.readings_differ,
  ),
  _claim(
    "printed_kernel",
    "control",
    "With the kernel as printed, exp(-(t - μ)²/σ), delays and peaks are the paper's.",
    "correlation below -0.8; peaks within 2 mV at τ = 3 ms and 1 mV at τ = 20 ms",
    checks.printed_kernel,
  ),
  _claim(
    "schedule_matters",
    "control",
    "At τ = 3 ms a falling global integral learns better than a constant one.",
    "accuracy at mf = 1 and -55 mV above that of the constant end value, paired",
    checks.schedule_matters,
  ),
  _claim(
    "accurate_integral",
    "control",
    "At a smaller integral (0.38), silent in noise, accuracy is above 99 % up to 50 %.",
    "accuracy above 0.99 at mf = 0.5, 1 and 1.5 and -55 mV",
    checks.accurate_integral,
  ),
  _claim(
    "words",
    "control",
    "One neuron a word tells words apart that differ in nothing but the order of spikes.",
    "more than 95 % named by the highest peak, at each tempo from 0.8 to 1.25",
    checks.words_told_apart,
  ),
  _claim(
    "words_teacher",
    "control",
    "A taught neuron a word names more words than a layer with lateral inhibition alone.",
    "share recognised by the highest peak larger, mean over tempos, paired",
    checks.teacher_matters,
  ),
  _claim(
    "words_inhibition",
    "control",
    "Without a teacher, lateral inhibition makes a layer name more words.",
    "share recognised larger than that of the same layer without inhibition, paired",
    checks.inhibition_matters,
  ),
  _claim(
    "robustness",
    "control",
    "The trained detector stands 2 ms of jitter and a quarter of the spikes dropped.",
    "accuracy above 0.95 at -52 mV in each",
    checks.robust,
  ),
)


# --- metrics


def metrics(results):
  """Flat numbers: means over seeds."""
  found = {}
  taus = {"detector": 3, "integrator": 20}
  for name, tau in taus.items():
    if q.condition(results, name) is None:
      continue
    for m in q.condition(results, name)["test_morphs"]:
      for threshold, suffix in ((LOW, ""), (HIGH, "_threshold_-52")):
        values = q.score(results, name, "accuracy", m, threshold)
        if values is not None:
          found[f"accuracy_mf_{m:g}_tau_{tau}{suffix}"] = values.mean()
    for m in results["morphs"]:
      found[f"peak_voltage_mf_{m:g}_tau_{tau}"] = q.peaks(results, name, m).mean()
  for name, part in results["conditions"].items():
    for threshold, suffix in ((LOW, "_-55"), (HIGH, "_-52")):
      backward = q.score(results, name, "detected", -1.0, threshold)
      forward = q.score(results, name, "detected", 1.0, threshold)
      if backward is not None:
        found[f"reversed_detected{suffix}/{name}"] = backward.mean()
        found[f"detected{suffix}/{name}"] = forward.mean()
        silent = q.score(results, name, "silent", 1.0, threshold)
        found[f"silent{suffix}/{name}"] = silent.mean()
    level = q.best_threshold(results, name)
    if level is not None:
      found[f"best_threshold/{name}"] = level
      for kind, factor in (("accuracy", 1.0), ("detected", -1.0)):
        label = f"{kind}_at_best_threshold_mf_{factor:g}/{name}"
        found[label] = q.score(results, name, kind, factor, level).mean()
    own = q.at_own_threshold(part)
    if own is not None:
      found[f"accuracy_at_own_threshold/{name}"] = own[0].mean()
      found[f"reversed_detected_at_own_threshold/{name}"] = own[1].mean()
    separation = checks.best_separation(results, name)
    if separation is not None:
      found[f"separation/{name}"] = separation.mean()
    found[f"delay_correlation/{name}"] = q.correlation(part).mean()
    found[f"inputs_in_main_feature/{name}"] = q.main_feature(part)[0].sum(1).mean()
    found[f"inputs_learnt/{name}"] = q.learnt(part).sum(1).mean()
    if "latency" in part:
      jitter = q.firing_jitter(part, SETTLED)
      found[f"neurons_firing_in_presentations/{name}"] = np.isfinite(jitter).mean()
  search = results["search"]
  labels = [f"constant_{v:g}" for v in search["constant"]]
  labels += [f"to_{e:g}_in_{f:g}" for e in search["ends"] for f in search["falls"]]
  accuracy = q.slot_accuracy(search)[..., -SETTLED:].mean(-1)
  for i, label in enumerate(labels):
    found[f"search_accuracy/{label}"] = accuracy[:, i].mean()
    found[f"search_peak_voltage/{label}"] = search["peak"][:, i].mean()
  for kind in q.word_kinds(results["words"]):
    shares = q.words_recognised(results["words"], kind).mean(0)
    for tempo, share in zip(results["words"]["tempos"], shares, strict=True):
      suffix = "" if kind == "taught" else f"/{kind}"
      found[f"words_recognised_tempo_{tempo:g}{suffix}"] = share
  reversed_rate = q.score(results, "detector", "detected", -1.0, HIGH)
  if reversed_rate is not None:
    found["reversed_detection_rate"] = reversed_rate.mean()
  found["simulated_seconds_per_second"] = float(results["simulated_seconds_per_second"])
  return found

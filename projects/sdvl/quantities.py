"""What claims and figures derive from the measured results: arrays with seeds first."""

import numpy as np

NARROW = 1.0  # ms²: a synapse with a smaller variance has learnt a delay
TOGETHER = 2.0  # ms: delayed spikes this close to a common arrival are aligned


def condition(results, name):
  """A condition's results, or None where it was not run."""
  return results["conditions"].get(name)


def at_morph(found, factor):
  """Index of a morph factor in a condition's tests, or None."""
  near = np.flatnonzero(np.isclose(found["test_morphs"], factor))
  return int(near[0]) if near.size else None


def at_threshold(results, threshold):
  """Index of a threshold, or None."""
  near = np.flatnonzero(np.isclose(results["thresholds"], threshold))
  return int(near[0]) if near.size else None


def score(results, name, kind, factor, threshold):
  """detected, silent or accuracy of a condition, (seeds,), or None where not tested."""
  found = condition(results, name)
  if found is None:
    return None
  morph, level = at_morph(found, factor), at_threshold(results, threshold)
  if morph is None or level is None:
    return None
  return np.asarray(found["test"][kind][:, morph, level], np.float64)


def best_threshold(results, name):
  """The threshold of a condition's highest mean accuracy at mf = 1, mV, or None."""
  found = condition(results, name)
  morph = None if found is None else at_morph(found, 1.0)
  if morph is None:
    return None
  return float(results["thresholds"][found["test"]["accuracy"][:, morph].mean(0).argmax()])


def at_own_threshold(found):
  """Each neuron at the threshold of its own highest accuracy at mf = 1.

  Returns:
    (accuracy, reversed): accuracies, and shares of reversed presentations detected there,
    each (seeds,); or None where a morph was not tested.
  """
  forward, backward = (at_morph(found, m) for m in (1.0, -1.0))
  if forward is None or backward is None:
    return None
  accuracy = found["test"]["accuracy"][:, forward]
  level = accuracy.argmax(-1)
  seeds = np.arange(len(level))
  return accuracy[seeds, level], found["test"]["detected"][seeds, backward, level]


def learnt(found):
  """Which pattern inputs have learnt a delay, (seeds, spikes) bool."""
  spikes = found["time"].shape[1]
  return found["variance"][:, :spikes] < NARROW


def main_feature(found):
  """The largest set of learnt inputs whose spikes arrive together.

  Returns:
    (members, arrival): (seeds, spikes) bool, and (seeds,) ms after the pattern's start.
  """
  spikes = found["time"].shape[1]
  arrival = found["time"] + found["delay"][:, :spikes]
  known = learnt(found)
  grid = np.arange(0.0, 75.0, 0.5)
  close = (np.abs(arrival[..., None] - grid) <= TOGETHER) & known[..., None]
  best = close.sum(1).argmax(-1)
  members = close[np.arange(len(best)), :, best]
  return members, grid[best]


def correlation(found):
  """Correlation of delay and firing time over the learnt inputs; 0 with fewer than ten."""
  spikes = found["time"].shape[1]
  values = []
  for time, delay, known in zip(
    found["time"], found["delay"][:, :spikes], learnt(found), strict=True
  ):
    enough = known.sum() >= 10 and np.ptp(delay[known]) > 0
    values.append(np.corrcoef(time[known], delay[known])[0, 1] if enough else 0.0)
  return np.array(values)


def first_latencies(found, intervals):
  """Latencies of the first output spike in each presentation of the last intervals.

  Latencies are recorded in order of time, so that a first spike is one that does not come
  later in its slot than the one before it.

  Returns:
    A list over seeds of (presentations,) ms.
  """
  values = []
  for seed in found["latency"][:, -intervals:]:
    latency = seed.reshape(-1).astype(int)
    latency = latency[latency != -2]
    before = np.concatenate([[-1], latency[:-1]])
    first = (latency >= 0) & ((before < 0) | (latency <= before))
    values.append(latency[first])
  return values


def firing_jitter(found, intervals):
  """Standard deviation of the first spike's latency, ms, (seeds,); NaN with no spikes."""
  return np.array(
    [np.std(x) if len(x) > 2 else np.nan for x in first_latencies(found, intervals)]
  )


def peaks(results, name, factor):
  """Highest mean voltage in a presentation and the 20 ms after it, (seeds,), or None."""
  found = condition(results, name)
  if found is None:
    return None
  near = np.flatnonzero(np.isclose(results["morphs"], factor))
  if not near.size:
    return None
  end = int(np.ceil(abs(factor) * results["length"])) + 20
  voltage = found["response"]["voltage"][:, near[0], :end]  # inside the slot
  return np.asarray(voltage.max(-1), np.float64)


def slot_accuracy(curves):
  """Accuracy during training, by slots: detected share times silent share, seeds first."""
  detected = curves["detected"] / np.maximum(curves["presented"], 1)
  silent = curves["silent"] / np.maximum(curves["free"], 1)
  return detected * silent


def word_kinds(part):
  """Which neurons heard the words: taught, and the layers that were run."""
  return [kind for kind in ("taught", "inhibited", "free") if kind in part]


def words_named(part, kind):
  """What the neuron with the highest peak says in the second half of the test.

  A taught neuron stands for its word; one of a layer for the word at which it was the
  highest most often in the first half.

  Returns:
    (said, named): (seeds, slots); said is the variant, word · tempos + tempo, or −1.
  """
  words, tempos = len(part["lengths"]), len(part["tempos"])
  said, winner = part[kind]["variant"], part[kind]["peak"].argmax(-1)
  half = said.shape[1] // 2
  label = np.tile(np.arange(words), (len(said), 1))
  if kind != "taught":
    for seed in range(len(said)):
      wins = np.zeros((words, words))  # neuron, word
      spoken = said[seed, :half] >= 0
      first = winner[seed, :half][spoken], said[seed, :half][spoken] // tempos
      np.add.at(wins, first, 1)
      label[seed] = wins.argmax(1)
  return said[:, half:], np.take_along_axis(label, winner[:, half:], 1)


def words_recognised(part, kind):
  """Share of words that are named, (seeds, tempos); NaN where none was said at a tempo."""
  tempos = len(part["tempos"])
  said, named = words_named(part, kind)
  right = named == said // tempos
  shares = [
    [right[i][(said[i] >= 0) & (said[i] % tempos == t)] for t in range(tempos)]
    for i in range(len(said))
  ]
  return np.array([[x.mean() if len(x) else np.nan for x in row] for row in shares])


def confusion(part, kind):
  """Share of presentations of word i that are named j, (seeds, i, j)."""
  words, tempos = len(part["lengths"]), len(part["tempos"])
  said, named = words_named(part, kind)
  found = np.zeros((len(said), words, words))
  for i in range(len(said)):
    for word in range(words):
      chosen = named[i][(said[i] >= 0) & (said[i] // tempos == word)]
      found[i, word] = np.bincount(chosen, minlength=words) / max(len(chosen), 1)
  return found

"""Simulated seconds a second of learning neurons, against a plain scan over milliseconds.

    python -m benchmarks.sdvl_step [--neurons=20] [--seconds=60] [--devices=2] [--rounds=3]

Neurons of 2000 afferents at 10 Hz learn (τ = 3 ms, about 12 output spikes a second), each with
an input of its own that is drawn on the way. Printed are, best of the rounds:
  batch     simulated seconds of all neurons together over seconds of wall time;
  plain     the same for a scan that does in every ms what the authors' program does: draw the
            ms's spikes with `jax.random`, evaluate their Gaussians, learn where it fired;
  parts     core µs of a neuron and 10 ms for drawing the input, with its currents and the
            voltage, and with output spikes: what is left to all of it is learning;
  memory    peak of the process in GiB, which does not depend on the duration.

A neuron that does not learn fires less, so that learning's share holds its spikes' cuts too.

What was tried (one core of an EPYC, JAX 0.10, microseconds of a neuron and 10 ms).
  currents of 320 spikes as Gaussians in the chunk, summed by matrix products        26
  a table of Gaussians, gathered and added row by row in one loop                     5
  that with one-hot matrix products instead of the addition                          12
  320 random words with jax.random (its rounds are a loop over arrays on this backend)  5
  the same cipher as straight-line code                                               1
  events drawn inside the loop that uses them (the numbers of the whole chunk are then
  computed again for each spike)                                                      6
  events drawn one turn ahead                                                         2
"""

import argparse
import resource
import time
from functools import partial

import jax


def options():
  """The command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--neurons", type=int, default=20)
  parser.add_argument("--seconds", type=int, default=60)
  parser.add_argument("--devices", type=int, default=2)
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--no-plain", action="store_true")
  return parser.parse_args()


CHUNK, CAPACITY, AFFERENTS, SPIKES, LENGTH = 10, 320, 2000, 500, 50


def sharded(function, devices):
  """The function of an array of seeds, vmapped and shared by the devices, compiled."""
  from jax.sharding import Mesh
  from jax.sharding import PartitionSpec as P

  batched = jax.vmap(function)
  if devices > 1:
    mesh = Mesh(jax.devices()[:devices], ("seeds",))
    batched = jax.shard_map(
      batched, mesh=mesh, in_specs=P("seeds"), out_specs=P("seeds"), check_vma=False
    )
  return jax.jit(batched)


def input_of(seed):
  """The input of a neuron."""
  from lib.dynamics import balanced_input, counter_random, patterns

  source = balanced_input.embedded_patterns(
    counter_random.from_seed(seed, 1),
    patterns.uniform_pattern(counter_random.from_seed(seed, 2), SPIKES, LENGTH),
    afferents=AFFERENTS,
    members=SPIKES,
    rate=10.0,
    presentations=5.0,
    length=LENGTH,
    slot=7,
    chunk=CHUNK,
    capacity=CAPACITY,
  )
  return balanced_input.draw(source)


def untrained():
  """(kernels, membrane, synapses) before learning."""
  import jax.numpy as jnp

  from lib import updates
  from lib.dynamics import spiking

  shape = (1, AFFERENTS)
  synapses = updates.Synapses(jnp.full(shape, 5.0), jnp.full(shape, 2.0))
  return spiking.kernels(), spiking.Membrane(3.0), synapses


def learning(seconds, seed, *, rule=None):
  """One neuron for so many seconds; returns its spikes and delays."""
  import jax.numpy as jnp

  from lib import updates
  from lib.dynamics import spiking

  grid, membrane, synapses = untrained()
  state, spikes = spiking.run(
    grid,
    membrane,
    updates.simplified_sdvl() if rule is None else rule,
    input_of(seed),
    spiking.layer(synapses, grid, membrane, CHUNK),
    seconds * 1000 // CHUNK,
    gain=lambda chunk: jnp.maximum(0.46 - 0.06 * chunk * CHUNK / 30_000, 0.4),
    capacity=200 * seconds,
  )
  return spikes.count, state.synapses.delay, state.overflow


def listening(seconds, seed, *, currents=True):
  """The input drawn, and with its currents and the voltage; no output spikes."""
  import jax.numpy as jnp
  from jax import lax

  from lib.dynamics import spike_trains, spiking

  grid, membrane, synapses = untrained()
  draw, rows = input_of(seed), spiking.kernel_rows(grid, synapses)

  def advance(carry, chunk):
    pending, voltage, now, following = carry
    ahead = (draw.events(following), draw.outline(chunk + 2))
    if not currents:
      return (pending, voltage + now.code.sum() % 2, *ahead), None
    due, pending = spiking.drive(grid, rows, None, now, pending)
    voltage = spiking.integrate(membrane, voltage, 0.4 * due)[:, -1]
    return (pending, voltage, *ahead), None

  start = (
    jnp.zeros((1, CHUNK + grid.table.shape[1])),
    jnp.full(1, -65.0),
    *spike_trains.ahead(draw, 0),
  )
  return lax.scan(advance, start, jnp.arange(seconds * 1000 // CHUNK))[0][1]


def plain(seconds, seed):
  """A scan over ms in the order of the authors' program, with 48 places a ms."""
  import jax.numpy as jnp
  from jax import lax

  key = jax.random.key(seed)
  lags = jnp.arange(1.0, 41.0)

  def step(carry, now):
    voltage, ring, delay, variance, last, count = carry
    voltage = voltage + (-65.0 - voltage + ring[0]) / 3.0
    fired = voltage >= -55.0
    a, b = jax.random.split(jax.random.fold_in(key, now))
    afferent = jax.random.randint(a, (48,), 0, AFFERENTS)
    live = jnp.arange(48) < jnp.sum(jax.random.uniform(b, (64,)) < 20 / 64)
    mean, spread = jnp.round(delay[afferent]), variance[afferent]
    shape = jnp.exp(-jnp.square(lags - mean[:, None]) / (2 * spread[:, None]))
    shape = shape / shape.sum(1, keepdims=True)
    ring = jnp.roll(ring, -1).at[-1].set(0.0)
    ring = ring + 0.41 * jnp.where(live[:, None], shape, 0.0).sum(0)
    last = last.at[jnp.where(live, afferent, AFFERENTS)].set(now, mode="drop")
    since = (now - last).astype(jnp.float32)
    k = jnp.square(variance + 0.9) * 0.04
    far = jnp.abs(since - delay)
    change = jnp.where(far >= 3, jnp.sign(since - delay) * k, jnp.where(since >= 20, -k, 0.0))
    moved = jnp.clip(delay + change, 1.0, 20.0)
    widened = jnp.clip(variance + jnp.where(far >= 20, k, -k), 0.1, 10.0)
    delay = jnp.where(fired, moved, delay)
    variance = jnp.where(fired, widened, variance)
    voltage = jnp.where(fired, -70.0, voltage)
    return (voltage, ring, delay, variance, last, count + fired), None

  start = (
    jnp.float32(-65.0),
    jnp.zeros(40),
    jnp.full(AFFERENTS, 5.0),
    jnp.full(AFFERENTS, 2.0),
    jnp.full(AFFERENTS, -1_000_000),
    jnp.int32(0),
  )
  found, _ = lax.scan(step, start, jnp.arange(seconds * 1000))
  return found[-1], found[2]


def best(function, seeds, devices, rounds):
  """(seconds of compilation, least seconds of a call, results)."""
  begin = time.perf_counter()
  compiled = sharded(function, devices).lower(seeds).compile()
  compilation = time.perf_counter() - begin
  times = []
  for _ in range(rounds):
    begin = time.perf_counter()
    found = jax.block_until_ready(compiled(seeds))
    times.append(time.perf_counter() - begin)
  return compilation, min(times), found


def main():
  """Prints rates and ratios."""
  chosen = options()
  jax.config.update("jax_num_cpu_devices", chosen.devices)
  import jax.numpy as jnp

  from lib import updates

  seeds, devices, rounds = jnp.arange(chosen.neurons), chosen.devices, chosen.rounds
  seconds = chosen.seconds
  simulated = chosen.neurons * seconds
  print(f"{chosen.neurons} neurons, {seconds} s, {devices} devices {jax.devices()[0]}")
  compilation, spent, (count, _, lost) = best(
    partial(learning, seconds), seeds, devices, rounds
  )
  if int(lost.sum()):
    raise SystemExit("input spikes were lost")
  rate = float(count.mean()) / seconds
  print(
    f"batch   {simulated / spent:8.0f} simulated s/s   {spent:.2f} s, compiled in "
    f"{compilation:.1f} s, {rate:.1f} output spikes a second (goal 400)"
  )
  print(
    f"        {1e6 * spent * devices / (simulated * 1000 / CHUNK):8.1f} core µs for a neuron "
    f"and {CHUNK} ms"
  )
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  for name, function in (
    ("input", partial(listening, currents=False)),
    ("and currents, voltage", listening),
    ("and output spikes", partial(learning, rule=updates.no_learning())),
  ):
    _, part, _ = best(partial(function, seconds), seeds, devices, rounds)
    print(f"parts   {1e6 * part * devices / (simulated * 1000 / CHUNK):8.1f} core µs   {name}")
  print(f"memory  {peak:8.2f} GiB (goal 2)")
  if not chosen.no_plain:
    short = max(1, seconds // 10)
    _, slow, _ = best(partial(plain, short), seeds, devices, 1)
    rate = chosen.neurons * short / slow
    print(f"plain   {rate:8.0f} simulated s/s")
    print(f"ratio   {simulated / spent / rate:8.1f}")


if __name__ == "__main__":
  main()

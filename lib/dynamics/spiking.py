"""Leaky integrate-and-fire neurons driven by events through synapses with delay and spread.

A spike of an afferent at step s injects a current that a kernel spreads over the steps
s + 1 .. s + window: a Gaussian around the delay, scaled so that its sum over these steps is 1
whatever the delay and the variance. Time goes in chunks of some steps of 1 ms. Between two
output spikes nothing learns, so the current of a whole chunk is a sum over its spikes; an
output spike cuts the chunk there, the synapses learn, and the rest of the chunk is computed
with the new ones. Members of a batch are cut independently.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lib.dynamics import spike_trains
from lib.dynamics.spike_trains import Draw, Events
from lib.updates.plasticity import Rule, Synapses

Array = jax.Array
LONG_AGO = -1_000_000  # ms; no rule tells it from never
FACTORS = (1.0, 2.0)  # of the exponent −(t − μ)² / (factor σ): least and largest


# --- the membrane ----------------------------------------------------------------------------


class Membrane(NamedTuple):
  """Constants of a leaky integrate-and-fire neuron.

  Attributes:
    time_constant: τ, ms.
    threshold, rest, reset: mV.
    resistance: R, Ω.
  """

  time_constant: jax.typing.ArrayLike
  threshold: jax.typing.ArrayLike = -55.0
  rest: jax.typing.ArrayLike = -65.0
  reset: jax.typing.ArrayLike = -70.0
  resistance: jax.typing.ArrayLike = 1.0


def membrane_step(membrane: Membrane, voltage: Array, current: Array) -> Array:
  """v + (v_rest − v + R I) / τ: an Euler step of 1 ms of eq. 4.

  The print leaves out v_rest's sign: −65 mV.
  """
  drive = membrane.rest - voltage + membrane.resistance * current
  return voltage + drive / membrane.time_constant


def fire(membrane: Membrane, voltage: Array) -> tuple[Array, Array]:
  """(voltage after reset, whether it fired): at v ≥ threshold."""
  fired = voltage >= membrane.threshold
  return jnp.where(fired, membrane.reset, voltage), fired


def integrate(membrane: Membrane, voltage: Array, current: Array) -> Array:
  """Voltages of successive steps without a threshold: `membrane_step` as one linear map.

      v_k − v_rest = λ^{k+1} (v − v_rest) + (R/τ) Σ_{j ≤ k} λ^{k−j} I_j,   λ = 1 − 1/τ.

  Args:
    membrane: constants.
    voltage: (...) before the first step.
    current: (..., steps).

  Returns:
    (..., steps), after each step.
  """
  steps = current.shape[-1]
  decay = 1.0 - 1.0 / jnp.asarray(membrane.time_constant, jnp.float32)
  k = jnp.arange(steps)
  lag = k[:, None] - k
  powers = decay ** jnp.arange(1, steps + 1)
  response = jnp.where(lag >= 0, decay ** jnp.maximum(lag, 0), 0.0)
  driven = jnp.sum(response * current[..., None, :], -1)
  scale = membrane.resistance / membrane.time_constant
  return membrane.rest + powers * (voltage - membrane.rest)[..., None] + scale * driven


# --- the current -----------------------------------------------------------------------------


class Kernels(NamedTuple):
  """Currents of a spike for every delay and variance on a grid; `kernels` makes it.

  Attributes:
    table: (delays · variances + 1, window), rows that sum to 1, the last one zero.
    delay_min, variance_min, resolution: of the grid; delays are whole steps.
    variances: on the grid.
    scale: variance on the grid over σ: half the exponent's factor.
  """

  table: Array
  delay_min: float
  variance_min: float
  resolution: float
  variances: int
  scale: jax.typing.ArrayLike


def gaussian(delay, variance, window: int, factor: float = 2.0) -> Array:
  """Currents at steps 1 .. window after a spike, with sum 1, (..., window) (eq. 1).

      I(t) = c exp(−(t − μ)² / (factor σ)),   Σ_t I(t) = 1.

  In print the factor is 1; in the authors' program, and by the rule's own name, σ is the
  variance and the factor 2.
  """
  t = jnp.arange(1, window + 1, dtype=jnp.float32)
  delay, variance = (jnp.asarray(x, jnp.float32)[..., None] for x in (delay, variance))
  exponent = -jnp.square(t - delay) / (factor * variance)
  # Relative to the largest, so that a narrow Gaussian between two steps does not vanish.
  shape = jnp.exp(exponent - exponent.max(-1, keepdims=True))
  return shape / shape.sum(-1, keepdims=True)


def kernels(
  *,
  delay_range: tuple[float, float] = (1.0, 20.0),
  variance_range: tuple[float, float] = (0.1, 10.0),
  window: int = 40,
  resolution: float = 0.01,
  factor: jax.typing.ArrayLike = 2.0,
) -> Kernels:
  """All kernels, delays rounded to steps and variances to the resolution (as the authors do).

  The kernel with another factor is that of another variance, so that one table holds all.

  Args:
    delay_range, variance_range: of the synapses, ms and ms².
    window: steps over which a spike's current is delivered.
    resolution: of the variance.
    factor: of exp(−(t − μ)²/(factor σ)), in [1, 2]: 2 in the authors' program, 1 in print.

  Raises:
    ValueError: a factor out of range, or delays that the window does not hold.
  """
  if not isinstance(factor, jax.core.Tracer) and not FACTORS[0] <= factor <= FACTORS[1]:
    raise ValueError(f"factor is {factor}; it has to lie in {FACTORS[0]:g} .. {FACTORS[1]:g}")
  first, last = (round(d) for d in delay_range)
  if not 1 <= first <= last <= window:
    raise ValueError(f"delays {delay_range} have to lie in 1 .. {window}")
  low, high = variance_range[0] * FACTORS[0] / 2, variance_range[1] * FACTORS[1] / 2
  count = round((high - low) / resolution) + 1
  delay = jnp.arange(first, last + 1, dtype=jnp.float32)
  variance = low + resolution * jnp.arange(count, dtype=jnp.float32)
  rows = gaussian(delay[:, None], variance, window).reshape(-1, window)
  table = jnp.concatenate([rows, jnp.zeros((1, window), rows.dtype)])
  return Kernels(table, float(first), low, resolution, count, factor / 2.0)


def kernel_rows(grid: Kernels, synapses: Synapses) -> Array:
  """Rows of the table for synapses inside the ranges, int32 of their shape."""
  delay = jnp.round(synapses.delay - grid.delay_min).astype(jnp.int32)
  variance = synapses.variance * grid.scale
  variance = jnp.round((variance - grid.variance_min) / grid.resolution)
  return delay * grid.variances + variance.astype(jnp.int32)


def current(
  grid: Kernels, rows: Array, weight: Array | None, spikes: Events, live, steps: int
):
  """Currents that each step's spikes inject, by their lag.

  Args:
    grid: the kernels.
    rows: (neurons, afferents) of the table.
    weight: (neurons, afferents) or None.
    spikes: of a chunk.
    live: (capacity,) bool, which of them count.
    steps: in the chunk.

  Returns:
    (neurons, steps, window): [i, s, j] arrives at neuron i in step s + 1 + j.
  """

  def of_neuron(rows, weight):
    row = jnp.where(live, rows[spikes.afferent], grid.table.shape[0] - 1)
    injected = grid.table.at[row].get(mode="promise_in_bounds")
    if weight is not None:
      injected = injected * weight[spikes.afferent][:, None]
    empty = jnp.zeros((steps, grid.table.shape[1]), grid.table.dtype)
    return empty.at[spikes.step].add(injected, mode="promise_in_bounds")

  if weight is None:
    return jax.vmap(lambda r: of_neuron(r, None))(rows)
  return jax.vmap(of_neuron)(rows, weight)


def arrivals(injected: Array) -> Array:
  """Shifts (..., steps, window) by the step of the spikes: (..., steps, steps + window).

  [s, j] moves to [s, s + 1 + j]; by a reshape, since every row shifts by one more.
  """
  *lead, steps, window = injected.shape
  wide = jnp.pad(injected, [(0, 0)] * len(lead) + [(0, 0), (1, steps)])
  flat = wide.reshape(*lead, steps * (steps + window + 1))
  return flat[..., : steps * (steps + window)].reshape(*lead, steps, steps + window)


def drive(
  grid: Kernels, rows: Array, weight: Array | None, spikes: Events, pending: Array
) -> tuple[Array, Array]:
  """Currents of one chunk when nothing learns.

  Args:
    grid, rows, weight: see `current`.
    spikes: of the chunk.
    pending: (neurons, steps + window) current still to come, from the chunk's start.

  Returns:
    (due, pending): (neurons, steps) the chunk's current, without the fixed global integral,
    and what is pending from the start of the next chunk.
  """
  steps = pending.shape[-1] - grid.table.shape[1]
  injected = current(grid, rows, weight, spikes, spikes.valid, steps)
  pending = pending + arrivals(injected).sum(1)
  return pending[:, :steps], jnp.pad(pending[:, steps:], ((0, 0), (0, steps)))


# --- a layer that learns ---------------------------------------------------------------------


class Layer(NamedTuple):
  """State of a layer of neurons with common afferents.

  Attributes:
    synapses: each (neurons, afferents).
    rows: (neurons, afferents) int32, their rows in the table of kernels.
    voltage: (neurons,) mV.
    pending: (neurons, steps + window) current of steps still to come, from the start of
      the chunk.
    last_input: (afferents,) int32, ms of the last spike.
    last_output: (neurons,) int32.
    chunk: () int32, number of the current chunk; step: () int32, the first step in it that
      has not been simulated.
    overflow: () int32, input spikes that were lost because a list was too short.
  """

  synapses: Synapses
  rows: Array
  voltage: Array
  pending: Array
  last_input: Array
  last_output: Array
  chunk: Array
  step: Array
  overflow: Array


class Spikes(NamedTuple):
  """Output spikes: a padded list in order of time.

  Attributes:
    time: (capacity,) int32 ms, −1 where there is none.
    neuron: (capacity,) int32.
    count: () int32; more than the capacity is an overflow.
  """

  time: Array
  neuron: Array
  count: Array


def layer(synapses: Synapses, grid: Kernels, membrane: Membrane, steps: int) -> Layer:
  """A layer at rest before the first chunk."""
  neurons, afferents = synapses.delay.shape
  return Layer(
    synapses=synapses,
    rows=kernel_rows(grid, synapses),
    voltage=jnp.full(neurons, membrane.rest, jnp.float32),
    pending=jnp.zeros((neurons, steps + grid.table.shape[1])),
    last_input=jnp.full(afferents, LONG_AGO, jnp.int32),
    last_output=jnp.full(neurons, LONG_AGO, jnp.int32),
    chunk=jnp.int32(0),
    step=jnp.int32(0),
    overflow=jnp.int32(0),
  )


def advance(
  grid: Kernels,
  membrane: Membrane,
  rule: Rule,
  spikes: Events,
  state: Layer,
  *,
  gain: jax.typing.ArrayLike = 1.0,
  inhibition: jax.typing.ArrayLike = False,
) -> tuple[Layer, Array]:
  """Simulates to the next output spike in the chunk, or to the chunk's end.

  In a step, in this order, as in the authors' program: the current that is due moves the
  voltage, neurons at the threshold fire and are reset, the step's input spikes inject their
  current with the synapses of before, and the synapses of neurons that fired learn (an input
  spike of the same step is 0 ms old). Changes of `Rule.pre` take effect at the end of the
  chunk or at an output spike, whichever is first: an afferent's second spike before that
  still has the weight of its first.

  Args:
    grid, membrane: kernels and constants.
    rule: what is learnt.
    spikes: of chunk `state.chunk`.
    state: the layer.
    gain: the fixed global integral: the sum of each spike's current.
    inhibition: whether an output spike resets all neurons and, of those that reach the
      threshold in one step, only the one with the highest voltage fires.

  Returns:
    (state, fired): fired (neurons,) bool, in the step just before `state.step` (in the last
    of the chunk before when that is 0).
  """
  steps = state.pending.shape[-1] - grid.table.shape[1]
  weight = state.synapses.weight
  live = spikes.valid & (spikes.step >= state.step)
  injected = current(grid, state.rows, weight, spikes, live, steps)
  arriving = gain * arrivals(injected)  # (neurons, step of the spike, step of arrival)

  k = jnp.arange(steps)
  due = state.pending[:, :steps] + arriving[:, :, :steps].sum(1)
  # Steps that are over do not count: the voltage starts at `state.step`.
  scale = membrane.resistance / membrane.time_constant
  decay = 1.0 - 1.0 / jnp.asarray(membrane.time_constant, jnp.float32)
  lag = k[:, None] - k
  response = jnp.where(
    (lag >= 0) & (k >= state.step), decay ** jnp.maximum(lag, 0).astype(jnp.float32), 0.0
  )
  since = jnp.maximum(k - state.step + 1, 0).astype(jnp.float32)
  voltage = membrane.rest + decay**since * (state.voltage - membrane.rest)[:, None]
  voltage = voltage + scale * jnp.sum(response * due[:, None, :], -1)

  above = (voltage >= membrane.threshold) & (k >= state.step)
  any_above = above.any(0)
  fires = any_above.any()
  end = jnp.where(fires, jnp.argmax(any_above), steps - 1)
  last = jnp.take(voltage, end, axis=1)
  fired = jnp.take(above, end, axis=1)
  winner = jnp.arange(last.shape[0]) == jnp.argmax(last)
  fired = fired & (winner | jnp.logical_not(inhibition))
  last = jnp.where(fired | (fires & jnp.asarray(inhibition)), membrane.reset, last)

  pending = state.pending + jnp.where((k <= end)[:, None], arriving, 0.0).sum(1)
  now = state.chunk * steps + end
  done = live & (spikes.step <= end)
  time = jnp.where(done, state.chunk * steps + spikes.step, LONG_AGO)
  last_input = state.last_input.at[spikes.afferent].max(time, mode="promise_in_bounds")

  synapses = state.synapses
  if rule.pre is not None:
    since_output = (time - state.last_output[:, None]).astype(jnp.float32)
    change = jnp.where(done, rule.pre(since_output), 0.0)
    add = jax.vmap(lambda w, d: w.at[spikes.afferent].add(d, mode="promise_in_bounds"))
    synapses = rule.bound(synapses._replace(weight=add(weight, change)))
  since_input = (now - last_input).astype(jnp.float32)
  learnt = rule.post(synapses, since_input)
  synapses = jax.tree.map(
    lambda new, old: jnp.where(fired[:, None], new, old), learnt, synapses
  )

  finished = end == steps - 1
  moved = jnp.pad(pending[:, steps:], ((0, 0), (0, steps)))
  first_visit = (state.step == 0).astype(jnp.int32)
  state = Layer(
    synapses=synapses,
    rows=kernel_rows(grid, synapses),
    voltage=last,
    pending=jnp.where(finished, moved, pending),
    last_input=last_input,
    last_output=jnp.where(fired, now, state.last_output),
    chunk=state.chunk + finished.astype(jnp.int32),
    step=jnp.where(finished, 0, end + 1).astype(jnp.int32),
    overflow=state.overflow + first_visit * spikes.overflow,
  )
  return state, fired


def run(
  grid: Kernels,
  membrane: Membrane,
  rule: Rule,
  draw: Draw,
  state: Layer,
  until: jax.typing.ArrayLike,
  *,
  gain: Callable[[Array], jax.typing.ArrayLike] = lambda chunk: 1.0,
  inhibition: jax.typing.ArrayLike = False,
  capacity: int = 1024,
) -> tuple[Layer, Spikes]:
  """Simulates up to a chunk, for as many output spikes as there are.

  Args:
    grid, membrane, rule, inhibition: see `advance`.
    draw: the input.
    state: the layer.
    until: number of the chunk at which to stop.
    gain: chunk number -> fixed global integral.
    capacity: of the list of output spikes.

  Returns:
    (state, spikes).
  """
  steps = state.pending.shape[-1] - grid.table.shape[1]
  neurons = state.voltage.shape[0]

  def body(carry):
    state, spikes, now, following = carry
    gained = gain(state.chunk)
    after, fired = advance(
      grid, membrane, rule, now, state, gain=gained, inhibition=inhibition
    )
    time = after.chunk * steps + after.step - 1
    order = jnp.cumsum(fired) - fired  # several neurons may fire in one step
    place = jnp.where(fired, spikes.count + order, capacity)
    spikes = Spikes(
      spikes.time.at[place].set(time, mode="drop"),
      spikes.neuron.at[place].set(jnp.arange(neurons), mode="drop"),
      spikes.count + fired.sum(dtype=jnp.int32),
    )
    # The next chunk's spikes and the outline of the one after it are drawn ahead: what a
    # loop carries is computed once, what it computes on the way may be computed many times.
    ahead = (draw.events(following), draw.outline(after.chunk + 1))
    finished = after.step == 0
    now, following = jax.tree.map(
      lambda new, old: jnp.where(finished, new, old), ahead, (now, following)
    )
    return after, spikes, now, following

  none = jnp.full(capacity, -1, jnp.int32)
  start = (
    state,
    Spikes(none, none, jnp.int32(0)),
    *spike_trains.ahead(draw, state.chunk),
  )
  state, spikes, *_ = lax.while_loop(lambda carry: carry[0].chunk < until, body, start)
  return state, spikes

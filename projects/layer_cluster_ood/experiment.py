"""The method, in the order of the paper. This example is a noisy descent with a known answer:

    x ← x − η (x − ξ),  ξ ~ N(0, 1)   has the stationary variance η / (2 − η).

Replace it by the paper's equations, with their numbers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lib.experiment import Program, UserError


class State(NamedTuple):
  """The iterate x, a number, and the key of what is still to be drawn."""

  x: jax.Array
  key: jax.Array


def check(config):
  """Refuses numbers that cannot be run, before anything runs."""
  if not 0 < config.step_size < 2:
    raise UserError(f"step_size has to be between 0 and 2, not {config.step_size}.")
  if config.steps < 10:
    raise UserError(f"steps has to be at least 10, not {config.steps}.")


def init(config, operands):
  """The state before the first step."""
  del operands  # what prepare(config) returned: the data, where there are some
  return State(jnp.zeros(()), jax.random.key(config.seed))


def step(config, operands, state):
  """One step and what is measured after it."""
  del operands
  key, drawn = jax.random.split(state.key)
  x = state.x - config.step_size * (state.x - jax.random.normal(drawn))
  return State(x, key), {"x": x}


def finish(config, operands, state, history):
  """Variance and autocorrelation at lag 1 of x, once it has settled."""
  del operands, state
  x = history["x"][round(config.burn_in * config.steps) :]
  centred = x - x.mean()
  variance = jnp.mean(centred**2)
  correlation = jnp.mean(centred[1:] * centred[:-1]) / variance
  return {"variance": variance, "autocorrelation": correlation, "start": history["x"][:100]}


PROGRAM = Program(init, step, finish, steps=lambda config: config.steps)


def run(config, ctx):
  """The experiment: every step size with every seed, as one compiled batch."""
  over = {"step_size": config.step_sizes, "seed": ctx.seeds(config)}
  results = {"step_sizes": np.array(config.step_sizes)}
  return results | ctx.members("descent", PROGRAM, config, (), over)

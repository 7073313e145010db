"""A toy project: noisy descent on a parabola, small enough to check by hand."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from lib import experiment, plotting
from lib.experiment import Claim, Figure, Program, UserError, claims


def check(config):
  """Refuses a step that goes uphill."""
  if config.step_size < 0:
    raise UserError(f"step_size has to be positive, not {config.step_size}.")


def prepare(config):
  """The minimum of the parabola as the operand."""
  return np.linspace(1.0, 2.0, config.width, dtype=np.float32)


def init(config, target):
  """Starts at a random point."""
  key = jax.random.key(config.seed)
  return {"x": jax.random.normal(key, target.shape), "key": key}


def step(config, target, state):
  """x <- x - step_size ((x - target) + noise)."""
  if config.host_seconds:
    jax.debug.callback(lambda: time.sleep(config.host_seconds))
  key, drawn = jax.random.split(state["key"])
  noise = config.noise * jax.random.normal(drawn, target.shape)
  x = state["x"] - config.step_size * (state["x"] - target + noise)
  return {"x": x, "key": key}, {"loss": 0.5 * jnp.sum((x - target) ** 2)}


def finish(config, target, state, history):
  """The end point and the loss over time."""
  return {
    "x": state["x"],
    "final_loss": history["loss"][-1],
    "losses": history["loss"],
    "extremes": {"least": history["loss"].min()},
  }


PROGRAM = Program(init, step, finish, steps=lambda config: config.steps, chunk=10)


def run(config, ctx):
  """Two stages, so that a resumed run finds one of them done."""
  operands = prepare(config)
  over = {"seed": ctx.seeds(config)}
  return {
    "first": ctx.members("first", PROGRAM, config, operands, over),
    "second": ctx.members("second", PROGRAM, config, operands, over, set={"noise": 0.0}),
  }


def draw(results):
  """Loss over steps."""
  figure, ax = plotting.figure(width="column")
  plotting.band(ax, np.arange(results["first"]["losses"].shape[1]), results["first"]["losses"])
  ax.set(xlabel="step", ylabel="loss")
  return figure


PROJECT = experiment.Project(
  "toy",
  run,
  (
    Claim(
      "converges",
      source="by hand",
      statement="Without noise the loss vanishes.",
      expected="below 1e-3",
      check=lambda r: claims.below(r["second"]["final_loss"], 1e-3, quantity="loss"),
    ),
  ),
  (Figure("loss", "Loss over time.", draw),),
  lambda r: {"final_loss": r["first"]["final_loss"].mean()},
  program=PROGRAM,
  prepare=prepare,
  check=check,
)

if __name__ == "__main__":
  experiment.main(PROJECT)

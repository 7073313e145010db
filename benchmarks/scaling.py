"""Members over 1, 2, 4, 8 host devices of one process, and the same devices of two processes.

    python -m benchmarks.scaling [--members=16] [--rounds=5] [--epochs=20]

16 networks 64-128-128-10 learn 2,000 examples in batches of 100 with Adam, through the engine:
compiled chunks, metrics after each, results on disk. Every row is a start of its own, compiled
before the clock runs, and shows the median of the rounds with their range, and two processes,
each on its own cores as a cluster's scheduler gives them,
as their time over that of one process with as many devices, medians and bests. A collective
checkpoint is timed apart: what the run takes longer when it saves after every chunk, divided
by the number of checkpoints.
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def program(epochs: int):
  """A network in training, as one member; an epoch is a step."""
  import jax
  import jax.numpy as jnp
  import optax
  from jax import lax

  from lib.experiment import Program

  sizes = (64, 128, 128, 10)
  adam = optax.adam(1e-3)

  def init(config, data):
    keys = jax.random.split(jax.random.key(config.seed), len(sizes))
    layers = [
      jax.random.normal(key, (a, b)) / a**0.5
      for key, a, b in zip(keys, sizes[:-1], sizes[1:], strict=False)
    ]
    return layers, adam.init(layers)

  def loss(layers, x, y):
    for layer in layers[:-1]:
      x = jax.nn.relu(x @ layer)
    return optax.softmax_cross_entropy_with_integer_labels(x @ layers[-1], y).mean()

  def step(config, data, state):
    def update(state, batch):
      layers, moments = state
      value, slope = jax.value_and_grad(loss)(layers, *batch)
      change, moments = adam.update(slope, moments)
      return (optax.apply_updates(layers, change), moments), value

    state, losses = lax.scan(update, state, data)
    return state, {"loss": jnp.mean(losses)}

  def finish(config, data, state, history):
    return {"weights": state[0][0], "losses": history["loss"]}

  return Program(init, step, finish, steps=lambda config: epochs)


def measure(options) -> None:
  """Runs this process's part, and as process 0 prints its times as JSON."""
  if options.processes and not options.shared_cores and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) >= options.processes:
      os.sched_setaffinity(0, cores[options.process :: options.processes])
  import jax
  import numpy as np
  from ml_collections import ConfigDict

  from lib.experiment import Context, processes

  jax.config.update("jax_num_cpu_devices", options.devices)
  place = processes.place(options.coordinator, options.processes, options.process)
  together = processes.join(place, 60.0)
  rng = np.random.default_rng(0)
  data = (
    rng.standard_normal((20, 100, 64), np.float32),
    rng.integers(0, 10, (20, 100), np.int32),
  )
  config, one = ConfigDict({"seed": 0}), program(options.epochs)
  found = {"plain": [], "saving": []}

  def run() -> int:
    with tempfile.TemporaryDirectory() as folder:
      ctx = Context(folder, processes=together)
      seeds = {"seed": range(options.members)}
      ctx.members("compiled", one, config, data, seeds)
      for i in range(options.rounds):
        for kind, every in (("plain", 1e9), ("saving", 0.0)):
          ctx.checkpoint_every_s = every
          started = time.perf_counter()
          ctx.members(f"{kind} {i}", one, config, data, seeds)
          found[kind].append(time.perf_counter() - started)
      ctx.metrics.close()
    return 0

  together.run(run)
  if together.writer:
    print(json.dumps(found))


def start(options, processes: int, devices: int) -> dict[str, list[float]]:
  """Times of a run on so many processes with so many devices each."""
  with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
  command = [sys.executable, "-m", "benchmarks.scaling", f"--devices={devices}"]
  command += [f"--{n}={getattr(options, n)}" for n in ("members", "rounds", "epochs")]
  command += ["--shared_cores"] * options.shared_cores
  started = []
  for index in range(processes):
    flags = []
    if processes > 1:
      flags = [f"--coordinator=127.0.0.1:{port}", f"--processes={processes}"]
      flags += [f"--process={index}"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    started.append(
      subprocess.Popen(
        [*command, *flags], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
      )
    )
  outputs = [process.communicate()[0] for process in started]
  if any(process.returncode for process in started):
    raise SystemExit("a process failed")
  return json.loads(outputs[0])


def main() -> None:
  """Prints a line for each number of devices and processes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  for name, default in (("members", 16), ("rounds", 5), ("epochs", 20)):
    parser.add_argument(f"--{name}", type=int, default=default)
  parser.add_argument("--totals", default="1,2,4,8", help="numbers of devices")
  parser.add_argument(
    "--shared_cores", action="store_true", help="do not give each process cores of its own"
  )
  for name in ("devices", "processes", "process"):
    parser.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
  parser.add_argument("--coordinator", help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.devices:
    measure(options)
    return
  print(f"{options.members} members, {options.epochs} epochs, {os.cpu_count()} cores")
  for total in map(int, options.totals.split(",")):
    alone = None
    for processes in (1, 2):
      if total % processes:
        continue
      times = start(options, processes, total // processes)
      plain, saving = (statistics.median(times[kind]) for kind in ("plain", "saving"))
      best = min(times["plain"])
      alone = alone or (plain, best)
      line = f"{processes} x {total // processes} devices: {plain:.3f} s"
      line += f" ({best:.3f} to {max(times['plain']):.3f})"
      line += f", a checkpoint {1e3 * (saving - plain) / 19:.0f} ms"
      if processes > 1:
        line += f"; {plain / alone[0]:.3f} of one process, the best {best / alone[1]:.3f}"
      print(line, flush=True)


if __name__ == "__main__":
  main()

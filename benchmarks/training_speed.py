"""Speed of classification training, as ratios to this machine's matmul rate and to PyTorch.

    python benchmarks/training_speed.py [mlp] [members] [resnet] [--torch] [--rounds=5]

- `mlp`: one epoch of 784-1024-1024-10, minibatches of 100, Adam, 60,000 examples (MNIST
  where ANSATZ_DATA_DIR has it, otherwise arrays of its shape).
- `members`: 8 cells × 10 seeds of 64-128-128-10, minibatches of 50, one program, run by
  `lib.experiment`'s engine as in a project (sharded over the host devices, in groups that stay
  in the cache) and, for comparison, plainly vmapped; PyTorch trains the 80 one after the other
  (timed on `--torch_runs` of them).
- `resnet`: a step of ResNet-20, minibatch of 128, inside `lax.scan` and in a host loop.

A CPU is made into as many devices as it has cores, as the entry point does.
The matmul rate is that of a square product of size 2,000, measured before and after every
round because the machine may be shared; the better of both is used for a round. Counted are
the products of the forward pass, of the gradients of the weights and of those of the layers'
inputs except the first: (6 · weights − 2 · weights of the first layer) operations per example.
The optimiser, shuffling and everything elementwise count as nothing. Compilation is timed
apart. `--torch` needs PyTorch (`pip install torch`), which is no dependency of the package.
"""

import argparse
import functools
import itertools
import os
import tempfile
import time

import jax

jax.config.update("jax_num_cpu_devices", os.cpu_count())

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from ml_collections import ConfigDict  # noqa: E402

from lib import models, training  # noqa: E402
from lib.experiment import Context, Program  # noqa: E402
from lib.experiment.compilation import compiler_options  # noqa: E402

REFERENCE = 2000


def seconds(function):
  """Wall time of a call whose result is waited for."""
  start = time.perf_counter()
  jax.block_until_ready(function())
  return time.perf_counter() - start


def matmul_rate(size=REFERENCE, tries=4):
  """Best rate of a square float32 product, operations per second."""
  matrix = jax.random.normal(jax.random.key(0), (size, size))
  product = jax.jit(jnp.dot)
  jax.block_until_ready(product(matrix, matrix))
  return 2 * size**3 / min(seconds(lambda: product(matrix, matrix)) for _ in range(tries))


def batched_rate(members, shapes, tries=8):
  """Rate of the batched products alone that a step of the members consists of."""
  operations, best = 0, 0.0
  for batch, inputs, outputs, needs_input_gradient in shapes:
    x = jnp.ones((members, batch, inputs))
    y = jnp.ones((members, batch, outputs))
    w = jnp.ones((members, inputs, outputs))
    products = [("mbi,mio->mbo", x, w), ("mbi,mbo->mio", x, y)]
    if needs_input_gradient:
      products.append(("mbo,mio->mbi", y, w))
    for equation, a, b in products:
      product = jax.jit(functools.partial(jnp.einsum, equation))
      jax.block_until_ready(product(a, b))
      best += min(seconds(lambda p=product, a=a, b=b: p(a, b)) for _ in range(tries))
      operations += 2 * members * batch * inputs * outputs
  return operations / best


def rounds(function, operations, count):
  """Per round: seconds and the ratio of the rate to the matmul rate around it."""
  found = []
  before = matmul_rate()
  for _ in range(count):
    elapsed = seconds(function)
    after = matmul_rate()
    found.append((elapsed, operations / elapsed / max(before, after), max(before, after)))
    before = after
  return found


def report(name, found, compile_s=None):
  """Prints the fastest round and the spread of the ratio."""
  elapsed, ratio, rate = min(found)
  ratios = [r for _, r, _ in found]
  line = f"{name}: {elapsed:.3f} s, {ratio:.2f} of the matmul rate ({rate / 1e9:.0f} GFLOP/s)"
  line += f", rounds {min(ratios):.2f} to {max(ratios):.2f}"
  print(
    line + (f", compilation {compile_s:.1f} s" if compile_s is not None else ""), flush=True
  )
  return elapsed


def compiled(function, *args):
  """A compiled function and how long compiling took."""
  start = time.perf_counter()
  executable = jax.jit(function).lower(*args).compile(compiler_options())
  return executable, time.perf_counter() - start


def engine(program, config, operands, over):
  """A function that runs all members with the engine, and its seconds of compiling."""
  count = itertools.count()
  folder = tempfile.TemporaryDirectory()
  ctx = Context(folder.name)

  def run():
    return ctx.members(f"round {next(count)}", program, config, operands, over)

  run()
  run.folder = folder  # lives as long as the function
  return run, ctx.clock.compile_s


def operations(widths, examples):
  """Counted operations of one epoch of a multilayer perceptron."""
  weights = [a * b for a, b in itertools.pairwise(widths)]
  return (6 * sum(weights) - 2 * weights[0]) * examples


def mnist_arrays(examples):
  """MNIST's training images if they are on this machine, otherwise noise of that shape."""
  if os.environ.get("ANSATZ_DATA_DIR"):
    from lib import data
    from lib.experiment import UserError

    try:
      train = data.load("tfds:mnist").train
      images = np.asarray(train.inputs[:examples], np.float32).reshape(-1, 784)
      return (
        images / max(images.max(), 1.0),
        np.asarray(train.targets[:examples], np.int32),
        "MNIST",
      )
    except (UserError, OSError) as error:
      print(f"(synthetic images: {error})")
  generator = np.random.default_rng(0)
  images = generator.random((examples, 784), np.float32)
  return images, generator.integers(0, 10, examples).astype(np.int32), "synthetic"


def torch_network(widths):
  """The same network in PyTorch."""
  import torch

  layers = []
  for a, b in itertools.pairwise(widths):
    layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
  return torch.nn.Sequential(*layers[:-1])


def torch_epochs(
  widths, images, labels, batch, epochs, smoothing=0.0, penalty=0.0, decay=0.0, threads=1
):
  """A plain training loop; returns seconds without setting up."""
  import torch
  from torch.nn import functional

  torch.set_num_threads(threads)
  images, labels = torch.tensor(images), torch.tensor(labels).long()
  network = torch_network(widths)
  optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=decay)
  start = time.perf_counter()
  for _ in range(epochs):
    order = torch.randperm(len(labels))
    for first in range(0, len(labels), batch):
      rows = order[first : first + batch]
      logits = network(images[rows])
      loss = functional.cross_entropy(logits, labels[rows])
      if smoothing or penalty:
        log_p = functional.log_softmax(logits, 1)
        if smoothing:
          loss = loss - smoothing * log_p.mean()
        if penalty:
          loss = loss + penalty * (log_p.exp() * log_p).sum(1).mean()
      optimizer.zero_grad()
      loss.backward()
      optimizer.step()
  return time.perf_counter() - start


def run_mlp(options):
  """One epoch of the MNIST network."""
  widths = (784, 1024, 1024, 10)
  images, labels, source = mnist_arrays(options.examples)
  data = training.Data(training.Split(jnp.asarray(images), jnp.asarray(labels)))
  task = training.Task(models.MLP(widths[1:]), batch_size=100)
  hypers = training.Hypers(1e-3)  # plain numbers, as in a run that sweeps nothing
  state = training.init(task, jax.random.key(0), hypers, data)
  epoch, compile_s = compiled(functools.partial(training.epoch, task, hypers), state, data)
  found = rounds(lambda: epoch(state, data), operations(widths, len(labels)), options.rounds)
  ours = report(f"MLP, one epoch of {len(labels)} ({source}), scan", found, compile_s)
  if options.torch:
    theirs = min(
      torch_epochs(widths, images, labels, 100, 1, threads=os.cpu_count()) for _ in range(3)
    )
    print(f"  PyTorch loop: {theirs:.3f} s; ratio {theirs / ours:.2f}", flush=True)


def run_members(options):
  """8 cells × 10 seeds on arrays of the digits' shape."""
  widths, batch, examples, epochs = (64, 128, 128, 10), 50, 1000, options.epochs
  generator = np.random.default_rng(0)
  images = generator.random((examples, 64), np.float32)
  labels = generator.integers(0, 10, examples).astype(np.int32)
  data = training.Data(training.Split(jnp.asarray(images), jnp.asarray(labels)))
  cells = [(s, p, d) for s in (0.0, 0.1) for p in (0.0, 0.1) for d in (0.0, 1e-4)]
  count = 10 * len(cells)
  terms = {
    "uniform_kl": training.terms.uniform_kl,
    "confidence_penalty": training.terms.confidence_penalty,
  }
  task = training.Task(models.MLP(widths[1:]), terms=terms, batch_size=batch, epochs=epochs)

  def hypers(config):
    weights = {"uniform_kl": config.smoothing, "confidence_penalty": config.penalty}
    return training.Hypers(1e-3, config.decay, weights)

  program = Program(
    lambda config, data: training.init(
      task, jax.random.key(config.seed), hypers(config), data
    ),
    lambda config, data, state: training.epoch(task, hypers(config), state, data),
    lambda config, data, state, history: {"loss": history["train_loss"][-1]},
    steps=lambda config: epochs,
  )
  config = ConfigDict({"seed": 0, "smoothing": 0.0, "penalty": 0.0, "decay": 0.0})
  shapes = [
    (batch, a, b, index > 0) for index, (a, b) in enumerate(itertools.pairwise(widths))
  ]
  limit = batched_rate(count, shapes) / matmul_rate()
  print(f"members: batched products alone, one device: {limit:.2f} of the matmul rate")

  work = operations(widths, examples) * epochs * count
  columns = [(seed, *cell) for cell in cells for seed in range(10)]
  run, compile_s = engine(
    program, config, data, {("seed", "smoothing", "penalty", "decay"): columns}
  )
  name = f"members: {count} runs of {epochs} epochs on {len(jax.devices())} device(s)"
  ours = report(name, rounds(run, work, options.rounds), compile_s)

  columns = [jnp.asarray(column) for column in zip(*columns, strict=True)]

  def train(seed, *numbers):
    numbers = dict(zip(("smoothing", "penalty", "decay"), numbers, strict=True))
    return training.train(task, jax.random.key(seed), hypers(ConfigDict(numbers)), data)

  plain, compile_s = compiled(jax.vmap(train), *columns)
  found = rounds(functools.partial(plain, *columns), work, options.rounds)
  report("members: the same, one vmapped function on one device", found, compile_s)
  if options.torch:
    chosen = np.linspace(0, len(cells) - 1, options.torch_runs).astype(int)
    for threads in sorted({1, os.cpu_count()}):
      spent = [
        torch_epochs(widths, images, labels, batch, epochs, *cells[i], threads=threads)
        for i in chosen
      ]
      theirs = float(np.mean(spent)) * count
      print(
        f"  PyTorch, {count} runs in sequence, {threads} thread(s): {theirs:.2f} s; "
        f"ratio {theirs / ours:.2f}",
        flush=True,
      )


def run_resnet(options):
  """Steps of ResNet-20 inside a scan and in a host loop."""
  batch = options.resnet_batch
  examples = batch * options.resnet_steps
  images = jax.random.normal(jax.random.key(0), (examples, 32, 32, 3))
  labels = jnp.arange(examples) % 10
  data = training.Data(training.Split(images, labels))
  task = training.Task(
    models.PreActResNet(20),
    batch_size=batch,
    epochs=1,
    optimizer="sgd",
    optimizer_options={"nesterov": True},
  )
  hypers = training.Hypers(jnp.asarray(0.1), optimizer={"momentum": jnp.asarray(0.9)})
  key = jax.random.key(0)
  scan, compile_s = compiled(functools.partial(training.train, task), key, hypers, data)
  start = time.perf_counter()
  jax.block_until_ready(training.train(task, key, hypers, data, unroll="host"))
  host_compile_s = time.perf_counter() - start
  times = {"scan": [], "host": []}
  for _ in range(options.rounds):
    times["scan"].append(seconds(lambda: scan(key, hypers, data)))
    times["host"].append(
      seconds(lambda: training.train(task, key, hypers, data, unroll="host"))
    )
  per_step = {name: min(found) / options.resnet_steps for name, found in times.items()}
  print(
    f"ResNet-20, batch {batch}: scan {per_step['scan']:.3f} s a step (compilation "
    f"{compile_s:.0f} s), host loop {per_step['host']:.3f} s a step (first run "
    f"{host_compile_s:.0f} s); scan / host {per_step['scan'] / per_step['host']:.2f}"
  )


def main():
  """Runs what is named, or everything."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument("what", nargs="*", default=["mlp", "members", "resnet"])
  parser.add_argument("--torch", action="store_true", help="time PyTorch too")
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--examples", type=int, default=60000, help="of the mlp epoch")
  parser.add_argument("--epochs", type=int, default=10, help="of the members")
  parser.add_argument("--torch_runs", type=int, default=8, help="timed, of 80")
  parser.add_argument("--resnet_steps", type=int, default=4)
  parser.add_argument("--resnet_batch", type=int, default=128)
  options = parser.parse_args()
  print(f"jax {jax.__version__}, {jax.devices()}, {os.cpu_count()} cores", flush=True)
  for name in options.what:
    {"mlp": run_mlp, "members": run_members, "resnet": run_resnet}[name](options)


if __name__ == "__main__":
  main()

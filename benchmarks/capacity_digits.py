"""Speed of the capacity project's cells on digits: one compiled program against PyTorch.

    python benchmarks/capacity_digits.py [--torch] [--rounds=3] [--epochs=20]

Eight cells (Table 1 and CP, LS) × 10 seeds as one program, run by `lib.experiment`'s engine
over all host devices, with the data, network, batches and both information-complexity terms of
the project (weights tell the cells apart, so all members compute both terms). PyTorch trains
the 80 runs one after the other and computes only the terms that a cell has; it is timed on one
run of each cell. Rates count the matrix products of the minibatches and, apart, those of the
fake inputs too; see training_speed.py for how the machine's matmul rate is measured around
every round. Compilation is timed apart. `training_speed.py members` has the same without the
terms, on arrays of the digits' shape.
"""

import argparse
import itertools
import os
import pathlib
import sys
import time

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import training_speed

from lib import information, training
from lib.experiment import Program, bind, configs
from projects.capacity import experiment

CELLS = {  # weights of mic, eic, confidence, smoothing, and weight decay
  "none": (0.0, 0.0, 0.0, 0.0, 0.0),
  "mic": (0.5, 0.0, 0.0, 0.0, 0.0),
  "eic": (0.0, 0.005, 0.0, 0.0, 0.0),
  "wd": (0.0, 0.0, 0.0, 0.0, 0.003),
  "wd+mic": (0.5, 0.0, 0.0, 0.0, 0.003),
  "wd+eic": (0.0, 0.005, 0.0, 0.0, 0.003),
  "cp": (0.0, 0.0, 0.1, 0.0, 0.0),
  "ls": (0.0, 0.0, 0.0, 0.3, 0.0),
}


NUMBERS = ("mic", "eic", "confidence", "smoothing", "decay")


def program(config, operands):
  """One member: a training run with both terms, weighted by the config's numbers."""
  model = experiment.network(config, 10)
  channels = experiment.channels(model, operands["pool"].inputs.shape[1:])
  chosen = experiment.reading(config)

  def term(measure):
    penalty = information.regulariser(measure, channels, chosen)
    return lambda params, stats, key, batch: penalty(key, {"params": params})

  terms = {
    "mic": term(information.mic_surrogate),
    "eic": term(information.eic_trace),
    "confidence": training.terms.confidence_penalty,
    "smoothing": training.terms.uniform_kl,
  }
  task = training.Task(
    model, terms, epochs=config.train.epochs, batch_size=config.train.batch_size
  )

  def hypers(config):
    return training.Hypers(1e-3, config.decay, {name: config[name] for name in terms})

  def data(config, operands, rows):
    return training.Data(experiment.splits(config, operands, rows).train)

  def init(config, operands):
    split_key, train_key = jax.random.split(jax.random.key(config.seed))
    rows = experiment.split_rows(config, operands, split_key)
    found = data(config, operands, rows)
    return training.init(task, train_key, hypers(config), found), rows

  def step(config, operands, state):
    run, rows = state
    run, measured = training.epoch(task, hypers(config), run, data(config, operands, rows))
    return (run, rows), {"loss": measured["train_loss"]}

  def finish(config, operands, state, history):
    return {"loss": history["loss"]}

  return Program(init, step, finish, steps=lambda config: config.train.epochs)


def torch_run(widths, images, labels, config, weights):
  """One run in PyTorch; returns seconds."""
  import torch
  from torch.nn import functional

  mic, eic, confidence, smoothing, decay = weights
  images, labels = torch.tensor(images), torch.tensor(labels).long()
  network = training_speed.torch_network(widths)
  optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=decay)
  layers = [network[i : i + 2] for i in range(0, len(network), 2)]
  channels = [(network, widths[0]), *zip(layers, widths, strict=False)]
  laws, samples = config.regulariser.laws, config.regulariser.samples

  def complexity():
    total = 0.0
    for channel, size in channels:
      x = torch.randn(laws, samples, size)
      if eic:
        x = x * (0.5 + 0.5 * torch.rand(laws, 1, size)).sqrt()
        y = channel(x)
        total = total + (y - y.mean(1, keepdim=True)).square().sum() / (laws * (samples - 1))
      else:
        ratio = channel(x).norm(dim=-1) / x.norm(dim=-1)
        total = total + ratio.mean() + ratio.var()
    return total

  start = time.perf_counter()
  for _ in range(config.train.epochs):
    order = torch.randperm(len(labels))
    for first in range(0, len(labels), config.train.batch_size):
      rows = order[first : first + config.train.batch_size]
      logits = network(images[rows])
      loss = functional.cross_entropy(logits, labels[rows])
      if smoothing or confidence:
        log_p = functional.log_softmax(logits, 1)
        loss = loss - smoothing * log_p.mean()
        loss = loss + confidence * (log_p.exp() * log_p).sum(1).mean()
      if mic or eic:
        loss = loss + (mic or eic) * complexity()
      optimizer.zero_grad()
      loss.backward()
      optimizer.step()
  return time.perf_counter() - start


def main():
  """Times both and prints ratios."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument("--torch", action="store_true", help="time PyTorch too")
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--epochs", type=int, default=20)
  parser.add_argument("--hidden", type=int, default=128)
  parser.add_argument("--train", type=int, default=1000, help="examples")
  options = parser.parse_args()
  changes = {
    "train.epochs": options.epochs,
    "model.hidden": (options.hidden, options.hidden),
    "split.train": options.train,
    "split.test": 100,
  }
  config = bind(configs.load("configs/capacity.py"), changes)
  operands = experiment.prepare(config)
  widths = (64, options.hidden, options.hidden, 10)
  columns = [(seed, *weights) for weights in CELLS.values() for seed in range(10)]
  count = len(columns)
  with config.unlocked():
    config.update(dict.fromkeys(NUMBERS, 0.0))
  run, compile_s = training_speed.engine(
    program(config, operands), config, operands, {("seed", *NUMBERS): columns}
  )
  minibatches = training_speed.operations(widths, options.train) * options.epochs * count
  sizes = [a * b for a, b in itertools.pairwise(widths)]
  fake = config.regulariser.laws * config.regulariser.samples
  steps = -(-options.train // config.train.batch_size) * options.epochs * count
  # two terms: the whole network, and each layer forward and with its weights' gradient
  terms = 2 * steps * (training_speed.operations(widths, fake) + 4 * sum(sizes) * fake)
  found = training_speed.rounds(run, minibatches, options.rounds)
  name = f"capacity: {count} runs of {options.epochs} epochs, minibatches"
  ours = training_speed.report(name, found, compile_s)
  share = max(ratio for _, ratio, _ in found) * (1 + terms / minibatches)
  print(f"  with the products of the fake inputs: {share:.2f} of the matmul rate")

  if options.torch:
    pool = operands["pool"]
    rows = np.arange(options.train)
    images = np.asarray(pool.inputs, np.float32).reshape(-1, 64)[rows]
    labels = np.asarray(pool.labels)[rows]
    import torch

    for threads in sorted({1, os.cpu_count()}):
      torch.set_num_threads(threads)
      spent = [torch_run(widths, images, labels, config, w) for w in CELLS.values()]
      theirs = sum(spent) * 10
      print(
        f"  PyTorch, {count} runs in sequence, {threads} thread(s): {theirs:.1f} s; "
        f"ratio {theirs / ours:.2f}",
        flush=True,
      )


if __name__ == "__main__":
  main()

"""Universal perturbations of trained networks: one compiled program against a PyTorch loop.

    python -m benchmarks.universal_perturbation [--networks=8] [--steps=60] [--rounds=3]

The attacks of `jacreg_uap`'s default preset: LeNet on 20 × 20 glyphs, minibatches of 100. One
untargeted and ten targeted perturbations of every network, each `steps` sign steps, then the
classes predicted for 2,000 test and 500 validation images with it, and what it does to the
linearised logits of 400. Ours go through the engine, all networks in one program over as
many CPU devices as cores. PyTorch (`pip install torch`, no dependency of the package) runs the
usual loop over networks and targets on the same weights and images, with one thread and with
all; it takes the gradient of δ alone. Compilation is timed apart. Both report the mean evasion
rate, which has to be alike.
"""

import argparse
import os
import time

import jax

jax.config.update("jax_num_cpu_devices", os.cpu_count())

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks import training_speed  # noqa: E402
from lib import training  # noqa: E402
from lib.experiment import bind, configs  # noqa: E402
from projects.jacreg_uap import experiment  # noqa: E402


def trained(config, operands, networks):
  """Parameters of some networks after an epoch or two of plain training, stacked."""
  task = training.Task(
    experiment.network(config, operands), optimizer="sgd", epochs=3, batch_size=100
  )
  hypers = training.Hypers(0.05, optimizer={"momentum": 0.9})
  run = jax.jit(
    jax.vmap(
      lambda key: training.train(task, key, hypers, training.Data(operands["train"]))[0]
    )
  )
  return run(jax.random.split(jax.random.key(0), networks)).params


def torch_logits(params):
  """The same network on (n, 1, height, width) images, with Flax's parameters."""
  import torch
  from torch.nn import functional

  def tensor(a, *order):
    a = np.asarray(a)
    return torch.tensor(np.ascontiguousarray(a.transpose(order) if order else a))

  kernels = [tensor(params[f"conv_{i}"]["conv"]["kernel"], 3, 2, 0, 1) for i in range(2)]
  offsets = [tensor(params[f"conv_{i}"]["conv"]["bias"]) for i in range(2)]
  dense = [
    (
      tensor(params[f"layer_{i}"]["dense"]["kernel"], 1, 0),
      tensor(params[f"layer_{i}"]["dense"]["bias"]),
    )
    for i in range(3)
  ]
  channels = kernels[1].shape[0]
  # Flax flattens (height, width, channels), PyTorch (channels, height, width).
  weight, bias = dense[0]
  side = int((weight.shape[1] // channels) ** 0.5)
  weight = (
    weight.reshape(-1, side, side, channels).permute(0, 3, 1, 2).reshape(len(weight), -1)
  )
  dense[0] = weight.contiguous(), bias

  def logits(x):
    for i, (kernel, offset) in enumerate(zip(kernels, offsets, strict=True)):
      x = functional.conv2d(x, kernel, offset, padding=2 if i == 0 else 0)
      x = functional.max_pool2d(functional.relu(x), 2)
    x = x.flatten(1)
    for weight, bias in dense[:-1]:
      x = functional.relu(functional.linear(x, weight, bias))
    return functional.linear(x, *dense[-1])

  return logits


def torch_attack(logits, train, validation, test, radius, target, step, config):
  """One perturbation and what it leads to; returns the share of test images misclassified."""
  import torch
  from torch.nn import functional

  images, labels = train
  delta = torch.zeros_like(images[0])
  order = torch.randperm(len(labels))
  for i in range(config.attack.steps):
    rows = order[(i * config.attack.batch + torch.arange(config.attack.batch)) % len(labels)]
    delta.requires_grad_(True)
    y = logits((images[rows] + delta).clamp(0, 1))
    goal = labels[rows] if target < 0 else torch.full((len(rows),), target)
    loss = functional.cross_entropy(y, goal, reduction="none").clamp(max=config.attack.clip)
    loss = loss.mean() if target < 0 else -loss.mean()
    (gradient,) = torch.autograd.grad(loss, delta)
    with torch.no_grad():
      delta = (delta + step * radius * gradient.sign()).clamp(-radius, radius)
  with torch.no_grad():
    found, _ = (
      logits((inputs + delta).clamp(0, 1)).argmax(1) for inputs in (test[0], validation[0])
    )
    images = test[0][: config.jacobian_images]
    torch.func.jvp(logits, (images,), (delta.expand_as(images),))
    return float((found != test[1]).float().mean())


def main():
  """Times both and prints the ratio."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument("--networks", type=int, default=8)
  parser.add_argument("--steps", type=int, default=60)
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--no-torch", action="store_true")
  options = parser.parse_args()
  config = bind(configs.load("configs/jacreg_uap.py"), {"attack.steps": options.steps})
  operands = experiment.prepare(config)
  attacks = [(config.epsilon, target, config.attack.step, 0) for target in range(-1, 10)]
  config = bind(config, {"attacks": len(attacks)})
  params = trained(config, operands, options.networks)
  shared = operands | {
    "params": params,
    "seeds": jnp.arange(options.networks),
    "attacks": experiment.attack_list(attacks),
  }
  run, compile_s = training_speed.engine(
    experiment.ATTACKS, config, shared, {"member": range(options.networks)}
  )
  count = options.networks * len(attacks)
  found, spent = None, []
  for _ in range(options.rounds):
    start = time.perf_counter()
    found = run()
    spent.append(time.perf_counter() - start)
  ours = min(spent)
  print(
    f"ours: {count} perturbations of {options.steps} steps in {ours:.2f} s "
    f"({1e3 * ours / count / options.steps:.2f} ms a step; slowest round {max(spent):.2f} s), "
    f"compilation {compile_s:.1f} s; untargeted evasion {found['evasion'][:, 0].mean():.3f}",
    flush=True,
  )
  if options.no_torch:
    return

  import torch

  train, validation, test = (
    (
      torch.tensor(np.asarray(split.inputs).transpose(0, 3, 1, 2).copy()),
      torch.tensor(np.asarray(split.labels)).long(),
    )
    for split in (operands["train"], operands["validation"], operands["test"])
  )
  one = jax.tree.map(lambda leaf: np.asarray(leaf[0]), params)
  y = torch_logits(one)(train[0][:50]).numpy()
  expected = experiment.logits_of(config, operands, one)(operands["train"].inputs[:50])
  np.testing.assert_allclose(y, expected, atol=1e-3)  # it is the same network
  for threads in sorted({1, os.cpu_count()}):
    torch.set_num_threads(threads)
    best, rates = np.inf, []
    for _ in range(options.rounds):
      start, rates = time.perf_counter(), []
      for i in range(2):  # of the networks; all of them take the same time
        logits = torch_logits(jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), params))
        for radius, target, step, _ in attacks:
          rate = torch_attack(logits, train, validation, test, radius, target, step, config)
          if target < 0:
            rates.append(rate)
      best = min(best, (time.perf_counter() - start) * options.networks / 2)
    print(
      f"PyTorch, {threads} thread(s): {best:.2f} s "
      f"({1e3 * best / count / options.steps:.2f} ms a step); "
      f"untargeted evasion {np.mean(rates):.3f}; ours is {best / ours:.2f} × faster",
      flush=True,
    )


if __name__ == "__main__":
  main()

"""One step of gradient descent of a network of 10⁷ neurons, against copying and PyTorch.

    python -m benchmarks.ntk_step [--width=10000000] [--points=8] [--rounds=5]

Prints the time of a step of `projects.ntk.network.descent_step` with the neurons sharded over
two host devices, and three numbers from the same run, best of the rounds:
  bandwidth   bytes of the parameters read plus written (24 a neuron) over time, relative to
              a copy of as many bytes in NumPy with two threads;
  torch       time of a plain PyTorch loop over that of the step, the faster of automatic
              differentiation and gradients by hand (PyTorch is not a dependency: without it
              these lines are left out);
  memory      peak of the process before PyTorch is loaded, in GiB.

What the compiled step does, and what was tried (one core, AVX2, JAX 0.10; time per neuron). A
block of 2000 neurons is read, updated and written in place, and added to the sums of the next
outputs in the following iteration, while it is in the cache: 4.1 ns for ReLU, 4.4 ns for an
activation whose third sum has to be formed. Slower were:
  updating in one loop and summing in a second                         +0.3 ns
  the same, sums by a matrix product of the hidden activations         +1.0 ns
  summing the block just updated in its own iteration                  +1.0 ns
    (XLA then computes the update once more inside the sums)
  accumulators as wide as the block, blocks of 500, 1000 or 4000       +0.1 to +1 ns
  one number for each point, reduced in every block                    +3 ns
  indexing the parameters in the loop instead of carrying a block      +4 ns
    (the index is loaded again for every element, which ends vectorisation)
  three parameter arrays, or two readers of the one being updated      × 100
    (XLA copies the whole array in every iteration)
  the whole array at once, without blocks                              × 2, n times the memory
The rest is arithmetic, not memory: XLA on the CPU writes one array a kernel, so that
u = a x + a0 is formed in each of them. On a processor with AVX-512, vectors of 512 bits
instead of 256 are worth 1.2 (`lib.experiment.compilation`); one thread a device
(xla_cpu_multi_thread_eigen off) and fast mathematics are worth nothing on top.
"""

import argparse
import concurrent.futures
import resource
import sys
import time

import jax

jax.config.update("jax_num_cpu_devices", 2)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax import lax  # noqa: E402
from jax.sharding import NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402

from lib.experiment.compilation import compiler_options  # noqa: E402
from projects.ntk import network  # noqa: E402

STEPS = 5  # in one compiled call


def problem(points):
  """x, y of the toy regression."""
  x = np.linspace(-1, 1, points, dtype=np.float32)
  return x, np.sin(3 * x).astype(np.float32)


def compiled(width, points):
  """A compiled run of STEPS steps, and its start."""
  devices = jax.devices()
  mesh = jax.make_mesh((len(devices),), ("neurons",), devices=devices)
  count, block = network.blocks(width)
  if count % len(devices):
    raise SystemExit(f"width {width} has {count} blocks, not divisible by {len(devices)}")
  x, y = (jnp.asarray(v) for v in problem(points))
  data = network.Data(x, y, jnp.full(points, 1 / points))
  scale, sigma = network.scale(0.5, width), network.activation_function("relu")

  def steps(theta, found):
    def one(_, carry):
      return network.descent_step(sigma, scale, data, 0.1, *carry, axis="neurons")

    return lax.fori_loop(0, STEPS, one, (theta, found))

  specs = (P("neurons"), P())
  run = jax.jit(
    jax.shard_map(steps, mesh=mesh, in_specs=specs, out_specs=specs, check_vma=False),
    donate_argnums=(0, 1),
  )
  values = np.random.default_rng(0).standard_normal((count, 3, block), np.float32)
  state = (
    jax.device_put(values, NamedSharding(mesh, P("neurons"))),
    jax.device_put(jnp.zeros(points), NamedSharding(mesh, P())),
  )
  return run.lower(*state).compile(compiler_options()), state


def copier(width):
  """Copies 12 bytes a neuron with two threads, half an array each."""
  source = np.random.default_rng(1).standard_normal(3 * width, np.float32)
  target = source.copy()
  half = len(source) // 2
  pool = concurrent.futures.ThreadPoolExecutor(2)

  def copy(part):
    np.copyto(target[part], source[part])

  return lambda: list(pool.map(copy, (slice(0, half), slice(half, None))))


def torch_steps(width, points):
  """Two plain loops in PyTorch: {name: function of one step}."""
  import torch

  torch.set_num_threads(2)
  x, y = (torch.from_numpy(v) for v in problem(points))
  alpha, h = width**-0.5, 0.1
  generator = torch.Generator().manual_seed(0)
  a, a0, b = (torch.randn(width, generator=generator) for _ in range(3))

  def automatic():
    leaves = [v.detach().requires_grad_() for v in (a, a0, b)]
    outputs = alpha * (torch.relu(x[:, None] * leaves[0] + leaves[1]) @ leaves[2])
    (0.5 * torch.mean((outputs - y) ** 2)).backward()
    with torch.no_grad():
      for parameter, leaf in zip((a, a0, b), leaves, strict=True):
        parameter -= h * leaf.grad

  @torch.no_grad()
  def by_hand():
    hidden = [torch.relu(a * xi + a0) for xi in x]
    residual = [(alpha * (b @ z) - yi) / points for z, yi in zip(hidden, y, strict=True)]
    da, da0, db = torch.zeros_like(a), torch.zeros_like(a), torch.zeros_like(a)
    for xi, r, z in zip(x, residual, hidden, strict=True):
      on = (z > 0).float()
      da0.add_(on, alpha=float(r))
      da.add_(on, alpha=float(r * xi))
      db.add_(z, alpha=float(r))
    a.sub_(h * alpha * b * da)
    a0.sub_(h * alpha * b * da0)
    b.sub_(h * alpha * db)

  return {"automatic differentiation": automatic, "by hand": by_hand}


def seconds(function):
  """Wall time of one call."""
  start = time.perf_counter()
  function()
  return time.perf_counter() - start


def main():
  """Prints times and ratios."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--width", type=int, default=10_000_000)
  parser.add_argument("--points", type=int, default=8)
  parser.add_argument("--rounds", type=int, default=5)
  options = parser.parse_args()

  run, state = compiled(options.width, options.points)

  def steps():
    nonlocal state
    state = jax.block_until_ready(run(*state))

  steps()
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  copy = copier(options.width)
  copy()
  times = {"step": [], "copy": []}
  for _ in range(options.rounds):
    times["step"].append(seconds(steps) / STEPS)
    times["copy"].append(seconds(copy))
  step, copied = min(times["step"]), min(times["copy"])
  bytes_moved = 24 * options.width
  print(f"width {options.width}, {options.points} points, {len(jax.devices())} host devices")
  print(f"step     {1e3 * step:8.2f} ms  {bytes_moved / step / 1e9:6.2f} GB/s of parameters")
  print(f"copy     {1e3 * copied:8.2f} ms  {bytes_moved / copied / 1e9:6.2f} GB/s")
  print(f"bandwidth ratio {copied / step:.3f} (goal 0.4)")
  print(f"peak memory {peak:.2f} GiB (goal 2)")
  try:
    loops = torch_steps(options.width, options.points)
  except ImportError:
    print("torch is not installed", file=sys.stderr)
    return
  best = {}
  for name, loop in loops.items():
    loop()
    best[name] = min(seconds(loop) for _ in range(min(3, options.rounds)))
    print(f"torch, {name}: {1e3 * best[name]:.1f} ms")
  print(f"torch ratio {min(best.values()) / step:.2f} (goal 3)")


if __name__ == "__main__":
  main()

"""Empirical NTK: contracted against the explicit Jacobian, time and memory, in one run.

`python -m benchmarks.empirical_ntk [--inputs=N] [--width=W] [--outputs=O] [--repeats=R]`

The explicit way is what a user would write: `jax.jacrev` over the whole batch, then one
product of Jacobians. Its time and memory over those of `lib.kernels.empirical_ntk` are
the ratios printed (above 1: the library is better); memory is XLA's temporary space
(`compiled.memory_analysis()`), times are the least of the repeats, compilation apart.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from lib import kernels


def network(params, x):
  """A tanh multilayer perceptron in NTK parametrisation."""
  for w, b in params[:-1]:
    x = jnp.tanh(x @ w / np.sqrt(w.shape[0]) + b)
  w, b = params[-1]
  return x @ w / np.sqrt(w.shape[0]) + b


def explicit_ntk(params, x):
  """Θ (n, n, o, o) from the Jacobian (n, o, p) of the whole batch."""
  rows = jax.vmap(jax.jacrev(lambda p, x: network(p, x[None])[0]), (None, 0))(params, x)
  total = 0.0
  for row in jax.tree.leaves(rows):
    flat = row.reshape(*row.shape[:2], -1)
    total += jnp.einsum("nop,mqp->nmoq", flat, flat, precision="highest")
  return total


def measure(name, function, arguments, repeats):
  """(seconds, bytes of temporaries, result); prints a line."""
  start = time.perf_counter()
  compiled = jax.jit(function).lower(*arguments).compile()
  compile_s = time.perf_counter() - start
  memory = compiled.memory_analysis().temp_size_in_bytes
  result = jax.block_until_ready(compiled(*arguments))
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    times.append(time.perf_counter() - start)
  megabytes = memory / 2**20
  print(f"{name:24s} {min(times):9.4f} s {megabytes:9.1f} MiB   (compile {compile_s:.1f} s)")
  return min(times), memory, np.asarray(result)


def main():
  """Prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--inputs", type=int, default=128)
  parser.add_argument("--dimension", type=int, default=64)
  parser.add_argument("--width", type=int, default=512)
  parser.add_argument("--hidden", type=int, default=2)
  parser.add_argument("--outputs", type=int, default=10)
  parser.add_argument("--repeats", type=int, default=3)
  args = parser.parse_args()

  sizes = (args.dimension, *(args.width,) * args.hidden, args.outputs)
  keys = jax.random.split(jax.random.key(0), len(sizes))
  params = [
    (jax.random.normal(k, (a, b)), jnp.zeros(b))
    for k, a, b in zip(keys, sizes, sizes[1:], strict=False)
  ]
  x = jax.random.normal(keys[-1], (args.inputs, args.dimension))
  count = sum(p.size for p in jax.tree.leaves(params))
  print(f"{args.inputs} inputs, layers {sizes}, {count} parameters, {jax.devices()[0]}")

  base_s, base_memory, expected = measure("explicit", explicit_ntk, (params, x), args.repeats)
  ratios = []
  for method, batch_size in (
    ("structured", None),
    ("structured", 16),
    ("jacobian", None),
    ("jacobian", 16),
    ("implicit", 16),
  ):
    name = method if batch_size is None else f"{method}, batch {batch_size}"
    ntk = functools.partial(
      kernels.empirical_ntk, network, method=method, batch_size=batch_size
    )
    seconds, memory, result = measure(name, ntk, (params, x), args.repeats)
    error = np.abs(result - expected).max() / np.abs(expected).max()
    ratios.append((name, base_s / seconds, base_memory / max(memory, 1), error))
  print("\nratio explicit / contracted   time   memory   largest difference")
  for name, speed, saving, error in ratios:
    print(f"{name:26s} {speed:7.2f} {saving:8.1f} {error:12.1e}")


if __name__ == "__main__":
  main()

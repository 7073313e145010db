"""What the compiler is told beyond its defaults."""

import functools
import pathlib

import jax


@functools.cache
def compiler_options() -> dict[str, int]:
  """Options for `jax.stages.Lowered.compile` on the default backend; empty for most machines.

  On an AMD processor with AVX-512, vectors of 512 bits. XLA keeps to 256 because some Intel
  processors lower their clock for wider ones; loops over arrays then run up to 1.25 times
  slower than they could (docs/PERFORMANCE.md).
  """
  if jax.default_backend() != "cpu" or not _has_wide_vectors(_processor()):
    return {}
  options = {"xla_cpu_prefer_vector_width": 512}
  try:
    jax.jit(lambda x: x).lower(0.0).compile(compiler_options=options)
  except jax.errors.JaxRuntimeError:  # a version of XLA without the option
    return {}
  return options


def _processor() -> str:
  """What Linux tells of the processor, empty elsewhere."""
  try:
    return pathlib.Path("/proc/cpuinfo").read_text("utf-8")
  except OSError:
    return ""


def _has_wide_vectors(processor: str) -> bool:
  """Whether a description in the form of /proc/cpuinfo is of an AMD with AVX-512."""
  lines = [line.partition(":")[::2] for line in processor.splitlines()]
  found = {key.strip(): value.split() for key, value in lines}
  return found.get("vendor_id") == ["AuthenticAMD"] and "avx512f" in found.get("flags", [])

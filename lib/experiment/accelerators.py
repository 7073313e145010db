"""What a run asks of the machine: devices, the precision of products, and peak memory."""

import pathlib
import resource
import sys
from typing import Any

from lib.experiment.errors import UserError

# What float32 products (matrix products and convolutions) are made of. Sums, everything
# elementwise and float64 are the same under all of them, and so is whatever asks for its own
# precision, such as the kernels in `lib.kernels`.
PRECISIONS = {
  "highest": "float32 throughout on every backend",
  "high": "TensorFloat-32 on a GPU, three bfloat16 passes on a TPU",
  "default": "the backend's fastest: TensorFloat-32 on a GPU, one bfloat16 pass on a TPU",
}
PRECISION = "highest"


def devices(wanted: int | None = None) -> list:
  """The devices of a run: all that JAX sees on the backend it picks, accelerators first.

  Args:
    wanted: what `--devices` asked for, None when it did not.

  Raises:
    UserError: the backend that JAX_PLATFORMS names does not start, or an accelerator was to
      be divided.
  """
  import jax

  try:
    found = jax.devices()
  except (RuntimeError, AssertionError) as error:  # the latter says nothing
    asked = (
      f" on the platform '{jax.config.jax_platforms}'" if jax.config.jax_platforms else ""
    )
    reason = (str(error).splitlines() or [""])[0].partition(" (")[0].rstrip(".")
    raise UserError(
      f"JAX finds no device{asked}{f': {reason}' if reason else ''}; unset JAX_PLATFORMS, or "
      "install the backend (docs/accelerators.md)."
    ) from error
  platform = found[0].platform
  if wanted is not None and platform != "cpu":
    raise UserError(
      f"--devices divides a CPU, and this run is on {platform} with {len(found)} of them; "
      "choose among them with CUDA_VISIBLE_DEVICES or TPU_VISIBLE_DEVICES, or take the CPU "
      "with JAX_PLATFORMS=cpu."
    )
  return found


def peak_memory() -> dict[str, Any]:
  """GiB that this process held at most: {"host_gib": number, "devices_gib": list or None}.

  `devices_gib` has a number for each local device where the backend counts its memory, as
  CUDA and TPU do; a CPU device has no memory but the host's.
  """
  import jax

  peaks = []
  for device in jax.local_devices():
    stats = device.memory_stats() if device.platform != "cpu" else None
    peaks.append((stats or {}).get("peak_bytes_in_use"))
  known = None not in peaks
  return {
    "host_gib": _peak_resident_bytes() / 2**30,
    "devices_gib": [peak / 2**30 for peak in peaks] if known else None,
  }


def memory_text(peak: dict[str, Any]) -> str:
  """A line of `peak_memory`."""
  host = f"{peak['host_gib']:.2f} GiB of the host"
  if peak["devices_gib"] is None:
    return f"peak memory: {host}"
  devices = ", ".join(f"{gib:.2f}" for gib in peak["devices_gib"])
  return f"peak memory: {devices} GiB of the devices, {host}"


def _peak_resident_bytes() -> int:
  """Of this program alone: on Linux `ru_maxrss` starts at its parent's."""
  try:
    status = pathlib.Path("/proc/self/status").read_text("ascii", "replace")
    kilobytes = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes.split()[1]) * 1024
  except (OSError, StopIteration):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

"""Convolutions that stay fast on the CPU backend, in loops and for many members."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = ("NHWC", "HWIO", "NHWC")


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolution(x, kernel, strides, padding):
  return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=_LAYOUT)


def _forward(x, kernel, strides, padding):
  return _convolution(x, kernel, strides, padding), (x, kernel)


def _backward(strides, padding, saved, dy):
  """∂/∂x and ∂/∂kernel as two convolutions in the layout of the forward one.

  y[o] = Σ_a x[o s + a − p] k[a] in every spatial direction, so that
  ∂x[i] = Σ_o dy[o] k[i − o s + p] and ∂k[a] = Σ_o x[o s + a − p] dy[o].
  """
  x, kernel = saved
  reaches = [(size - 1) * s for size, s in zip(dy.shape[1:3], strides, strict=True)]
  sizes = list(zip(x.shape[1:3], kernel.shape[:2], padding, reaches, strict=True))

  dx = lax.conv_general_dilated(
    dy,
    lax.rev(kernel, (0, 1)).transpose(0, 1, 3, 2),
    (1, 1),
    [(k - 1 - low, n - 1 - reach + low) for n, k, (low, _), reach in sizes],
    lhs_dilation=strides,
    dimension_numbers=_LAYOUT,
  )

  # Inputs beyond the last window have no share in the kernel's gradient: cut them off.
  highs = [k - 1 - low + reach - (n - 1) for n, k, (low, _), reach in sizes]
  kept = [n + min(high, 0) for n, high in zip(x.shape[1:3], highs, strict=True)]
  dk = lax.conv_general_dilated(
    x[:, : kept[0], : kept[1]].transpose(3, 1, 2, 0),
    dy.transpose(1, 2, 0, 3),
    (1, 1),
    [(low, max(high, 0)) for (_, _, (low, _), _), high in zip(sizes, highs, strict=True)],
    rhs_dilation=strides,
    dimension_numbers=_LAYOUT,
  )
  return dx, dk.transpose(1, 2, 0, 3)


_convolution.defvjp(_forward, _backward)


def conv_general_dilated(x, kernel, strides, padding, *, dimension_numbers, **options):
  """`lax.conv_general_dilated` for `flax.linen.Conv`, on two spatial dimensions.

  XLA's CPU compiler brings convolutions into the layout that its fast kernels need, but only
  outside of loops. The gradients that JAX derives are not in it, so that in a `lax.scan` they
  fall back to plain loops: a step of ResNet-20 took more than 20 times as long. On that
  backend this function writes the gradients in the fast layout; elsewhere, and for dilated or
  grouped convolutions, it is the original. The price is that on the CPU backend it has no
  forward-mode derivative.

  Args:
    x: (n, height, width, channels).
    kernel: (height, width, channels in, channels out).
    strides: of the window.
    padding: ((low, high), (low, high)).
    dimension_numbers: as in the original; handed through.
    **options: as in the original.
  """
  if _plain_on_cpu(x, padding, options):
    pairs = tuple((int(low), int(high)) for low, high in padding)
    return _convolution(x, kernel, tuple(strides), pairs)
  return lax.conv_general_dilated(
    x, kernel, strides, padding, dimension_numbers=dimension_numbers, **options
  )


def _plain_on_cpu(x, padding, options) -> bool:
  return (
    jax.default_backend() == "cpu"
    and x.ndim == 4
    and options.get("feature_group_count", 1) == 1
    and all(d == 1 for d in options.get("lhs_dilation") or (1,))
    and all(d == 1 for d in options.get("rhs_dilation") or (1,))
    and not isinstance(padding, str)
  )


_OUTPUTS = 48  # columns that a matrix product should have at least, to run at a good rate


def _block(width: int, channels: int, stride: int) -> int:
  """Neighbouring outputs of a row that are computed as one, a divisor of the width."""
  if stride > 1:
    return 1
  return next(b for b in range(1, width + 1) if width % b == 0 and _enough(b, width, channels))


def _enough(block, width, channels):
  return block * channels >= _OUTPUTS or block == width


def product_of_patches(x, kernel, strides, padding, *, dimension_numbers, **options):
  """The same convolution as one matrix product of the patches with the kernel.

      y[n, o] = Σ_a x[n, o s + a − p] k[a],  the x of all a side by side

  On the CPU backend this is the faster form for small networks of which many are trained at
  once: under `vmap` over parameters a convolution becomes a grouped one, which XLA runs as
  plain loops, and its second derivative (a penalty of an input gradient) has no fast layout in
  a loop. A product stays a product under every transformation, forward mode too. Where there
  are few output channels, several neighbouring outputs share a patch wide enough for all of
  them: a banded matrix takes the place of the kernel, more operations but fewer copies of the
  input, which is what such a layer waits for. Elsewhere, and for dilated or grouped
  convolutions, this function is the original.

  Args:
    x, kernel, strides, padding, dimension_numbers, **options: as `conv_general_dilated`.
  """
  if not _plain_on_cpu(x, padding, options):
    return lax.conv_general_dilated(
      x, kernel, strides, padding, dimension_numbers=dimension_numbers, **options
    )
  x = jnp.pad(x, ((0, 0), *((int(low), int(high)) for low, high in padding), (0, 0)))
  height, width, inputs, outputs = kernel.shape
  down, right = strides
  rows = (x.shape[1] - height) // down + 1
  columns = (x.shape[2] - width) // right + 1
  block = _block(columns, outputs, right)
  if block == 1:
    patches = [
      x[:, i : i + (rows - 1) * down + 1 : down, j : j + (columns - 1) * right + 1 : right]
      for i in range(height)
      for j in range(width)
    ]
    return jnp.concatenate(patches, -1) @ kernel.reshape(-1, outputs)

  reach = block + width - 1  # input columns that a block of outputs sees
  bands = [x[:, :, j : j + reach] for j in range(0, columns, block)]
  bands = jnp.stack(bands, 2).reshape(len(x), x.shape[1], -1, reach * inputs)
  patches = [bands[:, i : i + (rows - 1) * down + 1 : down] for i in range(height)]
  shifted = [
    jnp.pad(kernel, ((0, 0), (j, reach - width - j), (0, 0), (0, 0))) for j in range(block)
  ]
  banded = jnp.stack(shifted, 3).reshape(height * reach * inputs, block * outputs)
  y = jnp.concatenate(patches, -1) @ banded
  return y.reshape(len(x), rows, columns, outputs)

"""Empirical (finite-width) neural tangent kernel of any differentiable function.

  Θ(x, x') = ⟨∂f(θ, x)/∂θ, ∂f(θ, x')/∂θ⟩, an o × o matrix for each pair of inputs,
of `apply(params, x)` with any pytree of parameters (flax, plain dictionaries). Below: n
inputs, o outputs each, p parameters, w the width of a layer (p ≈ w² a layer), [FP] the
cost of one forward pass of one input (≈ p multiplications in a dense network, more in a
convolutional one, which reuses its weights), b the batch size. Three ways to contract
(after Novak et al. 2022):

  method        multiplications                      memory beside the result
  "jacobian"    2 n o [FP] + n² o² p                 b o p
  "implicit"    n² o [FP]                            b p, and n activations
  "structured"  2 n o [FP] + n² o² w a dense layer   b o w a dense layer
                (its other leaves as "jacobian")     (its other leaves b o p_leaf)

"jacobian" multiplies Jacobians of a batch. "implicit" applies jvp∘vjp to unit vectors, one
forward and one reverse pass a column, and so avoids one factor o: for many outputs.
"structured" uses that the derivative by a dense layer's weights is an outer product, input
h times cotangent δ, so that its part of Θ is (h·h')(δ·δ') and the w × w derivative never
exists. It finds the dense layers in the traced program; whatever it does not recognise
(convolutions, weights used twice or inside scans) is done as "jacobian", so that the
result is always the whole kernel. It never costs more than "jacobian" and is the default.

With a batch size both sets of inputs are walked in blocks, which bounds the memory by
2 b blocks for any n; the second block's derivatives are computed anew for every block of
the first, which adds a share of 1/(b o) for "jacobian" and up to w/(b o) for "structured".
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core as jex_core

Array = jax.Array
PyTree = Any
ApplyFn = Callable[[PyTree, PyTree], Array]

METHODS = ("structured", "jacobian", "implicit")
_HIGHEST = jax.lax.Precision.HIGHEST


def empirical_ntk(
  apply: ApplyFn,
  params: PyTree,
  x1: PyTree,
  x2: PyTree | None = None,
  *,
  trace_axes: tuple[int, ...] = (),
  batch_size: int | None = None,
  method: str = "structured",
) -> Array:
  """Θ between two sets of inputs, contracted without the Jacobian of a whole set.

  Args:
    apply: `apply(params, x) -> (n, ...)`; the inputs must not influence each other (no
      batch statistics), since each is differentiated alone.
    params: pytree of floating arrays, the parameters Θ is taken over.
    x1: array or pytree of arrays with leading axis n1.
    x2: the same with n2, None for x1.
    trace_axes: axes of the output, e.g. (-1,), over which only the mean of the diagonal is
      kept: (1/o) Σ_k Θ_kk, which converges to the analytic kernel as every Θ_kk does.
    batch_size: inputs differentiated at a time, None for all at once; need not divide n.
      For "implicit" it counts columns, i.e. (input, output) pairs of x2.
    method: see the module's table.

  Returns:
    (n1, n2, *o, *o), with o the output's shape after the batch less the traced axes.

  Raises:
    ValueError: unknown method, a trace axis that is the batch or is not there, a batch
      size < 1.
  """
  if method not in METHODS:
    raise ValueError(f"unknown method {method!r}, choose from {METHODS}")
  if batch_size is not None and batch_size < 1:
    raise ValueError(f"batch_size must be at least 1, got {batch_size}")
  if x2 is None:
    x2 = x1
  output = _one_output(apply, params, x1)
  traced = _trace_axes(trace_axes, output.ndim)
  kept = tuple(a for a in range(output.ndim) if a not in traced)
  kept_shape = tuple(output.shape[a] for a in kept)
  traced_size = math.prod(output.shape[a] for a in traced)

  def single(params, x):
    """One input's outputs as (traced, kept)."""
    out = apply(params, jax.tree.map(lambda a: a[None], x))[0]
    return out.transpose(*traced, *kept).reshape(traced_size, math.prod(kept_shape))

  if method == "implicit":
    kernel = _implicit(single, params, x1, x2, batch_size)
  else:
    features, contract = _features(single, params, x1, structured=method == "structured")
    kernel = _blocks(features, contract, x1, x2, batch_size)
  kernel = kernel / traced_size
  return kernel.reshape(kernel.shape[:2] + kept_shape + kept_shape)


def ntk_vector_product(
  apply: ApplyFn,
  params: PyTree,
  x1: PyTree,
  x2: PyTree | None,
  vector: Array,
  *,
  batch_size: int | None = None,
) -> Array:
  """Θ(x1, x2) v = J(x1) (J(x2)ᵀ v) without forming Θ or a Jacobian.

  One reverse pass over x2 and one forward pass over x1: (2 n2 + 2 n1) [FP], memory p and
  the activations of `batch_size` inputs. For conjugate gradients, Lanczos, power iteration.

  Args:
    apply: as in `empirical_ntk`.
    params: pytree of parameters.
    x1: inputs of the result, leading axis n1.
    x2: inputs of the vector, leading axis n2; None for x1.
    vector: of the shape of apply(params, x2).
    batch_size: inputs at a time, None for all.

  Returns:
    An array of the shape of apply(params, x1).

  Raises:
    ValueError: a vector of another shape than apply(params, x2).
  """
  x2 = x1 if x2 is None else x2
  expected = jax.eval_shape(apply, params, x2)
  if vector.shape != expected.shape:
    raise ValueError(f"vector has shape {vector.shape}, apply(params, x2) {expected.shape}")
  vector = vector.astype(expected.dtype)

  def pull(x, v):
    return jax.vjp(lambda p: apply(p, x), params)[1](v)[0]

  def push(x):
    return jax.jvp(lambda p: apply(p, x), (params,), (tangent,))[1]

  if batch_size is None:
    tangent = pull(x2, vector)
    return push(x1)

  def add(total, block):
    return jax.tree.map(jnp.add, total, pull(*block)), None

  whole, rest = _split((x2, vector), batch_size)
  tangent = jax.tree.map(jnp.zeros_like, params)
  tangent = jax.lax.scan(add, tangent, whole)[0]
  if rest is not None:
    tangent = add(tangent, rest)[0]

  whole, rest = _split(x1, batch_size)
  out = jax.lax.map(push, whole)
  out = out.reshape(-1, *out.shape[2:])
  return out if rest is None else jnp.concatenate([out, push(rest)])


def _split(tree, batch_size):
  """Whole batches (k, b, ...) and what is left, or None."""
  n = _count(tree)
  cut = n - n % batch_size
  whole = jax.tree.map(lambda a: a[:cut].reshape(-1, batch_size, *a.shape[1:]), tree)
  return whole, jax.tree.map(lambda a: a[cut:], tree) if cut < n else None


def _count(tree):
  return jax.tree.leaves(tree)[0].shape[0]


def _one_output(apply, params, x):
  """Shape of the output of one input."""
  one = jax.tree.map(lambda a: jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype), x)
  output = jax.eval_shape(apply, params, one)
  return jax.ShapeDtypeStruct(output.shape[1:], output.dtype)


def _trace_axes(axes, ndim):
  """Axes of the batched output as axes of one input's output."""
  result = []
  for axis in axes:
    index = axis + ndim + 1 if axis < 0 else axis
    if not 1 <= index <= ndim:
      raise ValueError(f"trace axis {axis} is not one of the {ndim} output axes")
    result.append(index - 1)
  return tuple(sorted(set(result)))


# implicit: Θ's columns, each from one vjp (to parameters) and one jvp (to all outputs)


def _implicit(single, params, x1, x2, batch_size):
  n2 = _count(x2)
  one = jax.eval_shape(single, params, jax.tree.map(lambda a: a[0], x1))
  traced, kept = one.shape
  # The forward passes over x1 are linearised once and shared by all columns.
  _, push = jax.linearize(lambda p: jax.vmap(single, (None, 0))(p, x1), params)

  def column(index):
    """⟨J(x1), J(x2)[i, s, r]⟩ for each (i, s, r): (n1, kept) of the same s."""
    i, s, r = index
    x = jax.tree.map(lambda a: a[i], x2)
    _, pull = jax.vjp(lambda p: single(p, x), params)
    unit = jnp.zeros(one.shape, one.dtype).at[s, r].set(1)
    return push(pull(unit)[0])[:, s]

  grid = jnp.meshgrid(*map(jnp.arange, (n2, traced, kept)), indexing="ij")
  index = tuple(g.reshape(-1) for g in grid)
  if batch_size is None:
    columns = jax.vmap(column)(index)
  else:
    columns = jax.lax.map(column, index, batch_size=batch_size)
  columns = columns.reshape(n2, traced, kept, -1, kept)  # (n2, s, r', n1, r)
  return jnp.einsum("jsqnr->njrq", columns)


# explicit derivatives of a block of inputs, contracted block by block


def _blocks(features, contract, x1, x2, batch_size):
  if batch_size is None:
    first = features(x1)
    return contract(first, first if x2 is x1 else features(x2))

  def walk(function, x):
    """Concatenates function(block of x) along axis 0."""
    size = min(batch_size, _count(x))
    whole, rest = _split(x, size)
    out = jax.lax.map(function, whole)
    out = out.reshape(-1, *out.shape[2:])
    return out if rest is None else jnp.concatenate([out, function(rest)])

  def row(block1):
    first = features(block1)

    def across(block2):
      return jnp.swapaxes(contract(first, features(block2)), 0, 1)

    return jnp.swapaxes(walk(across, x2), 0, 1)

  return walk(row, x1)


def _features(single, params, x, structured):
  """(features(block), contract(features1, features2) -> (n1, n2, kept, kept)).

  Features of an input are its derivatives by the leaves, (traced, kept, size) each, and for
  a dense layer the pair (h, δ): its input (fan-in,) and cotangents (traced, kept, fan-out).
  """
  example = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), x)
  leaves, treedef = jax.tree.flatten(params)

  def function(leaves, x):
    return single(treedef.unflatten(leaves), x)

  closed = jax.make_jaxpr(function)(leaves, example)
  size = math.prod(closed.out_avals[0].shape)
  shape = closed.out_avals[0].shape
  dense = _find_dense(closed, leaves, example) if structured else {}
  plain = {i: leaf for i, leaf in enumerate(leaves) if i not in dense}

  def features_of_one(x):
    def perturbed(plain, shifts):
      walk = _Walk(shifts)
      every = [plain.get(i, leaf) for i, leaf in enumerate(leaves)]
      (out,) = walk.run(closed, every, jax.tree.leaves(x))
      return out, walk.inputs

    shifts = {i: jnp.zeros(s.shape, s.dtype) for i, s in dense.items()}
    out, pull, inputs = jax.vjp(perturbed, plain, shifts, has_aux=True)
    units = jnp.eye(size, dtype=out.dtype).reshape(size, *shape)
    by_leaf, by_shift = jax.vmap(pull)(units)

    def flat(a):
      return a.reshape(*shape, -1)

    pairs = [(inputs[i].reshape(-1), flat(by_shift[i])) for i in dense]
    return pairs, [flat(by_leaf[i]) for i in plain]

  def product(a, b):
    """Σ over traced and the last axis: (n1, s, r, p), (n2, s, q, p) -> (n1, n2, r, q)."""
    return jnp.einsum("isrp,jsqp->ijrq", a, b, precision=_HIGHEST)

  def contract(first, second):
    total = 0.0
    for (h1, delta1), (h2, delta2) in zip(first[0], second[0], strict=True):
      inner = jnp.einsum("ia,ja->ij", h1, h2, precision=_HIGHEST)
      total += inner[:, :, None, None] * product(delta1, delta2)
    for a, b in zip(first[1], second[1], strict=True):
      total += product(a, b)
    return total

  return jax.vmap(features_of_one), contract


# structured: the dense layers of a traced program


def _find_dense(closed, leaves, example):
  """Leaves used once, as the weights of a dense layer: {leaf: shape of its output}."""
  walk = _Walk({})
  jax.eval_shape(
    lambda leaves, x: walk.run(closed, leaves, jax.tree.leaves(x)), leaves, example
  )
  return {i: s for i, s in walk.sites.items() if walk.uses[i] == 1}


# These keep the entries of their one operand, perhaps in another order or type.
_REARRANGING = ("transpose", "reshape", "squeeze", "convert_element_type", "copy")
_INLINED = ("jit", "pjit", "closed_call")


class _Walk:
  """Evaluates a jaxpr and follows each parameter leaf to where it is used.

  A variable *stands for* a leaf if it is the leaf, rearranged, times a scalar: then the
  inner product of derivatives by the leaf is that by the variable times scalar². A dense
  layer is a dot_general of such a variable with a vector, without batch axes.

  Attributes:
    sites: leaf -> shape and dtype of the dense layer's output.
    uses: leaf -> number of uses other than the above renaming.
    inputs: leaf -> input vector of its dense layer, times the scalar.
  """

  def __init__(self, shifts):
    self.shifts = shifts  # leaf -> added to its dense layer's output
    self.sites, self.uses, self.inputs = {}, {}, {}

  def run(self, closed, leaves, others):
    self.uses = dict.fromkeys(range(len(leaves)), 0)
    values = [(leaf, (i, 1.0)) for i, leaf in enumerate(leaves)]
    values += [(other, None) for other in others]
    out = self._jaxpr(closed.jaxpr, closed.consts, values)
    self._count(out)
    return [value for value, _ in out]

  def _count(self, operands):
    for _, stands_for in operands:
      if stands_for is not None:
        self.uses[stands_for[0]] += 1

  def _jaxpr(self, jaxpr, consts, arguments):
    known = dict(zip(jaxpr.invars, arguments, strict=True))
    known.update(zip(jaxpr.constvars, ((c, None) for c in consts), strict=True))

    def read(v):
      return (v.val, None) if isinstance(v, jex_core.Literal) else known[v]

    for equation in jaxpr.eqns:
      operands = [read(v) for v in equation.invars]
      known.update(zip(equation.outvars, self._equation(equation, operands), strict=True))
    return [read(v) for v in jaxpr.outvars]

  def _equation(self, equation, operands):
    name = equation.primitive.name
    if name in _INLINED:
      inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
      return self._jaxpr(inner.jaxpr, inner.consts, operands)

    values = [value for value, _ in operands]
    bound = equation.primitive.get_bind_params(equation.params)
    functions, parameters = bound if isinstance(bound, tuple) else ((), bound)  # JAX < 0.10
    out = equation.primitive.bind(*functions, *values, **parameters)
    out = out if equation.primitive.multiple_results else [out]

    standing = self._rename(name, operands)
    if standing is not None:
      leaf_position, stands_for = standing
      self._count(o for i, o in enumerate(operands) if i != leaf_position)
      return [(out[0], stands_for)]
    self._count(operands)
    if name == "dot_general":
      out = [self._dense(equation.params["dimension_numbers"], operands, out[0])]
    return [(value, None) for value in out]

  def _rename(self, name, operands):
    """(position of the operand that stands for a leaf, what the result stands for)."""
    if name in _REARRANGING and operands[0][1] is not None:
      return 0, operands[0][1]
    if name == "neg" and operands[0][1] is not None:
      leaf, scale = operands[0][1]
      return 0, (leaf, -scale)
    if name in ("mul", "div"):
      for position in (0, 1) if name == "mul" else (0,):
        stands_for = operands[position][1]
        factor = operands[1 - position][0]
        if stands_for is not None and jnp.ndim(factor) == 0:
          leaf, scale = stands_for
          return position, (leaf, scale * factor if name == "mul" else scale / factor)
    return None

  def _dense(self, dimension_numbers, operands, out):
    contracting, batch = dimension_numbers
    for position in (0, 1):
      other, stands_for = operands[1 - position][0], operands[position][1]
      summed = math.prod(other.shape[a] for a in contracting[1 - position])
      if stands_for is None or batch[0] or summed != other.size:
        continue
      leaf, scale = stands_for
      self.sites[leaf] = jax.ShapeDtypeStruct(out.shape, out.dtype)
      if leaf in self.shifts:
        self.inputs[leaf] = other * scale
        return out + self.shifts[leaf]
    return out

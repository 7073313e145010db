"""Splits by seed, on the host and on the device, and shuffled batches on the device."""

import numbers
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lib.data.dataset import Dataset, Examples


def _interleave(sizes: Sequence[int]) -> list[np.ndarray]:
  """Positions 0..n-1 dealt to parts of the given sizes as evenly as can be.

  Part k of size s gets the ranks of its ideal positions (i + ½) n / s, i = 0..s-1, among those
  of all parts. Any stretch of c consecutive positions then holds c s / n of part k up to a
  constant that does not grow with c, which is what makes a stratified split out of a sorted
  order. Sizes are exact.
  """
  n = sum(sizes)
  ideal = np.concatenate([(np.arange(s) + 0.5) * (n / max(s, 1)) for s in sizes])
  owner = np.repeat(np.arange(len(sizes)), sizes)
  dealt = owner[np.argsort(ideal, kind="stable")]
  return [np.flatnonzero(dealt == k) for k in range(len(sizes))]


def random_split(
  key: jax.Array, n: int, sizes: Sequence[int], labels: jax.Array | None = None
) -> tuple[jax.Array, ...]:
  """Disjoint random index sets, inside a compiled run: `key` and `labels` may be traced.

  Every example is in part k with the same probability sizes[k] / n.

  Args:
    key: a JAX key.
    n: number of examples, static.
    sizes: static sizes of the parts; what is left over of n belongs to none.
    labels: (n,) classes, for a stratified split: every part then holds each class in
      proportion, to within a few examples whatever n is.

  Returns:
    One int32 array (size,) a part, in random order.

  Raises:
    ValueError: if the sizes are negative or exceed n, or the labels have another shape.
  """
  sizes = [int(s) for s in sizes]
  if min(sizes, default=0) < 0 or sum(sizes) > n:
    raise ValueError(f"parts of sizes {sizes} do not fit into {n} examples")
  if labels is None:
    order = jax.random.permutation(key, n)
    return tuple(order[end - s : end] for s, end in zip(sizes, np.cumsum(sizes), strict=True))
  if labels.shape != (n,):
    raise ValueError(f"labels have shape {labels.shape}, not ({n},)")
  order_key, offset_key, *part_keys = jax.random.split(key, 2 + len(sizes))
  shuffled = jax.random.permutation(order_key, n)
  order = shuffled[jnp.argsort(labels[shuffled], stable=True)]  # by class, random within
  # Dealt from a random start: else the middle of the order would always go to the same part.
  order = jnp.roll(order, jax.random.randint(offset_key, (), 0, n))
  positions = _interleave([*sizes, n - sum(sizes)])[: len(sizes)]
  return tuple(
    jax.random.permutation(k, order[p]) for k, p in zip(part_keys, positions, strict=True)
  )


def epoch_batches(key: jax.Array, n: int, batch_size: int) -> jax.Array:
  """Indices of one shuffled epoch, (n // batch_size, batch_size) int32.

  The n mod batch_size examples left over are others in every epoch.

  Raises:
    ValueError: if batch_size is not in 1..n.
  """
  if not 1 <= batch_size <= n:
    raise ValueError(f"a batch of {batch_size} from {n} examples")
  steps = n // batch_size
  return jax.random.permutation(key, n)[: steps * batch_size].reshape(steps, batch_size)


def _count(amount: float | int | None, n: int, what: str) -> int:
  """A fraction in (0, 1), or a whole number of examples, as a number of examples."""
  from lib.experiment.errors import UserError

  if amount is None or amount == 0:
    return 0
  if isinstance(amount, numbers.Integral) and amount > 0:
    return int(amount)
  if isinstance(amount, numbers.Real) and 0 < amount < 1:
    return max(1, round(float(amount) * n))
  raise UserError(
    f"{what} is {amount}: give a fraction between 0 and 1, or a whole number of examples"
  )


def split(
  dataset: Dataset,
  seed: int,
  *,
  validation: float | int | None = 0.1,
  test: float | int | None = 0.2,
  train: float | int | None = None,
  stratified: bool = True,
) -> Dataset:
  """Divides the training split of `dataset` at random into train, validation and test.

  An official test split stays as it is and `test` is then not drawn; likewise an official
  validation split. Runs on the host with NumPy's own generator, so that a split does not
  depend on the version of JAX.

  Args:
    dataset: what `load` returned.
    seed: of the division.
    validation, test, train: a fraction in (0, 1) of the examples there are, or a whole number
      of examples. `train=None` is all that is left; given, the rest is not used.
    stratified: keep the proportions of the classes in every part (classification only).

  Raises:
    UserError: if the parts do not fit, or nothing is left to train on.
  """
  from lib.experiment.errors import UserError

  n = dataset.train.size
  wanted = {}
  if dataset.validation is None:
    wanted["validation"] = _count(validation, n, "validation")
  if dataset.test is None:
    wanted["test"] = _count(test, n, "test")
  held_out = sum(wanted.values())
  wanted["train"] = n - held_out if train is None else _count(train, n, "train")
  if wanted["train"] < 1 or held_out + wanted["train"] > n:
    parts = ", ".join(f"{name} {size}" for name, size in wanted.items())
    raise UserError(f"{dataset.info.name} has {n} examples to divide, too few for {parts}")

  rng = np.random.default_rng(seed)
  order = rng.permutation(n)
  sizes = [*wanted.values(), n - sum(wanted.values())]
  if stratified and dataset.info.task == "classification":
    order = order[np.argsort(dataset.train.targets[order], kind="stable")]
    order = np.roll(order, rng.integers(n))  # see random_split
    positions = _interleave(sizes)
  else:
    positions = np.split(np.arange(n), np.cumsum(sizes)[:-1])
  parts = {}
  for name, where in zip(wanted, positions, strict=False):
    chosen = rng.permutation(order[where])
    parts[name] = Examples(*(x[chosen] for x in dataset.train)) if len(chosen) else None
  return dataset._replace(**parts)

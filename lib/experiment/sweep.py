"""Sweeps: any numeric hyper-parameter and the seed as vmapped axes of one program."""

import csv
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from lib.experiment import configs
from lib.experiment.errors import UserError
from lib.experiment.program import Program, bind

_UNTRACEABLE = (jax.errors.JAXTypeError, jax.errors.JAXIndexError, TypeError, ValueError)


class Axis(NamedTuple):
  """One `--sweep=key=values`."""

  key: str
  values: tuple


def parse(config: ConfigDict, texts: Sequence[str]) -> list[Axis]:
  """Axes from `key=v1,v2,...` or, for integers, `key=start:stop[:step]`.

  Raises:
    UserError: no such key, wrong type, no values, or a key twice.
  """
  axes = []
  for text in texts:
    key, sign, values = text.partition("=")
    if not sign or not values:
      raise UserError(
        f"'--sweep={text}' has no values; write --sweep={key}=v1,v2,v3, or start:stop for "
        "whole numbers."
      )
    default = configs.leaf(config, key)
    if isinstance(default, tuple | list):
      raise UserError(f"'{key}' is a sequence, so it cannot be swept.")
    if isinstance(default, int) and not isinstance(default, bool) and ":" in values:
      bounds = [configs.parse(key, part, default) for part in values.split(":")]
      if len(bounds) > 3 or (len(bounds) == 3 and bounds[2] == 0):
        raise UserError(f"'{values}' is not a range start:stop or start:stop:step.")
      parsed = tuple(range(*bounds))
    else:
      parsed = tuple(configs.parse(key, part, default) for part in values.split(","))
    if not parsed:
      raise UserError(f"'--sweep={text}' has no values.")
    if key in [axis.key for axis in axes]:
      raise UserError(f"'{key}' is swept twice; write its values in one --sweep.")
    axes.append(Axis(key, parsed))
  return axes


def divide(
  program: Program, config: ConfigDict, operands: Any, axes: Sequence[Axis]
) -> tuple[list[Axis], list[Axis]]:
  """(traced, static): the axes that one program takes as numbers, and those it is made for.

  `seed` is traced, other integers and text are static (they set shapes and branches), floats
  are traced unless tracing them fails.
  """
  traced = [a for a in axes if a.key == "seed" or isinstance(a.values[0], float)]
  doubtful = [a for a in traced if a.key != "seed"]
  if doubtful and not _traceable(program, config, operands, traced):
    for axis in doubtful:
      if not _traceable(program, config, operands, [axis]):
        logging.info("%s is compiled once per value: it cannot be traced", axis.key)
        traced.remove(axis)
  return traced, [a for a in axes if a not in traced]


def _traceable(program, config, operands, axes) -> bool:
  def run(values, operands):
    return program(bind(config, values), operands)

  values = {axis.key: np.asarray(axis.values[0]) for axis in axes}
  values = {
    k: v.astype(np.int32 if v.dtype.kind == "i" else np.float32) for k, v in values.items()
  }
  try:
    jax.eval_shape(run, values, operands)
  except _UNTRACEABLE:
    return False
  return True


def run(ctx, program: Program, prepare, config: ConfigDict, axes: Sequence[Axis]) -> dict:
  """All combinations; nested dict of arrays with one leading axis per sweep axis, in order.

  Static axes compile once per value; everything else is one program for each of them.
  """
  first = bind(config, {axis.key: axis.values[0] for axis in axes})
  traced, static = divide(program, first, prepare(first), axes)
  only_static = not traced
  if only_static:  # a program is a batch of members, if only of one
    traced = [Axis("seed", (config.seed,))]
    axes = [*axes, *traced]
  parts = []
  for values in itertools.product(*(axis.values for axis in static)):
    chosen = dict(zip((axis.key for axis in static), values, strict=True))
    bound = bind(config, chosen)
    name = "sweep" + "".join(f" {key}={value}" for key, value in chosen.items())
    parts.append(
      ctx.members(
        name,
        program,
        bound,
        prepare(bound),
        over={axis.key: axis.values for axis in traced},
        tolerate_non_finite=True,
      )
    )
  order = [axis.key for axis in (*static, *traced)]
  lengths = tuple(len(axis.values) for axis in static)
  back = [order.index(axis.key) for axis in axes]

  def join(*leaves):
    if len({leaf.shape for leaf in leaves}) > 1:
      return None  # its shape depends on a static axis
    whole = np.stack(leaves).reshape(*lengths, *leaves[0].shape)
    whole = whole.transpose(*back, *range(len(order), whole.ndim))
    return whole.squeeze(len(order) - 1) if only_static else whole

  flat = [flatten(part) for part in parts]
  shared = [key for key in flat[0] if all(key in part for part in flat)]
  joined = {key: join(*(part[key] for part in flat)) for key in shared}
  dropped = [key for key, value in joined.items() if value is None]
  if dropped:
    logging.warning("left out, since shapes differ between members: %s", ", ".join(dropped))
  from flax import traverse_util  # slow to import, and not needed for --help

  kept = {key: value for key, value in joined.items() if value is not None}
  return traverse_util.unflatten_dict(kept, sep="/")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
  """Nested results with keys joined by "/"."""
  flat = {}
  for key, value in tree.items():
    if isinstance(value, Mapping):
      flat.update(flatten(value, f"{prefix}{key}/"))
    else:
      flat[f"{prefix}{key}"] = np.asarray(value)
  return flat


def rows(axes: Sequence[Axis], results: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
  """One dict a member: the swept values, then every result that is a single number."""
  shape = tuple(len(axis.values) for axis in axes)
  scalars = {k: v for k, v in results.items() if v.shape[: len(shape)] == shape}
  scalars = {k: v for k, v in scalars.items() if v.ndim == len(shape)}
  table = []
  for index in np.ndindex(*shape):
    row = {axis.key: axis.values[i] for axis, i in zip(axes, index, strict=True)}
    row.update({key: value[index].item() for key, value in scalars.items()})
    table.append(row)
  return table


def csv_text(table: Sequence[Mapping[str, Any]]) -> str:
  """The rows as CSV."""
  text = io.StringIO()
  writer = csv.DictWriter(text, fieldnames=list(table[0]), lineterminator="\n")
  writer.writeheader()
  writer.writerows(table)
  return text.getvalue()


def failed(table: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
  """Members of which a number whose name ends in "loss" is not finite."""

  def bad(row):
    return any(
      key.endswith("loss") and isinstance(value, float) and not math.isfinite(value)
      for key, value in row.items()
    )

  return [row for row in table if bad(row)]


def print_summary(axes: Sequence[Axis], table: Sequence[Mapping[str, Any]], console) -> None:
  """Mean and 95 % interval over the seeds for each combination of the other axes."""
  from rich.table import Table

  from lib.metrics import statistics

  others = [axis.key for axis in axes if axis.key != "seed"]
  names = [key for key in table[0] if key not in [axis.key for axis in axes]]
  shown = names[:6]
  console.print("sweep: mean [95 % interval over seeds]", style="italic", markup=False)
  view = Table()
  for key in [*others, "members", *shown]:
    view.add_column(key, overflow="fold")
  groups: dict[tuple, list] = {}
  for row in table:
    groups.setdefault(tuple(row[key] for key in others), []).append(row)
  for values, members in groups.items():
    cells = []
    for name in shown:
      sample = np.array([m[name] for m in members], np.float64)
      sample = sample[np.isfinite(sample)]
      if not len(sample):
        cells.append("not finite")
      elif len(sample) == 1:
        cells.append(f"{sample[0]:.4g}")
      else:
        found = statistics.mean_interval(sample)
        cells.append(f"{found.mean:.4g} [{found.low:.3g}, {found.high:.3g}]")
    view.add_row(*map(str, values), str(len(members)), *cells)
  console.print(view)
  if not names:
    console.print("No result of a member is a single number; measured.npz has the arrays.")
  if len(names) > len(shown):
    console.print(f"{len(names) - len(shown)} more columns are in sweep.csv.")

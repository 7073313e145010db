"""Sensitive attributes of a table: groups of people by columns that a text describes.

A categorical column of a table is columns `name=value` of 0 and 1 (see `Inputs` of
`lib.data.tfds`). An attribute is described by one of
  `race`               a group for each value, of a column of numbers too (at most 20);
  `race=White/Black`   a group for these values each, and one for all others;
  `status=A92|A95`     several values in one group;
  `age>=25`            two groups: no, yes (also >, <=, <).
"""

import operator
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_COMPARISON = re.compile(r"(.+?)(>=|<=|>|<)(.+)")
_MOST = 20


class Attribute(NamedTuple):
  """Groups by one attribute: `codes` (n,) int32, their names, the columns it was made of."""

  codes: np.ndarray
  names: tuple[str, ...]
  columns: tuple[int, ...]


def _column(feature_names: Sequence[str], name: str) -> tuple[list[int], list[str]]:
  """Numbers and values of the columns of a feature; one number and no values if numeric."""
  from lib.experiment.errors import UserError, did_you_mean

  if name in feature_names:
    return [feature_names.index(name)], []
  found = [i for i, f in enumerate(feature_names) if f.startswith(f"{name}=")]
  if not found:
    known = sorted({f.partition("=")[0] for f in feature_names})
    raise UserError(
      f"the table has no column '{name}', only {', '.join(known[:30])}."
      + did_you_mean(name, known)
    )
  return found, [feature_names[i].partition("=")[2] for i in found]


def compare(inputs: np.ndarray, feature_names: Sequence[str], text: str) -> np.ndarray:
  """Which rows fulfil `column>=number` (or >, <=, <): (n, d) -> (n,) bool.

  Raises:
    UserError: the text is no comparison, or of a column that there is not or not of numbers.
  """
  from lib.experiment.errors import UserError

  parts = _COMPARISON.fullmatch(text)
  try:
    limit = float(parts[3])
  except (TypeError, ValueError):
    raise UserError(f"'{text}' is no comparison: write column>=number") from None
  columns, values = _column(feature_names, parts[1])
  if values:
    raise UserError(f"'{text}': {parts[1]} has categories, not numbers")
  return _COMPARISONS[parts[2]](inputs[:, columns[0]], limit)


def attribute(inputs: np.ndarray, feature_names: Sequence[str], text: str) -> Attribute:
  """The groups that a text describes, see above.

  Args:
    inputs: (n, d) table, before any scaling.
    feature_names: d names.
    text: what the attribute is.

  Raises:
    UserError: for a column or a value that there is not, or for more than 20 groups.
  """
  from lib.experiment.errors import UserError, did_you_mean

  if _COMPARISON.fullmatch(text):
    columns, _ = _column(feature_names, _COMPARISON.fullmatch(text)[1])
    codes = compare(inputs, feature_names, text).astype(np.int32)
    return Attribute(codes, (f"not {text}", text), tuple(columns))
  name, equals, wanted = text.partition("=")
  columns, values = _column(feature_names, name)
  if not values:  # numbers
    different = np.unique(inputs[:, columns[0]])
    if equals or len(different) > _MOST:
      raise UserError(
        f"'{text}': {name} has {len(different)} different numbers; make two groups of them by "
        f"'{name}>=number'"
      )
    codes = np.searchsorted(different, inputs[:, columns[0]]).astype(np.int32)
    return Attribute(codes, tuple(f"{name}={v:g}" for v in different), tuple(columns))
  own = inputs[:, columns].argmax(1)
  if not equals:
    if len(values) > _MOST:
      raise UserError(f"'{text}' has {len(values)} values, more than {_MOST} groups")
    return Attribute(
      own.astype(np.int32), tuple(f"{name}={v}" for v in values), tuple(columns)
    )
  groups = [group.split("|") for group in wanted.split("/")]
  for value in (v for group in groups for v in group):
    if value not in values:
      raise UserError(
        f"'{text}': {name} has no value '{value}', only {', '.join(values)}."
        + did_you_mean(value, values)
      )
  of_value = [
    next((g for g, group in enumerate(groups) if value in group), len(groups))
    for value in values
  ]
  names = [f"{name}={'|'.join(group)}" for group in groups]
  if len(groups) in of_value:
    names.append(f"{name}=other")
  return Attribute(np.array(of_value, np.int32)[own], tuple(names), tuple(columns))


def intersect(attributes: Sequence[Attribute]) -> tuple[np.ndarray, tuple[str, ...]]:
  """Every combination of the attributes' groups as one: codes (n,) int32, and their names."""
  codes = np.zeros(len(attributes[0].codes), np.int32)
  names = ("",)
  for one in attributes:
    codes = codes * len(one.names) + one.codes
    names = tuple(f"{a}, {b}" if a else b for a in names for b in one.names)
  return codes, names

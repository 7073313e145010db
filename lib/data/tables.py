"""Tables of numbers and categories with gaps, and their encoding from training rows only.

A `Table` keeps what the columns are: a number stays in its unit, a category is the index of
its name, a missing value is NaN. `encode` makes the matrix that a network takes, with medians,
means and scales of the training rows; many splits are encoded at once, one matrix for each.

>>> import numpy as np
>>> columns = {"age": [30, None, 50], "pet": ["cat", "dog", "?"]}
>>> table = from_columns(columns, ["no", "yes", "yes"])
>>> table.columns
(Column(name='age', categories=()), Column(name='pet', categories=('cat', 'dog')))
>>> encoded = encode(table, np.array([0, 2]), standardise="numbers")
>>> encoded.names
('age', 'pet=cat', 'pet=dog', 'pet=?')
>>> encoded.inputs
array([[-1.,  1.,  0.,  0.],
       [ 0.,  0.,  1.,  0.],
       [ 1.,  0.,  0.,  1.]], dtype=float32)
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lib.data import files
from lib.data.dataset import Dataset

MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "null", "None")  # after stripping blanks
STANDARDISE = ("all", "numbers", "nothing")


@dataclasses.dataclass(frozen=True)
class Column:
  """A column's name and, of a categorical one, the names of its categories in order."""

  name: str
  categories: tuple[str, ...] = ()

  @property
  def numeric(self) -> bool:
    return not self.categories


class Table(NamedTuple):
  """A table of n rows and c columns with a class for each row.

  Attributes:
    values: (n, c) float64: numbers in their units, indices into `categories`, NaN where a
      value is missing.
    targets: (n,) int32 in 0..len(class_names)-1.
    columns: what the columns are.
    class_names: of the targets.
    name: of the table.
    bayes_accuracy: the best expected accuracy, where known.
  """

  values: np.ndarray
  targets: np.ndarray
  columns: tuple[Column, ...]
  class_names: tuple[str, ...]
  name: str = ""
  bayes_accuracy: float | None = None

  @property
  def size(self) -> int:
    return len(self.targets)

  @property
  def numeric(self) -> np.ndarray:
    """(c,) whether each column holds numbers."""
    return np.array([c.numeric for c in self.columns], bool)


class Encoded(NamedTuple):
  """The rows of a table as vectors.

  Attributes:
    inputs: (..., n, d) float32, all rows, with the leading axes of the splits.
    names: d names: of a number its column's, of a category "column=category", and "column=?"
      for a missing one.
    median: (..., numbers) of the training rows, what missing numbers became.
    mean, scale: (..., d): inputs are (x − mean) / scale.
  """

  inputs: np.ndarray
  names: tuple[str, ...]
  median: np.ndarray
  mean: np.ndarray
  scale: np.ndarray


# --- making tables -------------------------------------------------------------------------


def from_columns(
  columns: Mapping[str, Sequence],
  targets: Sequence,
  *,
  categorical: Sequence[str] = (),
  name: str = "",
) -> Table:
  """A table of columns of numbers or text.

  A column is numeric if all that is present in it is a finite number, unless it is named in
  `categorical`. Categories and classes are numbered in the order of their names (numbers in
  the order of their values).

  Args:
    columns: name -> n values; None, NaN and the texts of `MISSING` are missing values.
    targets: n classes, none of them missing.
    categorical: columns of numbers that are categories all the same.
    name: of the table.

  Raises:
    ValueError: columns differ in length, a name in `categorical` is no column, a target is
      missing, a column has nothing in it, or a number is infinite.
  """
  unknown = set(categorical) - set(columns)
  if unknown:
    raise ValueError(f"there is no column {sorted(unknown)[0]!r}")
  if not columns:
    raise ValueError("a table needs at least one column")
  n = len(targets)
  kinds, values = [], []
  for key, raw in columns.items():
    if len(raw) != n:
      raise ValueError(f"column {key!r} has {len(raw)} values for {n} targets")
    cells = [_cell(v) for v in raw]
    present = [c for c in cells if c is not None]
    if not present:
      raise ValueError(f"column {key!r} has no value at all")
    if key not in categorical and all(_is_number(c) for c in present):
      numbers = np.array([np.nan if c is None else float(c) for c in cells])
      if np.isinf(numbers).any():
        raise ValueError(f"column {key!r} has values that are not finite")
      kinds.append(Column(key))
      values.append(numbers)
    else:
      names, codes = _numbered(cells)
      kinds.append(Column(key, names))
      values.append(codes)
  class_names, y = _numbered([_cell(t) for t in targets])
  if np.isnan(y).any():
    raise ValueError(f"the target is missing in {int(np.isnan(y).sum())} rows")
  return Table(np.stack(values, 1), y.astype(np.int32), tuple(kinds), class_names, name)


def _cell(value) -> str | None:
  """The text of a value, or None for a missing one."""
  if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
    return None
  text = str(value).strip()
  return None if text in MISSING else text


def _is_number(text: str) -> bool:
  try:
    float(text)
  except ValueError:
    return False
  return True


def _numbered(cells: Sequence[str | None]) -> tuple[tuple[str, ...], np.ndarray]:
  """The different names in order, and each cell's number, NaN for None."""
  different = {c for c in cells if c is not None}
  numbers = all(_is_number(c) for c in different)
  names = sorted(different, key=(lambda c: (float(c), c)) if numbers else None)
  where = {c: float(i) for i, c in enumerate(names)} | {None: np.nan}
  return tuple(names), np.array([where[c] for c in cells])


def read_csv(
  path: str | os.PathLike,
  target: str,
  *,
  drop: Sequence[str] = (),
  categorical: Sequence[str] = (),
) -> Table:
  """A table from a file of comma, semicolon or tab separated values with a header.

  Args:
    path: of the file.
    target: name of the column with the classes.
    drop: columns to leave out.
    categorical: columns of numbers that are categories.

  Raises:
    UserError: there is no such file or column, or the table has no use (see `from_columns`).
  """
  from lib.experiment.errors import UserError, did_you_mean

  path = pathlib.Path(path).expanduser()
  if not path.is_file():
    raise UserError(f"there is no file {path}")
  header, rows = files.read_csv(path)
  for column in (target, *drop, *categorical):
    if column not in header:
      raise UserError(f"{path} has no column '{column}'.{did_you_mean(column, header)}")
  columns = {
    key: [row[i] for row in rows]
    for i, key in enumerate(header)
    if key != target and key not in drop
  }
  targets = [row[header.index(target)] for row in rows]
  categorical = [c for c in categorical if c in columns]
  try:
    return from_columns(columns, targets, categorical=categorical, name=path.stem)
  except ValueError as error:
    raise UserError(f"{path}: {error}") from None


def from_dataset(dataset: Dataset, columns: int | None = None) -> Table:
  """The training split of a classification set as a table of numbers.

  Args:
    dataset: of `lib.data.load`; images become one column a pixel.
    columns: keep the first so many only.

  Raises:
    ValueError: the set is a regression.
  """
  info, (x, y) = dataset.info, dataset.train
  if info.task != "classification":
    raise ValueError(f"{info.name} is a {info.task}: a table has classes")
  x = np.asarray(x, np.float64).reshape(len(x), -1)[:, :columns]
  names = info.feature_names or tuple(f"x{i}" for i in range(x.shape[1]))
  kept = tuple(Column(name) for name in names[: x.shape[1]])
  return Table(x, y.astype(np.int32), kept, info.class_names, info.name, info.bayes_accuracy)


def load(name: str, folder: str | os.PathLike = ".") -> Table:
  """A table by name, with options as in a web address.

  - "sklearn:wine" and the other classification sets of `lib.data.load`; `columns=5` keeps the
    first five, `rows=300` so many rows, an even stride through the file;
  - "mixed:anything?seed=1&rows=690&numbers=6&...": `generate` with these options;
  - "csv:FILE?target=class&drop=id&categorical=doors": a file below `folder`; lists are
    separated by commas.

  Raises:
    UserError: there is no such source, set, file or option.
  """
  import urllib.parse

  from lib.data.loading import load as load_dataset
  from lib.experiment.errors import UserError

  source, _, rest = name.partition(":")
  rest, _, query = rest.partition("?")
  options = dict(urllib.parse.parse_qsl(query))
  try:
    if source == "sklearn":
      columns, count = (int(options.pop(k, 0)) or None for k in ("columns", "rows"))
      table = from_dataset(load_dataset(f"sklearn:{rest}"), columns)
      if count and count < table.size:
        table = rows(table, np.arange(count) * table.size // count)
    elif source == "mixed":
      numbers = {k: float(v) if "." in v else int(v) for k, v in options.items()}
      options, table = {}, generate(**{"seed": 0, **numbers})
    elif source == "csv":
      lists = {k: options.pop(k, "").split(",") for k in ("drop", "categorical")}
      lists = {k: [v for v in found if v] for k, found in lists.items()}
      target = options.pop("target", "class")
      table = read_csv(pathlib.Path(folder).expanduser() / rest, target, **lists)
    else:
      raise UserError(f"{name!r} names no table: it is sklearn:…, mixed:… or csv:….")
  except (TypeError, ValueError) as error:
    raise UserError(f"table {name!r}: {error}") from None
  if options:
    raise UserError(f"table {name!r} has no option {next(iter(options))!r}.")
  return table._replace(name=rest if source == "mixed" else table.name)


def rows(table: Table, index: np.ndarray) -> Table:
  """The table of some rows, in the order of `index`."""
  return table._replace(values=table.values[index], targets=table.targets[index])


def column(table: Table, name: str) -> tuple[Column, np.ndarray]:
  """A column by name, and its (n,) values: numbers, or indices into its categories.

  Raises:
    KeyError: there is none.
  """
  for i, one in enumerate(table.columns):
    if one.name == name:
      return one, table.values[:, i]
  raise KeyError(name)


# --- splits and encoding -------------------------------------------------------------------


def random_splits(
  seeds: Sequence[int], n: int, sizes: Sequence[int]
) -> tuple[np.ndarray, ...]:
  """Disjoint random row indices, a split for each seed; (seeds, size) a part, in random order.

  Raises:
    ValueError: the sizes exceed n or one is negative.
  """
  if min(sizes) < 0 or sum(sizes) > n:
    raise ValueError(f"parts of {tuple(sizes)} rows do not fit into {n}")
  order = np.stack([np.random.default_rng(seed).permutation(n) for seed in seeds])
  ends = np.cumsum(sizes)
  return tuple(order[:, end - s : end] for s, end in zip(sizes, ends, strict=True))


def encode(table: Table, train: np.ndarray, *, standardise: str = "all") -> Encoded:
  """All rows as vectors, by what the training rows say.

  A number that is missing becomes the median of its column; a category becomes indicators of
  all of the column's categories, with one more for "missing" where the column has gaps
  anywhere; then x -> (x − mean) / scale, the deviation of the training rows (its divisor is
  their number). What does not vary in the training rows is centred and not scaled, so that an
  indicator of a category that they lack is 0 in them.

  Args:
    table: n rows.
    train: (..., m) indices of the training rows, a split for each leading index; or (..., n)
      booleans.
    standardise: "all", "numbers" (indicators stay 0 and 1) or "nothing".

  Returns:
    Inputs (..., n, d). d depends on the table alone, not on the split.

  Raises:
    ValueError: another `standardise`, indices out of range, a split without training rows, or
      a column of numbers without any in the training rows.
  """
  if standardise not in STANDARDISE:
    raise ValueError(f"standardise is {standardise!r}, none of {STANDARDISE}")
  chosen = _mask(np.asarray(train), table.size)
  numeric = table.numeric
  numbers, median = _filled(table.values[:, numeric], chosen)
  parts, names, at = [], [], 0
  for i, one in enumerate(table.columns):
    if one.numeric:
      parts.append(numbers[..., at : at + 1])
      names.append(one.name)
      at += 1
      continue
    codes = table.values[:, i]
    gaps = np.isnan(codes)
    levels = len(one.categories) + bool(gaps.any())
    codes = np.where(gaps, len(one.categories), codes).astype(int)
    indicators = np.eye(levels)[codes]
    parts.append(np.broadcast_to(indicators, (*chosen.shape, levels)))
    names.extend(f"{one.name}={c}" for c in (*one.categories, "?")[:levels])
  x = np.concatenate(parts, -1)
  weights = chosen[..., None] / chosen.sum(-1)[..., None, None]
  mean = (weights * x).sum(-2)
  scale = np.sqrt((weights * (x - mean[..., None, :]) ** 2).sum(-2))
  scale = np.where(scale <= 1e-9 * np.abs(mean), 1.0, scale)
  kept = np.array([standardise == "all" or not _indicator(table, n) for n in names])
  kept &= standardise != "nothing"
  mean, scale = np.where(kept, mean, 0.0), np.where(kept, scale, 1.0)
  inputs = ((x - mean[..., None, :]) / scale[..., None, :]).astype(np.float32)
  return Encoded(inputs, tuple(names), median, mean, scale)


def _indicator(table: Table, name: str) -> bool:
  return not any(c.numeric and c.name == name for c in table.columns)


def _mask(train: np.ndarray, n: int) -> np.ndarray:
  """(..., n) whether a row is one of the training rows."""
  if train.dtype == bool:
    if train.shape[-1:] != (n,):
      raise ValueError(f"a mask of shape {train.shape} for {n} rows")
    chosen = train
  else:
    if train.size and not (train.min() >= 0 and train.max() < n):
      raise ValueError(f"a training row lies outside 0..{n - 1}")
    chosen = np.zeros((*train.shape[:-1], n), bool)
    np.put_along_axis(chosen, train, True, -1)
  if not chosen.any(-1).all():
    raise ValueError("a split has no training rows")
  return chosen


def _filled(x: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Numbers (..., n, k) with gaps filled by medians (..., k) of the chosen rows."""
  seen = np.where(chosen[..., None] & ~np.isnan(x), x, np.inf)
  count = np.isfinite(seen).sum(-2)
  if (count == 0).any():
    raise ValueError("a column of numbers has none in the training rows of a split")
  ordered = np.sort(seen, -2)  # gaps and held-out rows come last

  def ranked(i):
    return np.take_along_axis(ordered, i[..., None, :], -2)[..., 0, :]

  median = 0.5 * (ranked((count - 1) // 2) + ranked(count // 2))
  return np.where(np.isnan(x), median[..., None, :], x), median


# --- generated tables ----------------------------------------------------------------------


class Mixed(NamedTuple):
  """A distribution of mixed-type tables: independent columns given the mode of a class.

  Attributes:
    means: (K, M, numbers), of Gaussians with deviation 1.
    probabilities: (K, M, categorical columns, levels).
    step: numbers are rounded to its multiples, 0: not at all.
    missing: probability that a value is missing, independent of everything.
    flips: probability that a class is replaced by another one.
  """

  means: np.ndarray
  probabilities: np.ndarray
  step: float
  missing: float
  flips: float

  def sample(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """n rows: values (n, numbers + categorical columns) with NaN, and classes (n,)."""
    classes, modes, numbers = self.means.shape
    y, mode = rng.integers(classes, size=n), rng.integers(modes, size=n)
    x = self.means[y, mode] + rng.standard_normal((n, numbers))
    if self.step:
      x = self.step * np.round(x / self.step)
    cumulative = self.probabilities[y, mode].cumsum(-1)
    draws = rng.uniform(size=cumulative.shape[:-1])[..., None]
    codes = np.minimum((draws > cumulative).sum(-1), cumulative.shape[-1] - 1)
    values = np.concatenate([x, codes], 1)
    values[rng.uniform(size=values.shape) < self.missing] = np.nan
    other = (y + rng.integers(1, classes, size=n)) % classes
    return values, np.where(rng.uniform(size=n) < self.flips, other, y)

  def posterior(self, values: np.ndarray) -> np.ndarray:
    """The exact P(class | row), (n, K); missing values say nothing."""
    from scipy import special

    classes, _, numbers = self.means.shape
    x = values[:, None, None, :numbers]
    if self.step:  # the probability of the interval that is rounded to x
      upper, lower = (x + s * self.step / 2 - self.means for s in (1, -1))
      # by the tail that it lies in, where differences of Φ would be rounded to 0
      flip = lower + upper > 0
      lower, upper = np.where(flip, -upper, lower), np.where(flip, -lower, upper)
      log = np.log(np.maximum(special.ndtr(upper) - special.ndtr(lower), 1e-300))
    else:
      log = -0.5 * (x - self.means) ** 2
    total = np.where(np.isnan(x), 0.0, log).sum(-1)
    codes = values[:, numbers:]
    for j in range(codes.shape[1]):
      known = np.where(np.isnan(codes[:, j]), 0, codes[:, j]).astype(int)
      each = np.log(np.moveaxis(self.probabilities[:, :, j], -1, 0))[known]
      total += np.where(np.isnan(codes[:, j])[:, None, None], 0.0, each)
    given = special.softmax(special.logsumexp(total, 2), 1)
    return (1 - self.flips) * given + self.flips * (1 - given) / (classes - 1)


def mixed(
  seed: int,
  difficulty: float = 0.5,
  *,
  numbers: int = 6,
  categorical: int = 9,
  classes: int = 2,
  modes: int = 2,
  levels: int = 4,
  step: float = 0.5,
  missing: float = 0.02,
  flips: float = 0.08,
) -> Mixed:
  """A random distribution of mixed-type tables.

  Each class has M modes. With a = 1 − `difficulty`, the mean of a number in a mode is a times
  a N(0, 1) draw, and the probabilities of a column's categories are the softmax of 2a times
  N(0, 1) draws: at difficulty 1 columns would say nothing of the class. More columns make it
  easier; `flips` bounds the accuracy by 1 − flips.

  Args:
    seed: of the distribution.
    difficulty: in [0, 1).
    numbers, categorical: how many columns of each kind.
    classes, modes, levels: K, M and the categories of a column.
    step: of the grid that numbers are rounded to; their deviation in a mode is 1.
    missing, flips: probabilities, see `Mixed`.

  Raises:
    ValueError: a number is out of range.
  """
  if not 0 <= difficulty < 1:
    raise ValueError(f"difficulty is {difficulty}, outside [0, 1)")
  if not (0 <= missing < 1 and 0 <= flips < 1 - 1 / classes and step >= 0):
    raise ValueError("needs 0 <= missing < 1, 0 <= flips < 1 - 1/classes and step >= 0")
  if min(numbers, categorical) < 0 or numbers + categorical < 1:
    raise ValueError("a table needs at least one column")
  if classes < 2 or modes < 1 or levels < 2:
    raise ValueError("needs classes >= 2, modes >= 1 and levels >= 2")
  from scipy import special

  rng = np.random.default_rng([seed, 7])
  clear = 1 - difficulty
  means = clear * rng.standard_normal((classes, modes, numbers))
  logits = 2 * clear * rng.standard_normal((classes, modes, categorical, levels))
  return Mixed(means, special.softmax(logits, -1), step, missing, flips)


def generate(seed: int, rows: int = 300, difficulty: float = 0.5, **options) -> Table:
  """A table drawn from `mixed(seed, difficulty, **options)`.

  Columns are number0, ..., category0, ...; `bayes_accuracy` is the mean of the largest
  posterior over 20,000 other draws (± 0.003).

  Raises:
    ValueError: a number is out of range.
  """
  if rows < 1 or seed < 0:
    raise ValueError(f"rows {rows} or seed {seed} is out of range")
  source = mixed(seed, difficulty, **options)
  classes, _, numbers = source.means.shape
  _, _, categorical, levels = source.probabilities.shape
  letters = "abcdefghijklmnopqrstuvwxyz"
  names = tuple(letters[i % 26] + str(i // 26 or "") for i in range(levels))
  columns = tuple(Column(f"number{i}") for i in range(numbers))
  columns += tuple(Column(f"category{i}", names) for i in range(categorical))
  values, y = source.sample(np.random.default_rng([seed, 0]), rows)
  others, _ = source.sample(np.random.default_rng([seed, 8]), 20_000)
  return Table(
    values,
    y.astype(np.int32),
    columns,
    tuple(str(c) for c in range(classes)),
    f"mixed{seed}",
    float(source.posterior(others).max(1).mean()),
  )

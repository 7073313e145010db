"""The single entry: a data set by name and source."""

import difflib
import inspect
import os
import urllib.parse

from lib.data import scikit, synthetic, tfds
from lib.data.dataset import Dataset, replace_info

SOURCES = ("sklearn", "synthetic", "tfds")


def names() -> tuple[str, ...]:
  """Names that `load` knows without looking at the disk; any set in TFDS's format works
  too.
  """
  return (
    *(f"sklearn:{n}" for n in scikit.NAMES),
    *(f"synthetic:{n}" for n in synthetic.GENERATORS),
    *(f"tfds:{n}" for n in tfds.KNOWN),
  )


def load_images(name: str, **options) -> Dataset:
  """`load` for a set of images with classes.

  Raises:
    UserError: it is of another kind; or as `load`.
  """
  from lib.experiment.errors import UserError

  found = load(name, **options)
  if found.info.task != "classification" or len(found.info.input_shape) != 3:
    raise UserError(f"dataset is '{name}', but this project needs classes of images.")
  return found


def load(name: str, *, data_dir: str | os.PathLike | None = None, **options) -> Dataset:
  """Loads a data set.

  Args:
    name: one of
      `sklearn:digits` (iris, wine, breast_cancer, diabetes), or one column of a table as
      `sklearn:diabetes/bmi`;
      `tfds:mnist` (kmnist, fashion_mnist, svhn_cropped, cifar10, cifar100, and any other set
      of images or of a table that lies in the data directory in TFDS's format), with
      `tfds:name/config` and `tfds:name:version` as in TFDS;
      `synthetic:two_moons` and the other generators, with options as in a web address:
      `synthetic:two_moons?difficulty=0.4&seed=3`.
    data_dir: where TFDS sets lie; by default `lib.data.data_dir()`.
    **options: of a generator; they win over those in the name.

  Returns:
    A `Dataset`. Images are integers (n, height, width, channels): `scale` makes them real.
    Class labels are int32, real targets float32.

  Raises:
    UserError: for an unknown name (the nearest is suggested), an unknown option, or a set that
      is not on disk (the message has the commands that get it).
  """
  from lib.experiment.errors import UserError, did_you_mean

  source, colon, rest = str(name).partition(":")
  if not colon or source not in SOURCES or not rest:
    plain = rest if colon else name
    known = names()
    exact = [k for k in known if k.partition(":")[2] == plain]
    hint = f" Did you mean '{exact[0]}'?" if exact else did_you_mean(name, known)
    raise UserError(
      f"{name!r} names no data set: a name is sklearn:…, tfds:… or synthetic:…, for example "
      f"'sklearn:digits' or 'tfds:mnist'.{hint}"
    )
  rest, _, query = rest.partition("?")
  options = {**_parse_options(name, query), **options}
  if source == "synthetic":
    return _load_synthetic(name, rest, options)
  if options:
    raise UserError(f"{source}: sets take no options, but {name!r} has {', '.join(options)}")
  if source == "sklearn":
    return scikit.load_scikit(*rest.split("/", 1))
  return tfds.load_tfds(rest, data_dir)


def _parse_options(name: str, query: str) -> dict:
  from lib.experiment.errors import UserError

  options = {}
  try:
    pairs = urllib.parse.parse_qsl(query, strict_parsing=True) if query else []
    for key, text in pairs:
      try:
        options[key] = int(text)
      except ValueError:
        options[key] = float(text)
  except ValueError:
    raise UserError(
      f"the options in {name!r} cannot be read: write name?option=number&option=number"
    ) from None
  return options


def _load_synthetic(name: str, generator: str, options: dict) -> Dataset:
  from lib.experiment.errors import UserError, did_you_mean

  if generator not in synthetic.GENERATORS:
    raise UserError(
      f"there is no generator 'synthetic:{generator}', only "
      f"{', '.join(synthetic.GENERATORS)}." + did_you_mean(generator, synthetic.GENERATORS)
    )
  known = [
    *list(inspect.signature(synthetic.generate).parameters)[1:-1],
    *list(inspect.signature(synthetic.GENERATORS[generator]).parameters)[1:],
  ]
  for key in options:
    if key not in known:
      near = difflib.get_close_matches(key, known, n=1)
      hint = f" Did you mean '{near[0]}'?" if near else ""
      raise UserError(
        f"'synthetic:{generator}' has no option {key!r}, only {', '.join(known)}.{hint}"
      )
  try:
    dataset = synthetic.generate(generator, **options)
  except ValueError as error:
    raise UserError(f"'synthetic:{generator}': {error}") from None
  return replace_info(dataset, name=name)

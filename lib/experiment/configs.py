"""Config files and overrides, checked before anything is run."""

import ast
import importlib.util
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from lib.experiment.errors import UserError, did_you_mean

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_TYPES = {bool: "true or false", int: "an integer", float: "a number", str: "text"}


def load(spec: str) -> ConfigDict:
  """The config of `path/to/config.py[:preset]`.

  A relative path is looked up from the working directory, then from the repository.

  Raises:
    UserError: no such file, no `get_config` in it, or no such preset.
  """
  path, _, preset = spec.partition(":")
  file = next((p for p in (pathlib.Path(path), _ROOT / path) if p.is_file()), None)
  if file is None:
    known = [str(p.relative_to(_ROOT)) for p in (_ROOT / "configs").glob("[!_]*.py")]
    meant = did_you_mean(f"configs/{pathlib.Path(path).stem}.py", known)
    raise UserError(f"There is no config file '{path}'.{meant}")
  module_spec = importlib.util.spec_from_file_location(f"_config_{file.stem}", file)
  module = importlib.util.module_from_spec(module_spec)
  module_spec.loader.exec_module(module)
  if not hasattr(module, "get_config"):
    raise UserError(
      f"'{path}' has no function get_config(preset), so it is not a config file."
    )
  return module.get_config(preset or "default")


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Dotted key -> leaf."""
  flat = {}
  for key, value in config.items():
    if isinstance(value, Mapping | ConfigDict):
      flat.update(flatten(value, f"{prefix}{key}."))
    else:
      flat[f"{prefix}{key}"] = value
  return flat


def override(config: ConfigDict, overrides: Sequence[tuple[str, str]]) -> ConfigDict:
  """The config with `key=text` overrides, each parsed as the type of the value it replaces.

  Raises:
    UserError: a key does not exist (the nearest is suggested) or a value has another type.
  """
  for key, text in overrides:
    value = parse(key, text, leaf(config, key))
    node = config
    *path, last = key.split(".")
    for part in path:
      node = node[part]
    node[last] = value
  return config


def leaf(config: ConfigDict, key: str) -> Any:
  """The value at a dotted key.

  Raises:
    UserError: there is none; the nearest key is suggested.
  """
  flat = flatten(config)
  if key not in flat:
    raise UserError(f"The config has no key '{key}'.{did_you_mean(key, flat)}")
  return flat[key]


def at_least(config: ConfigDict, limit: float, *keys: str) -> None:
  """Refuses numbers at these dotted keys that are below the limit, or are not finite.

  Swept numbers, which are tracers, pass.

  Raises:
    UserError: one is; of the first of them.
  """
  for key in keys:
    value = leaf(config, key)
    if isinstance(value, int | float) and not limit <= value < math.inf:
      raise UserError(f"{key} is {value}; it must be at least {limit:g}.")


def parse(key: str, text: str, default: Any) -> Any:
  """Text as a value of the default's type.

  Tuples are written `1,2,3` or `(1, 2, 3)`; a default of None takes any Python literal or,
  failing that, text.

  Raises:
    UserError: the text is not of that type.
  """
  try:
    if isinstance(default, bool):
      return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    if isinstance(default, int):
      return int(text)
    if isinstance(default, float):
      return float(text)
    if isinstance(default, str):
      return text
    if isinstance(default, tuple | list):
      found = ast.literal_eval(text if text.strip()[:1] in ("(", "[") else f"({text},)")
      if default and not all(_alike(item, default[0]) for item in found):
        raise ValueError
      kind = type(default)
      return kind(float(i) if default and isinstance(default[0], float) else i for i in found)
    try:
      return ast.literal_eval(text)
    except (ValueError, SyntaxError):
      return text
  except (ValueError, KeyError, SyntaxError, TypeError) as error:
    if isinstance(default, tuple | list) and default:
      wanted = f"values separated by commas, each {_TYPES.get(type(default[0]), 'alike')}"
    else:
      wanted = _TYPES.get(type(default), f"a value like {default!r}")
    raise UserError(
      f"'{key}' takes {wanted}, not '{text}' (it is {default!r} now)."
    ) from error


def _alike(item: Any, like: Any) -> bool:
  if isinstance(like, float):
    return isinstance(item, int | float) and not isinstance(item, bool)
  return isinstance(item, type(like))


def as_json(config: ConfigDict) -> dict[str, Any]:
  """The config as JSON holds it (tuples become lists)."""
  return json.loads(json.dumps(config.to_dict()))

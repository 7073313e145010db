"""Presets: named sets of overrides in one config file."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from lib.experiment.errors import UserError, did_you_mean


def apply(
  config: ConfigDict, preset: str, presets: Mapping[str, Mapping[str, Any]]
) -> ConfigDict:
  """The default config with the preset's overrides applied and its name recorded.

  Args:
    config: the default preset.
    preset: "default" or a key of `presets`.
    presets: for each preset, dotted keys and the values that replace the default's.

  Raises:
    UserError: the preset does not exist.
    KeyError: a preset overrides a key that the default does not have.
  """
  if preset != "default" and preset not in presets:
    known = ["default", *presets]
    raise UserError(
      f"Unknown preset '{preset}'; this config has {', '.join(known)}."
      + did_you_mean(preset, known)
    )
  for key, value in presets.get(preset, {}).items():
    node = config
    *path, leaf = key.split(".")
    for part in path:
      node = node[part]
    if leaf not in node:
      raise KeyError(f"preset '{preset}' overrides '{key}', which the default does not have")
    node[leaf] = value
  config.preset = preset
  config.lock()
  return config

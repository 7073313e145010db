"""The list of commands, and that each of them says how it is used."""

import importlib

import pytest

from launch.__main__ import commands

NAMES = ("import_data", "new_project", "notebooks", "report", "reproduce", "sweep")


def test_all_commands_are_listed_with_a_line():
  found = commands()
  assert set(NAMES) <= set(found)
  assert all(20 < len(line) < 100 for line in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_help_says_how_to_use_it(name, capsys):
  with pytest.raises(SystemExit) as stopped:
    importlib.import_module(f"launch.{name}").main(["--help"])
  assert stopped.value.code == 0
  assert f"python -m launch.{name}" in capsys.readouterr().out

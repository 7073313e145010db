"""Where data sets lie on disk."""

import os
import pathlib


def data_dir(path: str | os.PathLike | None = None) -> pathlib.Path:
  """The first that is given: `path`, $ANSATZ_DATA_DIR, $TFDS_DATA_DIR, ~/tensorflow_datasets.

  The last is TFDS's own default, so a set that TFDS prepared is found without being told.
  """
  given = (
    path
    or os.environ.get("ANSATZ_DATA_DIR")
    or os.environ.get("TFDS_DATA_DIR")
    or "~/tensorflow_datasets"
  )
  return pathlib.Path(given).expanduser()

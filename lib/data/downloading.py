"""Fetches the official files of a known set, checked against the checksums that TFDS records.

TFDS's own `download_and_prepare` needs TensorFlow to write what it has downloaded; this, with
`lib.data.writing`, does not.
"""

import hashlib
import importlib.resources
import pathlib
import urllib.parse
import urllib.request
from typing import NamedTuple

from lib.data import progress, tfds
from lib.experiment.errors import UserError

_SKIP = ("extra_32x32.mat",)  # 1.3 GB of SVHN that no experiment here trains on


class Source(NamedTuple):
  """A file that can be fetched: its address, size in bytes and checksum."""

  url: str
  size: int
  sha256: str


def sources(name: str) -> list[Source]:
  """Addresses of a known set's files, from the tables that ship with TFDS.

  Raises:
    UserError: for a set that is not known.
  """
  if name not in tfds.KNOWN:
    raise UserError(
      f"only {', '.join(tfds.KNOWN)} can be fetched, not '{name}': give its files"
    )
  package = importlib.resources.files("tensorflow_datasets")
  for table in (
    package / "url_checksums" / f"{name}.txt",
    package / "datasets" / name / "checksums.tsv",
  ):
    if table.is_file():
      rows = [
        line.split("\t") for line in table.read_text("utf-8").splitlines() if line.strip()
      ]
      found = [Source(row[0], int(row[1]), row[2]) for row in rows]
      return [s for s in found if not s.url.endswith(_SKIP)]
  raise UserError(f"this version of TFDS has no addresses for '{name}': give its files")


def download(name: str, folder: pathlib.Path) -> list[pathlib.Path]:
  """Fetches the files of a known set into `folder`.

  Raises:
    UserError: if a file cannot be fetched, or is not the one that TFDS knows.
  """
  paths = []
  for source in sources(name):
    path = folder / urllib.parse.urlsplit(source.url).path.rpartition("/")[2]
    digest = hashlib.sha256()
    try:
      with (
        urllib.request.urlopen(source.url, timeout=60) as stream,
        path.open("wb") as file,
        progress.track(f"fetching {path.name}", source.size) as advance,
      ):
        while block := stream.read(1 << 18):
          digest.update(block)
          file.write(block)
          advance(len(block))
    except OSError as error:
      reason = getattr(error, "reason", error)
      raise UserError(
        f"{source.url} cannot be fetched ({reason}): get it another way, then "
        f"`python -m launch.import_data {name} FILES`"
      ) from error
    if digest.hexdigest() != source.sha256:
      raise UserError(f"{source.url} is not the file it was: its checksum differs from TFDS's")
    paths.append(path)
  return paths

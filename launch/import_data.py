"""Brings your own files into the data directory, in the format that `tfds:NAME` reads.

  python -m launch.import_data mnist mnist.npz          x_train, y_train, x_test, y_test
  python -m launch.import_data mnist *-ubyte.gz         idx files, packed or not
  python -m launch.import_data cifar10 images.tar.xz    split/class/image.png, or its folder
  python -m launch.import_data cifar10 cifar-10-binary.tar.gz
  python -m launch.import_data svhn_cropped train_32x32.mat test_32x32.mat
  python -m launch.import_data wages wages.csv --target=income
  python -m launch.import_data german german.csv        adult, compas: columns known by name
  python -m launch.import_data mnist --download         with internet: the official files

Everything is read back and compared before it is put in place. Needs no TensorFlow.
"""

import sys

from launch.command_line import Parser, mistakes_in_one_line


def _parser() -> Parser:
  parser = Parser("launch.import_data", __doc__)
  parser.add_argument("name", metavar="NAME", help="of the set: mnist, cifar10, … or your own")
  parser.add_argument("files", metavar="FILES", nargs="*", help="files or a folder")
  parser.add_argument(
    "--download", action="store_true", help="fetch the official files of a known set instead"
  )
  parser.add_argument(
    "--data_dir",
    help="where to put it (default: $ANSATZ_DATA_DIR, $TFDS_DATA_DIR, ~/tensorflow_datasets)",
  )
  parser.add_argument("--target", help="csv: the column to predict")
  parser.add_argument(
    "--drop", default="", help="csv: columns to leave out, with commas between"
  )
  parser.add_argument("--keep", default="", help="csv: the columns to take, by default all")
  parser.add_argument(
    "--missing",
    choices=("error", "drop", "category"),
    help="csv: what to do about missing values: leave the row out, or make them a category",
  )
  parser.add_argument(
    "--task",
    choices=("auto", "classification", "regression"),
    default="auto",
    help="of a table; auto: classes, unless the target has fractions or more than 50 values",
  )
  parser.add_argument("--force", action="store_true", help="replace a set that is there")
  return parser


@mistakes_in_one_line
def main(argv=None) -> int:
  """Parses the command line and imports; returns the exit status."""
  parser = _parser()
  arguments = parser.parse_args(argv)
  if arguments.download == bool(arguments.files):
    parser.error("give either FILES or --download")
  try:
    from lib.data.writing import import_files

    report = import_files(
      arguments.name,
      arguments.files,
      data_dir=arguments.data_dir,
      target=arguments.target,
      drop=[c.strip() for c in arguments.drop.split(",") if c.strip()],
      keep=[c.strip() for c in arguments.keep.split(",") if c.strip()],
      missing=arguments.missing,
      task=arguments.task,
      force=arguments.force,
    )
  except KeyboardInterrupt:
    print("interrupted; nothing was changed", file=sys.stderr)
    return 130
  print(report.folder)
  for line in report.lines:
    print(f"  {line}")
  for warning in report.warnings:
    print(f"  warning: {warning}")
  print(
    f"  every example read back as it was; use it as --config.dataset=tfds:{arguments.name}"
  )
  return 0


if __name__ == "__main__":
  sys.exit(main())

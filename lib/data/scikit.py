"""Real sets that ship with scikit-learn: no network, nothing on disk to look for."""

import numpy as np

from lib.data.dataset import Dataset, Examples, Info

NAMES = ("breast_cancer", "diabetes", "digits", "iris", "wine")


def load_scikit(name: str, feature: str | None = None) -> Dataset:
  """`sklearn:name`, or `sklearn:name/feature` for one column of a table.

  Everything is in `train`: none of these sets has an official split. Digits come as integer
  images (1797, 8, 8, 1) of 0..16 (`scale` or `normalise` makes them real); the others as
  float32 tables in the units of their source, so that `normalise` is what standardises them.
  The diabetes features are the raw ones, not scikit-learn's, which were standardised over all
  442 patients and so leak the test split into the training split.

  Raises:
    UserError: for a set or a feature that does not exist.
  """
  from sklearn import datasets

  from lib.experiment.errors import UserError, did_you_mean

  if name not in NAMES:
    raise UserError(
      f"there is no data set 'sklearn:{name}', only {', '.join(NAMES)}."
      + did_you_mean(name, NAMES)
    )
  raw = datasets.load_diabetes(scaled=False) if name == "diabetes" else None
  raw = raw or getattr(datasets, f"load_{name}")()
  regression = name == "diabetes"
  features = tuple(str(f).replace(" (cm)", "") for f in raw.feature_names)
  classes = () if regression else tuple(str(c) for c in raw.target_names)
  if name == "digits":
    if feature is not None:
      raise UserError(
        "'sklearn:digits' holds images, not named features: leave out the '/...'"
      )
    inputs, features, maximum = raw.images.astype(np.uint8)[..., None], (), 16
  else:
    inputs, maximum = raw.data.astype(np.float32), None
  if feature is not None:
    if feature not in features:
      raise UserError(
        f"'sklearn:{name}' has no feature {feature!r}, only {', '.join(features)}."
        + did_you_mean(feature, features)
      )
    inputs = inputs[:, [features.index(feature)]]
    features = (feature,)
  return Dataset(
    Examples(inputs, raw.target.astype(np.float32 if regression else np.int32)),
    None,
    None,
    Info(
      name=f"sklearn:{name}" + (f"/{feature}" if feature else ""),
      task="regression" if regression else "classification",
      input_shape=inputs.shape[1:],
      num_classes=len(classes),
      class_names=classes,
      feature_names=features,
      maximum=maximum,
      target_name="progression" if regression else "label",
    ),
  )

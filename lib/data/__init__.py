"""Data sets by name and source, their splits, and normalisation without leaks.

```
data = lib.data.load("sklearn:digits")           # or tfds:mnist, synthetic:two_moons, ...
data = lib.data.flatten(lib.data.scale(data))    # integer images -> [0, 1], as vectors
data = lib.data.split(data, seed=0, validation=0.1, test=0.2)
data, statistics = lib.data.normalise(data)      # statistics of data.train only
data.train.inputs, data.train.targets, data.info.num_classes
```

On the device, inside a compiled run: `random_split`, `epoch_batches`. Tables of numbers and
categories with missing values: `lib.data.tables`.
"""

from lib.data.dataset import Dataset, Examples, Info, flatten, scale
from lib.data.loading import load, load_images, names
from lib.data.normalisation import Statistics, normalise
from lib.data.places import data_dir
from lib.data.splitting import epoch_batches, random_split, split
from lib.data.synthetic import GENERATORS

__all__ = [
  "GENERATORS",
  "Dataset",
  "Examples",
  "Info",
  "Statistics",
  "data_dir",
  "epoch_batches",
  "flatten",
  "load",
  "load_images",
  "names",
  "normalise",
  "random_split",
  "scale",
  "split",
]

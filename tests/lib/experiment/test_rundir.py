"""Arrays come back from disk as the nested dict that they were."""

import numpy as np
import pytest

from lib.experiment import rundir


def test_arrays_come_back_with_their_nesting(tmp_path):
  tree = {"a": {"b@0.1,2": np.arange(3), "c": np.array(["text"])}, "d": np.float32(1.5)}
  back = rundir.load_arrays(rundir.save_arrays(tmp_path / "x.npz", tree))
  assert back.keys() == tree.keys() and back["a"].keys() == tree["a"].keys()
  np.testing.assert_array_equal(back["a"]["b@0.1,2"], [0, 1, 2])
  assert back["a"]["c"][0] == "text" and back["d"] == np.float32(1.5)


@pytest.mark.parametrize("tree", [{"a/b": np.ones(1)}, {"x": {"a/b": np.ones(1)}}])
def test_a_name_that_would_come_back_as_two_levels_is_refused(tmp_path, tree):
  with pytest.raises(ValueError, match="'a/b' must not have a '/'"):
    rundir.save_arrays(tmp_path / "x.npz", tree)

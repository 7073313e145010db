"""Signatures written in the air: the printed equations, what is repeated, and difficulty."""

import numpy as np
import pytest

from lib import data
from lib.data import signatures, synthetic


def test_resample_and_normalise_by_hand():
  series = np.array([0.0, 1.0, 4.0, 2.0])[None, :, None]
  # eq. 38 with I = 4, I' = 8: j I/I' = 0, ½, 1, …, 3½; the last is held
  found = signatures.resample(series, 8)[0, :, 0]
  np.testing.assert_allclose(found, [0, 0.5, 1, 2.5, 4, 3, 2, 2])
  np.testing.assert_allclose(signatures.normalise(series)[0, :, 0], [0, 0.25, 1, 0.5])
  np.testing.assert_allclose(signatures.normalise(np.ones((1, 5, 2))), 0)


def test_velocities_of_uniform_motion():
  positions = np.arange(10.0)[None, :, None] * np.array([1.0, -2.0, 0.5])
  expected = np.broadcast_to([100.0, -200.0, 50.0], (1, 10, 3))
  np.testing.assert_allclose(signatures.velocities(positions), expected)


def test_without_difficulty_a_writer_repeats_exactly():
  rng = np.random.default_rng(0)
  curve, styles = signatures.template(rng), signatures.styles(rng, 2)
  first, second = (
    signatures.features(signatures.write(rng, curve, styles, 0.0)) for _ in range(2)
  )
  np.testing.assert_allclose(first, second, atol=1e-9)  # place and size do not count
  assert np.abs(first[0] - first[1]).max() > 0.05
  assert first.shape == (2, 128)


def test_difficulty_and_copying_bring_classes_together():
  rng = np.random.default_rng(1)
  curve = signatures.template(rng)
  target, own = signatures.styles(rng, 1), signatures.styles(rng, 200)

  def ratio(difficulty, copied):
    """Distance of impostors from a genuine one over that of genuine ones."""
    others = signatures.imitation(own, target, copied)
    written = [
      signatures.features(signatures.write(rng, curve, style, difficulty))
      for style in (np.repeat(target, 200, 0), others)
    ]
    genuine = np.linalg.norm(written[0][1:] - written[0][:1], axis=1).mean()
    return np.linalg.norm(written[1] - written[0][:1], axis=1).mean() / genuine

  assert ratio(0.3, 0.0) > ratio(0.8, 0.0) > 1.0
  assert ratio(0.5, 0.0) > ratio(0.5, 0.8)
  np.testing.assert_allclose(signatures.imitation(own, target, 1.0) - target, 0)


def test_tasks():
  banana = data.load("synthetic:banana?n_train=400&n_test=100")
  assert banana.train.inputs.shape == (400, 2) and banana.info.num_classes == 2
  assert 0.9 < synthetic.banana(0, 0.4).bayes < 1
  found = data.load("synthetic:aerial_signatures?n_train=50&n_test=20&points=16")
  assert found.train.inputs.shape == (50, 64)
  assert set(np.unique(found.train.targets)) == {0, 1}
  with pytest.raises(ValueError, match="copied"):
    synthetic.aerial_signatures(0, copied=1.0)

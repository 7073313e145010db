"""Corruptions against scipy, Pillow and colorsys; severities; corruption errors by hand."""

import colorsys
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from lib import data
from lib.robustness import corruptions

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def images():
  found = data.load(
    "synthetic:affine_glyphs?colour=1&size=32&n_train=24&n_test=0&difficulty=0.3"
  )
  return jnp.asarray(data.scale(found).train.inputs)


@pytest.mark.parametrize("family", corruptions.FAMILIES)
def test_every_family_at_both_ends(family, images):
  """In [0, 1], the same for the same key, grey images too, and stronger at severity 5.

  (Saturation goes down at severity 1 and up at 5; elastic's severities trade its two parts.)
  """
  corrupt = jax.jit(corruptions.corrupt, static_argnums=(0, 3))
  ends = [np.asarray(corrupt(family, KEY, images, severity)) for severity in (1, 5)]
  for found in ends:
    assert found.shape == images.shape and found.min() >= 0 and found.max() <= 1
  np.testing.assert_array_equal(ends[0], corrupt(family, KEY, images, 1))
  weak, strong = (np.abs(found - images).mean() for found in ends)
  assert strong > 0.003
  if family not in ("saturate", "elastic"):
    assert strong > weak
  grey = corruptions.corrupt(family, KEY, images[:2, :, :, :1], 5)
  assert grey.shape == (2, 32, 32, 1) and np.all(np.isfinite(grey))


def test_noises_have_the_stated_moments():
  x = jnp.full((40, 32, 32, 3), 0.4)
  noise = corruptions.gaussian_noise(KEY, x, 0.1) - x
  np.testing.assert_allclose([noise.mean(), noise.std()], [0, 0.1], atol=2e-3)
  shot = corruptions.shot_noise(KEY, x, 50)
  np.testing.assert_allclose([shot.mean(), shot.var()], [0.4, 0.4 / 50], rtol=0.03)
  speckle = corruptions.speckle_noise(KEY, x, 0.2)
  np.testing.assert_allclose([speckle.mean(), speckle.std()], [0.4, 0.08], rtol=0.02)
  impulse = corruptions.impulse_noise(KEY, x, 0.1)
  shares = [np.mean(impulse == 0), np.mean(impulse == 1), np.mean(impulse == x)]
  np.testing.assert_allclose(shares, [0.05, 0.05, 0.9], atol=5e-3)


def test_gaussian_filter_is_scipy_s(images):
  for sigma in (0.4, 1.0):
    expected = ndimage.gaussian_filter(
      np.asarray(images, np.float64), (0, sigma, sigma, 0), mode="nearest", truncate=4.0
    )
    np.testing.assert_allclose(corruptions.gaussian_filter(images, sigma), expected, atol=1e-5)


@pytest.mark.parametrize(
  "family", ["defocus_blur", "motion_blur", "zoom_blur", "gaussian_blur"]
)
def test_blurs_keep_a_constant_image(family):
  x = jnp.full((2, 32, 32, 3), 0.3)
  for severity in (1, 5):
    np.testing.assert_allclose(corruptions.corrupt(family, KEY, x, severity), x, atol=1e-5)


def test_motion_streaks_to_one_side():
  """A point becomes a streak within ±45° of the horizontal, with all of its weight."""
  x = jnp.zeros((50, 33, 33, 1)).at[:, 16, 16].set(1.0)
  found = np.asarray(corruptions.motion_blur(KEY, x, 9, 2.5))[..., 0]
  np.testing.assert_allclose(found.sum((1, 2)), 1, rtol=1e-4)
  rows, columns = np.meshgrid(np.arange(33) - 16, np.arange(33) - 16, indexing="ij")
  slopes = (found * rows).sum((1, 2)) / (found * columns).sum((1, 2))
  assert np.all(np.abs(slopes) <= 1.0) and slopes.std() > 0.3
  assert np.all((found * np.maximum(columns, 0)).sum((1, 2)) < 1e-5) or np.all(
    (found * np.minimum(columns, 0)).sum((1, 2)) > -1e-5
  )


def test_snow_by_hand():
  """Without flakes the image is paler; flakes keep their weight and come in opposite pairs."""
  x = jnp.full((4, 33, 33, 3), 0.4)
  paler = corruptions.snow(KEY, x, -9.0, 0.1, 1, 0.5, 8, 3, 0.95)
  np.testing.assert_allclose(paler, 0.95 * 0.4 + 0.05 * (1.5 * 0.4 + 0.5), rtol=1e-5)
  found = corruptions.snow(KEY, x, 0.3, 0.3, 1.25, 0.65, 14, 12, 0.95) - paler
  np.testing.assert_allclose(found, found[:, ::-1, ::-1], atol=1e-6)
  assert found.min() > -1e-6 and np.all(found[..., 0] == found[..., 1])
  # a flake becomes a streak that is longer than wide: rows are alike, columns differ
  assert np.abs(np.diff(found, axis=1)).mean() < np.abs(np.diff(found, axis=2)).mean()
  # mean of N(0.3, 0.3²) beyond 0.65, twice: 2 (0.3 Φ(−z) + 0.3 φ(z)), z = 0.35/0.3
  flat = corruptions.snow(KEY, jnp.full((9, 90, 90, 1), 0.4), 0.3, 0.3, 1, 0.65, 1, 1, 1.0)
  z = 0.35 / 0.3
  expected = 0.3 * stats.norm.sf(z) + 0.3 * stats.norm.pdf(z)
  np.testing.assert_allclose(flat.mean() - 0.4, 2 * expected, rtol=0.05)


def test_glass_only_moves_pixels():
  """Without its filters it permutes pixels, by a few places at most."""
  x = jax.random.uniform(KEY, (3, 12, 12, 1))
  found = np.asarray(corruptions.glass_blur(KEY, x, 0.01, 1, 1))
  np.testing.assert_allclose(np.sort(found.ravel()), np.sort(np.asarray(x).ravel()), atol=1e-6)
  assert np.mean(found != np.asarray(x)) > 0.3
  np.testing.assert_allclose(found[:, -1], x[:, -1], atol=1e-6)  # the last row is left alone


def test_hsv_is_colorsys_s():
  rng = np.random.default_rng(0)
  colours = np.concatenate([rng.random((50, 3)), np.eye(3), np.ones((1, 3)), np.zeros((1, 3))])
  hsv = np.asarray(corruptions.rgb_to_hsv(jnp.asarray(colours, jnp.float32)))
  np.testing.assert_allclose(hsv, [colorsys.rgb_to_hsv(*c) for c in colours], atol=1e-5)
  np.testing.assert_allclose(corruptions.hsv_to_rgb(jnp.asarray(hsv)), colours, atol=1e-5)


def test_contrast_brightness_and_saturation_by_hand():
  x = jnp.asarray([[[[0.2, 0.4, 0.4]], [[0.6, 0.4, 0.0]]]])
  np.testing.assert_allclose(
    corruptions.contrast(KEY, x, 0.5), [[[[0.3, 0.4, 0.3]], [[0.5, 0.4, 0.1]]]], atol=1e-6
  )
  np.testing.assert_allclose(
    corruptions.brightness(KEY, x, 0.2),
    [[[[0.3, 0.6, 0.6]], [[0.8, 1.6 / 3, 0.0]]]],
    atol=1e-5,
  )
  np.testing.assert_allclose(
    corruptions.saturate(KEY, x, 0.0, 0), [[[[0.4] * 3], [[0.6] * 3]]], atol=1e-6
  )


def test_pixelate_is_pillow_s_box_filter(images):
  """Pillow rounds to 8 bits after each of its passes."""
  for factor in (0.5, 0.65):
    found = corruptions.pixelate(KEY, images, factor)
    for x, ours in zip(np.asarray(images), found, strict=True):
      small = int(32 * factor)
      picture = Image.fromarray(np.rint(255 * x).astype(np.uint8))
      picture = picture.resize((small, small), Image.Resampling.BOX)
      back = np.asarray(picture.resize((32, 32), Image.Resampling.BOX)) / 255
      assert np.abs(back - ours).max() < 3 / 255


@pytest.mark.parametrize("quality", [80, 40])
def test_jpeg_is_nearly_pillow_s(images, quality):
  """To what rounds the other way in libjpeg's integer transform, and its smoothed colours."""
  grey = images[..., :1]
  for x, channels in ((images, 3), (grey, 1)):
    found = np.asarray(corruptions.jpeg(KEY, x, quality))
    distances, removed = [], []
    for original, ours in zip(np.asarray(x), found, strict=True):
      pixels = np.rint(255 * original).astype(np.uint8).squeeze()
      file = io.BytesIO()
      Image.fromarray(pixels).save(file, "JPEG", quality=quality)
      theirs = np.asarray(Image.open(file), np.float64).reshape(ours.shape)
      distances.append(np.abs(theirs - 255 * ours).mean())
      removed.append(np.abs(theirs - 255 * original).mean())
    assert np.mean(distances) < (0.2 if channels == 1 else 0.6) * np.mean(removed)


def test_elastic_without_its_parts_is_the_identity(images):
  np.testing.assert_allclose(corruptions.elastic(KEY, images, 0, 0, 0.0), images, atol=1e-4)


def test_fields_are_in_the_unit_interval_and_smoother_for_a_larger_decay():
  rough, smooth = (np.asarray(corruptions.plasma(KEY, 20, 32, d)) for d in (1.5, 3.0))
  for field in (rough, smooth):
    np.testing.assert_allclose([field.min(), field.max()], [0, 1], atol=1e-6)
  steps = [np.abs(np.diff(f, axis=1)).mean() for f in (rough, smooth)]
  assert steps[0] > 1.5 * steps[1]


def test_corruption_errors_by_hand():
  mine = {"fog": jnp.array([0.1, 0.3]), "jpeg": jnp.array([0.2, 0.2])}
  reference = {"fog": jnp.array([0.2, 0.6]), "jpeg": jnp.array([0.1, 0.3])}
  np.testing.assert_allclose(corruptions.expected_corruption_error(mine), 0.2, rtol=1e-6)
  np.testing.assert_allclose(
    corruptions.mean_corruption_error(mine, reference), (0.4 / 0.8 + 0.4 / 0.4) / 2, rtol=1e-6
  )
  np.testing.assert_allclose(
    corruptions.mean_corruption_error(mine, reference, 0.1, 0.05),
    (0.2 / 0.7 + 0.2 / 0.3) / 2,
    rtol=1e-5,
  )
  with pytest.raises(ValueError, match="different corruptions"):
    corruptions.mean_corruption_error(mine, {"fog": mine["fog"]})
  with pytest.raises(ValueError, match="clean errors of both"):
    corruptions.mean_corruption_error(mine, reference, 0.1)


def test_mistakes_are_named(images):
  with pytest.raises(ValueError, match="severity is 1 to 5"):
    corruptions.corrupt("fog", KEY, images, 6)
  with pytest.raises(ValueError, match="the corruptions are"):
    corruptions.corrupt("frost", KEY, images, 1)

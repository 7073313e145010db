"""localnorm: modes against plain loops, the noises' moments, and each claim both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.localnorm import get_config
from lib.experiment import UserError, bind
from lib.experiment import claims as check
from lib.models import normalisation
from projects.localnorm import claims, experiment, figures, modes, network, noise

K, M = 2, 8


def config_of(preset="smoke", **changes):
  return bind(get_config(preset), {k.replace("__", "."): v for k, v in changes.items()})


@pytest.fixture(scope="module")
def case():
  """A LocalNorm network whose groups differ, running averages, and images."""
  params = network.init(jax.random.key(0), (3, 4), 5, 3, "ln", K)
  drawn = jax.random.split(jax.random.key(1), 4)
  for i, layer in enumerate(params["layers"]):
    layer["scale"] = 1 + 0.5 * jax.random.normal(drawn[i], layer["scale"].shape)
    layer["shift"] = 0.2 * jax.random.normal(drawn[2 + i], layer["shift"].shape)
  # coarse patterns: of fine noise every pooled map is alike
  coarse = jax.random.normal(jax.random.key(2), (2 * K * M, 2, 2, 3))
  images = coarse.repeat(4, 1).repeat(4, 2)
  return params, network.batch_statistics(params, images), images


def test_noises_have_the_printed_moments():
  x = jnp.full((50, 16, 16, 3), 0.4)
  key = jax.random.key(0)
  for function, level, mean, std in (
    (noise.agn, 0.5, 0.4, 0.2),
    (noise.apn, 0.5, 0.6, 0.4 * 0.5**0.5),  # Poisson's mean brightens
    (noise.mbn, 0.3, 0.28, 0.4 * (0.3 * 0.7) ** 0.5),
  ):
    found = function(key, x, level)
    np.testing.assert_allclose([found.mean(), found.std()], [mean, std], rtol=0.02)
    assert np.all(function(key, 0 * x, level) == 0)  # black stays black


def test_conditions_are_shown_in_the_order_of_their_names():
  config = config_of()
  images = jax.random.uniform(jax.random.key(0), (32, 8, 8, 3))
  shown = noise.show(config, images)
  names = noise.conditions(config)
  assert names == ("clean", "agn_0.5", "mbn_0.3", "contrast_5") and len(shown) == 4
  np.testing.assert_array_equal(shown[0], images)
  ratio = np.asarray(shown[2] / images)
  np.testing.assert_allclose(np.unique(ratio.round(5)), [0, 1])


def test_batch_modes_are_passes_over_shuffled_batches(case):
  """LN-Batch and LN-Voting against loops over the same groupings."""
  params, stored, images = case
  key = jax.random.key(3)
  order = np.asarray(jax.random.permutation(key, len(images)))
  found = modes.local_batch(M)(params, stored, images, key)
  for batch in order.reshape(-1, K * M):
    for k in range(K):
      rows = batch[k * M : (k + 1) * M]
      logits = network.apply(params, images[rows], network.through(k))
      np.testing.assert_array_equal(found[rows], logits.argmax(1))

  order_key, tie_key = jax.random.split(key)
  order = np.asarray(jax.random.permutation(order_key, len(images)))
  votes = np.empty((K, len(images)), int)
  for batch in order.reshape(-1, M):
    for k in range(K):
      votes[k, batch] = network.apply(params, images[batch], network.through(k)).argmax(1)
  expected = normalisation.majority_vote(tie_key, jnp.asarray(votes), 5)
  np.testing.assert_array_equal(modes.local_vote(M)(params, stored, images, key), expected)


def test_single_modes_look_at_one_image(case):
  """Another image in the set changes nothing; turns are averaged into the statistics."""
  params, stored, images = case
  key = jax.random.key(4)
  others = images.at[1:].multiply(-3.0)
  for mode in (modes.local_rotated_vote, modes.dynamic_single, modes.plain, modes.stored):
    found = jax.jit(lambda images, mode=mode: mode(params, stored, images, key))
    assert found(images)[0] == found(others)[0]
  rotated = modes.dynamic_rotated(params, stored, images[:4], key)
  for i in range(4):
    turns = jnp.stack([jnp.rot90(images[i], k) for k in range(4)])
    assert rotated[i] == network.apply(params, turns, network.dynamic)[0].argmax()
  together = network.apply(params, images[:M], network.dynamic)[0]
  for neighbours in (others[:M], images[:1]):
    alone = network.apply(params, neighbours, network.dynamic)[0]
    assert np.abs(together - alone).max() > 1e-3


def test_stored_statistics_of_the_same_images_are_dynamic_ones(case):
  params, stored, images = case
  expected = network.apply(params, images, network.dynamic).argmax(1)
  np.testing.assert_array_equal(
    modes.stored(params, stored, images, jax.random.key(0)), expected
  )


def test_ghost_is_localnorm_with_one_scale(case):
  params, _, images = case
  same = jax.tree.map(lambda a: a, params)
  shared = jax.tree.map(lambda a: a, params)
  for a, b in zip(same["layers"], shared["layers"], strict=True):
    for name in ("scale", "shift"):
      b[name] = a[name][:1]
      a[name] = jnp.repeat(a[name][:1], K, 0)
  np.testing.assert_allclose(
    network.apply(same, images, network.local),
    network.apply(shared, images, network.ghost(K)),
    atol=1e-5,
  )


def test_training_keeps_groups_apart_only_for_localnorm():
  """γ and β start equal; those of LocalNorm part, and BN alone has running averages."""
  config = config_of()
  operands = experiment.prepare(config)
  for kind in ("ln", "bn"):
    found = jax.jit(
      lambda kind=kind: experiment.PROGRAM(bind(config, {"kind": kind}), operands)
    )()
    scale = found["params"]["layers"]["0"]["scale"]
    assert scale.shape == (config.groups if kind == "ln" else 1, 3)
    assert (found["spread"]["scale"][-1] > 0) == (kind == "ln")
    moved = np.abs(found["running"]["0"]["mean"]).max() > 0
    assert moved == (kind == "bn")


def made_up(good, seeds=6):
  """Results in which all claims that can be tested hold, or fail."""
  rng = np.random.default_rng(0)
  config = get_config()
  names = noise.conditions(config)
  clean = {
    "bn/stored": 90, "bn/dynamic_batch": 88, "bn/dynamic_single": 50, "bn/dynamic_rotated": 60,
    "bn/dynamic_vote": 89, "ghost/dynamic_batch": 88, "ghost/dynamic_vote": 89,
    "group/plain": 90, "ln/single": 55, "ln/single_vote": 60, "ln/rotated_vote": 88,
    "ln/batch": 91, "ln/vote": 93,
  }  # fmt: skip
  drop = {
    "bn/stored": 60, "group/plain": 50, "ln/vote": 5, "bn/dynamic_batch": 25,
    "ghost/dynamic_batch": 15, "bn/dynamic_vote": 20, "ghost/dynamic_vote": 12,
  }  # fmt: skip
  if not good:
    clean |= {"ln/vote": 80, "ln/batch": 70, "ln/single": 90, "ln/single_vote": 60,
              "ln/rotated_vote": 50, "bn/dynamic_batch": 92}  # fmt: skip
    drop |= {"bn/stored": 1, "ln/vote": 60, "bn/dynamic_batch": 5, "ghost/dynamic_batch": 60}

  def one(row, condition):
    level = clean[row] - (0 if condition == "clean" else drop.get(row, 20))
    return (level + rng.uniform(-0.2, 0.2, seeds)) / 100

  accuracy: dict = {}
  for row in clean:
    kind, mode = row.split("/")
    accuracy.setdefault(kind, {})[mode] = {c: one(row, c) for c in names}
  epochs = np.linspace(0.01, 0.02, 12) if good else np.linspace(0.02, 0.005, 12)
  spread = epochs * (1 + 0.01 * rng.uniform(size=(seeds, 1)))
  return {
    "seeds": np.arange(seeds),
    "agn_level": np.asarray(1.0),
    "accuracy": accuracy,
    "train_loss": {},
    "spread": {"scale": spread, "shift": spread},
  }


GOOD, BAD = made_up(True), made_up(False)


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_comes_out_both_ways(claim, both_ways):
  both_ways(claim, GOOD, BAD, not_run="training_overhead")


def test_what_was_not_run_is_not_tested():
  few = {k: v for k, v in GOOD.items() if k != "spread"}
  few["accuracy"] = {"bn": {"stored": GOOD["accuracy"]["bn"]["stored"]}}
  for claim in claims.CLAIMS:
    assert claim.check(few).verdict == check.NOT_TESTED, claim.id


def test_metrics_are_numbers():
  flat = claims.metrics(GOOD)
  assert all(np.ndim(value) == 0 for value in flat.values())
  np.testing.assert_allclose(flat["mce/bn/stored"], 1, rtol=1e-6)
  # errors of 0.12 and 0.70 everywhere
  np.testing.assert_allclose(flat["mce/ln/vote"], 0.12 / 0.70, rtol=0.05)


@pytest.mark.parametrize("figure", figures.FIGURES, ids=lambda figure: figure.name)
def test_figures_have_labelled_axes(figure):
  fig = figure.draw(GOOD)
  assert all(ax.get_xlabel() for ax in fig.axes)


def test_what_the_paper_prints():
  """The text says three of four cases improve; the table has three columns, one against."""
  better = [t["vote"] > max(t["bn"], t["dynamic"]) for t in claims.PAPER.values()]
  assert better == [True, False, True]


def test_impossible_numbers_are_refused():
  for changes, message in (
    ({"groups": 3}, "multiple of groups"),
    ({"test_examples": 20}, "multiple of the batch size"),
    ({"kind": "instance"}, "instance"),
    ({"agn_level": 0.7}, "agn_level"),
  ):
    with pytest.raises(UserError, match=message):
      experiment.check(config_of(**changes))

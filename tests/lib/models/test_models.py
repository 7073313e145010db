"""lib.models: parameter counts by hand, blocks that compose, statistics that stay."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lib import models
from lib.experiment import UserError
from lib.models.lenet import max_pool


def _resnet_parameters(depth, projection, width=16, channels=3, classes=10):
  """Counted by hand, layer after layer."""
  n = (depth - 2) // 6
  conv = lambda a, b: 9 * a * b  # noqa: E731
  norm = lambda a: 2 * a  # noqa: E731
  total = conv(channels, width)
  a = width
  for stage in range(3):
    b = width * 2**stage
    for unit in range(n):
      total += norm(a) + conv(a, b) + norm(b) + conv(b, b)
      if projection and unit == 0 and stage:
        total += a * b
      a = b
  return total + norm(a) + a * classes + classes


@pytest.mark.parametrize(
  ("depth", "published"), [(20, 0.27e6), (32, 0.46e6), (44, 0.66e6), (56, 0.85e6)]
)
def test_residual_networks_have_the_published_number_of_parameters(depth, published):
  for shortcut in ("pad", "projection"):
    model = models.PreActResNet(depth, shortcut=shortcut)
    shapes = jax.eval_shape(
      lambda key, model=model: models.init(model, key, (32, 32, 3)), jax.random.key(0)
    )
    count = models.count(shapes["params"])
    assert count == _resnet_parameters(depth, shortcut == "projection")
    if shortcut == "pad":  # the published networks have no parameters in their shortcuts
      assert round(count, 1 - math.floor(math.log10(published))) == published


def test_counts_written_out():
  # 432 + 3·(4608 + 64) + (14144 + 2·18560) + (56064 + 2·73984) + 128 + 650
  units = 3 * (2 * 2304 + 64)
  stage_2 = (4608 + 9216 + 32 + 64) + 2 * (2 * 9216 + 128)
  stage_3 = (18432 + 36864 + 64 + 128) + 2 * (2 * 36864 + 256)
  assert _resnet_parameters(20, False) == 432 + units + stage_2 + stage_3 + 128 + 650 == 269722
  assert _resnet_parameters(20, True) == 269722 + 16 * 32 + 32 * 64
  variables = models.init(models.MLP((1024, 1024, 10)), jax.random.key(0), (28, 28, 1))
  assert models.count(variables["params"]) == 784 * 1024 + 1024 + 1024 * 1025 + 1024 * 10 + 10


NETWORKS = {
  "mlp": (models.MLP((17, 9, 5)), (4, 3, 1)),
  "normalised": (models.MLP((17, 9, 5), "tanh", "he", batch_norm=True), (12,)),
  "resnet": (models.PreActResNet(8, classes=5, width=4), (8, 8, 3)),
  "padded": (models.PreActResNet(8, width=3, shortcut="pad"), (8, 8, 1)),
  "vib": (models.VIB(models.MLP((11, 12)), code=6, classes=5), (7,)),
}


@pytest.fixture(params=NETWORKS, name="network", scope="module")
def _network(request):
  model, shape = NETWORKS[request.param]
  # Any numbers do, and these need no compilation.
  shapes = jax.eval_shape(lambda key: models.init(model, key, shape), jax.random.key(1))
  generator = np.random.default_rng(1)
  variables = jax.tree.map(
    lambda s: jnp.asarray(generator.normal(scale=0.3, size=s.shape), s.dtype), shapes
  )
  # Statistics away from their initial values, so that ignoring them would show.
  if "batch_stats" in variables:
    statistics = jax.tree.map(lambda s: 1 + abs(s), variables["batch_stats"])
    variables = variables | {"batch_stats": statistics}
  return model, shape, variables


@pytest.mark.parametrize("by", ["layer", "stage"])
def test_blocks_compose_to_the_network(network, by):
  model, shape, variables = network
  x = jax.random.normal(jax.random.key(2), (3, *shape))
  blocks = models.blocks(model, shape, by)

  def compose(variables, x):
    for block in blocks:
      assert x.shape == (3, *block.input_shape)
      x = block.apply(variables, x)
      assert x.shape == (3, *block.output_shape)
    return x

  whole = jax.jit(lambda variables, x: models.apply(model, variables, x))
  np.testing.assert_array_equal(jax.jit(compose)(variables, x), whole(variables, x))
  assert len({block.name for block in blocks}) == len(blocks)


def test_a_block_uses_only_its_own_parameters(network):
  model, shape, variables = network
  block = models.blocks(model, shape)[1]
  x = jax.random.normal(jax.random.key(2), (3, *block.input_shape))

  @jax.jit
  @jax.grad
  def derivative(params):
    return jnp.sum(block.apply(variables | {"params": params}, x) ** 2)

  gradient = derivative(variables["params"])
  norms = {name: float(sum(jnp.sum(g**2) for g in jax.tree.leaves(part)))
           for name, part in gradient.items()}  # fmt: skip
  assert sum(norm > 0 for norm in norms.values()) == 1


def test_numbers_of_blocks():
  assert len(models.blocks(models.PreActResNet(20), (32, 32, 3))) == 1 + 9 + 1
  stages = models.blocks(models.PreActResNet(20), (32, 32, 3), by="stage")
  assert [block.output_shape for block in stages] == [(32, 32, 16), (16, 16, 32), (10,)]
  with pytest.raises(ValueError, match="by must be"):
    models.blocks(models.MLP((3,)), (2,), by="row")


def test_eval_mode_leaves_the_statistics_and_is_the_same_for_every_batch(network):
  model, shape, variables = network
  x = jax.random.normal(jax.random.key(3), (6, *shape))

  @jax.jit
  def evaluate(x):
    return model.apply(variables, x, train=False, mutable=["batch_stats", "losses"])

  outputs, changed = evaluate(x)
  chex.assert_trees_all_equal(changed.get("batch_stats", {}), variables.get("batch_stats", {}))
  assert not changed.get("losses", {})
  alone = jnp.concatenate([evaluate(x[:1])[0], evaluate(x[1:])[0]])
  np.testing.assert_allclose(outputs, alone, rtol=2e-5, atol=2e-5)


def test_train_mode_moves_the_statistics_by_a_tenth():
  model = models.MLP((4, 2), batch_norm=True)
  variables = models.init(model, jax.random.key(0), (3,))
  x = jax.random.normal(jax.random.key(1), (50, 3)) * 3 + 1
  dense = variables["params"]["layer_0"]["dense"]
  before = x @ dense["kernel"] + dense["bias"]
  _, changed = model.apply(variables, x, train=True, mutable=["batch_stats"])
  found = changed["batch_stats"]["layer_0"]["norm"]
  np.testing.assert_allclose(found["mean"], 0.1 * before.mean(0), rtol=1e-4)
  np.testing.assert_allclose(found["var"], 0.9 + 0.1 * before.var(0), rtol=1e-4)


def test_mlp_against_numpy():
  model = models.MLP((6, 3), "tanh")
  variables = models.init(model, jax.random.key(0), (4,))
  variables = jax.tree.map(lambda w: w + 0.1, variables)
  first, last = (variables["params"][f"layer_{i}"]["dense"] for i in range(2))
  x = np.random.default_rng(0).normal(size=(5, 4))
  hidden = np.tanh(x @ np.asarray(first["kernel"], float) + np.asarray(first["bias"]))
  expected = hidden @ np.asarray(last["kernel"]) + np.asarray(last["bias"])
  np.testing.assert_allclose(
    models.apply(model, variables, jnp.asarray(x, jnp.float32)), expected, rtol=1e-5
  )


def test_residual_unit_against_the_definition():
  unit = models.ResidualUnit(4)
  x = jax.random.normal(jax.random.key(0), (2, 5, 5, 4))
  variables = unit.init(jax.random.key(1), x)

  def conv(x, kernel):
    out = np.zeros(x.shape)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for i in range(3):
      for j in range(3):
        out += padded[:, i : i + 5, j : j + 5] @ kernel[i, j]
    return out

  kernels = [
    np.asarray(variables["params"][name]["conv"]["kernel"]) for name in ("conv_1", "conv_2")
  ]
  # Fresh statistics: batch normalisation divides by √(1 + 1e-5).
  relu = lambda a: np.maximum(a / math.sqrt(1 + 1e-5), 0)  # noqa: E731
  x = np.asarray(x)
  expected = x + conv(relu(conv(relu(x), kernels[0])), kernels[1])
  np.testing.assert_allclose(unit.apply(variables, x), expected, rtol=1e-4, atol=1e-5)


def test_stride_two_aligns_the_shortcut_as_pytorch_does():
  # With zero kernels in the branch only the shortcut is left: every second pixel.
  unit = models.ResidualUnit(6, stride=2, shortcut="pad")
  x = jax.random.normal(jax.random.key(0), (1, 8, 8, 4))
  variables = unit.init(jax.random.key(1), x)
  variables["params"]["conv_2"]["conv"]["kernel"] *= 0
  y = unit.apply(variables, x)
  np.testing.assert_array_equal(y[..., :4], x[:, ::2, ::2])
  assert not y[..., 4:].any()


@pytest.mark.parametrize(
  ("name", "low", "high", "std"),
  [
    ("glorot_relu", *(s * math.sqrt(2) * math.sqrt(6 / 700) for s in (-1, 1)), 2 / 700**0.5),
    ("torch", -(300**-0.5), 300**-0.5, (3 * 300) ** -0.5),
    ("he", -np.inf, np.inf, (2 / 300) ** 0.5),
    ("he_fan_out", -np.inf, np.inf, (2 / 400) ** 0.5),
  ],
)
def test_initialisers(name, low, high, std):
  params = models.init(models.MLP((400,), initialiser=name), jax.random.key(0), (300,))
  kernel = params["params"]["layer_0"]["dense"]["kernel"]
  bias = params["params"]["layer_0"]["dense"]["bias"]
  assert low <= kernel.min() < kernel.max() <= high
  if np.isfinite(high):
    assert kernel.max() > 0.99 * high
  else:
    assert kernel.max() > 3.5 * std  # normal, not truncated at two standard deviations
  np.testing.assert_allclose(kernel.std(), std, rtol=0.01)
  assert abs(float(kernel.mean())) < 0.01 * std * 3
  if name == "torch":
    np.testing.assert_allclose(bias.std(), std, rtol=0.1)
    assert abs(bias).max() <= high
  else:
    assert not bias.any()


def test_weight_matrices():
  model = models.PreActResNet(8, width=2, classes=3)

  @jax.jit
  def matrices(key):
    return models.weight_matrices(models.init(model, key, (8, 8, 1))["params"])

  matrices = jax.eval_shape(matrices, jax.random.key(0))
  assert matrices["stem/conv/kernel"].shape == (9, 2)
  assert matrices["stage_1_unit_0/shortcut/conv/kernel"].shape == (2, 4)
  assert matrices["head/dense/kernel"].shape == (8, 3)
  assert len(matrices) == 1 + 3 * 2 + 2 + 1


def test_bottleneck_mean_code_and_sampling():
  model = models.VIB(models.MLP((4,)), code=2, classes=3, eval_samples=0)
  variables = models.init(model, jax.random.key(0), (5,))
  x = jax.random.normal(jax.random.key(1), (6, 5))
  statistics = models.apply(model.encoder, {"params": variables["params"]["encoder"]}, x)
  classifier = variables["params"]["classifier"]
  np.testing.assert_allclose(
    models.apply(model, variables, x),
    statistics[:, :2] @ classifier["kernel"] + classifier["bias"],
    rtol=1e-5,
    atol=1e-6,
  )
  logits = [
    model.apply(
      variables, x, train=True, rngs={"sample": jax.random.key(i)}, mutable=["losses"]
    )
    for i in (0, 0, 1)
  ]
  np.testing.assert_array_equal(logits[0][0], logits[1][0])
  assert (logits[0][0] != logits[2][0]).any()
  mean, std = statistics[:, :2], np.log1p(np.exp(np.asarray(statistics[:, 2:]) - 5))
  kl = 0.5 * (mean**2 + std**2 - 1 - 2 * np.log(std)).sum(1).mean()
  np.testing.assert_allclose(logits[0][1]["losses"]["bottleneck"], kl, rtol=1e-5)


def test_bottleneck_averages_probabilities_in_eval_mode():
  model = models.VIB(models.MLP((4,)), code=2, classes=3, eval_samples=12)
  variables = models.init(model, jax.random.key(0), (5,))
  outputs = models.apply(model, variables, jax.random.normal(jax.random.key(1), (6, 5)))
  np.testing.assert_allclose(jnp.exp(outputs).sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize(
  ("model", "shape", "message"),
  [
    (models.MLP((5, 0)), (3,), "Widths must be positive"),
    (models.MLP(()), (3,), "Widths must be positive"),
    (models.MLP((5,), initialiser="glorot_rel"), (3,), "glorot_relu"),
    (models.MLP((5, 5), "rellu"), (3,), "Unknown activation"),
    (models.PreActResNet(21), (8, 8, 3), "6n"),
    (models.PreActResNet(2), (8, 8, 3), "6n"),
    (models.PreActResNet(20, width=0), (8, 8, 3), "at least 1"),
    (models.PreActResNet(20, shortcut="conv"), (8, 8, 3), "shortcut"),
    (models.VIB(models.MLP((5,)), code=3), (3,), "encoder"),
  ],
)
def test_impossible_networks(model, shape, message):
  with pytest.raises(UserError, match=message):
    jax.eval_shape(lambda key: models.init(model, key, shape), jax.random.key(0))


def test_strided_cnn_has_the_paper_s_layers():
  """12,544, 3,200, 128 and 10 outputs; 64·8² + 64, 128·64·6² + 128, 128²·5² + 128, 129·10."""
  model = models.StridedCNN()
  sizes = [math.prod(b.output_shape) for b in models.blocks(model, (28, 28, 1))]
  assert sizes == [12544, 3200, 128, 10]
  shapes = jax.eval_shape(lambda key: models.init(model, key, (28, 28, 1)), jax.random.key(0))
  assert models.count(shapes["params"]) == 4160 + 295_040 + 409_728 + 1290
  with pytest.raises(UserError, match="Three"):
    models.blocks(models.StridedCNN((4, 4)), (28, 28, 1))


def test_activations_are_those_of_the_blocks():
  model = models.StridedCNN((3, 4, 5), (3, 3, 2))
  variables = models.init(model, jax.random.key(0), (12, 12, 1))
  x = jax.random.uniform(jax.random.key(1), (2, 12, 12, 1))
  found = models.activations(model, variables, x)
  y = x
  for block in models.blocks(model, (12, 12, 1)):
    y = block.apply(variables, y)
    np.testing.assert_allclose(found[block.name], y, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(y, models.apply(model, variables, x), rtol=1e-5, atol=1e-6)


def test_max_pool_against_loops_and_where_its_gradient_goes():
  x = np.random.default_rng(0).normal(size=(3, 5, 7, 2)).astype(np.float32)
  x[0, :2, :2] = 0.5  # a window of equals
  expected = np.zeros((3, 2, 3, 2), np.float32)
  share = np.zeros_like(x)
  for n, i, j, c in np.ndindex(expected.shape):
    window = x[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
    expected[n, i, j, c] = window.max()
    row, column = divmod(int(window.argmax()), 2)  # argmax: the first of equals
    share[n, 2 * i + row, 2 * j + column, c] = i + 1
  np.testing.assert_array_equal(max_pool(x), expected)
  weights = 1.0 + jnp.arange(2)[:, None, None]
  gradient = jax.grad(lambda x: jnp.sum(weights * max_pool(x)))(jnp.asarray(x))
  np.testing.assert_array_equal(gradient, share)


@pytest.mark.parametrize("place", range(4))
def test_max_pool_lets_nothing_undefined_vanish(place):
  x = np.zeros((1, 2, 2, 1), np.float32)
  x[0, place // 2, place % 2] = np.nan
  assert np.isnan(max_pool(x)).all()

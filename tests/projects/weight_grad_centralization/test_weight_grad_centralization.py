"""weight_grad_centralization: rows against plain functions, and each claim both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.weight_grad_centralization import get_config
from lib import models, updates
from lib.experiment import UserError, bind
from lib.experiment import claims as check
from projects.weight_grad_centralization import claims, experiment, figures, methods
from projects.weight_grad_centralization.network import ReparametrisedConv


def config_of(preset="smoke", **changes):
  return bind(get_config(preset), {k.replace("__", "."): v for k, v in changes.items()})


def row(name):
  return {
    f"method__{k}": v for k, v in zip(methods.NUMBERS, methods.ALL[name][1:], strict=True)
  }


@pytest.fixture(scope="module")
def operands():
  return experiment.prepare(config_of())


@pytest.fixture(scope="module")
def params():
  model = models.CNN((3, 4), (6, 5), 10)
  return models.init(model, jax.random.key(0), (8, 8, 3))["params"]


def test_rows_do_what_their_names_say(params):
  """The numbers of a row against the library's functions, on the parameters they are for."""
  kernels = {
    "wc": updates.centre,
    "wn": updates.normalise,
    "ws": updates.standardise,
    "ws_scaled": lambda w: updates.standardise(w, scaled=True),
    "w_global": lambda w: updates.centre(w, "global"),
    "w_channel": lambda w: updates.centre(w, "channel"),
    "w_instance": lambda w: updates.centre(w, "instance"),
    "base": lambda w: w,
    "gc": lambda w: w,
  }
  for name, function in kernels.items():
    found = jax.jit(experiment.project_weights(methods.ALL[name], 2))(params)
    expected = updates.map_kernels(function, params, updates.is_convolution)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, expected)
  gradients = {"gc": "tensor", "wc+gc": "tensor", "g_global": "global", "g_channel": "channel",
               "g_instance": "instance", "wc": None, "base": None}  # fmt: skip
  for name, area in gradients.items():
    found, _ = experiment.centre_gradients(methods.ALL[name], 2).update(params, None)
    expected = params if area is None else updates.map_kernels(
      lambda w, area=area: updates.centre(w, area), params, updates.is_convolution
    )  # fmt: skip
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, expected)


def test_fully_adds_the_penultimate_layer_alone(params):
  method = methods.ALL["wc_fully"]
  found = experiment.project_weights(method, 2)(params)
  changed = {
    name for name in params
    if np.any(found[name][next(iter(params[name]))]["kernel"]
              != params[name][next(iter(params[name]))]["kernel"])
  }  # fmt: skip
  assert changed == {"conv_0", "conv_1", "layer_1"}
  assert np.abs(found["layer_1"]["dense"]["kernel"].mean(0)).max() < 1e-7


def test_errors_are_centred_on_the_way_back_only(operands):
  """Same logits; the gradients of the layers before are those of the chain rule by hand."""
  off = config_of(model__hooks=True)
  on = config_of(model__hooks=True, **row("e_sample"))
  x, y = (a[:10] for a in operands["train"])
  nets = [experiment.network(c, experiment.method_of(c), 10) for c in (off, on)]
  params = models.init(nets[0], jax.random.key(0), x.shape[1:])["params"]

  def loss(model):
    def value(params):
      logits = models.apply(model, {"params": params}, x)
      return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    return value

  plain, centred = (jax.value_and_grad(loss(model))(params) for model in nets)
  np.testing.assert_array_equal(plain[0], centred[0])
  # the last convolution's output error is centred: its kernel's gradient by hand
  stages = nets[0].apply({"params": params}, method=lambda m: [n for n, _ in m.stages()])
  assert stages[:2] == ["conv_0", "conv_1"]

  def upto(params, x):
    return nets[0].apply(
      {"params": params}, x, method=lambda m, x: m.stages()[1][1](m.stages()[0][1](x))
    )

  def rest(params, h):
    def method(m, h):
      for _, layer in m.stages()[2:]:
        h = layer(h)
      return h

    logits = nets[0].apply({"params": params}, h, method=method)
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()

  h, pull = jax.vjp(lambda p: upto(p, x), params)
  error = jax.grad(rest, 1)(params, h)
  (expected,) = pull(error - error.mean((1, 2, 3), keepdims=True))
  np.testing.assert_allclose(
    centred[1]["conv_1"]["conv"]["kernel"], expected["conv_1"]["conv"]["kernel"], atol=1e-6
  )
  difference = plain[1]["conv_1"]["conv"]["kernel"] - centred[1]["conv_1"]["conv"]["kernel"]
  assert np.abs(difference).max() > 1e-4


def test_rivals_as_published(operands):
  """Effective kernels of both parametrisations, by hand, and gradients through them."""
  x, _ = (a[:4] for a in operands["train"])
  conv = {
    name: ReparametrisedConv(5, (3, 3), which=which, padding=((1, 1), (1, 1)))
    for name, which in (("plain", 0), ("wn", 1), ("ws", 2))
  }
  params = conv["plain"].init(jax.random.key(1), x)["params"]
  params["bias"] = jnp.arange(5.0)
  kernel = np.asarray(params["kernel"], float)
  np.testing.assert_allclose(params["gain"], np.linalg.norm(kernel.reshape(-1, 5), axis=0))

  def by_hand(kernel):
    y = jax.lax.conv_general_dilated(
      x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y + params["bias"]

  doubled = params | {"gain": 2 * params["gain"]}
  centred = kernel - kernel.mean((0, 1, 2))
  expected = {
    "plain": (kernel, kernel),
    "wn": (kernel, 2 * kernel),
    "ws": (centred / centred.std((0, 1, 2)) / np.sqrt(27),) * 2,
  }
  for name, (first, second) in expected.items():
    for given, wanted in ((params, first), (doubled, second)):
      found = conv[name].apply({"params": given}, x)
      np.testing.assert_allclose(found, by_hand(jnp.asarray(wanted, jnp.float32)), atol=2e-5)

  # The output does not depend on the length of V, so that its gradient is orthogonal to V.
  for name in ("wn", "ws"):

    def total(params, layer=conv[name]):
      return jnp.sum(jnp.sin(layer.apply({"params": params}, x)))

    slope = jax.grad(total)(params)["kernel"]
    along = jnp.abs((slope * params["kernel"]).sum((0, 1, 2))).max()
    assert along < 1e-4 * jnp.abs(slope).max()


def test_means_are_zero_after_training_and_rows_are_members(operands):
  """One compiled program over rows: WC keeps the filters' means at zero, the baseline not."""
  config = config_of(model__hooks=True)
  names = ("base", "wc", "wc+gc", "ws_scaled")
  columns = {
    f"method.{n}": jnp.asarray([methods.ALL[name][1 + i] for name in names])
    for i, n in enumerate(methods.NUMBERS)
  }

  @jax.jit
  @jax.vmap
  def run(values):
    return experiment.PROGRAM(bind(config, values), operands)

  found = run(columns)
  assert found["filter_mean"][0] > 1e-3
  assert np.all(found["filter_mean"][1:] < 1e-6)
  # WC and WC + GC under SGD: one algorithm, so after a few steps equal to rounding
  np.testing.assert_allclose(
    found["train_loss_history"][1], found["train_loss_history"][2], rtol=1e-4
  )
  assert abs(found["train_loss_history"][0, 0] - found["train_loss_history"][1, 0]) > 1e-3


def test_batch_normalised_rows_are_traced(operands):
  """Model a: one dense layer less, running statistics; training it is lib.training's test."""
  config = config_of(model__batch_norm=True)
  shapes = jax.eval_shape(lambda: experiment.init(config, operands))
  assert sorted(shapes.params) == ["conv_0", "conv_1", "layer_0", "layer_1"]
  assert shapes.batch_stats["layer_0"]["norm"]["mean"].shape == (8,)
  results = jax.eval_shape(lambda: experiment.PROGRAM(config, operands))
  assert results["test_accuracy"].shape == ()


def test_equivalence_in_float64(operands):
  config = config_of(equivalence__steps=8, equivalence__optimizers=("momentum", "adam"))
  found = experiment.equivalence(config, operands)
  assert found["momentum"].dtype == np.float64
  assert found["momentum"].max() < 1e-12 and found["adam"].min() > 1e-6


GOOD_ACCURACY = {
  "base": 60, "wn": 55, "wc": 65, "ws": 10, "gc": 62, "ws+gc": 10, "wc+gc": 66,
  "wc_fully": 66, "gc_fully": 63, "wc+gc_fully": 68, "w_global": 63, "w_channel": 64,
  "w_instance": 61, "g_global": 61, "g_channel": 61, "g_instance": 58, "e_global": 50,
  "e_sample": 45, "e_channel": 47, "e_instance": 40, "ws_scaled": 67, "wn_published": 61,
  "ws_published": 62,
}  # fmt: skip


def made_up(good, seeds=6):
  """Results in which all claims that can be tested hold, or fail."""
  rng = np.random.default_rng(0)

  def one(name, optimizer):
    level = GOOD_ACCURACY[name]
    if not good:
      level = {"ws": 62, "base": 60, "wc+gc": 40, "wc+gc_fully": 30, "ws_scaled": 50}.get(
        name, 120 - level
      )
      level = 57.5 if name == "gc" else level
      if optimizer == "batch_norm":
        level = {"ws": 70, "wc+gc": 50}.get(name, level)
    values = (level + rng.uniform(-0.3, 0.3, seeds)) / 100
    return {"test_accuracy": values, "validation_accuracy": values}

  def rates(names):
    """The middle one of three is best on validation data, for all rows."""
    scale = np.array([0.8, 1.0, 0.9])[:, None]
    rows = {n: jax.tree.map(lambda v: scale * v, one(n, "sgd")) for n in names}
    return {"factors": np.array([1.0, 2.0, 4.0]), "chosen": np.asarray(1), "rows": rows}

  tuned = ("base", "wc", "wc+gc")
  small, large = (1e-14, 0.1) if good else (1e-3, 1e-9)
  return {
    "seeds": np.arange(seeds),
    "classes": np.asarray(10),
    "plain": {o: {name: one(name, o) for name in methods.ALL} for o in ("sgd", "adam")},
    "batch_norm": {
      o: {name: one(name, "batch_norm") for name in methods.NORMALISED}
      for o in ("sgd", "adam")
    },
    "rates": {n: {o: rates(tuned) for o in ("sgd", "adam")} for n in ("plain", "batch_norm")},
    "equivalence": {
      name: np.full(3, small if name in experiment.LINEAR else large)
      for name in (*experiment.LINEAR, *experiment.NOT_LINEAR)
    },
  }


GOOD, BAD = made_up(True), made_up(False)
NOT_RUN = "residual_and_segmentation"


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_comes_out_both_ways(claim, both_ways):
  both_ways(claim, GOOD, BAD, not_run=NOT_RUN)


def test_what_was_not_run_is_not_tested():
  few = GOOD | {
    "plain": {"sgd": {"base": GOOD["plain"]["sgd"]["base"]}},
    "batch_norm": {},
    "rates": {"plain": {}, "batch_norm": {}},
    "equivalence": {},
  }
  for claim in claims.CLAIMS:
    assert claim.check(few).verdict == check.NOT_TESTED, claim.id


def test_the_paper_s_table():
  """Read off the print: WC + GC, fully, is best; WS alone is at chance; errors hurt."""
  plain = claims.PAPER["plain"]
  assert max(plain, key=plain.get) == "wc+gc_fully" and plain["ws"] < 10.1
  assert set(plain) | set(methods.CONTROLS) == set(methods.ALL)
  assert set(claims.PAPER["batch_norm"]) == set(methods.NORMALISED)
  assert all(plain[k] < plain["base"] for k in plain if k.startswith("e_"))


def test_metrics_are_numbers():
  flat = claims.metrics(GOOD)
  assert all(np.ndim(value) == 0 for value in flat.values())
  np.testing.assert_allclose(flat["gain/plain/adam/wc"], 0.05, atol=0.005)


@pytest.mark.parametrize("figure", figures.FIGURES, ids=lambda figure: figure.name)
def test_figures_have_labelled_axes(figure):
  for results in (GOOD, GOOD | {"batch_norm": {}, "rates": {"plain": GOOD["rates"]["plain"]}}):
    fig = figure.draw(results)
    assert all(ax.get_xlabel() for ax in fig.axes)


def test_networks_with_batch_norm_have_rates_of_their_own():
  config = config_of(rates=(1.0, 2.0), normalised_rates=(4.0,))
  assert experiment.rates_of(config, "plain") == (1.0, 2.0)
  assert experiment.rates_of(config, "batch_norm") == (4.0,)


def test_impossible_numbers_are_refused():
  for changes, message in (
    ({"methods": ("base", "wcgc")}, "wcgc"),
    ({"methods": ("wc",)}, "must contain 'base'"),
    ({"optimizers": ("lion",)}, "lion"),
    ({"seeds": 0}, "seeds"),
    ({"tuned": ("wc",)}, "tuned must contain 'base'"),
    ({"tuned": ("base", "e_global")}, "at one rate alone"),
    ({"normalised": ("base", "wn_published")}, "for methods alone"),
    ({"rates": (0.0, 1.0)}, "positive factors"),
    ({"normalised_rates": ()}, "normalised_rates must be positive"),
  ):
    with pytest.raises(UserError, match=message):
      experiment.check(config_of(**changes))

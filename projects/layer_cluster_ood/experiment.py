"""Clusters of a CNN's activations, layer by layer, to detect what it was not trained on.

Lehmann and Ebner (2021). Four programs and two host stages:

- `PROGRAM` trains one network (sec. 4.1); its members are seeds;
- `ATTACKS` makes the adversarial examples of a network (sec. 4.4);
- `LAYERS` takes activations, their principal components and Deep k-NN's neighbours;
- `EMBED` projects one layer's components to the plane (sec. 3, step 2c);
- `CLUSTER` finds its clusters (step 2d); DBSCAN is scikit-learn's;
- `detection.py` makes class sets and rates of them (eq. 1-4), `timing.py` takes times.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lib import models, representations, robustness, training
from lib.experiment import Program, Stage, by_name
from projects.layer_cluster_ood import detection, timing
from projects.layer_cluster_ood.inputs import ATTACKS as ATTACK_NAMES
from projects.layer_cluster_ood.inputs import SETS, VARIANTS, check, network, prepare

__all__ = ["PROGRAM", "check", "prepare", "run"]

_TRAIN, _ATTACK, _LAYERS = range(3)  # stages that draw from a seed


def _key(seed, stage):
  return jax.random.fold_in(jax.random.key(seed), stage)


# --- training (sec. 4.1) ----------------------------------------------------------------


def _task(config, operands):
  task, hypers = training.from_config(config, network(config, operands))
  return task, hypers, training.Data(operands["train"], test=operands["test"])


def _init(config, operands):
  task, hypers, splits = _task(config, operands)
  return training.init(task, _key(config.seed, _TRAIN), hypers, splits)


def _epoch(config, operands, state):
  task, hypers, splits = _task(config, operands)
  return training.epoch(task, hypers, state, splits)


def _trained(config, operands, state, history):
  del config, operands
  return {
    "params": state.params,
    "test_accuracy": history["test_accuracy"][-1],
    "train_loss": history["train_loss"],
  }


PROGRAM = Program(_init, _epoch, _trained, steps=lambda config: config.train.epochs)


# --- adversarial examples (sec. 4.4) ----------------------------------------------------


def _member(config, operands, stage):
  """Parameters of one of the trained networks, and a key of its seed for the stage."""
  params = jax.tree.map(lambda leaf: leaf[config.member], operands["params"])
  return params, _key(operands["seeds"][config.member], stage)


def attack(config, logits, key, inputs, labels):
  """The four attacks of sec. 4.4 on a batch, {name: inputs}."""
  chosen = config.attacks

  def numbers(name):
    return {"step": chosen[name].step, "steps": chosen[name].steps}

  def pgd(name, **options):
    start = jax.random.fold_in(key, ATTACK_NAMES.index(name))
    return robustness.pgd(
      start, logits, inputs, labels, chosen[name].radius, **numbers(name), **options
    )

  return {
    "fgsm": robustness.fgsm(logits, inputs, labels, chosen.fgsm.radius),
    "bim": robustness.bim(logits, inputs, labels, chosen.bim.radius, **numbers("bim")),
    "pgd": pgd("pgd"),
    "pgd_dlr": pgd("pgd_dlr", loss="dlr"),
  }


def _attack_batch(config, operands, state):
  """The next test images; the last batch may overlap the one before."""
  params, key, position = state
  model = network(config, operands)
  n = config.test_examples
  rows = jnp.minimum(position, n - config.attack_batch) + jnp.arange(config.attack_batch)
  found = attack(
    config,
    lambda x: model.apply({"params": params}, x),
    jax.random.fold_in(key, position),
    *(a[rows] for a in operands["test"]),
  )
  return (params, key, position + config.attack_batch), found


def _joined(n, batch):
  """Batches of `batch` rows whose last one ends at n, (batches, batch, …) -> (n, …)."""

  def join(a):
    count = len(a)
    overlap = count * batch - n
    whole = a[: count - 1].reshape(-1, *a.shape[2:])
    return jnp.concatenate([whole, a[-1, overlap:]])

  return join


ATTACKS = Program(
  lambda config, operands: (*_member(config, operands, _ATTACK), jnp.zeros([], jnp.int32)),
  _attack_batch,
  lambda config, operands, state, history: jax.tree.map(
    _joined(config.test_examples, config.attack_batch), history
  ),
  steps=lambda config: -(-config.test_examples // config.attack_batch),
)


# --- activations and their principal components (sec. 3, steps 2a-2c) --------------------


def layer_shapes(config, operands):
  """{layer: shape of its output}, from the first convolution to the logits."""
  shape = operands["train"].inputs.shape[1:]
  return {b.name: b.output_shape for b in models.blocks(network(config, operands), shape)}


def codes(config, operands):
  """{name: (layer, variant)} of everything that is projected, "flat" of all layers first.

  - "flat": activations as vectors, each feature divided by its standard deviation;
  - "pool": the mean of 2 × 2 windows before that, where a convolution's output has any;
  - "global": all features divided by one number, the other reading of "normalise the matrix".
  """
  shapes = layer_shapes(config, operands)
  found = {}
  for variant in VARIANTS:
    if variant in config.variants:
      for layer, shape in shapes.items():
        if variant != "pool" or (len(shape) == 3 and min(shape[:2]) > 1):
          found[f"{variant}.{layer}"] = (layer, variant)
  return found


def vectors(activations, variant):
  """Activations of a layer as vectors, (n, …) -> (n, m)."""
  if variant == "pool":
    n, height, width, channels = activations.shape
    kept = activations[:, : height // 2 * 2, : width // 2 * 2]
    activations = kept.reshape(n, height // 2, 2, width // 2, 2, channels).mean((2, 4))
  return activations.reshape(len(activations), -1)


_CHUNK = 300  # queries handled at once


def _fit_layers(config, operands):
  """Principal components of every layer, and what Deep k-NN has to keep."""
  params, key = _member(config, operands, _LAYERS)
  model = network(config, operands)
  shown = operands["train"].inputs[: config.fit_examples]
  found = representations.in_blocks(
    lambda x: models.activations(model, {"params": params}, x), shown, 500
  )
  fitted, projected = {}, {}
  for i, (name, (layer, variant)) in enumerate(codes(config, operands).items()):
    x = vectors(found[layer], variant)
    normalise = "global" if variant == "global" else "feature"
    fitted[name] = representations.pca(
      jax.random.fold_in(key, i), x, config.dimensions, normalise=normalise
    )
    projected[name] = fitted[name](x)
  raw = {layer: vectors(a, "flat") for layer, a in found.items()}
  return {
    "params": params,
    "pca": fitted,
    "codes": projected,
    "raw": raw,
    "position": jnp.zeros([], jnp.int32),
  }


def _queries(config, operands):
  """Everything that is looked up, (queries, …): the sets, then the calibration examples.

  Last come examples of the known classes in the style of the natural inputs, if there are.
  """
  adversarial = [operands["adversarial"][name][config.member] for name in ATTACK_NAMES]
  return jnp.concatenate(
    [
      operands["test"].inputs,
      operands["natural"],
      *adversarial,
      operands["calibration"].inputs,
      operands["known"].inputs,
    ]
  )


def _count(config):
  known = config.test_examples if config.natural.known else 0
  return len(SETS) * config.test_examples + config.calibration_examples + known


def votes(config, operands, neighbours):
  """Deep k-NN's nonconformity for every class of each layer, (queries, layers, classes).

  Its sum over layers is Deep k-NN's own.

  Args:
    config: of the run.
    operands: its data.
    neighbours: (layers, queries, k) indices of training examples.
  """
  labels, classes = operands["train"].labels[: config.fit_examples], operands["classes"]
  return jnp.stack(
    [representations.nonconformity(n[None], labels, len(classes)) for n in neighbours], 1
  )


def _look_up(config, operands, state):
  """The next queries: their components, neighbours and softmax."""
  total = _count(config)
  size = min(_CHUNK, total)
  start = jnp.minimum(state["position"], total - size)
  x = lax.dynamic_slice_in_dim(_queries(config, operands), start, size)
  found = models.activations(network(config, operands), {"params": state["params"]}, x)
  projected = {
    name: state["pca"][name](vectors(found[layer], variant))
    for name, (layer, variant) in codes(config, operands).items()
  }
  raw = {layer: vectors(a, "flat") for layer, a in found.items()}
  flat = [f"flat.{layer}" for layer in raw]
  logits = found[list(found)[-1]]

  def nearest(queries, points):
    return representations.nearest(queries, points, config.neighbours, exact=False)[1]

  measured = {f"codes:{name}": value for name, value in projected.items()}
  measured |= {
    "votes": votes(
      config,
      operands,
      jnp.stack([nearest(a, state["raw"][layer]) for layer, a in raw.items()]),
    ),
    "votes_of_codes": votes(
      config,
      operands,
      lax.map(
        lambda pair: nearest(*pair),
        tuple(
          jnp.stack([table[name] for name in flat]) for table in (projected, state["codes"])
        ),
      ),
    ),
    "confidence": jax.nn.softmax(logits).max(1),
    "predicted": logits.argmax(1),
  }
  return state | {"position": state["position"] + size}, measured


def _layers_found(config, operands, state, history):
  total = _count(config)
  history = jax.tree.map(_joined(total, min(_CHUNK, total)), history)
  names = list(codes(config, operands))
  return {
    "train": {name: state["codes"][name] for name in names},
    "queries": {name: history.pop(f"codes:{name}") for name in names},
    **history,
  }


LAYERS = Program(
  _fit_layers,
  _look_up,
  _layers_found,
  steps=lambda config: -(-_count(config) // min(_CHUNK, _count(config))),
)


# --- projections to the plane (sec. 3, step 2c, and sec. 4.2) ----------------------------


def _umap_numbers(config):
  kept = {name: config.umap[name] for name in ("n_neighbors", "min_dist", "negatives")}
  return kept | {"epochs": config.umap.epochs}, kept | {"epochs": config.umap.transform_epochs}


def project(config, key, train, queries):
  """UMAP, parametric t-SNE, and a network that imitates UMAP: places of both sets.

  The two networks are trained on the same components, with the same numbers, config.tsne's.
  """
  fit_key, transform_key, tsne_key, imitate_key = jax.random.split(key, 4)
  of_fit, of_transform = _umap_numbers(config)
  fitted = representations.umap.fit(fit_key, train, **of_fit)
  hidden = tuple(config.tsne.hidden)
  numbers = {name: config.tsne[name] for name in ("batch", "epochs", "rate")}
  numbers["hidden"] = hidden
  tsne, _ = representations.parametric_tsne(
    tsne_key, train, perplexity=config.tsne.perplexity, **numbers
  )
  imitator, _ = representations.imitate(imitate_key, train, fitted.embedding, **numbers)
  return {
    "umap": fitted.embedding,
    "umap_queries": representations.umap.transform(
      transform_key, fitted, queries, **of_transform
    ),
    "tsne": representations.embed(tsne, train, hidden),
    "tsne_queries": representations.embed(tsne, queries, hidden),
    "imitated_queries": representations.embed(imitator, queries, hidden),
  }


def _embed(config, operands, state):
  del operands
  return state, project(config, jax.random.wrap_key_data(state["key"]), *state["codes"])


EMBED = Program(
  lambda config, operands: {
    "key": jax.random.key_data(jax.random.key(operands["keys"][config.member])),
    "codes": tuple(operands[name][config.member] for name in ("train_codes", "query_codes")),
  },
  _embed,
  lambda config, operands, state, history: jax.tree.map(lambda a: a[0], history),
  steps=lambda config: 1,
)


# --- clusters (sec. 3, step 2d) ----------------------------------------------------------


def _cluster(config, operands, state):
  train, queries = state
  choice = representations.choose_kmeans(
    jax.random.key(operands["keys"][config.member]), train, **config.kmeans.to_dict()
  )
  return state, {
    "train": choice.clusters(train),
    "queries": choice.clusters(queries),
    "centres": choice.clusters.centres,
    "k": choice.clusters.k,
    "silhouette": choice.silhouette,
  }


CLUSTER = Program(
  lambda config, operands: (
    operands["places"][config.member],
    operands["query_places"][config.member],
  ),
  _cluster,
  lambda config, operands, state, history: jax.tree.map(lambda a: a[0], history),
  steps=lambda config: 1,
)


# --- the experiment ---------------------------------------------------------------------


def _seeds_first(tree, names):
  """{name: (seeds, …)} as an array of members, (names · seeds, …), a name's seeds together."""
  return jnp.concatenate([jnp.asarray(tree[name]) for name in names])


def _keys(seeds, names, offset):
  """A number for each member's key, unlike those of the networks themselves."""
  return jnp.asarray(
    [offset + 1000 * i + s for i in range(len(names)) for s in seeds], jnp.int32
  )


def _stages(config, operands, seeds):
  """The first four stages, for the shapes of what each gives to the next."""
  count, names = len(seeds), list(codes(config, operands))

  def of(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)

  params = jax.eval_shape(lambda data: _init(config, data).params, operands)
  images = of(count, *operands["test"].inputs.shape)
  shared = operands | {
    "params": jax.tree.map(lambda x: of(count, *x.shape), params),
    "seeds": of(count, dtype=jnp.int32),
  }
  seen = shared | {"adversarial": dict.fromkeys(ATTACK_NAMES, images)}
  points = count * len(names)
  activations = {
    "train_codes": of(points, config.fit_examples, config.dimensions),
    "query_codes": of(points, _count(config), config.dimensions),
    "keys": of(points, dtype=jnp.int32),
  }
  everyone = {"member": range(count)}
  return {
    "train": Stage("train", PROGRAM, config, operands, {"seed": seeds}),
    "attacks": Stage("attacks", ATTACKS, config, shared, everyone),
    "layers": Stage("layers", LAYERS, config, seen, everyone),
    "embed": Stage("embed", EMBED, config, activations, {"member": range(points)}),
  }


def run(config, ctx):
  """Trains and attacks all networks, then projects and clusters every layer of each."""
  operands = prepare(config)
  seeds = ctx.seeds(config)
  stages = _stages(config, operands, seeds)
  ctx.compile_ahead(*stages.values())

  def members(name, given):
    return ctx.members(*stages[name]._replace(operands=given))

  trained = members("train", operands)
  shared = operands | {
    "params": jax.tree.map(jnp.asarray, trained["params"]),
    "seeds": jnp.asarray(seeds, jnp.int32),
  }
  adversarial = members("attacks", shared)
  seen = shared | {"adversarial": jax.tree.map(jnp.asarray, adversarial)}
  layers = members("layers", seen)

  names = list(codes(config, operands))
  flat = [name for name, (_, variant) in codes(config, operands).items() if variant == "flat"]
  activations = {
    "train_codes": _seeds_first(layers["train"], names),
    "query_codes": _seeds_first(layers["queries"], names),
    "keys": _keys(seeds, names, 1_000_000),
  }
  embedded = members("embed", activations)
  embedded = by_name(names, embedded, each=len(seeds))

  # UMAP of everything; principal components and t-SNE of the flat activations
  places = {f"umap:{name}": embedded[name]["umap"] for name in names}
  asked = {f"umap:{name}": embedded[name]["umap_queries"] for name in names}
  for name in flat:
    places[f"tsne:{name}"] = embedded[name]["tsne"]
    asked[f"tsne:{name}"] = embedded[name]["tsne_queries"]
    places[f"pca:{name}"] = layers["train"][name][..., :2]
    asked[f"pca:{name}"] = layers["queries"][name][..., :2]
  points = list(places)
  clustered = ctx.members(
    "cluster",
    CLUSTER,
    config,
    {
      "places": _seeds_first(places, points),
      "query_places": _seeds_first(asked, points),
      "keys": _keys(seeds, points, 2_000_000),
    },
    over={"member": range(len(points) * len(seeds))},
  )
  clustered = by_name(points, clustered, each=len(seeds))
  dbscan = ctx.stage(
    "dbscan",
    detection.dbscan,
    {name: places[f"umap:{name}"] for name in flat},
    {name: asked[f"umap:{name}"] for name in flat},
    min_samples=int(config.dbscan.min_samples),
    quantiles=tuple(config.dbscan.quantiles),
  )

  again = [f"{way}:{name}" for way in ("tsne", "pca") for name in flat]
  with_k = ctx.stage(
    "same_k",
    detection.clustered_with,
    config,
    _keys(seeds, again, 3_000_000),
    {name: (places[name], asked[name]) for name in again},
    {name: clustered[f"umap:{name.partition(':')[2]}"]["k"] for name in again},
  )

  shapes = layer_shapes(config, operands)
  detected = detection.scores(
    layers=list(shapes),
    clustered=clustered,
    with_k=with_k,
    dbscan=dbscan,
    imitated={name: embedded[name]["imitated_queries"] for name in flat},
    train_labels=np.asarray(operands["train"].labels)[: config.fit_examples],
    classes=operands["classes"].shape[0],
    predicted=layers["predicted"],
    variants=tuple(config.variants),
  )
  results = _measured(config, operands, seeds, layers, detected, clustered, dbscan)
  results["test_accuracy"] = trained["test_accuracy"]
  results["example"] = {
    name: {
      "places": places[f"umap:{name}"][0],
      "natural": asked[f"umap:{name}"][0, config.test_examples : 2 * config.test_examples],
      "centres": clustered[f"umap:{name}"]["centres"][0],
    }
    for name in flat
  }
  if config.timing.repeats:
    results["timed_examples"] = np.asarray(config.timing.examples)
    results |= ctx.stage("timing", _cost, config, operands, shared["params"], shapes)
  return results


def _measured(config, operands, seeds, layers, detected, clustered, dbscan):
  """What is told of every input, sets apart: (seeds, sets, examples, …)."""
  count, each = len(SETS) * config.test_examples, config.test_examples

  def by_set(a):
    return np.asarray(a)[:, :count].reshape(len(a), len(SETS), each, *a.shape[2:])

  calibration = np.asarray(operands["calibration"].labels)
  trusted = {
    name: detection.credibilities(layers[key], calibration, count)
    for name, key in (("dknn", "votes"), ("dknn_pca", "votes_of_codes"))
  }
  sizes = detection.set_sizes(detected["fractions"], config.thresholds)
  right = by_set(layers["predicted"]) == np.asarray(operands["test"].labels)
  results = {
    "seeds": np.asarray(seeds),
    "dataset": np.asarray(config.dataset),
    "thresholds": np.asarray(config.thresholds),
    "threshold": np.asarray(config.threshold),
    "accuracy": {  # natural outsiders have no label
      name: right[:, i].mean(-1) for i, name in enumerate(SETS) if name != "natural"
    },
    "confidence": by_set(layers["confidence"]),
    "plausibility": {name: by_set(a) for name, a in detected["plausibility"].items()},
    "set_sizes": {f"{t:g}": by_set(found) for t, found in sizes.items()},
    "credibility": {name: by_set(found["all"]) for name, found in trusted.items()},
    "first_layer": {
      "umap": by_set(detected["first"]),
      **{name: by_set(found["first"]) for name, found in trusted.items()},
    },
    "silhouette": {name: found["silhouette"] for name, found in clustered.items()},
    "k": {name: found["k"] for name, found in clustered.items()},
    "dbscan": {
      key: dbscan[key] for key in ("silhouette", "silhouette_clustered", "k", "noise")
    },
    "train_labels": np.asarray(operands["train"].labels)[: config.fit_examples],
  }
  if config.natural.known:
    last = slice(count + len(calibration), None)
    labels = np.asarray(operands["known"].labels)
    results["known"] = {
      "plausibility": detected["plausibility"]["umap"][:, last],
      "accuracy": (layers["predicted"][:, last] == labels).mean(-1),
    }
  return results


def _cost(config, operands, params, shapes):
  """Seconds and bytes of detection by the first of the networks."""
  params = jax.tree.map(lambda leaf: leaf[0], params)
  model = network(config, operands)

  def capture(x):
    found = models.activations(model, {"params": params}, x)
    return {layer: vectors(a, "flat") for layer, a in found.items()}

  return timing.measure(
    config,
    capture,
    operands["test"].inputs,
    {layer: math.prod(shape) for layer, shape in shapes.items()},
    _umap_numbers(config)[1],
    len(operands["classes"]),
  )

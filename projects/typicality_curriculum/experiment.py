"""Logistic regressions on tables, with rows ordered by typicality and batches scheduled.

Sections 3 to 5 of the paper: a similarity graph of the training rows (`graph_orders`), orders
by centrality, schedules of batches (`schedules`), Adam on one dense layer (`update`). A member
is a random split of a table; all methods of a split start from the same weights.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from lib import curricula
from lib.data import tables
from lib.experiment import Program, UserError, at_least
from lib.metrics import ranking
from projects.typicality_curriculum import methods

# --- tables


def check(config):
  """Raises a UserError for numbers that make no sense."""
  at_least(config, 1, "seeds", "epochs", "batch", "repeats", "increase")
  if not config.tables:
    raise UserError("config.tables is empty: name at least one table.")
  if config.seeds * len(config.tables) < 2:
    raise UserError("one split of one table has nothing to be compared over: seeds >= 2.")
  if not (config.learning_rate > 0 and config.fast_rate > 0):
    raise UserError("learning_rate and fast_rate have to be positive.")
  if not 0 < config.validation < 1:
    raise UserError(f"config.validation is {config.validation}: a share between 0 and 1.")
  if config.similarity not in ("gower", "distance"):
    raise UserError(f"config.similarity is '{config.similarity}': choose gower or distance.")
  if config.mean_norm not in ("paper", "pairs"):
    raise UserError(f"config.mean_norm is '{config.mean_norm}': choose paper or pairs.")
  flips = tuple(config.noise.flips)
  if len(flips) < 2 or list(flips) != sorted(set(flips)):
    raise UserError("config.noise.flips has to be at least two rising shares.")
  if not config.noise.table.startswith("mixed:") or not config.noise.seeds:
    raise UserError(
      "noise.table has to be a generated one, mixed:…, and noise.seeds not empty."
    )


def prepare(config):
  """name -> operands of a table: encoded and raw rows of every split, by seed."""
  check(config)
  return {
    table.name: split_table(config, table)
    for table in (tables.load(name, config.folder) for name in config.tables)
  }


def noisy_tables(config):
  """(share of wrong labels, seed of the distribution) -> operands; other labels, same rows."""
  table = config.noise.table + ("&" if "?" in config.noise.table else "?")
  return {
    (flips, seed): split_table(config, tables.load(f"{table}seed={seed}&flips={flips}"))
    for flips in config.noise.flips
    for seed in config.noise.seeds
  }


def split_table(config, table):
  """Random splits of a table, encoded by what their training rows say."""
  seeds = range(config.seed, config.seed + config.seeds)
  held = max(1, round(config.validation * table.size))
  train, rest = tables.random_splits(seeds, table.size, [table.size - held, held])
  inputs = tables.encode(table, train).inputs
  raw = table.values[train]
  return {
    "x": np.take_along_axis(inputs, train[..., None], 1),
    "y": table.targets[train],
    "raw": np.where(np.isnan(raw), 0, raw).astype(np.float32),
    "present": ~np.isnan(raw),
    "numeric": table.numeric,
    "x_held": np.take_along_axis(inputs, rest[..., None], 1),
    "y_held": table.targets[rest],
    "classes": np.zeros((len(table.class_names), 0), np.float32),
    "seeds": np.asarray(seeds, np.int32),
  }


def of_seed(config, operands):
  """This member's rows."""
  shared = ("numeric", "classes", "seeds")
  row = config.seed - operands["seeds"][0]
  return {k: v if k in shared else v[row] for k, v in operands.items()}


# --- sections 3.1 and 3.2: similarity graph, typicality, orders


def similarities(own):
  """Both similarities of the training rows, by name."""
  return {
    "gower": curricula.gower(own["raw"], own["present"], own["numeric"]),
    "distance": curricula.inverse_distance(own["x"]),
  }


def graph_orders(similarity, own, norm):
  """Orders by the three centralities, and by the two with the printed sign; the graph."""
  graph = curricula.similarity_graph(similarity, norm)
  classes = len(own["classes"])
  found, printed = (
    curricula.typicality(graph, own["y"], classes, sign) for sign in ("text", "printed")
  )
  return {
    "degree": curricula.ranking(found.degree, descending=True),
    "entropy": curricula.ranking(found.adjusted_entropy),
    "adjusted": curricula.ranking(found.degree_adjusted, descending=True),
    "entropy_printed": curricula.ranking(printed.adjusted_entropy),
    "adjusted_printed": curricula.ranking(printed.degree_adjusted, descending=True),
  }, graph


def class_drift(orders, labels, classes, batch):
  """Mean total variation between the classes of a batch and those of all rows; (O,)."""
  onehot = jax.nn.one_hot(labels, classes)

  def one(order):
    schedule = curricula.chunks(order, batch)
    weights = schedule.mask / schedule.sizes[:, None]
    shares = jnp.einsum("ub,ubk->uk", weights, onehot[schedule.indices])
    return 0.5 * jnp.abs(shares - onehot.mean(0)).sum(-1).mean()

  return jax.vmap(one)(orders)


def correlation(a, b):
  """Spearman's of two orders (n,) of the same rows."""
  a, b = (jnp.argsort(order).astype(jnp.float32) for order in (a, b))
  return jnp.corrcoef(a, b)[0, 1]


def all_orders(config, own, key):
  """(orders, n) in the order of methods.ORDERS and OTHER, and what is measured of them."""
  similarity = similarities(own)
  other = "distance" if config.similarity == "gower" else "gower"
  found, graph = graph_orders(similarity[config.similarity], own, config.mean_norm)
  others, _ = graph_orders(similarity[other], own, config.mean_norm)
  norm = "pairs" if config.mean_norm == "paper" else "paper"
  normed, normed_graph = graph_orders(similarity[config.similarity], own, norm)
  n = len(own["y"])
  found["random"] = jax.random.permutation(key, n)
  orders = jnp.stack(
    [found[o] for o in methods.ORDERS] + [others[o] for o in methods.CURRICULA]
  )
  measured = {
    "edges": graph.sum() / (n * (n - 1)),
    "alone": jnp.sum(~graph.any(1)),
    "same_edges": jnp.sum(graph & normed_graph) / jnp.sum(graph | normed_graph),
    "norms": jnp.stack([correlation(found[o], normed[o]) for o in methods.CURRICULA]),
    "similarities": jnp.stack([correlation(found[o], others[o]) for o in methods.CURRICULA]),
    "drift": class_drift(orders, own["y"], len(own["classes"]), config.batch),
  }
  return orders, measured


# --- section 4: schedules


def updates(config, scheduler, n):
  """Updates in an epoch of n rows."""
  return curricula.updates(
    scheduler,
    n,
    batch=config.batch,
    times=config.repeats,
    first=config.batch,
    increase=config.increase,
  )


def shuffled_stream(config, key, n, count):
  """`count` batches from so many shuffled epochs as it takes."""
  epochs = -(-count // updates(config, "chunks", n))

  def one(key):
    return curricula.chunks(jax.random.permutation(key, n), config.batch)

  made = jax.vmap(one)(jax.random.split(key, epochs))
  return curricula.Schedule(*(x.reshape(-1, *x.shape[2:])[:count] for x in made))


def schedules(config, loop, orders, key):
  """track -> `Schedule` with axes (methods, updates, rows), for an epoch of a loop."""
  n = orders.shape[1]
  count = updates(config, methods.SCHEDULERS[loop], n)
  fresh, stream = jax.random.split(key)
  fresh = jax.random.permutation(fresh, n)
  of = dict(zip((*methods.ORDERS, *methods.OTHER), orders, strict=True))
  of |= {"shuffled": fresh, "baseline": fresh}

  def make(scheduler, order):
    if scheduler == "ogd":
      return curricula.single(order)
    if scheduler == "br":
      return curricula.repeated(order, config.batch, config.repeats)
    if scheduler in ("mb", "fast"):
      return curricula.padded(
        curricula.chunks(order, config.batch), count, every=config.repeats
      )
    return curricula.growing(order, config.batch, config.increase)

  made = {}
  for scheduler, names in methods.LOOPS[loop]:
    if scheduler == "long":
      one = shuffled_stream(config, stream, n, count)
      made[scheduler] = jax.tree.map(lambda a: a[None], one)
    else:
      stacked = jnp.stack([of[name] for name in names])
      made[scheduler] = jax.vmap(lambda o, s=scheduler: make(s, o))(stacked)
  return made


# --- section 5: the model and its training


class Layer(NamedTuple):
  """One dense layer: kernel (d, u) and bias (u,); u = 1 for two classes."""

  kernel: jax.Array
  bias: jax.Array


def logits(layer, x):
  """(…, d) -> (…, K). One sigmoid unit is a softmax whose first logit is 0."""
  found = x @ layer.kernel + layer.bias
  if layer.bias.shape[-1] > 1:
    return found
  return jnp.concatenate([jnp.zeros_like(found), found], -1)


def batch_loss(layer, x, y, weight):
  """Mean cross entropy of the rows with weight 1 (others have 0); an empty batch has 0."""
  each = optax.losses.softmax_cross_entropy_with_integer_labels(logits(layer, x), y)
  return jnp.sum(weight * each) / jnp.maximum(jnp.sum(weight), 1.0)


def optimizer(rate):
  """Adam with the epsilon of Keras."""
  return optax.adam(rate, eps=1e-7)


def learning_rate(config, track):
  """The paper's for all but one control."""
  return config.fast_rate if track == "fast" else config.learning_rate


def update(rate, trained, x, y, weight):
  """One Adam update of one network; none for an empty batch."""
  layer, moments = trained
  gradient = jax.grad(batch_loss)(layer, x, y, weight)
  change, after = optimizer(rate).update(gradient, moments)
  new = optax.apply_updates(layer, change), after
  used = jnp.any(weight > 0)
  return jax.tree.map(lambda a, b: jnp.where(used, a, b), new, trained)


def train(config, trained, own, made):
  """Runs the schedules of all tracks of a loop side by side; track -> networks."""

  def one_update(trained, batches):
    after = {}
    for track, (indices, mask) in batches.items():
      rate = learning_rate(config, track)
      after[track] = update_all(rate, trained[track], own, indices, mask)
    return after, None

  return lax.scan(one_update, trained, by_update(made))[0]


def update_all(rate, trained, own, indices, mask):
  """One update of every network of a track with its own rows, (methods, B)."""

  def one(trained, index, mask):
    weight = mask.astype(jnp.float32)
    return update(rate, trained, own["x"][index], own["y"][index], weight)

  return jax.vmap(one)(trained, indices, mask)


def by_update(made):
  """track -> (indices, mask) with the updates as first axis."""
  return {k: tuple(jnp.moveaxis(a, 1, 0) for a in v) for k, v in made.items()}


def train_growing(config, trained, own, made):
  """The same for growing batches, as weights of all rows: no row is gathered."""
  growing, rest = made["rur"], {k: v for k, v in made.items() if k != "rur"}
  rank = jax.vmap(jnp.argsort)(growing.indices[:, 0])  # (methods, n)
  sizes = growing.sizes[0]

  def one_update(trained, batch):
    size, others = batch
    weight = (rank < size).astype(jnp.float32)

    def one(trained, weight):
      return update(config.learning_rate, trained, own["x"], own["y"], weight)

    after = {"rur": jax.vmap(one)(trained["rur"], weight)}
    for track, (indices, mask) in others.items():
      rate = learning_rate(config, track)
      after[track] = update_all(rate, trained[track], own, indices, mask)
    return after, None

  return lax.scan(one_update, trained, (sizes, by_update(rest)))[0]


# --- a member


class State(NamedTuple):
  """Networks by loop and track, the fixed orders, what was measured of them, and the key."""

  trained: dict
  orders: jax.Array
  measured: dict
  key: jax.Array


def init(config, operands):
  """Orders of the training rows, and the same network for every method."""
  own = of_seed(config, operands)
  key, order_key, layer_key = jax.random.split(jax.random.key(config.seed), 3)
  orders, measured = all_orders(config, own, order_key)
  classes = len(own["classes"])
  units = 1 if classes == 2 else classes
  kernel = jax.nn.initializers.glorot_uniform()(layer_key, (own["x"].shape[1], units))
  layer = Layer(kernel, jnp.zeros(units))

  def copies(count):
    one = layer, optimizer(config.learning_rate).init(layer)
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (count, *a.shape)), one)

  trained = {
    loop: {track: copies(len(names)) for track, names in tracks}
    for loop, tracks in methods.LOOPS.items()
  }
  return State(trained, orders, measured, key)


def step(config, operands, state):
  """One epoch of every method, then its accuracy on held-out rows and its losses."""
  own = of_seed(config, operands)
  key, *keys = jax.random.split(state.key, 1 + len(methods.LOOPS))
  trained = {}
  for loop, loop_key in zip(methods.LOOPS, keys, strict=True):
    made = schedules(config, loop, state.orders, loop_key)
    run_loop = train_growing if loop == "rur" else train
    trained[loop] = run_loop(config, state.trained[loop], own, made)
  layers = [trained[loop][track][0] for loop in trained for track, _ in methods.LOOPS[loop]]
  layers = jax.tree.map(lambda *a: jnp.concatenate(a), *layers)

  def measure(layer):
    outputs = logits(layer, own["x_held"])
    held = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, own["y_held"])
    return {
      "accuracy": jnp.mean(outputs.argmax(-1) == own["y_held"]),
      "held_out_loss": held.mean(),
      "train_loss": batch_loss(layer, own["x"], own["y"], jnp.ones(len(own["y"]))),
    }

  return State(trained, state.orders, state.measured, key), jax.vmap(measure)(layers)


def finish(config, operands, state, history):
  """Accuracies (epochs, methods), and what was measured of the orders."""
  del config, operands
  last = {name: history[name][-1] for name in ("held_out_loss", "train_loss")}
  return {"accuracy": history["accuracy"], **last, **state.measured}


PROGRAM = Program(init, step, finish, steps=lambda config: config.epochs)


# --- the run

# Wins of the row over the column in Tables 4 to 7 (baseline, degree, entropy, adjusted), with
# the printed p-values of the Friedman test and of the pairs (Table 3).
PRINTED = {
  "mb": [[0, 163, 163, 150], [95, 0, 130, 110], [98, 130, 0, 117], [110, 148, 138, 0]],
  "ogd": [[0, 89, 112, 112], [173, 0, 150, 143], [146, 105, 0, 122], [148, 103, 131, 0]],
  "br": [[0, 99, 102, 94], [163, 0, 130, 113], [161, 128, 0, 112], [169, 143, 145, 0]],
  "rur": [[0, 66, 86, 82], [196, 0, 134, 129], [181, 119, 0, 126], [179, 128, 133, 0]],
}


def printed_tests(blocks=270):
  """What the printed counts imply if there are `blocks` runs: tests of every table.

  The correction for ties divides χ² by 1 − Σ (t³ − t) / (N (k³ − k)) over groups of t equal
  scores. A pair of equal scores adds 6 to the sum if it is a group by itself, and 10 if all
  four are equal (60 for six pairs): so the counts bound the corrected p from both sides.
  """
  from scipy import special

  found = {}
  for name, won in PRINTED.items():
    won = np.array(won)
    averages = ranking.mean_ranks(won, blocks)
    statistic, _ = ranking.friedman_of_ranks(averages, blocks)
    ties = blocks - (won + won.T)[np.triu_indices(4, 1)]
    share = ties.sum() * np.array([6, 10]) / (blocks * 60)
    found[name] = {
      "ranks": averages,
      "p": special.chdtrc(3, statistic / (1 - share)),
      "pairs": ranking.nemenyi_of_ranks(averages, blocks),
      "ties": ties,
    }
  return found


def run(config, ctx):
  """Every table with every split, and what the printed tables imply."""
  results = {"seeds": np.asarray(ctx.seeds(config)), "tables": {}}
  for name, operands in prepare(config).items():
    found = ctx.members(name, PROGRAM, config, operands, over={"seed": ctx.seeds(config)})
    n = operands["x"].shape[1]
    found["updates"] = np.array(
      [config.epochs * updates(config, s, n) for s in methods.SCHEDULERS.values()]
    )
    results["tables"][name] = found
  noisy = noisy_tables(config)
  accuracy = [
    ctx.members(
      f"{100 * flips:g} % wrong labels, {seed}",
      PROGRAM,
      config,
      operands,
      over={"seed": ctx.seeds(config)},
    )["accuracy"]
    for (flips, seed), operands in noisy.items()
  ]
  shape = len(config.noise.flips), len(config.noise.seeds)
  results["noise"] = {
    "flips": np.array(config.noise.flips),
    # (shares, distributions, seeds, epochs, methods)
    "accuracy": np.reshape(accuracy, (*shape, *accuracy[0].shape)),
  }
  results["printed"] = ctx.stage("printed tables", printed_tests)
  return results

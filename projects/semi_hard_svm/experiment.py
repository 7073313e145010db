"""Genuine writers against impostors: semi-hard machines, and thresholds that do the same.

*Semi-hard margin support vector machines* (ICANN 2021). A member is a population of writers; a
step takes one of them as the target and trains every machine with every kernel and λ, on
all training examples and without each fold. `BANANA` does it once in the plane (Fig. 2).

Everything is float64. Axes of what is measured: splits (the folds, then none left out),
kernels, rows (a machine with a λ, see `rows`), thresholds (`THRESHOLDS`).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lib import kernels, numerics
from lib.data import signatures, synthetic
from lib.experiment import Program, UserError, at_least
from lib.kernels import machines
from lib.metrics import detection
from lib.models import mahalanobis

# The standard SVM (slack on both classes), one with impostors a hundred times as costly (the
# semi-hard SVM is the limit), and the paper's.
MARGINS = ("svm", "weighted", "sh_svm")
# The sphere; eq. 32 and 33 as printed, without a margin; and the dual of eq. 33 with a margin
# in the radius, as the sentence before eq. 32 has it.
SPHERES = ("sh_svdd", "printed_svdd", "mixed_svdd")
WEIGHT = 100.0
TOLERANCE = 1e-12  # of the quadratic programs: R² is large beside the margin of 1
# Of D(x): 0; raised from 0, never lowered, to where no training impostor is accepted any more;
# half way to the margin of impostors; the least that accepts no training impostor, which is
# that margin, −1, for semi-hard machines; and what the dual printed as eq. 10 amounts to.
THRESHOLDS = ("zero", "shifted", "half", "least", "printed")


def check(config):
  """Raises a `UserError` for numbers and names out of range."""
  at_least(config, 1, "seeds", "targets", "train_writers", "test_writers", "repetitions")
  at_least(config, 1, "banana.seeds", "banana.train", "banana.test")
  if config.genuine.train < 2 or config.genuine.test < 1 or config.points < 2:
    raise UserError("needs genuine.train >= 2, genuine.test >= 1 and points >= 2.")
  if not 2 <= config.folds <= config.genuine.train:
    raise UserError(f"folds is {config.folds}: give 2 to genuine.train.")
  if not config.difficulty >= 0 or not 0 <= config.copied < 1:
    raise UserError("needs difficulty >= 0 and 0 <= copied < 1.")
  if not (config.shrinkage > 0 and config.banana.gamma > 0):
    raise UserError("shrinkage and banana.gamma have to be positive.")
  for key in ("kernels", "lams"):
    if not config[key]:
      raise UserError(f"{key} is empty: name at least one.")
  if not all(0 < lam < np.inf for lam in (*config.lams, *config.banana.lams)):
    raise UserError("lams and banana.lams have to be positive numbers.")
  if config.banana.lam not in config.banana.lams:
    raise UserError(f"banana.lams must contain banana.lam, {config.banana.lam}.")
  for name in config.kernels:
    kernel(name)


def kernel(name):
  """(x1, x2, unit of γ) -> matrix of "linear", "poly:DEGREE" or "rbf:GAMMA", of d features.

  Inner products are means over features; γ is in units of 1 over the median squared distance.
  """
  kind, _, number = name.partition(":")
  try:
    if kind == "linear" and not number:
      return lambda x1, x2, unit: kernels.linear_kernel(x1, x2) / x1.shape[1]
    if kind == "poly":
      degree = int(number)
      if degree < 1:
        raise ValueError
      return lambda x1, x2, unit: (kernels.linear_kernel(x1, x2) / x1.shape[1] + 1) ** degree
    if kind == "rbf":
      gamma = float(number)
      if not 0 < gamma < np.inf:
        raise ValueError
      return lambda x1, x2, unit: kernels.rbf_kernel(x1, x2, gamma * unit)
  except ValueError:
    pass
  raise UserError(
    f"kernels has '{name}'; give linear, poly:DEGREE (1, 2, …) or rbf:GAMMA (positive)."
  )


# --- all machines of one kernel -----------------------------------------------------------


def rows(lams):
  """(machine, λ) in the order of `fit`; the twin machine has no λ (0)."""
  names = (*MARGINS, *SPHERES)
  return [(name, lam) for name in names for lam in lams] + [("sh_twsvm", 0.0)]


def ridges(name, y, lams):
  """1/λ_i of every example's slack, 0 for a hard margin; (λ, n)."""
  genuine = (1 + y) / 2
  impostors = {"svm": 1.0, "weighted": 1 / WEIGHT}.get(name, 0.0)
  return (genuine + impostors * (1 - genuine)) / jnp.asarray(lams)[:, None]


def fit(k, y, lams, where):
  """Every machine of one kernel: (machines stacked over `rows`, −mean y of supports, errors).

  All duals go through one batch of quadratic programs.
  """
  margin = jnp.concatenate([ridges(name, y, lams) for name in MARGINS])
  sphere = ridges("sh_svdd", y, lams)

  def spheres(printed):
    return jax.vmap(lambda r: machines.sphere_dual(k, y, r, where, printed))(sphere)

  twin = jax.tree.map(lambda leaf: leaf[None], machines.twin_dual(k, y, where))
  duals = [jax.vmap(lambda r: machines.margin_dual(k, y, r, where))(margin), spheres(False)]
  duals += [spheres(True), twin]
  stacked = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *duals)
  found = jax.vmap(lambda dual: numerics.solve_qp(*dual, tolerance=TOLERANCE))(stacked)
  parts = jnp.split(found.x, np.cumsum([len(dual.q) for dual in duals])[:-1])

  def made_spheres(alphas, size):
    return jax.vmap(lambda r, x: machines.sphere_machine(k, y, r, x, where, size))(
      sphere, alphas
    )

  made = [
    jax.vmap(lambda r, x: machines.margin_machine(k, y, r, x, where))(margin, parts[0]),
    made_spheres(parts[1], 1.0),
  ]
  support = (found.x > machines.SUPPORT * found.x.max(1, keepdims=True)) & where
  mean, error = jnp.sum(jnp.where(support, y, 0.0), 1) / support.sum(1), found.error
  made += [made_spheres(parts[2], 0.0), made_spheres(parts[2], 1.0)]
  again = np.r_[: 5 * len(lams), 4 * len(lams) : len(error)]  # one dual, two machines
  mean, error = mean[again], error[again]
  twin = machines.twin_machine(k, y, parts[-1][0], where)
  made.append(jax.tree.map(lambda leaf: leaf[None], twin))
  return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *made), -mean, error


def measure(scores, y, where, test_y, extra):
  """Errors of one machine from D of the training and test examples, in this order."""
  train, test = scores[: len(y)], scores[len(y) :]
  impostor = where & (y < 0)
  top = jnp.max(jnp.where(impostor, train, -jnp.inf))
  thresholds = jnp.stack(
    [jnp.zeros_like(top), jnp.maximum(top, 0), -0.5 + 0 * top, top, extra]
  )
  accepted, left = train > thresholds[:, None], ~where
  genuine, others = test[: _count(test_y)], test[_count(test_y) :]
  return {
    "top": top,
    "train_far": jnp.sum(impostor & (train > 0)) / impostor.sum(),
    "train_frr": jnp.sum(where & (y > 0) & (train <= 0)) / jnp.sum(where & (y > 0)),
    "left_false_accepts": jnp.sum(accepted & left & (y < 0), 1),
    "left_false_rejects": jnp.sum(~accepted & left & (y > 0), 1),
    "far": detection.false_accept_rate(others, thresholds),
    "frr": detection.false_reject_rate(genuine, thresholds),
    "auc": detection.auc(genuine, others),
    "frr_at_1": detection.false_reject_rate_at(genuine, others, 0.01),
  }


def _count(test_y):
  return int(np.sum(test_y > 0))


def labels(genuine, impostors):
  """Genuine examples first: +1, then −1."""
  return np.concatenate([np.ones(genuine), -np.ones(impostors)])


# --- signatures (sec. 3.1 and 3.2) --------------------------------------------------------


def draw(config, seed):
  """One population: features (targets, examples, d) and the fold of each training example.

  Examples: genuine and impostor for training, genuine and impostor for the test. Impostors of
  training and test are different writers, and imitate the target.
  """
  rng = np.random.default_rng([seed, 21])
  curve = signatures.template(rng)
  inputs, folds = [], []
  for _ in range(config.targets):
    target = signatures.styles(rng, 1)
    parts = []
    for genuine, writers in (
      (config.genuine.train, config.train_writers),
      (config.genuine.test, config.test_writers),
    ):
      others = signatures.imitation(signatures.styles(rng, writers), target, config.copied)
      others = np.repeat(others, config.repetitions, 0)
      parts += [np.repeat(target, genuine, 0), others]
    written = signatures.write(rng, curve, np.concatenate(parts), config.difficulty)
    inputs.append(signatures.features(written, config.points))
    folds.append(
      np.concatenate([rng.permutation(len(part)) % config.folds for part in parts[:2]])
    )
  return {"inputs": np.stack(inputs), "folds": np.stack(folds).astype(np.int32)}


def prepare(config):
  """All populations, and the labels of training examples."""
  check(config)
  drawn = [draw(config, config.seed + i) for i in range(config.seeds)]
  found = {key: np.stack([one[key] for one in drawn]) for key in drawn[0]}
  return found | {"first_seed": np.int32(config.seed)}


def standardised(x, n, where):
  """Mean 0 and variance 1 over the training examples there are, feature by feature."""
  weight = where / where.sum()
  mean = weight @ x[:n]
  variance = weight @ (x[:n] - mean) ** 2
  return (x - mean) / jnp.sqrt(jnp.maximum(variance, 1e-12))


def one_split(config, x, y, test_y, where):
  """Every kernel and machine trained on the examples of `where`, and the baseline CM."""
  n = len(y)
  x = standardised(x, n, where)
  unit = kernels.median_gamma(x[:n], where)
  matrices = jnp.stack([kernel(name)(x[:n], x, unit) for name in config.kernels])
  selves = jnp.stack(
    [
      jax.vmap(lambda one, name=name: kernel(name)(one[None], one[None], unit)[0, 0])(x)
      for name in config.kernels
    ]
  )

  def of_kernel(matrix_and_self):
    k, k_self = matrix_and_self
    made, printed, error = fit(k[:, :n], y, config.lams, where)
    scores = jax.vmap(lambda machine: machines.decision(machine, k, k_self))(made)
    found = jax.vmap(lambda s, extra: measure(s, y, where, test_y, extra))(scores, printed)
    return found | {"error": error}

  found = lax.map(of_kernel, (matrices, selves))
  gaussian = mahalanobis.fit_gaussian(x[:n], config.shrinkage, where & (y > 0))
  distance = mahalanobis.mahalanobis_distance(gaussian, x)
  # A distance below that of every training impostor is accepted (sec. 3).
  least = jnp.min(jnp.where(where & (y < 0), distance[:n], jnp.inf))
  return {"machines": found, "cm": measure(least - distance, y, where, test_y, 0.0 * least)}


def step(config, operands, state):
  """All machines of the next target."""
  n_impostors = config.train_writers * config.repetitions
  y = labels(config.genuine.train, n_impostors)
  test_y = labels(config.genuine.test, config.test_writers * config.repetitions)
  member = config.seed - operands["first_seed"]
  x = operands["inputs"][member, state]
  folds = operands["folds"][member, state]
  wheres = jnp.stack([folds != f for f in range(config.folds)] + [folds >= 0])
  found = lax.map(lambda w: one_split(config, x, jnp.asarray(y), test_y, w), wheres)
  flat = {f"cm/{key}": value for key, value in found["cm"].items()}
  return state + 1, flat | {f"m/{key}": value for key, value in found["machines"].items()}


def finish(config, operands, state, history):
  """Sums over folds, and the machines of all training examples: (targets, …)."""
  del operands, state
  impostors = config.train_writers * config.repetitions
  found = {"cm": {}, "m": {}}
  for key, value in history.items():
    kind, name = key.split("/")
    if name.startswith("left_false"):
      total = impostors if name.endswith("accepts") else config.genuine.train
      name = "cv_far" if name.endswith("accepts") else "cv_frr"
      found[kind][name] = value[:, : config.folds].sum(1) / total
    elif name == "error":
      found[kind][name] = value.max(1)
    else:
      found[kind][name] = value[:, config.folds]
  return found


SIGNATURES = Program(
  lambda config, operands: jnp.zeros([], jnp.int32),
  step,
  finish,
  steps=lambda config: config.targets,
  chunk=1,
)


# --- banana (Fig. 2) ----------------------------------------------------------------------

GRID = 40  # points a side of the figure's map
EXTENT = (-2.6, 1.8)


def grid():
  """The points of the map, (GRID², 2)."""
  axis = np.linspace(*EXTENT, GRID)
  return np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)


def bananas(config):
  """Training, test and map inputs of each seed, (seeds, n, 2): genuine ones first."""
  task = synthetic.banana(0, config.banana.difficulty)

  def one(seed):
    rng = np.random.default_rng([seed, 22])
    parts = []
    for count in (config.banana.train, config.banana.test):
      x, y = task.sample(rng, 8 * count + 100)
      parts += [x[y == 0][:count], x[y == 1][:count]]
    return np.concatenate(parts)

  seeds = range(config.seed, config.seed + config.banana.seeds)
  return {"inputs": np.stack([one(s) for s in seeds]), "first_seed": np.int32(config.seed)}


def banana(config, operands):
  """Every machine on one draw of the two crescents."""
  y = labels(config.banana.train, config.banana.train)
  test_y = labels(config.banana.test, config.banana.test)
  n, m = len(y), len(test_y)
  x = operands["inputs"][config.seed - operands["first_seed"]]
  x = jnp.concatenate([x, grid()])
  k = kernels.rbf_kernel(x[:n], x, config.banana.gamma)
  where = jnp.ones(n, bool)
  made, printed, error = fit(k[:, :n], jnp.asarray(y), config.banana.lams, where)
  ones = jnp.ones(len(x))
  scores = jax.vmap(lambda machine: machines.decision(machine, k, ones))(made)
  found = jax.vmap(lambda s, extra: measure(s[: n + m], jnp.asarray(y), where, test_y, extra))(
    scores, printed
  )
  whole = rows(config.banana.lams)
  shown = np.array([lam in (config.banana.lam, 0) for _, lam in whole])
  return found | {"error": error, "map": scores[np.flatnonzero(shown), n + m :]}


BANANA = Program.once(banana)


# --- the experiment -----------------------------------------------------------------------


def run(config, ctx):
  """Both data sets; arrays have the seeds first."""
  with jax.enable_x64(True):
    operands = prepare(config)
    over = {"seed": ctx.seeds(config)}
    found = ctx.members("signatures", SIGNATURES, config, operands, over=over)
    crescents = bananas(config)
    plane_seeds = range(config.seed, config.seed + config.banana.seeds)
    plane = ctx.members("banana", BANANA, config, crescents, over={"seed": plane_seeds})
  names = rows(config.lams)
  plane_names = rows(config.banana.lams)
  return {
    "machines": found["m"],
    "cm": found["cm"],
    "kernels": np.array(config.kernels),
    "row_names": np.array([name for name, _ in names]),
    "row_lams": np.array([lam for _, lam in names]),
    "banana": plane,
    "banana_names": np.array([name for name, _ in plane_names]),
    "banana_lams": np.array([lam for _, lam in plane_names]),
    "banana_lam": np.array(config.banana.lam),
    "banana_train": crescents["inputs"][0, : 2 * config.banana.train],
  }

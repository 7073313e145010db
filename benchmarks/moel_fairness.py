"""Networks under NSGA-II: the project's program against pymoo with scikit-learn's networks.

    python -m venv /tmp/venv_pymoo && /tmp/venv_pymoo/bin/pip install pymoo scikit-learn
    python -m benchmarks.moel_fairness [--python=/tmp/venv_pymoo/bin/python] [--trials=15]
        [--generations=20] [--theirs=1] [--rows=2000]

pymoo gets an environment of its own, so that nothing of it has to be installed here. Both do
the same: a population of 50 networks with 16 hidden units, in every generation tournaments,
Gaussian mutation of all weights, one epoch of Adam in minibatches of 128 for each offspring,
MSE and the two unfairnesses on a validation part, and the selection of 50 out of 100. Theirs
has pymoo's survival and tournaments and `MLPClassifier.partial_fit` (cross entropy, so that
ours is set to it too), in one process with the threads that NumPy takes.

Prints seconds a generation of a trial: ours for one trial, ours for all trials of all four
variants as one program (compilation apart), and theirs, with the ratios, and the criteria of
both at the end, to show that it is the same work.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

POPULATION, HIDDEN, BATCH, RATE, SIGMA = 50, 16, 128, 0.01, 0.01


# --- theirs: imports neither JAX nor this repository ----------------------------------------


def unfairness(p, y, groups):
  """MSE, and E_2 within and between groups, of one model."""
  b = p - y + 1
  mean = b.mean()
  between = sum(
    (groups == g).mean() * ((b[groups == g].mean() / mean) ** 2 - 1) / 2
    for g in np.unique(groups)
  )
  return np.mean((p - y) ** 2), np.mean((b / mean) ** 2 - 1) / 2 - between, between


def theirs(path, generations):
  """One trial; seconds of the generations, and the mean criteria of the last population."""
  import copy
  import warnings

  from pymoo.algorithms.moo.nsga2 import RankAndCrowdingSurvival, binary_tournament
  from pymoo.core.population import Population
  from pymoo.core.problem import Problem
  from pymoo.operators.selection.tournament import TournamentSelection
  from sklearn.neural_network import MLPClassifier

  warnings.simplefilter("ignore")
  found = np.load(path)
  x, y, x_val, y_val, groups = (found[k] for k in ("x", "y", "x_val", "y_val", "groups"))
  rng = np.random.default_rng(0)
  problem = Problem(n_var=1, n_obj=3)
  survival, selection = RankAndCrowdingSurvival(), TournamentSelection(binary_tournament)

  class Algorithm:  # what pymoo's comparison asks for
    tournament_type = "comp_by_rank_and_crowding"
    random_state = rng

  def trained(model):
    return model.partial_fit(x, y, classes=[0, 1])  # one epoch

  def network():
    model = MLPClassifier(
      (HIDDEN,),
      batch_size=BATCH,
      learning_rate_init=RATE,
      alpha=0.0,
      random_state=int(rng.integers(2**31)),
    )
    return trained(model)

  def mutated(parent):
    model = copy.deepcopy(parent)
    model._random_state = np.random.RandomState(int(rng.integers(2**31)))
    for weights in model.coefs_ + model.intercepts_:
      weights += SIGMA * rng.standard_normal(weights.shape)
    optimizer = model._optimizer  # Adam starts afresh
    optimizer.t = 0
    for moment in optimizer.ms + optimizer.vs:
      moment[...] = 0
    return trained(model)

  def evaluated(models):
    values = [unfairness(m.predict_proba(x_val)[:, 1], y_val, groups) for m in models]
    population = Population.new(X=np.arange(len(models))[:, None], F=np.array(values))
    population.set("model", models)
    for one in population:
      one.set("CV", np.zeros(1))
    return population

  population = evaluated([network() for _ in range(POPULATION)])
  population = survival.do(problem, population, n_survive=POPULATION, algorithm=Algorithm())
  start = time.perf_counter()
  for _ in range(generations):
    parents = selection.do(
      problem, population, POPULATION, 1, algorithm=Algorithm(), to_pop=False
    )[:, 0]
    offspring = evaluated([mutated(population[i].get("model")) for i in parents])
    both = Population.merge(population, offspring)
    population = survival.do(problem, both, n_survive=POPULATION, algorithm=Algorithm())
  seconds = time.perf_counter() - start
  print(json.dumps({"seconds": seconds, "criteria": population.get("F").mean(0).tolist()}))


# --- ours -----------------------------------------------------------------------------------


def settings(options):
  """The project's default config at the sizes of the comparison."""
  from configs.moel_fairness import get_config
  from lib.experiment import bind

  return bind(
    get_config(),
    {
      "dataset": f"synthetic:unequal_groups?n_train={options.rows}&n_test=0",
      "population": POPULATION,
      "hidden": HIDDEN,
      "generations": options.generations,
      "partial": {"epochs": 1, "batch": BATCH, "learning_rate": RATE, "loss": "bce"},
    },
  )


def ours(options, trials, variants):
  """(seconds, seconds of compiling, criteria) of so many trials of so many variants."""
  import jax
  import jax.numpy as jnp

  from lib.experiment import bind
  from projects.moel_fairness import experiment

  config = settings(options)
  operands = experiment.prepare(config)
  wanted = list(experiment.VARIANTS.values())[:variants]
  seeds = jnp.arange(trials).repeat(variants)
  objectives = jnp.tile(jnp.array(wanted), (trials, 1))

  def run(seed, objectives):
    names = ("error", "individual", "group")
    values = {f"objectives.{name}": objectives[i] for i, name in enumerate(names)}
    return experiment.PROGRAM(bind(config, {"seed": seed, **values}), operands)

  start = time.perf_counter()
  compiled = jax.jit(jax.vmap(run)).lower(seeds, objectives).compile()
  compile_s = time.perf_counter() - start
  best = np.inf
  for _ in range(options.repeats):
    start = time.perf_counter()
    found = jax.block_until_ready(compiled(seeds, objectives))
    best = min(best, time.perf_counter() - start)
  return best, compile_s, np.asarray(found["validation"])[0, -1, :, :3].mean(0)


def write_trial(options, folder):
  """The arrays of the first trial, for the other program."""
  import jax

  from projects.moel_fairness import experiment

  config = settings(options)
  operands = experiment.prepare(config)
  rows = experiment.split(
    config, operands, jax.random.split(jax.random.key(config.seed), 3)[0]
  )
  x, y, _ = experiment.part_of(config, operands, rows, "train")
  x_val, y_val, groups = experiment.part_of(config, operands, rows, "validation")
  path = pathlib.Path(folder, "trial.npz")
  np.savez(path, x=x, y=np.asarray(y, int), x_val=x_val, y_val=y_val, groups=groups)
  return path


def main(options):
  """Measures all three and prints them."""
  # the first generation, without selection, is one of ours too
  steps = options.generations + 1
  one, compiled_one, criteria = ours(options, 1, 1)
  print(
    f"ours, one trial: {1e3 * one / steps:.1f} ms a generation, {compiled_one:.1f} s compiling"
  )
  count = 4 * options.trials
  many, compiled, _ = ours(options, options.trials, 4)
  each = many / steps / count
  print(
    f"ours, {count} trials as one program: {1e3 * each:.2f} ms a generation and trial "
    f"({many:.1f} s, {compiled:.1f} s compiling)"
  )
  print(f"  criteria after {options.generations} generations: {np.round(criteria, 5)}")
  if not pathlib.Path(options.python).exists():
    print(f"pymoo: there is no {options.python}; see above how to make it")
    return
  with tempfile.TemporaryDirectory() as folder:
    path = write_trial(options, folder)
    command = [options.python, __file__, f"--generations={options.generations}"]
    runs = [
      json.loads(
        subprocess.run(
          [*command, f"--pymoo={path}"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
      )
      for _ in range(options.theirs)
    ]
  best = min(runs, key=lambda run: run["seconds"])
  their = best["seconds"] / options.generations
  print(f"pymoo and scikit-learn: {1e3 * their:.0f} ms a generation and trial")
  print(f"  criteria: {np.round(best['criteria'], 5)}")
  print(
    f"ours {their / (one / steps):.1f} × faster for one trial, {their / each:.1f} × for "
    f"{count} (with compilation {their * steps * count / (many + compiled):.1f} ×)"
  )


if __name__ == "__main__":
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--python", default="/tmp/venv_pymoo/bin/python")
  parser.add_argument("--trials", type=int, default=15)
  parser.add_argument("--generations", type=int, default=20)
  parser.add_argument("--rows", type=int, default=2000)
  parser.add_argument("--repeats", type=int, default=2)
  parser.add_argument("--theirs", type=int, default=1, help="how often theirs is run")
  parser.add_argument("--pymoo", help=argparse.SUPPRESS)
  found = parser.parse_args()
  if found.pymoo:
    theirs(found.pymoo, found.generations)
  else:
    sys.exit(main(found))

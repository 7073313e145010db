"""Results by the names of Table 1; β, and where it says so α, chosen on validation data.

All are arrays with the seeds first. A method is a name of `methods.LABELS`.
"""

import numpy as np

from projects.csls import methods

TABLE = ("onehot", "ts", "uls", "mixup", "dirichlet", "ets_mse", "l1", "l2", "ae", "we")
METRICS = {
  "histogram": "histogram, prediction",
  "histogram_output": "histogram, output",
  "kde": "KDE, prediction",
  "kde_output": "KDE, output",
}
SMOOTHED = (*methods.SIMILARITIES, "shuffled", "we_other", "oracle", "uls", "mixup")
SMOOTHED += ("uls_tuned", "we_tuned", "mixup_tuned")


def candidates(results, method: str) -> list[str]:
  """The members that a method is chosen from; one where nothing is."""
  alpha, beta = float(results["alpha"]), float(results["beta"])
  alphas, betas = (np.asarray(results[k], float) for k in ("alphas", "betas"))
  if method == "uls":
    names = [f"uls@{alpha:g}"]
  elif method == "uls_tuned":
    names = [f"uls@{a:g}" for a in alphas]
  elif method == "mixup":
    names = [f"mixup@{float(results['mixup']):g}"]
  elif method == "mixup_tuned":
    names = [f"mixup@{a:g}" for a in np.asarray(results["mixups"], float)]
  elif method == "oracle":
    names = [methods.name("oracle", alpha, beta)]
  elif method == "we_tuned":
    names = [methods.name("we", alpha, b) for b in betas]
    names += [methods.name("we", a, beta) for a in alphas if a != alpha]
  elif method in methods.KINDS:
    names = [methods.name(method, alpha, b) for b in betas]
  else:
    names = [method]
  return [name for name in names if name in results["methods"]]


def there(results, method: str) -> bool:
  """Whether it was run."""
  return bool(candidates(results, method))


def choice(results, method: str) -> np.ndarray:
  """Index among the candidates with the least validation ECE, of each seed."""
  names = candidates(results, method)
  if len(names) == 1:
    return np.zeros(len(results["seeds"]), int)
  found = results["methods"]
  return np.argmin([found[name]["validation_histogram"] for name in names], axis=0)


def value(results, method: str, metric: str, scaled: bool = False) -> np.ndarray:
  """A metric of a method on the test split, (seeds, …).

  Args:
    results: of the run.
    method: its name.
    metric: its name.
    scaled: with a temperature fitted on validation data.
  """
  where = results["scaled" if scaled else "methods"]
  if method == "ts":
    return np.asarray(results["scaled"]["onehot"][metric])
  stack = np.stack([np.asarray(where[name][metric]) for name in candidates(results, method)])
  return stack[choice(results, method), np.arange(stack.shape[1])]


def sweep(results, kind: str, over: str, metric: str) -> np.ndarray:
  """A metric over the grid of α or β at the paper's value of the other, (seeds, grid)."""
  alpha, beta = float(results["alpha"]), float(results["beta"])
  if over == "beta":
    names = [methods.name(kind, alpha, b) for b in results["betas"]]
  elif kind == "uls":
    names = [f"uls@{a:g}" for a in results["alphas"]]
  else:
    names = [methods.name(kind, a, beta) for a in results["alphas"]]
  return np.stack([np.asarray(results["methods"][name][metric]) for name in names], 1)


def zero_beta(results, metric: str) -> np.ndarray:
  """A metric of WE over (0, *betas) at the paper's α, (seeds, 1 + grid).

  The limit β = 0 is labels that spread α evenly over the other classes.
  """
  limit = np.asarray(results["methods"]["uls_matched"][metric])
  return np.concatenate([limit[:, None], sweep(results, "we", "beta", metric)], 1)


def _onehot(results, name: str) -> np.ndarray:
  return np.asarray(results["methods"]["onehot"][f"{name}_history"])


def epoch_of_equal_accuracy(results, method: str) -> np.ndarray:
  """Where the validation accuracy of one-hot training is nearest to a method's last one."""
  wanted = value(results, method, "validation_accuracy_history")[:, -1:]
  return np.abs(_onehot(results, "validation_accuracy") - wanted).argmin(1)


def epoch_of_least_loss(results) -> np.ndarray:
  """Where the validation loss of one-hot training is least, (seeds,)."""
  return _onehot(results, "validation_nll").argmin(1)


def stopped(results, epoch: np.ndarray, metric: str) -> np.ndarray:
  """Test "ece", "nll" or "accuracy" of one-hot training stopped at an epoch, (seeds,)."""
  return _onehot(results, f"test_{metric}")[np.arange(len(epoch)), epoch]


def ended(results, method: str, metric: str) -> np.ndarray:
  """The same of a method at its last epoch, on the same test examples."""
  return value(results, method, f"test_{metric}_history")[:, -1]

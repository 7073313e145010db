"""Runs a sweep as many processes, on this machine or as a SLURM array.

    python -m launch.sweep --project=ntk --config=configs/ntk.py --workdir=runs/widths \
        --sweep=width=100,1000,10000 --sweep=seed=0:64 [--split=seed:16] [--jobs=2]
    python -m launch.sweep ... --cluster=slurm --time_min=60 --gpus=1 [--slurm partition=gpu]
    python -m launch.sweep ... --cluster=slurm --nodes=2 --tasks_per_node=4   8 processes each
    python -m launch.sweep ... --dry_run      what would be started
    python -m launch.sweep ... --status       what is finished and what failed

A task is a process of the project's own `--sweep`, which runs its members as compiled batches.
Every value of every swept key but `seed` is a task of its own unless --split says how many
values go together: `--split=seed:16` cuts the seeds, `--split=beta:8` puts 8 values of beta in
one program. A task that fails does not stop the others. The same command runs what is missing,
each task from its last checkpoint; on SLURM a task that is preempted or out of time saves,
is queued again and goes on. A task of several processes shares its members among them
(docs/clusters.md). The members of all tasks end up in WORKDIR/sweep.csv.
"""

import csv
import importlib
import itertools
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from launch import processes
from launch.command_line import Parser, mistakes_in_one_line
from lib.experiment import UserError, bind, configs, rundir
from lib.experiment.accelerators import PRECISIONS
from lib.experiment.errors import did_you_mean
from lib.experiment.sweep import Axis, csv_text, parse
from projects.__main__ import projects


class Task(NamedTuple):
  """Part of a sweep: its folder, and the arguments of Python that run it."""

  directory: pathlib.Path
  command: tuple[str, ...]

  @property
  def finished(self) -> bool:
    """Whether its results are there."""
    return (self.directory / "results.json").exists()

  @property
  def log(self) -> pathlib.Path:
    """Its output, errors too."""
    return self.directory / "log.txt"


class ClusterTask:
  """A task as submitit calls it: it saves and is queued again when its place is taken.

  It may be called in several processes, which share the members of the task's run.
  """

  def __init__(self, task: Task):
    self.task = task
    self._process: subprocess.Popen | None = None

  def __call__(self) -> int:
    """Runs the task, or this process's part of it; its exit status."""
    import submitit

    here = submitit.JobEnvironment()
    self.task.directory.mkdir(parents=True, exist_ok=True)
    with self.task.log.open("ab") as log:
      self._process = subprocess.Popen(
        [sys.executable, *self.task.command, *_process_flags(here)],
        cwd=processes.ROOT,
        stdout=log,
        stderr=subprocess.STDOUT,
      )
      # Not wait(): the signal that calls `checkpoint` would find its lock taken.
      while (status := self._process.poll()) is None:
        time.sleep(0.2)
    stopped = 128 + signal.SIGTERM
    if status == stopped and here.global_rank:
      return status  # the first process has the whole task queued again
    if status:
      raise RuntimeError(f"exit status {status}: {processes.last_line(self.task.log)}")
    return status

  def checkpoint(self):
    """Asks the run to save and leave, and says what to queue: the same task again."""
    import submitit

    if self._process is not None and self._process.poll() is None:
      self._process.send_signal(signal.SIGTERM)
      os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
    return submitit.helpers.DelayedSubmission(ClusterTask(self.task))

  def __getstate__(self):
    return {"task": self.task, "_process": None}


def _process_flags(here) -> list[str]:
  """Where a process of several stands, unless the run finds that out on SLURM itself."""
  if here.num_tasks == 1 or here.cluster == "slurm":
    return []
  port = 49152 + int(here.raw_job_id) % 8192
  return [
    f"--coordinator={here.hostnames[0]}:{port}",
    f"--processes={here.num_tasks}",
    f"--process={here.global_rank}",
  ]


# --- tasks -----------------------------------------------------------------------------------


def tasks(
  project: str,
  config: str,
  overrides: Sequence[str],
  axes: Sequence[Axis],
  sizes: dict[str, int],
  workdir: pathlib.Path,
) -> list[Task]:
  """All combinations of the parts into which the axes are cut.

  Args:
    project, config: names of the project and of its config file.
    overrides: `--config.key=value` and other flags of every task.
    axes: of the sweep.
    sizes: key -> how many values go together; 1 for the others, all for `seed`.
    workdir: the tasks' folders are made in it.
  """
  parts = []
  for axis in axes:
    size = sizes.get(axis.key, len(axis.values) if axis.key == "seed" else 1)
    parts.append([axis.values[i : i + size] for i in range(0, len(axis.values), size)])
  found = []
  for chosen in itertools.product(*parts):
    names, sweeps = [], []
    for axis, values in zip(axes, chosen, strict=True):
      texts = [str(value) for value in values]
      names.append(f"{axis.key}={texts[0]}" + (f"..{texts[-1]}" if len(texts) > 1 else ""))
      sweeps.append(f"--sweep={axis.key}={','.join(texts)}")
    name = re.sub(r"[^\w.=+,-]+", "_", ",".join(names))
    directory = workdir / "tasks" / f"{len(found):04d}_{name}"[:120]
    arguments = ("-m", f"projects.{project}.main", f"--config={config}", *overrides, *sweeps)
    found.append(Task(directory, (*arguments, f"--workdir={directory}")))
  return found


def _checked(
  options, overrides: Sequence[tuple[str, str]]
) -> tuple[list[Axis], dict[str, int]]:
  """The axes and the sizes of their parts, with everything that can be wrong found now."""
  known = projects()
  if options.project not in known:
    hint = did_you_mean(options.project, known)
    raise UserError(f"There is no project '{options.project}'.{hint}")
  project = importlib.import_module(f"projects.{options.project}.main").PROJECT
  if project.program is None:
    raise UserError(f"'{options.project}' is not one pure function, so it cannot be swept.")
  config = configs.override(configs.load(options.config), overrides)
  axes = parse(config, options.sweep)
  if not axes:
    raise UserError("There is nothing to sweep; write --sweep=key=v1,v2,v3.")
  for axis in axes:
    for value in axis.values:
      project.check(bind(config, {axis.key: value}))
  sizes = {}
  for text in options.split:
    key, _, number = text.partition(":")
    if key not in [axis.key for axis in axes]:
      raise UserError(f"'--split={text}': '{key}' is not swept.")
    if number and (not number.isdigit() or int(number) < 1):
      raise UserError(f"'--split={text}' has to be KEY or KEY:NUMBER.")
    sizes[key] = int(number or 1)
  return axes, sizes


def _claim(workdir: pathlib.Path, identity: dict) -> None:
  """Keeps what the folder's sweep is, and refuses another one."""
  file = workdir / "launch.json"
  text = json.dumps(identity, indent=2, sort_keys=True) + "\n"
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    if file.exists() and file.read_text("utf-8") != text:
      raise UserError(
        f"'{workdir}' holds another sweep (launch.json); give another --workdir."
      )
    rundir.write_whole(file, lambda out: out.write(text.encode()))
  except OSError as error:
    raise UserError(f"Cannot write in '{workdir}': {error.strerror}.") from error


# --- running ---------------------------------------------------------------------------------


def run_here(missing: Sequence[Task], jobs: int) -> None:
  """Runs tasks as processes of this machine, `jobs` at a time."""
  pool = processes.Processes()

  def one(task: Task) -> None:
    task.directory.mkdir(parents=True, exist_ok=True)
    ended = pool.run(task.command, task.log)
    state = "finished" if ended.status == 0 else f"exit status {ended.status}"
    print(f"{task.directory.name}: {state} after {ended.seconds:.1f} s", flush=True)

  with pool.ended_by_signals(), ThreadPoolExecutor(jobs) as threads:
    list(threads.map(one, missing))


def submit(missing: Sequence[Task], options, workdir: pathlib.Path) -> list:
  """Submits tasks as one array; returns submitit's jobs.

  Raises:
    UserError: submitit or the cluster is not there, or it refuses a parameter.
  """
  try:
    import submitit
  except ImportError as error:
    raise UserError("--cluster needs submitit: pip install 'ansatz[cluster]'.") from error
  try:
    # How often a task that ran out of time is queued again: it goes on from its checkpoint.
    executor = submitit.AutoExecutor(
      workdir / "submitit", cluster=options.cluster, slurm_max_num_timeout=100
    )
    executor.update_parameters(**cluster_parameters(options))
    with executor.batch():  # one array
      return [executor.submit(ClusterTask(task)) for task in missing]
  except (RuntimeError, ValueError, NameError, TypeError, OSError) as error:
    message = str(error).splitlines()[0]
    raise UserError(f"The cluster '{options.cluster}' did not take it: {message}") from error


def cluster_parameters(options) -> dict:
  """Parameters of submitit's executor."""
  found = {
    "name": f"ansatz-{options.project}",
    "timeout_min": options.time_min,
    "cpus_per_task": options.cpus,
    "mem_gb": options.mem_gb,
    "gpus_per_node": options.gpus,
    "nodes": options.nodes,
    "tasks_per_node": options.tasks_per_node,
    "slurm_array_parallelism": options.jobs,
  }
  found = {key: value for key, value in found.items() if value is not None}
  extra = dict(text.partition("=")[::2] for text in options.slurm)
  return found | {f"slurm_{key}": value for key, value in extra.items()}


# --- the summary -----------------------------------------------------------------------------


def summarise(every: Sequence[Task], workdir: pathlib.Path) -> int:
  """Prints a line a task, joins the members' tables, and returns how many are missing."""
  rows, lines, missing = [], [], 0
  for task in every:
    if task.finished:
      metrics = json.loads((task.directory / "results.json").read_text("utf-8"))["metrics"]
      with (task.directory / "sweep.csv").open(encoding="utf-8", newline="") as file:
        rows += csv.DictReader(file)
      bad = metrics["members_failed"]
      why = f"{bad} of {metrics['members']} members not finite" if bad else ""
      state = f"finished, {metrics['members']} members"
    else:
      missing += 1
      why = processes.last_line(task.log)
      state = "not finished" if task.log.exists() else "not started"
    lines.append((task.directory.name, state, why))
  width = [max(len(line[i]) for line in lines) for i in range(2)]
  for name, state, why in lines:
    print(f"{name:<{width[0]}}  {state:<{width[1]}}  {why}".rstrip())
  print(f"{len(every) - missing} of {len(every)} tasks finished.")
  if rows:
    names = list(dict.fromkeys(name for row in rows for name in row))
    whole = [{name: row.get(name, "") for name in names} for row in rows]
    rundir.write_whole(workdir / "sweep.csv", lambda f: f.write(csv_text(whole).encode()))
    print(f"members: {workdir / 'sweep.csv'}")
  return missing


# --- the command line ------------------------------------------------------------------------


def _parser() -> Parser:
  parser = Parser("launch.sweep", __doc__)
  add = parser.add_argument
  add("--project", required=True, help="its name")
  add("--config", help="config file, with :preset (default: the project's)")
  add("--sweep", action="append", default=[], help="key=v1,v2 or seed=0:64; repeatable")
  add(
    "--split", action="append", default=[], help="KEY:NUMBER of values in a task; repeatable"
  )
  add("--workdir", required=True, help="folder of the whole sweep")
  add("--jobs", type=int, help="tasks at a time (default: 1 here, all on a cluster)")
  add("--cluster", choices=("slurm", "local"), help="submit; local tries it on this machine")
  add("--time_min", type=int, default=240, help="minutes a task may take before it requeues")
  add("--cpus", type=int, help="of a process")
  add("--gpus", type=int, help="of a node")
  add("--mem_gb", type=float, help="memory of a node")
  add("--nodes", type=int, help="nodes that share a task's members (default: 1)")
  add("--tasks_per_node", type=int, help="its processes on each; one a GPU (default: 1)")
  add("--precision", choices=tuple(PRECISIONS), help="of products on accelerators")
  add(
    "--slurm", action="append", default=[], help="other sbatch options, KEY=VALUE; repeatable"
  )
  add("--dry_run", "--dry-run", action="store_true", help="print what would be started")
  add("--status", action="store_true", help="print what is finished, start nothing")
  return parser


@mistakes_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
  """Exit status: 0 when all is finished or submitted, 1 when not, 2 for mistakes."""
  options, rest = _parser().parse_known_args(arguments)
  options.config = options.config or f"configs/{options.project}.py"
  workdir = pathlib.Path(options.workdir).resolve()
  pairs = []
  for text in rest:
    key, sign, value = text.removeprefix("--config.").partition("=")
    if not text.startswith("--config.") or not sign:
      raise UserError(f"'{text}' is not an option; see python -m launch.sweep --help.")
    pairs.append((key, value))
  for name in ("jobs", "nodes", "tasks_per_node"):
    number = getattr(options, name)
    if number is not None and number < 1:
      raise UserError(f"--{name} has to be at least 1, not {number}.")
  axes, sizes = _checked(options, pairs)
  if options.precision:
    rest.append(f"--precision={options.precision}")
  every = tasks(options.project, options.config, rest, axes, sizes, workdir)
  missing = [task for task in every if not task.finished]
  if options.dry_run:
    _print_plan(options, every, missing)
    return 0
  identity = {"project": options.project, "config": options.config, "overrides": rest}
  identity |= {"sweep": {axis.key: list(axis.values) for axis in axes}, "split": sizes}
  _claim(workdir, identity)
  if missing and not options.status:
    if options.cluster:
      jobs = submit(missing, options, workdir)
      print(
        f"Submitted {len(jobs)} of {len(every)} tasks: job {jobs[0].job_id.split('_')[0]}."
      )
      print("The same command with --status says how far they are.")
      return 0
    run_here(missing, options.jobs or 1)
  return 1 if summarise(every, workdir) else 0


def _print_plan(options, every: Sequence[Task], missing: Sequence[Task]) -> None:
  for task in missing:
    print(shlex.join(["python", *task.command]))
  where = "here" if not options.cluster else f"on {options.cluster}"
  print(f"{len(missing)} of {len(every)} tasks would run {where}.")
  if options.cluster:
    print("\n".join(f"  {key}={value}" for key, value in cluster_parameters(options).items()))


if __name__ == "__main__":
  sys.exit(main())

"""The absl entry point: every `main.py` names its project and calls `main`."""

import contextlib
import io
import json
import os
import pathlib
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict

from lib.experiment import accelerators, configs
from lib.experiment.claims import Claim
from lib.experiment.errors import UserError, did_you_mean
from lib.experiment.program import bind

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_FLAGS = {
  "config": "config file with an optional preset, configs/NAME.py[:preset]",
  "config.KEY": "overrides one key of the config",
  "workdir": "run directory; the same one resumes (default runs/NAME/PRESET)",
  "sweep": "KEY=v1,v2,... or KEY=start:stop; repeat it for a grid of all combinations",
  "only": "'report' makes claims, figures and report of a finished run again",
  "devices": "devices that a CPU is divided into to share the members (default: its cores)",
  "memory_gb": "memory that a batch of members may take on a device",
  "precision": "of float32 products on accelerators; a CPU computes the same under all three:",
  "coordinator": "HOST:PORT of process 0, when several processes share the run",
  "processes": "how many processes share the run; SLURM gives all three by itself",
  "process": "which of them this one is, from 0; process 0 writes",
  "peer_timeout_s": "seconds to wait for the other processes, and for one that is silent",
  "checkpoint_every_s": "least seconds between two checkpoints inside a stage",
  "list": "prints all projects with a line each",
}


@dataclass(frozen=True)
class Project:
  """What the entry point needs to know of a project.

  Attributes:
    name: of its folder in `projects/` and its file in `configs/`.
    run: (config, ctx) -> measured results, a nested dict of arrays.
    claims: checked against the results.
    figures: drawn from the results.
    metrics: results -> {name: number}.
    program: one member as pure functions, for `--sweep`; None when there is none.
    prepare: config -> operands of the program.
    check: raises `UserError` for a config with impossible numbers; it is asked before
      anything is run, about every value of a sweep too.
    summary: a line for reports, by default the first of `main.py`'s docstring.
  """

  name: str
  run: Callable[[ConfigDict, Any], Mapping[str, Any]]
  claims: Sequence[Claim]
  figures: Sequence[Any]
  metrics: Callable[[Mapping[str, Any]], Mapping[str, Any]]
  program: Any = None
  prepare: Callable[[ConfigDict], Any] = lambda config: ()
  check: Callable[[ConfigDict], None] = lambda config: None
  summary: str = ""

  @classmethod
  def of(cls, name: str, experiment, claims, figures) -> "Project":
    """A project from its modules, by the names they use.

    Args:
      name: of the project.
      experiment: has `run`, and where there are such `PROGRAM`, `prepare` and `check`.
      claims: has `CLAIMS` and `metrics`.
      figures: has `FIGURES`.
    """
    names = {"program": "PROGRAM", "prepare": "prepare", "check": "check"}
    given = {key: getattr(experiment, n) for key, n in names.items() if hasattr(experiment, n)}
    return cls(name, experiment.run, claims.CLAIMS, figures.FIGURES, claims.metrics, **given)


def main(project: Project) -> None:
  """Parses the command line, runs the project and exits.

  Exit status: 0 when it ran to its end, 2 for a mistake of the user, 130 and 143 when
  Ctrl-C or SIGTERM ended it (the same command resumes it), 1 with a traceback for a fault
  of the program, 3 when another process of the same run was lost. Work that is valid whenever
  it ends exits with 0 then too (see `Stopped`).
  """
  _define_flags()
  overrides: list[tuple[str, str]] = []
  try:
    app.run(
      lambda argv: _start(project, overrides),
      flags_parser=lambda argv: _parse(project, argv, overrides),
    )
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


def _define_flags() -> None:
  if "workdir" in flags.FLAGS:
    return
  flags.DEFINE_string("config", None, _FLAGS["config"])
  flags.DEFINE_string("workdir", None, _FLAGS["workdir"])
  flags.DEFINE_multi_string("sweep", [], _FLAGS["sweep"])
  flags.DEFINE_enum("only", None, ["report"], _FLAGS["only"])
  flags.DEFINE_integer("devices", None, _FLAGS["devices"], lower_bound=1)
  flags.DEFINE_float("memory_gb", None, _FLAGS["memory_gb"], lower_bound=1e-3)
  choices = list(accelerators.PRECISIONS)
  flags.DEFINE_enum("precision", accelerators.PRECISION, choices, _FLAGS["precision"])
  flags.DEFINE_string("coordinator", None, _FLAGS["coordinator"])
  flags.DEFINE_integer("processes", None, _FLAGS["processes"])
  flags.DEFINE_integer("process", None, _FLAGS["process"])
  flags.DEFINE_float("peer_timeout_s", 60.0, _FLAGS["peer_timeout_s"], lower_bound=1)
  flags.DEFINE_float("checkpoint_every_s", 20.0, _FLAGS["checkpoint_every_s"], lower_bound=0)
  flags.DEFINE_bool("list", False, _FLAGS["list"])


def _parse(project: Project, argv: Sequence[str], overrides: list) -> list[str]:
  """Moves `--config.key=value` to `overrides`, then lets absl parse the rest."""
  if any(a in ("--help", "-h", "-help", "--helpfull", "--helpshort") for a in argv[1:]):
    print(_help(project))
    sys.exit(0)
  rest, pending = [argv[0]], None
  for argument in argv[1:]:
    if pending is not None and not argument.startswith("--"):
      overrides.append((pending, argument))
      pending = None
    elif pending is not None:
      break
    elif argument.lstrip("-").startswith("config.") and argument.startswith("-"):
      key, sign, value = argument.lstrip("-")[len("config.") :].partition("=")
      if sign:
        overrides.append((key, value))
      else:
        pending = key
    else:
      rest.append(argument)
  if pending is not None:
    raise UserError(f"'--config.{pending}' has no value; write --config.{pending}=VALUE.")
  try:
    left = flags.FLAGS(rest)
  except flags.UnrecognizedFlagError as error:
    hint = did_you_mean(error.flagname, _FLAGS)
    raise UserError(f"There is no flag '--{error.flagname}'.{hint}") from error
  except flags.Error as error:
    raise UserError(f"{error}.".replace("..", ".")) from error
  if left[1:]:
    raise UserError(f"'{left[1]}' is not a flag; options are written --name=value.")
  return left


def _help(project: Project) -> str:
  lines = [
    f"{project.name}: {_summary(project)}",
    "",
    f"  python -m projects.{project.name}.main --config=configs/{project.name}.py[:preset]",
    "",
  ]
  width = max(map(len, _FLAGS))
  for name, text in _FLAGS.items():
    lines.append(f"  --{name:<{width}}  {text}")
    if name == "precision":
      lines += [f"    {'':<{width}}  {k}: {v}" for k, v in accelerators.PRECISIONS.items()]
      lines[-len(accelerators.PRECISIONS)] += " (the default)"
  config = configs.load(f"configs/{project.name}.py")
  lines += ["", f"keys of configs/{project.name}.py and their defaults:", ""]
  lines += [f"  --config.{key}={value!r}" for key, value in configs.flatten(config).items()]
  return "\n".join(lines)


def _summary(project: Project) -> str:
  if project.summary:
    return project.summary
  module = sys.modules.get("__main__")
  return ((module and module.__doc__) or project.name).strip().splitlines()[0]


def _start(project: Project, overrides: Sequence[tuple[str, str]]) -> None:
  options = flags.FLAGS
  if options.list:
    from projects.__main__ import table

    print(table())
    return
  from lib.experiment import processes

  logging.set_verbosity(logging.WARNING)
  place = processes.place(options.coordinator, options.processes, options.process)
  config = configs.load(options.config or f"configs/{project.name}.py")
  config = configs.override(config, overrides)
  overridden = bool(overrides or options.sweep or options.precision != accelerators.PRECISION)
  together = processes.join(place, options.peer_timeout_s)
  sys.exit(
    together.run(
      lambda: run(
        project,
        config,
        workdir=options.workdir,
        sweeps=options.sweep,
        only=options.only,
        devices=options.devices,
        memory_gb=options.memory_gb,
        precision=options.precision,
        checkpoint_every_s=options.checkpoint_every_s,
        overridden=overridden,
        processes=together,
      )
    )
  )


def run(
  project: Project,
  config: ConfigDict,
  *,
  workdir: str | None = None,
  sweeps: Sequence[str] = (),
  only: str | None = None,
  devices: int | None = None,
  memory_gb: float | None = None,
  precision: str = accelerators.PRECISION,
  checkpoint_every_s: float = 20.0,
  overridden: bool = False,
  processes: Any = None,
) -> int:
  """Runs a project in a run directory and returns the exit status; see the flags' help.

  Of several `processes` all run the project, and the first does everything else.
  """
  _configure_jax(devices, precision)
  from lib.experiment import context, progress, rundir
  from lib.experiment import sweep as sweep_module
  from lib.experiment.processes import Processes

  project.check(config)
  axes = sweep_module.parse(config, sweeps)
  if axes and project.program is None:
    raise UserError(f"'{project.name}' is not one pure function, so it cannot be swept.")
  for axis in axes:
    for value in axis.values:
      project.check(bind(config, {axis.key: value}))
  identity = {"project": project.name, **configs.as_json(config)}
  if axes:
    identity["sweep"] = {axis.key: list(axis.values) for axis in axes}
  identity["--precision"] = precision  # a config may have a key of that name
  earlier = {"--precision": accelerators.PRECISION}
  workdir = workdir or _default_workdir(project, config, identity, overridden)
  processes = processes or Processes()
  writer = processes.writer
  if not writer:
    logging.set_verbosity(logging.ERROR)
  with contextlib.ExitStack() as stack:
    directory = None
    if writer:
      directory = stack.enter_context(rundir.RunDirectory(workdir, identity, earlier))
    processes.agree("the config", identity, _the_same)
    bars = progress.Progress(None if writer else io.StringIO())
    path = pathlib.Path(workdir)
    ctx = context.Context(path, memory_gb, checkpoint_every_s, bars, processes)
    restore = _on_signals(ctx)
    try:
      with bars:
        if only == "report":
          measured = rundir.load_arrays(path / "measured.npz") if writer else None
          if writer and measured is None:
            raise UserError(f"'{path}' has no finished run to report on.")
        elif axes:
          measured = sweep_module.run(ctx, project.program, project.prepare, config, axes)
        else:
          measured = project.run(config, ctx)
        if not writer:
          return 0
        rundir.save_arrays(path / "measured.npz", measured)
        measured = rundir.load_arrays(path / "measured.npz")
      if axes:
        _finish_sweep(project, config, directory, ctx, axes, measured)
      else:
        _finish(project, config, directory, ctx, measured, only)
    except context.Stopped as stopped:
      if writer:
        print(
          f"Stopped by {stopped}; '{path}' keeps what was done, and the same command "
          "goes on from there.",
          file=sys.stderr,
        )
      if stopped.found:
        print(stopped.found)
        return 0
      return 128 + getattr(signal, str(stopped)).value
    finally:
      ctx.close()
      restore()
  return 0


def _the_same(identities: Sequence[Mapping[str, Any]]) -> None:
  """Raises when a process was started with another config than process 0."""
  from lib.experiment import rundir

  for index, identity in enumerate(identities):
    differing = rundir.difference(json.loads(json.dumps(identities[0])), identity)
    if index and differing:
      raise UserError(
        f"Process {index} was started with another config than process 0 "
        f"({'; '.join(differing[:5])}); all need the same command."
      )


def _configure_jax(devices: int | None, precision: str) -> None:
  """Devices, precision and the cache of compiled programs; all that is configured of JAX."""
  import jax

  # XLA runs batched products on one thread of a CPU device: members over as many devices as
  # there are cores train 1.6 times faster on two (docs/PERFORMANCE.md).
  wanted = devices or (None if os.environ.get("JAX_NUM_CPU_DEVICES") else _cores())
  try:
    if wanted is not None:
      jax.config.update("jax_num_cpu_devices", wanted)
  except RuntimeError:  # JAX has been used before, as in a notebook
    if devices is not None and jax.local_device_count() != devices:
      raise
  accelerators.devices(devices)
  jax.config.update("jax_default_matmul_precision", precision)
  if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    jax.config.update("jax_compilation_cache_dir", str(home / "ansatz" / "xla"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
  warnings.filterwarnings("ignore", message="Some donated buffers were not usable")


def _cores() -> int:
  """Cores that this process may run on; a cluster gives each process its own."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def _default_workdir(project, config, identity, overridden: bool) -> pathlib.Path:
  """runs/NAME/PRESET, and a folder of its own for each set of overrides."""
  name = config.get("preset", "default")
  if overridden:
    import hashlib

    text = json.dumps(identity, sort_keys=True).encode()
    name += f"-{hashlib.sha256(text).hexdigest()[:8]}"
  return pathlib.Path("runs") / project.name / name


def _on_signals(ctx) -> Callable[[], None]:
  """SIGTERM and the first Ctrl-C ask the run to save and leave; a second Ctrl-C ends it."""

  def ask(number, _):
    if ctx.stop_requested and number == signal.SIGINT:
      raise KeyboardInterrupt
    ctx.stop_requested = signal.Signals(number).name

  try:
    before = {n: signal.signal(n, ask) for n in (signal.SIGTERM, signal.SIGINT)}
  except ValueError:  # not in the main thread, as in a notebook's worker
    return lambda: None

  def restore():
    for number, handler in before.items():
      signal.signal(number, handler)

  return restore


def _header(project, config, ctx) -> dict[str, Any]:
  import jax

  from lib.experiment import report

  return {
    "project": project.name,
    "preset": config.get("preset", "default"),
    "config": configs.as_json(config),
    "versions": report.versions(),
    "backend": jax.default_backend(),
    "devices": [f"{d.device_kind} {i}" for i, d in enumerate(jax.devices())],
    "precision": jax.config.jax_default_matmul_precision,
    "peak_memory": accelerators.peak_memory(),
    "wall_s": ctx.total("wall_s"),
    "compile_s": ctx.total("compile_s"),
  }


def _console():
  from rich.console import Console

  terminal = sys.stdout.isatty()
  return Console(width=None if terminal else 140, highlight=False)


def _finish(project, config, directory, ctx, measured, only) -> None:
  from lib.experiment import claims, report

  rows = claims.evaluate(project.claims, measured)
  results = _header(project, config, ctx)
  results["metrics"] = report.flat_metrics(project.metrics(measured))
  results["claims"] = rows
  file = directory.path / "results.json"
  if only == "report" and file.exists():  # the run's own times and versions stay
    old = json.loads(file.read_text("utf-8"))
    for key in ("versions", "backend", "devices", "peak_memory", "wall_s", "compile_s"):
      results[key] = old.get(key)
  figures = [figure for figure in project.figures if figure.applies(measured)]
  paths = report.draw(directory.path, figures, measured)
  directory.write_json("results.json", results)
  directory.write_text("report.md", report.markdown(results, figures, _summary(project)))
  console = _console()
  report.print_claims(f"{project.name} ({results['preset']})", rows, console)
  if results["preset"] == "smoke":
    console.print("The sizes of smoke show that everything runs; its verdicts mean little.")
  _print_paths(console, "figures", paths)
  _print_paths(console, "report", [directory.path / "report.md", file])
  _print_cost(console, results)


def _finish_sweep(project, config, directory, ctx, axes, measured) -> None:
  from lib.experiment import sweep

  table = sweep.rows(axes, sweep.flatten(measured))
  directory.write_text("sweep.csv", sweep.csv_text(table))
  results = _header(project, config, ctx)
  bad = sweep.failed(table)
  results["sweep"] = {axis.key: list(axis.values) for axis in axes}
  results["metrics"] = {"members": len(table), "members_failed": len(bad)}
  results["claims"] = []
  directory.write_json("results.json", results)
  console = _console()
  sweep.print_summary(axes, table, console)
  for row in bad:
    where = ", ".join(f"{axis.key}={row[axis.key]}" for axis in axes)
    console.print(f"not finite: {where}")
  _print_paths(console, "members", [directory.path / n for n in ("sweep.csv", "measured.npz")])
  _print_cost(console, results)


def _print_cost(console, results: Mapping[str, Any]) -> None:
  from lib.experiment import report

  for line in report.cost(results):
    console.print(f"{line}.", soft_wrap=True)


def _print_paths(console, title: str, paths: Sequence[pathlib.Path]) -> None:
  if paths:
    console.print(f"{title}:")
    for path in paths:
      console.print(f"  {path}", soft_wrap=True)

"""``nfkd --engine HOST …``: commands that use the engine of another machine, over ssh."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

import msgspec

from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig
from nfkd.protocol import requests
from nfkd.protocol.comparing import ReadRunValues, RunValues
from nfkd.remote.client import EngineConnection
from nfkd.remote.copying import RunCopy, copying
from nfkd.remote.errors import RemoteError, RequestRefusedError, describe_info, require_reply
from nfkd.remote.hosts import EngineHost, find_engine
from nfkd.remote_run import Engine, follow_run
from nfkd.terminal import INTERRUPTED, say, terminal
from nfkd.text import NAME_LENGTH, name_problem, plain

if TYPE_CHECKING:
    from nfkd.protocol.run_rows import RunRow
    from nfkd.table_formats import Row

DONE, FAILED, REFUSED = 0, 1, 2
_RUNS = Path("runs")
_Reply = TypeVar("_Reply")
Export = Callable[[argparse.Namespace, Path, Path], int]
"""Exports a run by the options of ``nfkd export``: options, the run, and the folder for the results."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that come before the command."""
    remote = parser.add_argument_group("another machine", "For run, list, show, export and copy.")
    remote.add_argument(
        "--engine", metavar="HOST", help="use the engine there, over ssh: a name of the studio's list, or an ssh host"
    )
    remote.add_argument("--python", metavar="COMMAND", help="the Python there that has NFKD (default: python3)")
    remote.add_argument("--folder", metavar="DIR", help="the folder of runs there (default: ~/nfkd-runs)")


def add_copy_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``nfkd --engine HOST copy``."""
    parser.add_argument("run", metavar="RUN", help="the name of a run there, or its directory")
    parser.add_argument("--out", metavar="DIR", help="the copy's directory (default: its name in ./runs)")


def perform_remotely(options: argparse.Namespace, export: Export) -> int:
    """Execute a command of ``nfkd`` with the engine of another machine; return the exit code.

    Parameters
    ----------
    options
        All options; ``name`` is the command.
    export
        Exports the copy of a run.

    Raises
    ------
    ConfigError
        When an option cannot be used.
    """
    commands: dict[str, Callable[[argparse.Namespace, EngineHost], int]] = {
        "run": _run,
        "list": _list,
        "show": _show,
        "copy": _copy,
        "export": lambda options, host: _export(options, host, export),
    }
    command = commands.get(options.name)
    if command is None:
        message = f"nfkd {options.name} has no --engine: enter it on that machine, with ssh"
        raise ConfigError([ConfigProblem("--engine", message)])
    try:
        return command(options, _host(options))
    except RequestRefusedError as error:
        if error.problems:
            raise ConfigError(error.problems) from error
        say(f"nfkd: {error}", stderr=True)
        return REFUSED
    except RemoteError as error:
        say(f"nfkd: {error}", stderr=True)
        return FAILED


def refuse_remote_options(options: argparse.Namespace) -> None:
    """Refuse what needs ``--engine`` where that is missing; raises `ConfigError`."""
    for name in ("python", "folder"):
        if getattr(options, name) is not None:
            raise ConfigError([ConfigProblem(f"--{name}", "needs --engine HOST before it")])


def _host(options: argparse.Namespace) -> EngineHost:
    host = find_engine(options.engine)
    changes = {"command": options.python, "folder": options.folder}
    return dataclasses.replace(host, **{name: value for name, value in changes.items() if value is not None})


@contextmanager
def _connected(host: EngineHost) -> Iterator[Engine]:
    with closing(Engine(host)) as engine:
        yield engine


def _ask(engine: Engine, request: requests.Request, kind: type[_Reply]) -> _Reply:
    return require_reply(kind, engine.persist(lambda connection: connection.request(request)))


# --- commands ---------------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace, host: EngineHost) -> int:
    _refuse_local(options)
    config = ExperimentConfig.load(options.experiment, options.set)
    with _connected(host) as engine:
        if options.resume:
            run = _start(engine, _resumption(engine, options.out, config))
        else:
            run = _start(engine, requests.Run(config=config.to_toml(), folder=host.runs_folder))
        engine.note(f"The run is {plain(run)} on {plain(host.name)}. It continues there if the connection is cut.")
        snapshot = follow_run(engine, run)
    if snapshot.error is not None and snapshot.row.state == "failed":
        say(f"nfkd: {describe_info(snapshot.error)}", stderr=True)
        return FAILED
    from nfkd.console import print_summary

    print_summary(snapshot)
    again = _command_again(options)
    say(f"The run is in {plain(run)} on {plain(host.name)}. To copy it: {again} copy {shlex.quote(run)}")
    if snapshot.row.state == "finished":
        return DONE
    changes = "".join(f" --set {shlex.quote(change)}" for change in options.set)
    experiment = shlex.quote(options.experiment)
    say(f"To continue: {again} run {experiment}{changes} --out {shlex.quote(run)} --resume", stderr=True)
    return INTERRUPTED


def _command_again(options: argparse.Namespace) -> str:
    """Return the begin of a command for the same engine."""
    python = f" --python {shlex.quote(options.python)}" if options.python is not None else ""
    return f"nfkd --engine {shlex.quote(options.engine)}{python}"


def _resumption(engine: Engine, out: str, config: ExperimentConfig) -> requests.ResumeFromDisk:
    """Return the request that resumes a run there, which must have this experiment."""
    row = _find_run(engine, out)
    own = ExperimentConfig.from_toml(_ask(engine, requests.ReadFigures(run=row.run), requests.Snapshot).config)
    if path := own.first_difference(config):
        message = "the run has another experiment, which differs here: give the experiment.toml of a copy of the run"
        raise ConfigError([ConfigProblem(path, message)], row.run)
    return requests.ResumeFromDisk(run=row.run)


def _refuse_local(options: argparse.Namespace) -> None:
    problems: list[ConfigProblem] = []
    if options.resume and not options.out:
        problems.append(ConfigProblem("--resume", "needs --out with the name of the run there, or its directory"))
    if options.out and not options.resume:
        reason = "the engine there names the run's directory; give its folder with --folder before the command"
        problems.append(ConfigProblem("--out", f"cannot be used with --engine: {reason}"))
    if options.fetch:
        reason = "the data is read there: enter nfkd data fetch on that machine"
        problems.append(ConfigProblem("--fetch", f"cannot be used with --engine: {reason}"))
    if problems:
        raise ConfigError(problems)


def _start(engine: Engine, request: requests.Run | requests.ResumeFromDisk) -> str:
    """Start or resume a run. After a cut it is not sent again: it may have started."""
    connection = engine.persist(lambda connection: connection)
    try:
        reply = connection.request(request)
    except RemoteError as error:
        action = "Whether the run has started is not known: look with nfkd --engine HOST list."
        raise RemoteError(msgspec.structs.replace(error.error, action=action)) from error
    return require_reply(requests.RunAccepted, reply).run


def _list(options: argparse.Namespace, host: EngineHost) -> int:
    from nfkd.list_command import print_runs
    from nfkd.runs.run_values import run_values

    with _connected(host) as engine:
        listed = _ask(engine, requests.ListRuns(folder=options.directory or host.runs_folder), requests.RunList)

        def values_of(rows: Sequence[RunRow], columns_only: bool) -> list[Row]:
            if columns_only:
                return [run_values(row, folder=listed.folder) for row in rows]
            request = ReadRunValues(runs=[row.run for row in rows], folder=listed.folder)
            values = _ask(engine, request, RunValues).values
            return [values[row.run] for row in rows if row.run in values]

        print_runs(options, f"{listed.folder} on {host.name}", listed.rows, listed.unreadable, values_of)
    return DONE


def _show(options: argparse.Namespace, host: EngineHost) -> int:
    from nfkd.console import print_evaluation, print_summary
    from nfkd.runs.evaluation_file import EVALUATION, read_evaluations

    with _connected(host) as engine, tempfile.TemporaryDirectory() as folder:
        run = _find_run(engine, options.run).run
        snapshot = _ask(engine, requests.ReadFigures(run=run), requests.Snapshot)
        copy = RunCopy(run, Path(folder), names=[EVALUATION])
        engine.persist(lambda connection: _fetch(connection, run, copy))
        evaluations = read_evaluations(Path(folder))
    print_summary(snapshot)
    for evaluation in evaluations:
        print_evaluation(evaluation)
    return DONE


def _copy(options: argparse.Namespace, host: EngineHost) -> int:
    with _connected(host) as engine:
        row = _find_run(engine, options.run)
        target = (Path(options.out) if options.out else _RUNS / _local_name(row)).absolute()
        active = _copy_run(engine, row.run, target)
    say(f"The run is in {plain(str(target))}")
    if active:
        say("It is still in training there: this is the state of the moment when the copy began.")
    return DONE


def _export(options: argparse.Namespace, host: EngineHost, export: Export) -> int:
    with tempfile.TemporaryDirectory() as folder:
        with _connected(host) as engine:
            row = _find_run(engine, options.run)
            name = _local_name(row)
            run = Path(folder) / name
            _copy_run(engine, row.run, run)
        return export(options, run, Path(name))


def _local_name(row: RunRow) -> str:
    """Return the name of a run for a directory here; the engine may send any text, such as a path."""
    if problem := name_problem(row.name):
        message = f"its name there, {plain(row.name, NAME_LENGTH)}, {problem}: rename it there"
        raise ConfigError([ConfigProblem("RUN", message)])
    return row.name


def _copy_run(engine: Engine, run: str, target: Path) -> bool:
    """Copy a run with a progress bar; return whether it is in training."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=terminal(stderr=True)) as bars:
        task = bars.add_task(plain(PurePosixPath(run).name), total=None)
        engine.note = lambda text: bars.console.print(text, highlight=False, soft_wrap=True)
        with copying(run, target, lambda done, total: bars.update(task, completed=done, total=total)) as copy:
            return engine.persist(lambda connection: _fetch(connection, run, copy))


def _fetch(connection: EngineConnection, run: str, copy: RunCopy) -> bool:
    """Copy the files of a run. Its folder is listed each time: after a cut it may be another engine."""
    connection.request(requests.ListRuns(folder=str(PurePosixPath(run).parent)))
    return connection.perform(copy.steps())


def _find_run(engine: Engine, text: str) -> RunRow:
    """Return the row of a run by its name, its path below the folder of runs, or its directory.

    Raises
    ------
    ConfigError
        When there is none, or several.
    """
    is_path = text.startswith(("/", "~/"))
    folder = str(PurePosixPath(text).parent) if is_path else engine.host.runs_folder
    listed = _ask(engine, requests.ListRuns(folder=folder), requests.RunList)
    path = PurePosixPath(listed.folder) / (PurePosixPath(text).name if is_path else text)
    found = [row for row in listed.rows if row.run == str(path)] or [row for row in listed.rows if row.name == text]
    if len(found) == 1:
        return found[0]
    where = f"{plain(listed.folder)} on {plain(engine.host.name)}"
    if not found:
        raise ConfigError([ConfigProblem("RUN", f"there is no run {plain(text)} in {where}; see nfkd --engine … list")])
    paths = ", ".join(plain(row.run) for row in found[:3])
    raise ConfigError([ConfigProblem("RUN", f"{len(found)} runs in {where} have this name: give one of {paths}")])

"""The directories of runs: names, the state file, and the table of a folder. Opens no HDF5."""

from __future__ import annotations

import errno
import os
import re
import time
from itertools import count
from pathlib import Path

import msgspec
import tomlkit

from nfkd.config import ConfigError, DataConfig, ExperimentConfig
from nfkd.config.toml import read_text
from nfkd.files import (
    FileError,
    is_folder,
    is_regular,
    is_taken,
    open_for_update,
    read_limited,
    read_tail,
    replace_file,
)
from nfkd.protocol.codec import encode_json
from nfkd.protocol.events import ErrorInfo, LogLine, RunRow
from nfkd.runs.building import building, is_temporary, process_lives, process_started
from nfkd.runs.errors import FULL, RunError, describe_error, errno_of
from nfkd.runs.lock import NAME as LOCK
from nfkd.runs.lock import run_lock
from nfkd.text import is_utf8_name, name_problem, plain

STATE = "state.json"
EXPERIMENT = "experiment.toml"
GROUP = "group.toml"
LOG = "log.jsonl"
RUN_FILE = "run.h5"
LIVING = {"queued", "running", "paused"}
"""States of a run that a process is at, or is about to be."""
STATE_LIMIT = 1 << 20
"""Bytes of a state or a verdict at most; NFKD writes a few thousand."""
_LOG_LIMIT = 4 << 20  # bytes of a log that are read, from its end
_LINE = 20_000  # characters of a line that are shown
_LATEST = 253_402_300_800.0 - 86_400  # seconds: a day before the year 10000, in every time zone
_FAULTS = 10  # of an experiment, in a message
_FIELD = re.compile(r"`\$\.([\w.]+)`")
_ENDED = "Its process ended before it was done; Resume goes on from the last checkpoint."


class State(msgspec.Struct, kw_only=True, frozen=True):
    """What the state file holds: the row, who writes the run, and why it failed if it did."""

    row: RunRow
    pid: int
    born: float
    """Start time of the process; detects a reused PID."""
    error: ErrorInfo | None = None


def is_run(path: Path) -> bool:
    """Return whether a directory has a run's state, even one that cannot be read.

    False for a directory that this user may not look into, such as lost+found.
    """
    return is_taken(path / STATE) and not is_temporary(path)


def create_run(folder: Path, config: ExperimentConfig, *, teacher: str, student: str) -> Path:
    """Make the directory of a new run under a folder; a number is added to a name that is taken.

    Parameters
    ----------
    folder
        Made where it is missing.
    config
        The experiment; its name is the directory's.
    teacher, student
        The flows in a few words, for the table.

    Raises
    ------
    RunError
        When the directory cannot be made.
    """
    for number in count(1):
        path = folder / (config.name if number == 1 else f"{config.name}-{number}")
        if is_taken(path):
            continue
        try:
            with building(path) as directory:
                _fill(directory, path, config, teacher, student)
        except (OSError, ValueError) as error:  # a ValueError: a null character in the name
            if is_folder(folder) or not is_taken(folder):
                if getattr(error, "errno", None) in {errno.EEXIST, errno.ENOTEMPTY}:
                    continue  # another process was quicker
                raise _not_made(path, error) from error
            raise RunError(
                title="The run cannot be made",
                cause=f"{folder} is not a directory.",
                action="Choose another runs folder.",
            ) from None
        return path
    raise AssertionError  # the count never ends


def create_run_at(path: Path, config: ExperimentConfig, *, teacher: str, student: str) -> Path:
    """Make the directory of a new run at this very path.

    A directory that is there may be empty, or hold what a process that was killed has left of the same experiment.

    Raises
    ------
    RunError
        As `create_run`; also when anything else is in the directory.
    """
    path = path.absolute()
    try:
        if not is_taken(path):
            with building(path) as directory:
                _fill(directory, path, config, teacher, student)
        elif all(_unfinished(entry, config) for entry in path.iterdir()):
            _fill(path, path, config, teacher, student)
        else:
            raise _taken(path)
    except (OSError, ValueError) as error:  # a ValueError: a null character in the name
        raise _not_made(path, error) from error
    return path


def _taken(path: Path) -> RunError:
    if is_run(path):
        hint = "Give --resume to continue it, or another directory."
    elif (path / EXPERIMENT).exists():
        hint = "If a run was killed there before it began, delete the directory; else give another one."
    else:
        hint = "Give another directory."
    return RunError(title="The run cannot be made", cause=f"{path} is not empty.", action=hint)


def _not_made(path: Path, error: Exception) -> RunError:
    full = errno_of(error) in FULL
    action = "Free some space, or choose another folder." if full else "Choose a folder that you may write to."
    title = "The disk is full" if full else "The run cannot be made"
    return RunError(title, f"{path}: {describe_error(error)}.", action)


def _data_label(config: DataConfig) -> str:
    """Return what the table of runs calls a data set: a file by its name, all others by their kind."""
    path = getattr(config, "path", "")
    return Path(path).name or config.kind.replace("_", " ")


def _fill(directory: Path, path: Path, config: ExperimentConfig, teacher: str, student: str) -> None:
    """Write the files of a new run that will be at `path`. The state file comes last: it marks a run."""
    row = RunRow(
        run=str(path),
        name=path.name,
        state="queued",
        data=_data_label(config.data),
        teacher=teacher,
        student=student,
        created=time.time(),
        seeds=config.seeds.count,
        seeds_done=0,
        progress=0.0,
    )
    for name, data in _texts(config).items():
        replace_file(directory / name, data)
    for seed in config.seeds.values():
        seed_directory(directory, config, seed).mkdir(exist_ok=True)
    write_row(directory, row)


def _texts(config: ExperimentConfig) -> dict[str, bytes]:
    """Return the files that describe a run, by name."""
    texts = {EXPERIMENT: config.to_toml().encode()}
    if config.seeds.count > 1:
        group = {"seeds": config.seeds.values(), "retrain_teacher": config.seeds.retrain_teacher}
        texts[GROUP] = tomlkit.dumps(group).encode()
    return texts


def _unfinished(entry: Path, config: ExperimentConfig) -> bool:
    """Return whether an entry of a run's directory is what `_fill` leaves when its process is killed.

    Nothing is lost when `_fill` starts again: whole files are those that it would write, byte for byte, the others are
    its temporary ones, and directories are empty.
    """
    texts = _texts(config)
    if entry.is_symlink():
        return False
    if entry.is_dir():
        return entry.name in {f"seed-{seed}" for seed in config.seeds.values()} and not any(entry.iterdir())
    if not is_regular(entry):
        return False
    if entry.name in texts:
        data = texts[entry.name]
        return entry.stat().st_size == len(data) and read_limited(entry, len(data)) == data
    return entry.name in {f"{name}.tmp" for name in (*texts, STATE)} | {LOCK}


def seed_directory(run: Path, config: ExperimentConfig, seed: int) -> Path:
    """Return the directory of a seed: the run's own where there is only one."""
    return run if config.seeds.count == 1 else run / f"seed-{seed}"


def write_row(run: Path, row: RunRow, error: ErrorInfo | None = None) -> None:
    """Write a run's state, this process being its writer.

    Where there is no room for a new file, the old one is written over: that the run has failed for want of room has to
    be said, too.
    """
    state = State(row=row, pid=os.getpid(), born=process_started(), error=error)
    try:
        replace_file(run / STATE, _json(state))
    except OSError:
        if not is_regular(run / STATE):
            raise
        _write_over(run / STATE, _json(msgspec.structs.replace(state, error=_short(error))))


def _json(state: State) -> bytes:
    return msgspec.json.format(encode_json(state), indent=2)


def _short(error: ErrorInfo | None) -> ErrorInfo | None:
    return None if error is None else msgspec.structs.replace(error, traceback="")


def _write_over(path: Path, data: bytes) -> None:
    """Write a small file into the room that it has; a block's rest is blank."""
    with open_for_update(path) as file:
        file.write(data.ljust(os.fstat(file.fileno()).st_size))
        file.truncate()


def read_state(run: Path) -> State:
    """Read a run's state; a run whose writer has died is *interrupted*.

    Raises
    ------
    RunError
        When there is none, or it cannot be read.
    """
    run = run.absolute()
    path = run / STATE
    try:
        state = msgspec.json.decode(read_limited(path, STATE_LIMIT), type=State)
        _check(state)
    except FileNotFoundError as error:
        raise RunError(
            title="This is no run", cause=f"{run} has no {STATE}.", action="Name a run's directory."
        ) from error
    except (OSError, ValueError, ArithmeticError, RecursionError) as error:  # msgspec's own errors are ValueErrors, too
        raise RunError(
            title="The run cannot be read",
            cause=describe_trouble(path, error),
            action="Its run.h5 and its weights can still be used.",
        ) from error
    row = msgspec.structs.replace(state.row, run=str(run), name=run.name)
    if row.state in LIVING and not process_lives(state.pid, state.born):
        row = msgspec.structs.replace(row, state="interrupted", cause=row.cause or _ENDED)
    return msgspec.structs.replace(state, row=row)


def _check(state: State) -> None:
    """Refuse values that no run has: they would fail later, where a time is shown or a number sent."""
    if not is_time(state.row.created):
        msg = "`$.row.created` is no time"
        raise ValueError(msg)
    msgspec.msgpack.encode(state)  # an OverflowError where a number is too large for the wire


def is_time(seconds: float) -> bool:
    """Return whether seconds since 1970 are a time that can be shown."""
    return 0 <= seconds < _LATEST


def describe_trouble(path: Path, error: Exception) -> str:
    """Return why a file of a run cannot be read, in one sentence."""
    if isinstance(error, FileError):
        return f"{error}."
    if isinstance(error, OSError):
        return f"{path}: {describe_error(error)}."
    found = _FIELD.search(str(error))
    where = f" at {found[1]}" if found else ""
    return f"{path} is damaged or was not written by NFKD{where}."


def read_row(run: Path) -> RunRow:
    """Read a run's row; raises as `read_state`."""
    return read_state(run).row


def read_config(run: Path) -> ExperimentConfig:
    """Read the experiment of a run.

    Raises
    ------
    RunError
        When it is missing or not valid any more.
    """
    try:
        return ExperimentConfig.from_toml(read_text(run / EXPERIMENT))
    except ConfigError as error:
        if not is_taken(run / EXPERIMENT):
            cause = f"{run} has no {EXPERIMENT}."
            raise RunError(title="This is no run", cause=cause, action="Name a run's directory.") from error
        words = "; ".join(str(problem) for problem in error.problems[:_FAULTS])
        raise RunError(
            title="The run's experiment cannot be read", cause=f"{run / EXPERIMENT}: {words}.", action=""
        ) from error


def append_log(run: Path, line: LogLine) -> None:
    """Add a line to a run's log."""
    with open_for_update(run / LOG, append=True) as file:
        file.write(encode_json(line) + b"\n")


def read_log(run: Path) -> list[LogLine]:
    """Return a run's log without incomplete lines; of a long log, the last 4 MiB."""
    try:
        data, is_cut = read_tail(run / LOG, _LOG_LIMIT)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [_log_line(run, f"The log cannot be read: {describe_trouble(run / LOG, error)}")]
    read = []
    for line in data.splitlines()[int(is_cut) :]:  # the first line may be cut
        try:
            found = msgspec.json.decode(line, type=LogLine)
        except (ValueError, RecursionError):
            continue
        if is_time(found.time):
            text = found.text if len(found.text) <= _LINE else f"{found.text[:_LINE]} …"
            read.append(msgspec.structs.replace(found, text=text))
    if is_cut:
        first = read[0].time if read else 0.0
        words = f"Older lines are left out: {run / LOG} is larger than {_LOG_LIMIT >> 20} MiB."
        read.insert(0, _log_line(run, words, first))
    return read


def _log_line(run: Path, words: str, at: float = 0.0) -> LogLine:
    return LogLine(run=str(run), level="warning", text=words, time=at)


def refuse_living(run: Path, verb: str) -> None:
    """Refuse to move a run away from under its writer, in whichever process that is."""
    row = read_state(run).row
    if row.state in LIVING:
        raise RunError(title=f"The run cannot be {verb}", cause=f"{row.name} is {row.state}.", action="Stop it first.")
    with run_lock(run):
        pass


def list_runs(folder: Path) -> tuple[list[RunRow], list[str]]:
    """Return the rows of a folder's runs, newest first, and what could not be read.

    Raises
    ------
    RunError
        When the folder cannot be read; one that is not there has no runs.
    """
    try:
        paths = [path for path in folder.iterdir() if is_run(path)]
    except FileNotFoundError:
        return [], []
    except (OSError, ValueError) as error:  # a ValueError: a null character in the name
        raise RunError(
            title="The runs cannot be listed",
            cause=f"{folder}: {describe_error(error)}.",
            action="Choose another folder.",
        ) from error
    rows, unreadable = [], []
    for path in paths:
        if not is_utf8_name(path.name):
            unreadable.append(f"{plain(str(path))}: its name is not valid UTF-8. Rename the folder.")
            continue
        try:
            rows.append(read_row(path))
        except RunError as error:
            unreadable.append(str(error))
    return sorted(rows, key=lambda row: row.created, reverse=True), sorted(unreadable)


def rename_run(run: Path, name: str) -> Path:
    """Give a run's directory another name; return the new path.

    Raises
    ------
    RunError
        When the name is not fit for a directory or taken.
    """
    name = name.strip()
    if problem := name_problem(name):
        cause = f"The name {problem}."
        raise RunError(title="The run cannot be renamed", cause=cause, action="Choose another name.")
    target = run.with_name(name)
    refuse_living(run, "renamed")
    if is_taken(target):
        raise RunError(
            title="The run cannot be renamed",
            cause=f"There is already a {name} in {run.parent}.",
            action="Choose another name.",
        )
    try:
        run.rename(target)
    except OSError as error:
        raise RunError(title="The run cannot be renamed", cause=f"{run}: {error.strerror}.", action="") from error
    return target

"""Directories of runs: their files, and how to create, list and rename them. Opens no HDF5."""

from __future__ import annotations

import errno
import time
from itertools import count
from pathlib import Path

from nfkd.building import building, is_temporary
from nfkd.config import ConfigError, DataConfig, ExperimentConfig
from nfkd.config.distillation import loss_label
from nfkd.config.toml import read_text
from nfkd.config.toml_writer import dump_toml
from nfkd.files import is_folder, is_regular, is_taken, read_limited, replace_file
from nfkd.protocol.events import RunRow
from nfkd.runs.errors import FULL, RunError, describe_error, errno_of
from nfkd.runs.folder_scan import rows_of, scan_listed
from nfkd.runs.lock import NAME as LOCK
from nfkd.runs.lock import run_lock
from nfkd.runs.state import ACTIVE, STATE, read_row, write_row
from nfkd.text import name_problem

EXPERIMENT = "experiment.toml"
GROUP = "group.toml"
RUN_FILE = "run.h5"
_MAX_PROBLEMS = 10  # in one message


def is_run(path: Path) -> bool:
    """Return whether a directory has a state file, even an unreadable one.

    False for a directory that this user may not list, such as lost+found.
    """
    return is_taken(path / STATE) and not is_temporary(path)


def create_run(folder: Path, config: ExperimentConfig, *, teacher: str, student: str) -> Path:
    """Create the directory of a new run in a folder; a number is added to a name that is taken.

    Parameters
    ----------
    folder
        Created if missing.
    config
        The experiment; its name becomes the directory's.
    teacher, student
        Short labels of the flows, for the table of runs.

    Raises
    ------
    RunError
        When the directory cannot be created.
    """
    for number in count(1):
        path = folder / (config.name if number == 1 else f"{config.name}-{number}")
        if is_taken(path):
            continue
        try:
            with building(path) as directory:
                _fill(directory, path, config, teacher, student)
        except (OSError, ValueError) as error:  # ValueError: a null character in the name
            if is_taken(folder) and not is_folder(folder):
                raise RunError(
                    title="The run cannot be created",
                    cause=f"{folder} is not a directory.",
                    action="Choose another runs folder.",
                ) from None
            if getattr(error, "errno", None) in {errno.EEXIST, errno.ENOTEMPTY}:
                continue  # another process took the name meanwhile
            raise _creation_error(path, error) from error
        return path
    raise AssertionError  # the count never ends


def create_run_at(path: Path, config: ExperimentConfig, *, teacher: str, student: str) -> Path:
    """Create the directory of a new run at exactly this path.

    An existing directory may be empty, or hold what a killed process left of the same experiment.

    Raises
    ------
    RunError
        As in `create_run`; also when the directory holds anything else.
    """
    path = path.absolute()
    try:
        if not is_taken(path):
            with building(path) as directory:
                _fill(directory, path, config, teacher, student)
        elif all(_is_leftover(entry, config) for entry in path.iterdir()):
            _fill(path, path, config, teacher, student)
        else:
            raise _not_empty(path)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise _creation_error(path, error) from error
    return path


def _not_empty(path: Path) -> RunError:
    if is_run(path):
        hint = "Give --resume to continue it, or another directory."
    elif (path / EXPERIMENT).exists():
        hint = "If a run was killed there before it began, delete the directory. Otherwise give another one."
    else:
        hint = "Give another directory."
    return RunError("The run cannot be created", f"{path} is not empty.", hint)


def _creation_error(path: Path, error: Exception) -> RunError:
    full = errno_of(error) in FULL
    action = "Free some space, or choose another folder." if full else "Choose a folder that you may write to."
    title = "The disk is full" if full else "The run cannot be created"
    return RunError(title, f"{path}: {describe_error(error)}.", action)


def _data_label(config: DataConfig) -> str:
    """Return the name of the data file, or the kind of the data set."""
    path = getattr(config, "path", "")
    return Path(path).name or config.kind.replace("_", " ")


def _fill(directory: Path, path: Path, config: ExperimentConfig, teacher: str, student: str) -> None:
    """Write the files of a new run whose final path is `path`. The state file comes last, because it marks a run."""
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
        digest=config.digest(),
        loss=loss_label(config.distillation.model_dump()),
    )
    for name, data in _config_files(config).items():
        replace_file(directory / name, data)
    for seed in config.seeds.values():
        seed_directory(directory, config, seed).mkdir(exist_ok=True)
    write_row(directory, row)


def _config_files(config: ExperimentConfig) -> dict[str, bytes]:
    """Return the content of the files that describe a run, by name."""
    files = {EXPERIMENT: config.to_toml().encode()}
    if config.seeds.count > 1:
        group = {"seeds": config.seeds.values(), "retrain_teacher": config.seeds.retrain_teacher}
        files[GROUP] = dump_toml(group).encode()
    return files


def _is_leftover(entry: Path, config: ExperimentConfig) -> bool:
    """Return whether `_fill` may overwrite an entry of the directory, because a killed `_fill` of this config made it.

    That is an empty seed directory, a file with exactly the content that `_fill` would write, or a temporary file.
    """
    files = _config_files(config)
    if entry.is_symlink():
        return False
    if entry.is_dir():
        return entry.name in {f"seed-{seed}" for seed in config.seeds.values()} and not any(entry.iterdir())
    if not is_regular(entry):
        return False
    if entry.name in files:
        data = files[entry.name]
        return entry.stat().st_size == len(data) and read_limited(entry, len(data)) == data
    return entry.name in {f"{name}.tmp" for name in (*files, STATE)} | {LOCK}


def seed_directory(run: Path, config: ExperimentConfig, seed: int) -> Path:
    """Return the directory of a seed: the run's own if there is only one seed."""
    return run if config.seeds.count == 1 else run / f"seed-{seed}"


def read_config(run: Path) -> ExperimentConfig:
    """Read the experiment of a run.

    Raises
    ------
    RunError
        When it is missing or not valid any more.
    """
    path = run / EXPERIMENT
    try:
        return ExperimentConfig.from_toml(read_text(path))
    except ConfigError as error:
        if not is_taken(path):
            raise RunError(
                title="This is not a run", cause=f"{run} has no {EXPERIMENT}.", action="Name a run's directory."
            ) from error
        problems = "; ".join(str(problem) for problem in error.problems[:_MAX_PROBLEMS])
        raise RunError(title="The run's experiment cannot be read", cause=f"{path}: {problems}.") from error


def refuse_active(run: Path, verb: str) -> None:
    """Raise a `RunError` if a run is active in any process; `verb` says what was to be done with it."""
    row = read_row(run)
    if row.state in ACTIVE:
        raise RunError(title=f"The run cannot be {verb}", cause=f"{row.name} is {row.state}.", action="Stop it first.")
    with run_lock(run):
        pass


def list_runs(folder: Path) -> tuple[list[RunRow], list[str]]:
    """Return the rows of the runs in a folder and its sub-folders, newest first, and a message for each problem.

    Raises
    ------
    RunError
        When the folder cannot be read; a missing one has no runs.
    """
    return rows_of(scan_listed(folder.absolute(), {}).values())


def rename_run(run: Path, name: str) -> Path:
    """Rename a run's directory and return the new path.

    Raises
    ------
    RunError
        When the run is active, or the name is not valid or taken.
    """
    title, action = "The run cannot be renamed", "Choose another name."
    name = name.strip()
    if problem := name_problem(name):
        raise RunError(title, f"The name {problem}.", action)
    refuse_active(run, "renamed")
    target = run.with_name(name)
    if is_taken(target):
        raise RunError(title, f"There is already a {name} in {run.parent}.", action)
    try:
        run.rename(target)
    except OSError as error:
        raise RunError(title, f"{run}: {error.strerror}.") from error
    return target

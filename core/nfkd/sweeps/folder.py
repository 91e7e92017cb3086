"""The folder of a sweep: its file, its state, and whether another sweep may continue there."""

from __future__ import annotations

from pathlib import Path

from nfkd.building import is_temporary
from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig
from nfkd.config.sweep import SweepConfig, format_values
from nfkd.files import is_folder, is_taken, replace_file
from nfkd.runs.errors import RunError, describe_error
from nfkd.runs.lock import NAME as LOCK
from nfkd.sweeps.naming import run_names
from nfkd.sweeps.records import SWEEP, SweepState, SweptRun, read_sweep_state, write_sweep_state


def open_folder(config: SweepConfig, directory: Path) -> tuple[SweepState, list[ExperimentConfig]]:
    """Return the state of the sweep in a folder, with runs that are new, and the experiment of each run.

    Nothing is written.

    Raises
    ------
    ConfigError
        With the problems of the sweep, or when the folder has runs of another one.
    RunError
        When the folder cannot be used.
    """
    combinations = config.combinations()
    earlier, state = _earlier(config, directory)
    if config.sweep.search is not None:
        return state, [config.with_values(run.values) for run in state.runs]
    index = {_identity(combination.config): number for number, combination in enumerate(combinations)}
    known = [index.get(_identity(earlier.with_values(run.values)), -1) for run in state.runs]
    for run, number in zip(state.runs, known, strict=True):
        if number < 0:
            message = (
                f"the run {run.name} ({format_values(run.values)}) of the folder is not in this sweep, or has other "
                "settings: only runs may be added; for other changes give a new folder"
            )
            raise ConfigError([ConfigProblem("sweep", message)], str(directory / SWEEP))
    added = sorted(set(range(len(combinations))) - set(known))
    taken = [run.name for run in state.runs]
    names = run_names([combination.values for combination in combinations], taken)
    for number in added:
        run = SweptRun(number=len(state.runs), name=names[number], values=combinations[number].values)
        state.runs.append(run)
    return state, [combinations[number].config for number in (*known, *added)]


def _earlier(config: SweepConfig, directory: Path) -> tuple[SweepConfig, SweepState]:
    """Return the sweep that is in the folder, and its state; the given one and an empty state if there is none."""
    if is_taken(directory) and not is_folder(directory):
        cause = f"{directory} is not a directory."
        raise _refused(cause, "Choose another folder.")
    state = read_sweep_state(directory)
    if not is_taken(directory / SWEEP):
        if is_folder(directory) and any(not is_temporary(path) and path.name != LOCK for path in directory.iterdir()):
            cause = f"{directory} is not empty and has no {SWEEP}."
            raise _refused(cause, "Give a new folder.")
        return config, SweepState(folder=str(config.folder))
    state = state or SweepState()
    try:
        earlier = SweepConfig.open(directory / SWEEP, Path(state.folder) if state.folder else config.folder)
    except ConfigError as error:
        cause = f"{directory / SWEEP}: {'; '.join(map(str, error.problems))}."
        raise _refused(cause, "The folder's own file was changed: restore it, or give a new folder.") from error
    if not _may_follow(config, earlier):
        message = (
            "the folder has another sweep: grids and lists may only get more runs, and of a search only runs and hours "
            "may change; for other changes give a new folder"
        )
        raise ConfigError([ConfigProblem("sweep", message)], str(directory / SWEEP))
    state.folder = str(config.folder)
    return earlier, state


def _may_follow(config: SweepConfig, earlier: SweepConfig) -> bool:
    """Return whether a sweep has the same method and objective as an earlier one, and for a search the same space."""
    now, before = config.sweep.search, earlier.sweep.search
    if config.sweep.metric != earlier.sweep.metric or (now is None) != (before is None):
        return False
    if now is None or before is None:
        return True
    same = before.model_copy(update={"runs": now.runs, "hours": now.hours}) == now
    return same and _identity(config.experiment()) == _identity(earlier.experiment())


def _identity(config: ExperimentConfig) -> str:
    return config.model_dump_json(exclude={"name", "description"})


def make_folder(directory: Path) -> None:
    """Create the folder of a sweep if it is missing.

    Raises
    ------
    RunError
        When it cannot be created.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise _unwritable(directory, error) from error


def save_folder(config: SweepConfig, directory: Path, state: SweepState) -> None:
    """Write a sweep and its state; the folder is created if missing.

    Raises
    ------
    RunError
        When they cannot be written.
    """
    make_folder(directory)
    try:
        write_sweep_state(directory, state)
        replace_file(directory / SWEEP, config.to_toml().encode())
    except OSError as error:
        raise _unwritable(directory, error) from error


def save_state(directory: Path, state: SweepState) -> None:
    """Write the state of a sweep.

    Raises
    ------
    RunError
        When it cannot be written.
    """
    try:
        write_sweep_state(directory, state)
    except OSError as error:
        raise _unwritable(directory, error) from error


def _unwritable(directory: Path, error: Exception) -> RunError:
    cause = f"{directory}: {describe_error(error)}."
    return RunError("The sweep cannot be written", cause, "Choose a folder that you may write to.")


def _refused(cause: str, action: str) -> RunError:
    return RunError("The sweep cannot start", cause, action)

"""``nfkd.run``: a whole experiment in this process."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig
from nfkd.config.toml import is_table
from nfkd.flows.architectures import flow_summary
from nfkd.flows.foreign import ForeignFlow
from nfkd.flows.isolation import isolated
from nfkd.planning.describe import check
from nfkd.planning.plans import teacher_label
from nfkd.planning.teachers import with_teacher
from nfkd.protocol.events import RunEvent, RunFailed
from nfkd.runs.errors import RunError
from nfkd.runs.layout import EXPERIMENT, create_run_at, is_run, read_config
from nfkd.runs.reader import RunRecord, open_run
from nfkd.training.control import Control
from nfkd.training.job import perform
from nfkd.training.same_data import require_same_data


def prepare(config: ExperimentConfig, directory: str | os.PathLike[str], teacher: ForeignFlow | None = None) -> Path:
    """Check an experiment and make the directory of its run; arguments as `run`.

    Raises
    ------
    ConfigError
        With every problem, when it may not run.
    RunError
        When the directory cannot be made, or already holds something.
    """
    check(config, teacher=teacher)
    words = teacher_label(config, "" if teacher is None else teacher.origin)
    return create_run_at(Path(directory), config, teacher=words, student=flow_summary(config.student))


def resumable(config: ExperimentConfig, directory: Path) -> None:
    """Refuse to resume a run with another experiment than its own, or on other data than it was made with.

    Raises
    ------
    ConfigError
        Naming the run, and the first field that differs.
    RunError
        Naming the data, and what differs; also when the run cannot be read.
    """
    own = read_config(directory)
    if own == config:
        require_same_data(config, directory)
        return
    path = _first_difference(own.model_dump(mode="python"), config.model_dump(mode="python"))
    if path == "training.teacher_weights" and own.training.teacher_from_python:
        theirs, ours = own.training.teacher_weights, config.training.teacher_weights or "one that is trained"
        words = f"the run was made with the teacher {theirs}, not {ours}: give nfkd.run the same flow in the same units"
    else:
        words = (
            "the run was made by another experiment, and here they differ: go on with its own, by "
            f"nfkd run {directory / EXPERIMENT} --out {directory} --resume"
        )
    raise ConfigError([ConfigProblem(path, words)], str(directory))


def _first_difference(own: dict[str, Any], other: dict[str, Any]) -> str:
    """Return the path of the first field of two experiments that is not the same."""
    for key in [*own, *other]:
        mine, theirs = own.get(key), other.get(key)
        if mine != theirs:
            return f"{key}.{_first_difference(mine, theirs)}" if is_table(mine) and is_table(theirs) else key
    return ""


@isolated()
def run(
    config: ExperimentConfig,
    directory: str | os.PathLike[str],
    on_event: Callable[[RunEvent], None] | None = None,
    *,
    resume: bool = False,
    teacher: ForeignFlow | None = None,
) -> RunRecord:
    """Run an experiment to its end, in this process and thread.

    The modes, default dtype and device, threads and random numbers of torch are as before when it returns, and have no
    influence on the run; `on_event` is called while they are NFKD's own.

    Parameters
    ----------
    config
        The experiment.
    directory
        Of the run; made here. With `resume` one that exists is gone on with.
    on_event
        Told every event, such as ``print``.
    resume
        Go on from the checkpoints where there are any; on the same data alone.
    teacher
        A flow of another library, wrapped by `nfkd.wrap_teacher`: it teaches as it is, and ``config.teacher`` is not
        looked at. The experiment of the run names it, with its fingerprint, so that only the same one may go on with
        the run. Its weights are kept under its own library's names.

    Returns
    -------
    RunRecord
        The finished run, as `open_run` returns it.

    Raises
    ------
    ConfigError
        With every problem, when the experiment may not run.
    RunError
        When the run failed, or was made with other data; the message says why.
    """
    failures: list[RunFailed] = []

    def emit(event: RunEvent) -> None:
        if isinstance(event, RunFailed):
            failures.append(event)
        if on_event is not None:
            on_event(event)

    config, teacher = with_teacher(config, teacher), copy.deepcopy(teacher)
    path = Path(directory).absolute()
    going_on = resume and is_run(path)
    if going_on:
        resumable(config, path)
        check(config, teacher=teacher, run=path)
    else:
        path = prepare(config, path, teacher)
    perform(path, config, emit, Control(), resume=going_on, teacher=teacher)
    if failures:
        error = failures[0].error
        raise RunError(error.title, error.cause, error.action)
    return open_run(path)

"""``nfkd.run``: runs an experiment in the calling process and thread."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path

from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig
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
from nfkd.training.data_check import require_same_data
from nfkd.training.job import execute_run


def prepare(config: ExperimentConfig, directory: str | os.PathLike[str], teacher: ForeignFlow | None = None) -> Path:
    """Check an experiment and create the directory of its run; arguments as for `run`.

    Raises
    ------
    ConfigError
        With all problems of the experiment.
    RunError
        When the directory cannot be created or is not empty.
    """
    check(config, teacher=teacher)
    label = teacher_label(config, "" if teacher is None else teacher.origin)
    return create_run_at(Path(directory), config, teacher=label, student=flow_summary(config.student))


def require_resumable(config: ExperimentConfig, directory: Path) -> None:
    """Refuse to resume a run with another experiment or with changed data.

    Raises
    ------
    ConfigError
        Naming the run and the first field that differs.
    RunError
        Naming the data and what differs; also when the run cannot be read.
    """
    own = read_config(directory)
    path = own.first_difference(config)
    if not path:
        require_same_data(config, directory)
        return
    if path == "training.teacher_weights" and own.training.teacher_from_python:
        first, now = own.training.teacher_weights, config.training.teacher_weights or "one that is trained"
        message = f"the run was started with the teacher {first}, not {now}: pass the same flow in the same units"
    else:
        message = (
            "the run has another experiment, which differs here: resume it with "
            f"nfkd run {directory / EXPERIMENT} --out {directory} --resume"
        )
    raise ConfigError([ConfigProblem(path, message)], str(directory))


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

    Torch's modes, default dtype and device, number of threads and random numbers do not influence the run, and are
    restored afterwards. `on_event` is called while NFKD's own settings are active.

    Parameters
    ----------
    config
        The experiment.
    directory
        The run's directory. It is created, or with `resume` reused.
    on_event
        Called with every event, such as ``print``.
    resume
        Continue from the checkpoints if there are any. The data must be the same.
    teacher
        A trained flow of another library, wrapped by `nfkd.wrap_teacher`; ``config.teacher`` is then ignored. The run's
        experiment contains its fingerprint, and only the same teacher can resume the run. Its weights are saved under
        the names of its own library.

    Returns
    -------
    RunRecord
        The finished run, as `open_run` returns it.

    Raises
    ------
    ConfigError
        With all problems of the experiment.
    RunError
        When the run failed, or its data has changed; the message says why.
    """
    failures: list[RunFailed] = []

    def emit(event: RunEvent) -> None:
        if isinstance(event, RunFailed):
            failures.append(event)
        if on_event is not None:
            on_event(event)

    config, teacher = with_teacher(config, teacher), copy.deepcopy(teacher)
    path = Path(directory).absolute()
    resume = resume and is_run(path)
    if resume:
        require_resumable(config, path)
        check(config, teacher=teacher, run=path)
    else:
        path = prepare(config, path, teacher)
    execute_run(path, config, emit, Control(), resume=resume, teacher=teacher)
    if failures:
        error = failures[0].error
        raise RunError(error.title, error.cause, error.action)
    return open_run(path)

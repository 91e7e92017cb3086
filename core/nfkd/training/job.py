"""The worker thread: performs one run, and always says how it ended."""

from __future__ import annotations

import errno
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.data import DataError
from nfkd.flows.foreign import ForeignFlow
from nfkd.flows.isolation import plain_torch
from nfkd.protocol.events import ErrorInfo, RunEvent, RunFailed, RunFinished
from nfkd.protocol.records import RunState
from nfkd.runs.errors import RunError, describe_error, moved_away
from nfkd.runs.lock import run_lock
from nfkd.training.control import Control, StopRun
from nfkd.training.diagnosis import DivergedError
from nfkd.training.experiment import Experiment


@plain_torch()
def perform(
    run: Path,
    config: ExperimentConfig,
    emit: Callable[[RunEvent], None],
    control: Control,
    *,
    resume: bool = False,
    teacher: ForeignFlow | None = None,
) -> RunState:
    """Perform a run from its first step, or from its checkpoints, to its end.

    Whatever happens, `emit` is told: the last event is `RunFinished` or `RunFailed`.

    Returns
    -------
    RunState
        ``finished``, ``stopped`` or ``failed``.
    """
    state: RunState = "failed"
    last: RunFinished | RunFailed | None = None
    ended = False

    def watch(event: RunEvent) -> None:
        nonlocal ended
        ended = ended or isinstance(event, RunFinished)
        emit(event)

    try:
        with run_lock(run):
            experiment = Experiment(run, config, watch, control, resume=resume, teacher=teacher)
            try:
                experiment.execute()
                state = "finished"
            except StopRun:
                state = "stopped"
                experiment.change(state="stopped")
                last = RunFinished(run=str(run), state="stopped")
            except (KeyboardInterrupt, SystemExit):
                _try_to_note(experiment, _interrupted(), "interrupted")
                raise
            except Exception as error:  # noqa: BLE001 - the boundary: every failure becomes one message
                info = explain(error, run)
                last = RunFailed(run=str(run), error=info)
                _try_to_note(experiment, info, "failed")
    except Exception as error:  # noqa: BLE001 - the run could not even be entered
        last = RunFailed(run=str(run), error=explain(error, run))
    finally:
        control.close()
        if not ended:
            emit(last or RunFailed(run=str(run), error=_interrupted()))
    return state


def _try_to_note(experiment: Experiment, info: ErrorInfo, state: RunState) -> None:
    try:
        experiment.change(info, state=state, cause=f"{info.title}. {info.cause}")
    except OSError:
        return  # the disk is what failed; the event still tells it


def _interrupted() -> ErrorInfo:
    return ErrorInfo(
        title="The run was interrupted",
        cause="The worker thread was ended from outside.",
        action="Resume the run from its checkpoint.",
    )


def explain(error: Exception, run: Path) -> ErrorInfo:
    """Return an error in a person's words: what happened, why, what to do, and the traceback for later."""
    trace = "".join(traceback.format_exception(error))
    match error:
        case RunError():
            title, cause, action = error.title, error.cause, error.action
        case DivergedError(info=info):
            title, cause, action = info.title, info.cause, info.action
        case DataError():
            title, cause = "The data cannot be read any more", "; ".join(problem.message for problem in error.problems)
            action = "Correct it, then resume the run from its checkpoint."
        case ConfigError():
            title, cause, action = "The experiment was refused", str(error), "Correct the named fields."
        case torch.OutOfMemoryError() | MemoryError():
            title, cause = "Out of memory", _first_line(error)
            action = "Make the batch, the flows or the number of synthesized samples smaller, or use another device."
        case OSError(errno=errno.ENOSPC):
            title, cause = "The disk is full", f"Nothing more can be written to {run}."
            action = "Free some space and resume the run; what was written stays readable."
        case OSError() if not run.is_dir():
            gone = moved_away(run)
            title, cause, action = gone.title, gone.cause, gone.action
        case OSError():
            title, cause = "The run's files cannot be written", f"{error.filename or run}: {describe_error(error)}."
            action = f"See whether {run} is writable and has space; what was written stays readable."
        case _:
            title, cause = "The run failed", f"{type(error).__name__}: {_first_line(error)}"
            action = "What was written stays readable; the details below help whoever mends it."
    return ErrorInfo(title=title, cause=cause, action=action, traceback=trace)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no further reason was given"])[0]


class TrainingJob(threading.Thread):
    """A run in a thread of its own.

    Parameters
    ----------
    run, config, emit, resume
        As for `perform`.
    on_end
        Called in the worker thread, after everything else.
    """

    def __init__(
        self,
        run: Path,
        config: ExperimentConfig,
        emit: Callable[[RunEvent], None],
        *,
        resume: bool = False,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name=f"training {run.name}", daemon=False)
        self.control = Control()
        self.run_directory = run
        self.state: RunState = "queued"
        self._config, self._emit, self._resume, self._on_end = config, emit, resume, on_end

    def run(self) -> None:
        """Perform the run; see `perform`."""
        try:
            self.state = perform(self.run_directory, self._config, self._emit, self.control, resume=self._resume)
        finally:
            self._on_end()

"""Executes a run, in a thread for the engine, and always reports how it ended."""

from __future__ import annotations

import errno
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.data import DataError
from nfkd.distillation.ranks import Ranks
from nfkd.flows.foreign import ForeignFlow
from nfkd.flows.isolation import plain_torch
from nfkd.planning.times import UnitTimes
from nfkd.protocol.events import ErrorInfo, RunEvent, RunFailed, RunFinished
from nfkd.protocol.roles import Role
from nfkd.protocol.run_rows import RunState, StartRecord
from nfkd.runs.errors import RunError, describe_error, moved_away
from nfkd.runs.lock import run_lock
from nfkd.training.control import Control, StopRun
from nfkd.training.diagnosis import DivergedError
from nfkd.training.experiment import Experiment
from nfkd.training.launch import Launch, launch_run


@plain_torch()
def execute_run(
    run: Path,
    config: ExperimentConfig,
    emit: Callable[[RunEvent], None],
    control: Control,
    *,
    resume: bool = False,
    teacher: ForeignFlow | None = None,
    units: Mapping[Role, UnitTimes] | None = None,
    donors: Sequence[Path] = (),
    ranks: Ranks | None = None,
    start: StartRecord | None = None,
) -> RunState:
    """Execute a run, from its first step or from its checkpoints; arguments as for `Experiment`.

    The last event is always `RunFinished` or `RunFailed`. Without `ranks`, an experiment with several devices is
    executed in as many processes, which are started here.

    Returns
    -------
    RunState
        ``finished``, ``stopped`` or ``failed``.
    """
    if ranks is None and config.compute.devices > 1:
        return launch_run(Launch(run, config, resume, units, tuple(donors), start), emit, control)
    state: RunState = "failed"
    last: RunFinished | RunFailed | None = None
    ended = False

    def watch(event: RunEvent) -> None:
        nonlocal ended
        ended = ended or isinstance(event, RunFinished)
        emit(event)

    try:
        with run_lock(run):
            experiment = Experiment(
                run,
                config,
                watch,
                control,
                resume=resume,
                teacher=teacher,
                units=units,
                donors=donors,
                ranks=ranks,
                start=start,
            )
            try:
                experiment.execute()
                state = "finished"
            except StopRun:
                state = "stopped"
                experiment.change(state="stopped")
                last = RunFinished(run=str(run), state="stopped")
            except (KeyboardInterrupt, SystemExit):
                _try_to_record(experiment, _interrupted(), "interrupted")
                raise
            except Exception as error:  # noqa: BLE001 - the boundary: every failure becomes one message
                info = explain(error, run)
                last = RunFailed(run=str(run), error=info)
                _try_to_record(experiment, info, "failed")
    except Exception as error:  # noqa: BLE001 - the run could not be started
        last = RunFailed(run=str(run), error=explain(error, run))
    finally:
        control.close()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # for the next run, and for other programs
        if not ended:
            emit(last or RunFailed(run=str(run), error=_interrupted()))
    return state


def _try_to_record(experiment: Experiment, info: ErrorInfo, state: RunState) -> None:
    try:
        experiment.change(info, state=state, cause=f"{info.title}. {info.cause}")
    except OSError:
        return  # the disk failed; the event still reports it


def _interrupted() -> ErrorInfo:
    return ErrorInfo(
        title="The run was interrupted",
        cause="The training thread was ended from outside.",
        action="Resume the run from its checkpoint.",
    )


def explain(error: Exception, run: Path) -> ErrorInfo:
    """Return what happened, why, and what to do about it, with the traceback."""
    trace = "".join(traceback.format_exception(error))
    match error:
        case RunError():
            title, cause, action = error.title, error.cause, error.action
        case DivergedError(info=info):
            title, cause, action = info.title, info.cause, info.action
        case DataError():
            title, cause = "The data can no longer be read", "; ".join(problem.message for problem in error.problems)
            action = "Fix the data, then resume the run from its checkpoint."
        case ConfigError():
            title, cause, action = "The experiment was refused", str(error), "Correct the named fields."
        case _ if out_of_memory(error):
            title, cause = "Out of memory", "The device has too little free memory for this step."
            action = (
                "Close other programs that use the device, then resume the run from its last checkpoint. If that does "
                "not help, start it again with more micro-batches (training.accumulate: the loss stays the same), with "
                "training.activations = recompute or training.precision = bf16, or with a smaller training.batch_size."
            )
        case OSError(errno=errno.ENOSPC):
            title, cause = "The disk is full", f"Nothing more can be written to {run}."
            action = "Free some space and resume the run; what was written stays readable."
        case OSError() if not run.is_dir():
            moved = moved_away(run)
            title, cause, action = moved.title, moved.cause, moved.action
        case OSError():
            title, cause = "The run's files cannot be written", f"{error.filename or run}: {describe_error(error)}."
            action = f"Check whether {run} is writable and has space; what was written stays readable."
        case _:
            title, cause = "The run failed", f"{type(error).__name__}: {_first_line(error)}"
            action = "What was written stays readable. Please report the details below."
    return ErrorInfo(title=title, cause=cause, action=action, traceback=trace)


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that a device or the machine has too little memory."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()  # CUDA, cuBLAS and cuDNN report some as plain errors
    return isinstance(error, RuntimeError) and ("out of memory" in text or "alloc_failed" in text)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason was given"])[0]


class TrainingJob(threading.Thread):
    """A thread that executes a run.

    Parameters
    ----------
    run, config, emit, resume, units, donors, ranks
        As for `execute_run`.
    on_end
        Called at the end of the thread.
    """

    def __init__(
        self,
        run: Path,
        config: ExperimentConfig,
        emit: Callable[[RunEvent], None],
        *,
        resume: bool = False,
        units: Mapping[Role, UnitTimes] | None = None,
        donors: Sequence[Path] = (),
        ranks: Ranks | None = None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name=f"training {run.name}", daemon=False)
        self.control = Control()
        self.run_directory = run
        self.state: RunState = "queued"
        self._config, self._emit, self._on_end = config, emit, on_end
        self._resume, self._units, self._donors = resume, units, donors
        self._ranks = ranks

    def run(self) -> None:
        """Execute the run; see `execute_run`."""
        try:
            self.state = execute_run(
                self.run_directory,
                self._config,
                self._emit,
                self.control,
                resume=self._resume,
                units=self._units,
                donors=self._donors,
                ranks=self._ranks,
            )
        finally:
            self._on_end()

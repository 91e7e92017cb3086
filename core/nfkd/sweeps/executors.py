"""Execute single runs of a sweep: in a thread of this process, or in a process of its own that stays warm."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Protocol

from nfkd.protocol.events import CurvePoints, LogLine, RunEvent, RunFailed, RunFinished, StageFinished, StageStarted
from nfkd.protocol.run_rows import RunState
from nfkd.sweeps.sweep import Start
from nfkd.training.control import Control
from nfkd.training.job import TrainingJob, execute_run

EVENTS_OF_SWEEPS = (CurvePoints, LogLine, RunFailed, RunFinished, StageFinished, StageStarted)
"""Types of the events that `SweepLoop` and the command line use."""
_DIED = "Its process ended unexpectedly{code}; the memory may have been too small."

Emit = Callable[[RunEvent], None]
OnEnd = Callable[[RunState, str], None]
"""Receives how a run ended, and why, if its own state does not say it."""


class Executor(Protocol):
    """Executes one run at a time."""

    def start(self, start: Start, emit: Emit, on_end: OnEnd) -> None:
        """Start a run; both functions are called in another thread."""
        ...

    def stop(self) -> None:
        """End the run at its next step; it saves a checkpoint."""
        ...

    def close(self) -> None:
        """End the thread or process; no run is active."""
        ...


class ThreadExecutor:
    """Executes runs in threads of this process, which has loaded torch and the data once."""

    def __init__(self) -> None:
        self._job: TrainingJob | None = None

    def start(self, start: Start, emit: Emit, on_end: OnEnd) -> None:
        """Start a run."""
        job = TrainingJob(
            start.path,
            start.config,
            emit,
            resume=start.resume,
            donors=start.donors,
            on_end=lambda: on_end(job.state, ""),
        )
        self._job = job
        job.start()

    def stop(self) -> None:
        """End the run at its next step."""
        if self._job is not None:
            self._job.control.stop("run")

    def close(self) -> None:
        """Wait for the thread."""
        if self._job is not None:
            self._job.join()


class ProcessExecutor:
    """Executes runs in a process that is started for the first run, and again if it has died."""

    def __init__(self) -> None:
        self._process: Any = None
        self._connection: Connection | None = None
        self._reader: threading.Thread | None = None

    def start(self, start: Start, emit: Emit, on_end: OnEnd) -> None:
        """Start a run."""
        if self._process is None or not self._process.is_alive():
            self._spawn()
        if self._reader is not None:
            self._reader.join()
        self._reader = threading.Thread(target=self._follow, args=(emit, on_end), name=f"sweep {start.run.name}")
        self._send(("run", start))
        self._reader.start()

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=work, args=(other,), name="nfkd sweep", daemon=True)
        self._process.start()
        other.close()

    def _send(self, message: Any) -> None:
        if self._connection is not None:
            with suppress(OSError):  # the process has died, which its reader reports
                self._connection.send(message)

    def _follow(self, emit: Emit, on_end: OnEnd) -> None:
        connection = self._connection
        try:
            while connection is not None:
                message = connection.recv()
                if isinstance(message, str):
                    on_end(message, "")  # type: ignore[arg-type]
                    return
                emit(message)
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            on_end("failed", _DIED.format(code=f" (signal {-code})" if code is not None and code < 0 else ""))

    def stop(self) -> None:
        """End the run at its next step."""
        self._send(("stop", None))

    def close(self) -> None:
        """End the process."""
        self._send(("close", None))
        if self._reader is not None:
            self._reader.join()
        if self._process is not None:
            self._process.join()
        if self._connection is not None:
            self._connection.close()


def local_executors(jobs: int) -> list[Executor]:
    """Return executors for so many runs at the same time on this machine."""
    return [ThreadExecutor()] if jobs == 1 else [ProcessExecutor() for _ in range(jobs)]


def work(connection: Connection) -> None:
    """Execute the runs that arrive until the connection is closed; the main function of a `ProcessExecutor`'s process.

    The end of the process of the sweep stops the run, too, with a checkpoint.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the sweep's stops the runs
    starts: SimpleQueue[Start | None] = SimpleQueue()
    active: list[Control] = []

    def listen() -> None:
        with suppress(EOFError, OSError):
            kind = ""
            while kind != "close":
                kind, start = connection.recv()
                if kind == "run":
                    active[:] = [Control()]
                    starts.put(start)
                elif active:
                    active[0].stop("run")
        if active:
            active[0].stop("run")
        starts.put(None)

    def emit(event: RunEvent) -> None:
        if isinstance(event, EVENTS_OF_SWEEPS):
            with suppress(OSError):
                connection.send(event)

    threading.Thread(target=listen, name="sweep connection", daemon=True).start()
    while (start := starts.get()) is not None:
        state = execute_run(start.path, start.config, emit, active[0], resume=start.resume, donors=start.donors)
        with suppress(OSError):
            connection.send(state)

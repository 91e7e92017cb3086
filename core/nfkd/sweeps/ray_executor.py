"""Executes single runs of a sweep on a Ray cluster, in an actor that stays warm from one run to the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from nfkd.building import replacing_directory
from nfkd.files import is_regular, replace_file
from nfkd.protocol.events import ErrorInfo, LogLine, RunChanged, RunEvent, RunFailed
from nfkd.protocol.queue import RayCluster, public_address
from nfkd.protocol.run_rows import RunState, StartRecord
from nfkd.runs.errors import RunError, describe_error
from nfkd.runs.labels import LABELS
from nfkd.runs.layout import is_run
from nfkd.runs.log import append_log
from nfkd.runs.parcel import pieces, write_piece
from nfkd.runs.state import read_row, read_stored_state, write_row
from nfkd.sweeps.executors import Emit, OnEnd
from nfkd.sweeps.ray_worker import Ended, FilesReady, Order, RunWorker
from nfkd.sweeps.sweep import Start

_POLL_SECONDS = 0.2
_DIED = "Its worker ended unexpectedly; the machine may have too little memory, or has left the cluster."


class _WorkerDied(Exception):  # noqa: N818 - handled here
    """The process of the actor, or its machine, ended."""


class _Stopped(Exception):  # noqa: N818 - a request, not an error
    """The run was stopped before it began."""


class RayExecutor:
    """Executes one run at a time in an actor of its own, which Ray places on a machine with free CPUs and GPUs.

    The files of a run travel to the worker, and back between its stages and at its end. A run whose worker dies starts
    again from the files that came home last.

    Parameters
    ----------
    cluster
        What a run may use, and how often it is started again. The process is connected to it.
    kinds
        Types of the events to pass on; empty for all.
    """

    def __init__(self, cluster: RayCluster, kinds: tuple[type, ...] = ()) -> None:
        self._cluster, self._kinds = cluster, kinds
        self._actor: Any = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self, start: Start, emit: Emit, on_end: OnEnd) -> None:
        """Start a run.

        Raises
        ------
        RunError
            When the connection to the cluster was lost.
        """
        import ray

        if not ray.is_initialized():
            title, cause = "The sweep has ended", f"Ray at {public_address(self._cluster.address)} was lost."
            raise RunError(title, cause, "Continue it when the cluster can be reached again.")
        if self._thread is not None:
            self._thread.join()
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(start, emit, on_end), name=f"sweep {start.run.name}")
        self._thread.start()

    def stop(self) -> None:
        """End the run at its next step; may be called by a signal."""
        self._stop.set()

    def close(self) -> None:
        """End the actor."""
        if self._thread is not None:
            self._thread.join()
        if self._actor is not None:
            with _death_told(), suppress(_WorkerDied):
                self._call(self._actor.close)
            self._kill()

    def _run(self, start: Start, emit: Emit, on_end: OnEnd) -> None:
        state: RunState = "failed"
        cause = _DIED
        try:
            state, cause = self._attempts(start, emit)
        except OSError as error:
            cause = f"Its files cannot be written: {describe_error(error)}."
        except RunError as error:
            cause = error.cause
        finally:
            if state == "failed" and cause:
                self._record_failure(start.path, cause, emit)
            on_end(state, cause)

    def _attempts(self, start: Start, emit: Emit) -> tuple[RunState, str]:
        """Execute a run, again after the death of a worker; return how it ended."""
        most, cause = 1 + self._cluster.retries, _DIED
        for attempt in range(1, most + 1):
            try:
                return self._attempt(start, emit, attempt)
            except _Stopped:
                self._kill()
                write_row(start.path, msgspec.structs.replace(read_row(start.path), state="stopped"))
                return "stopped", ""
            except _WorkerDied as error:
                self._kill()
                cause = str(error)
                text = f"{cause} This was attempt {attempt} of {most}."
                line = LogLine(run=str(start.path), level="warning", text=text, time=time.time())
                append_log(start.path, line)
                emit(line)
        return "failed", f"{cause} It was started {most} times." if most > 1 else cause

    def _attempt(self, start: Start, emit: Emit, attempt: int) -> tuple[RunState, str]:
        import ray

        cluster = self._cluster
        with _death_told():
            if self._actor is None:
                options = {"num_cpus": cluster.cpus, "num_gpus": cluster.gpus, "max_concurrency": 2}
                self._actor = ray.remote(RunWorker).options(**options).remote()
            files, donors = _put(start.path), _donors(start)
        address = public_address(cluster.address)
        record = StartRecord(how="ray", address=address, cpus=cluster.cpus, gpus=cluster.gpus, attempt=attempt)
        order = Order(start.path.name, start.config, start.resume or attempt > 1, record, self._kinds)
        self._call(self._actor.begin, order, files, donors, before=True)
        asked = False
        while True:
            for message in self._call(self._actor.poll, _POLL_SECONDS):
                if isinstance(message, Ended):
                    return message.state, message.cause
                if isinstance(message, FilesReady):
                    self._fetch(start.path)
                else:
                    emit(_at_home(message, start.path))
            if self._stop.is_set() and not asked:
                asked = True
                self._call(self._actor.stop)

    def _call(self, method: Any, *arguments: Any, before: bool = False) -> Any:
        """Return the result of a method of the actor; `before` the run has begun, `stop` ends the wait.

        Raises
        ------
        _WorkerDied, _Stopped
            See there.
        """
        import ray
        from ray.exceptions import GetTimeoutError

        with _death_told():
            reference = method.remote(*arguments)
            while True:
                try:
                    return ray.get(reference, timeout=_POLL_SECONDS if before else None)
                except GetTimeoutError:
                    if self._stop.is_set():
                        raise _Stopped from None

    def _fetch(self, path: Path) -> None:
        """Replace the run's directory by the copy that the worker has; labels of the user stay."""
        with replacing_directory(path) as new:
            while (piece := self._call(self._actor.fetch)) is not None:
                write_piece(new, piece)
            state = read_stored_state(new)
            row = msgspec.structs.replace(state.row, run=str(path), name=path.name)
            write_row(new, row, state.error)
            if is_regular(path / LABELS):
                replace_file(new / LABELS, (path / LABELS).read_bytes())

    def _record_failure(self, path: Path, cause: str, emit: Emit) -> None:
        error = ErrorInfo(title="The run failed", cause=cause, action="Correct the cause, then run it again.")
        with suppress(OSError, RunError):
            row = msgspec.structs.replace(read_row(path), state="failed", cause=cause)
            write_row(path, row, error)
            emit(RunChanged(run=str(path), row=row))
        emit(RunFailed(run=str(path), error=error))

    def _kill(self) -> None:
        import ray

        if self._actor is not None:
            with suppress(Exception):  # it is dead, or the connection is lost
                ray.kill(self._actor)
        self._actor = None


@contextmanager
def _death_told() -> Iterator[None]:
    """Turn errors of Ray into `_WorkerDied`, and those that a worker raised into a `RunError`, which is final."""
    from ray.exceptions import GetTimeoutError, RayError, RayTaskError

    try:
        yield
    except GetTimeoutError:
        raise
    except RayTaskError as error:
        lines = str(error.cause).splitlines() or [""]
        cause = f"The worker could not execute it: {type(error.cause).__name__}: {lines[0]}"
        title = "The run failed"
        raise RunError(title, cause) from error
    except (RayError, ConnectionError) as error:
        missing = "No module named" in str(error)
        raise _WorkerDied("A worker has no complete NFKD." if missing else _DIED) from error


def _put(directory: Path) -> list[Any]:
    """Put the files of a run into Ray's object store, and return references to the pieces."""
    import ray

    return [ray.put(piece) for piece in pieces(directory)]


def _donors(start: Start) -> list[tuple[str, list[Any]]]:
    """Return the first run with a trained teacher among the donors: a worker needs one."""
    for path in start.donors:
        with suppress(RunError, OSError):
            if is_run(path) and read_row(path).teacher_test is not None:
                return [(path.name, _put(path))]
    return []


def _at_home(event: RunEvent, path: Path) -> RunEvent:
    """Return an event of a worker with the run's path on this machine."""
    if isinstance(event, RunChanged):
        row = msgspec.structs.replace(event.row, run=str(path), name=path.name)
        return RunChanged(run=str(path), row=row)
    return msgspec.structs.replace(event, run=str(path))


def ray_executors(cluster: RayCluster, jobs: int, kinds: tuple[type, ...] = ()) -> Sequence[RayExecutor]:
    """Return executors for so many runs at the same time."""
    return [RayExecutor(cluster, kinds) for _ in range(jobs)]

"""The part of a sweep on Ray that runs on a worker: executes a run in a temporary folder, and gives out its files.

Between two stages and every few minutes the files are copied, in the thread that trains. So each copy is a state from
which the run can be resumed, as after a kill at that moment.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import msgspec

from nfkd.building import private_directory
from nfkd.config import ExperimentConfig
from nfkd.config.paths import config_paths
from nfkd.files import is_taken
from nfkd.protocol.events import RunEvent, StageFinished, StageStarted
from nfkd.protocol.run_rows import RunState, StartRecord
from nfkd.runs.parcel import Piece, pieces, write_piece
from nfkd.training.control import Control
from nfkd.training.job import execute_run

COPY_SECONDS = 600.0
"""Time between two copies of the files within a stage."""
_MOST = 1000  # messages of a poll


@dataclass(frozen=True)
class Order:
    """A run to execute.

    Attributes
    ----------
    name, config, resume
        Of its directory; its experiment; whether to continue from its checkpoints.
    start
        How it was started; the worker adds its own name.
    kinds
        Events to send; empty for all.
    """

    name: str
    config: ExperimentConfig
    resume: bool
    start: StartRecord
    kinds: tuple[type, ...] = ()


@dataclass(frozen=True)
class FilesReady:
    """A copy of the run's files can be fetched; the events that follow were emitted after it."""


@dataclass(frozen=True)
class Ended:
    """The end of a run: its state, and why it failed if its files do not say it."""

    state: RunState
    cause: str = ""


class RunWorker:
    """Executes runs one after another; becomes an actor of Ray with two threads, one of which waits in `poll`."""

    def __init__(self) -> None:
        self._folder = private_directory("nfkd-ray-")
        self._numbers = count()
        self._thread: threading.Thread | None = None
        self._control = Control()
        self._messages: SimpleQueue[RunEvent | FilesReady | Ended] = SimpleQueue()
        self._copies: SimpleQueue[Path] = SimpleQueue()
        self._fetched: tuple[Path, Iterator[Piece]] | None = None

    def begin(self, order: Order, run: Sequence[Any], donors: Sequence[tuple[str, Sequence[Any]]]) -> str:
        """Start a run, and return the name of this machine.

        Parameters
        ----------
        order
            The run.
        run, donors
            The pieces of its files, and of those of runs with the same teacher by name, as references to objects.
        """
        if self._thread is not None:
            self._thread.join()
        here = self._folder / str(next(self._numbers))
        path = _unpack(here / order.name, run)
        given = [_unpack(here / f"donor-{number}" / name, refs) for number, (name, refs) in enumerate(donors)]
        self._control, self._messages, self._copies = Control(), SimpleQueue(), SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(order, path, given), name=f"training {order.name}")
        self._thread.start()
        return socket.gethostname()

    def poll(self, seconds: float) -> list[RunEvent | FilesReady | Ended]:
        """Return what happened since the last call; waits for so many seconds for the first message."""
        found: list[RunEvent | FilesReady | Ended] = []
        try:
            found.append(self._messages.get(timeout=seconds))
            while len(found) < _MOST:
                found.append(self._messages.get_nowait())
        except Empty:
            pass
        return found

    def fetch(self) -> Piece | None:
        """Return the next piece of the copy of the files that is next; None at its end, which removes the copy."""
        if self._fetched is None:
            folder = self._copies.get()
            self._fetched = folder, pieces(folder)
        piece = next(self._fetched[1], None)
        if piece is None:
            shutil.rmtree(self._fetched[0], ignore_errors=True)
            self._fetched = None
        return piece

    def stop(self) -> None:
        """End the run at its next step; it saves a checkpoint."""
        self._control.stop("run")

    def close(self) -> None:
        """Remove the temporary files; no run is active."""
        if self._thread is not None:
            self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, order: Order, path: Path, donors: Sequence[Path]) -> None:
        ended = Ended("failed", "The worker could not execute it.")
        try:
            ended = self._execute(order, path, donors)
        except OSError as error:
            ended = Ended("failed", f"{socket.gethostname()}: {error.strerror} ({error.filename})")
        finally:
            shutil.rmtree(path.parent, ignore_errors=True)
            self._messages.put(ended)

    def _execute(self, order: Order, path: Path, donors: Sequence[Path]) -> Ended:
        missing = [str(file) for file in config_paths(order.config) if not is_taken(file)]
        if missing:
            files = ", ".join(missing)
            text = f"{files} does not exist on {socket.gethostname()}. Workers read data files at the same path."
            return Ended("failed", text)
        outgoing = _Outgoing(path, order.kinds, self._copy, self._messages)
        start = msgspec.structs.replace(order.start, machines=[socket.gethostname()])
        state = execute_run(
            path, order.config, outgoing.emit, self._control, resume=order.resume, donors=donors, start=start
        )
        outgoing.finish()
        return Ended(state)

    def _copy(self, path: Path) -> None:
        target = self._folder / f"copy-{next(self._numbers)}"
        shutil.copytree(path, target, symlinks=True)
        self._copies.put(target)
        self._messages.put(FilesReady())


class _Outgoing:
    """Puts events into the queue; those from the end of a stage on follow a copy of the files that have its results."""

    def __init__(self, path: Path, kinds: tuple[type, ...], copy: Any, messages: SimpleQueue[Any]) -> None:
        self._path, self._kinds, self._copy, self._messages = path, kinds, copy, messages
        self._held: list[RunEvent] = []
        self._holding = False
        self._copied = time.monotonic()

    def emit(self, event: RunEvent) -> None:
        """Take an event of the run, in the thread that trains."""
        if isinstance(event, StageStarted) and self._holding:
            self.finish()
        elif not self._holding and time.monotonic() - self._copied > COPY_SECONDS:
            self._send_files()
        self._holding = self._holding or isinstance(event, StageFinished)
        if not self._kinds or isinstance(event, self._kinds):
            if self._holding:
                self._held.append(event)
            else:
                self._messages.put(event)

    def finish(self) -> None:
        """Send the files, then the events that were held back."""
        self._send_files()
        for event in self._held:
            self._messages.put(event)
        self._held.clear()
        self._holding = False

    def _send_files(self) -> None:
        self._copy(self._path)
        self._copied = time.monotonic()


def _unpack(directory: Path, references: Sequence[Any]) -> Path:
    import ray

    directory.mkdir(parents=True)
    for reference in references:
        write_piece(directory, ray.get(reference))
    return directory

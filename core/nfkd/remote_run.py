"""A run on another machine, followed in the terminal: progress, Ctrl-C, and cut connections."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from nfkd.protocol import requests
from nfkd.protocol.events import Gap, RunChanged, RunFailed, RunFinished, RunRemoved
from nfkd.protocol.requests import Snapshot
from nfkd.remote.client import EngineConnection
from nfkd.remote.errors import RemoteError, RequestRefusedError, require_reply
from nfkd.remote.hosts import EngineHost
from nfkd.remote.ssh import reconnect_pauses
from nfkd.run_bars import StageBars, run_bars
from nfkd.terminal import INTERRUPTED, say
from nfkd.text import plain

_ACTIVE = ("queued", "running", "paused")
_STEADY_SECONDS = 10.0
_LOOK_SECONDS = 0.2  # between two looks whether Ctrl-C was pressed
_STOPPING = "Stopping the run there; its best weights are saved. Press Ctrl-C again to leave at once."
_STOPPING_LATER = (
    "There is no connection: the run goes on there, and is stopped once nfkd is connected again. Press Ctrl-C again to "
    "leave at once and let it go on."
)
_Result = TypeVar("_Result")


class Engine:
    """An engine on another machine that is connected again after a cut.

    Parameters
    ----------
    host
        The engine.
    note
        Prints a line.
    """

    def __init__(self, host: EngineHost, note: Callable[[str], None] = lambda text: say(text, stderr=True)) -> None:
        self.host, self.note = host, note
        self._connection: EngineConnection | None = EngineConnection(host)

    def persist(self, work: Callable[[EngineConnection], _Result]) -> _Result:
        """Do something with the connection; after a cut, connect again and do it again.

        Raises
        ------
        RemoteError
            When the connection cannot be made again for a reason that does not pass by itself.
        """
        pauses, connected = reconnect_pauses(), time.monotonic()
        while True:
            try:
                if self._connection is None:
                    self._connection = EngineConnection(self.host)
                    self.note(f"Connected to {plain(self.host.name)} again.")
                    connected = time.monotonic()
                return work(self._connection)
            except RemoteError as error:
                if self._connection is not None and time.monotonic() - connected > _STEADY_SECONDS:
                    pauses = reconnect_pauses()  # shorter connections are cut again and again
                self.close()
                if not error.transient:
                    raise
                pause = next(pauses)
                self.note(f"{error.error.title}: {error.error.cause} Next attempt in {pause:g} s.")
                time.sleep(pause)

    @property
    def connected(self) -> bool:
        """Whether there is a connection; False after a cut, until it is made again."""
        return self._connection is not None

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class _Interrupts:
    """Counts Ctrl-C: the first one stops the run there, a second one leaves at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.pressed = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self.pressed:
            os._exit(INTERRUPTED)
        self.pressed = True
        say(f"\n{_STOPPING if self._engine.connected else _STOPPING_LATER}", stderr=True)


@contextmanager
def _interrupts(engine: Engine) -> Iterator[_Interrupts]:
    interrupts = _Interrupts(engine)
    before = signal.signal(signal.SIGINT, interrupts.handle)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)


def follow_run(engine: Engine, run: str) -> Snapshot:
    """Show a run until it ends; return its figures.

    Raises
    ------
    RemoteError
        When the connection cannot be made again.
    RequestRefusedError
        When the run is gone.
    """
    with _interrupts(engine) as interrupts, run_bars() as bars:
        engine.note = bars.note
        return engine.persist(lambda connection: _follow(connection, run, bars, interrupts))


def _follow(connection: EngineConnection, run: str, bars: StageBars, interrupts: _Interrupts) -> Snapshot:
    snapshot = _read(connection, run)
    bars.restore(snapshot)
    stopped = False
    while snapshot.row.state in _ACTIVE:
        if interrupts.pressed and not stopped:
            stopped = _stop(connection, run)
        event = connection.next_event(_LOOK_SECONDS)
        match event:
            case RunFinished(run=ended) | RunFailed(run=ended) | RunRemoved(run=ended) if ended == run:
                snapshot = _wait_for_end(connection, run)
            case Gap():
                snapshot = _read(connection, run)
                bars.restore(snapshot)
            case RunChanged(run=changed, row=row) if changed == run and row.state == "stopped":
                snapshot = _read(connection, run)  # it was queued: no other event follows
            case _ if getattr(event, "run", None) == run:
                bars.handle(event)  # type: ignore[arg-type]
            case _:
                pass
    return snapshot


def _read(connection: EngineConnection, run: str) -> Snapshot:
    return require_reply(Snapshot, connection.request(requests.ReadFigures(run=run)))


def _wait_for_end(connection: EngineConnection, run: str) -> Snapshot:
    """Return the figures of a run whose last event has come: its state file may be a moment behind."""
    snapshot = _read(connection, run)
    while snapshot.row.state in _ACTIVE:
        time.sleep(_LOOK_SECONDS)
        snapshot = _read(connection, run)
    return snapshot


def _stop(connection: EngineConnection, run: str) -> bool:
    try:
        connection.request(requests.Stop(run=run, scope="run"), keep_events=True)
    except RequestRefusedError:
        return True  # it has just ended
    return True

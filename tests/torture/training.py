"""The training in a forked process, and shared memory with its progress."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nfkd
from nfkd.config import ConfigError, ExperimentConfig
from nfkd.protocol import events
from nfkd.runs.errors import RunError

_CALLS = {"open", "os.mkdir", "os.rename", "os.remove", "os.truncate"}
_LENGTH, _COUNT = 64, struct.Struct("q")

BETWEEN, STARTING, RESUMING = "between stages", "before run.h5", "while resuming"


class Board:
    """Memory shared by two processes: the phase of a run, and its number of file operations."""

    def __init__(self, phase: str) -> None:
        self._memory = mmap.mmap(-1, _LENGTH + _COUNT.size)
        self.phase = phase

    @property
    def phase(self) -> str:
        """A stage, or the phase before or between stages."""
        return self._memory[:_LENGTH].rstrip(b"\0").decode()

    @phase.setter
    def phase(self, value: str) -> None:
        self._memory[:_LENGTH] = value.encode().ljust(_LENGTH, b"\0")

    @property
    def operations(self) -> int:
        """Number of Python's file operations below the run's directory."""
        return _COUNT.unpack(self._memory[_LENGTH:])[0]

    @operations.setter
    def operations(self, value: int) -> None:
        self._memory[_LENGTH:] = _COUNT.pack(value)

    def follow(self, event: events.RunEvent) -> None:
        """Update the phase from an event."""
        match event:
            case events.StageStarted():
                self.phase = event.stage
            case events.SeedStarted() if not event.resumed:
                self.phase = BETWEEN
            case events.StageFinished():
                self.phase = BETWEEN

    def count_operations(self, directory: Path, last: int = 0) -> None:
        """Count this process's file operations below a directory; kill it before number `last`."""
        start = str(directory)

        def hook(name: str, arguments: tuple[Any, ...]) -> None:
            if name in _CALLS and arguments and str(arguments[0]).startswith(start):
                self.operations += 1
                if self.operations == last:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)


def train(
    config: ExperimentConfig,
    directory: Path,
    *,
    resume: bool = False,
    board: Board | None = None,
    last: int = 0,
    watch: Callable[[events.RunEvent], None] = lambda event: None,
) -> int:
    """Run an experiment as a user's script does; return the exit status.

    Parameters
    ----------
    board
        Gets the phases and file operations.
    last
        Number of the file operation before which the process kills itself; zero for never.
    watch
        Called with every event.
    """

    def follow(event: events.RunEvent) -> None:
        if board is not None:
            board.follow(event)
        watch(event)

    if board is not None:
        board.count_operations(directory, last)
    try:
        nfkd.run(config, directory, on_event=follow, resume=resume)
    except (ConfigError, RunError) as error:
        print(f"nfkd: {error}", file=sys.stderr)
        return 1 if isinstance(error, RunError) else 2
    return 0

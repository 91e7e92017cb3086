"""Forked processes for the disturbed runs; this process has loaded torch and never computed with it.

Loading torch takes seconds, which would dominate some hundred short runs. A fork is safe only with one thread, which is
checked before each. `tests.torture.laboratory.Laboratory.prepare` checks that forked and fresh processes give the same
run.
"""

from __future__ import annotations

import importlib
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PATIENCE = 120.0
"""Default of the seconds after which a process counts as hanging."""
_LOADED = (
    "nfkd.cli",
    "nfkd.console",
    "nfkd.data_commands",
    "nfkd.engine.core",
    "nfkd.evaluation.inspect_target",
    "nfkd.runs.export",
    "nfkd.runs.figures",
    "nfkd.runs.recovery",
    "nfkd.training.api",
    "sklearn.datasets",
    "sklearn.neural_network",
    "scipy.stats",
    "torch._dynamo",
)
_CRASHED = 70  # exit status after an uncaught exception
_KIB_A_MIB = 1 << 10


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes
    ----------
    code
        Exit status; minus the signal's number after a signal, as in `subprocess`.
    seconds
        Wall time.
    mib
        Peak resident memory in MiB, with the loaded program.
    hung
        Whether it was killed because it took too long.
    out, err
        Its output.
    """

    code: int
    seconds: float
    mib: float
    hung: bool
    out: str
    err: str

    @property
    def traceback(self) -> bool:
        """Whether the user saw an exception or a crash of native code."""
        return "Traceback (most recent call last)" in self.err or self.code not in {0, 1, 2}

    @property
    def message(self) -> str:
        """Its last line of standard error."""
        return (self.err.strip().splitlines() or [""])[-1]


def preload() -> None:
    """Load everything that a run loads, so that forked processes start at once."""
    for name in _LOADED:
        importlib.import_module(name)


class Process:
    """A forked process that performs a task; its output goes to files of a directory.

    Parameters
    ----------
    task
        Returns the exit status.
    directory
        For the files ``stdout`` and ``stderr``.
    memory
        Bytes of address space that it may use beyond this process's; zero for no limit.
    """

    def __init__(self, task: Callable[[], int], directory: Path, *, memory: int = 0) -> None:
        threads = list(Path("/proc/self/task").iterdir())
        if len(threads) != 1:
            msg = f"a process with {len(threads)} threads must not fork"
            raise RuntimeError(msg)
        directory.mkdir(parents=True, exist_ok=True)
        self._files = directory / "stdout", directory / "stderr"
        for path in self._files:
            path.write_bytes(b"")
        self._addresses = psutil.Process().memory_info().vms
        sys.stdout.flush()
        sys.stderr.flush()
        self._began = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            self._be_child(task, memory)
        self._waited = os.pidfd_open(self.pid)

    def _be_child(self, task: Callable[[], int], memory: int) -> None:
        code = _CRASHED
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDONLY)
            for number, source in enumerate((null, *(os.open(path, os.O_WRONLY) for path in self._files))):
                os.dup2(source, number)
            if memory:
                resource.setrlimit(resource.RLIMIT_AS, (self._addresses + memory, resource.RLIM_INFINITY))
            code = task()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            if code == _CRASHED:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def ends_within(self, seconds: float) -> bool:
        """Wait; return whether the process has ended."""
        return bool(select.select([self._waited], [], [], max(0.0, seconds))[0])

    def kill(self) -> None:
        """Send SIGKILL to the process and its children."""
        os.kill(self.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):  # it has no process group yet
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self, seconds: float = PATIENCE) -> Ended:
        """Wait for the end; a process that takes longer is killed."""
        hung = not self.ends_within(seconds)
        if hung:
            self.kill()
        _, status, usage = os.wait4(self.pid, 0)
        os.close(self._waited)
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in self._files)
        return Ended(
            code=os.waitstatus_to_exitcode(status),
            seconds=time.monotonic() - self._began,
            mib=usage.ru_maxrss / _KIB_A_MIB,
            hung=hung,
            out=out,
            err=err,
        )


def nfkd(*arguments: str | Path) -> Callable[[], int]:
    """Return the task of the command line ``nfkd arguments…``."""

    def task() -> int:
        from nfkd.cli import main

        return main([os.fsdecode(argument) for argument in arguments])

    return task

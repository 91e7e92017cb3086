"""Runs code in child processes that may be killed or lack disk space: forked from one process, which imports once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

_ROOT = Path(__file__).parents[3]
_SERVER = """
import json, os, sys
import nfkd.runs.recovery, nfkd.runs.writer, tests.core.runs.written
for line in sys.stdin:
    code, arguments = json.loads(line)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        os.dup2(writing, 2)
        exec(compile(code, "child", "exec"), {"arguments": arguments})
        sys.exit()
    os.close(writing)
    with os.fdopen(reading) as stream:
        error = stream.read()
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), error]), flush=True)
"""


class Ended(NamedTuple):
    """A process that has ended."""

    code: int
    error: str


class RunChild(Protocol):
    """Runs code in a child process, which finds its arguments in a list `arguments`."""

    def __call__(self, code: str, *arguments: Any) -> Ended: ...


@contextmanager
def child_processes() -> Iterator[RunChild]:
    """Start the process from which children are forked."""
    command = [sys.executable, "-c", _SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as server:
        stdin, stdout = server.stdin, server.stdout
        assert stdin is not None
        assert stdout is not None

        def run_child(code: str, *arguments: Any) -> Ended:
            stdin.write(json.dumps([code, arguments], default=str) + "\n")
            stdin.flush()
            return Ended(*json.loads(stdout.readline()))

        yield run_child
        stdin.close()

"""The command that connects to an engine over ssh, and the pauses between attempts."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence

from nfkd.remote.hosts import EngineHost

ENVIRONMENT = "NFKD_SSH"
"""Environment variable with another ssh program and its options, such as ``ssh -F FILE``."""
CONNECT_SECONDS = 15
ALIVE_SECONDS, ALIVE_COUNT = 15, 3
"""A connection is given up after this many unanswered messages, one each so many seconds."""
PREAMBLE = 1 << 16
"""Bytes before the greeting that are skipped, for `FrameDecoder`: what a login shell prints."""
_LONGEST_PAUSE = 60
_OPTIONS = (
    "BatchMode=yes",  # a password or a question is refused at once; nobody could answer it
    f"ConnectTimeout={CONNECT_SECONDS}",
    f"ServerAliveInterval={ALIVE_SECONDS}",
    f"ServerAliveCountMax={ALIVE_COUNT}",
    "ClearAllForwardings=yes",  # a port of the user's config may be taken by another session
    "ForwardX11=no",
    "RemoteCommand=none",  # one in the user's config would exclude ours
    "LogLevel=INFO",  # `explain_failure` reads the messages
)


def ssh_command(host: EngineHost, program: Sequence[str] | None = None) -> list[str]:
    """Return the command whose standard streams lead to the relay of the engine on a host.

    It is the system's OpenSSH with the user's config, agent, keys and jump hosts. ``--`` ends its options.

    Parameters
    ----------
    host
        The engine.
    program
        ssh and options before ours; by default those of ``NFKD_SSH``, otherwise ``ssh``.
    """
    program = program or shlex.split(os.environ.get(ENVIRONMENT, "")) or ["ssh"]
    options = [part for option in _OPTIONS for part in ("-o", option)]
    return [*program, "-T", *options, "--", host.host, remote_command(host)]


def remote_command(host: EngineHost) -> str:
    """Return the text that the shell of the host executes.

    The command is quoted, so that the shell reads it as one word; only ``~/`` at its begin is expanded.
    """
    return f"{_quoted(host.command)} -m nfkd.engine connect"


def _quoted(path: str) -> str:
    """Quote a path for the shell; ``~/`` at the begin stands for the home directory, as in the shell."""
    return f'"$HOME"/{shlex.quote(path[2:])}' if path.startswith("~/") else shlex.quote(path)


def reconnect_pauses() -> Iterator[float]:
    """Yield the seconds to wait before each attempt to reconnect: 1, 2, 4 … 60, then always 60."""
    pause = 1
    while True:
        yield float(min(pause, _LONGEST_PAUSE))
        pause = min(pause * 2, _LONGEST_PAUSE)

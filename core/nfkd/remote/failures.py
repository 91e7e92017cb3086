"""Why a connection over ssh failed, in our words, with what to do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from nfkd.protocol.records import ErrorInfo
from nfkd.remote.hosts import EngineHost
from nfkd.text import plain

SSH_FAILED, NOT_FOUND, NOT_EXECUTABLE = 255, 127, 126
"""Exit codes of ssh when it fails itself, and of a shell that cannot execute a command."""
_SHOWN = 200  # characters of foreign text in a message


@dataclass(frozen=True)
class SshFailure:
    """Why a connection failed.

    Attributes
    ----------
    error
        The message; ``traceback`` holds what ssh and the host printed.
    transient
        Whether it may pass by itself, so that another attempt makes sense after a connection was cut.
    """

    error: ErrorInfo
    transient: bool = False


@dataclass(frozen=True)
class _Case:
    pattern: str
    title: str
    cause: str
    action: str
    transient: bool = False


# {host} is what ssh connects to, {name} the engine's name, {command} its Python, {ssh} a command to try by hand.
_CASES = (
    _Case(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key for .* has changed|REVOKED HOST KEY|was revoked",
        "The host key of {host} has changed",
        "It is not the key that was stored at an earlier connection: the machine was set up again, or another machine "
        "answers in its place.",
        "Ask its administrator for the new fingerprint. If it is right, remove the old key with `ssh-keygen -R HOST`, "
        "then connect once with `{ssh}`.",
    ),
    _Case(
        r"Host key verification failed|No .* host key is known",
        "The host key of {host} is unknown",
        "This machine has never connected to it, and the studio and nfkd do not accept a key by themselves.",
        "Connect once in a terminal with `{ssh}`, compare the fingerprint, and accept it.",
    ),
    _Case(
        r"Permission denied \((?!.*publickey)[^)]*(password|keyboard-interactive)",
        "{host} asks for a password",
        "It accepts no key, and NFKD enters no password.",
        "Ask its administrator to accept keys, or set one up with `ssh-copy-id {target}`.",
    ),
    _Case(
        r"Permission denied|Too many authentication failures",
        "{host} refused the login",
        "It accepted none of your keys, or it wants a password, which NFKD does not enter.",
        "Copy your key there with `ssh-copy-id {target}`, load it with `ssh-add`, or name it in ~/.ssh/config. "
        "`{ssh}` must work without a question.",
    ),
    _Case(
        r"Could not resolve (hostname|host|name)",
        "{host} was not found",
        "No machine has this name in the network, and ~/.ssh/config has no such alias.",
        "Check the name and the network. Some names exist only inside a VPN.",
        transient=True,
    ),
    _Case(
        r"Connection refused",
        "{host} accepts no ssh connections",
        "The machine answers, but no ssh server listens on this port.",
        "Check the port, as in ssh://user@host:2222, or start the ssh server there.",
        transient=True,
    ),
    _Case(
        r"(connect to host .*|banner exchange|Connection to .*)(timed out|No route to host|is unreachable)"
        r"|Connection timed out",
        "{host} does not answer",
        "The machine is off, or a firewall or the network is in between.",
        "Check that it is on and that `{ssh}` works.",
        transient=True,
    ),
    _Case(
        r"Bad configuration option|terminating, \d+ bad configuration|Bad owner or permissions on|keyword .* argument",
        "ssh cannot read its settings",
        "A file such as ~/.ssh/config is not valid.",
        "`{ssh}` names the file and the line.",
    ),
    _Case(
        r"No module named '?\"?nfkd",
        "{host} has no NFKD",
        "{command} works there, but the package nfkd is not installed in it.",
        "Give the Python that has NFKD as the command of this engine, such as ~/nfkd/.venv/bin/python; or install "
        "this version there, as its README says, with Python 3.11 or newer.",
    ),
    _Case(
        r"SyntaxError|Requires[- ]Python|requires Python|No module named '?tomllib",
        "The Python on {host} is too old",
        "{command} there cannot read NFKD, which needs Python 3.11 or newer.",
        "Give a newer Python as the command of this engine, such as ~/venv/bin/python.",
    ),
    _Case(
        r"No module named|ImportError",
        "NFKD on {host} is incomplete",
        "A package that it needs is missing there.",
        "Give the Python that has NFKD as the command of this engine, such as ~/nfkd/.venv/bin/python; or install "
        "this version there again, as its README says.",
    ),
)
_MISSING = _Case(
    "",
    "{host} has no {command}",
    "The shell there does not find this program, or may not execute it.",
    "Give the full path of a Python with NFKD as the command of this engine, such as ~/venv/bin/python.",
)
_LOST = _Case(
    "",
    "The connection to {host} was lost",
    "The network or ssh was interrupted.",
    "A run there continues. Connect again to see it.",
    transient=True,
)
_NOT_CONNECTED = _Case(
    "",
    "{host} cannot be reached",
    "ssh ended before the engine answered.",
    "See the details. `{ssh}` must work without a question.",
    transient=True,
)
_ENDED = _Case(
    "",
    "The engine on {host} has ended",
    "{last}",
    "Connect again to start it. Runs that it was training can be resumed from their last checkpoint.",
)
_NOT_STARTED = _Case(
    "",
    "The engine on {host} did not start",
    "{last}",
    "Try `{remote}` there to see more.",
)
_CHATTY = _Case(
    "",
    "The shell of {host} prints text in between",
    "Instead of the engine it sent: {output}",
    "Let the start-up files of the shell there, such as ~/.bashrc, print only in interactive sessions.",
)
_SILENT = _Case(
    "",
    "The engine on {host} does not answer",
    "It was connected, but sent no greeting within {seconds:g} s.",
    "Try again. If it fails again, look at `{remote}` there.",
    transient=True,
)


def explain_failure(
    host: EngineHost,
    code: int | None,
    stderr_lines: Iterable[str],
    *,
    greeted: bool = False,
    output: bytes = b"",
) -> SshFailure:
    """Return why the command of `ssh_command` ended.

    Parameters
    ----------
    host
        The engine.
    code
        The exit code of ssh; None if it is still running.
    stderr_lines
        What it printed to standard error.
    greeted
        Whether the engine had sent its greeting: then the connection was lost in mid-run.
    output
        Bytes on standard output that are no frame, such as a banner; see `FrameDecoder.skipped`.
    """
    lines = [line for line in stderr_lines if line.strip()]
    return _failure(_case(code, "\n".join(lines), greeted=greeted, output=output), host, lines, output)


def explain_silence(
    host: EngineHost, seconds: float, stderr_lines: Iterable[str] = (), output: bytes = b""
) -> SshFailure:
    """Return the failure of a connection without a greeting after a time."""
    return _failure(_CHATTY if output.strip() else _SILENT, host, list(stderr_lines), output, seconds)


def explain_start(host: EngineHost, error: OSError) -> SshFailure:
    """Return the failure of an ssh program that cannot be started here."""
    info = ErrorInfo(
        title="ssh is not installed on this machine"
        if isinstance(error, FileNotFoundError)
        else "ssh cannot be started",
        cause=f"{host.label} is reached through the program ssh of OpenSSH, which was not "
        f"{'found' if isinstance(error, FileNotFoundError) else 'executed'}.",
        action="Install OpenSSH's client: on Debian and Ubuntu the package openssh-client.",
        traceback=str(error),
    )
    return SshFailure(info)


def explain_damage(host: EngineHost, cause: str) -> SshFailure:
    """Return the failure of an engine whose messages cannot be read; it would fail again."""
    info = ErrorInfo(
        title=f"The engine on {host.label} sent something wrong",
        cause=f"{plain(cause, _SHOWN)}.",
        action="Install the same version of NFKD on both machines, enter `nfkd engine stop` there, and connect again.",
    )
    return SshFailure(info)


def explain_version(host: EngineHost, here: tuple[str, int], there: tuple[str, int]) -> SshFailure:
    """Return the failure of an engine with another protocol; both sides as (version, protocol)."""
    info = ErrorInfo(
        title=f"{host.label} has another version of NFKD",
        cause=f"There is NFKD {plain(there[0], _SHOWN)} with protocol {there[1]}; "
        f"here is NFKD {here[0]} with protocol {here[1]}.",
        action="Install the same version on both machines. An engine that is running there keeps its version until "
        "`nfkd engine stop`.",
    )
    return SshFailure(info)


def _case(code: int | None, text: str, *, greeted: bool, output: bytes) -> _Case:
    if greeted:
        return _ENDED if code not in (None, SSH_FAILED) and code >= 0 else _LOST
    if code in (NOT_FOUND, NOT_EXECUTABLE):
        return _MISSING
    for case in _CASES:
        if re.search(case.pattern, text):
            return case
    if output.strip():
        return _CHATTY
    return _NOT_CONNECTED if code in (None, SSH_FAILED) or code < 0 else _NOT_STARTED


def _failure(case: _Case, host: EngineHost, lines: list[str], output: bytes = b"", seconds: float = 0.0) -> SshFailure:
    from nfkd.remote.ssh import remote_command

    target = shlex.quote(host.host)
    names = {
        "host": host.label,
        "command": plain(host.command, _SHOWN),
        "ssh": f"ssh {target}",
        "target": target,
        "remote": plain(remote_command(host)),
        "last": plain(lines[-1].strip(), _SHOWN) if lines else "It printed no message.",
        "output": plain(output.decode(errors="replace").strip(), _SHOWN),
        "seconds": seconds,
    }
    title, cause, action = (text.format(**names) for text in (case.title, case.cause, case.action))
    return SshFailure(ErrorInfo(title=title, cause=cause, action=action, traceback="\n".join(lines)), case.transient)

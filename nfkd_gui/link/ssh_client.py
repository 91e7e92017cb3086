"""The connection to an engine on another machine, over ssh."""

from __future__ import annotations

from nfkd import __version__
from nfkd.protocol.codec import PROTOCOL
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Hello
from nfkd.remote.failures import (
    SshFailure,
    explain_damage,
    explain_failure,
    explain_silence,
    explain_start,
    explain_version,
)
from nfkd.remote.hosts import EngineHost
from nfkd.remote.received import ReceivedBytes
from nfkd.remote.ssh import PREAMBLE, ssh_command
from nfkd_gui.link.engine_client import OnEvent, OnLost
from nfkd_gui.link.relay_client import RelayClient


class SshClient(RelayClient):
    """Speaks to the relay on another machine through the system's OpenSSH. A run there survives a cut connection.

    Parameters
    ----------
    on_event, on_lost, patience
        As in `RelayClient`.
    host
        The machine.
    """

    remote = True
    reconnects = True
    preamble = PREAMBLE

    def __init__(self, on_event: OnEvent, on_lost: OnLost, host: EngineHost, patience: float = 90.0) -> None:
        super().__init__(on_event, on_lost, ssh_command(host), patience)
        self._host = host
        self._version: SshFailure | None = None
        self._bytes = ReceivedBytes()

    def _count(self, size: int) -> None:
        message = self._bytes.add(size, len(self._decoder.skipped))
        self.received = self._bytes.total
        if message is not None:
            self._write(message)

    def _take(self, failure: SshFailure) -> ErrorInfo:
        """Note whether another try makes sense, and return the message."""
        self.reconnects = failure.transient
        return failure.error

    def _explain_start(self, error: OSError) -> ErrorInfo:
        return self._take(explain_start(self._host, error))

    def _explain_silence(self) -> ErrorInfo:
        return self._take(explain_silence(self._host, self._patience, self._stderr, self._decoder.skipped))

    def _explain_loss(self, cause: str, code: int) -> ErrorInfo:
        if self._version is not None:
            return self._take(self._version)
        if self._farewell and self._has_greeted:
            return self._take(SshFailure(super()._explain_loss(cause, code), transient=True))
        if cause and self._has_greeted:
            return self._take(explain_damage(self._host, cause))
        skipped = b"" if self._has_greeted else self._decoder.skipped
        return self._take(explain_failure(self._host, code, self._stderr, greeted=self._has_greeted, output=skipped))

    def _explain_version(self, hello: Hello) -> str:
        self._version = explain_version(self._host, (__version__, PROTOCOL), (hello.version, hello.protocol))
        return self._version.error.cause

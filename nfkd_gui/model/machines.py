"""The machines whose engines the studio can use: this one, and others over ssh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from nfkd.config import ConfigError
from nfkd.protocol.events import ErrorInfo
from nfkd.remote.hosts import EngineHost, read_engines, write_engines
from nfkd.text import sentence
from nfkd_gui.link.connection import ClientFactory
from nfkd_gui.link.engine_client import EngineClient, OnEvent, OnLost
from nfkd_gui.link.in_process_client import InProcessClient
from nfkd_gui.link.relay_client import RelayClient
from nfkd_gui.link.ssh_client import SshClient

if TYPE_CHECKING:
    from nfkd_gui.model.studio import Studio

THIS_MACHINE = "This machine"
_LOCAL: dict[str, ClientFactory] = {"relay": RelayClient, "in_process": InProcessClient}


class Machines(QObject):
    """The list of machines, and the one whose engine the studio uses.

    Parameters
    ----------
    factory
        Makes every client; by default the one that fits the machine.

    Attributes
    ----------
    hosts
        The other machines, in the order of the user's list.
    host
        The machine in use; None for this one.
    problem
        Why the list of machines could not be read; empty if it could.
    """

    changed = Signal()
    """The list changed, or another machine is used."""

    def __init__(self, studio: Studio, factory: ClientFactory | None = None) -> None:
        super().__init__(studio)
        self._studio, self._factory = studio, factory
        self.hosts: list[EngineHost] = []
        self.problem = ""
        try:
            self.hosts = read_engines()
        except ConfigError as error:
            self.problem = "\n".join(sentence(str(problem)) for problem in error.problems)
        self.host = self._find(studio.preferences.machine)

    @property
    def label(self) -> str:
        """The name of the machine in use."""
        return self.host.name if self.host is not None else THIS_MACHINE

    @property
    def runs_folder(self) -> str:
        """The folder of runs on the machine in use."""
        return self.host.runs_folder if self.host is not None else self._studio.preferences.runs_folder

    def make_client(self, on_event: OnEvent, on_lost: OnLost) -> EngineClient:
        """Return a client of the engine of the machine in use."""
        if self.host is not None:
            return self.client_of(self.host, on_event, on_lost)
        if self._factory is not None:
            return self._factory(on_event, on_lost)
        return _LOCAL[self._studio.preferences.engine](on_event, on_lost)

    def client_of(self, host: EngineHost, on_event: OnEvent, on_lost: OnLost) -> EngineClient:
        """Return a client of the engine of another machine."""
        if self._factory is not None:
            return self._factory(on_event, on_lost)
        return SshClient(on_event, on_lost, host)

    def choose(self, name: str, *, remember: bool = True) -> None:
        """Use the machine with this name, empty for this machine; it is used again at the next start if `remember`."""
        host = self._find(name)
        if remember:
            self._studio.prefer(machine=host.name if host is not None else "")
        if host != self.host:
            self.host = host
            self.changed.emit()
            self._studio.switch_engine()

    def save(self, hosts: Sequence[EngineHost], renamed: Mapping[str, str] | None = None) -> None:
        """Replace the list of other machines; this machine is used if the one in use was removed.

        Parameters
        ----------
        renamed
            The new name of each machine that has another one than before.

        Raises
        ------
        ConfigError
            When two machines have the same name.
        OSError
            When the list cannot be written.
        """
        if list(hosts) != self.hosts:
            write_engines(hosts)
        self.hosts, self.problem = list(hosts), ""
        self.changed.emit()
        machine = self._studio.preferences.machine
        self.choose((renamed or {}).get(machine, machine))

    def _find(self, name: str) -> EngineHost | None:
        return next((host for host in self.hosts if host.name == name), None)

    def refuse_file(self, path: str) -> bool:
        """Return whether a file of this machine cannot be used, because the engine is on another; then say why."""
        if self.host is not None:
            self._studio.failed.emit(not_there(self.host, path))
        return self.host is not None


def not_there(host: EngineHost, path: str) -> ErrorInfo:
    """Return the message that a file of this machine is out of reach of the engine on another."""
    return ErrorInfo(
        title=f"{host.name} cannot see this file",
        cause=f"{path} is on this machine, and the engine runs on {host.name}.",
        action=(
            f"Copy it there, for example with `scp -r FILE {host.host}:`, and type its path on {host.name}. "
            f"Or choose Engine: {THIS_MACHINE} in the menu Tools."
        ),
    )

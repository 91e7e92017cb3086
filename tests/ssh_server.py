"""An OpenSSH server on loopback with its own keys, port and settings; no file of the system or the user is touched."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
AVAILABLE = SSHD is not None and shutil.which("ssh") is not None and shutil.which("ssh-keygen") is not None
ALIAS = "lab-machine"
"""The host's name in the client's config."""
_SERVER = """\
ListenAddress {address}
Port {port}
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
PasswordAuthentication {password}
KbdInteractiveAuthentication no
PubkeyAuthentication {public_key}
UsePAM no
PermitRootLogin yes
PrintMotd no
MaxStartups 100
{environment}
"""
_CLIENT = """\
Host {alias}
    HostName {address}
    Port {port}
    User {user}
    IdentityFile {folder}/user_key
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
"""


@dataclass
class SshServer:
    """A running server.

    Attributes
    ----------
    folder
        With its keys and settings, and those of the client.
    port
        Where it listens.
    program
        The ssh program with the client's settings, for ``NFKD_SSH``.
    prefix
        What starts the server elsewhere, such as ``ip netns exec NAME``.
    """

    folder: Path
    port: int
    address: str = "127.0.0.1"
    prefix: Sequence[str] = ()
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def program(self) -> str:
        return f"ssh -F {self.folder}/config"

    def start(self, *, environment: Mapping[str, str], password: bool = False) -> None:
        """Start the server with these variables in its sessions."""
        shown = " ".join(["SetEnv", *(f'"{name}={value}"' for name, value in environment.items())])
        settings = _SERVER.format(
            address=self.address,
            port=self.port,
            folder=self.folder,
            environment=shown if environment else "",
            password="yes" if password else "no",
            public_key="no" if password else "yes",
        )
        (self.folder / "sshd_config").write_text(settings)
        with (self.folder / "sshd.log").open("ab") as log:
            command = [*self.prefix, str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config")]
            self._processes.append(subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL))
        end = time.monotonic() + 10
        while True:
            with suppress(OSError), socket.create_connection((self.address, self.port), 1):
                return
            assert time.monotonic() < end, (self.folder / "sshd.log").read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server; its sessions end too."""
        for process in self._processes:
            self.cut()
            process.terminate()
            process.wait()
        self._processes.clear()

    def cut(self) -> int:
        """End all connections, as a network failure does; return how many there were."""
        found = [child for process in self._processes for child in psutil.Process(process.pid).children()]
        for child in found:
            with suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGKILL)
        return len(found)

    def trust(self, key: str | None = None) -> None:
        """Store the server's host key, or another one, as known; an empty text stores none."""
        public = (self.folder / "host_key.pub").read_text() if key is None else key
        entry = f"[{self.address}]:{self.port} {public}" if public else ""
        (self.folder / "known_hosts").write_text(entry)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def session_environment(engine_directory: Path, home: Path) -> dict[str, str]:
    """Return what a session needs to find this checkout and an engine of its own."""
    kept = ("NFKD_TEST_SESSION", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "NFKD_DATA")
    return {
        "PYTHONPATH": f"{ROOT / 'core'}:{ROOT}",
        "NFKD_ENGINE_DIR": str(engine_directory),
        "HOME": str(home),
        "OMP_NUM_THREADS": "1",
        **{name: value for name in kept if (value := os.environ.get(name))},
    }


@contextmanager
def ssh_server(folder: Path, address: str = "127.0.0.1") -> Iterator[SshServer]:
    """Make keys and the client's settings for a server; `SshServer.start` starts it."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's own, empty; a boot removes it
    for name in ("host_key", "user_key"):
        make_key(folder / name)
    shutil.copyfile(folder / "user_key.pub", folder / "authorized_keys")
    server = SshServer(folder, free_port(), address)
    config = _CLIENT.format(alias=ALIAS, address=address, port=server.port, user=getpass.getuser(), folder=folder)
    (folder / "config").write_text(config)
    server.trust()
    try:
        yield server
    finally:
        server.stop()

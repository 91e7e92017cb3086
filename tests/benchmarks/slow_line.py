"""A TCP proxy on loopback that behaves as a slow line, for machines without ``tc netem``."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

_PACKET = 1448
_BUFFER = 1 << 14  # bytes in each socket: a line has little memory


class SlowLine:
    """Forwards connections with a delay and a rate in each direction; a context manager.

    Parameters
    ----------
    target
        The port on loopback that connections lead to.
    delay
        Seconds in each direction.
    rate
        Bits a second in each direction.

    Attributes
    ----------
    port
        Where it listens.
    """

    def __init__(self, target: int, delay: float = 0.025, rate: float = 1e6) -> None:
        self._target, self._delay, self._rate = target, delay, rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                inner, _ = self._listener.accept()
                outer = socket.create_connection(("127.0.0.1", self._target))
                for each in (inner, outer):
                    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                        each.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets += [inner, outer]
                for pair in ((inner, outer), (outer, inner)):
                    self._forward(*pair)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        """Start a thread that takes packets at the rate, and one that delivers each after the delay."""
        packets: deque[tuple[float, bytes]] = deque()
        filled = threading.Condition()

        def take() -> None:
            free = time.monotonic()
            data = b"first"
            while data:
                try:
                    data = source.recv(_PACKET)
                except OSError:
                    data = b""
                free = max(free, time.monotonic()) + 8 * len(data) / self._rate
                time.sleep(max(0.0, free - time.monotonic()))
                with filled:
                    packets.append((free + self._delay, data))
                    filled.notify()

        def deliver() -> None:
            with suppress(OSError):
                while True:
                    with filled:
                        filled.wait_for(lambda: packets)
                        due, data = packets.popleft()
                    time.sleep(max(0.0, due - time.monotonic()))
                    if not data:
                        break
                    target.sendall(data)
            with suppress(OSError):
                target.shutdown(socket.SHUT_WR)

        for work in (take, deliver):
            thread = threading.Thread(target=work)
            self._threads.append(thread)
            thread.start()


@contextmanager
def slow_line_process(target: int) -> Iterator[int]:
    """Run a `SlowLine` in a process of its own, so that it takes no time of this one; yields its port."""
    command = [sys.executable, "-m", "tests.benchmarks.slow_line", str(target)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as line:
        assert line.stdin is not None
        assert line.stdout is not None
        yield int(line.stdout.readline())
        line.stdin.close()


def main(target: int) -> None:
    """Run until standard input ends; print the port first."""
    with SlowLine(target) as line:
        sys.stdout.write(f"{line.port}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))

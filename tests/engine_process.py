"""An engine process that several tests share."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from nfkd.protocol.codec import PROTOCOL, to_wire
from nfkd.protocol.requests import Hello


@contextmanager
def running_engine() -> Iterator[None]:
    """Keep an engine running: it ends when no client is connected, so a relay stays connected."""
    command = [sys.executable, "-m", "nfkd.engine"]
    with (
        tempfile.TemporaryFile() as output,  # a pipe that nobody reads would block the engine
        subprocess.Popen([*command, "connect"], stdin=subprocess.PIPE, stdout=output) as relay,
    ):
        assert relay.stdin is not None
        relay.stdin.write(to_wire(Hello(protocol=PROTOCOL, version="")))
        relay.stdin.flush()
        while not os.fstat(output.fileno()).st_size:  # until the engine has greeted
            assert relay.poll() is None
            time.sleep(0.02)
        yield
        subprocess.run([*command, "stop"], check=True, capture_output=True)

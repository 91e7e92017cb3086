"""An engine that sends a long event, and then what the client says it has received; a process on stdin and stdout."""

from __future__ import annotations

import os
import sys

from nfkd.protocol.codec import PROTOCOL, from_client, to_wire
from nfkd.protocol.events import LogLine
from nfkd.protocol.frames import FrameDecoder
from nfkd.protocol.requests import Hello, Notice, Received

TEXT = "x" * 100_000


def main() -> None:
    """Greet, send the event, and report the first count that covers it."""
    frames = [
        to_wire(Hello(protocol=PROTOCOL, version="0.1.0")),
        to_wire(Notice(event=LogLine(run="", level="info", text=TEXT, time=0.0))),
    ]
    sys.stdout.buffer.write(b"Welcome to gpu!\n" + b"".join(frames))
    sys.stdout.buffer.flush()
    decoder, sent, told = FrameDecoder(), sum(map(len, frames)), 0
    while told < 0.9 * sent:
        for body in decoder.feed(os.read(0, 1 << 16)):
            message = from_client(body)
            told = message.total if isinstance(message, Received) else told
    report = LogLine(run="", level="info", text=f"{told} of {sent}", time=0.0)
    sys.stdout.buffer.write(to_wire(Notice(event=report)))
    sys.stdout.buffer.flush()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()

"""What ``nfkd engine`` and ``python -m nfkd.engine`` do."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import os
import stat
import sys

import nfkd
from nfkd.engine.place import Connection, PlaceError, address, connect, engine_directory
from nfkd.engine.relay import ALREADY_RUNNING, READY
from nfkd.engine.relay import main as relay
from nfkd.protocol.codec import PROTOCOL, from_engine, to_wire
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.frames import FrameDecoder, FrameError
from nfkd.protocol.requests import Answer, Call, EngineStatus, Hello, Refusal, Reply, Request, Shutdown, Status
from nfkd.terminal import Parser, say, standard_streams

_END_PATIENCE = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the engine's commands."""
    parser.add_argument(
        "action",
        choices=["connect", "serve", "stop", "status"],
        help="connect: be a relay on the standard streams; serve: be the engine; stop: end it; status: ask it",
    )


def main(arguments: list[str]) -> int:
    """Run one of the commands; returns the exit code."""
    parser = Parser(prog="python -m nfkd.engine")
    add_arguments(parser)
    with standard_streams():
        return perform(parser.parse_args(arguments).action)
    return 0  # nobody reads the output any more


def perform(action: str) -> int:
    """Run the command of that name."""
    try:
        return {"connect": relay, "serve": _serve, "stop": _stop, "status": _status}[action]()
    except PlaceError as error:
        say(f"nfkd engine: {error}", stderr=True)
        return 1


def _serve() -> int:
    from filelock import FileLock, Timeout

    from nfkd.engine.server import Server

    lock = FileLock(engine_directory() / "engine.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return ALREADY_RUNNING
    if stat.S_ISREG(os.fstat(2).st_mode):
        os.ftruncate(2, 0)  # the log tells of this engine alone
    faulthandler.enable()  # a crash of native code leaves its stack in the log
    if sys.platform != "win32" and os.path.exists(address()):  # noqa: PTH110
        os.unlink(address())  # noqa: PTH108 - left by an engine that was killed: the lock is ours

    async def serve() -> None:
        await Server().serve(_ready)

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        return 130
    finally:
        lock.release()
    return 0


def _ready() -> None:
    """Tell who started this process, then let every print go to the log."""
    os.write(1, READY + b"\n")
    os.dup2(2, 1)


def _ask(request: Request) -> Reply | Refusal | None:
    """Ask an engine that runs; None when none does."""
    try:
        connection = connect()
    except OSError:
        return None
    try:
        connection.write(to_wire(Hello(protocol=PROTOCOL, version=nfkd.__version__)))
        connection.write(to_wire(Call(id=1, request=request)))
        return _reply(connection)
    except (OSError, FrameError) as error:
        return Refusal(id=1, error=ErrorInfo(title="The engine does not answer", cause=str(error)))


def _reply(connection: Connection) -> Reply | Refusal | None:
    decoder = FrameDecoder()
    while data := connection.read():
        for body in decoder.feed(data):
            message = from_engine(body)
            if isinstance(message, Answer):
                return message.reply
            if isinstance(message, Refusal):
                return message
    return None


def _stop() -> int:
    status = _ask(Status())
    reply = _ask(Shutdown())
    if isinstance(reply, Refusal):
        return _say_refusal(reply)
    if isinstance(status, EngineStatus):
        _await_end(status.pid)
    say("No engine is running." if reply is None else "The engine has ended.")
    return 0


def _await_end(pid: int) -> None:
    """Wait until the process has gone: only then is it true that the engine has ended."""
    import psutil

    with contextlib.suppress(psutil.Error):
        psutil.Process(pid).wait(_END_PATIENCE)


def _say_refusal(refusal: Refusal) -> int:
    say(f"{refusal.error.title}: {refusal.error.cause} {refusal.error.action}".rstrip(), stderr=True)
    return 1


def _status() -> int:
    reply = _ask(Status())
    if reply is None:
        say("No engine is running.")
        return 0
    if isinstance(reply, Refusal):
        return _say_refusal(reply)
    if isinstance(reply, EngineStatus):
        say(f"NFKD {reply.version}, torch {reply.torch}, {reply.device_name}, {reply.threads} threads, pid {reply.pid}")
        say(f"training: {reply.active or 'nothing'}; waiting: {len(reply.queue)}; clients: {reply.clients}")
    return 0

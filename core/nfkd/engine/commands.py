"""What ``nfkd engine`` and ``python -m nfkd.engine`` do."""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import os
import stat
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from nfkd.engine.asking import EngineAwayError, EngineBusyError, NoEngineError, ask_engine
from nfkd.engine.limits import Limits
from nfkd.engine.place import (
    LOCK,
    EngineSilentError,
    PlaceError,
    address,
    describe_kill,
    engine_directory,
    note_process,
    noted_process,
)
from nfkd.engine.relay import ALREADY_RUNNING, READY
from nfkd.engine.relay import main as relay
from nfkd.protocol.requests import EngineStatus, Refusal, Shutdown, Status
from nfkd.terminal import Parser, say, standard_streams

_AGAIN = 0.1


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


def perform(action: str, *, answering: float = 5.0, ending: float = 30.0) -> int:
    """Run the command of that name.

    Parameters
    ----------
    action
        One of the actions of `add_arguments`.
    answering
        Seconds in which an engine must greet, and tell its status.
    ending
        Seconds in which an engine that is told to end must have ended.
    """
    commands: dict[str, Callable[[], int]] = {
        "connect": relay,
        "serve": serve,
        "stop": lambda: _stop(answering, ending),
        "status": lambda: _status(answering),
    }
    try:
        return commands[action]()
    except NoEngineError as error:
        say(str(error))
        return 0
    except (PlaceError, EngineSilentError, EngineAwayError, EngineBusyError) as error:
        say(f"nfkd engine: {error}", stderr=True)
        return 1


def serve(limits: Limits | None = None) -> int:
    """Be the engine until it ends; returns the exit code.

    Raises
    ------
    PlaceError
        When the engine's directory cannot be used.
    """
    from filelock import FileLock, Timeout

    from nfkd.engine.server import Server

    lock = FileLock(engine_directory() / LOCK)
    try:
        lock.acquire(timeout=0)
        note_process()
    except Timeout:
        return ALREADY_RUNNING
    except OSError as error:
        msg = f"the engine's directory {engine_directory()} cannot be written to: {error.strerror}"
        raise PlaceError(msg) from error
    if stat.S_ISREG(os.fstat(2).st_mode):
        os.ftruncate(2, 0)  # the log tells of this engine alone
    faulthandler.enable()  # a crash of native code leaves its stack in the log
    if sys.platform != "win32" and os.path.exists(address()):  # noqa: PTH110
        os.unlink(address())  # noqa: PTH108 - left by an engine that was killed: the lock is ours
    left: list[str] = []

    async def run() -> None:
        server = Server(limits=limits)
        try:
            await server.serve(_ready)
        finally:
            left.extend(server.left)

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        return 130
    finally:
        if left:
            _end_without(left)
        lock.release()
    return 0


def _end_without(left: list[str]) -> NoReturn:
    """End the process though threads are left: they wait for files, and Python would wait for them."""
    say(f"nfkd engine: ended without waiting any longer for {', '.join(left)}", stderr=True)
    os._exit(0)


def _ready() -> None:
    """Tell who started this process, then let every print go to the log."""
    os.write(1, READY + b"\n")
    os.dup2(2, 1)


def _stop(answering: float, ending: float) -> int:
    end = time.monotonic() + ending
    process: int | None = None
    while True:
        try:
            reply, process = ask_engine(Shutdown(), greeting=answering, patience=ending)
        except EngineBusyError as error:
            return _say_not_ended(error.process, ending)
        except EngineAwayError:  # it is starting, or ending already
            process = noted_process()
            if time.monotonic() >= end:
                return _say_not_ended(process, ending)
            time.sleep(_AGAIN)
        except NoEngineError:
            if process is None:
                raise
            break
        else:
            if isinstance(reply, Refusal):
                return _say_refusal(reply)
            break
    if process is not None and not _await_end(process, end - time.monotonic()):
        return _say_not_ended(process, ending)
    say("The engine has ended.")
    return 0


def _await_end(process: int, limit: float) -> bool:
    """Wait until the process has gone: only then is it true that the engine has ended."""
    import psutil

    try:
        psutil.Process(process).wait(max(0.0, limit))
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def _say_not_ended(process: int | None, ending: float) -> int:
    who = f" (process {process})" if process else ""
    advice = describe_kill(process) if process else "End its process."
    say(
        f"nfkd engine: The engine{who} was told to end and has not ended within {ending:g} s: it stops its run first, "
        f"or waits for a file. Wait, or end it at once. {advice}",
        stderr=True,
    )
    return 1


def _say_refusal(refusal: Refusal) -> int:
    say(f"{refusal.error.title}: {refusal.error.cause} {refusal.error.action}".rstrip(), stderr=True)
    return 1


def _status(answering: float) -> int:
    reply, _ = ask_engine(Status(), greeting=answering, patience=answering)
    if isinstance(reply, Refusal):
        return _say_refusal(reply)
    if isinstance(reply, EngineStatus):
        say(f"NFKD {reply.version}, torch {reply.torch}, {reply.device_name}, {reply.threads} threads, pid {reply.pid}")
        say(f"training: {reply.active or 'nothing'}; waiting: {len(reply.queue)}; clients: {reply.clients}")
    return 0

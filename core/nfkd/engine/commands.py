"""The commands ``nfkd engine`` and ``python -m nfkd.engine``."""

from __future__ import annotations

import argparse
import faulthandler
import os
import stat
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from nfkd.engine.endpoint import (
    LOCK,
    EngineBusyError,
    EngineDirectoryError,
    EngineNotListeningError,
    EngineSilentError,
    NoEngineError,
    address,
    describe_kill,
    describe_process,
    engine_directory,
    read_process,
    write_process,
)
from nfkd.engine.limits import Limits
from nfkd.engine.relay import ALREADY_RUNNING, READY
from nfkd.engine.relay import main as relay
from nfkd.terminal import INTERRUPTED, Parser, say, standard_streams
from nfkd.training.freed_memory import keep_freed_memory

if TYPE_CHECKING:
    from nfkd.protocol.requests import Refusal

_RETRY_SECONDS = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the engine's commands to a parser."""
    parser.add_argument(
        "action",
        choices=["connect", "serve", "stop", "status"],
        help="connect: relay the standard streams to the engine; serve: run the engine; stop: end it; status: show it",
    )


def main(arguments: list[str]) -> int:
    """Run one of the commands; returns the exit code."""
    parser = Parser(prog="python -m nfkd.engine")
    add_arguments(parser)
    with standard_streams():
        return perform(parser.parse_args(arguments).action)
    return 0  # the output was closed


def perform(action: str, *, answering: float = 5.0, ending: float = 30.0) -> int:
    """Run the command of that name; returns the exit code.

    Parameters
    ----------
    action
        One of the actions of `add_arguments`.
    answering
        Seconds to wait for the engine's greeting and for its status.
    ending
        Seconds to wait for its end after ``stop``.
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
    except (EngineDirectoryError, EngineSilentError, EngineNotListeningError, EngineBusyError) as error:
        say(f"nfkd engine: {error}", stderr=True)
        return 1


def serve(limits: Limits | None = None) -> int:
    """Run the engine until it ends; returns the exit code.

    Raises
    ------
    EngineDirectoryError
        When the engine's directory cannot be used.
    """
    import asyncio

    from filelock import FileLock, Timeout

    from nfkd.engine.server import Server

    lock = FileLock(engine_directory() / LOCK)
    try:
        lock.acquire(timeout=0)
        write_process()
    except Timeout:
        return ALREADY_RUNNING
    except OSError as error:
        msg = f"the engine's directory {engine_directory()} cannot be written to: {error.strerror}"
        raise EngineDirectoryError(msg) from error
    if stat.S_ISREG(os.fstat(2).st_mode):
        os.ftruncate(2, 0)  # the log is this engine's only
    faulthandler.enable()  # a crash of native code leaves its stack in the log
    keep_freed_memory()  # before the threads that train start
    if sys.platform != "win32" and os.path.exists(address()):  # noqa: PTH110
        os.unlink(address())  # noqa: PTH108 - left by a killed engine: this process holds the lock
    stuck: list[str] = []

    async def run() -> None:
        server = Server(limits=limits)
        try:
            await server.serve(_report_ready)
        finally:
            stuck.extend(server.stuck)

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if stuck:
            _exit_without(stuck)
        lock.release()
    return 0


def _exit_without(stuck: list[str]) -> NoReturn:
    """End the process at once: Python would wait for threads that wait for files."""
    say(f"nfkd engine: ended without waiting any longer for {', '.join(stuck)}", stderr=True)
    os._exit(0)


def _report_ready() -> None:
    """Report to the relay on standard output, then redirect standard output to the log."""
    os.write(1, READY + b"\n")
    os.dup2(2, 1)


def _stop(answering: float, ending: float) -> int:
    from nfkd.engine.query import query_engine  # the relay needs no messages, and starts in a third of the time
    from nfkd.protocol.requests import Refusal, Shutdown

    end = time.monotonic() + ending
    process: int | None = None
    while True:
        try:
            reply, process = query_engine(Shutdown(), greeting=answering, patience=ending)
        except EngineBusyError as error:
            return _say_not_ended(error.process, ending)
        except EngineNotListeningError:
            process = read_process()
            if time.monotonic() >= end:
                return _say_not_ended(process, ending)
            time.sleep(_RETRY_SECONDS)
        except NoEngineError:
            if process is None:
                raise
            break
        else:
            if isinstance(reply, Refusal):
                return _say_refusal(reply)
            break
    if process is not None and not _wait_for_end(process, end - time.monotonic()):
        return _say_not_ended(process, ending)
    say("The engine has ended.")
    return 0


def _wait_for_end(process: int, limit: float) -> bool:
    """Wait until the process has ended; return False after `limit` seconds."""
    import psutil

    end = time.monotonic() + limit
    try:
        engine = psutil.Process(process)
        while engine.is_running() and engine.status() != psutil.STATUS_ZOMBIE:  # its parent may not have noticed yet
            if time.monotonic() >= end:
                return False
            time.sleep(_RETRY_SECONDS)
    except psutil.NoSuchProcess:
        pass
    return True


def _say_not_ended(process: int | None, ending: float) -> int:
    advice = describe_kill(process) if process else "End its process."
    say(
        f"nfkd engine: The engine{describe_process(process)} has not ended within {ending:g} s: it still stops its "
        f"run, or waits for a file. Wait, or end it now. {advice}",
        stderr=True,
    )
    return 1


def _say_refusal(refusal: Refusal) -> int:
    say(f"{refusal.error.title}: {refusal.error.cause} {refusal.error.action}".rstrip(), stderr=True)
    return 1


def _status(answering: float) -> int:
    from nfkd.engine.query import query_engine
    from nfkd.protocol.requests import EngineStatus, Refusal, Status

    reply, _ = query_engine(Status(), greeting=answering, patience=answering)
    if isinstance(reply, Refusal):
        return _say_refusal(reply)
    if isinstance(reply, EngineStatus):
        say(f"NFKD {reply.version}, torch {reply.torch}, {reply.device_name}, {reply.threads} threads, pid {reply.pid}")
        say(f"training: {reply.active or 'nothing'}; waiting: {len(reply.queue.runs)}; clients: {reply.clients}")
    return 0

"""Threads for requests that touch files: each has a time limit, and one that is stuck holds up no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

from nfkd.engine.limits import Limits
from nfkd.runs.errors import RunError

Heard = Callable[[], float]
"""Returns the time (`time.monotonic`) of the last progress."""


class FilesSilentError(RunError):
    """Files that did not answer within the limit; the request is given up, and its thread ends when they answer."""


class RequestThreads:
    """Runs functions in daemon threads, a few at a time and in order. Belongs to the running loop.

    Python cannot end a thread that waits for a file. So a thread that is slow gives its turn to the next, one that
    exceeds its limit is given up, and there are never more than `limits.threads`. Daemon threads do not keep the
    process alive.

    Parameters
    ----------
    name
        Of the threads.
    width
        Functions that run at once, apart from slow ones.
    limits
        `overtake_seconds` and `threads` are used.
    """

    def __init__(self, name: str, width: int, limits: Limits) -> None:
        self._name, self._limits = name, limits
        self._turns = asyncio.Semaphore(width)
        self._running: dict[Thread, str] = {}
        self._ended = asyncio.Event()

    @property
    def running(self) -> list[str]:
        """What the threads that have not ended wait for."""
        return list(self._running.values())

    async def run(
        self, function: Callable[..., Any], *arguments: Any, about: str, limit: float, heard: Heard | None = None
    ) -> Any:
        """Run a function in a thread and return its result.

        Parameters
        ----------
        about
            The files that it reads or writes, for messages.
        limit
            Seconds from its start, or from the last progress.
        heard
            Tells the last progress.

        Raises
        ------
        FilesSilentError
            When it takes longer, or too many others do.
        """
        await self._turns.acquire()
        if len(self._running) >= self._limits.threads:
            self._turns.release()
            raise self._too_many()
        began = time.monotonic()
        future = self._start(function, arguments, about)
        while not future.done():
            left = max(began, heard() if heard else began) + limit - time.monotonic()
            if left <= 0:
                raise FilesSilentError(
                    title="The files do not answer",
                    cause=f"{about} did not answer within {limit:g} s. It may lie on a network drive that is gone.",
                    action="See whether the drive is connected, then try again. What was asked may still happen later.",
                )
            await asyncio.wait({future}, timeout=left)
        return future.result()

    async def close(self, limit: float) -> None:
        """Wait until the threads have ended, for a limited time in seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while self._running:
                    self._ended.clear()
                    await self._ended.wait()

    def _too_many(self) -> FilesSilentError:
        return FilesSilentError(
            title="Too many files do not answer",
            cause=f"{len(self._running)} earlier requests still wait for: {', '.join(sorted(set(self.running)))}.",
            action="See whether the drive is connected. If it is, restart the engine (nfkd engine stop).",
        )

    def _start(self, function: Callable[..., Any], arguments: tuple[Any, ...], about: str) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        future.add_done_callback(lambda done: done.exception())  # it may be given up: nobody else looks then
        has_turn = True

        def give_turn() -> None:
            nonlocal has_turn
            if has_turn:
                has_turn = False
                self._turns.release()

        overtaken = loop.call_later(self._limits.overtake_seconds, give_turn)

        def finish(result: Any, error: BaseException | None) -> None:
            overtaken.cancel()
            give_turn()
            self._running.pop(thread)
            self._ended.set()
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def work() -> None:
            result, error = None, None
            try:
                result = function(*arguments)
            except BaseException as caught:  # noqa: BLE001 - whoever asked is told
                error = caught
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(finish, result, error)

        thread = Thread(target=work, name=self._name, daemon=True)
        self._running[thread] = about
        thread.start()
        return future

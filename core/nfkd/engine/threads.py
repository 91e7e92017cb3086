"""Daemon threads with time limits for requests that use files; a stuck one does not block the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

from nfkd.engine.limits import Limits
from nfkd.runs.errors import RunError

LastProgress = Callable[[], float]
"""Returns the time (`time.monotonic`) of the last progress."""


class FilesSilentError(RunError):
    """A request was abandoned because its files did not respond in time; its thread may still be waiting."""


class RequestThreads:
    """Runs functions in daemon threads, a few at a time and in order. Belongs to the running loop.

    Python cannot end a thread that waits for a file. So a slow thread lets the next one start, a request that exceeds
    its limit is abandoned, and there are never more than `limits.threads`.

    Parameters
    ----------
    name
        Name of the threads.
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
        """The files that the running threads use."""
        return list(self._running.values())

    async def run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        about: str,
        limit: float,
        last_progress: LastProgress | None = None,
    ) -> Any:
        """Run a function in a thread and return its result.

        Parameters
        ----------
        about
            The files that it reads or writes, for messages.
        limit
            Seconds from its start, or from the last progress.
        last_progress
            Returns the time of the last progress.

        Raises
        ------
        FilesSilentError
            When the limit is exceeded, or too many threads are stuck.
        """
        await self._turns.acquire()
        if len(self._running) >= self._limits.threads:
            self._turns.release()
            raise self._too_many()
        start = time.monotonic()
        future = self._start(function, arguments, about)
        while not future.done():
            remaining = max(start, last_progress() if last_progress else start) + limit - time.monotonic()
            if remaining <= 0:
                raise FilesSilentError(
                    title="The files do not answer",
                    cause=f"{about} did not answer within {limit:g} s. It may be on a disconnected network drive.",
                    action="Check that the drive is connected, then try again. The request may still complete later.",
                )
            await asyncio.wait({future}, timeout=remaining)
        return future.result()

    async def close(self, limit: float) -> None:
        """Wait at most `limit` seconds until the threads have ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while self._running:
                    self._ended.clear()
                    await self._ended.wait()

    def _too_many(self) -> FilesSilentError:
        return FilesSilentError(
            title="Too many files do not answer",
            cause=f"{len(self._running)} earlier requests still wait for: {', '.join(sorted(set(self.running)))}.",
            action="Check that the drive is connected. If it is, restart the engine (nfkd engine stop).",
        )

    def _start(self, function: Callable[..., Any], arguments: tuple[Any, ...], about: str) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        future.add_done_callback(lambda done: done.exception())  # an abandoned future's error is never retrieved
        has_turn = True

        def release_turn() -> None:
            nonlocal has_turn
            if has_turn:
                has_turn = False
                self._turns.release()

        overtake = loop.call_later(self._limits.overtake_seconds, release_turn)

        def finish(result: Any, error: BaseException | None) -> None:
            overtake.cancel()
            release_turn()
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
            except BaseException as caught:  # noqa: BLE001 - the caller gets it
                error = caught
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(finish, result, error)

        thread = Thread(target=work, name=self._name, daemon=True)
        self._running[thread] = about
        thread.start()
        return future

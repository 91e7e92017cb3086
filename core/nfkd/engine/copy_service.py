"""Requests that copy the files of runs to a client's machine."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

from nfkd.building import temporary_beside
from nfkd.engine.folder_watch import Listed
from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.protocol.copying import PART_BYTES, CopyRun, EndCopy, FilePart, ReadRunFile, RunFile, RunFiles
from nfkd.protocol.requests import Done
from nfkd.runs.copying import Identity, describe_file, freeze_run, list_files, read_part
from nfkd.runs.errors import RunError
from nfkd.runs.state import ACTIVE, read_row

_MOST_COPIES = 4


class _Copy(NamedTuple):
    """The files of one copy by name, and what removes their frozen directory."""

    run: str
    files: dict[str, tuple[Path, Identity]]
    cleanup: ExitStack


class CopyService:
    """Reads files of runs in listed folders, and of no others; belongs to the running loop.

    Parameters
    ----------
    top_of
        Returns the listed folder that a path is below.
    limits
        How long requests may wait for files.
    """

    def __init__(self, top_of: Listed, limits: Limits) -> None:
        self._top_of, self._limits = top_of, limits
        self._threads = RequestThreads("copies", 2, limits)
        self._copies: dict[str, _Copy] = {}
        self.handlers: dict[type, Callable[[Any], Any]] = {
            CopyRun: self.copy,
            ReadRunFile: self.read,
            EndCopy: self.end,
        }

    @property
    def running(self) -> list[str]:
        """The files that running threads use."""
        return self._threads.running

    async def close(self) -> None:
        """Remove what copies of runs in training need, and wait a limited time for the threads."""
        for ticket in list(self._copies):
            with suppress(RunError):  # the next engine removes what is left
                await self._forget(ticket, self._limits.close_seconds)
        await self._threads.close(self._limits.close_seconds)

    async def copy(self, request: CopyRun) -> RunFiles:
        """Return the files of a run."""
        run = Path(request.run)
        if self._top_of(request.run) is None or ".." in run.parts:
            cause = f"{request.run} is in no folder of runs that was listed."
            raise RunError(title="The run cannot be copied", cause=cause, action="List its folder first.")
        active, listed, copy = await self._run(_prepare, run, request.names, about=request.run)
        ticket = secrets.token_hex(16)
        self._copies[ticket] = copy
        while len(self._copies) > _MOST_COPIES:  # clients that have left
            await self._forget(next(iter(self._copies)), self._limits.answer_seconds)
        return RunFiles(run=request.run, ticket=ticket, files=listed, active=active)

    async def read(self, request: ReadRunFile) -> FilePart:
        """Return a part of a file."""
        copy = self._copies.get(request.ticket)
        found = copy.files.get(request.path) if copy else None
        if copy is None or found is None or request.start < 0:
            raise RunError(
                title="The copy has ended", cause="The engine no longer holds its files.", action="Copy the run again."
            )
        self._copies[request.ticket] = self._copies.pop(request.ticket)  # the one used last is forgotten last
        data = await self._run(read_part, *found, request.start, PART_BYTES, about=copy.run)
        return FilePart(start=request.start, data=data)

    async def end(self, request: EndCopy) -> Done:
        """Forget a copy."""
        await self._forget(request.ticket, self._limits.answer_seconds)
        return Done()

    async def _forget(self, ticket: str, limit: float) -> None:
        copy = self._copies.pop(ticket, None)
        if copy is not None:
            await self._threads.run(copy.cleanup.close, about=copy.run, limit=limit)

    async def _run(self, function: Callable[..., Any], *arguments: Any, about: str) -> Any:
        return await self._threads.run(function, *arguments, about=about, limit=self._limits.work_seconds)


def _prepare(run: Path, names: list[str]) -> tuple[bool, list[RunFile], _Copy]:
    active = read_row(run).state in ACTIVE
    with ExitStack() as stack:
        directory = run
        if active:
            directory = stack.enter_context(temporary_beside(run))
            freeze_run(run, directory, names)
        described, files = [], {}
        for name, path in list_files(directory, names).items():
            file, identity = describe_file(name, path)
            described.append(file)
            files[name] = path, identity
        return active, described, _Copy(str(run), files, stack.pop_all())

"""Requests that rename, label, move, delete and restore saved runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nfkd.engine.folder_watch import Listed
from nfkd.engine.limits import Limits
from nfkd.engine.run_guard import RunGuard
from nfkd.engine.threads import FilesSilentError, RequestThreads
from nfkd.protocol.comparing import (
    EmptyTrash,
    LabelRuns,
    ListTrash,
    MoveRuns,
    RestoreRuns,
    RunsMoved,
    TrashList,
    TrashRuns,
)
from nfkd.protocol.events import RunChanged, RunRemoved
from nfkd.protocol.requests import Done, RenameRun, RunAccepted
from nfkd.protocol.run_rows import RunRow
from nfkd.runs.errors import RunError
from nfkd.runs.finding import MAX_LEVELS
from nfkd.runs.labels import change_labels
from nfkd.runs.layout import rename_run
from nfkd.runs.moving import move_run, prepare_folder, remove_empty
from nfkd.runs.state import read_row
from nfkd.runs.trash import empty_trash, list_trash, restore_run, trash_run

_MAX_NAMED = 10  # runs in a message


class RunFilesService:
    """Changes the directories and labels of runs; belongs to the running loop.

    Parameters
    ----------
    report
        Called with the events.
    guard
        Says which runs may not be changed.
    top_of
        Returns the listed folder that a path is below.
    limits
        How long requests may wait for files.
    """

    def __init__(
        self,
        report: Callable[[RunChanged | RunRemoved], None],
        guard: RunGuard,
        top_of: Listed,
        limits: Limits,
    ) -> None:
        self._report, self._guard, self._top_of, self._limits = report, guard, top_of, limits
        self._threads = RequestThreads("run files", 2, limits)
        self._labelling = RequestThreads("labels", 1, limits)
        self.handlers: dict[type, Callable[[Any], Any]] = {
            RenameRun: self.rename,
            LabelRuns: self.label,
            MoveRuns: self.move,
            TrashRuns: self.trash,
            RestoreRuns: self.restore,
            ListTrash: self.list_trash,
            EmptyTrash: self.empty_trash,
        }

    @property
    def running(self) -> list[str]:
        """The files that running threads use."""
        return [*self._threads.running, *self._labelling.running]

    async def close(self) -> None:
        """Wait a limited time for the threads."""
        for threads in (self._threads, self._labelling):
            await threads.close(self._limits.close_seconds)

    async def rename(self, request: RenameRun) -> RunAccepted:
        """Rename a run."""
        self._guard.refuse_unfinished(request.run, "renamed")
        with self._guard.changing(request.run):
            path = await self._run(rename_run, Path(request.run), request.name, about=request.run)
        self._report(RunRemoved(run=request.run, new=str(path)))
        return RunAccepted(run=str(path))

    async def label(self, request: LabelRuns) -> Done:
        """Change tags and notes, also of runs in training."""
        failed: dict[str, RunError] = {}
        for run in request.runs:
            try:
                row = await self._labelling.run(
                    _label, Path(run), request, about=run, limit=self._limits.answer_seconds
                )
            except FilesSilentError:
                raise
            except RunError as error:
                failed[run] = error
            else:
                self._report(RunChanged(run=run, row=row))
        if failed:
            first = next(iter(failed.values()))
            raise RunError(first.title, _named([error.cause for error in failed.values()]), first.action)
        return Done()

    async def move(self, request: MoveRuns) -> RunsMoved:
        """Move runs into a folder."""
        folder = Path(request.folder)
        top = self._top_of(str(folder / "run"))
        if top is not None and len(folder.relative_to(top).parts) > MAX_LEVELS:
            title, cause = "The runs cannot be moved", f"{folder} is more than {MAX_LEVELS} folders below {top}."
            raise RunError(title, f"{cause} Runs are listed down to there.", "Choose another folder.")
        await self._run(prepare_folder, folder, about=request.folder)
        reply = await self._move_each(request.runs, lambda run: move_run(run, folder), "moved")
        if not reply.moved:
            await self._run(remove_empty, folder, about=request.folder)
        return reply

    async def trash(self, request: TrashRuns) -> RunsMoved:
        """Move runs into the trash of their runs folder."""
        folder = Path(request.folder)
        return await self._move_each(
            request.runs, lambda run: trash_run(folder, run), "moved to the trash", removed=True
        )

    async def restore(self, request: RestoreRuns) -> RunsMoved:
        """Move runs out of the trash."""
        return await self._move_each(request.runs, restore_run, "restored", added=True)

    async def list_trash(self, request: ListTrash) -> TrashList:
        """Return the runs in the trash."""
        rows, size = await self._run(list_trash, Path(request.folder), about=request.folder)
        return TrashList(rows=rows, size=size)

    async def empty_trash(self, request: EmptyTrash) -> Done:
        """Move what is in the trash to that of the system."""
        # A trash on another drive takes time: all files are copied.
        await self._run(empty_trash, Path(request.folder), about=request.folder, limit=self._limits.work_seconds)
        return Done()

    async def _move_each(
        self,
        runs: Sequence[str],
        move: Callable[[Path], Path],
        verb: str,
        *,
        removed: bool = False,
        added: bool = False,
    ) -> RunsMoved:
        """Move runs one by one, and report where they are.

        Parameters
        ----------
        removed, added
            Whether the runs leave the listed folders, or come into them.
        """
        moved: dict[str, str] = {}
        failed: dict[str, str] = {}
        for run in runs:
            try:
                self._guard.refuse_unfinished(run, verb)
                with self._guard.changing(run):
                    path, row = await self._run(_move, move, Path(run), about=run)
            except RunError as error:
                failed[run] = error.cause
                continue
            moved[run] = path
            if path == run:
                continue
            if not added:
                self._report(RunRemoved(run=run, new="" if removed else path))
            if not removed and row is not None:
                self._report(RunChanged(run=path, row=row))
        return RunsMoved(moved=moved, failed=failed)

    async def _run(self, function: Callable[..., Any], *arguments: Any, about: str, limit: float | None = None) -> Any:
        return await self._threads.run(function, *arguments, about=about, limit=limit or self._limits.answer_seconds)


def _label(run: Path, request: LabelRuns) -> RunRow:
    read_row(run)  # refuses other directories
    change_labels(run, request.add, request.remove, request.note)
    return read_row(run)


def _move(move: Callable[[Path], Path], run: Path) -> tuple[str, RunRow | None]:
    path = move(run)
    try:
        return str(path), read_row(path)
    except RunError:  # the folder's watch finds it
        return str(path), None


def _named(causes: Sequence[str]) -> str:
    more = f" There are {len(causes) - _MAX_NAMED:,} more." if len(causes) > _MAX_NAMED else ""
    return " ".join(causes[:_MAX_NAMED]) + more

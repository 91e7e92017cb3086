"""Copies a run of another machine to this one: complete, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from nfkd.building import temporary_beside
from nfkd.files import is_taken
from nfkd.protocol.copying import CopyRun, EndCopy, FilePart, ReadRunFile, RunFile, RunFiles
from nfkd.protocol.records import ErrorInfo
from nfkd.protocol.requests import Reply, Request
from nfkd.remote.errors import SAME_VERSION, RemoteError, require_reply
from nfkd.text import name_problem, plain

_MOST_FILES, _MOST_LEVELS = 10_000, 8
_BLOCK = 1 << 20  # bytes
_HEX = 64  # characters of a SHA-256
Steps = Generator[Request, Reply, bool]
"""Yields requests and takes their replies; returns whether the run was in training."""


class RunCopy:
    """A copy of a run. Its `steps` can be repeated after a cut connection: what has arrived is kept.

    Parameters
    ----------
    run
        The directory on the engine's machine.
    directory
        Where the files are written.
    on_progress
        Called with the bytes that are done, and all bytes.
    names
        The files that are wanted; all if none is named.
    """

    def __init__(
        self,
        run: str,
        directory: Path,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
        names: Sequence[str] = (),
    ) -> None:
        self._run, self._directory, self._on_progress, self._names = run, directory, on_progress, list(names)
        self._done = 0

    def steps(self) -> Steps:
        """Yield the requests of the copy, for `EngineConnection.perform`, for example.

        Raises
        ------
        RemoteError
            When the engine sends something wrong, or this disk has too little space.
        OSError
            When a file cannot be written.
        """
        files = require_reply(RunFiles, (yield CopyRun(run=self._run, names=self._names)))
        _check(files)
        total = sum(file.size for file in files.files)
        self._require_space(total)
        self._done = 0
        for file in files.files:
            yield from self._copy(files.ticket, file, total)
        yield EndCopy(ticket=files.ticket)
        self._remove_others({file.path for file in files.files})
        return files.active

    def _copy(self, ticket: str, file: RunFile, total: int) -> Generator[Request, Reply, None]:
        path = self._directory / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        resumed = path.exists()
        while not (yield from self._fetch(ticket, file, path, total)):
            path.unlink()
            if not resumed:
                raise _changed(file.path)
            resumed = False  # what an earlier attempt has written was of another moment
        self._done += file.size
        self._on_progress(self._done, total)

    def _fetch(self, ticket: str, file: RunFile, path: Path, total: int) -> Generator[Request, Reply, bool]:
        """Complete a file; return whether it has the right content."""
        digest = hashlib.sha256()
        with path.open("r+b" if path.exists() else "x+b") as target:
            while data := target.read(_BLOCK):
                digest.update(data)
            size = target.tell()
            while size < file.size:
                self._on_progress(self._done + size, total)
                part = require_reply(FilePart, (yield ReadRunFile(ticket=ticket, path=file.path, start=size)))
                if part.start != size or not 0 < len(part.data) <= file.size - size:
                    raise _changed(file.path)
                target.write(part.data)
                digest.update(part.data)
                size += len(part.data)
            target.flush()
            os.fsync(target.fileno())
        return size == file.size and digest.hexdigest() == file.sha256

    def _require_space(self, total: int) -> None:
        free = shutil.disk_usage(self._directory).free + sum(
            path.stat().st_size for path in self._directory.rglob("*") if path.is_file()
        )
        if total > free:
            cause = f"It has {total:,} bytes, and {self._directory.parent} has {free:,} bytes free."
            raise _copy_error(cause, "Free some space, or choose another folder.")

    def _remove_others(self, wanted: set[str]) -> None:
        """Remove files of an earlier attempt that the run no longer has."""
        for path in self._directory.rglob("*"):
            if path.is_file() and path.relative_to(self._directory).as_posix() not in wanted:
                path.unlink()


@contextmanager
def copying(
    run: str, target: Path, on_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> Iterator[RunCopy]:
    """Yield a copy of a run that is written beside `target` and renamed to it at the end, or removed after an error.

    Raises
    ------
    RemoteError
        When the target exists.
    OSError
        When its folder cannot be written.
    """
    if is_taken(target):
        raise _copy_error(
            cause=f"{plain(str(target))} exists already.", action="Choose another directory, or move that one."
        )
    with temporary_beside(target) as directory:
        yield RunCopy(run, directory, on_progress)
        if is_taken(target):
            raise _copy_error(cause=f"{plain(str(target))} was created meanwhile.", action="Choose another directory.")
        directory.rename(target)


def _check(files: RunFiles) -> None:
    """Refuse names that lead out of the directory, or that this system may not have."""
    paths = [file.path.casefold() for file in files.files]
    folders = {str(folder) for path in paths[:_MOST_FILES] for folder in PurePosixPath(path).parents}
    if len(paths) > _MOST_FILES or len(set(paths)) < len(paths) or not folders.isdisjoint(paths):
        raise _copy_error(cause="The engine listed too many files, or one twice.", action=SAME_VERSION)
    for file in files.files:
        parts = PurePosixPath(file.path).parts
        is_plain = file.path == "/".join(parts) and 0 < len(parts) <= _MOST_LEVELS
        if not is_plain or any(part in {".", ".."} or name_problem(part.lstrip(".") or ".") for part in parts):
            cause = f"The engine listed a file with the name {plain(file.path, 80)}."
            raise _copy_error(cause, "Rename it there, then copy the run again.")
        if file.size < 0 or len(file.sha256) != _HEX:
            raise _copy_error(cause=f"The engine sent no size or hash of {file.path}.", action="Copy the run again.")


def _changed(name: str) -> RemoteError:
    return _copy_error(cause=f"{plain(name)} changed while it was copied.", action="Copy the run again.")


def _copy_error(cause: str, action: str) -> RemoteError:
    return RemoteError(ErrorInfo(title="The run was not copied", cause=cause, action=action))

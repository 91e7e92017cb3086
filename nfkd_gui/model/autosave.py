"""Keeps the unsaved experiment in a file, so that it survives a crash or a power failure."""

from __future__ import annotations

import copy
import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from PySide6.QtCore import QObject, QTimer, Signal

from nfkd.files import read_limited, replacing
from nfkd_gui.model.experiment import Experiment

_DELAY = 2000
"""Milliseconds without a change before the experiment is written."""
_PREFIX, _SUFFIX, _LOCK = "unsaved-", ".json", ".lock"
_LIMIT = 16 << 20  # bytes
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unsaved:
    """An experiment that was not saved when its window ended.

    Attributes
    ----------
    file
        Where it is kept.
    time
        When it was written, in seconds since 1970.
    name, path, document
        Of the experiment; `path` is None if it never had a file.
    """

    file: Path
    time: float
    name: str
    path: Path | None
    document: dict[str, Any]

    def discard(self) -> None:
        """Delete the file."""
        _delete(self.file, _lock_of(self.file))


class Autosave(QObject):
    """Writes the unsaved experiment two seconds after its last change; deletes the file when nothing is unsaved.

    Every window has a file of its own, with a lock that the system releases when the process ends in any way.

    Attributes
    ----------
    kept_at
        When the unsaved experiment was last written, in seconds since 1970; 0 if there is none.
    """

    changed = Signal()
    """`kept_at` changed."""

    def __init__(self, experiment: Experiment, folder: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._experiment = experiment
        self.folder = folder
        self._file = folder / f"{_PREFIX}{os.getpid()}-{time.time_ns():x}{_SUFFIX}"
        self._lock = FileLock(_lock_of(self._file))
        self._written: dict[str, Any] | None = None
        self._closed = False
        self.kept_at = 0.0
        self._quiet = QTimer(self, singleShot=True, interval=_DELAY)
        self._quiet.timeout.connect(self.keep)
        experiment.file_changed.connect(self._follow)

    def _follow(self) -> None:
        if self._experiment.dirty and not self._closed:
            self._quiet.start()
        else:
            self._forget()

    def keep(self) -> None:
        """Write the experiment now, if it has unsaved changes that are not written yet."""
        self._quiet.stop()
        experiment = self._experiment
        if not experiment.dirty or experiment.document == self._written:
            return
        now = time.time()
        content = {
            "time": now, "name": experiment.name, "path": str(experiment.path or ""), "document": experiment.document,
        }  # fmt: skip
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            with replacing(self._file) as temporary:
                temporary.write_text(json.dumps(content), encoding="utf-8")
        except (OSError, Timeout, ValueError) as error:
            _log.warning("The unsaved experiment could not be kept in %s: %s", self._file, error)
            return
        self._written, self.kept_at = copy.deepcopy(experiment.document), now
        self.changed.emit()

    def found(self) -> list[Unsaved]:
        """Return the unsaved experiments of windows that have ended, newest first."""
        files = [file for file in self.folder.glob(f"{_PREFIX}*{_SUFFIX}") if file != self._file and not _in_use(file)]
        read = [unsaved for file in files if (unsaved := _read(file)) is not None]
        return sorted(read, key=lambda unsaved: -unsaved.time)

    def restore(self, unsaved: Unsaved) -> None:
        """Open an unsaved experiment; it is kept in this window's own file before the other one is deleted."""
        self._experiment.replace(unsaved.document, unsaved.path, dirty=True)
        self.keep()
        if self._written is not None:
            unsaved.discard()

    def close(self) -> None:
        """Keep nothing more, and delete the file: the window is closed by the user."""
        self._closed = True
        self._forget()
        self._lock.release()
        _delete(_lock_of(self._file))

    def _forget(self) -> None:
        self._quiet.stop()
        self._written = None
        _delete(self._file)
        if self.kept_at:
            self.kept_at = 0.0
            self.changed.emit()


def _lock_of(file: Path) -> Path:
    return file.with_name(file.name + _LOCK)


def _in_use(file: Path) -> bool:
    """Return whether the process that writes a file still runs."""
    lock = FileLock(_lock_of(file))
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def _read(file: Path) -> Unsaved | None:
    """Return the content of a file; None for a damaged one, which is renamed so that it is reported only once."""
    try:
        content = json.loads(read_limited(file, _LIMIT))
        document, path = content["document"], content["path"]
        if not isinstance(document, dict) or not isinstance(path, str):
            raise TypeError(type(document).__name__)  # noqa: TRY301
        return Unsaved(file, float(content["time"]), str(content["name"]), Path(path) if path else None, document)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        _log.warning("%s holds no unsaved experiment: %s", file, error)
        try:
            file.rename(file.with_suffix(".damaged"))
        except OSError:
            _log.warning("%s could not be renamed", file)
        return None


def _delete(*files: Path) -> None:
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s could not be deleted: %s", file, error)

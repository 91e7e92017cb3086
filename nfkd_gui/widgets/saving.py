"""Save a file in a worker thread: progress after half a second, Cancel, and one message if it fails."""

from __future__ import annotations

import functools
import itertools
import traceback
from pathlib import Path

from PySide6.QtCore import QObject, Qt, QThreadPool, Signal
from PySide6.QtWidgets import QProgressDialog, QWidget

from nfkd.protocol.events import ErrorInfo
from nfkd_gui.gc_policy import PAUSE
from nfkd_gui.model.export_files import CancelledError, ExportError, Progress, Writer
from nfkd_gui.widgets.labels import display_text

_PATIENCE = 500
"""Milliseconds before the progress is shown."""
_HUNDRED = 100


class SaveJob(QObject):
    """Writes one file; the window stays usable meanwhile.

    Call `write` when everything is known that the file needs, or `fail`. Until then the progress is indeterminate.
    """

    saved = Signal(str)
    """The path."""
    failed = Signal(object)
    """An `ErrorInfo`."""
    ended = Signal()
    """Saved, failed or cancelled."""

    def __init__(self, path: Path, window: QWidget) -> None:
        super().__init__()
        self.path = path
        self._progress: Progress | None = None
        self._has_ended = False
        self.dialog = QProgressDialog(display_text(f"Saving {path.name} …"), "Cancel", 0, 0, window)
        self.dialog.setObjectName("saving")
        self.dialog.setWindowTitle("Save")
        self.dialog.setWindowModality(Qt.WindowModality.NonModal)
        self.dialog.setAutoReset(False)
        self.dialog.setAutoClose(False)
        self.dialog.setMinimumDuration(_PATIENCE)
        self.dialog.canceled.connect(self.cancel)
        self.dialog.destroyed.connect(self._lose_dialog)
        self._has_dialog = True

    def write(self, writer: Writer) -> None:
        """Run a writer in the thread; it must hold no widgets, which the thread might destroy."""
        if not self._has_ended:
            self._progress = _threads().start(self, writer)

    def fail(self, error: ErrorInfo) -> None:
        """End without a file."""
        if not self._has_ended:
            self.end(error)

    def cancel(self) -> None:
        """End soon; the file is not written, and an existing one stays."""
        if self._progress is not None:
            self._progress.cancel()
        elif not self._has_ended:
            self.end(None)

    def show_fraction(self, fraction: float) -> None:
        """Show how much is written."""
        if self._has_dialog:
            self.dialog.setMaximum(_HUNDRED)
            self.dialog.setValue(round(_HUNDRED * fraction))

    def end(self, result: ErrorInfo | str | None) -> None:
        """Close the dialog, and tell the result: an error, the path that was saved, or None after a cancellation."""
        self._has_ended = True
        if self._has_dialog:
            self.dialog.blockSignals(True)  # closing it would cancel
            self.dialog.close()
            self.dialog.deleteLater()
        if isinstance(result, ErrorInfo):
            self.failed.emit(result)
        elif result is not None:
            self.saved.emit(result)
        self.ended.emit()

    def _lose_dialog(self) -> None:
        """End with the window."""
        self._has_dialog = False
        self.cancel()


class _Threads(QObject):
    """Runs the writers. The threads know jobs only by number, so that no thread ever destroys a Qt object."""

    _advanced = Signal(int, float)
    _returned = Signal(int, object)

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()
        self._jobs: dict[int, SaveJob] = {}
        self._pause = PAUSE
        self._advanced.connect(self._advance)
        self._returned.connect(self._end)

    def start(self, job: SaveJob, writer: Writer) -> Progress:
        number, path = next(self._numbers), job.path
        self._jobs[number] = job
        self._pause.enter()
        progress = Progress(functools.partial(self._advanced.emit, number))
        QThreadPool.globalInstance().start(lambda: self._returned.emit(number, _result_of(writer, path, progress)))
        return progress

    def _advance(self, number: int, fraction: float) -> None:
        if number in self._jobs:
            self._jobs[number].show_fraction(fraction)

    def _end(self, number: int, result: ErrorInfo | str | None) -> None:
        self._pause.leave()
        self._jobs.pop(number).end(result)


@functools.cache
def _threads() -> _Threads:
    return _Threads()


def _result_of(writer: Writer, path: Path, progress: Progress) -> ErrorInfo | str | None:
    """Write a file in the worker's thread; return its path, why it was not written, or None after a cancellation."""
    try:
        writer(path, progress)
    except CancelledError:
        return None
    except ExportError as error:
        return error.info
    except Exception:  # noqa: BLE001 - nobody else sees what fails in this thread
        title, cause = "The file was not saved", f"{path}: the panel's content could not be written."
        return ErrorInfo(title=title, cause=cause, action="Report the details.", traceback=traceback.format_exc())
    return str(path)

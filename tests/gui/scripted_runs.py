"""The part of the scripted engine that answers about many runs: values, thumbnails, labels, folders and the trash."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from nfkd.config.run_filter import Value
from nfkd.protocol import comparing as ask
from nfkd.protocol.events import ErrorInfo, RunChanged, RunRemoved
from nfkd.protocol.requests import Done, Reply
from nfkd.protocol.view import RunView

if TYPE_CHECKING:
    from tests.gui.scripted_engine import Script

TRASH = ".trash"


class ScriptedRuns:
    """Answers from what a test sets, and from the views of the script.

    Attributes
    ----------
    values, seeds, thumbnails
        What is known of runs, by directory.
    trash
        Runs in the trash by their directory there, with the directory they came from.
    failing
        Why runs cannot be moved, by directory.
    reports
        The reports that were written.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self.values: dict[str, dict[str, Value]] = {}
        self.seeds: dict[str, list[ask.SeedValues]] = {}
        self.thumbnails: dict[str, np.ndarray] = {}
        self.trash: dict[str, tuple[str, RunView]] = {}
        self.failing: dict[str, str] = {}
        self.reports: list[ask.WriteReport] = []

    def answer(self, request: Any) -> Reply:
        """Return the reply to a `ComparingRequest`."""
        handler = getattr(self, f"_{type(request).__name__.lower()}", None)
        if handler is None:
            from tests.gui.scripted_engine import ScriptRefusal

            raise ScriptRefusal(ErrorInfo(title="Not in the script", cause=type(request).__name__))
        return handler(request)

    def _readrunvalues(self, request: ask.ReadRunValues) -> ask.RunValues:
        known = self._script.views
        values = {run: dict(self.values.get(run, {})) for run in request.runs if run in known}
        return ask.RunValues(values=values, seeds={run: self.seeds[run] for run in values if run in self.seeds})

    def _readthumbnails(self, request: ask.ReadThumbnails) -> ask.Thumbnails:
        pictures = {run: self.thumbnails[run] for run in request.runs if run in self.thumbnails}
        return ask.Thumbnails(pictures={run: _resized(picture, request.pixels) for run, picture in pictures.items()})

    def _labelruns(self, request: ask.LabelRuns) -> Done:
        for run in request.runs:
            row = self._script.views[run].row
            tags = [*(tag for tag in row.tags if tag not in request.remove and tag not in request.add), *request.add]
            note = row.note if request.note is None else request.note
            self._script.emit(RunChanged(run=run, row=msgspec.structs.replace(row, tags=tags, note=note)))
        return Done()

    def _moveruns(self, request: ask.MoveRuns) -> ask.RunsMoved:
        return self._moved(request.runs, lambda run: str(PurePosixPath(request.folder) / PurePosixPath(run).name))

    def _moved(self, runs: list[str], new_of: Any) -> ask.RunsMoved:
        moved = {run: new_of(run) for run in runs if run not in self.failing}
        for run, new in moved.items():
            view = self._script.views.pop(run)
            view.row = msgspec.structs.replace(view.row, run=new)
            self._script.views[new] = view
            self._script.emit(RunRemoved(run=run, new=new))
        return ask.RunsMoved(moved=moved, failed={run: self.failing[run] for run in runs if run in self.failing})

    def _trashruns(self, request: ask.TrashRuns) -> ask.RunsMoved:
        moved = {}
        for run in request.runs:
            if run not in self.failing:
                moved[run] = f"{request.folder}/{TRASH}/{len(self.trash) + 1} {PurePosixPath(run).name}"
                self.trash[moved[run]] = (run, self._script.views.pop(run))
                self._script.emit(RunRemoved(run=run))
        return ask.RunsMoved(moved=moved, failed={run: self.failing[run] for run in request.runs if run not in moved})

    def _restoreruns(self, request: ask.RestoreRuns) -> ask.RunsMoved:
        moved = {}
        for there in request.runs:
            run, view = self.trash.pop(there)
            self._script.views[run] = view
            moved[there] = run
        return ask.RunsMoved(moved=moved)

    def _listtrash(self, _request: ask.ListTrash) -> ask.TrashList:
        rows = [msgspec.structs.replace(view.row, run=there) for there, (_, view) in reversed(self.trash.items())]
        return ask.TrashList(rows=rows, size=3 << 20)

    def _emptytrash(self, _request: ask.EmptyTrash) -> Done:
        self.trash.clear()
        return Done()

    def _evaluateruns(self, request: ask.EvaluateRuns) -> ask.RunsEvaluated:
        """Evaluate the first run; the others have damaged weights."""
        return ask.RunsEvaluated(
            notes=["fd was left out: no labels"], failed=dict.fromkeys(request.runs[1:], "Its weights are damaged")
        )

    def _cancelevaluation(self, _request: ask.CancelEvaluation) -> Done:
        return Done()

    def _writereport(self, request: ask.WriteReport) -> Done:
        self.reports.append(request)
        return Done()


def _resized(picture: np.ndarray, pixels: int) -> np.ndarray:
    """Return a picture with so many pixels a side, without interpolation."""
    index = np.arange(pixels) * len(picture) // pixels
    return np.ascontiguousarray(picture[index][:, index])

"""Starts the experiment of the form once it fits its data and the engine has checked it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from nfkd.config import ConfigProblem
from nfkd.protocol.events import ErrorInfo

if TYPE_CHECKING:
    from nfkd_gui.model.studio import Studio

_LISTED = 4
"""Problems of a refused run that are named."""


class RunStarter(QObject):
    """Waits for the adaptation to changed data and for the engine's check, then starts the run or reports why not."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self._studio = studio
        self._waiting = False
        studio.experiment.edited.connect(self._cancel)
        studio.experiment.replaced.connect(self._cancel)
        studio.experiment.checked.connect(self._go_on)
        studio.data_preview.changed.connect(self._go_on)  # after the adapter, which is connected before

    def start(self) -> None:
        """Start the experiment as it is now; a later change by the user before the engine's answer cancels this."""
        studio, experiment = self._studio, self._studio.experiment
        if studio.data_adapter.awaits_preview:
            studio.data_preview.refresh()  # do not wait for a pause in the changes
        elif experiment.config is None:
            studio.failed.emit(_refusal(experiment.problems))
            return
        self._waiting = True
        if not experiment.is_checked:
            experiment.describe()
        self._go_on()

    def _cancel(self, _path: str = "") -> None:
        self._waiting = False

    def _go_on(self) -> None:
        studio, experiment = self._studio, self._studio.experiment
        if not self._waiting or not studio.ready or studio.data_adapter.awaits_preview:
            return
        if experiment.is_checked:
            self._waiting = False
            studio.run(experiment.text)
        elif experiment.problems or experiment.error is not None:
            self._waiting = False
            studio.failed.emit(experiment.error or _refusal(experiment.problems))


def _refusal(problems: list[ConfigProblem]) -> ErrorInfo:
    """Return why the experiment was not started."""
    cause = "\n".join(f"{problem}." for problem in problems[:_LISTED])
    return ErrorInfo(title="The run was not started", cause=cause, action="Repair the marked fields in Design.")

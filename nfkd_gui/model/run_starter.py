"""Starts the experiment of the form once the engine has checked it."""

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
    """Waits for the engine's check of an experiment, then starts it or reports why not."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self._studio = studio
        self._waiting = ""
        studio.experiment.checked.connect(self._go_on)

    def start(self) -> None:
        """Start the experiment as it is now; a later change before the engine's answer cancels this."""
        experiment = self._studio.experiment
        if experiment.config is None:
            self._studio.failed.emit(_refusal(experiment.problems))
            return
        self._waiting = experiment.text
        if not experiment.is_checked:
            experiment.describe()  # do not wait for a pause in the changes
        self._go_on()

    def _go_on(self) -> None:
        studio, experiment, text = self._studio, self._studio.experiment, self._waiting
        if not text or not studio.ready:
            return
        if text != experiment.text:
            self._waiting = ""
        elif experiment.is_checked:
            self._waiting = ""
            studio.run(text)
        elif experiment.problems or experiment.error is not None:
            self._waiting = ""
            studio.failed.emit(experiment.error or _refusal(experiment.problems))


def _refusal(problems: list[ConfigProblem]) -> ErrorInfo:
    """Return why the experiment was not started."""
    cause = "\n".join(f"{problem}." for problem in problems[:_LISTED])
    return ErrorInfo(title="The run was not started", cause=cause, action="Repair the marked fields in Design.")

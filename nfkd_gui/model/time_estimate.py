"""How long the experiment of the form will take: the engine measures a few real steps of each stage."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Reply
from nfkd.protocol.times import EstimateTime, TimeEstimate
from nfkd_gui.link.mailbox import Ask
from nfkd_gui.model.experiment import Experiment
from nfkd_gui.model.inquiry import Inquiry

_DEBOUNCE = 800
"""Milliseconds without a change before the engine measures."""


class TimeEstimateModel(QObject):
    """Asks for an estimate whenever the experiment has changed and can run.

    Attributes
    ----------
    estimate
        The engine's estimate of exactly this experiment; None until it answers.
    error
        Why there is none, such as a run in training.
    invalid
        Whether there is none because the experiment has problems.
    """

    changed = Signal()

    def __init__(self, ask: Ask, experiment: Experiment, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._experiment = experiment
        self._inquiry = Inquiry(ask, "time", _DEBOUNCE, self._request, self._replied, self._failed, self)
        self.estimate: TimeEstimate | None = None
        self.error: ErrorInfo | None = None
        self.invalid = True
        self._busy = False
        experiment.checked.connect(self._follow)

    def stop(self) -> None:
        """Send no more requests."""
        self._inquiry.stop()

    def retry(self) -> None:
        """Ask again if there was an error, since its cause may be gone."""
        if self.error is not None and self._inquiry.subject is not None:
            self.error = None
            self._inquiry.follow(self._inquiry.subject)
            self.changed.emit()

    def note_busy(self, *, busy: bool) -> None:
        """Note whether the engine has runs; once it has none, ask again for what it refused meanwhile."""
        before, self._busy = self._busy, busy
        if before and not busy:
            self.retry()

    def refresh(self) -> None:
        """Ask the engine at once."""
        self._inquiry.send()

    def _request(self) -> EstimateTime:
        return EstimateTime(config=self._experiment.text)

    def _replied(self, reply: Reply) -> None:
        if isinstance(reply, TimeEstimate):
            self.estimate, self.error = reply, None
            self.changed.emit()

    def _failed(self, error: ErrorInfo) -> None:
        self.estimate, self.error = None, error
        self.changed.emit()

    def _follow(self) -> None:
        experiment = self._experiment
        subject = experiment.subject if experiment.is_checked else None
        invalid = experiment.config is None or bool(experiment.problems)
        error = experiment.error if subject is None else self.error
        if (subject, invalid, error) == (self._inquiry.subject, self.invalid, self.error):
            return
        if subject != self._inquiry.subject:
            self._inquiry.follow(subject)
            error = experiment.error if subject is None else None
        self.estimate, self.error, self.invalid = None, error, invalid
        self.changed.emit()

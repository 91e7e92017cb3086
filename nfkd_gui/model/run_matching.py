"""The matching errors of the shown run, if it trains the flows of the form. No widgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, Signal

from nfkd.protocol.events import MatchingMeasured, RunEvent, SeedStarted, StageStarted
from nfkd.protocol.roles import ASSISTANTS, Role
from nfkd.protocol.view import RunView
from nfkd_gui.model.run_config import FLOWS, RunConfig

if TYPE_CHECKING:
    from nfkd_gui.model.studio import Studio

_LEARNERS: tuple[Role, ...] = (*ASSISTANTS, "student")


class RunMatching(QObject):
    """Follows the shown run, its seed and the time slider.

    Attributes
    ----------
    errors
        The errors at the shown step by learner and the names of its layer and its teacher's; empty without a run.
    history
        All errors of each learner, (steps, pairs), for a scale that stays the same while the slider moves.
    source
        Where they come from, in one sentence; empty without a run.
    """

    changed = Signal()

    def __init__(self, studio: Studio, parent: QObject | None = None) -> None:
        super().__init__(parent or studio)
        self._studio, self._config = studio, RunConfig()
        self.errors: dict[tuple[Role, str, str], float] = {}
        self.history: list[np.ndarray] = []
        self.source = ""
        for signal in (studio.view_changed, studio.seed_changed, studio.timeline.changed, studio.experiment.checked):
            signal.connect(self.refresh)
        studio.event_applied.connect(self._on_event)
        self.refresh()

    def refresh(self) -> None:
        """Read the errors anew."""
        errors, history, step = self._measured()
        changed = errors != self.errors or len(history) != len(self.history)
        self.errors, self.history = errors, history
        view = self._studio.view
        at = f", step {step:,} of the student" if step else ""
        self.source = f"From the run “{view.row.name}”, seed {self._studio.seed}{at}." if view and errors else ""
        if changed:
            self.changed.emit()

    def _measured(self) -> tuple[dict[tuple[Role, str, str], float], list[np.ndarray], int]:
        """Return errors, history and the student's step."""
        studio, view = self._studio, self._studio.view
        errors, step = dict[tuple[Role, str, str], float](), 0
        if view is None or not self._config.agrees(view, studio.experiment.config, FLOWS):
            return errors, [], step
        for role in _LEARNERS:
            stage, found = view.find_stage(studio.seed, role), studio.timeline.matching(role)
            if stage is None or not stage.matching_errors:
                continue
            if found is not None:
                step = found[0] if role == "student" else step
                pairs = view.find_pairs(studio.seed, role)
                errors |= {
                    (role, pair.student, pair.teacher): float(error)
                    for pair, error in zip(pairs, found[1], strict=False)
                    if np.isfinite(error)
                }
        return errors, matching_history(view, studio.seed), step

    def _on_event(self, event: RunEvent) -> None:
        if isinstance(event, (MatchingMeasured, StageStarted, SeedStarted)):
            self.refresh()


def matching_history(view: RunView, seed: int) -> list[np.ndarray]:
    """Return the errors of every learner, each (measurements, pairs): the range of the colours of errors."""
    stages = (view.find_stage(seed, role) for role in _LEARNERS)
    return [np.stack(stage.matching_errors) for stage in stages if stage is not None and stage.matching_errors]

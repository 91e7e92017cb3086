"""Each term's share of the student's gradient: of the shown run, or from the steps of the time estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from nfkd_gui.model.run_config import WHOLE, RunConfig

if TYPE_CHECKING:
    from nfkd_gui.model.studio import Studio

_MEASURED = "Gradient shares: from a few real batches before the run, with a teacher that is not trained yet."
_NONE = "Gradient shares: not measured yet."


class GradientShares(QObject):
    """Follows the experiment of the form.

    Attributes
    ----------
    shares
        From 0 to 1 by the name of the term's field; empty if nothing was measured for this experiment.
    remark
        Where they come from, in one sentence.
    """

    changed = Signal()

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self._studio = studio
        self._config = RunConfig()
        self.shares: dict[str, float] = {}
        self.remark = _NONE
        estimate, experiment = studio.time_estimate, studio.experiment
        for signal in (estimate.changed, experiment.checked, studio.view_changed, studio.seed_changed):
            signal.connect(self.refresh)
        studio.event_applied.connect(self.refresh)

    def refresh(self) -> None:
        """Take the newest shares."""
        shares, remark = self._of_run() or self._of_estimate()
        if (shares, remark) != (self.shares, self.remark):
            self.shares, self.remark = shares, remark
            self.changed.emit()

    def _of_run(self) -> tuple[dict[str, float], str] | None:
        view = self._studio.view
        if view is None or not self._config.agrees(view, self._studio.experiment.config, WHOLE):
            return None
        stage = view.stages.get((self._studio.seed, "student"))
        curves = {name: curve for name, curve in stage.curves.items() if name.startswith("share/")} if stage else {}
        if not any(map(len, curves.values())):
            return None
        shares = {name.removeprefix("share/"): float(curve.values[-1]) for name, curve in curves.items() if len(curve)}
        step = max(int(curve.steps[-1]) for curve in curves.values() if len(curve))
        return shares, f"Gradient shares: step {step:,} of the run “{view.row.name}”, seed {self._studio.seed}."

    def _of_estimate(self) -> tuple[dict[str, float], str]:
        estimate = self._studio.time_estimate.estimate
        return (dict(estimate.shares), _MEASURED) if estimate is not None and estimate.shares else ({}, _NONE)

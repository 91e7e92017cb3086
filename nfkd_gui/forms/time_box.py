"""The time that the experiment will take, and the share of each stage."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from nfkd.protocol.roles import role_label
from nfkd.protocol.times import TimeEstimate
from nfkd.text import format_span
from nfkd_gui.model.headline import Segment
from nfkd_gui.model.time_estimate import TimeEstimateModel
from nfkd_gui.numbers import format_duration
from nfkd_gui.theme import role_colour, set_space, set_type
from nfkd_gui.widgets.labels import MarkupLabel, TypeLabel, WrappedLabel
from nfkd_gui.widgets.segments import SegmentedBar

_NONE = {False: "Measuring real steps of each stage …", True: "A time estimate needs an experiment without problems."}
"""What is said while there is no estimate, by whether the experiment has problems."""


class TimeBox(QWidget):
    """Shows the engine's estimate, or why there is none."""

    def __init__(self, model: TimeEstimateModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("time_estimate")
        self._model = model
        self._figure = TypeLabel("figure", parent=self)
        self._figure.setObjectName("time_estimate.figure")
        self._caption = WrappedLabel(parent=self)
        self._caption.setObjectName("time_estimate.caption")
        set_type(self._caption, "caption")
        self._caption.setToolTip("A teacher that stops early takes less time.")
        self._bar = SegmentedBar(self)
        self._bar.setAccessibleName("Share of each stage")
        self._stages = MarkupLabel(self)
        self._stages.setObjectName("time_estimate.stages")
        self._stages.setWordWrap(True)
        set_type(self._stages, "caption")
        column = QVBoxLayout(self)
        set_space(column, 4, 12, 0, 0, 0)
        line = QHBoxLayout()
        set_space(line, 12)
        line.addWidget(self._figure)
        line.addWidget(self._caption, 1)
        column.addLayout(line)
        column.addWidget(self._bar)
        column.addWidget(self._stages)
        column.addStretch(1)
        model.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the current state of the model."""
        estimate, error = self._model.estimate, self._model.error
        for widget in (self._figure, self._bar, self._stages):
            widget.setVisible(estimate is not None)
        if estimate is None:
            text = f"No time estimate: {error.cause}" if error is not None else _NONE[self._model.invalid]
            self._caption.setText(text)
            return
        self._figure.setText(format_span(estimate.seconds))
        self._caption.setText(_describe(estimate))
        stages = [stage for stage in estimate.stages if stage.seconds]
        self._bar.show_segments([Segment(stage.stage, stage.seconds, 1.0) for stage in stages])
        texts = [
            f'<span style="color:{role_colour(stage.stage)}">■</span>&nbsp;{role_label(stage.stage)}&nbsp;'
            f"{format_duration(stage.seconds)}"
            for stage in stages
        ]
        self._stages.setText(" &nbsp; ".join(texts))
        self._stages.setTextFormat(Qt.TextFormat.RichText)


def _describe(estimate: TimeEstimate) -> str:
    seeds = f"for {estimate.seeds} seeds, " if estimate.seeds > 1 else ""
    guessed = " and the sizes of the flows" if estimate.guessed else ""
    return f"{seeds}from real steps of each stage{guessed}"

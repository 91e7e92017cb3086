"""A lab without an engine that records what it is told, and the panel of the lessons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nfkd.protocol.lab import LabFrame
from nfkd.protocol.roles import Role
from nfkd_gui.model.lab import LabModel
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.lesson import LessonPanel


class RecordingLab(LabModel):
    """Keeps the controls that it is told; `show_curves` makes a frame."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self.controls: list[tuple[str, int]] = []

    def control(self, action: Any, steps: int = 1) -> None:
        self.controls.append((action, steps))

    def show_curves(self, step: int, **curves: list[float]) -> None:
        """Show a frame with these values of the curves, one every ten steps."""
        found: dict[Role, np.ndarray] = {
            role: np.array([[10.0 * index, value] for index, value in enumerate(values)])
            for role, values in curves.items()
        }  # type: ignore[assignment]
        self.frame = LabFrame(
            lab="1",
            number=1,
            phase="students",
            step=step,
            playing=False,
            pictures={},
            curves=found,
            noise=np.empty((0, 2)),
        )


@pytest.fixture
def lab(studio: Studio) -> RecordingLab:
    """The lab."""
    return RecordingLab(studio)


@pytest.fixture
def open_panel(qtbot: Any, lab: RecordingLab, studio: Studio) -> Callable[..., LessonPanel]:
    """Show the panel of the lessons that come with NFKD, or of a folder."""

    def make(folder: Path | None = None) -> LessonPanel:
        panel = LessonPanel(lab, studio, folder)
        qtbot.addWidget(panel)
        panel.resize(panel.width(), 900)
        panel.show()
        return panel

    return make

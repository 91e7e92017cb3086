"""The drawing of the flows beside the form, and what a user does with it, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.model.layer_choice import Side
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.architecture import ArchitecturePanel
from nfkd_gui.plotting.architecture.blocks import BlockItem
from nfkd_gui.plotting.architecture.pairs import PairItem

Pair = tuple[str, str]
MADE: list[Pair] = [("level1.step2", "level1.step8"), ("level2.step2", "level2.step8")]
"""The pairs of the strategy."""


@dataclass
class Driver:
    """Acts on the drawing with mouse and keyboard."""

    panel: ArchitecturePanel
    form: ExperimentForm
    studio: Studio
    script: Any

    @property
    def view(self) -> Any:
        return self.panel.view

    def describe(self, do: Any) -> None:
        """Let the engine describe the experiment."""
        self.studio.experiment.describe()
        do(self.studio.clients[-1].settled())  # type: ignore[attr-defined]

    def written(self) -> list[Pair]:
        """Return the user's pairs in the document."""
        pairs = self.studio.experiment.document["distillation"]["matching"]["pairs"]
        return [(pair["student"], pair["teacher"]) for pair in pairs]

    def toml(self) -> str:
        """Return the experiment as a file would have it."""
        return self.studio.experiment.text

    # --- what is drawn --------------------------------------------------------------------------------------------

    def drawn(self, learner: str = "student") -> list[Pair]:
        """Return the pairs that have a line."""
        items: list[PairItem] = self.view.drawing.pairs
        return [(item.pair.student, item.pair.teacher) for item in items if item.pair.learner == learner]

    def block(self, role: str, name: str) -> BlockItem:
        return next(
            block
            for block in self.view.drawing.blocks
            if block.box.role == role and any(layer.name == name for layer in block.box.layers)
        )

    def line(self, student: str) -> PairItem:
        return next(item for item in self.view.drawing.pairs if item.pair.student == student)

    def at_block(self, role: str, name: str) -> QPoint:
        """Return the middle of a block in the view; of a folded one, where the line of the layer ends."""
        box = self.block(role, name).box
        return self.view.mapFromScene(QPointF(box.anchor(name), box.rect.middle[1]))

    def at_end(self, student: str, side: Side) -> QPoint:
        return self.view.mapFromScene(self.line(student).end(side))

    def hints(self) -> list[str]:
        """Return the texts that a drag shows."""
        found = [item.lines for item in self.view.drawing.items() if hasattr(item, "lines") and item.isVisible()]
        return [text for lines in found for text in lines]

    def picture(self) -> QImage:
        return self.view.viewport().grab().toImage()

    def black_pixels(self) -> int:
        image = self.picture().convertToFormat(QImage.Format.Format_RGB32)
        pixels = np.frombuffer(image.constBits(), np.uint32)
        return int((pixels & 0xFFFFFF == 0).sum())

    def colours_around(self, point: QPoint, reach: int = 3) -> set[str]:
        """Return the colours of the pixels near a point of the view."""
        image = self.picture()
        ratio = image.devicePixelRatio()
        return {
            QColor(image.pixel(round((point.x() + x) * ratio), round((point.y() + y) * ratio))).name()
            for x in range(-reach, reach + 1)
            for y in range(-reach, reach + 1)
        }

    # --- what the user does ---------------------------------------------------------------------------------------

    def press(self, point: QPoint) -> None:
        self._send(QEvent.Type.MouseButtonPress, point, Qt.MouseButton.LeftButton, Qt.MouseButton.LeftButton)

    def move(self, point: QPoint) -> None:
        self._send(QEvent.Type.MouseMove, point, Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton)

    def release(self, point: QPoint) -> None:
        self._send(QEvent.Type.MouseButtonRelease, point, Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton)

    def drag(self, start: QPoint, end: QPoint) -> None:
        self.press(start)
        self.move((start + end) / 2)
        self.move(end)
        self.release(end)

    def click(self, point: QPoint) -> None:
        self.press(point)
        self.release(point)

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        QTest.keyClick(self.view, key, modifier)

    def _send(self, kind: QEvent.Type, point: QPoint, button: Qt.MouseButton, buttons: Qt.MouseButton) -> None:
        viewport = self.view.viewport()
        place = QPointF(viewport.mapToGlobal(point))
        event = QMouseEvent(kind, QPointF(point), place, button, buttons, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(viewport, event)

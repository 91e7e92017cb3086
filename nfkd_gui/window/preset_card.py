"""A card of the start page: the data of a preset, its purpose in one sentence, and the buttons to begin."""

from __future__ import annotations

import re
from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QApplication, QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from nfkd.config import DataConfig, ExperimentConfig
from nfkd.config.toml import toml_text
from nfkd.protocol.data import ColumnStatistics, DataPreview, PreviewData
from nfkd.protocol.requests import Reply
from nfkd.protocol.roles import DATA
from nfkd.text import format_span
from nfkd_gui.model.headline import ENOUGH_SEEDS
from nfkd_gui.model.recorded import Figures, figures_of
from nfkd_gui.model.studio import Studio
from nfkd_gui.model.summaries import flow_label
from nfkd_gui.numbers import format_percent
from nfkd_gui.plotting.mosaic import Mosaic, themed
from nfkd_gui.theme import fix_size, role_colour, scaled, set_space, set_type, tokens
from nfkd_gui.widgets.chip import Chip, verdict_tone
from nfkd_gui.widgets.labels import ClampedLabel, ElidedLabel, ToneLabel, TypeLabel, tip

_WIDTH, _HEIGHT, _PICTURE, _FOOT, _LINES = 250, 276, 104, 28, 4
_ATTENTION = {QEvent.Type.Enter, QEvent.Type.Leave, QEvent.Type.FocusIn, QEvent.Type.FocusOut}
_IMAGES, _COLUMNS = 32, 24
_SENTENCE = re.compile(r"(?<=\.)(?<!al\.) ")
_GROUPS = {"In the plane": "plane", "Images": "images", "Tables": "tables"}


class PresetCard(QFrame):
    """Offers a preset; with the pointer or the focus on it, it shows its buttons."""

    chosen = Signal(str, bool)
    """The name of the preset, and whether to run it at once."""

    def __init__(self, name: str, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(f"start.preset.{name}")
        self.setProperty("card", True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._name, self._studio = name, studio
        self._config = ExperimentConfig.load(name)
        self._asked = False
        self.setAccessibleName(self._config.name)
        self._picture = _Picture(self._config.data, self)
        self._run = QPushButton("Run", self)
        self._run.setObjectName(f"start.preset.{name}.run")
        self._run.setProperty("primary", True)
        self._run.clicked.connect(lambda: self.chosen.emit(name, True))
        self._open = QPushButton("Open in Design", self)
        self._open.setObjectName(f"start.preset.{name}.open")
        self._open.clicked.connect(lambda: self.chosen.emit(name, False))
        for button in (self._run, self._open):
            button.installEventFilter(self)
        self._foot = _Foot(self)
        self._lay_out()
        self._show_buttons(False)

    @property
    def groups(self) -> set[str]:
        """The filters of the start page that keep the card."""
        extra = type(self._config.data).model_fields["kind"].json_schema_extra
        group = _GROUPS[str(extra["group"])] if isinstance(extra, dict) else ""
        return {"all", group, *(["paper"] if self._name.endswith("_paper") else [])}

    def show_figures(self) -> None:
        """Show how long the preset takes and what it achieves."""
        self._foot.show_figures(figures_of(self._name, self._config, self._studio.rows.values()))

    def _lay_out(self) -> None:
        texts = QVBoxLayout()
        set_space(texts, 4, 12, 8, 12, 12)
        texts.addWidget(TypeLabel("strong", self._config.name[:1].upper() + self._config.name[1:], self))
        purpose = ClampedLabel(_purpose(self._config.description), _LINES, self)
        purpose.setToolTip(tip(self._config.description))
        texts.addWidget(purpose)
        texts.addStretch(1)
        texts.addWidget(ToneLabel(_flows(self._config), parent=self))
        texts.addWidget(self._foot)
        buttons = QHBoxLayout()
        set_space(buttons, 8)
        buttons.addWidget(self._run)
        buttons.addWidget(self._open)
        buttons.addStretch(1)
        texts.addLayout(buttons)
        column = QVBoxLayout(self)
        column.setContentsMargins(1, 1, 1, 1)
        column.setSpacing(0)
        column.addWidget(self._picture)
        column.addLayout(texts, 1)

    @staticmethod
    def smallest() -> QSize:
        """Return the smallest size at the current scale."""
        return QSize(scaled(_WIDTH), scaled(_HEIGHT))

    def load_picture(self) -> None:
        """Ask the engine for a preview of the data, once it is ready."""
        if self._asked or not self._studio.ready:
            return
        self._asked = True

        def show(reply: Reply) -> None:
            if isinstance(reply, DataPreview):
                self._picture.show_preview(reply)

        self._studio.ask(PreviewData(config=toml_text(self._config.data)), show, lambda _error: None)

    def event(self, event: QEvent) -> bool:
        if event.type() in _ATTENTION:
            QTimer.singleShot(0, self, self._offer_buttons)  # the focus may move to one of the buttons
        return super().event(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in _ATTENTION:
            QTimer.singleShot(0, self, self._offer_buttons)
        return super().eventFilter(watched, event)

    def _offer_buttons(self) -> None:
        """Show the buttons while the pointer is on the card, or the focus on it or in it."""
        focused = QApplication.focusWidget()
        self._show_buttons(
            self.underMouse() or (focused is not None and (focused is self or self.isAncestorOf(focused)))
        )

    def _show_buttons(self, shown: bool) -> None:
        self._foot.setVisible(not shown)
        self._run.setVisible(shown)
        self._open.setVisible(shown)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.chosen.emit(self._name, False)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self.chosen.emit(self._name, False)
        else:
            super().keyPressEvent(event)


def _purpose(description: str) -> str:
    """Return the first sentence of a description; *et al.* ends none."""
    return _SENTENCE.split(description, maxsplit=1)[0]


def _flows(config: ExperimentConfig) -> str:
    return f"{flow_label(config.teacher)} → {flow_label(config.student)}"


class _Foot(QWidget):
    """One line: the time of a run, and a chip with the share of the gap that the student closes."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._time = ElidedLabel(parent=self)
        set_type(self._time, "caption")
        self._chip = Chip(self)
        line = QHBoxLayout(self)
        set_space(line, 8)
        line.addWidget(self._time, 1)
        line.addWidget(self._chip)
        fix_size(self, height=_FOOT)

    def show_figures(self, figures: Figures) -> None:
        """Show the figures of a preset."""
        source = "measured" if figures.here else "recorded"
        self._time.setText(f"{format_span(figures.seconds)}, {source}" if figures.seconds else "")
        self._time.setToolTip(
            "Time of the newest run here." if figures.here else "Time on two CPU cores, from real steps of each stage."
        )
        if figures.gap is None:
            self._chip.show_text("")
            return
        help_ = f"Share of the gap between baseline and teacher that the student closes, mean of {figures.seeds} seeds."
        few = f", {figures.seeds} {'seed' if figures.seeds == 1 else 'seeds'}" if figures.seeds < ENOUGH_SEEDS else ""
        self._chip.show_text(f"closes {format_percent(figures.gap)}{few}", verdict_tone(figures.verdict), help_)


class _Picture(QWidget):
    """The first images, or the points, of a data set."""

    def __init__(self, data: DataConfig, parent: QWidget) -> None:
        super().__init__(parent)
        self._kind = data.kind
        self._without = "Needs a folder of yours" if getattr(data, "path", None) == "" else "No preview"
        self._preview: DataPreview | None = None
        self._mosaic = Mosaic(parent=self)
        self._mosaic.hide()
        self._mosaic.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        fix_size(self, height=_PICTURE)

    def show_preview(self, preview: DataPreview) -> None:
        """Show the images or points of a preview."""
        self._preview = preview
        if preview.images is not None and len(preview.images):
            self._mosaic.show()
            self._mosaic.show_images(themed(preview.images[:_IMAGES] / 255, self._kind))
        self.update()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        preview = getattr(self, "_preview", None)  # the first change comes before the rest of the construction
        if event.type() == QEvent.Type.PaletteChange and preview is not None:
            self.show_preview(preview)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._mosaic.setGeometry(self.rect().adjusted(scaled(12), scaled(8), -scaled(12), -scaled(8)))

    def sizeHint(self) -> QSize:
        return QSize(scaled(_WIDTH), scaled(_PICTURE))

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter, colours = QPainter(self), tokens()
        painter.fillRect(self.rect(), QColor(colours.raised))
        preview = self._preview
        if preview is not None and preview.points is not None and len(preview.points):
            self._paint_points(painter, preview)
        elif preview is not None and preview.columns:
            self._paint_columns(painter, preview.columns[:_COLUMNS])
        elif preview is not None and preview.problems:
            painter.setPen(QColor(colours.muted))
            text = "Needs a download" if preview.may_fetch else self._without
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, text)
        painter.setPen(QColor(colours.border))
        painter.drawLine(0, self.height() - 1, self.width(), self.height() - 1)
        painter.end()

    def _paint_columns(self, painter: QPainter, columns: Sequence[ColumnStatistics]) -> None:
        """Paint the range of each column, and mean ± standard deviation."""
        low, high = min(column.low for column in columns), max(column.high for column in columns)
        room = QRectF(self.rect()).adjusted(scaled(16), scaled(12), -scaled(16), -scaled(12))
        scale, apart = room.height() / max(high - low, 1e-9), room.width() / len(columns)
        pale, colour = QColor(role_colour(DATA)), QColor(role_colour(DATA))
        pale.setAlpha(90)
        for number, column in enumerate(columns):
            left, width = room.left() + (number + 0.25) * apart, apart / 2
            top = room.bottom() - (column.high - low) * scale
            painter.fillRect(QRectF(left, top, width, (column.high - column.low) * scale), pale)
            top = room.bottom() - (column.mean + column.deviation - low) * scale
            painter.fillRect(QRectF(left, top, width, 2 * column.deviation * scale), colour)

    def _paint_points(self, painter: QPainter, preview: DataPreview) -> None:
        points = preview.points
        if points is None:
            return
        low, high = points.min(axis=0), points.max(axis=0)
        side = min(self.width(), self.height()) - scaled(16)
        scale = side / max(float((high - low).max()), 1e-9)
        middle = (low + high) / 2
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        colour = QColor(role_colour(DATA))
        colour.setAlpha(140)
        painter.setBrush(colour)
        radius = scaled(3)
        for x, y in points[:1000]:
            left = self.width() / 2 + (float(x) - float(middle[0])) * scale
            top = self.height() / 2 - (float(y) - float(middle[1])) * scale
            painter.drawEllipse(QRectF(left - radius / 2, top - radius / 2, radius, radius))

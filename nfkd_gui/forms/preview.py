"""The data set before it is trained on: counts, pictures, points or columns; or what is missing, and its download."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QEvent, QRect, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QProgressBar,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from nfkd.protocol.data import ColumnStatistics, DataPreview
from nfkd.protocol.events import DataProgress
from nfkd.text import plain
from nfkd_gui.forms.wording import sentence
from nfkd_gui.model.data_preview import DataPreviewModel
from nfkd_gui.model.experiment import Experiment
from nfkd_gui.plotting.mosaic import Mosaic
from nfkd_gui.plotting.plane import Plane, extent_of
from nfkd_gui.theme import role_colour
from nfkd_gui.widgets.labels import Tone, WrappedLabel, tip

_HEADS = ("Column", "Min", "Mean", "Std", "Max", "Missing")
_ROWS = 8
_NARROWEST = 40
_LONGEST = 200  # characters of a column's name
_SMALLER = 0.9  # of the form's font: five figures and a name have to go beside each other
_PLANE_HEIGHT = 240
_GRIDS = ((16, 11, 4), (40, 8, 4), (math.inf, 4, 2))
"""How many images are shown across and down, by their largest side: fewer large ones than small ones."""
_PARTS = 1000
_SMALL, _LARGE, _HUGE = 1e-3, 999.5, 99_999.5
_LOOKING = "Looking at the data …"


class PreviewBox(QFrame):
    """Shows what the engine sees of a data set."""

    def __init__(self, look: DataPreviewModel, experiment: Experiment, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("preview")
        self._look, self._experiment = look, experiment
        self._shown: DataPreview | None = None
        self._words = WrappedLabel(parent=self)
        self._words.setObjectName("preview.words")
        self.mosaic = _Strip(self)
        self.plane: Plane | None = None
        self.columns = _Columns(self)
        self.download = _Download(look, self)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 8, 0, 0)
        self._layout.setSpacing(8)
        for widget in (self._words, self.download, self.mosaic, self.columns):
            self._layout.addWidget(widget)
        look.changed.connect(self.refresh)
        experiment.checked.connect(self.refresh)
        self._show_contents(None)
        self.refresh()

    def refresh(self) -> None:
        """Show what is known now."""
        look = self._look
        preview = look.preview
        whole = preview is not None and not preview.problems
        words, tone = self._describe_preview(preview)
        self._words.set_tone(tone)
        self._words.setText(words)
        self._words.setVisible(bool(words))
        unit = preview.unit if preview is not None else ""
        self._words.setToolTip(tip(f"The likelihood is given in {unit}.") if unit else "")
        self.download.refresh(may_fetch=preview is not None and preview.may_fetch)
        if preview is not self._shown:
            self._shown = preview
            self._show_contents(preview if whole else None)
        self.setVisible(bool(look.kind) and (whole or (look.valid and (bool(words) or not self.download.isHidden()))))

    def _describe_preview(self, preview: DataPreview | None) -> tuple[str, Tone]:
        look, experiment = self._look, self._experiment
        if look.error is not None:
            return f"No look at the data: {look.error.cause}", "warning"
        if preview is not None and not preview.problems:
            counts, kind = _summary(preview)
            if not look.valid:
                counts = "As it was before the problem:"
            elif not look.current:
                counts = _LOOKING
            return f"{counts}\n{kind}", "muted"
        described = experiment.description is not None or experiment.error is not None
        if preview is None or not look.current or (experiment.config is not None and not described):
            return _LOOKING, "muted"
        told = {problem.message for problem in experiment.problems}
        return "\n".join(
            sentence(problem.message) for problem in preview.problems if problem.message not in told
        ), "warning"

    def _show_contents(self, preview: DataPreview | None) -> None:
        images = None if preview is None else preview.images
        points = None if preview is None else preview.points
        columns = [] if preview is None else preview.columns
        self.mosaic.setVisible(images is not None)
        if images is not None:
            across, down = next(grid for side, *grid in _GRIDS if max(images.shape[2:]) <= side)
            self.mosaic.show_images(images[: across * down].astype(np.float32) / 255, across)
            self.mosaic.fit()
        if points is not None:
            self._show_points(points, columns)
        if self.plane is not None:
            self.plane.setVisible(points is not None)
        self.columns.show_columns(columns if points is None else [])

    def _show_points(self, points: np.ndarray, columns: list[ColumnStatistics]) -> None:
        if self.plane is None:
            self.plane = Plane(self)
            self.plane.setFixedHeight(_PLANE_HEIGHT)
            self.plane.setAccessibleName("Training points")
            self.plane.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)  # the wheel scrolls the form
            self._layout.addWidget(self.plane)
        self.plane.name_axes(columns[0].name, columns[1].name)
        self.plane.frame(extent_of(points))
        self.plane.show_points(points, role_colour("data"))

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self._shown is not None:
            if self.plane is not None:
                self.plane.restyle()
            self._show_contents(None if self._shown.problems else self._shown)


class _Strip(Mosaic):
    """A mosaic as wide as there is room, and no higher than its images."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent=parent)
        self.setAccessibleName("Training images")

    def fit(self) -> None:
        """Take the height that the images have at this width."""
        self.setFixedHeight(max(self.target().height(), 1))

    def target(self) -> QRect:
        picture = self.picture_size()
        if picture.isEmpty():
            return QRect()
        scale = self.width() / picture.width()
        if scale >= 2:
            scale = math.floor(scale)
        return QRect(0, 0, int(picture.width() * scale), int(picture.height() * scale))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.fit()


class _Columns(QTableWidget):
    """The statistics of columns."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(0, len(_HEADS), parent)
        self.setObjectName("preview.columns")
        self.setAccessibleName("Columns of the training part")
        for number, head in enumerate(_HEADS):
            item = QTableWidgetItem(head)
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight if number else Qt.AlignmentFlag.AlignLeft)
            self.setHorizontalHeaderItem(number, item)
        self.verticalHeader().hide()
        font = self.font()
        font.setPointSizeF(font.pointSizeF() * _SMALLER)
        self.setFont(font)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(_NARROWEST)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)

    def show_columns(self, columns: list[ColumnStatistics]) -> None:
        """Show statistics; none hides the table."""
        self.setVisible(bool(columns))
        self.setRowCount(len(columns))
        self.setColumnHidden(len(_HEADS) - 1, not any(column.missing for column in columns))
        for row, column in enumerate(columns):
            figures = (column.low, column.mean, column.deviation, column.high)
            texts = (column.name, *(_figure(value) for value in figures), f"{column.missing:,}")
            for place, text in enumerate(texts):
                item = QTableWidgetItem(plain(text, _LONGEST))
                if place:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                else:
                    item.setToolTip(tip(text))
                self.setItem(row, place, item)
        line = self.fontMetrics().height() + 6
        self.verticalHeader().setDefaultSectionSize(line)
        head = self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(head + min(len(columns), _ROWS) * line + 2 * self.frameWidth())


class _Download(QWidget):
    """A button that downloads, then the progress and a button that cancels."""

    def __init__(self, look: DataPreviewModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._look = look
        self.button = QPushButton(self)
        self.button.setObjectName("preview.download")
        self.button.clicked.connect(look.fetch)
        self.bar = QProgressBar(self)
        self.bar.setObjectName("preview.progress")
        self.bar.setAccessibleName("Progress of the download")
        self.file = WrappedLabel(parent=self)
        self.cancel = QPushButton("Cancel", self)
        self.cancel.setObjectName("preview.cancel")
        self.cancel.setToolTip("End the download; what has come is kept for the next.")
        self.cancel.clicked.connect(look.cancel)
        self._make_by_hand()
        line = QHBoxLayout()
        line.addWidget(self.button)
        line.addWidget(self.bar, 1)
        line.addWidget(self.cancel)
        line.addWidget(self.unfold)
        line.addStretch(0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(line)
        layout.addWidget(self.file)
        layout.addWidget(self.by_hand)

    def _make_by_hand(self) -> None:
        self.unfold = QToolButton(self)
        self.unfold.setObjectName("preview.unfold")
        self.unfold.setText("By hand")
        self.unfold.setToolTip("Show where to get the files yourself.")
        self.unfold.setCheckable(True)
        self.unfold.setAutoRaise(True)
        self.unfold.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.by_hand = WrappedLabel(parent=self)
        self.by_hand.setObjectName("preview.by_hand")
        self.unfold.toggled.connect(self.by_hand.setVisible)

    def refresh(self, *, may_fetch: bool) -> None:
        """Show the button where there is something to download, the bar while it comes."""
        look, preview = self._look, self._look.preview
        size = f" {_size(preview.size)}" if preview is not None and preview.size else ""
        self.button.setText(f"Download{size}")
        self.button.setToolTip("Download the files into NFKD's cache.")
        self.button.setEnabled(look.valid)
        self.button.setVisible(may_fetch and not look.fetching)
        for widget in (self.bar, self.cancel, self.file):
            widget.setVisible(look.fetching)
        self.setVisible(look.fetching or may_fetch)
        by_hand = preview.by_hand if preview is not None and not look.fetching else ""
        self.by_hand.setText(sentence(by_hand))
        self.unfold.setVisible(bool(by_hand))
        self.by_hand.setVisible(bool(by_hand) and self.unfold.isChecked())
        self.cancel.setEnabled(not look.cancelling)
        self._show_progress(look.progress)

    def _show_progress(self, progress: DataProgress | None) -> None:
        total = progress.total if progress is not None else 0
        self.bar.setRange(0, _PARTS if total else 0)  # 0 to 0 shows that it is busy
        words = "Asking for the files …"
        if progress is not None:
            if total:
                self.bar.setValue(min(_PARTS, _PARTS * progress.done // total))
            of = f" of {_size(total)}" if total else ""
            words = f"{progress.file}: {_size(progress.done)}{of}"
        self.file.setText("Ending the download …" if self._look.cancelling else words)


def _size(count: int) -> str:
    """Return a number of bytes in words."""
    if count >= 1e9:
        return f"{count / 1e9:,.1f} GB"
    return f"{count / 1e6:,.1f} MB" if count < 10e6 else f"{count / 1e6:,.0f} MB"


def _figure(value: float) -> str:
    """Return a number in three figures, or in two and an exponent, as short as it can be."""
    size = abs(value)
    words = f"{value:,.0f}" if _LARGE <= size < _HUGE else f"{value:.3g}" if _SMALL <= size < _LARGE else f"{value:.2g}"
    mantissa, e, exponent = words.partition("e")
    return f"{mantissa}{e}{int(exponent) if exponent else ''}".replace("-", "−")


def _summary(preview: DataPreview) -> tuple[str, str]:
    """Return how many examples there are, and what one is."""
    counts = " · ".join(
        f"{count:,} {name}" for count, name in zip(preview.counts, ("train", "validation", "test"), strict=True)
    )
    return counts, f"{_example(preview)} ·\u00a0{preview.unit}"  # the dot goes into the next line with the unit


def _example(preview: DataPreview) -> str:
    if preview.levels:
        channels, height, width = preview.event_shape
        colours = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
        words = f"{width}×{height} pixels, {colours}, {preview.levels} levels"
    else:
        words = _counted(preview.event_shape[0], "feature")
    return f"{words}, conditioned on {preview.context_features}" if preview.context_features else words


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"

"""The preview of a data set: counts, images, points or columns; or what is missing, and its download."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QEvent, QRect, Qt, Signal
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
from nfkd.text import plain, sentence
from nfkd_gui.forms.findings import FindingList, problem_findings, unused_findings, warning_findings
from nfkd_gui.forms.layout import fill_column
from nfkd_gui.forms.reading_box import ReadingBox
from nfkd_gui.forms.reading_progress import ReadingProgress
from nfkd_gui.model.data_preview import DataPreviewModel
from nfkd_gui.model.experiment import Experiment
from nfkd_gui.plotting.mosaic import Mosaic, themed
from nfkd_gui.theme import fix_size, role_colour, scaled, set_space, set_type
from nfkd_gui.widgets.labels import Tone, WrappedLabel, tip
from nfkd_gui.widgets.note_bar import NoteBar

if TYPE_CHECKING:
    from nfkd_gui.plotting.plane import Plane

_HEADINGS = ("Column", "Min", "Mean", "Std", "Max", "Missing")
_ROWS = 8
_MIN_WIDTH = 40
_PADDING = 6
_MAX_NAME = 200  # characters of a column's name
_PLANE_HEIGHT = 240
_GRIDS = ((16, 11, 4), (40, 8, 4), (math.inf, 4, 2))
"""Largest side of an image, and how many such images are shown across and down."""
_PARTS = 1000
_SMALL, _LARGE, _HUGE = 1e-3, 999.5, 99_999.5
_LOADING = "Loading a preview of the data …"


class PreviewBox(QFrame):
    """Shows the engine's preview of a data set.

    Signals
    -------
    edited
        The path of a changed field, its value, and whether undo may merge it with the last change.
    field_wanted
        The path of a field to show.
    """

    edited = Signal(str, object, bool)
    field_wanted = Signal(str)

    def __init__(self, model: DataPreviewModel, experiment: Experiment, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("preview")
        self._model, self._experiment = model, experiment
        self._shown: DataPreview | None = None
        self._message = WrappedLabel(parent=self)
        self._message.setObjectName("preview.message")
        self.reading = ReadingBox(self)
        self.unused = FindingList("preview.unused", "muted", self)
        self.warnings = FindingList("preview.warnings", "warning", self)
        self.fixes = FindingList("preview.fixes", "plain", self)
        self.note = NoteBar("preview.note", self)
        self.mosaic = _ImageStrip(self)
        self.plane: Plane | None = None
        self.columns = _ColumnTable(self)
        self.download = _Download(model, self)
        self.progress = ReadingProgress(model, self)
        self._layout = QVBoxLayout(self)
        set_space(self._layout, 8, 0, 8, 0, 0)
        parts = (self.note, self._message, self.progress, self.fixes, self.download, self.reading, self.mosaic)
        for widget in (*parts, self.columns, self.unused, self.warnings):
            self._layout.addWidget(widget)
        self.reading.edited.connect(self.edited)
        for findings in (self.unused, self.warnings, self.fixes):
            findings.edited.connect(self.edited)
            findings.field_wanted.connect(self.field_wanted)
        model.changed.connect(self.refresh)
        experiment.checked.connect(self.refresh)
        self._show_contents(None)
        self.refresh()

    def show_note(self, text: str) -> None:
        """Say what has been adapted to the data."""
        self.note.show_text(text)
        self.refresh()

    def refresh(self) -> None:
        """Show the current state."""
        model = self._model
        preview = model.preview
        complete = preview is not None and not preview.problems
        message, tone = self._describe_preview(preview)
        self._message.set_tone(tone)
        self._message.setText(message)
        self._message.setVisible(bool(message))
        self._show_findings(preview if model.valid else None)
        unit = preview.unit if preview is not None else ""
        self._message.setToolTip(tip(f"The likelihood is in {unit}.") if unit else "")
        self.progress.refresh()
        self.download.refresh(may_fetch=preview is not None and preview.may_fetch)
        if preview is not self._shown:
            self._shown = preview
            self._show_contents(preview if complete else None)
        parts = (self.note, self._message, self.progress, self.download, self.reading, self.fixes)
        shown = complete or not self.note.isHidden() or (model.valid and not all(part.isHidden() for part in parts))
        self.setVisible(bool(model.kind) and shown)

    def _show_findings(self, preview: DataPreview | None) -> None:
        """Show how a table was read, what is not used, and warnings; all of it with what can be done."""
        table = self._experiment.document.get("data")
        table = table if isinstance(table, dict) else {}
        found, current = DataPreview() if preview is None else preview, self._model.current
        self.reading.show_reading(found.reading, table, found.problems if current else [], current=current)
        self.fixes.show_findings("", problem_findings(found.problems, table) if current else [])
        count = len(found.unused) + found.more_unused
        heading = f"{count:,} {'column is' if count == 1 else 'columns are'} not used"
        self.unused.show_findings(heading, unused_findings(found, table), found.more_unused)
        self.warnings.show_findings("Warnings", warning_findings(found.warnings, table))

    def _describe_preview(self, preview: DataPreview | None) -> tuple[str, Tone]:
        model, experiment = self._model, self._experiment
        if model.error is not None:
            return f"No preview of the data: {model.error.cause}", "warning"
        if preview is not None and not preview.problems:
            counts, kind = _summary(preview)
            if not model.valid:
                counts = "Last valid settings:"
            elif not model.current:
                counts = _LOADING
            return f"{counts}\n{kind}", "muted"
        described = experiment.description is not None or experiment.error is not None
        if preview is None or not model.current or (experiment.config is not None and not described):
            return _LOADING, "muted"
        at_fields = {problem.message for problem in experiment.problems}
        messages = [problem.message for problem in preview.problems if problem.message not in at_fields]
        return "\n".join(map(sentence, messages)), "warning"

    def _show_contents(self, preview: DataPreview | None) -> None:
        images = None if preview is None else preview.images
        points = None if preview is None else preview.points
        columns = [] if preview is None else preview.columns
        self.mosaic.setVisible(images is not None)
        if images is not None:
            across, down = next(grid for side, *grid in _GRIDS if max(images.shape[2:]) <= side)
            shown, config = images[: across * down].astype(np.float32) / 255, self._experiment.config
            self.mosaic.show_images(shown if config is None else themed(shown, config.data.kind), across)
            self.mosaic.fit()
        if points is not None:
            self._show_points(points, columns)
        if self.plane is not None:
            self.plane.setVisible(points is not None)
        self.columns.show_columns(columns if points is None else [])

    def _show_points(self, points: np.ndarray, columns: list[ColumnStatistics]) -> None:
        from nfkd_gui.plotting.plane import Plane, extent_of

        if self.plane is None:
            self.plane = Plane(self)
            fix_size(self.plane, height=_PLANE_HEIGHT)
            self.plane.setAccessibleName("Training points")
            self.plane.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)  # the wheel scrolls the form
            self._layout.insertWidget(self._layout.indexOf(self.columns), self.plane)
        self.plane.name_axes(columns[0].name, columns[1].name)
        self.plane.frame(extent_of(points))
        self.plane.show_points(points, role_colour("data"))

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self._shown is not None:
            if self.plane is not None:
                self.plane.restyle()
            self._show_contents(None if self._shown.problems else self._shown)


class _ImageStrip(Mosaic):
    """A mosaic with the full width, and the height of its images."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent=parent)
        self.setAccessibleName("Training images")

    def fit(self) -> None:
        """Set the height to that of the images at the current width."""
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


class _ColumnTable(QTableWidget):
    """A table of column statistics."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(0, len(_HEADINGS), parent)
        self.setObjectName("preview.columns")
        self.setAccessibleName("Columns of the training data")
        for number, heading in enumerate(_HEADINGS):
            item = QTableWidgetItem(heading)
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight if number else Qt.AlignmentFlag.AlignLeft)
            self.setHorizontalHeaderItem(number, item)
        self.verticalHeader().hide()
        set_type(self, "caption")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(_MIN_WIDTH)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)

    def show_columns(self, columns: list[ColumnStatistics]) -> None:
        """Show the statistics of columns; hide the table if there are none."""
        self.setVisible(bool(columns))
        self.setRowCount(len(columns))
        self.setColumnHidden(len(_HEADINGS) - 1, not any(column.missing for column in columns))
        for row, column in enumerate(columns):
            numbers = (column.low, column.mean, column.deviation, column.high)
            texts = (column.name, *(_format_number(value) for value in numbers), f"{column.missing:,}")
            for index, text in enumerate(texts):
                item = QTableWidgetItem(plain(text, _MAX_NAME))
                if index:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                else:
                    item.setToolTip(tip(text))
                self.setItem(row, index, item)
        self._fit()

    def _fit(self) -> None:
        """Make the table as high as its rows."""
        line = self.fontMetrics().height() + scaled(_PADDING)
        self.verticalHeader().setDefaultSectionSize(line)
        head = self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(head + min(self.rowCount(), _ROWS) * line + 2 * self.frameWidth())

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._fit()


class _Download(QWidget):
    """A Download button, replaced by progress and a Cancel button during the download."""

    def __init__(self, model: DataPreviewModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._model = model
        self.button = QPushButton(self)
        self.button.setObjectName("preview.download")
        self.button.clicked.connect(model.fetch)
        self.bar = QProgressBar(self)
        self.bar.setObjectName("preview.progress")
        self.bar.setAccessibleName("Progress of the download")
        self.file = WrappedLabel(parent=self)
        self.cancel = QPushButton("Cancel", self)
        self.cancel.setObjectName("preview.cancel")
        self.cancel.setToolTip("Cancel the download; the received part is kept for the next one.")
        self.cancel.clicked.connect(model.cancel)
        self._make_manual()
        line = QHBoxLayout()
        line.addWidget(self.button)
        line.addWidget(self.bar, 1)
        line.addWidget(self.cancel)
        line.addWidget(self.show_manual)
        line.addStretch(0)
        fill_column(self, line, self.file, self.manual)

    def _make_manual(self) -> None:
        self.show_manual = QToolButton(self)
        self.show_manual.setObjectName("preview.show_manual")
        self.show_manual.setText("Manual download")
        self.show_manual.setToolTip("Show where to get the files yourself.")
        self.show_manual.setCheckable(True)
        self.show_manual.setAutoRaise(True)
        self.show_manual.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.manual = WrappedLabel(parent=self)
        self.manual.setObjectName("preview.manual")
        self.show_manual.toggled.connect(self.manual.setVisible)

    def refresh(self, *, may_fetch: bool) -> None:
        """Show the button if files can be downloaded, and the progress during the download."""
        model, preview = self._model, self._model.preview
        size = f" {_format_size(preview.size)}" if preview is not None and preview.size else ""
        self.button.setText(f"Download{size}")
        self.button.setToolTip("Download the files into NFKD's cache.")
        self.button.setEnabled(model.valid)
        self.button.setVisible(may_fetch and not model.fetching)
        for widget in (self.bar, self.cancel, self.file):
            widget.setVisible(model.fetching)
        self.setVisible(model.fetching or may_fetch)
        by_hand = preview.by_hand if preview is not None and not model.fetching else ""
        self.manual.setText(sentence(by_hand))
        self.show_manual.setVisible(bool(by_hand))
        self.manual.setVisible(bool(by_hand) and self.show_manual.isChecked())
        self.cancel.setEnabled(not model.cancelling)
        self._show_progress(model.progress)

    def _show_progress(self, progress: DataProgress | None) -> None:
        total = progress.total if progress is not None else 0
        self.bar.setRange(0, _PARTS if total else 0)  # 0 to 0 shows a busy indicator
        message = "Requesting the files …"
        if progress is not None:
            if total:
                self.bar.setValue(min(_PARTS, _PARTS * progress.done // total))
            of_total = f" of {_format_size(total)}" if total else ""
            message = f"{progress.file}: {_format_size(progress.done)}{of_total}"
        self.file.setText("Cancelling the download …" if self._model.cancelling else message)


def _format_size(count: int) -> str:
    """Return a number of bytes as text."""
    if count >= 1e9:
        return f"{count / 1e9:,.1f} GB"
    return f"{count / 1e6:,.1f} MB" if count < 10e6 else f"{count / 1e6:,.0f} MB"


def _format_number(value: float) -> str:
    """Return a number with three significant digits, or two and an exponent, as short as possible."""
    size = abs(value)
    text = f"{value:,.0f}" if _LARGE <= size < _HUGE else f"{value:.3g}" if _SMALL <= size < _LARGE else f"{value:.2g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}{e}{int(exponent) if exponent else ''}".replace("-", "−")


def _summary(preview: DataPreview) -> tuple[str, str]:
    """Return the numbers of examples, and a description of one example."""
    counts = " · ".join(
        f"{count:,} {name}" for count, name in zip(preview.counts, ("train", "validation", "test"), strict=True)
    )
    counts = f"{counts}, {preview.split}" if preview.split else counts
    return counts, f"{_describe_example(preview)} ·\u00a0{preview.unit}"  # no line break between the dot and the unit


def _describe_example(preview: DataPreview) -> str:
    if preview.levels:
        channels, height, width = preview.event_shape
        colours = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
        text = f"{width}×{height} pixels, {colours}, {preview.levels} levels"
    else:
        count = preview.event_shape[0]
        text = f"{count:,} {'feature' if count == 1 else 'features'}"
    return f"{text}, conditioned on {preview.context_features}" if preview.context_features else text

"""What the engine does while it reads large data for the preview, with a button that cancels it."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from nfkd_gui.forms.layout import fill_column
from nfkd_gui.model.data_preview import DataPreviewModel
from nfkd_gui.widgets.labels import WrappedLabel

_STOPPING = "Cancelling …"


class ReadingProgress(QWidget):
    """A busy bar, the engine's message and a Cancel button; a Read button after that was pressed."""

    def __init__(self, model: DataPreviewModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._model = model
        self._bar = QProgressBar(self)
        self._bar.setObjectName("preview.reading_bar")
        self._bar.setAccessibleName("The data is being read")
        self._bar.setRange(0, 0)  # busy: the number of rows is not known before
        self._cancel = QPushButton("Cancel", self)
        self._cancel.setObjectName("preview.cancel_reading")
        self._cancel.setToolTip("Cancel reading the data; what was prepared so far is removed.")
        self._cancel.clicked.connect(model.stop_reading)
        self._read = QPushButton("Read the data", self)
        self._read.setObjectName("preview.read_again")
        self._read.setToolTip("Read the data for the preview and the check of the settings.")
        self._read.clicked.connect(model.read_again)
        self._message = WrappedLabel(parent=self)
        self._message.setObjectName("preview.reading_message")
        line = QHBoxLayout()
        line.addWidget(self._bar, 1)
        line.addWidget(self._cancel)
        line.addWidget(self._read)
        line.addStretch(0)
        fill_column(self, line, self._message)

    def refresh(self) -> None:
        """Show the current state."""
        model = self._model
        running, ended = bool(model.reading), model.stopped and model.current
        self.setVisible(running or ended)
        for widget in (self._bar, self._cancel, self._message):
            widget.setVisible(running)
        self._cancel.setEnabled(not model.stopped)
        self._read.setVisible(ended)
        self._message.setText(_STOPPING if model.stopped else model.reading)

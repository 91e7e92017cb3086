"""An error as a person wants it: what happened, why, what to do; the traceback is folded away."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QPlainTextEdit,
    QPushButton,
    QStyle,
    QVBoxLayout,
    QWidget,
)

from nfkd.protocol.events import ErrorInfo
from nfkd.text import plain, plain_lines
from nfkd_gui.widgets.dialogs import without_icons
from nfkd_gui.widgets.labels import PlainLabel, WrappedLabel

_WIDTH = 480
_TITLE = 80
"""Characters of the window's title."""


class ErrorDialog(QDialog):
    """Shows an `ErrorInfo` without blocking the window's loop.

    Parameters
    ----------
    error
        What to show.
    remedy
        A button's words and what it does, such as to restart the engine.
    """

    def __init__(
        self, error: ErrorInfo, remedy: tuple[str, Callable[[], None]] | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(plain(error.title, _TITLE))
        self.setObjectName("error")
        self.has_remedy = remedy is not None
        self._details = QPlainTextEdit(plain_lines(error.traceback), self)
        self._details.setReadOnly(True)
        self._details.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._details.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._details.setMinimumHeight(180)
        self._details.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(16)
        layout.addLayout(self._head(error))
        layout.addWidget(self._details, 1)
        layout.addWidget(self._buttons(error, remedy))
        self.setMinimumWidth(_WIDTH)

    def _head(self, error: ErrorInfo) -> QHBoxLayout:
        icon = PlainLabel(parent=self)
        style = self.style()
        icon.setPixmap(style.standardIcon(QStyle.StandardPixmap.SP_MessageBoxCritical).pixmap(QSize(32, 32)))
        icon.setAlignment(Qt.AlignmentFlag.AlignTop)
        title = WrappedLabel(error.title, "plain", self)
        font = title.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() * 1.15)
        title.setFont(font)
        words = QVBoxLayout()
        words.setSpacing(8)
        words.addWidget(title)
        cause = WrappedLabel(error.cause, "plain", self)
        cause.setObjectName("error.cause")
        words.addWidget(cause)
        if error.action:
            words.addWidget(WrappedLabel(error.action, parent=self))
        line = QHBoxLayout()
        line.setSpacing(16)
        line.addWidget(icon)
        line.addLayout(words, 1)
        return line

    def _buttons(self, error: ErrorInfo, remedy: tuple[str, Callable[[], None]] | None) -> QDialogButtonBox:
        box = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, self)
        box.rejected.connect(self.reject)
        close = box.button(QDialogButtonBox.StandardButton.Close)
        close.setDefault(remedy is None)
        close.setFocus()  # else the first button has it, and Return presses that
        if remedy is not None:
            words, act = remedy
            button = box.addButton(words, QDialogButtonBox.ButtonRole.AcceptRole)
            button.setObjectName("error.remedy")
            button.setDefault(True)
            button.setFocus()
            button.clicked.connect(act)
            box.accepted.connect(self.accept)
        if error.traceback:
            self._add_details(box, error)
        without_icons(box)
        return box

    def _add_details(self, box: QDialogButtonBox, error: ErrorInfo) -> None:
        details = QPushButton("Details", self)
        details.setObjectName("error.details")
        details.setCheckable(True)
        details.toggled.connect(self._unfold)
        box.addButton(details, QDialogButtonBox.ButtonRole.ActionRole)
        copy = box.addButton("Copy", QDialogButtonBox.ButtonRole.ActionRole)
        copy.setToolTip("Copy the whole error, for a report.")
        whole = "\n\n".join(part for part in (error.title, error.cause, error.action, error.traceback) if part)
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(whole))

    def _unfold(self, open_: bool) -> None:
        self._details.setVisible(open_)
        self.adjustSize()

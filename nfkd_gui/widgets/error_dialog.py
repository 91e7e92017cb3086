"""Error dialog: what happened, why and what to do, with the traceback on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QGuiApplication
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
from nfkd_gui.theme import limit_size, scaled, set_space, set_type
from nfkd_gui.widgets.dialogs import without_icons
from nfkd_gui.widgets.labels import PlainLabel, WrappedLabel

_WIDTH = 480
_TITLE = 80
"""Characters of the window title."""


class ErrorDialog(QDialog):
    """Shows an `ErrorInfo` without blocking the event loop.

    Parameters
    ----------
    error
        The error.
    remedies
        Text and function of each button that repairs it, such as one that restarts the engine; the first is the
        default.
    """

    def __init__(
        self, error: ErrorInfo, remedies: Sequence[tuple[str, Callable[[], None]]] = (), parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(plain(error.title, _TITLE))
        self.setObjectName("error")
        self.has_remedy = bool(remedies)
        self._details = QPlainTextEdit(plain_lines(error.traceback), self)
        self._details.setReadOnly(True)
        set_type(self._details, "code")
        self._details.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        limit_size(self._details, least=(0, 180))
        self._details.hide()
        layout = QVBoxLayout(self)
        set_space(layout, 16, 16)
        layout.addLayout(self._head(error))
        layout.addWidget(self._details, 1)
        layout.addWidget(self._buttons(error, remedies))
        limit_size(self, least=(_WIDTH, 0))

    def _head(self, error: ErrorInfo) -> QHBoxLayout:
        icon = PlainLabel(parent=self)
        style = self.style()
        icon.setPixmap(
            style.standardIcon(QStyle.StandardPixmap.SP_MessageBoxCritical).pixmap(QSize(scaled(32), scaled(32)))
        )
        icon.setAlignment(Qt.AlignmentFlag.AlignTop)
        title = WrappedLabel(error.title, "plain", self)
        set_type(title, "heading")
        texts = QVBoxLayout()
        set_space(texts, 8)
        texts.addWidget(title)
        cause = WrappedLabel(error.cause, "plain", self)
        cause.setObjectName("error.cause")
        texts.addWidget(cause)
        if error.action:
            texts.addWidget(WrappedLabel(error.action, parent=self))
        line = QHBoxLayout()
        set_space(line, 16)
        line.addWidget(icon)
        line.addLayout(texts, 1)
        return line

    def _buttons(self, error: ErrorInfo, remedies: Sequence[tuple[str, Callable[[], None]]]) -> QDialogButtonBox:
        box = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, self)
        box.rejected.connect(self.reject)
        close = box.button(QDialogButtonBox.StandardButton.Close)
        close.setDefault(not remedies)
        close.setFocus()  # else Return would press the first button
        for number, (text, act) in enumerate(remedies):
            button = box.addButton(text, QDialogButtonBox.ButtonRole.AcceptRole)
            button.setObjectName("error.other" if number else "error.remedy")
            if not number:
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
        details.toggled.connect(self._show_details)
        box.addButton(details, QDialogButtonBox.ButtonRole.ActionRole)
        copy = box.addButton("Copy", QDialogButtonBox.ButtonRole.ActionRole)
        copy.setToolTip("Copy the whole error for a report.")
        whole = "\n\n".join(part for part in (error.title, error.cause, error.action, error.traceback) if part)
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(whole))

    def _show_details(self, show: bool) -> None:
        self._details.setVisible(show)
        self.adjustSize()

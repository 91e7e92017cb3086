"""Files dragged over the window: a veil says what a drop will do, and no text field takes them."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QMimeData, QObject, QPointF, QRect, Qt, Signal
from PySide6.QtGui import QColor, QDropEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QApplication, QMainWindow, QWidget

from nfkd_gui.model.drops import Drop, drop_of
from nfkd_gui.theme import font, scaled, tokens
from nfkd_gui.widgets.file_target import FileTarget

_DRAGS = {QEvent.Type.DragEnter, QEvent.Type.DragMove, QEvent.Type.Drop}


def dragged_paths(mime: QMimeData) -> list[str]:
    """Return the paths of dragged files; empty strings for addresses that are not files of this machine."""
    return [url.toLocalFile() for url in mime.urls()]


class DropTarget(QObject):
    """Takes the files that are dragged over a window, before any widget gets them.

    A path field or an end of a path below the pointer takes a file itself. Drags of text are left to the widgets.

    Attributes
    ----------
    adapt
        Returns what a drop does in the present state of the studio.
    """

    dropped = Signal(object)
    """A `Drop`."""

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._drop: Drop | None = None
        self.veil = Veil(window)
        self.adapt: Callable[[Drop], Drop] = lambda drop: drop

    def watch(self) -> None:
        """Watch the window; call it when the window has been shown, again if the system has made a new one."""
        self._window.windowHandle().installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in {QEvent.Type.DragEnter, QEvent.Type.DragLeave}:
            self._forget()
        if event.type() not in _DRAGS or not isinstance(event, QDropEvent) or not event.mimeData().hasUrls():
            return False
        paths = dragged_paths(event.mimeData())
        if QApplication.activeModalWidget() is not None:  # a question is open
            event.ignore()
            return True
        if self._field_takes(event.position(), paths):
            self.veil.hide()
            return False
        drop = self._drop = self._drop or self.adapt(drop_of(paths))  # the files are looked at once in a drag
        if event.type() == QEvent.Type.Drop:
            self._forget()
            self.dropped.emit(drop)
        elif not self.veil.isVisible():
            self.veil.show_drop(drop)
        event.acceptProposedAction()
        return True

    def _field_takes(self, position: QPointF, paths: list[str]) -> bool:
        widget = self._window.childAt(position.toPoint())
        while widget is not None and not isinstance(widget, FileTarget):
            widget = widget.parentWidget()
        return isinstance(widget, FileTarget) and widget.isEnabled() and widget.takes(paths)

    def _forget(self) -> None:
        self._drop = None
        self.veil.hide()


class Veil(QWidget):
    """Covers the window during a drag, and says what a drop will do."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self.setObjectName("veil")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._text, self._more, self._usable = "", "", True
        self.hide()

    @property
    def text(self) -> str:
        """The large text."""
        return self._text

    def show_drop(self, drop: Drop) -> None:
        """Show what a drop will do."""
        self._usable = drop.kind != "nothing"
        self._text, self._more = drop.text, "" if self._usable else drop.help
        self.setAccessibleName(self._text)
        self.setGeometry(self._window.rect())
        self.raise_()
        self.show()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        colours, painter = tokens(), QPainter(self)
        ground = QColor(colours.window)
        ground.setAlphaF(0.92)
        painter.fillRect(self.rect(), ground)
        ink = QColor(colours.accent if self._usable else colours.warn)
        frame = self.rect().adjusted(*(sign * scaled(16) for sign in (1, 1, -1, -1)))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(ink, scaled(2), Qt.PenStyle.DashLine))
        painter.drawRoundedRect(frame, scaled(6), scaled(6))
        painter.setPen(ink)
        painter.setFont(font("title"))
        middle = Qt.AlignmentFlag.AlignHCenter | Qt.TextFlag.TextWordWrap
        room = frame.adjusted(scaled(24), 0, -scaled(24), 0)
        half = QRect(room.left(), room.top(), room.width(), room.height() // 2)
        painter.drawText(half, int(middle | Qt.AlignmentFlag.AlignBottom), self._text)
        painter.setPen(QColor(colours.text))
        painter.setFont(font("body"))
        narrow = min(room.width(), scaled(560))
        below = QRect(room.center().x() - narrow // 2, half.bottom() + scaled(12), narrow, half.height())
        painter.drawText(below, int(middle | Qt.AlignmentFlag.AlignTop), self._more)
        painter.end()

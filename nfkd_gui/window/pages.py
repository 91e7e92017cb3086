"""The pages of the window: the start page and the workspaces, of which one is shown."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from nfkd_gui.theme import fit_all, set_space
from nfkd_gui.widgets.workspace import Workspace


class Pages(QStackedWidget):
    """Pages of which only the shown one needs room."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("workspaces")

    def add(self, content: QWidget) -> None:
        """Add a page; a workspace gets a margin."""
        page = _inset(content) if isinstance(content, Workspace) else content
        self.addWidget(page)
        for widget in page.findChildren(QWidget):
            widget.ensurePolished()
        fit_all(page)
        page.setGeometry(self.rect())  # a workspace sets the first sizes of its docks before it is shown

    def show_page(self, content: QWidget) -> None:
        """Show a page that was added."""
        self.setCurrentIndex(next(n for n in range(self.count()) if self.widget(n) in {content, content.parent()}))
        self.updateGeometry()

    def minimumSizeHint(self) -> QSize:
        page = self.currentWidget()
        return QSize() if page is None else page.minimumSizeHint()


def _inset(workspace: Workspace) -> QWidget:
    """Return a page with a margin around a workspace."""
    page = QWidget()
    column = QVBoxLayout(page)
    set_space(column, 0, 8)
    column.addWidget(workspace)
    return page

"""A panel in a workspace: a dock with a head of our own, which has title, remark and the panel's buttons."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt, Signal
from PySide6.QtGui import QAction, QResizeEvent
from PySide6.QtWidgets import (
    QDockWidget,
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from nfkd_gui.theme import scaled, set_icon_size, set_space
from nfkd_gui.widgets.exportable import Exportable
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.labels import ElidedLabel, TypeLabel
from nfkd_gui.widgets.panel_menu import PanelMenu

_HEAD, _NARROWEST, _ICON = 36, 240, 16


class PanelHead(QFrame):
    """The head of a panel: a title, a remark, and buttons at the right."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("head", True)
        self.title = TypeLabel("strong", title, self)
        self.remark = ElidedLabel(parent=self)
        self.menu: PanelMenu | None = None
        self._line = QHBoxLayout(self)
        set_space(self._line, 8, 12, 0, 8, 0)
        self._line.addWidget(self.title)
        self._line.addWidget(self.remark, 1)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def add(self, *widgets: QWidget) -> None:
        """Add widgets at the right, before the menu."""
        for widget in widgets:
            self._line.insertWidget(self._line.count() - (self.menu is not None), widget)

    def add_menu(self, name: str, panel: Exportable) -> None:
        """Add the button that opens the panel's menu."""
        self.menu = PanelMenu(panel, name, self)
        button = IconButton("more", f"Menu of {self.title.text()}", "Copy or save what the panel shows.", self)
        button.setObjectName(f"{name}.more")
        button.setMenu(self.menu)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._line.addWidget(button)

    def button(self, name: str, picture: str, label: str, help_: str) -> QToolButton:
        """Add a button with an icon, a tooltip and an accessible name."""
        button = IconButton(picture, label, help_, self)
        button.setObjectName(name)
        self.add(button)
        return button

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), scaled(_HEAD))

    def minimumSizeHint(self) -> QSize:
        # Buttons that disappear in narrow panels must not keep a panel from becoming narrow.
        return QSize(min(super().minimumSizeHint().width(), scaled(_NARROWEST)), scaled(_HEAD))


class IconButton(QToolButton):
    """A flat button with an icon only, which follows the theme."""

    def __init__(self, picture: str, label: str, help_: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._picture = picture
        self.setProperty("flat", True)
        self.setAutoRaise(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setToolTip(help_)
        self.setAccessibleName(label)
        self.setIcon(icon(picture))
        set_icon_size(self, _ICON)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_picture"):
            self.setIcon(icon(self._picture))

    def show_picture(self, picture: str) -> None:
        """Show another icon."""
        self._picture = picture
        self.setIcon(icon(picture))


class PanelDock(QDockWidget):
    """A dock with a `PanelHead`; its body has a border and scrolls where it is too small for its content.

    The head has a menu if the panel is `Exportable`.
    """

    expanded = Signal(bool)
    """The user asked to let the panel fill the workspace (True), or to bring the others back."""
    toggle: QAction
    """Shows and hides the panel."""

    def __init__(self, name: str, title: str, panel: QWidget, parent: QWidget, *, scrolls: bool = True) -> None:
        super().__init__(title, parent)
        self.setObjectName(f"panel.{name}")
        self.panel = panel
        self.head = PanelHead(title, self)
        self._expand: IconButton | None = None
        if isinstance(panel, Exportable):
            self.head.add_menu(self.objectName(), panel)
        self.setTitleBarWidget(self.head)
        self.toggle = self.toggleViewAction()
        body = QFrame(self)
        body.setProperty("body", True)
        column = QVBoxLayout(body)
        column.setContentsMargins(1, 0, 1, 1)
        column.addWidget(_Scrolling(panel, body) if scrolls else panel)
        self.setWidget(body)

    def add_expand_button(self) -> None:
        """Add the button that lets the panel fill the workspace."""
        self._expand = IconButton(
            "expand", f"Enlarge {self.windowTitle()}", "Fill the workspace; Escape returns.", self
        )
        self._expand.setObjectName(f"{self.objectName()}.expand")
        self._expand.setCheckable(True)
        self._expand.clicked.connect(self.expanded)
        self.head.add(self._expand)

    def show_expanded(self, expanded: bool) -> None:
        """Show on the button whether the panel fills the workspace."""
        if self._expand is not None:
            self._expand.setChecked(expanded)
            self._expand.show_picture("shrink" if expanded else "expand")


class _Scrolling(QScrollArea):
    """Scrolls a panel where it is too low for it; wrapped text counts as high as it is at the current width."""

    def __init__(self, panel: QWidget, parent: QWidget) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidgetResizable(True)
        self._panel = panel
        panel.installEventFilter(self)
        self.setWidget(panel)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched == self._panel and event.type() == QEvent.Type.LayoutRequest:
            self._fit()
        return super().eventFilter(watched, event)

    def _fit(self) -> None:
        layout = self._panel.layout()
        if layout is not None and layout.hasHeightForWidth():
            self._panel.setMinimumHeight(layout.totalMinimumHeightForWidth(self.viewport().width()))

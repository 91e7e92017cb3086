"""A row of buttons of which one is checked: the workspaces in the header, the filter of the start page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QButtonGroup, QFrame, QHBoxLayout, QSizePolicy, QToolButton, QWidget

from nfkd_gui.theme import set_space
from nfkd_gui.widgets.icons import icon


class Switch(QFrame):
    """One button for each choice; none is checked while the current one is not among them.

    Parameters
    ----------
    name
        Prefix of the buttons' object names.
    choices
        Title and icon of each choice by its name; an empty icon shows the title only.
    helps
        Tooltips of choices whose title does not say enough.
    """

    chosen = Signal(str)
    """The name of a choice that the user clicked."""

    def __init__(
        self,
        name: str,
        choices: Mapping[str, tuple[str, str]],
        parent: QWidget | None = None,
        *,
        helps: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(parent)
        self.setProperty("switch", True)
        self._pictures = {choice: picture for choice, (_title, picture) in choices.items()}
        self._buttons: dict[str, QToolButton] = {}
        self._group = QButtonGroup(self)
        line = QHBoxLayout(self)
        set_space(line, 2, 2)
        for choice, (title, picture) in choices.items():
            button = self._buttons[choice] = QToolButton(self)
            button.setObjectName(f"{name}.{choice}")
            button.setProperty("segment", True)
            button.setText(title)
            button.setToolTip((helps or {}).get(choice, title))
            button.setAccessibleName(title)
            if picture:
                button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setCheckable(True)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.clicked.connect(lambda _checked, choice=choice: self.chosen.emit(choice))
            self._group.addButton(button)
            line.addWidget(button)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.show_state("", list(choices))

    def rename(self, choice: str, title: str) -> None:
        """Give a choice another title."""
        button = self._buttons[choice]
        button.setText(title)
        button.setToolTip(title)
        button.setAccessibleName(title)

    def show_titles(self, shown: bool) -> None:
        """Show the titles beside the icons, or the icons alone."""
        style = Qt.ToolButtonStyle.ToolButtonTextBesideIcon if shown else Qt.ToolButtonStyle.ToolButtonIconOnly
        for choice, button in self._buttons.items():
            if self._pictures[choice]:
                button.setToolButtonStyle(style)

    def show_state(self, current: str, offered: Sequence[str]) -> None:
        """Check the current choice, and show only those that are offered."""
        self._group.setExclusive(False)
        for choice, button in self._buttons.items():
            button.setChecked(choice == current)
            button.setVisible(choice in offered)
        self._group.setExclusive(bool(current))
        self.restyle()

    def restyle(self) -> None:
        """Draw the icons in the current theme's colours."""
        for choice, button in self._buttons.items():
            if self._pictures[choice]:
                button.setIcon(icon(self._pictures[choice]))

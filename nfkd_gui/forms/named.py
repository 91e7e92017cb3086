"""A menu of the data sets that the user has named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from nfkd.text import plain
from nfkd_gui.model.data_preview import DataPreviewModel, table_of
from nfkd_gui.widgets.labels import tip

_NONE = "None yet. In a terminal, “nfkd data add” gives one a name."


class NamedButton(QToolButton):
    """Opens a menu of the user's data sets; it says how they are named while there are none.

    Parameters
    ----------
    look
        Knows them.
    chosen
        Told the table of the one that is chosen.
    """

    def __init__(
        self, look: DataPreviewModel, chosen: Callable[[dict[str, Any]], None], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._look, self._chosen = look, chosen
        self.setObjectName("data.named")
        self.setText("My data sets ▾")
        self.setAccessibleName("My data sets")
        self.setToolTip("Take a data set that you have given a name.")
        self.choices = QMenu(self)  # not the button's own menu: Qt draws the arrow of that into the words
        self.choices.setToolTipsVisible(True)
        self.choices.aboutToShow.connect(look.list_named)
        self.clicked.connect(self._open)
        look.named_changed.connect(self._fill)
        self._fill()

    def _open(self) -> None:
        self.choices.popup(self.mapToGlobal(self.rect().bottomLeft()))

    def _fill(self) -> None:
        menu = self.choices
        menu.clear()
        for named in self._look.named:
            action = menu.addAction(plain(named.name).replace("&", "&&"))
            action.setEnabled(not named.problem)
            action.setToolTip(tip(named.problem or named.config.strip()))
            action.triggered.connect(lambda _checked=False, named=named: self._chosen(table_of(named)))
        if menu.isEmpty():
            menu.addAction(_NONE).setEnabled(False)

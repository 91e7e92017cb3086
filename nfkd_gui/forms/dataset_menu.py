"""The menu of the user's named data sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from nfkd.config.toml import toml_document
from nfkd.text import plain
from nfkd_gui.forms.dataset_list import DatasetListDialog
from nfkd_gui.forms.dataset_name import DatasetNameDialog
from nfkd_gui.model.data_preview import DataPreviewModel
from nfkd_gui.widgets.labels import tip

_NONE = "None yet"
_SAVE_HELP = "Give this data set a name, to choose it again here, in the command palette and in a terminal."
_NOT_READ = "Data gets a name once the engine can read it."


class DatasetMenuButton(QToolButton):
    """Opens a menu of the user's named data sets, with commands to name the present data, to rename and to remove.

    Parameters
    ----------
    model
        Lists the data sets.
    on_chosen
        Called with the ``[data]`` table of the chosen data set.
    """

    def __init__(
        self, model: DataPreviewModel, on_chosen: Callable[[dict[str, Any]], None], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._model, self._on_chosen = model, on_chosen
        self.setObjectName("data.named")
        self.setText("My data sets ▾")
        self.setAccessibleName("My data sets")
        self.setToolTip("Choose one of your named data sets.")
        self.menu_ = QMenu(self)  # not set as the button's menu: Qt would draw a second arrow over the text
        self.menu_.setToolTipsVisible(True)
        self.save = QAction("&Save as named data set …", self)
        self.save.setObjectName("data.save_named")
        self.save.triggered.connect(self._ask_name)
        self.manage = QAction("&Rename or remove …", self)
        self.manage.setObjectName("data.manage_named")
        self.manage.setToolTip("Rename your named data sets, or remove names.")
        self.manage.triggered.connect(self._manage)
        self.menu_.aboutToShow.connect(model.list_datasets)
        self.menu_.aboutToShow.connect(self._refresh)
        self.clicked.connect(lambda: self.menu_.popup(self.mapToGlobal(self.rect().bottomLeft())))
        model.datasets_changed.connect(self._fill)
        self._fill()

    def _fill(self) -> None:
        self.menu_.clear()
        for dataset in self._model.datasets:
            action = self.menu_.addAction(plain(dataset.name).replace("&", "&&"))
            action.setEnabled(not dataset.problem)
            action.setToolTip(tip(dataset.problem or dataset.config.strip()))
            action.triggered.connect(lambda _checked=False, text=dataset.config: self._on_chosen(toml_document(text)))
        if self.menu_.isEmpty():
            self.menu_.addAction(_NONE).setEnabled(False)
        self.menu_.addSeparator()
        self.menu_.addActions([self.save, self.manage])
        self.manage.setEnabled(bool(self._model.datasets))
        self._refresh()

    def _refresh(self) -> None:
        possible = self._model.may_be_named
        self.save.setEnabled(possible)
        self.save.setToolTip(_SAVE_HELP if possible else _NOT_READ)

    def _ask_name(self) -> None:
        DatasetNameDialog(self._model, self.window()).open()

    def _manage(self) -> None:
        DatasetListDialog(self._model, self.window()).open()

"""The menu of the user's named data sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from nfkd.config.toml import toml_document
from nfkd.text import plain
from nfkd_gui.model.data_preview import DataPreviewModel
from nfkd_gui.widgets.labels import tip

_NONE = "None yet. To name a data set, run “nfkd data add” in a terminal."


class DatasetMenuButton(QToolButton):
    """Opens a menu of the user's named data sets; an empty menu says how to name one.

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
        self.menu_.aboutToShow.connect(model.list_datasets)
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

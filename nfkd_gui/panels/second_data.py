"""Chooses a second data set: a built-in one, one of the user's named ones, a file or a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from nfkd.config import ConfigError
from nfkd.config.datasets import DATA_KINDS, is_built_in, kind_group, kind_label, parse_data
from nfkd.config.toml import toml_text
from nfkd.protocol.events import ErrorInfo
from nfkd.text import plain
from nfkd_gui.model.data_preview import DataPreviewModel
from nfkd_gui.widgets.combo import FittingComboBox
from nfkd_gui.widgets.file_target import ask_path, machine_of
from nfkd_gui.widgets.labels import tip

_NONE, _FILE, _FOLDER = "", "file", "folder"
_LONGEST = 40


class SecondData(FittingComboBox):
    """A combo box of data sets that may fit the run's examples."""

    changed = Signal()
    failed = Signal(object)
    """Why a file was not taken: an `ErrorInfo`."""

    def __init__(self, name: str, model: DataPreviewModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._shape: tuple[int, ...] = ()
        self._given: dict[str, str] = {}
        self._chosen = _NONE
        self.setObjectName(name)
        self.setAccessibleName("Second data set")
        self.setToolTip("Data that the flows were not trained on, to see whether they find it unlikely.")
        model.datasets_changed.connect(self._fill)
        self.activated.connect(self._choose)
        self._fill()

    @property
    def text_of_config(self) -> str:
        """The ``[data]`` table of the chosen data set as TOML text; empty without one."""
        return self._chosen

    def show_shape(self, shape: Sequence[int]) -> None:
        """Offer what may have examples of a shape; the choice is dropped if the shape is another one."""
        if tuple(shape) == self._shape:
            return
        self._shape, self._given, self._chosen = tuple(shape), {}, _NONE
        self._model.list_datasets()
        self._fill()

    def _groups(self) -> set[str]:
        if len(self._shape) == 3:
            return {"Images"}
        return {"In the plane", "Tables"} if self._shape == (2,) else {"Tables"}

    def _fill(self) -> None:
        with QSignalBlocker(self):
            self.clear()
            self._add("None", _NONE, "Only training and test data.")
            for kind in DATA_KINDS:
                if is_built_in(kind) and kind_group(kind) in self._groups():
                    self._add(kind_label(kind), toml_text(parse_data(kind)), "A built-in data set.")
            for named in self._model.datasets:
                if not named.problem:
                    self._add(plain(named.name, _LONGEST), named.config, "One of your named data sets.")
            for label, text in self._given.items():
                self._add(label, text, text)
            self._add("File …", _FILE, "A table, or an array of images.")
            if len(self._shape) == 3:
                self._add("Folder of images …", _FOLDER, "Images are resized to those of the run.")
            self.setCurrentIndex(max(0, self.findData(self._chosen)))

    def _add(self, text: str, data: str, help_: str) -> None:
        self.addItem(text, data)
        self.setItemData(self.count() - 1, tip(help_), Qt.ItemDataRole.ToolTipRole)

    def _choose(self, row: int) -> None:
        data = self.itemData(row)
        path = ""
        if data in (_FILE, _FOLDER) and machine_of(self):
            ask_path(self, "Second data set", partial(self.take, folder=data == _FOLDER))
        elif data == _FILE:
            path, _ = QFileDialog.getOpenFileName(self, "Choose a second data set")
        elif data == _FOLDER:
            path = QFileDialog.getExistingDirectory(self, "Choose a folder of images")
        if data not in (_FILE, _FOLDER):
            self._chosen = data
            self.changed.emit()
        elif path:
            self.take(path)
        self.setCurrentIndex(max(0, self.findData(self._chosen)))

    def take(self, path: str, *, folder: bool = False) -> None:
        """Use a file or a folder; `folder` says so where this machine cannot see it."""
        value: str | dict[str, Any] = path
        if len(self._shape) == 3 and (folder or Path(path).is_dir()):
            channels, height, _ = self._shape
            value = {"kind": "image_folder", "path": path, "size": height, "colour": channels == 3}
        try:
            text = toml_text(parse_data(value))
        except ConfigError as error:
            cause = f"{plain(error.problems[0].message)}."
            self.failed.emit(ErrorInfo(title="The second data set cannot be read", cause=cause))
            return
        self._given[plain(Path(path).name, _LONGEST)] = self._chosen = text
        self._fill()
        self.changed.emit()

"""Adapts the experiment when the user has chosen another data set, once the engine has looked at it."""

from __future__ import annotations

import copy
from typing import Any

from PySide6.QtCore import QObject, Signal

from nfkd.config.adapting import DataFacts, adapt
from nfkd.config.data import ImageFolderConfig
from nfkd.protocol.data import DataPreview
from nfkd_gui.model.data_preview import DataPreviewModel
from nfkd_gui.model.experiment import Experiment

_SIZE = ImageFolderConfig.model_fields["size"].default


class DataAdapter(QObject):
    """Changes what depends on the data, as part of the edit that changed the data, unless another one came between.

    Undo, redo and opened experiments are not adapted.
    """

    adapted = Signal(str)
    """Says in one line what was changed."""

    def __init__(self, experiment: Experiment, data_preview: DataPreviewModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._experiment, self._preview = experiment, data_preview
        self._facts: DataFacts | None = None
        self._data: Any = None
        self._edited: set[str] = set()
        experiment.edited.connect(self._follow)
        experiment.replaced.connect(self._forget)
        data_preview.changed.connect(self._look)

    @property
    def awaits_preview(self) -> bool:
        """Whether the user changed the data, and the engine has not looked at it yet."""
        return bool(self._edited) and self._preview.valid and not self._preview.current

    def _forget(self) -> None:
        self._facts, self._data = None, None
        self._edited.clear()

    def _follow(self, path: str) -> None:
        if path == "data" or path.startswith("data."):
            self._edited.add(path)
        elif not path:  # undo and redo
            self._forget()

    def _look(self) -> None:
        """Adapt the experiment, or remember the data that it fits."""
        preview = self._preview.preview
        if not self._preview.current or preview is None:
            return
        data = self._experiment.document.get("data")
        if self._edited and isinstance(data, dict):
            data, facts = self._with_suggestion(data, preview)
            if facts is None:
                return  # the settings are not complete yet
            self._edited.clear()
            self._adapt(data, facts)
        elif preview.event_shape:
            facts = _facts_of(preview)
        else:
            return
        self._facts, self._data = facts, copy.deepcopy(data)

    def _with_suggestion(self, data: dict[str, Any], preview: DataPreview) -> tuple[dict[str, Any], DataFacts | None]:
        """Return the data with settings that fit its files, unless the user set them, and the resulting facts.

        A table that was set as a whole, such as a named data set, keeps all its settings.
        """
        taken = {path.removeprefix("data.") for path in self._edited}
        new_files = not taken.isdisjoint({"data", "path"})
        taken |= data.keys() if "data" in taken else set()
        fitting = {name: value for name, value in preview.suggested.items() if name not in taken and new_files}
        if not fitting:
            return data, _facts_of(preview) if preview.event_shape else None
        after = {"size": _SIZE, "colour": True} | data | fitting
        shape = (3 if after["colour"] else 1, after["size"], after["size"])
        return after, DataFacts(shape, preview.context_features, preview.counts[0] if preview.counts else 0)

    def _adapt(self, data: dict[str, Any], facts: DataFacts) -> None:
        before = self._data if isinstance(self._data, dict) else {}
        found = adapt(self._experiment.document | {"data": data}, before, self._facts, facts)
        if found.document != self._experiment.document:
            self._experiment.extend("data", "Adapt to the data", found.document)
            changes = ", ".join(found.changes)
            self.adapted.emit(f"Adapted to {facts.describe()}{f': {changes}' if changes else ''}")


def _facts_of(preview: DataPreview) -> DataFacts:
    return DataFacts(tuple(preview.event_shape), preview.context_features, preview.counts[0] if preview.counts else 0)

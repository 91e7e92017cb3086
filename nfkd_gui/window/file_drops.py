"""Does what a dropped file asks for: opens it, or makes it the data set or the teacher of the open experiment."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject

from nfkd.config import ConfigError
from nfkd.config.datasets import parse_data
from nfkd.config.toml import toml_text
from nfkd.protocol.data import DataPreview, PreviewData
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Reply
from nfkd_gui.model.drops import Drop, away_from
from nfkd_gui.model.machines import not_there

if TYPE_CHECKING:
    from nfkd_gui.window.main_window import MainWindow

_WEIGHTS = "training.teacher_weights"


class FileDrops(QObject):
    """Acts on the files that are dropped into a window."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window

    def adapt(self, drop: Drop) -> Drop:
        """Return what a drop does on the machine of the engine."""
        host = self._window.studio.machines.host
        return away_from(drop, host.name, not_there(host, drop.path).action) if host is not None else drop

    def take(self, drop: Drop) -> None:
        """Do what a drop asks for, or say why it cannot be done."""
        match drop.kind:
            case "experiment":
                self._window.open_file(drop.path)
            case "run":
                self._window.open_run(drop.path)
            case "data" | "array" if self._window.workspace == "learn" and drop.table.get("kind") == "table":
                self._window.learn.view.settings.data.read(drop.path)
            case "data":
                self._window.use_data(drop.table)
            case "array":
                self._use_array(drop)
            case "weights":
                self._use_teacher(drop)
            case _:
                self._window.show_error(
                    ErrorInfo(title="This cannot be dropped", cause=f"{drop.text}.", action=drop.help)
                )

    def _use_array(self, drop: Drop) -> None:
        """Use an .h5 file as images if the engine can read it so, and as a table otherwise."""
        images = {"kind": "image_stack", "path": drop.path}
        try:
            request = PreviewData(config=toml_text(parse_data(images)))
        except ConfigError:
            self._window.use_data(drop.table)
            return

        def replied(reply: Reply) -> None:
            fits = isinstance(reply, DataPreview) and not reply.problems
            self._window.use_data(images if fits else drop.table)

        self._window.studio.ask(request, replied, lambda _error: self._window.use_data(drop.table))

    def _use_teacher(self, drop: Drop) -> None:
        """Use weights as the teacher, with the flow that they belong to."""
        document = copy.deepcopy(self._window.studio.experiment.document)
        changes: dict[str, dict[str, Any]] = {
            "training": {"teacher_weights": drop.path}, "seeds": {"retrain_teacher": False},
        }  # fmt: skip
        for section, values in changes.items():
            old = document.get(section)
            document[section] = (old if isinstance(old, dict) else {}) | values
        self._window.studio.experiment.amend(_WEIGHTS, document | {"teacher": drop.table})
        self._window.open_field(_WEIGHTS)

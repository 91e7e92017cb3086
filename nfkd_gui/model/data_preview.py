"""What is known of the data set that the experiment names: the engine's look at it, its download, named data sets."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from nfkd.config import ConfigError
from nfkd.config.datasets import DATA_KINDS, parse_data
from nfkd.config.toml import toml_document, toml_text
from nfkd.protocol.data import CancelFetch, DataList, DataPreview, FetchData, ListData, NamedData, PreviewData
from nfkd.protocol.events import DataProgress, ErrorInfo
from nfkd.protocol.requests import Reply
from nfkd_gui.model.experiment import Asks, Experiment

_DEBOUNCE = 250
"""Milliseconds of quiet before the engine is asked."""


class DataPreviewModel(QObject):
    """Follows the data of an experiment.

    Attributes
    ----------
    kind
        Of the data as it is written, such as ``mnist``; empty where it is none that is known.
    preview
        The engine's last look; while the table changes within its kind, or has problems, the one before.
    current
        Whether `preview` is of exactly this table.
    error
        Why the engine gave no answer.
    named
        The data sets that the user has named.
    """

    changed = Signal()
    named_changed = Signal()
    failed = Signal(object)
    """An `ErrorInfo` that the user must see."""

    def __init__(self, ask: Asks, experiment: Experiment, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._ask = ask
        self._experiment = experiment
        self._text = ""
        self._fetching: dict[str, DataProgress | None] = {}
        self._cancelled: set[str] = set()
        self.kind = ""
        self.preview: DataPreview | None = None
        self.current = False
        self.error: ErrorInfo | None = None
        self.named: list[NamedData] = []
        self._quiet = QTimer(self, singleShot=True, interval=_DEBOUNCE)
        self._quiet.timeout.connect(self.look)
        experiment.checked.connect(self._follow)

    @property
    def valid(self) -> bool:
        """Whether the table has no problems of form, so that the engine can look at it."""
        return bool(self._text)

    @property
    def fetching(self) -> bool:
        """Whether this data set is being downloaded."""
        return self.kind in self._fetching

    @property
    def progress(self) -> DataProgress | None:
        """How far its download is, as far as it has begun."""
        return self._fetching.get(self.kind)

    @property
    def cancelling(self) -> bool:
        """Whether its download is being ended."""
        return self.fetching and self.kind in self._cancelled

    def stop(self) -> None:
        """Ask nothing any more."""
        self._quiet.stop()

    def look(self) -> None:
        """Ask the engine at once what is in the data set."""
        self._quiet.stop()
        asked = self._text
        if not asked:
            return

        def answered(reply: Reply) -> None:
            if asked == self._text and isinstance(reply, DataPreview):
                self.preview, self.error, self.current = reply, None, True
                self.changed.emit()

        def failed(error: ErrorInfo) -> None:
            if asked == self._text:
                self.preview, self.error, self.current = None, error, True
                self.changed.emit()

        self._ask(PreviewData(config=asked), answered, failed, key="preview")

    def list_named(self) -> None:
        """Ask which data sets the user has named."""

        def answered(reply: Reply) -> None:
            if isinstance(reply, DataList) and reply.named != self.named:
                self.named = list(reply.named)
                self.named_changed.emit()

        self._ask(ListData(), answered, lambda _error: None, key="named")

    def fetch(self) -> None:
        """Download what the data set lacks."""
        kind = self.kind
        if not self.valid or kind in self._fetching:
            return
        self._fetching[kind] = None
        self._cancelled.discard(kind)
        self.changed.emit()

        def done(_reply: Reply) -> None:
            self._fetched(kind)

        def failed(error: ErrorInfo) -> None:
            self._fetched(kind)
            if kind not in self._cancelled:
                self.failed.emit(error)

        self._ask(FetchData(config=self._text), done, failed, key="")

    def cancel(self) -> None:
        """End the download; what has come is kept for the next."""
        if self.fetching:
            self._cancelled.add(self.kind)
            self.changed.emit()
            self._ask(CancelFetch(data=self.kind), lambda _reply: None, self.failed.emit, key="")

    def take(self, event: DataProgress) -> None:
        """Take an event of the engine."""
        if event.data in self._fetching:
            self._fetching[event.data] = event
            if event.data == self.kind:
                self.changed.emit()

    def forget_downloads(self) -> None:
        """Forget the downloads of an engine that is gone."""
        self._fetching.clear()
        self.changed.emit()

    def _fetched(self, kind: str) -> None:
        self._fetching.pop(kind, None)
        self.changed.emit()
        if kind == self.kind:
            self.look()
            self._experiment.describe()

    def _follow(self) -> None:
        kind, text = _as_written(self._experiment)
        if (kind, text) == (self.kind, self._text):
            return
        if kind != self.kind:
            self.preview = None
        self.kind, self._text, self.error, self.current = kind, text, None, False
        if text:
            self._quiet.start()
        else:
            self._quiet.stop()
        self.changed.emit()


def table_of(named: NamedData) -> dict[str, Any]:
    """Return the table of a data set that the user has named, as the form takes it."""
    return toml_document(named.config)


def _as_written(experiment: Experiment) -> tuple[str, str]:
    """Return the data's kind and, where its own table is valid, its TOML text: other parts may have problems."""
    table = experiment.document.get("data")
    if not isinstance(table, dict) or table.get("kind") not in DATA_KINDS:
        return "", ""
    kind = str(table["kind"])
    try:
        config = experiment.config.data if experiment.config else parse_data(table)
    except ConfigError:
        return kind, ""
    return kind, toml_text(config)

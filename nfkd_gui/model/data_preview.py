"""The experiment's data set: its preview, its download, and the user's named data sets."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Signal

from nfkd.config import ConfigError
from nfkd.config.datasets import DATA_KINDS, add_dataset, parse_data, parse_data_toml, remove_dataset, rename_dataset
from nfkd.config.toml import toml_text
from nfkd.protocol.data import (
    CancelFetch,
    CancelReading,
    DataList,
    DataPreview,
    FetchData,
    ListData,
    NamedData,
    PreviewData,
)
from nfkd.protocol.events import DataProgress, DataReading, ErrorInfo
from nfkd.protocol.requests import Reply
from nfkd_gui.link.mailbox import Ask
from nfkd_gui.model.experiment import Experiment
from nfkd_gui.model.inquiry import Inquiry

_DEBOUNCE = 250
"""Milliseconds without a change before the engine is asked."""


class DataPreviewModel(QObject):
    """Previews the data of an experiment, as it changes.

    Attributes
    ----------
    kind
        The kind of the data, such as ``mnist``; empty if it is unknown.
    preview
        The engine's last preview of this kind of data; the settings may have changed since.
    current
        Whether `preview` or `error` belongs to exactly these settings.
    error
        Why the engine could not make a preview.
    reading
        What the engine does, if it takes long to read the data for the preview.
    stopped
        Whether the user has cancelled that.
    datasets
        The user's named data sets.
    """

    changed = Signal()
    datasets_changed = Signal()
    failed = Signal(object)
    """An `ErrorInfo` to show to the user."""

    def __init__(self, ask: Ask, experiment: Experiment, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._ask = ask
        self._experiment = experiment
        self._text = self._path = ""
        self._fetching: dict[str, DataProgress | None] = {}
        self._cancelled: set[str] = set()
        self.kind = ""
        self.preview: DataPreview | None = None
        self.current = False
        self.error: ErrorInfo | None = None
        self.reading = ""
        self.stopped = False
        self.datasets: list[NamedData] = []
        self._inquiry = Inquiry(ask, "preview", _DEBOUNCE, self._request, self._replied, self._not_previewed, self)
        experiment.checked.connect(self._follow)

    @property
    def valid(self) -> bool:
        """Whether the settings are valid, so that the engine can preview the data."""
        return bool(self._text)

    @property
    def fetching(self) -> bool:
        """Whether this data set is being downloaded."""
        return self.kind in self._fetching

    @property
    def progress(self) -> DataProgress | None:
        """The progress of its download; None before the first report."""
        return self._fetching.get(self.kind)

    @property
    def cancelling(self) -> bool:
        """Whether its download is being cancelled."""
        return self.fetching and self.kind in self._cancelled

    def stop(self) -> None:
        """Send no more requests."""
        self._inquiry.stop()

    def refresh(self) -> None:
        """Ask the engine at once for a preview."""
        self._inquiry.send()

    def _request(self) -> PreviewData:
        return PreviewData(config=self._text)

    def _replied(self, reply: Reply) -> None:
        if isinstance(reply, DataPreview):
            self.preview, self.error, self.current, self.reading = reply, None, True, ""
            self.changed.emit()

    def _not_previewed(self, error: ErrorInfo) -> None:
        self.preview, self.error, self.current, self.reading = None, error, True, ""
        self.changed.emit()

    def stop_reading(self) -> None:
        """Cancel the reading of the data."""
        if self.reading:
            self.stopped = True
            self._cancel_reading()
            self.changed.emit()

    def read_again(self) -> None:
        """Read data whose reading was cancelled."""
        self.stopped, self.current, self.error = False, False, None
        self.changed.emit()
        self.refresh()
        self._experiment.describe()

    def _cancel_reading(self) -> None:
        self._ask(CancelReading(config=self._text), lambda _reply: None, lambda _error: None)

    def list_datasets(self) -> None:
        """Ask the engine for the user's named data sets."""

        def replied(reply: Reply) -> None:
            if isinstance(reply, DataList) and reply.named != self.datasets:
                self.datasets = list(reply.named)
                self.datasets_changed.emit()

        self._ask(ListData(), replied, lambda _error: None, key="named")

    @property
    def may_be_named(self) -> bool:
        """Whether the engine could read the data, so that it can be saved under a name."""
        return self.valid and self.current and self.preview is not None and not self.preview.problems

    def save_named(self, name: str) -> bool:
        """Save the data under a name, as ``nfkd data add`` does; one of the same name is replaced.

        Returns whether it was saved; `failed` says why not.
        """
        return self._change_names(
            f"The data set {name} was not saved",
            lambda: add_dataset(name, parse_data_toml(self._text), replace=True),
        )

    def rename_named(self, old: str, new: str) -> bool:
        """Rename a named data set, as ``nfkd data rename --force`` does; returns as `save_named`."""
        return self._change_names(f"The data set {old} was not renamed", lambda: rename_dataset(old, new, replace=True))

    def remove_named(self, name: str) -> bool:
        """Remove the name of a data set, as ``nfkd data remove`` does; returns as `save_named`."""
        return self._change_names(f"The data set {name} was not removed", lambda: remove_dataset(name))

    def _change_names(self, title: str, change: Callable[[], object]) -> bool:
        """Change the named data sets and list them again; return whether it worked, else emit `failed`."""
        try:
            change()
        except (ConfigError, OSError) as error:
            cause = error.problems[0].message if isinstance(error, ConfigError) else str(error)
            self.failed.emit(ErrorInfo(title=title, cause=cause))
            return False
        finally:
            self.list_datasets()
        return True

    def fetch(self) -> None:
        """Download the missing files of the data set."""
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

        self._ask(FetchData(config=self._text), done, failed)

    def cancel(self) -> None:
        """Cancel the download; the received part is kept for the next."""
        if self.fetching:
            self._cancelled.add(self.kind)
            self.changed.emit()
            self._ask(CancelFetch(data=self.kind), lambda _reply: None, self.failed.emit)

    def show_progress(self, event: DataProgress | DataReading) -> None:
        """Show the progress of a download that this studio started, or what the engine does to read this data."""
        if isinstance(event, DataReading):
            if event.data == self._text and not self.current and not self.stopped:
                self.reading = event.message
                self.changed.emit()
        elif event.data in self._fetching:
            self._fetching[event.data] = event
            if event.data == self.kind:
                self.changed.emit()

    def forget_downloads(self) -> None:
        """Forget the downloads of a lost engine."""
        self._fetching.clear()
        self.changed.emit()

    def _fetched(self, kind: str) -> None:
        self._fetching.pop(kind, None)
        self.changed.emit()
        if kind == self.kind:
            self.refresh()
            self._experiment.describe()

    def _follow(self) -> None:
        kind, text = _kind_and_toml(self._experiment)
        if (kind, text) == (self.kind, self._text):
            return
        if kind != self.kind:
            self.preview = None
        path = _path(self._experiment)
        if self.reading and path != self._path:  # with other settings of the same file, the preparation is of use
            self._cancel_reading()
        self._path = path
        self.kind, self._text, self.error, self.current = kind, text, None, False
        self.reading, self.stopped = "", False
        self._inquiry.follow(text or None)
        self.changed.emit()


def _path(experiment: Experiment) -> str:
    """Return the path of the data; empty text where it has none."""
    table = experiment.document.get("data")
    return str(table.get("path", "")) if isinstance(table, dict) else ""


def _kind_and_toml(experiment: Experiment) -> tuple[str, str]:
    """Return the kind of the data and its table as TOML; the text is empty if the table is not valid."""
    table = experiment.document.get("data")
    if not isinstance(table, dict) or table.get("kind") not in DATA_KINDS:
        return "", ""
    kind = str(table["kind"])
    try:
        config = experiment.config.data if experiment.config else parse_data(table)
    except ConfigError:
        return kind, ""
    return kind, toml_text(config)

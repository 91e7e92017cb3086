"""The experiment that is being written: its values, its problems, and what the engine says it would be."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from PySide6.QtCore import QObject, QTimer, Signal

from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig, preset_names, preset_path
from nfkd.config.datasets import resolve_data_table
from nfkd.config.toml import read_toml
from nfkd.files import is_regular
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Describe, Description, Reply, Request

_DEBOUNCE = 250
"""Milliseconds of quiet before the engine is asked."""


class Asks(Protocol):
    """Whoever carries requests to the engine."""

    def __call__(
        self, request: Request, on_reply: Callable[[Reply], None], on_error: Callable[[ErrorInfo], None], *, key: str
    ) -> None: ...


class Experiment(QObject):
    """An experiment in the making, valid or not.

    Attributes
    ----------
    document
        The values as nested dictionaries, as they are written, right or wrong.
    config
        The valid configuration; None while there are problems of form.
    description
        The engine's answer for exactly this configuration; None until it is there.
    error
        Why the engine gave no answer.
    path
        The file that it was read from or saved to.
    dirty
        Whether there are changes that no file has.
    """

    replaced = Signal()
    """The whole document is another one: refill the form."""
    amended = Signal(str, object)
    """Some fields are other ones, by a word for them: the form shows the document, and can take the change back."""
    checked = Signal()
    """Problems or description changed."""
    file_changed = Signal()
    """Name, path or `dirty` changed."""

    def __init__(self, ask: Asks, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._ask = ask
        self._text = ""
        self._form_problems: list[ConfigProblem] = []
        self.document: dict[str, Any] = {}
        self.config: ExperimentConfig | None = None
        self.description: Description | None = None
        self.error: ErrorInfo | None = None
        self.path: Path | None = None
        self.dirty = False
        self._quiet = QTimer(self, singleShot=True, interval=_DEBOUNCE)
        self._quiet.timeout.connect(self.describe)

    @property
    def name(self) -> str:
        """The experiment's name, as far as it has one."""
        return str(self.document.get("name", "")) or "untitled"

    @property
    def text(self) -> str:
        """The experiment as TOML text; empty while it is not valid."""
        return self._text

    @property
    def problems(self) -> list[ConfigProblem]:
        """Every known problem: of form, else of meaning."""
        if self.description is None:
            return self._form_problems
        return [ConfigProblem(problem.path, problem.message) for problem in self.description.problems]

    @property
    def may_run(self) -> bool:
        """Whether the engine has found exactly this experiment without problem."""
        return self.config is not None and self.description is not None and not self.description.problems

    def edit(self, document: dict[str, Any]) -> None:
        """Take the form's values."""
        if document == self.document:
            return
        self.document = copy.deepcopy(document)
        self._set_dirty(True)
        self._check()

    def amend(self, words: str, document: dict[str, Any]) -> None:
        """Change several fields at once; the form lets the user take it back as one change.

        Parameters
        ----------
        words
            What is changed, such as ``teacher``.
        document
            All values as they shall be.
        """
        self.amended.emit(words, document)
        self.edit(document)

    def replace(self, document: dict[str, Any], path: Path | None = None, *, dirty: bool = False) -> None:
        """Take another experiment in place of this one."""
        self.document = copy.deepcopy(document)
        self.path = path
        self.replaced.emit()
        self._check()
        self._set_dirty(dirty)

    def open(self, source: str | Path) -> None:
        """Read a file, or a preset by its name. Problems inside it are shown at their fields, not raised.

        Raises
        ------
        ConfigError
            When it is no TOML file or cannot be read.
        """
        path = Path(source)
        is_preset = not is_regular(path) and str(source) in preset_names()
        file = preset_path(str(source)) if is_preset else path
        self.replace(_with_whole_data(read_toml(file), file), None if is_preset else path)

    def save(self, path: Path) -> None:
        """Write the experiment to a file.

        Raises
        ------
        ConfigError
            While it is not valid.
        OSError
            When the file cannot be written.
        """
        if self.config is None:
            raise ConfigError(self._form_problems, self.name)
        self.config.save(path)
        self.path = path
        self._set_dirty(False)

    def describe(self) -> None:
        """Ask the engine at once what this experiment would be."""
        self._quiet.stop()
        if not self._text:
            return
        asked = self._text
        if self.error is not None:
            self.error = None
            self.checked.emit()

        def described(reply: Reply) -> None:
            if asked == self._text and isinstance(reply, Description):
                self.description, self.error = reply, None
                self.checked.emit()

        def failed(error: ErrorInfo) -> None:
            if asked == self._text:
                self.error = error
                self.checked.emit()

        self._ask(Describe(config=asked), described, failed, key="describe")

    def await_engine(self) -> None:
        """Forget why the last engine could not be asked: the next one is asked as soon as it is there."""
        if self.error is not None:
            self.error = None
            self.checked.emit()

    def stop(self) -> None:
        """Ask nothing any more."""
        self._quiet.stop()

    def _check(self) -> None:
        self.description = self.error = None
        try:
            self.config = ExperimentConfig.from_dict(self.document)
        except ConfigError as error:
            self.config, self._text, self._form_problems = None, "", error.problems
            self._quiet.stop()
        else:
            self._text, self._form_problems = self.config.to_toml(), []
            self._quiet.start()
        self.checked.emit()

    def _set_dirty(self, dirty: bool) -> None:
        self.dirty = dirty
        self.file_changed.emit()


def _with_whole_data(document: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return a file's values with its data as a table: it may be named by a word, with paths that start at the file."""
    if "data" not in document:
        return document
    try:
        return document | {"data": resolve_data_table(document["data"], file.absolute().parent)}
    except ValueError:
        return document  # the form shows why

"""A sweep that the user sets up: fields of the experiment, the values to try, and what the runs will take."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

from nfkd.config import ConfigError
from nfkd.config.fields import field_paths
from nfkd.config.sweep import SweepConfig, format_value
from nfkd.config.toml import toml_value
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.queue import EstimateSweep, SweepDescription
from nfkd.protocol.requests import Reply
from nfkd_gui.link.mailbox import Ask
from nfkd_gui.model.inquiry import Inquiry

_DEBOUNCE = 400
"""Milliseconds without a change before the engine is asked what the sweep will take."""


def parse_values(text: str) -> list[Any]:
    """Return the values of a text with commas, each as in a file; words without quotes are texts.

    Examples
    --------
    >>> parse_values("8, 16, 32")
    [8, 16, 32]
    >>> parse_values("none, blocks")
    ['none', 'blocks']
    """
    found = toml_value(f"[{text}]")
    if isinstance(found, list):
        return list(found)
    return [toml_value(part.strip()) for part in text.split(",") if part.strip()]


def _problem(values: list[Any]) -> str:
    """Return why a list of values cannot be used; empty if it can, apart from the values themselves."""
    if not values:
        return "Give at least one value."
    texts = [format_value(value) for value in values]
    twice = next((text for number, text in enumerate(texts) if text in texts[:number]), "")
    return f"{twice} is there twice." if twice else ""


class SweepDraft(QObject):
    """The values of fields, checked against the experiment at each change.

    Parameters
    ----------
    ask
        Sends a request to the engine.
    document
        The experiment.
    folder
        The runs folder.

    Attributes
    ----------
    values
        The text of the values of each field, by dotted path.
    count
        Number of runs; 0 while it is not known.
    problems
        What is wrong, by the path of the field; the empty path has problems of the whole sweep.
    description
        What the runs will take; None until the engine has answered.
    error
        Why the engine did not answer; empty otherwise.
    """

    changed = Signal()

    def __init__(self, ask: Ask, document: dict[str, Any], folder: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._document, self._folder = document, folder
        self._text = ""
        self._inquiry = Inquiry(ask, "sweep", _DEBOUNCE, self._request, self._replied, self._failed, self)
        self.values: dict[str, str] = {}
        self.count = 0
        self.problems: dict[str, str] = {}
        self.description: SweepDescription | None = None
        self.error = ""
        self._check()

    @property
    def text(self) -> str:
        """The sweep as TOML text; empty while there are problems."""
        return self._text

    @property
    def seeds(self) -> int:
        """Seeds of each run, where the sweep does not vary them."""
        count = self._document.get("seeds", {}).get("count", 1)
        return count if isinstance(count, int) else 1

    def paths(self) -> list[str]:
        """Return the fields of the experiment that can be varied, in its order."""
        known = field_paths(self._document)
        tables = {path.rpartition(".")[0] for path in known}
        return [path for path in known if path not in tables and path not in {"name", "description"}]

    def set_values(self, path: str, text: str) -> None:
        """Set the values of a field, which is added if it is new."""
        self.values[path] = text
        self._check()

    def remove(self, path: str) -> None:
        """Do not vary a field any more."""
        self.values.pop(path, None)
        self._check()

    def set_seeds(self, count: int) -> None:
        """Give each run a number of seeds."""
        self._document = self._document | {"seeds": self._document.get("seeds", {}) | {"count": count}}
        self._check()

    def stop(self) -> None:
        """Ask no more."""
        self._inquiry.stop()

    def value_of(self, path: str) -> Any:
        """Return the experiment's value of a field."""
        value: Any = self._document
        for key in path.split("."):
            value = value[int(key)] if isinstance(value, (list, tuple)) else value.get(key, "")
        return value

    def _check(self) -> None:
        """Check each value by itself, which is quick; the engine checks the combinations."""
        self._text, self.count, self.problems, self.description = "", 0, {}, None
        grid = {path: parse_values(text) for path, text in self.values.items()}
        self.problems = {path: problem for path, values in grid.items() if (problem := _problem(values))}
        if not grid:
            self.problems = {"": "Add a field whose values you want to try."}
        elif not self.problems:
            try:
                config = SweepConfig.from_dict(self._document | {"sweep": {"grid": grid}})
            except ConfigError as error:
                self.problems = {"": "; ".join(map(str, error.problems))}
            else:
                self._check_values(config)
        self._inquiry.follow(self._text or None)
        self.changed.emit()

    def _check_values(self, config: SweepConfig) -> None:
        self.count, limit = config.sweep.count, config.sweep.limit
        if self.count > limit:
            self.problems = {"": f"{self.count:,} runs are more than {limit:,}: remove values."}
            return
        for path, values in config.sweep.grid.items():
            for value in values:
                try:
                    config.with_values({path: value})
                except ConfigError as error:
                    self.problems.setdefault(path, error.problems[0].message)
        if not self.problems:
            self._text = config.to_toml()

    def _request(self) -> EstimateSweep:
        return EstimateSweep(config=self._text, folder=self._folder)

    def _replied(self, reply: Reply) -> None:
        if isinstance(reply, SweepDescription):
            self.description, self.error = reply, ""
            self.changed.emit()

    def _failed(self, error: ErrorInfo) -> None:
        self.error = f"{error.title}: {error.cause}"
        self.changed.emit()

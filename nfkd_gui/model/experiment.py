"""The experiment in the form: its values, its problems, and the engine's description of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
from PySide6.QtCore import QObject, Signal

from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig, preset_names, preset_path
from nfkd.config.datasets import resolve_data_table
from nfkd.config.older import upgrade
from nfkd.config.toml import read_toml
from nfkd.files import is_regular
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Describe, Description, FlowDescription, Reply
from nfkd.protocol.roles import ASSISTANTS, Role
from nfkd_gui.link.mailbox import Ask
from nfkd_gui.model.inquiry import Inquiry

_DEBOUNCE = 250
"""Milliseconds without a change before the engine is asked."""


class Experiment(QObject):
    """The edited experiment, valid or not.

    Attributes
    ----------
    document
        The values as nested dictionaries, as the user entered them.
    config
        The validated configuration; None while there are validation errors.
    description
        The engine's description of exactly this configuration; None until it answers.
    error
        Why the engine could not describe it.
    path
        The file that it was read from or saved to.
    dirty
        Whether there are unsaved changes.
    """

    replaced = Signal()
    """Another document was opened: refill the form."""
    amended = Signal(str, object)
    """Several fields changed; carries a name for the change and the document. The form adds it to its undo stack."""
    extended = Signal(str, str, object)
    """Further fields change as part of the last change; carries the arguments of `extend`."""
    edited = Signal(str)
    """The user changed a field; carries its path, which is empty for undo and redo."""
    checked = Signal()
    """Problems, description or error changed."""
    file_changed = Signal()
    """Name, path or `dirty` changed."""

    def __init__(self, ask: Ask, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self._form_problems: list[ConfigProblem] = []
        self._notices: list[ConfigProblem] = []  # about fields of an older form, until the first edit
        self._saved: tuple[dict[str, Any], ExperimentConfig | None] | None = None
        self._known: tuple[ExperimentConfig, Description] | None = None
        self.document: dict[str, Any] = {}
        self.config: ExperimentConfig | None = None
        self.description: Description | None = None
        self.error: ErrorInfo | None = None
        self.path: Path | None = None
        self.dirty = False
        self._inquiry = Inquiry(ask, "describe", _DEBOUNCE, self._request, self._described, self._failed, self)

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.document.get("name", "")) or "untitled"

    @property
    def text(self) -> str:
        """The experiment as TOML text; empty while it is not valid."""
        return self._text

    @property
    def problems(self) -> list[ConfigProblem]:
        """Validation errors or, where there are none, the problems that the engine found."""
        if self.description is None:
            return self._form_problems
        return [ConfigProblem(problem.path, problem.message) for problem in self.description.problems]

    @property
    def subject(self) -> ExperimentConfig | None:
        """What the engine's answers depend on: the experiment without its name and description."""
        return None if self.config is None else self.config.model_copy(update={"name": "", "description": ""})

    @property
    def latest(self) -> Description | None:
        """The description or, while the engine is asked, that of the experiment before the last changes."""
        return self.description or (self._known[1] if self._known is not None else None)

    @property
    def is_checked(self) -> bool:
        """Whether the engine found no problems in exactly this experiment."""
        return self.config is not None and self.description is not None and not self.description.problems

    @property
    def may_run(self) -> bool:
        """Whether no problems are known: while the engine is asked, it found none before the last changes."""
        latest = self.latest
        return self.config is not None and self.error is None and latest is not None and not latest.problems

    def flows(self) -> list[FlowDescription]:
        """Return teacher, assistants and student as the engine described them last; empty if one of them is unknown."""
        return list(self.flows_by_role().values())

    def flows_by_role(self) -> dict[Role, FlowDescription]:
        """Return the same flows by role."""
        latest = self.latest
        if latest is None:
            return {}
        flows = [latest.teacher, *latest.assistants, latest.student]
        roles: list[Role] = ["teacher", *ASSISTANTS[: len(flows) - 2], "student"]
        pairs = zip(roles, flows, strict=True)
        known: dict[Role, FlowDescription] = {role: flow for role, flow in pairs if flow is not None}
        return known if len(known) == len(flows) else {}

    def edit(self, document: dict[str, Any], path: str = "") -> None:
        """Set the form's values after a change of the field at `path`, or after undo or redo."""
        if document == self.document:
            return
        self.document, self._notices = copy.deepcopy(document), []
        self.edited.emit(path)
        self._check()
        self._set_dirty(not self._is_saved())

    def amend(self, name: str, document: dict[str, Any]) -> None:
        """Change several fields at once, as one step for undo.

        Parameters
        ----------
        name
            What changes, such as ``teacher``.
        document
            All values, changed and unchanged.
        """
        self.amended.emit(name, document)
        self.edit(document, name)

    def extend(self, section: str, name: str, document: dict[str, Any]) -> None:
        """Change several fields as part of the last change, so that one undo takes both back.

        Parameters
        ----------
        section
            What the last change must have changed, such as ``data``; after another change, this is a step of its own.
        name
            The name of that step.
        document
            All values, changed and unchanged.
        """
        self.document = copy.deepcopy(document)
        self.extended.emit(section, name, document)
        self._check()
        self._set_dirty(not self._is_saved())

    def replace(self, document: dict[str, Any], path: Path | None = None, *, dirty: bool = False) -> None:
        """Open another experiment, given by its values."""
        self.document, self._notices = upgrade(copy.deepcopy(document))
        self.path = path
        self._known = None
        self._inquiry.follow(None)
        self.replaced.emit()
        self._check()
        self._saved = None if dirty else (self.document, self.config)
        self._set_dirty(dirty)

    def open(self, source: str | Path) -> None:
        """Read a file or a preset. Problems with its values are not raised: the form shows them.

        Raises
        ------
        ConfigError
            When the file cannot be read or is not TOML.
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
        self._saved = self.document, self.config
        self._set_dirty(False)

    def describe(self) -> None:
        """Ask the engine at once for a description."""
        if self.config is not None:
            self.clear_error()
        self._inquiry.send()

    def _request(self) -> Describe:
        return Describe(config=self._text)

    def _described(self, reply: Reply) -> None:
        subject = self.subject
        if subject is not None and isinstance(reply, Description):
            self._known, self.error = (subject, reply), None
            self._describe_from(reply)
            self.checked.emit()

    def _failed(self, error: ErrorInfo) -> None:
        self.error = error
        self.checked.emit()

    def _describe_from(self, reply: Description) -> None:
        self.description = msgspec.structs.replace(reply, warnings=[*self._notices, *reply.warnings])

    def clear_error(self) -> None:
        """Forget why the engine could not describe the experiment."""
        if self.error is not None:
            self.error = None
            self.checked.emit()

    def stop(self) -> None:
        """Send no more requests."""
        self._inquiry.stop()

    def _check(self) -> None:
        self.description = None
        try:
            self.config = ExperimentConfig.from_dict(self.document)
        except ConfigError as error:
            self.config, self._text, self._form_problems = None, "", error.problems
            self.error = None
            self._inquiry.follow(None)
        else:
            self._text, self._form_problems = self.config.to_toml(), []
            self._ask_if_new()
        self.checked.emit()

    def _ask_if_new(self) -> None:
        """Ask the engine after a pause, unless its answer is known or it is asked already."""
        subject = self.subject
        if self._known is not None and self._known[0] == subject:
            self._inquiry.follow(subject, known=True)
            self._describe_from(self._known[1])
        elif self._inquiry.subject != subject:
            self.error = None
            self._inquiry.follow(subject)

    def _is_saved(self) -> bool:
        """Return whether the experiment is the one that was opened or saved last; defaults may be left out in one."""
        if self._saved is None:
            return False
        document, config = self._saved
        return document == self.document or (config is not None and config == self.config)

    def _set_dirty(self, dirty: bool) -> None:
        self.dirty = dirty
        self.file_changed.emit()


def _with_whole_data(document: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return a file's values with its data as a table: the file may name a data set, or a path relative to itself."""
    if "data" not in document:
        return document
    try:
        return document | {"data": resolve_data_table(document["data"], file.absolute().parent)}
    except ValueError:
        return document  # the form shows why

"""The base class of everything in a form that holds values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from nfkd_gui.forms.fields import Field
from nfkd_gui.widgets.labels import WrappedLabel

Container = TypeVar("Container", dict[str, Any], list[Any])
Problems = dict[str, str]
"""Messages by the dotted path of the field."""
Leftovers = dict[str, Any]
"""Values of a document that no editor can show, by their dotted path; they are kept until the user removes them."""


class OnChanged(Protocol):
    """Called with the path of a field that the user changed."""

    def __call__(self, path: str, *, merges: bool = True, name: str = "") -> None:
        """Report a change; if `merges`, undo takes it back together with the previous change of the same field.

        `name` is the text of the step, such as ``Add SKD``; by default it names the field.
        """
        ...


class FormNode(ABC):
    """A part of the form that edits one part of the document: a value, a section or a list."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self._message: WrappedLabel | None = None

    @property
    def message(self) -> str:
        """The problem that is shown for this node itself."""
        return self._message.text() if self._message is not None else ""

    def _show_message(self, text: str, *, shown: bool) -> None:
        if self._message is not None:
            self._message.setText(text)
            self._message.setVisible(shown and bool(text))

    def nodes(self) -> Iterable[FormNode]:
        """Return the nodes inside this one that are in use."""
        return ()

    def expect(self, kind: type[Container], value: Any, leftovers: Leftovers) -> Container:
        """Return `value` if it is a `kind`; otherwise an empty `kind`, and put the value into `leftovers`."""
        if isinstance(value, kind):
            return value
        if value is not None:
            leftovers[self.field.path] = value
        return kind()

    @abstractmethod
    def value(self) -> Any:
        """Return the entered value, valid or not."""

    @abstractmethod
    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        """Show a value; what no editor can show goes into `leftovers`."""

    @abstractmethod
    def show_problems(self, problems: Problems) -> None:
        """Show the messages that belong here, and remove them from `problems`."""

    def has_problem(self, *, advanced: bool) -> bool:
        """Return whether a message is shown here; if `advanced`, count only those of advanced rows."""
        own = bool(self.message) and not advanced
        return own or any(node.has_problem(advanced=advanced) for node in self.nodes())

    def show_effects(self, document: dict[str, Any]) -> None:
        """Hide the fields that have no effect with these values of all fields."""
        for node in self.nodes():
            node.show_effects(document)

    def reveal(self, path: str) -> None:
        """Show the field at a path, whatever hides it; an advanced one also needs `set_shown`."""
        for node in self.nodes():
            node.reveal(path)

    @abstractmethod
    def set_shown(self, shown: bool, advanced: bool) -> None:
        """Show or hide this node; advanced rows are shown only if `advanced`."""

    def has_advanced(self) -> bool:
        """Return whether there are advanced rows."""
        return any(node.has_advanced() for node in self.nodes())

    def differs(self) -> bool:
        """Return whether any value differs from its default."""
        return any(node.differs() for node in self.nodes())

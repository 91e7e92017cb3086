"""What every piece of a form is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

from nfkd_gui.forms.fields import Field

Problems = dict[str, str]
"""Messages by the dotted path of the field."""
Leftovers = dict[str, Any]
"""Values of a file that no field takes, by their dotted path."""


class Changed(Protocol):
    """Told the path of a field that the user changed."""

    def __call__(self, path: str, *, merges: bool = True) -> None:
        """Take a change; `merges` says whether undo takes it back together with the one before in the same field."""
        ...


class FormNode(ABC):
    """A piece of the form, and of the document."""

    def __init__(self, field: Field) -> None:
        self.field = field

    @abstractmethod
    def value(self) -> Any:
        """Return what is written here."""

    @abstractmethod
    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        """Show a value; what has no place goes to the leftovers."""

    @abstractmethod
    def show_problems(self, problems: Problems) -> None:
        """Take the messages that belong here out of `problems` and show them."""

    @abstractmethod
    def has_problem(self, *, advanced: bool) -> bool:
        """Return whether a message is shown here (or, asked for `advanced`, in a row that may be folded away)."""

    @abstractmethod
    def set_shown(self, shown: bool, advanced: bool) -> None:
        """Show or hide; advanced rows only where asked."""

    @abstractmethod
    def has_advanced(self) -> bool:
        """Return whether there is anything to fold away."""

    @abstractmethod
    def differs(self) -> bool:
        """Return whether anything here is not as it is by default."""

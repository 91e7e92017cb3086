"""What can be wrong with a run on disk."""

from __future__ import annotations

from nfkd.protocol.events import ErrorInfo


class RunError(Exception):
    """A run that cannot be made, read, written or changed.

    Attributes
    ----------
    title, cause, action
        What happened, why, and what the user can do.
    """

    def __init__(self, title: str, cause: str, action: str = "") -> None:
        self.title, self.cause, self.action = title, cause, action
        super().__init__(f"{title}: {cause} {action}".rstrip())

    def info(self) -> ErrorInfo:
        """Return the same for the wire."""
        return ErrorInfo(title=self.title, cause=self.cause, action=self.action)

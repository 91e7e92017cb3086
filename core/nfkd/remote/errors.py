"""Errors of a connection to an engine on another machine."""

from __future__ import annotations

from nfkd.config.problems import ConfigProblem
from nfkd.protocol.records import ErrorInfo


class RemoteError(OSError):
    """The engine cannot be reached, or the connection to it was lost.

    Attributes
    ----------
    error
        What happened, why, and what to do.
    transient
        Whether another attempt may succeed; see `SshFailure`.
    """

    def __init__(self, error: ErrorInfo, *, transient: bool = False) -> None:
        self.error, self.transient = error, transient
        super().__init__(describe_info(error))


class RequestRefusedError(OSError):
    """The engine refused a request.

    Attributes
    ----------
    error
        The reason.
    problems
        What is wrong with the experiment, if anything.
    """

    def __init__(self, error: ErrorInfo, problems: list[ConfigProblem] | None = None) -> None:
        self.error, self.problems = error, problems or []
        super().__init__(describe_info(error))


def describe_info(error: ErrorInfo) -> str:
    """Return an error in sentences."""
    return f"{error.title}: {error.cause} {error.action}".rstrip()

"""Errors of a connection to an engine on another machine."""

from __future__ import annotations

from typing import TypeVar

from nfkd.config.problems import ConfigProblem
from nfkd.protocol.records import ErrorInfo
from nfkd.protocol.requests import Reply

SAME_VERSION = "Install the same version of NFKD there."
_Reply = TypeVar("_Reply")


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


def require_reply(kind: type[_Reply], reply: Reply) -> _Reply:
    """Return a reply of the expected kind.

    Raises
    ------
    RemoteError
        When it is of another kind.
    """
    if isinstance(reply, kind):
        return reply
    cause = f"It replied with {type(reply).__name__} where {kind.__name__} was expected."
    raise RemoteError(ErrorInfo(title="The engine sent something wrong", cause=cause, action=SAME_VERSION))


def describe_info(error: ErrorInfo) -> str:
    """Return an error in sentences."""
    return f"{error.title}: {error.cause} {error.action}".rstrip()

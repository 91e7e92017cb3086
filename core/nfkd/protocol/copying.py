"""Messages that copy the files of a run to the client's machine."""

from __future__ import annotations

import msgspec

from nfkd.protocol.records import Message, RunMessage

PART_BYTES = 1 << 18
"""Most bytes of a `FilePart`: on a slow line, events wait for it."""


class CopyRun(RunMessage, frozen=True):
    """Prepare the files of a run in a listed folder for a copy. Returns `RunFiles`.

    Of a run in training, the files are those of one moment; they are kept until `EndCopy`.

    Attributes
    ----------
    names
        The files that are wanted, by their path below the run's directory; all if none is named.
    """

    names: list[str] = msgspec.field(default_factory=list[str])


class RunFile(Message, frozen=True):
    """A file of a run.

    Attributes
    ----------
    path
        Below the run's directory, with ``/`` between its parts.
    size
        In bytes.
    sha256
        The hash of its content, in hexadecimal.
    """

    path: str
    size: int
    sha256: str


class RunFiles(RunMessage, frozen=True):
    """The files of a run. `ticket` names them in later requests; `active` says whether the run is in training."""

    ticket: str
    files: list[RunFile]
    active: bool = False


class ReadRunFile(Message, frozen=True):
    """Read a file of `RunFiles` from byte `start` on. Returns `FilePart`."""

    ticket: str
    path: str
    start: int


class FilePart(Message, frozen=True):
    """At most `PART_BYTES` of a file, none at its end."""

    start: int
    data: bytes


class EndCopy(Message, frozen=True):
    """Forget the files of this ticket. Returns `Done`."""

    ticket: str


CopyingRequest = CopyRun | ReadRunFile | EndCopy
CopyingReply = RunFiles | FilePart

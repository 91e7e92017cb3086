"""Messages about the queue of runs."""

from __future__ import annotations

import msgspec

from nfkd.protocol.records import Message


class QueueState(Message, frozen=True):
    """The runs that wait for the engine, in order.

    Attributes
    ----------
    runs
        Their directories.
    seconds
        Their expected times; NaN where they were not measured.
    paused
        Whether no further run starts after the active one.
    """

    runs: list[str] = msgspec.field(default_factory=list[str])
    seconds: list[float] = msgspec.field(default_factory=list[float])
    paused: bool = False


class QueueChanged(Message, frozen=True):
    """The queue changed: an event."""

    queue: QueueState


class OrderQueue(Message, frozen=True):
    """Put queued runs first, in this order; the others follow in theirs. Returns `Done`."""

    runs: list[str]


class PauseQueue(Message, frozen=True):
    """Start no further run after the active one, or start them again. Returns `Done`."""

    paused: bool

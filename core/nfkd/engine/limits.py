"""The engine's limits: what a client may send or leave unread, and how long a request may wait for files."""

from __future__ import annotations

from dataclasses import dataclass

_KIB, _MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Limits:
    """Limits of an engine; tests give smaller ones.

    Attributes
    ----------
    greeting_seconds, greeting_bytes
        Time in which a client must greet, and the largest frame until then.
    ungreeted
        Clients at once that have not greeted; the oldest is disconnected for the next.
    request_bytes
        Largest frame of a client that has greeted.
    calls
        Calls of one client without an answer, or whose answer it has not read. No more is read until one is.
    events, event_bytes
        Events that wait for one client, and their size. Beyond it they are left out and the client gets `Gap`.
    reply_bytes
        Replies that wait for one client. Beyond it the client is disconnected.
    unread_seconds
        Time after which a client that reads nothing of what was sent to it is disconnected.
    parting_seconds
        Time in which a client may read why it is disconnected.
    touch_seconds
        Time in which the first byte of a file must come.
    answer_seconds
        Time of a request that reads or changes small files.
    work_seconds
        Time of a request that loads data or weights; of a download, the time without progress.
    overtake_seconds
        Time after which a request no longer holds up those behind it.
    threads
        Threads of one kind of request, those that wait for files included. Beyond it requests are refused.
    stop_seconds
        Time in which the active run must stop when the engine ends.
    close_seconds
        Time in which other threads must end then.
    """

    greeting_seconds: float = 10.0
    greeting_bytes: int = 64 * _KIB
    ungreeted: int = 32
    request_bytes: int = 8 * _MIB
    calls: int = 64
    events: int = 2000
    event_bytes: int = 64 * _MIB
    reply_bytes: int = 512 * _MIB
    unread_seconds: float = 300.0
    parting_seconds: float = 2.0
    touch_seconds: float = 20.0
    answer_seconds: float = 60.0
    work_seconds: float = 1800.0
    overtake_seconds: float = 10.0
    threads: int = 16
    stop_seconds: float = 300.0
    close_seconds: float = 5.0

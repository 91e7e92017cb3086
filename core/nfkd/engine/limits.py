"""The engine's limits on clients, and its time limits for requests."""

from __future__ import annotations

from dataclasses import dataclass

_KIB, _MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Limits:
    """Limits of an engine; tests use smaller ones.

    Attributes
    ----------
    greeting_seconds, greeting_bytes
        Time for a client's greeting, and its largest frame before it.
    ungreeted
        Clients without a greeting at a time; the next one disconnects the oldest.
    request_bytes
        Largest frame of a client after its greeting.
    calls
        Calls of one client whose answers it has not read yet; at the limit, the engine stops reading from it.
    events, event_bytes
        Number and size of one client's queued events; beyond it they are dropped and the client gets `Gap`.
    reply_bytes
        Size of one client's queued replies; beyond it the client is disconnected.
    window_bytes
        Bytes that are sent ahead to a client that says what it has received; see `Received`.
    unread_seconds
        Time without reading anything after which a client is disconnected.
    disconnect_seconds
        Time for a client to read why it is disconnected.
    probe_seconds
        Time to read the first byte of a file.
    answer_seconds
        Time of a request that reads or changes small files.
    work_seconds
        Time of a request that loads data or weights; for a download, the time without progress.
    inspect_seconds
        Time to compute the answer to an interactive request.
    overtake_seconds
        Time after which a slow request lets the next one start.
    watch_seconds
        Time between two looks at a folder of runs, or at an open run, that other processes may change.
    threads
        Threads of one kind of request, including stuck ones; beyond it requests are refused.
    stop_seconds
        Time for the active run to stop when the engine ends.
    close_seconds
        Time for other threads to end when the engine ends.
    """

    greeting_seconds: float = 10.0
    greeting_bytes: int = 64 * _KIB
    ungreeted: int = 32
    request_bytes: int = 8 * _MIB
    calls: int = 64
    events: int = 2000
    event_bytes: int = 64 * _MIB
    reply_bytes: int = 512 * _MIB
    window_bytes: int = 64 * _KIB
    unread_seconds: float = 300.0
    disconnect_seconds: float = 2.0
    probe_seconds: float = 20.0
    answer_seconds: float = 60.0
    work_seconds: float = 1800.0
    inspect_seconds: float = 300.0
    overtake_seconds: float = 10.0
    watch_seconds: float = 1.0
    threads: int = 16
    stop_seconds: float = 300.0
    close_seconds: float = 5.0

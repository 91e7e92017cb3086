"""Messages about the queue of runs, and about sweeps: many runs of one experiment."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from nfkd.protocol.records import Message


class RayCluster(Message, frozen=True):
    """A Ray cluster that executes the runs of a sweep.

    Attributes
    ----------
    address
        ``local`` starts Ray on this machine, ``auto`` finds one that runs here, ``HOST:6379`` joins a cluster that this
        machine belongs to, and ``ray://HOST:10001`` connects from outside.
    cpus, gpus
        What each run gets; 0.5 GPUs let two runs share one.
    retries
        How often a run is started again after its worker died.
    local_cpus
        CPUs of a ``local`` cluster; 0 for all.
    """

    address: str = "auto"
    cpus: float = 1.0
    gpus: float = 0.0
    retries: int = 2
    local_cpus: int = 0


class SweepProgress(Message, frozen=True):
    """A sweep that the engine executes.

    Attributes
    ----------
    folder
        Its folder, which has its runs.
    runs
        Number of all its runs; of a search at most.
    ended, failed
        Runs that have ended, those that failed among them.
    """

    folder: str
    runs: int
    ended: int
    failed: int


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
    sweeps
        The sweeps, in order; their runs start when no other run waits.
    """

    runs: list[str] = msgspec.field(default_factory=list[str])
    seconds: list[float] = msgspec.field(default_factory=list[float])
    paused: bool = False
    sweeps: list[SweepProgress] = msgspec.field(default_factory=list[SweepProgress])


class QueueChanged(Message, frozen=True):
    """The queue changed: an event."""

    queue: QueueState


class OrderQueue(Message, frozen=True):
    """Put queued runs first, in this order; the others follow in theirs. Returns `Done`."""

    runs: list[str]


class PauseQueue(Message, frozen=True):
    """Start no further run after the active one, or start them again. Returns `Done`."""

    paused: bool


class EstimateSweep(Message, frozen=True):
    """Check a sweep, and measure what it will take. Returns `SweepDescription`."""

    config: str
    """The experiment with a section ``sweep``, as TOML text."""
    folder: str
    """The runs folder, in which its folder will be created."""


class SweepDescription(Message, frozen=True):
    """What a sweep will take.

    Attributes
    ----------
    runs, teachers
        Number of its runs (of a search at most), and of the different teachers that they train.
    seconds
        Expected time of all runs; NaN if it was not measured, as while a run is training.
    size, free
        Expected bytes on disk (NaN if not known), and free bytes there.
    names
        Names of the first runs.
    problems
        Runs that cannot start, by name, with the reason.
    ray
        Whether the engine's machine has Ray installed.
    """

    runs: int
    teachers: int
    seconds: float
    size: float
    free: int
    names: list[str]
    problems: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    ray: bool = False


class RunSweep(Message, frozen=True):
    """Execute a sweep in a new folder below `folder`, which gets the experiment's name. Returns `SweepAccepted`."""

    config: str
    folder: str
    cluster: RayCluster | None = None
    """Where; None for the engine's machine."""


class ContinueSweep(Message, frozen=True):
    """Continue a sweep where it was started; failed runs start again if `retry` is set. Returns `SweepAccepted`."""

    folder: str
    retry: bool = False


class StopSweep(Message, frozen=True):
    """Start no further run of a sweep, and stop the active ones with a checkpoint. Returns `Done`."""

    folder: str


class SweepAccepted(Message, frozen=True):
    """The folder of the accepted sweep."""

    folder: str


SweepRequest = EstimateSweep | RunSweep | ContinueSweep | StopSweep
SweepReply = SweepDescription | SweepAccepted


def public_address(address: str) -> str:
    """Return an address without user name, password and query.

    Examples
    --------
    >>> public_address("ray://me:secret@host:10001?token=1")
    'ray://host:10001'
    """
    if "//" not in address:
        return address.rpartition("@")[2].partition("?")[0]
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

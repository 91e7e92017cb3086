"""The records of runs in tables."""

from __future__ import annotations

from typing import Literal

import msgspec

from nfkd.protocol.records import Message

RunState = Literal["queued", "running", "paused", "finished", "failed", "interrupted", "stopped"]
_MAX_TIME = 253_402_300_800.0 - 86_400  # seconds: a day before the year 10000, in every time zone


def is_time(seconds: float) -> bool:
    """Return whether seconds since 1970 are a time that can be shown."""
    return 0 <= seconds < _MAX_TIME


_STARTERS = {"nfkd": "NFKD", "torchrun": "torchrun", "ray": "Ray"}


class StartRecord(Message, frozen=True):
    """How a run was started, if not by NFKD in one process of its machine.

    Attributes
    ----------
    how
        The program that started the run.
    world_size
        Processes that train the run together.
    backend
        How they exchange gradients: ``nccl`` or ``gloo``; empty for one process.
    machines
        Names of their machines, without repetition, that of rank 0 first.
    address
        Of the Ray cluster, without user names, passwords and queries.
    cpus, gpus
        What Ray gives the run; 0.5 is half a GPU.
    attempt
        1 for the first start; Ray starts a run again if its worker died.
    """

    how: Literal["nfkd", "torchrun", "ray"]
    world_size: int = 1
    backend: str = ""
    machines: list[str] = msgspec.field(default_factory=list[str])
    address: str = ""
    cpus: float = 0.0
    gpus: float = 0.0
    attempt: int = 1

    def describe(self) -> str:
        """Return the record as a phrase.

        Examples
        --------
        >>> StartRecord(how="ray", machines=["box"], address="auto", cpus=2, gpus=0.5, attempt=2).describe()
        '1 process on box, started by Ray at auto (2 CPU, 0.5 GPU), attempt 2'
        """
        processes = "1 process" if self.world_size == 1 else f"{self.world_size} processes"
        backend = f" ({self.backend})" if self.backend else ""
        where = f" on {', '.join(self.machines)}" if self.machines else ""
        by = f"started by {_STARTERS[self.how]}"
        if self.how == "ray":
            by += f" at {self.address} ({self.cpus:g} CPU, {self.gpus:g} GPU)"
        again = f", attempt {self.attempt}" if self.attempt > 1 else ""
        return f"{processes}{backend}{where}, {by}{again}"


class RunRow(Message, frozen=True):
    """A run in the table of runs.

    Attributes
    ----------
    run
        Its absolute directory on the engine's machine.
    teacher
        A label of the teacher and the assistants.
    created
        Seconds since 1970.
    progress
        Fraction that is done, 0 to 1.
    device
        Such as ``cpu`` or ``cuda:0``.
    student_test, baseline_test
        Means over the finished seeds; None before.
    cause
        Why it failed or was interrupted.
    gap_closed
        Share of the gap between baseline and teacher that the student closes; None where it is not defined.
    seconds
        Time of all finished stages.
    digest
        `ExperimentConfig.digest` of its experiment; empty for runs of earlier versions.
    loss
        A label of the loss, such as ``NLL 0.9 + LKD 0.05``; empty for runs of earlier versions.
    start
        How it was started last; None for one process that NFKD started on its machine.
    elsewhere
        Whether another process than the reader of this row trains the run, or will train it. It is not stored.
    tags, note
        The user's labels of the run. They have their own file.
    """

    run: str
    name: str
    state: RunState
    data: str
    teacher: str
    student: str
    created: float
    seeds: int
    seeds_done: int
    progress: float
    device: str = ""
    teacher_test: float | None = None
    student_test: float | None = None
    baseline_test: float | None = None
    unit: str = ""
    verdict: str = ""
    cause: str = ""
    gap_closed: float | None = None
    seconds: float = 0.0
    digest: str = ""
    loss: str = ""
    start: StartRecord | None = None
    elsewhere: bool = False
    tags: list[str] = msgspec.field(default_factory=list[str])
    note: str = ""

    def __post_init__(self) -> None:
        if not is_time(self.created):
            msg = "`created` is no time"
            raise ValueError(msg)

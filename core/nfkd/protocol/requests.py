"""Requests of a client, the engine's replies, and the envelopes both travel in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from nfkd.config.problems import ConfigProblem
from nfkd.protocol.data import CancelFetch, DataList, DataPreview, FetchData, ListData, PreviewData
from nfkd.protocol.events import (
    CurveBatch,
    DensityDrawn,
    ErrorInfo,
    Event,
    InterpolationDrawn,
    LayerPair,
    LogLine,
    Message,
    Progress,
    Role,
    RunRow,
    SamplesDrawn,
    SeedStarted,
    StageSummary,
    Verdict,
)

InterpolationMode = Literal["linear", "spherical", "norm_corrected"]


class Describe(Message, frozen=True):
    """What would this experiment be? Answered by `Description`."""

    config: str
    """The experiment as TOML text."""


class Run(Message, frozen=True):
    """Start or queue an experiment in a new directory under `folder`. Answered by `RunAccepted`."""

    config: str
    folder: str


class ResumeFromDisk(Message, frozen=True):
    """Go on with an interrupted, stopped or failed run from its checkpoint. Answered by `RunAccepted`."""

    run: str


class Pause(Message, frozen=True):
    """Hold the active run at its next step. Answered by `Done`."""

    run: str


class Resume(Message, frozen=True):
    """Let a paused run go on. Answered by `Done`."""

    run: str


class Stop(Message, frozen=True):
    """End this stage and go on with the next, or end the run; the best weights are kept. Answered by `Done`."""

    run: str
    scope: Literal["stage", "run"]


class ListRuns(Message, frozen=True):
    """The runs in a folder. Answered by `RunList`."""

    folder: str


class OpenRun(Message, frozen=True):
    """Everything about a run, living or ended. Answered by `Snapshot`; deltas follow as events."""

    run: str


class RenameRun(Message, frozen=True):
    """Give a run (not a living one) another name. Answered by `RunAccepted` with the new directory."""

    run: str
    name: str


class DeleteRun(Message, frozen=True):
    """Move a run (not a living one) to the trash. Answered by `Done`."""

    run: str


class Sample(Message, frozen=True):
    """Samples of every flow that the run has so far, from the same latents. Answered by `Samples`."""

    run: str
    seed: int
    count: int
    temperature: float
    noise_seed: int = 0


class Interpolate(Message, frozen=True):
    """Paths between two validation images, by every flow of the run so far. Answered by `Interpolations`."""

    run: str
    seed: int
    first: int
    """Index of the first image in the validation part."""
    second: int
    mode: InterpolationMode
    steps: int


class Trace(Message, frozen=True):
    """One validation example through a flow, layer by layer. Answered by `TraceResult`."""

    run: str
    seed: int
    stage: Role
    index: int


class Status(Message, frozen=True):
    """How is the engine? Answered by `EngineStatus`."""


class Shutdown(Message, frozen=True):
    """End the engine; an active run is stopped first and keeps its checkpoint. Answered by `Done`."""


Request = (
    Describe
    | Run
    | ResumeFromDisk
    | Pause
    | Resume
    | Stop
    | ListRuns
    | OpenRun
    | RenameRun
    | DeleteRun
    | Sample
    | Interpolate
    | Trace
    | PreviewData
    | FetchData
    | CancelFetch
    | ListData
    | Status
    | Shutdown
)


class LayerInfo(Message, frozen=True):
    """A layer of a flow: what it is and what comes out of it."""

    name: str
    """Such as ``level1.step2``; the key of `trace`."""
    label: str
    """Such as ``level 1 step 2``."""
    kind: str
    shape: list[int]
    parameters: int


def pairable(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Return the layers that a pair of a matching may name: the steps, and the last layer, whatever it is."""
    return [layer for layer in layers if layer.kind == "step" or layer is layers[-1]]


class FlowDescription(Message, frozen=True):
    """A flow's size. `memory` is an estimate of the bytes that a training step holds at its peak."""

    summary: str
    """Such as ``Glow 8×2``."""
    parameters: int
    multiply_adds: int
    memory: int
    layers: list[LayerInfo]


class Description(Message, frozen=True):
    """What an experiment would be; it may run when `problems` is empty.

    A flow is None when it could not be built.
    """

    problems: list[ConfigProblem]
    warnings: list[ConfigProblem]
    data: str
    """Such as ``digits: 1,259 train, 269 validation, 269 test, 1×8×8``."""
    event_shape: list[int]
    teacher: FlowDescription | None
    student: FlowDescription | None
    pairs: list[LayerPair]
    device: str
    memory_available: int
    strategy: str = ""
    """By which `pairs` were made; where *auto* was asked for, what it chose."""
    assistants: list[FlowDescription | None] = msgspec.field(default_factory=list[FlowDescription | None])
    """The flows between teacher and student, in order."""
    assistant_pairs: list[list[LayerPair]] = msgspec.field(default_factory=list[list[LayerPair]])
    """Of each assistant, its layers and those of the flow that it learns from; `pairs` are the student's."""

    @property
    def faced(self) -> FlowDescription | None:
        """The flow that the student learns from: the last assistant, or the teacher."""
        return self.assistants[-1] if self.assistants else self.teacher


class RunAccepted(Message, frozen=True):
    """The directory of the run."""

    run: str


class Done(Message, frozen=True):
    """It was done."""

    note: str = ""
    """What else there is to know, such as the files that were left in a deleted run's directory."""


class RunList(Message, frozen=True):
    """The runs of a folder, newest first. `unreadable` names directories whose state could not be read, and why."""

    folder: str
    rows: list[RunRow]
    unreadable: list[str] = msgspec.field(default_factory=list[str])


class StageSnapshot(Message, frozen=True):
    """What is known of one stage of one seed."""

    seed: int
    stage: Role
    curves: dict[str, CurveBatch]
    matching_steps: np.ndarray
    """(rows,) int64."""
    matching_errors: np.ndarray
    """(rows, pairs) float64."""
    samples: SamplesDrawn | None = None
    interpolation: InterpolationDrawn | None = None
    density: DensityDrawn | None = None
    summary: StageSummary | None = None


class Snapshot(Message, frozen=True):
    """A whole run at one moment; the events that follow continue it."""

    row: RunRow
    config: str
    seeds: list[SeedStarted]
    stages: list[StageSnapshot]
    log: list[LogLine]
    progress: Progress | None = None
    verdict: Verdict | None = None
    error: ErrorInfo | None = None
    current: tuple[int, Role] | None = None
    """The seed and stage that began last; None when it is the last of `stages`."""


class Samples(Message, frozen=True):
    """Samples by flow; each (count, channels, height, width) in [0, 1], or (count, features).

    `real` are validation examples for comparison. `densities` has log p on a grid for data of two features.
    """

    run: str
    seed: int
    temperature: float
    samples: dict[str, np.ndarray]
    real: np.ndarray
    densities: dict[str, DensityDrawn]


class Interpolations(Message, frozen=True):
    """Paths by flow, each (steps, channels, height, width) in [0, 1] (or (steps, features)).

    `count` is the number of validation examples that may be chosen; `thumbnails` holds the first of them.
    """

    run: str
    seed: int
    mode: InterpolationMode
    alpha: np.ndarray
    paths: dict[str, np.ndarray]
    count: int
    thumbnails: np.ndarray


class TracedLayer(Message, frozen=True):
    """After one layer: the tensor, flattened, with its shape, and the log-determinant so far in nats."""

    name: str
    label: str
    value: np.ndarray
    log_det: float


class TraceResult(Message, frozen=True):
    """An example through a flow: the example itself, then every layer in order."""

    run: str
    stage: Role
    example: np.ndarray
    layers: list[TracedLayer]
    log_prob: float


class EngineStatus(Message, frozen=True):
    """The engine, in figures."""

    version: str
    torch: str
    device: str
    device_name: str
    threads: int
    pid: int
    clients: int
    active: str
    """The run that is training; empty when none is."""
    queue: list[str]


Reply = (
    Description
    | RunAccepted
    | Done
    | RunList
    | Snapshot
    | Samples
    | Interpolations
    | TraceResult
    | DataPreview
    | DataList
    | EngineStatus
)


class Hello(Message, frozen=True):
    """The first frame of each side."""

    protocol: int
    version: str


class Call(Message, frozen=True):
    """A request, numbered by the client."""

    id: int
    request: Request


class Answer(Message, frozen=True):
    """The reply to the request of that number."""

    id: int
    reply: Reply


class Refusal(Message, frozen=True):
    """The request of that number failed; `problems` says where, when it was the experiment's problem."""

    id: int
    error: ErrorInfo
    problems: list[ConfigProblem] = msgspec.field(default_factory=list[ConfigProblem])


class Notice(Message, frozen=True):
    """An event."""

    event: Event


FromClient = Hello | Call
FromEngine = Hello | Answer | Refusal | Notice

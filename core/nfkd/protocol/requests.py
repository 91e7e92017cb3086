"""Requests of a client, replies of the engine, and the envelopes of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from nfkd.config.problems import ConfigProblem
from nfkd.protocol.comparing import ComparingReply, ComparingRequest
from nfkd.protocol.copying import CopyingReply, CopyingRequest
from nfkd.protocol.data import CancelFetch, CancelReading, DataList, DataPreview, FetchData, ListData, PreviewData
from nfkd.protocol.events import DensityDrawn, Event, InterpolationDrawn, LogLine, Progress, SamplesDrawn, SeedStarted
from nfkd.protocol.inspection import InspectionReply, InspectionRequest, Origin, SampleOptions
from nfkd.protocol.lab import LabReply, LabRequest
from nfkd.protocol.pictures import (
    ListPictures,
    PictureList,
    ReadPictures,
    ReadSampleSeries,
    SampleSeries,
    StagePictures,
)
from nfkd.protocol.queue import OrderQueue, PauseQueue, QueueState, SweepReply, SweepRequest
from nfkd.protocol.records import CurveBatch, ErrorInfo, LayerPair, Message, RunMessage, StageSummary, Verdict
from nfkd.protocol.roles import Role
from nfkd.protocol.run_rows import RunRow
from nfkd.protocol.times import EstimateTime, TimeEstimate

InterpolationMode = Literal["linear", "spherical", "norm_corrected"]


class Describe(Message, frozen=True):
    """Check an experiment and estimate its cost. Returns `Description`."""

    config: str
    """The experiment as TOML text."""


class Run(Message, frozen=True):
    """Start or queue an experiment in a new directory under `folder`. Returns `RunAccepted`."""

    config: str
    folder: str


class ResumeFromDisk(RunMessage, frozen=True):
    """Resume an interrupted, stopped or failed run from its checkpoint. Returns `RunAccepted`."""


class Pause(RunMessage, frozen=True):
    """Pause the active run at its next step. Returns `Done`."""


class Resume(RunMessage, frozen=True):
    """Continue a paused run. Returns `Done`."""


class Stop(RunMessage, frozen=True):
    """Stop the current stage or the whole run; the best weights are kept. Returns `Done`."""

    scope: Literal["stage", "run"]


class ListRuns(Message, frozen=True):
    """List the runs in a folder. Returns `RunList`; later changes by other processes come as events."""

    folder: str


class OpenRun(RunMessage, frozen=True):
    """Return all of a run, active or not, as a `Snapshot`; later changes come as events."""


class ReadFigures(RunMessage, frozen=True):
    """Return a run's settings, figures and log as a `Snapshot` without curves and pictures; no events follow."""


class RenameRun(RunMessage, frozen=True):
    """Rename a run that is neither active nor queued. Returns `RunAccepted` with the new directory."""

    name: str


class Sample(RunMessage, frozen=True):
    """Sample every flow that the run has so far, from the same latents. Returns `Samples`."""

    seed: int
    count: int
    temperature: float
    noise_seed: int | None = None
    """None for the noise of the run's own pictures; the `count` must then be theirs."""
    log_prob: bool = False
    """Whether log p of each sample is wanted, which takes one more pass."""
    options: SampleOptions = msgspec.field(default_factory=SampleOptions)


class Interpolate(RunMessage, frozen=True):
    """Interpolate between two examples with every flow of the run so far. Returns `Interpolations`."""

    seed: int
    first: Origin
    second: Origin
    mode: InterpolationMode
    steps: int
    log_prob: bool = False
    """Whether log p of each frame is wanted."""


class Status(Message, frozen=True):
    """Return `EngineStatus`."""


class Shutdown(Message, frozen=True):
    """End the engine; an active run is stopped and keeps its checkpoint. Returns `Done`."""


Request = (
    Describe
    | EstimateTime
    | Run
    | ResumeFromDisk
    | Pause
    | Resume
    | Stop
    | OrderQueue
    | PauseQueue
    | SweepRequest
    | ListRuns
    | OpenRun
    | ReadFigures
    | RenameRun
    | Sample
    | Interpolate
    | ComparingRequest
    | CopyingRequest
    | InspectionRequest
    | LabRequest
    | ListPictures
    | ReadPictures
    | ReadSampleSeries
    | PreviewData
    | FetchData
    | CancelFetch
    | CancelReading
    | ListData
    | Status
    | Shutdown
)


class LayerInfo(Message, frozen=True):
    """A layer of a flow; `shape` is that of its output."""

    name: str
    """Such as ``level1.step2``; the key of `trace`."""
    label: str
    """Such as ``level 1 step 2``."""
    kind: str
    shape: list[int]
    parameters: int


def pairable(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Return the layers that a matched pair may name: the steps and the last layer."""
    return [layer for layer in layers if layer.kind == "step" or layer is layers[-1]]


class FlowDescription(Message, frozen=True):
    """A flow's size. `memory` is the estimated peak of a training step in bytes."""

    summary: str
    """Such as ``Glow 8×2``."""
    parameters: int
    multiply_adds: int
    memory: int
    layers: list[LayerInfo]


class Description(Message, frozen=True):
    """The check of an experiment: it can run when `problems` is empty. A flow that cannot be built is None."""

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
    """The matching strategy behind `pairs`; for *auto*, the chosen one."""
    assistants: list[FlowDescription | None] = msgspec.field(default_factory=list[FlowDescription | None])
    """The flows between teacher and student, in order."""
    assistant_pairs: list[list[LayerPair]] = msgspec.field(default_factory=list[list[LayerPair]])
    """The matched pairs of each assistant; `pairs` are the student's."""
    fixed_rows: int = 0
    """Rows of which all batches of the student consist; zero if their noise is drawn anew at every step."""

    @property
    def student_teacher(self) -> FlowDescription | None:
        """The flow that the student learns from: the last assistant, or the teacher."""
        return self.assistants[-1] if self.assistants else self.teacher


class RunAccepted(RunMessage, frozen=True):
    """The directory of the accepted run."""


class Done(Message, frozen=True):
    """The request succeeded."""


class RunList(Message, frozen=True):
    """The runs of a folder, newest first. `unreadable` lists directories without a readable state, with the reason."""

    folder: str
    rows: list[RunRow]
    unreadable: list[str] = msgspec.field(default_factory=list[str])


class StageSnapshot(Message, frozen=True):
    """The state of one stage of one seed."""

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
    """The state of a whole run; later events continue it."""

    row: RunRow
    config: str
    seeds: list[SeedStarted]
    stages: list[StageSnapshot]
    log: list[LogLine]
    progress: Progress | None = None
    verdict: Verdict | None = None
    error: ErrorInfo | None = None
    current: tuple[int, Role] | None = None
    """The seed and stage that started last; None for the last of `stages`."""
    stride: int = 1
    """Of the longest curves, one of so many points is in the snapshot (`nfkd.protocol.thinning`)."""


class Samples(RunMessage, frozen=True):
    """Samples of each flow: (count, channels, height, width) in [0, 1], or (count, features).

    `real` holds validation examples for comparison, `densities` log p on a grid for data of two features. `flags` says
    for each flow which samples are not finite or far outside the range of the data, (count,) as in `SamplesDrawn`.
    `log_prob` is log p of each sample under its own flow, (count,) nats, if it was requested; NaN for a sample that is
    not finite. `noise` is (count, 2), the noise of all flows, if they have two latents; `noise_seed` is the request's.
    `guided` names the flows that were guided, `iterated` those whose samples are from Jacobi iteration.
    """

    seed: int
    temperature: float
    samples: dict[str, np.ndarray]
    real: np.ndarray
    densities: dict[str, DensityDrawn]
    flags: dict[str, np.ndarray] = msgspec.field(default_factory=dict[str, np.ndarray])
    log_prob: dict[str, np.ndarray] = msgspec.field(default_factory=dict[str, np.ndarray])
    noise: np.ndarray | None = None
    noise_seed: int | None = None
    options: SampleOptions = msgspec.field(default_factory=SampleOptions)
    guided: list[str] = msgspec.field(default_factory=list[str])
    iterated: list[str] = msgspec.field(default_factory=list[str])


class Interpolations(RunMessage, frozen=True):
    """The path of each flow: (steps, channels, height, width) in [0, 1], or (steps, features).

    `count` is the number of validation examples to choose from. `flags` is (steps,) for each flow, as in `Samples`, and
    so is `log_prob`, of flows without context. `ends` are both ends as pictures or rows; those of the student where
    each flow has its own.
    """

    seed: int
    mode: InterpolationMode
    alpha: np.ndarray
    paths: dict[str, np.ndarray]
    count: int
    flags: dict[str, np.ndarray] = msgspec.field(default_factory=dict[str, np.ndarray])
    log_prob: dict[str, np.ndarray] = msgspec.field(default_factory=dict[str, np.ndarray])
    ends: list[np.ndarray] = msgspec.field(default_factory=list[np.ndarray])


class EngineStatus(Message, frozen=True):
    """The engine's versions, device, clients and runs."""

    version: str
    torch: str
    device: str
    device_name: str
    threads: int
    pid: int
    clients: int
    active: str
    """The run in training; empty when there is none."""
    queue: QueueState
    machine: str = ""
    """The name of the engine's machine in its network."""


Reply = (
    Description
    | TimeEstimate
    | RunAccepted
    | Done
    | RunList
    | Snapshot
    | Samples
    | Interpolations
    | ComparingReply
    | CopyingReply
    | SweepReply
    | InspectionReply
    | LabReply
    | PictureList
    | StagePictures
    | SampleSeries
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
    """The reply to the call with this number."""

    id: int
    reply: Reply


class Refusal(Message, frozen=True):
    """The call with this number failed; `problems` lists what is wrong with the experiment, if anything."""

    id: int
    error: ErrorInfo
    problems: list[ConfigProblem] = msgspec.field(default_factory=list[ConfigProblem])


class Notice(Message, frozen=True):
    """An event."""

    event: Event


class Received(Message, frozen=True):
    """Bytes of the engine's stream that a client has received so far, for a client on a slow line.

    After the first one, the engine sends no more than `Limits.window_bytes` ahead. Pictures that wait meanwhile are
    replaced by newer ones, instead of growing old in the buffers of ssh.
    """

    total: int


FromClient = Hello | Call | Received
FromEngine = Hello | Answer | Refusal | Notice

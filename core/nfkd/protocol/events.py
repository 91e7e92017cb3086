"""Events: what the engine tells without being asked. Typed, closed, and made of plain values and NumPy arrays.

Every event of a run names the run (the directory on the engine's machine). `Event` is the closed union of all.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np

from nfkd.protocol.roles import Role

RunState = Literal["queued", "running", "paused", "finished", "failed", "interrupted", "stopped"]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, eq=False):
    """The base of everything that crosses the wire; its tag is the class's name."""


class ErrorInfo(Message, frozen=True):
    """What went wrong, in a person's words.

    Attributes
    ----------
    title, cause, action
        What happened, why, and what the user can do: one sentence each.
    traceback
        For the folded-away part of the dialog; may be empty.
    """

    title: str
    cause: str
    action: str = ""
    traceback: str = ""


class CurveInfo(Message, frozen=True):
    """A curve that a stage will have, declared before its first point.

    Attributes
    ----------
    name
        Such as ``train/total``, ``train/ilkd``, ``validation/nll``, ``learning_rate``.
    label, unit
        For axes and legends, such as ``NLL`` and ``bits/dim``.
    """

    name: str
    label: str
    unit: str = ""


class LayerPair(Message, frozen=True):
    """Two layers that are compared, the comparison as one line, and how much it counts beside the others.

    `student` is a layer of the flow that learns, an assistant too, and `teacher` one of the flow that it learns from.
    """

    student: str
    teacher: str
    summary: str
    weight: float = 1.0
    """Zero: the pair is measured, and no term of the loss reads it."""


class StagePlan(Message, frozen=True):
    """What a stage will do and record, known before it begins."""

    stage: Role
    steps: int
    curves: list[CurveInfo]
    pairs: list[LayerPair] = []
    """The matched layers; empty but for flows that learn from another."""


class StageSummary(Message, frozen=True):
    """A stage's figures after its end, of the weights that were best on validation.

    Attributes
    ----------
    parameters
        Number of trained numbers.
    multiply_adds
        Multiply-adds of one log_prob of one example.
    steps, best_step
        Steps made, and the step whose weights were kept.
    validation, test
        Mean negative log-likelihood in `unit`.
    test_error
        Half width of the 95 % bootstrap interval over test examples.
    samples_per_second
        Throughput of `sample` on the run's device.
    seconds
        Wall time of the stage.
    c2st
        Classifier two-sample test: the area under the curve of a classifier that tells samples (temperature 1) from
        test examples; 0.5 where it cannot.
    """

    stage: Role
    seed: int
    parameters: int
    multiply_adds: int
    steps: int
    best_step: int
    validation: float
    test: float
    test_error: float
    unit: str
    samples_per_second: float
    seconds: float
    c2st: float = math.nan


class MetricInterval(Message, frozen=True):
    """A metric that no verdict is about: how student and baseline differ in it, over the seeds that have it.

    Attributes
    ----------
    metric, unit
        Its name and unit.
    difference
        Mean gain of the student over its baseline: positive where the student is better.
    low, high
        The 95 % Student-t interval of the gain; NaN below two seeds.
    seeds
        The seeds that were compared.
    summary
        All of this in a few words, and no verdict.
    """

    metric: str
    unit: str
    difference: float
    low: float
    high: float
    seeds: list[int]
    summary: str = msgspec.field(name="words")


class Verdict(Message, frozen=True):
    """Did distillation help? A paired comparison of student and baseline over the seeds.

    Attributes
    ----------
    verdict
        *better*, *worse* or *inconclusive* (always the last below three seeds).
    metric, unit
        The one primary metric, named beforehand.
    difference
        Mean gain of the student over its baseline: positive where the student is better.
    low, high
        The 95 % Student-t interval of the gain; NaN below two seeds.
    seeds
        The seeds that were compared.
    differences
        The gain of each seed.
    summary
        One sentence that says all of this, the shared or retrained teacher too.
    others
        What was measured besides; a run makes one claim, and these make none.
    """

    verdict: Literal["better", "worse", "inconclusive"]
    metric: str
    unit: str
    difference: float
    low: float
    high: float
    seeds: list[int]
    differences: list[float]
    summary: str = msgspec.field(name="words")
    others: list[MetricInterval] = []


class RunRow(Message, frozen=True):
    """A run in the table of runs.

    Attributes
    ----------
    run
        The directory, absolute, on the engine's machine.
    teacher
        In words, its assistants, too.
    created
        Seconds since 1970.
    progress
        Part that is done, 0 to 1.
    device
        Such as ``cpu`` or ``cuda:0``.
    student_test, baseline_test
        Means over the seeds that have ended; None before.
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
    """Why it failed or was interrupted."""


class RunChanged(Message, frozen=True):
    """A run was queued, began, paused, went on, ended, or its row changed."""

    run: str
    row: RunRow


class RunRemoved(Message, frozen=True):
    """A run was renamed (`new` is its directory now) or moved to the trash (`new` is empty)."""

    run: str
    new: str = ""


class SeedStarted(Message, frozen=True):
    """A seed begins: everything that it will record."""

    run: str
    seed: int
    stages: list[StagePlan]
    event_shape: list[int]
    """Shape of one example: (channels, height, width), or (features,)."""
    columns: list[str] = []
    """Names of a vector's features, with *(scaled)* where samples are not in their own unit; may be empty."""
    resumed: bool = False


class StageStarted(Message, frozen=True):
    """A stage begins, or goes on from `step` after a resume."""

    run: str
    seed: int
    stage: Role
    step: int = 0


class CurvePoints(Message, frozen=True):
    """New points of one stage's curves; never dropped.

    `curves` holds a batch by each curve's name.
    """

    run: str
    seed: int
    stage: Role
    curves: dict[str, CurveBatch]


class CurveBatch(Message, frozen=True):
    """Points of one curve: three arrays of the same length.

    `steps` is int64, `values` is float64, `times` is float64 in seconds since the stage began.
    """

    steps: np.ndarray
    values: np.ndarray
    times: np.ndarray


class Progress(Message, frozen=True):
    """Where the run stands; may be coalesced to the newest."""

    run: str
    seed: int
    stage: Role
    step: int
    steps: int
    steps_per_second: float
    seconds_left: float
    """Of the whole run; NaN while it cannot be told."""
    fraction: float
    """Part of the whole run that is done, 0 to 1."""


class SamplesDrawn(Message, frozen=True):
    """Samples of a stage's flow from the run's fixed noise; may be coalesced.

    `samples` is (count, channels, height, width) in [0, 1], or (count, features). `final` is as in `picture_label`.
    """

    run: str
    seed: int
    stage: Role
    step: int
    temperature: float
    samples: np.ndarray
    final: bool = False


class InterpolationDrawn(Message, frozen=True):
    """A path between two fixed validation images through the latents of the stage's flow; may be coalesced.

    `alpha` is (steps,) from 0 to 1; `images` is (pairs, steps, channels, height, width) in [0, 1]. `final` is as in
    `picture_label`.
    """

    run: str
    seed: int
    stage: Role
    step: int
    mode: str
    alpha: np.ndarray
    images: np.ndarray
    final: bool = False


class DensityDrawn(Message, frozen=True):
    """log p of a stage's flow on a grid of the plane, for data of two features; may be coalesced.

    `log_prob` is (rows, columns) in nats, rows from low to high y; `extent` is (x0, x1, y0, y1). `final` is as in
    `picture_label`.
    """

    run: str
    seed: int
    stage: Role
    step: int
    extent: tuple[float, float, float, float]
    log_prob: np.ndarray
    final: bool = False


Picture = SamplesDrawn | InterpolationDrawn | DensityDrawn


def picture_label(picture: Picture) -> str:
    """Return which weights a picture shows: those after a training step, or the final ones with their step.

    A stage keeps the weights of its best validation step. The last pictures of a stage are drawn with these and have
    `final` set; their step is not later than that of the pictures before.
    """
    return f"final weights (step {picture.step:,})" if picture.final else f"step {picture.step:,}"


class MatchingMeasured(Message, frozen=True):
    """Mean squared error of each matched pair of layers on fixed validation data; may be coalesced.

    `error` is (pairs,), in the order of the stage plan's pairs.
    """

    run: str
    seed: int
    stage: Role
    step: int
    error: np.ndarray


class StageFinished(Message, frozen=True):
    """A stage has ended and its best weights are on disk."""

    run: str
    seed: int
    stage: Role
    summary: StageSummary


class LogLine(Message, frozen=True):
    """A line for the log; run is empty when it is the engine's own."""

    run: str
    level: Literal["info", "warning", "error"]
    text: str
    time: float


class RunFinished(Message, frozen=True):
    """The run ended in order (``finished``), or by the user's Stop (``stopped``)."""

    run: str
    state: Literal["finished", "stopped"]
    verdict: Verdict | None = None


class RunFailed(Message, frozen=True):
    """The run ended by an error; what was written stays readable."""

    run: str
    error: ErrorInfo


class DataProgress(Message, frozen=True):
    """How far the download of a data set is; may be coalesced to the newest.

    Attributes
    ----------
    data
        The kind, such as ``mnist``.
    file
        The file that comes now.
    done, total
        Bytes of all files that have come, and that will; the latter is 0 where it is not known.
    """

    data: str
    file: str
    done: int
    total: int


class Gap(Message, frozen=True):
    """The client was too slow and events were left out: ask for a snapshot."""


RunEvent = (
    RunChanged
    | RunRemoved
    | SeedStarted
    | StageStarted
    | CurvePoints
    | Progress
    | SamplesDrawn
    | InterpolationDrawn
    | DensityDrawn
    | MatchingMeasured
    | StageFinished
    | LogLine
    | RunFinished
    | RunFailed
)
Event = RunEvent | DataProgress | Gap
COALESCED = (Progress, SamplesDrawn, InterpolationDrawn, DensityDrawn, MatchingMeasured, DataProgress)
"""Events of which a slow client needs only the newest (of each run, seed and stage, or of each data set)."""

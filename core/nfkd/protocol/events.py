"""Events: messages that the engine sends without a request. `Event` is the closed union of all."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from nfkd.protocol.queue import QueueChanged
from nfkd.protocol.records import (
    CurveBatch,
    ErrorInfo,
    FeatureInfo,
    Message,
    RunMessage,
    StageMessage,
    StagePlan,
    StageSummary,
    Verdict,
)
from nfkd.protocol.roles import Role
from nfkd.protocol.run_rows import RunRow
from nfkd.protocol.times import StageShare

SCALED = "(scaled)"
"""Follows the name of a feature that is not in the data's units."""


class Picture(StageMessage, frozen=True, kw_only=True):
    """The base of the pictures, which may be coalesced to the newest.

    A stage keeps the weights of its best validation step. Its last pictures show these weights and have `final` set;
    their `step` is not later than that of the pictures before.
    """

    step: int
    final: bool = False


class RunChanged(RunMessage, frozen=True):
    """A run's row in the table changed; its state, for example."""

    row: RunRow


class RunRemoved(RunMessage, frozen=True):
    """A run was renamed (`new` is its new directory), or its directory was moved to the trash or removed."""

    new: str = ""


class SeedStarted(RunMessage, frozen=True):
    """A seed starts, with the plans of its stages."""

    seed: int
    stages: list[StagePlan]
    event_shape: list[int]
    """Shape of one example: (channels, height, width), or (features,)."""
    columns: list[str] = msgspec.field(default_factory=list[str])
    """Names of a vector's features; may be empty. In older runs, `SCALED` follows those whose pictures are scaled."""
    resumed: bool = False
    compared: int = 0
    """Number of test examples, and of samples, that the measures of samples compare; 0 in older runs."""
    floors: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    """Measures between training and test examples: what a perfect model would reach, by field of `StageSummary`.

    FD-local is among them in older runs only; see `with_fd_floor`.
    """
    features: FeatureInfo | None = None
    """The classifier of FD-local; None for data without different class labels."""
    latents: bool = False
    """Whether FD-local compares the teacher's final latents."""

    versions: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Versions of nfkd, Python, torch and h5py."""

    @property
    def has_scaled_pictures(self) -> bool:
        """Whether the pictures of vectors keep the scaled values, as in runs of older versions."""
        return any(name.endswith(f" {SCALED}") for name in self.columns)

    def measures_note(self) -> str:
        """Return what the measures of samples compare, in sentences; empty for older runs."""
        if not self.compared:
            return ""
        note = (
            f"Samples: {self.compared:,} against as many test examples. Floor: training examples in place of samples."
        )
        if self.latents:
            return f"{note} FD-local compares the teacher's final latents."
        if self.features is None:
            return note
        found = f"{100 * self.features.accuracy:.1f} % test accuracy ({self.features.sha256[:12]})"
        return f"{note} FD-local compares features of a classifier with {found}."


class StageStarted(StageMessage, frozen=True):
    """A stage starts, or resumes at `step`."""

    step: int = 0


class CurvePoints(StageMessage, frozen=True):
    """New points of a stage's curves, by the curve's name; never dropped."""

    curves: dict[str, CurveBatch]


class Progress(StageMessage, frozen=True):
    """The progress of a run; may be coalesced to the newest."""

    step: int
    steps: int
    steps_per_second: float
    seconds_left: float
    """Of the whole run; NaN while unknown."""
    fraction: float
    """Fraction of the whole run that is done, 0 to 1."""
    search: bool = False
    """Whether these are the steps of the search for the weight decay, before the first stage."""
    shares: list[StageShare] = msgspec.field(default_factory=list[StageShare])
    """The expected part of the whole run's time of the search and of every stage of every seed, in order."""


class SamplesDrawn(Picture, frozen=True):
    """Samples of a stage's flow from the run's fixed noise.

    `samples` is (count, channels, height, width) in [0, 1], or (count, features) in the data's units (but see
    `SeedStarted.has_scaled_pictures`). `flags` is (count,) of the values in
    `nfkd.protocol.flags`, from before images are clamped; None where they are not known.
    """

    temperature: float
    samples: np.ndarray
    flags: np.ndarray | None = None


class InterpolationDrawn(Picture, frozen=True):
    """Paths between fixed pairs of validation images through the latents of the stage's flow.

    `alpha` is (steps,) from 0 to 1; `images` is (pairs, steps, channels, height, width) in [0, 1]; `flags` is
    (pairs, steps), as in `SamplesDrawn`.
    """

    mode: str
    alpha: np.ndarray
    images: np.ndarray
    flags: np.ndarray | None = None


class DensityDrawn(Picture, frozen=True):
    """log p of a stage's flow on a grid of the plane, for data of two features, per area in the data's units.

    `log_prob` is (rows, columns) in nats, rows from low to high y; `extent` is (x0, x1, y0, y1).
    """

    extent: tuple[float, float, float, float]
    log_prob: np.ndarray


def picture_label(picture: Picture) -> str:
    """Return which weights a picture shows, such as ``step 1,200`` or ``final weights (step 1,000)``."""
    return f"final weights (step {picture.step:,})" if picture.final else f"step {picture.step:,}"


class MatchingMeasured(StageMessage, frozen=True):
    """Mean squared error of each matched pair of layers on fixed validation data; may be coalesced.

    `error` is (pairs,), in the order of the stage plan's pairs.
    """

    step: int
    error: np.ndarray


class StageFinished(StageMessage, frozen=True):
    """A stage has finished; its best weights are saved."""

    summary: StageSummary


class LogLine(RunMessage, frozen=True):
    """A line of the log; `run` is empty for the engine's own.

    `seed` and `stage` are those in training; 0 and empty between stages and in older runs.
    """

    level: Literal["info", "warning", "error"]
    text: str
    time: float
    seed: int = 0
    stage: Role | Literal[""] = ""


class RunFinished(RunMessage, frozen=True):
    """The run finished, or the user stopped it."""

    state: Literal["finished", "stopped"]
    verdict: Verdict | None = None


class RunFailed(RunMessage, frozen=True):
    """The run failed; what was written stays readable."""

    error: ErrorInfo


class DataProgress(Message, frozen=True):
    """The progress of a download; may be coalesced to the newest.

    Attributes
    ----------
    data
        The kind of data, such as ``mnist``.
    file
        The file in transfer.
    done, total
        Bytes received and expected, over all files; `total` is 0 where unknown.
    """

    data: str
    file: str
    done: int
    total: int


class DataReading(Message, frozen=True):
    """What the engine does while it loads a data set for a preview or a description; may be coalesced to the newest.

    Attributes
    ----------
    data
        The ``[data]`` table as TOML text.
    message
        Such as ``Preparing rows.csv to be read from disk: 1,000,000 rows so far.``
    """

    data: str
    message: str


class InspectionProgress(Message, frozen=True):
    """How far the request with this ticket is, from 0 to 1."""

    ticket: str
    share: float


class Gap(Message, frozen=True):
    """The client should ask for a snapshot: it was too slow, and events were dropped, or an open run was resumed."""


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
Event = RunEvent | QueueChanged | DataProgress | DataReading | InspectionProgress | Gap
COALESCED = (Progress, Picture, MatchingMeasured, QueueChanged, DataProgress, DataReading, InspectionProgress)
"""Events of which a slow client needs only the newest (per run, seed and stage, per data set, or per ticket)."""

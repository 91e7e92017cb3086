"""Messages about many runs: their values, curves, pictures and comparison, their tags, folders and the trash."""

from __future__ import annotations

import msgspec
import numpy as np

from nfkd.config.run_filter import Value
from nfkd.protocol.records import Message
from nfkd.protocol.roles import Role
from nfkd.protocol.run_rows import RunRow


class ReadRunValues(Message, frozen=True):
    """Read what is known of runs by name. Returns `RunValues`; runs that cannot be read are left out."""

    runs: list[str]
    folder: str = ""
    """The runs folder; with it, runs have the column `folder`: where they are below it."""


class SeedValues(Message, frozen=True):
    """The figures of one seed of a run by their column, such as ``student_test`` and ``gap_closed``."""

    seed: int
    values: dict[str, Value]


class RunValues(Message, frozen=True):
    """Columns, settings by dotted path, and figures of runs, by directory: means over seeds.

    `seeds` holds the figures of each seed that has ended.
    """

    values: dict[str, dict[str, Value]]
    seeds: dict[str, list[SeedValues]] = msgspec.field(default_factory=dict[str, list[SeedValues]])


class CompareRuns(Message, frozen=True):
    """Compare the students of runs of the same data. Returns `RunsCompared`."""

    runs: list[str]


class ComparedMean(Message, frozen=True):
    """A mean over seeds with half the width of its 95 % interval; NaN below two seeds."""

    value: float
    half: float
    seeds: int


class ComparedDifference(Message, frozen=True):
    """A run's value minus that of the first run, over the seeds of both; `outcome` is empty below three seeds."""

    mean: ComparedMean
    outcome: str


class ComparedMetric(Message, frozen=True):
    """A metric of all runs, in the order of the request. The first run has no difference.

    `form` is the format specification of its values; `best` is the index of the best run, -1 if there is none.
    """

    name: str
    unit: str
    form: str
    means: list[ComparedMean]
    differences: list[ComparedDifference | None]
    best: int = -1


class RunsCompared(Message, frozen=True):
    """Runs side by side.

    `settings` has the values of each setting that differs; `same` counts the others. `sizes` are parameters and
    multiply-adds of the students, `gaps` the shares of the gap that they close (NaN where it is not defined),
    `verdicts` those against their baselines.
    """

    names: list[str]
    unit: str
    settings: dict[str, list[Value]]
    same: int
    sizes: dict[str, list[float]]
    gaps: list[float]
    verdicts: list[str]
    metrics: list[ComparedMetric]


class ReadRunCurves(Message, frozen=True):
    """Read a curve of a stage of runs, such as ``validation/nll``. Returns `RunCurves`.

    Attributes
    ----------
    points
        At most this many points of each run; lines keep their peaks.
    """

    runs: list[str]
    curve: str
    stage: Role = "student"
    points: int = 500


class RunCurve(Message, frozen=True):
    """A curve of a run: mean over its seeds and the band between its lowest and highest seed.

    Each is (points,) float64 but `steps`, int64. `seeds` is the number of seeds at the first step.
    """

    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


class RunCurves(Message, frozen=True):
    """The curves of runs by directory. Runs without the curve are left out; `unreadable` says why others are."""

    label: str
    unit: str
    curves: dict[str, RunCurve]
    unreadable: dict[str, str] = msgspec.field(default_factory=dict[str, str])


class ReadMatchingProfiles(Message, frozen=True):
    """Read the last matching errors of runs. Returns `MatchingProfiles`."""

    runs: list[str]


class MatchingProfile(Message, frozen=True):
    """The matched pairs of a student and its teacher, first to last, with errors as mean and range over seeds."""

    pairs: list[str]
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class MatchingProfiles(Message, frozen=True):
    """Matching profiles by directory; runs without matched layers are left out."""

    profiles: dict[str, MatchingProfile]


class ReadThumbnails(Message, frozen=True):
    """Read small pictures of students' samples. Returns `Thumbnails`; runs without samples are left out."""

    runs: list[str]
    pixels: int
    """Height and width."""


class Thumbnails(Message, frozen=True):
    """Pictures by directory: uint8, (pixels, pixels) from background (0) to ink (255), or (pixels, pixels, 3)."""

    pictures: dict[str, np.ndarray]


class LabelRuns(Message, frozen=True):
    """Add and remove tags of runs, and replace their note if one is given. Returns `Done`; rows change by events."""

    runs: list[str]
    add: list[str] = msgspec.field(default_factory=list[str])
    remove: list[str] = msgspec.field(default_factory=list[str])
    note: str | None = None


class MoveRuns(Message, frozen=True):
    """Move runs that are neither active nor queued into a folder, which is created. Returns `RunsMoved`."""

    runs: list[str]
    folder: str
    """An absolute path."""


class TrashRuns(Message, frozen=True):
    """Move runs that are neither active nor queued into the trash of their runs folder. Returns `RunsMoved`."""

    folder: str
    """The runs folder that has the trash."""
    runs: list[str]


class RunsMoved(Message, frozen=True):
    """Where runs are now, by their former directory; `failed` says why others were not moved."""

    moved: dict[str, str]
    failed: dict[str, str] = msgspec.field(default_factory=dict[str, str])


class RestoreRuns(Message, frozen=True):
    """Move runs out of the trash, to where they were. Returns `RunsMoved`."""

    runs: list[str]
    """Directories in the trash."""


class ListTrash(Message, frozen=True):
    """List the runs in the trash of a runs folder. Returns `TrashList`."""

    folder: str


class TrashList(Message, frozen=True):
    """The runs in the trash, last one first, and the bytes of all."""

    rows: list[RunRow]
    size: int


class EmptyTrash(Message, frozen=True):
    """Move everything in the trash of a runs folder to the system's trash. Returns `Done`."""

    folder: str


class WriteReport(Message, frozen=True):
    """Write a report of one or more runs; the ending of `path` says whether as HTML or PDF. Returns `Done`."""

    runs: list[str]
    path: str


METRIC_GROUPS = {
    "likelihood": "Test likelihood with its standard error.",
    "samples": "Sliced Wasserstein distance, MMD, C2ST, FD-local, precision and recall of samples.",
    "fid": "Fréchet distance of the features of an Inception network, whose TorchScript file you give.",
    "calibration": "Whether latents of test examples are Gaussian: PIT, and ‖z‖² against χ².",
    "inversion": "Errors of the inverse and of the log-determinant.",
    "fidelity": "Agreement with the teacher: layers, log p, samples of the same noise.",
    "cost": "Parameters, multiply-adds, peak memory, latency and throughput.",
    "jacobi": "Latency, throughput and iterations of samples by Jacobi iteration, of autoregressive flows.",
}
"""Groups of the metrics that ``nfkd evaluate`` adds to finished runs, and what they measure."""


class EvaluateRuns(Message, frozen=True):
    """Add metrics to finished runs, one run at a time; rows change by events. Returns `RunsEvaluated`.

    Attributes
    ----------
    groups
        Keys of `METRIC_GROUPS`; all if none is named.
    ticket
        Identifies the request in `InspectionProgress` and `CancelEvaluation`.
    inception
        Path of the TorchScript file of FID's network; empty without FID.
    """

    runs: list[str]
    groups: list[str]
    ticket: str
    inception: str = ""


class CancelEvaluation(Message, frozen=True):
    """Stop the evaluation with this ticket; metrics of flows that are done stay in their runs. Returns `Done`."""

    ticket: str


class RunsEvaluated(Message, frozen=True):
    """What was not computed: notes on metrics, and by directory why a run has no new metrics."""

    notes: list[str]
    failed: dict[str, str]


ComparingRequest = (
    ReadRunValues
    | CompareRuns
    | ReadRunCurves
    | ReadMatchingProfiles
    | ReadThumbnails
    | LabelRuns
    | MoveRuns
    | TrashRuns
    | RestoreRuns
    | ListTrash
    | EmptyTrash
    | WriteReport
    | EvaluateRuns
    | CancelEvaluation
)
ComparingReply = (
    RunsEvaluated | RunValues | RunsCompared | RunCurves | MatchingProfiles | Thumbnails | RunsMoved | TrashList
)

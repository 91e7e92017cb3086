"""Requests that look inside the flows of a run, and their replies.

Values of images are in [0, 1], rows of vectors are scaled as the flows see them, unless a field says otherwise.
Log-densities and log-determinants are in nats, of scaled values.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from nfkd.protocol.records import BlockSolve, Message, RunMessage
from nfkd.protocol.roles import Role

SplitName = Literal["train", "validation", "test"]
MAX_COLUMNS_TESTED = 8
"""Columns of one `CompareColumns`."""


class SampleOptions(Message, frozen=True, eq=True):
    """How samples are made besides their temperature."""

    guidance: float = 0.0
    """Weight of the guidance of flows that take it; zero for none."""
    attention_temperature: float | None = None
    """Of guidance without classes; None for guidance by classes."""
    denoise: bool = False
    """Whether the Gaussian noise of images is removed."""
    jacobi: float | None = None
    """Tolerance of Jacobi iteration of flows that sample token by token; None for exact samples."""


class Origin(Message, frozen=True):
    """Where an example comes from."""

    kind: Literal["train", "validation", "test", "sample", "likely", "values", "scaled", "file"]
    """``likely`` is the most likely of many samples of the flow `role`."""
    index: int = 0
    """Of the split, or among the samples that are drawn at once."""
    role: Role | None = None
    """The flow whose sample it is; None for each flow's sample of the same noise, or for the teacher's likely one."""
    count: int = 64
    """With `temperature` and `noise_seed`, the samples that are drawn at once, as in `Sample`."""
    temperature: float = 1.0
    noise_seed: int | None = None
    values: np.ndarray | None = None
    """One example: as in the run's pictures (*values*), or with its features scaled as flows see them (*scaled*)."""
    layer: str = ""
    """If set, `values` is the state of the flow `role` after this layer, and the example is found by inverting it."""
    path: str = ""
    """An image file, or a CSV file with a header; then `index` is the row."""
    options: SampleOptions = msgspec.field(default_factory=SampleOptions)
    """Of a sample."""


class InspectMessage(RunMessage, frozen=True, kw_only=True):
    """Fields of every request about the flows of a run.

    A request that carries the `ticket` of an earlier one, which still runs or waits, cancels that one. Without a ticket
    it can be neither cancelled nor followed.
    """

    seed: int
    ticket: str = ""


class CancelInspection(Message, frozen=True):
    """Cancel the request with this ticket; that request is refused. Returns `Done`."""

    ticket: str


class ReadLayers(InspectMessage, frozen=True):
    """Pass an example through every flow, layer by layer. Returns `LayerStates`."""

    origin: Origin
    rest: Literal["mean", "noise"] = "mean"
    """What replaces the latents that left before a layer when an example is decoded from there."""


class LayerState(Message, frozen=True):
    """The state of an example after a layer."""

    name: str
    """As in `LayerInfo`, and `label` too."""
    label: str
    kind: str
    value: np.ndarray
    log_det: float
    """Log-determinant of all layers up to this one."""
    splits: int
    """Latents that have left so far: an index of `FlowStates.decoded`."""


class FlowStates(Message, frozen=True):
    """An example on its way through a flow."""

    example: np.ndarray
    state: np.ndarray
    """The example as the flow sees it: the state before the first layer."""
    layers: list[LayerState]
    latents: list[np.ndarray]
    """The split-off latents, then the last one."""
    decoded: list[np.ndarray]
    """What decoding gives from a level on, with the latents of the levels before it at their mean or at fresh noise.

    Empty for a flow that cannot decode. The first is the example. All states of a level give the same, since the layers
    between them are inverted exactly.
    """
    base_log_prob: float
    """Log-density of the latents; with the log-determinant of the last layer it adds up to `log_prob`."""
    log_prob: float


class LayerStates(RunMessage, frozen=True):
    """An example on its way through every flow that has latents."""

    seed: int
    origin: Origin
    flows: dict[Role, FlowStates]


class ReadPlane(InspectMessage, frozen=True):
    """Move points, a grid and rings of two features through every flow. Returns `PlaneStates`."""

    count: int
    noise_seed: int | None = None
    grid: Literal["noise", "data"] = "noise"
    """Whether the grid is regular among the latents or among the data."""


class PlaneFlow(Message, frozen=True):
    """Points on their way through a flow of two features; state 0 is the data, state k that after layer k.

    Attributes
    ----------
    names, labels
        Of the L layers.
    points
        (L + 1, count, 2) float32: the samples of the noise, from data to noise.
    grid
        (L + 1, lines, n, 2): the lines of a grid, first the vertical ones.
    rings
        (L + 1, 2, n, 2): circles of one and two standard deviations of the latents.
    """

    names: list[str]
    labels: list[str]
    points: np.ndarray
    grid: np.ndarray
    rings: np.ndarray


class PlaneStates(RunMessage, frozen=True):
    """Points on their way through every flow; all have the same noise, (count, 2), and the latents are μ + σ·noise."""

    seed: int
    flows: dict[Role, PlaneFlow]
    noise: np.ndarray
    columns: list[str]
    """Names of the two features; may be empty."""
    extent: tuple[float, float, float, float]
    """The rectangle (x0, x1, y0, y1) around the data."""


class InspectSample(InspectMessage, frozen=True):
    """Describe one example under every flow. Returns `SampleDetails`."""

    origin: Origin


class SampleFigures(Message, frozen=True):
    """An example under one flow.

    Attributes
    ----------
    log_prob
        NaN where the flow cannot compute it.
    percentile
        Share of test examples with a lower log p, in per cent; `tested` is their number.
    latent_norm, expected_norm
        Norm of the noise of the example, and the root of the number of dimensions, which it is near for typical ones.
    counterpart
        What this flow makes of the noise that the example has under `SampleDetails.reference`: an image, or a row in
        the units of the data; empty where it cannot.
    """

    log_prob: float
    percentile: float
    tested: int
    latent_norm: float
    expected_norm: float
    counterpart: np.ndarray


class SampleDetails(RunMessage, frozen=True):
    """One example, its figures under every flow, and the nearest training example.

    An example that is not finite has no nearest one: the index is −1, and the distance NaN.
    `distance` is the Euclidean distance of scaled values from `nearest`, training example number `nearest_index`.
    """

    seed: int
    origin: Origin
    example: np.ndarray
    reference: Role
    flows: dict[Role, SampleFigures]
    nearest: np.ndarray
    nearest_index: int
    distance: float
    label: int | None = None
    """The class of the nearest training example, if the data has classes."""
    columns: list[str] = msgspec.field(default_factory=list[str])
    """Names of the features of vectors; `values` are those of the example and of the nearest one, in their units."""
    values: np.ndarray | None = None
    """(2, features) float64; None for images."""


class ReadLikelihood(InspectMessage, frozen=True):
    """Compute log p of training, test and other examples under every flow. Returns `LikelihoodReport`."""

    count: int = 2000
    """Most examples of a set; a random subset, always the same, is used of larger ones."""
    second: str = ""
    """A further data set: the ``[data]`` table of an experiment as TOML text."""


class Extremes(Message, frozen=True):
    """The most and the least likely test examples under a flow, from the most extreme one on."""

    most: np.ndarray
    """Indices of the test split, (n,)."""
    least: np.ndarray
    most_examples: np.ndarray
    """As pictures or rows, (n, …)."""
    least_examples: np.ndarray


class LikelihoodReport(RunMessage, frozen=True):
    """Log p of sets of examples under every flow.

    Attributes
    ----------
    sets
        Names of the sets: train, test and that of the second data set.
    log_prob
        For each role and set, (N,). The examples of a set are the same for all roles, except that the training examples
        are those that the flow has seen.
    test_indices
        Of the test split, (N,): those of the examples of the set *test*.
    latents
        For each role, sorted values of the noise of test examples at `quantiles`, (Q,).
    quantiles
        Those of the standard normal, (Q,).
    extremes
        For each role.
    iterations
        For each role whose samples (of an IAF: log-densities) go token by token, the Jacobi iterations of its blocks.
    nll_scale, nll_offset
        The reported likelihood in `unit` is ``nll_offset − nll_scale·log p``.
    """

    seed: int
    sets: list[str]
    log_prob: dict[Role, dict[str, np.ndarray]]
    test_indices: np.ndarray
    latents: dict[Role, np.ndarray]
    quantiles: np.ndarray
    extremes: dict[Role, Extremes]
    unit: str
    nll_scale: float
    nll_offset: float
    iterations: dict[Role, list[BlockSolve]] = msgspec.field(default_factory=dict[Role, list[BlockSolve]])


class ReadTable(InspectMessage, frozen=True):
    """Read test rows and samples of every flow in the units of the data. Returns `TableRows`."""

    count: int = 2000
    temperature: float = 1.0
    noise_seed: int | None = None


class TableRows(RunMessage, frozen=True):
    """Rows of the test split and samples of every flow, (N, features) float64 in the units of the data.

    Attributes
    ----------
    columns
        Names of the features.
    ks, ks_p
        For each role, the two-sample Kolmogorov-Smirnov statistic of each column and its p value, (features,).
    dropped
        For each role, how many samples of each column are not finite and do not count, (features,).
    """

    seed: int
    columns: list[str]
    data: np.ndarray
    samples: dict[Role, np.ndarray]
    ks: dict[Role, np.ndarray]
    ks_p: dict[Role, np.ndarray]
    dropped: dict[Role, np.ndarray]


class CompareColumns(InspectMessage, frozen=True):
    """Run the classifier two-sample test on single columns of the rows of `ReadTable`. Returns `ColumnTests`."""

    columns: list[int]
    count: int = 2000
    temperature: float = 1.0
    noise_seed: int | None = None


class ColumnTests(RunMessage, frozen=True):
    """C2ST of each requested column for each role, as an area under the ROC curve; 0.5 is the best.

    Samples that are not finite do not count.
    """

    seed: int
    columns: list[int]
    c2st: dict[Role, np.ndarray]


InspectionRequest = (
    CancelInspection | ReadLayers | ReadPlane | InspectSample | ReadLikelihood | ReadTable | CompareColumns
)
InspectionReply = LayerStates | PlaneStates | SampleDetails | LikelihoodReport | TableRows | ColumnTests

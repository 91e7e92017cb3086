"""Requests of the lab and their replies: three flows of two features that train in memory, together.

The lab has the roles teacher, student, and baseline for the student alone. Log-densities are in nats. Points
and densities are of the values as the flows see them, which are those of the data except for points of a file.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from nfkd.protocol.inspection import PlaneFlow
from nfkd.protocol.records import LayerPair, Message
from nfkd.protocol.roles import Role

LabPhase = Literal["teacher", "students", "done"]
LAB_ROLES: tuple[Role, ...] = ("teacher", "student", "baseline")


class OpenLab(Message, frozen=True):
    """Open a lab with a state, a `LabConfig` as TOML text. Returns `LabOpened`.

    The engine keeps a few labs, and closes the one that was not read for longest.
    """

    state: str


class ChangeLab(Message, frozen=True):
    """Give a lab another state. Returns `LabOpened`.

    Rates, weights of the terms, temperature, budget and what is shown change between two steps. After other changes
    the flows that they concern start anew.
    """

    lab: str
    state: str


class ControlLab(Message, frozen=True):
    """Train on, stop, make some steps, or start all flows anew. Returns `Done`."""

    lab: str
    action: Literal["play", "pause", "step", "restart"]
    steps: int = 1
    """Of *step*."""


class ReadLab(Message, frozen=True):
    """Wait a short time for a frame with a higher number than `after`. Returns `LabFrame`, perhaps the same again.

    A lab that nobody reads pauses.
    """

    lab: str
    after: int = -1


class ProbeLab(Message, frozen=True):
    """Follow a point through the layers of every flow. Returns `LabProbe`."""

    lab: str
    point: tuple[float, float]


class ReadLabPoints(Message, frozen=True):
    """Read the rows of a file with two columns of numbers. Returns `LabPoints`."""

    data: str
    """A ``[data]`` table of the kind *table* as TOML text."""


class CloseLab(Message, frozen=True):
    """Close a lab. Returns `Done`."""

    lab: str


class LabFlow(Message, frozen=True):
    """A flow of the lab.

    Attributes
    ----------
    names, labels
        Of its layers.
    parameters
        Number of trained parameters.
    samples_per_second
        Measured throughput of sampling.
    steps
        Its budget; zero for a teacher that was trained before.
    """

    summary: str
    names: list[str]
    labels: list[str]
    parameters: int
    samples_per_second: float
    steps: int


class LabOpened(Message, frozen=True):
    """A lab that is open.

    Attributes
    ----------
    lab
        Names it in requests.
    flows
        By role.
    pairs
        Matched layers of student and teacher.
    points
        The students' training points, (n, 2).
    teacher_points
        Some of the teacher's training points, (m, 2).
    held_out
        Number of examples that the likelihoods are means over.
    extent
        Rectangle (x0, x1, y0, y1) of the pictures.
    since
        Frames up to this number show an earlier state; −1 if all pictures are still right.
    """

    lab: str
    flows: dict[Role, LabFlow]
    pairs: list[LayerPair]
    points: np.ndarray
    teacher_points: np.ndarray
    held_out: int
    extent: tuple[float, float, float, float]
    since: int = -1


class LabPicture(Message, frozen=True):
    """A flow as it is at one step.

    Attributes
    ----------
    step
        Steps that the flow has made.
    density
        Log p at the cells' centres over the extent, (rows, columns) float32, lowest y first.
    plane
        Points, grid and rings after each layer; layers that are off change nothing. The points are samples of the noise
        that all flows share, at the state's temperature.
    """

    step: int
    density: np.ndarray
    plane: PlaneFlow


class LabFrame(Message, frozen=True):
    """What a lab shows at one moment.

    Attributes
    ----------
    number
        Grows with each frame.
    phase
        Whether the teacher trains alone, the students train, or all steps are made.
    step
        Steps of the students, and of the teacher in its phase.
    playing
        Whether steps are being made.
    pictures
        Of the flows that changed since the frame `ReadLab.after`.
    curves
        Steps and mean negative log p of the held-out points, (evaluations, 2) for each role; a teacher that was trained
        before has one value, at step zero.
    noise
        The noise of the samples, (n, 2).
    message
        Why the lab stopped; empty if nothing is wrong.
    shown
        The flows that can be shown; the others have made no step.
    """

    lab: str
    number: int
    phase: LabPhase
    step: int
    playing: bool
    pictures: dict[Role, LabPicture]
    curves: dict[Role, np.ndarray]
    noise: np.ndarray
    message: str = ""
    shown: list[Role] = msgspec.field(default_factory=list[Role])


class ProbePath(Message, frozen=True):
    """A point on its way through a flow.

    Attributes
    ----------
    states
        The point, then its state after each layer, (L + 1, 2).
    log_dets
        Log-determinant of each layer, (L,).
    base_log_prob
        Log-density of the last state; with the log-determinants it adds up to log p.
    """

    states: np.ndarray
    log_dets: np.ndarray
    base_log_prob: float


class LabProbe(Message, frozen=True):
    """A point on its way through every flow of a lab."""

    lab: str
    point: tuple[float, float]
    flows: dict[Role, ProbePath]


class LabPoints(Message, frozen=True):
    """Points of a file: (n, 2) float64, a random subset of a large file; and the names of its columns.

    Of a file with more than two columns there are no points, but the names, of which two must be chosen.
    """

    points: np.ndarray
    columns: list[str]
    rows: int
    """Of the file."""


LabRequest = OpenLab | ChangeLab | ControlLab | ReadLab | ProbeLab | ReadLabPoints | CloseLab
LabReply = LabOpened | LabFrame | LabProbe | LabPoints

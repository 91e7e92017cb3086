"""Requests for the pictures that a run has stored, and their replies."""

from __future__ import annotations

import msgspec
import numpy as np

from nfkd.protocol.events import DensityDrawn, InterpolationDrawn, SamplesDrawn
from nfkd.protocol.records import Message, RunMessage, StageMessage
from nfkd.protocol.roles import Role


class ListPictures(RunMessage, frozen=True):
    """List the steps with stored pictures, of all stages of a seed. Returns `PictureList`."""

    seed: int


class ReadPictures(StageMessage, frozen=True):
    """Read the stored pictures of a stage. Returns `StagePictures`."""

    step: int | None = None
    """The last pictures at or before this step; None for those of the final weights, or the newest before the end."""


class ReadSampleSeries(StageMessage, frozen=True):
    """Read a stage's samples over its steps, for a film. Returns `SampleSeries`."""

    frames: int = 100
    """At most so many; if more are stored, they are chosen at equal distances, with the first and the last."""


class StagePictureSteps(Message, frozen=True):
    """The steps of a stage's stored pictures, in increasing order.

    `final` is the step of its final weights, which have pictures of their own; None before the stage has ended.
    """

    stage: Role
    steps: list[int]
    final: int | None = None


class PictureList(RunMessage, frozen=True):
    """The steps with stored pictures, for every stage of a seed in the order of the stages."""

    seed: int
    stages: list[StagePictureSteps]


class StagePictures(StageMessage, frozen=True):
    """The stored pictures of a stage; a kind that is not stored, or not before the step, is None."""

    samples: SamplesDrawn | None = None
    interpolation: InterpolationDrawn | None = None
    density: DensityDrawn | None = None


class SampleSeries(StageMessage, frozen=True):
    """Samples of a stage from the same noise, over its steps.

    `samples` is (frames, count, channels, height, width) in [0, 1], or (frames, count, features). The last frame shows
    the final weights if `final` is set; its step may then be before that of the frame before.
    """

    steps: list[int]
    samples: np.ndarray
    temperatures: list[float] = msgspec.field(default_factory=list[float])
    final: bool = False

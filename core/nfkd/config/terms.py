"""The terms of the student's loss: a model for each, with its weight, the weight's schedule and its own settings."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import ValidationInfo, field_validator

from nfkd.config.base import Config, field
from nfkd.config.datasets import absolute_path, base_folder


def _weight(default: float, words: str) -> Any:
    return field(default, title="Weight", help=f"{words} Zero leaves it out.", ge=0.0, le=1e6)


def _batch_size(words: str) -> Any:
    return field(64, title="Batch", help=words, unit="samples", ge=1, le=65536, advanced=True)


def _temperature(words: str) -> Any:
    return field(1.0, title="Temperature", help=words, gt=0.0, le=2.0, advanced=True)


class TermConfig(Config, frozen=True):
    """What every term of the loss has."""

    weight: float = _weight(0.0, "Weight of the term.")
    schedule: Literal["constant", "linear", "cosine", "warmup"] = field(
        "constant",
        title="Schedule",
        help="Of the weight: constant; from the weight to a part of it along a line or half a cosine; or up from zero.",
        advanced=True,
    )
    schedule_end: float = field(
        0.0,
        title="At the end",
        help="Part of the weight that a linear or cosine schedule ends at.",
        ge=0.0,
        le=1e6,
        advanced=True,
    )
    schedule_span: float = field(
        1.0,
        title="Span",
        help="Part of the student's steps over which the weight changes; it then stays.",
        gt=0.0,
        le=1.0,
        advanced=True,
    )

    def factor(self, step: int, steps: int) -> float:
        """Return what the schedule multiplies the weight by.

        Parameters
        ----------
        step
            From 0 to ``steps - 1``.
        steps
            The student's budget.
        """
        span = self.schedule_span * steps
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "warmup":
            return min(1.0, (step + 1) / span)
        place_in_span = min(1.0, step / max(1.0, span - 1))
        if self.schedule == "cosine":
            place_in_span = 0.5 * (1 - math.cos(math.pi * place_in_span))
        return 1.0 + (self.schedule_end - 1.0) * place_in_span

    @property
    def ends_at_zero(self) -> bool:
        """Whether the schedule takes the weight down to nothing."""
        return self.schedule in {"linear", "cosine"} and self.schedule_end == 0


class NLLConfig(TermConfig, frozen=True):
    """Maximum likelihood on the data."""

    weight: float = _weight(0.85, "Weight of maximum likelihood.")


class LKDConfig(TermConfig, frozen=True):
    """Final latents of student and teacher, squared difference."""

    weight: float = _weight(0.05, "Weight of the final latents' error.")


class ILKDConfig(TermConfig, frozen=True):
    """Intermediate latents at matched layers, squared difference."""

    weight: float = _weight(0.05, "Weight of the matched layers' error.")


class SKDConfig(TermConfig, frozen=True):
    """Samples that student and teacher draw from the same noise."""

    weight: float = _weight(0.05, "Weight of the synthesized samples' error.")
    distance: Literal["l1", "l2", "perceptual"] = field(
        "l1",
        title="Distance",
        help="Absolute (L1) or squared (L2) difference of the two samples, or that of their VGG features, squared.",
    )
    perceptual_weights: str = field(
        "",
        title="VGG weights",
        help="A file of torchvision's VGG-16 or VGG-19 weights (.pth or .safetensors), for the perceptual distance.",
        format="file",
        max_length=4096,
        advanced=True,
    )
    temperature: float = field(
        1.0, title="Temperature", help="Scale of the noise that is given to both flows.", gt=0.0, le=2.0
    )
    batch_size: int = _batch_size("How many samples are synthesized at each step.")

    @field_validator("perceptual_weights")
    @classmethod
    def _whole_path(cls, value: str, info: ValidationInfo) -> str:
        return str(absolute_path(value, base_folder(info))) if value.strip() else ""  # a name may end in a space


class ForwardKLConfig(TermConfig, frozen=True):
    """The student's likelihood of samples that the teacher draws."""

    weight: float = _weight(0.0, "Weight of the likelihood of the teacher's samples.")
    temperature: float = _temperature("Scale of the noise that the teacher draws from.")
    batch_size: int = _batch_size("How many samples the teacher draws at each step.")


class ReverseKLConfig(TermConfig, frozen=True):
    """The student's own samples, judged by both densities."""

    weight: float = _weight(0.0, "Weight of the divergence on the student's samples.")
    batch_size: int = _batch_size("How many samples the student draws at each step; shared with SKD where equal.")


class DensityConfig(TermConfig, frozen=True):
    """Squared difference of log-densities, per dimension."""

    weight: float = _weight(0.0, "Weight of the log-densities' error.")


class LogDetConfig(TermConfig, frozen=True):
    """Squared difference of the log-determinants between matched layers."""

    weight: float = _weight(0.0, "Weight of the error of the log-determinants between matched layers.")


class ScoreConfig(TermConfig, frozen=True):
    """Squared difference of the log-densities' gradients in x."""

    weight: float = _weight(0.0, "Weight of the scores' error; needs second derivatives.")


class JacobianConfig(TermConfig, frozen=True):
    """Squared difference of Jacobian-vector products along random directions."""

    weight: float = _weight(0.0, "Weight of the Jacobians' error.")


class RelationalConfig(TermConfig, frozen=True):
    """Distances between the latents of a batch's examples."""

    weight: float = _weight(0.0, "Weight of the error of the distances between latents.")


class NoisyReverseConfig(TermConfig, frozen=True):
    """The student's way back from the teacher's latents, with noise added."""

    weight: float = _weight(0.0, "Weight of the error along the student's way back.")
    noise: float = field(
        0.3,
        title="Noise",
        help="Each example's latents get noise of a scale drawn evenly from zero to this.",
        ge=0.0,
        le=10.0,
        advanced=True,
    )

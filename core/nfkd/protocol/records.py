"""The base classes of messages, and the records inside them: plans and figures of stages, verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
import numpy as np

from nfkd.protocol.roles import Role

Ending = Literal["", "early", "user"]
"""Why a stage ended: after all its steps, by early stopping, or because the user ended it."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, eq=False):
    """The base of everything on the wire; its tag is the class's name."""


class RunMessage(Message, frozen=True):
    """The base of messages about one run; `run` is its directory on the engine's machine."""

    run: str


class StageMessage(RunMessage, frozen=True):
    """The base of messages about one stage of one seed."""

    seed: int
    stage: Role


class ErrorInfo(Message, frozen=True):
    """An error, for users.

    Attributes
    ----------
    title, cause, action
        What happened, why, and what the user can do: one sentence each.
    traceback
        For the details of the dialog; may be empty.
    """

    title: str
    cause: str
    action: str = ""
    traceback: str = ""


SYSTEM = "system/"
"""Start of the names of curves about the machine: values that depend on the wall time, as their steps do."""


class CurveInfo(Message, frozen=True):
    """A curve that a stage will record.

    Attributes
    ----------
    name
        Such as ``train/total``, ``train/ilkd``, ``validation/nll``, ``learning_rate``, ``system/cpu``.
    label, unit
        For axes and legends, such as ``NLL`` and ``bits/dim``.
    """

    name: str
    label: str
    unit: str = ""


class CurveBatch(Message, frozen=True):
    """Points of one curve, as arrays of one length: int64 steps, float64 values, float64 seconds since the start."""

    steps: np.ndarray
    values: np.ndarray
    times: np.ndarray


class LayerPair(Message, frozen=True):
    """Two matched layers: one of the flow that learns (a student or an assistant), one of its teacher."""

    student: str
    teacher: str
    summary: str = msgspec.field(name="words")  # the name in run files
    """The pair as one line."""
    weight: float = 1.0
    """Relative to the other pairs. Zero: the pair is measured, but not trained on."""


class StagePlan(Message, frozen=True):
    """What a stage will do and record."""

    stage: Role
    steps: int
    curves: list[CurveInfo]
    pairs: list[LayerPair] = []
    """The matched layers; empty for flows without a teacher."""
    epoch: int = 0
    """Steps after which the training examples are drawn in a new order; 0 in older runs."""

    @property
    def unit(self) -> str:
        """The unit of its likelihoods."""
        return next((info.unit for info in self.curves if info.name == "validation/nll"), "")


class StageSummary(Message, frozen=True):
    """A finished stage's figures, for the weights with the best validation.

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
        Classifier two-sample test: area under the curve of a classifier that separates samples (temperature 1) from
        test examples; 0.5 when it cannot.
    sw, mmd
        Sliced 1-Wasserstein distance and squared maximum mean discrepancy between these samples and test examples.
    precision, recall
        Share of samples near test examples, and of test examples near samples (nearest neighbours, k = 3).
    train_test_gap
        Mean negative log-likelihood of test examples minus that of at most as many training examples, in `unit`.
    same_noise
        Mean absolute difference from the teacher's samples of the same noise; NaN for the teacher.
    fd
        FD-local: Fréchet distance of samples and test examples in the features of a small classifier of this data set,
        or in the teacher's final latents.
    fd_floor
        Its noise floor: the same for training examples in place of samples; NaN in older runs.
    outliers
        Number of test examples that decide `test`, as `nfkd.evaluation.outliers.dominating` counts them; 0 where no few
        do, NaN in older runs.
    not_finite
        Number of these samples, as many as test examples, that are not finite: up to one per cent are left out of the
        figures of samples, which have no value for more; NaN in older runs.
    ended
        Why training ended before its budget; empty when it did not, and in older runs. Baseline and ablation make as
        many steps as their student and have it empty.
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
    sw: float = math.nan
    mmd: float = math.nan
    precision: float = math.nan
    recall: float = math.nan
    train_test_gap: float = math.nan
    same_noise: float = math.nan
    fd: float = math.nan
    fd_floor: float = math.nan
    outliers: float = math.nan
    not_finite: float = math.nan
    ended: Ending = ""


def with_fd_floor(floors: Mapping[str, float], summaries: Iterable[StageSummary]) -> dict[str, float]:
    """Return noise levels by field of `StageSummary`, with the mean of FD-local's in the summaries that have it."""
    found = [summary.fd_floor for summary in summaries if math.isfinite(summary.fd_floor)]
    return dict(floors) | ({"fd": sum(found) / len(found)} if found else {})


class FeatureInfo(Message, frozen=True):
    """The classifier whose features FD-local compares.

    Attributes
    ----------
    accuracy
        Share of test examples that it classifies correctly.
    sha256
        SHA-256 of its weights: values of FD-local are comparable only if it is the same.
    """

    accuracy: float
    sha256: str


MEASURES = {
    "fd": "FD-local",
    "sw": "SW",
    "mmd": "MMD",
    "precision": "precision",
    "recall": "recall",
    "same_noise": "distance to teacher",
    "train_test_gap": "train–test gap",
}
"""Names of the further figures of `StageSummary` in tables, in their order."""


class MetricInterval(Message, frozen=True, kw_only=True):
    """The difference of student and baseline in one metric, over the seeds that have it.

    Attributes
    ----------
    difference
        Mean gain of the student over its baseline: positive where the student is better.
    low, high
        The 95 % Student-t interval of the gain; NaN below two seeds.
    seeds
        The seeds that were compared.
    summary
        All of this in one sentence.
    gap_closed
        Share of the gap to the teacher that the student closes: (mean of the baseline − mean of the student) / (mean
        of the baseline − mean of the teacher). NaN where the teacher is not clearly better than the baseline.
    floor
        Noise floor of a measure of samples; NaN for other metrics.
    against
        The flow that the student is compared with, in place of its baseline.
    """

    metric: str
    unit: str
    difference: float
    low: float
    high: float
    seeds: list[int]
    summary: str = msgspec.field(name="words")  # the name in verdict files
    gap_closed: float = math.nan
    floor: float = math.nan
    against: Literal["baseline", "ablation"] = "baseline"


class Verdict(MetricInterval, frozen=True, kw_only=True):
    """Did distillation help? The paired comparison of student and baseline in the primary metric.

    Attributes
    ----------
    verdict
        *better*, *worse* or *inconclusive* (always the last below three seeds).
    differences
        The gain of each seed.
    others
        The other metrics, without a verdict.
    advice
        What to try next, one sentence; empty where the figures do not say.
    compared
        Number of test examples, and of samples, that the measures of samples compare; 0 where it is not known.
    ablations
        The gain of the student over its ablation in the primary metric; empty without one.
    """

    verdict: Literal["better", "worse", "inconclusive"]
    differences: list[float]
    others: list[MetricInterval] = []
    advice: str = ""
    compared: int = 0
    ablations: list[MetricInterval] = []

    def sentences(self) -> list[str]:
        """Return what the verdict says, what the ablation shows, and the advice."""
        against = [f"{interval.summary}." for interval in self.ablations]
        return [sentence for sentence in (self.summary, *against, self.advice) if sentence]


class BlockSolve(Message, frozen=True):
    """How one layer of a flow was solved by Jacobi iteration.

    Attributes
    ----------
    name
        The layer's label, as in `LayerInfo`.
    tokens
        As many iterations are always exact.
    iterations
        Of the slowest example, summed over the segments.
    examples
        That were solved.
    exactly
        Of them, those that did not converge within the limit and were finished token by token.
    """

    name: str
    tokens: int
    iterations: int
    examples: int
    exactly: int

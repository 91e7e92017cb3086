"""Learns how long the stages of a run take, from those that have run and from the expected times of the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from nfkd.protocol.times import StageTime

_PRIOR_STEPS = 5  # steps that the expected time of a step counts as
_PRIOR_SECONDS = 1.0  # seconds that a measured expectation counts as, when it is compared with the real times


@dataclass
class _Observed:
    """What one stage took so far, over all seeds."""

    seconds: float = 0.0
    steps: int = 0
    pools: list[float] = field(default_factory=list[float])
    summaries: list[float] = field(default_factory=list[float])


class StageClock:
    """Returns the time of the parts of each stage: of stages that have run the real time, else the expected one.

    Expected times are multiplied by the ratio of real and expected time of all steps so far, since the machine may be
    slower or faster than expected.

    Parameters
    ----------
    expected
        By stage.
    measured
        Whether they were measured; otherwise only their ratios count.
    """

    def __init__(self, expected: Mapping[str, StageTime], *, measured: bool) -> None:
        self._expected, self._measured = expected, measured
        self._observed = {stage: _Observed() for stage in expected}
        self._ratio: float | None = None

    def add_step(self, stage: str, seconds: float) -> None:
        """Record the time of a step, with its evaluation and picture if it had any."""
        observed = self._observed[stage]
        observed.seconds, observed.steps = observed.seconds + seconds, observed.steps + 1
        self._ratio = None

    def add_pool(self, stage: str, seconds: float) -> None:
        """Record the time before a stage's first step."""
        self._observed[stage].pools.append(seconds)

    def add_summary(self, stage: str, seconds: float) -> None:
        """Record the time after a stage's last step."""
        self._observed[stage].summaries.append(seconds)

    @property
    def known(self) -> bool:
        """Whether the times are more than a guess."""
        return self._measured or sum(observed.seconds for observed in self._observed.values()) >= _PRIOR_SECONDS

    def step(self, stage: str) -> float:
        """Return the seconds of a step, with its part of evaluations and pictures."""
        observed = self._observed[stage]
        expected = self._real_to_expected() * self._expected_step(stage)
        return (observed.seconds + _PRIOR_STEPS * expected) / (observed.steps + _PRIOR_STEPS)

    def pool(self, stage: str) -> float:
        """Return the seconds before a stage's first step."""
        return self._mean(self._observed[stage].pools, self._expected[stage].pool)

    def summary(self, stage: str) -> float:
        """Return the seconds after a stage's last step."""
        return self._mean(self._observed[stage].summaries, self._expected[stage].summary)

    def _mean(self, observed: list[float], expected: float) -> float:
        return math.fsum(observed) / len(observed) if observed else self._real_to_expected() * expected

    def _expected_step(self, stage: str) -> float:
        expected = self._expected[stage]
        return expected.training / expected.steps if expected.steps else 0.0

    def _real_to_expected(self) -> float:
        """Return the ratio of real and expected time of all steps so far; computed once between two steps."""
        if self._ratio is None:
            self._ratio = self._compute_ratio()
        return self._ratio

    def _compute_ratio(self) -> float:
        real = sum(observed.seconds for observed in self._observed.values())
        expected = sum(observed.steps * self._expected_step(stage) for stage, observed in self._observed.items())
        if not expected:
            return 1.0
        known = _PRIOR_SECONDS if self._measured else 0.0
        return (real + known) / (expected + known)

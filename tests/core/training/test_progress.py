"""The remaining time of simulated runs, whose clock is a number."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfkd.protocol.events import Progress
from nfkd.protocol.roles import Role
from nfkd.protocol.times import StageTime
from nfkd.training.countdown import Countdown
from nfkd.training.progress import RunProgress, Stage

ROLES: list[Role] = ["teacher", "student", "baseline"]
STEPS = 200


def expected(stage: Role, step: float, *, steps: int = STEPS, pool: float = 0.0, summary: float = 0.0) -> StageTime:
    return StageTime(stage=stage, steps=steps, step_seconds=step, pool=pool, summary=summary)


def times_of(*steps: float, summary: float = 0.0) -> dict[Role, StageTime]:
    return {role: expected(role, step, summary=summary) for role, step in zip(ROLES, steps, strict=True)}


@dataclass
class Simulation:
    """A run whose steps take given times; `seen` has the clock at each event."""

    real: dict[Role, StageTime]
    seeds: int = 1
    noise: float = 0.0
    stop_teacher_at: int = STEPS
    now: float = 0.0
    seen: list[tuple[float, Progress]] = field(default_factory=list[tuple[float, Progress]])
    took: dict[tuple[int, Role], float] = field(default_factory=dict[tuple[int, Role], float])

    def run(self, prior: dict[Role, StageTime], *, measured: bool) -> Simulation:
        stages: list[tuple[int, Stage]] = [
            (seed, role) for seed in range(self.seeds) for role in ROLES if role != "teacher" or seed == 0
        ]
        progress = RunProgress(
            "run",
            stages,
            {**prior},
            lambda event: self.seen.append((self.now, event)),
            measured=measured,
            clock=lambda: self.now,
        )
        for seed, role in stages:
            assert role != "search"
            began = self.now
            self._stage(progress, seed, role)
            self.took[seed, role] = self.now - began
        return self

    def _stage(self, progress: RunProgress, seed: int, role: Role) -> None:
        real, chance = self.real[role], random.Random(f"{seed} {role}")
        progress.begin(seed, role)
        for _ in range(10):
            self.now += real.pool / 10
            progress.wait()
        for step in range(1, 1 + (self.stop_teacher_at if role == "teacher" else real.steps)):
            self.now += real.step_seconds * (1 + self.noise * chance.uniform(-1, 1))
            progress.step(seed, role, step)
        progress.trained()
        self.now += real.summary
        progress.finish()

    @property
    def shown(self) -> list[tuple[float, float]]:
        """The clock and the published time, where it is known."""
        return [(now, event.seconds_left) for now, event in self.seen if not math.isnan(event.seconds_left)]


def steps_of(seconds: float) -> st.SearchStrategy[dict[Role, StageTime]]:
    """Return expected or real times of stages of different cost."""
    return st.fixed_dictionaries(
        {
            role: st.builds(
                expected,
                st.just(role),
                st.floats(0.1 * seconds, seconds),
                pool=st.floats(0, 100 * seconds) if role == "student" else st.just(0.0),
                summary=st.floats(0, 20 * seconds),
            )
            for role in ROLES
        }
    )


@settings(max_examples=60)
@given(
    real=steps_of(0.2),
    prior=steps_of(0.2),
    seeds=st.integers(1, 3),
    noise=st.floats(0, 0.9),
    stop=st.integers(1, STEPS),
    measured=st.booleans(),
)
def test_the_time_left_falls_steadily_and_ends_near_zero(
    real: dict[Role, StageTime], prior: dict[Role, StageTime], seeds: int, noise: float, stop: int, measured: bool
) -> None:
    run = Simulation(real, seeds, noise, stop).run(prior, measured=measured)
    for (before, earlier), (after, later) in pairwise(run.shown):
        assert later <= earlier * (1 + 0.02 * (after - before)) + 1e-9
    fractions = [event.fraction for _, event in run.seen]
    assert all(0 <= earlier <= later <= 1 for earlier, later in pairwise(fractions))
    assert fractions[-1] == 1.0
    assert run.seen[-1][1].seconds_left == 0.0
    if len(run.shown) > 1:
        before_last, shown = run.shown[-2]
        assert shown <= run.now - before_last + 3.0 + 0.05 * run.now


@settings(max_examples=40)
@given(real=steps_of(0.2), seeds=st.integers(1, 3), noise=st.floats(0, 0.5))
def test_the_time_left_is_right_where_the_expected_times_are(
    real: dict[Role, StageTime], seeds: int, noise: float
) -> None:
    run = Simulation(real, seeds, noise).run(real, measured=True)
    for now, shown in run.shown:
        assert shown == pytest.approx(run.now - now, rel=0.1, abs=1.5)


def test_the_time_left_becomes_right_where_only_the_ratios_of_times_are_known() -> None:
    real, prior = times_of(0.3, 0.1, 0.1), times_of(0.3 / 40, 0.1 / 40, 0.1 / 40)
    run = Simulation(real, seeds=3).run(prior, measured=False)
    assert math.isnan(run.seen[0][1].seconds_left)
    for now, shown in run.shown:
        assert shown == pytest.approx(run.now - now, rel=0.15, abs=1.5)


def test_shares_end_as_the_real_parts_of_the_time() -> None:
    run = Simulation(times_of(0.3, 0.1, 0.05, summary=2.0), seeds=2).run(times_of(0.1, 0.1, 0.1), measured=True)
    for _, event in run.seen:
        assert sum(share.share for share in event.shares) == pytest.approx(1.0)
    last = {(share.seed, share.stage): share.share for share in run.seen[-1][1].shares}
    assert last == pytest.approx({key: seconds / run.now for key, seconds in run.took.items()}, abs=1e-9)


def test_a_student_that_was_ended_early_makes_its_baseline_shorter() -> None:
    events: list[Progress] = []
    times: dict[Stage, StageTime] = {role: expected(role, 1.0) for role in ROLES}
    now = [0.0]
    progress = RunProgress(
        "run", [(1, role) for role in ROLES], times, events.append, measured=True, clock=lambda: now[0]
    )
    made: list[tuple[Role, int]] = [("teacher", STEPS), ("student", STEPS // 2)]
    for role, steps in made:
        progress.begin(1, role)
        for step in range(1, steps + 1):
            now[0] += 1.0
            progress.step(1, role, step)
        progress.trained()
        progress.finish()
    progress.begin(1, "baseline")
    shares = {share.stage: share.share for share in events[-1].shares}
    assert shares == pytest.approx({"teacher": 0.5, "student": 0.25, "baseline": 0.25}, abs=0.01)


def test_pauses_do_not_count() -> None:
    events: list[Progress] = []
    now, paused = [0.0], [0.0]
    times: dict[Stage, StageTime] = {"student": expected("student", 1.0, steps=100)}
    progress = RunProgress(
        "run",
        [(1, "student")],
        times,
        events.append,
        measured=True,
        paused_seconds=lambda: paused[0],
        clock=lambda: now[0],
    )
    progress.begin(1, "student")
    for step in range(1, 51):
        now[0] += 1.0
        progress.step(1, "student", step)
        if step == 25:
            now[0] += 1000.0
            paused[0] += 1000.0
    assert events[-1].seconds_left == pytest.approx(50, rel=0.05)
    assert events[-1].fraction == pytest.approx(0.5, rel=0.05)


def test_a_resumed_run_counts_what_was_done_before() -> None:
    events: list[Progress] = []
    times: dict[Stage, StageTime] = {role: expected(role, 1.0) for role in ROLES}
    stages: list[tuple[int, Stage]] = [(1, role) for role in ROLES]
    progress = RunProgress("run", stages, times, events.append, measured=True, clock=lambda: 0.0)
    progress.begin(1, "student", STEPS // 2)
    assert events[-1].fraction == pytest.approx(0.5)
    assert events[-1].seconds_left == pytest.approx(1.5 * STEPS)


def test_a_countdown_falls_with_the_clock() -> None:
    countdown = Countdown()
    shown = [countdown.update(now, (100 - now) * (1.05 if now % 2 else 0.95)) for now in range(100)]
    assert all(later < earlier for earlier, later in pairwise(shown))
    assert shown[50] == pytest.approx(50, abs=2.5)
    assert math.isnan(Countdown().update(0.0, math.nan))

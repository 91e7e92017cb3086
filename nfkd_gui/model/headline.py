"""What the header says about a run: its stage, the time left, its result, and how far each stage is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from nfkd.protocol.events import Progress, RunRow, Verdict
from nfkd.protocol.roles import Role, role_label, role_name
from nfkd.protocol.times import StageShare
from nfkd.protocol.view import RunView
from nfkd_gui.model.run_states import LIVE
from nfkd_gui.numbers import format_duration, format_percent

ENOUGH_SEEDS = 3
"""A verdict needs as many seeds."""
_SHORTEST = 0.1
"""Seconds; shorter stages would not be seen."""


@dataclass(frozen=True)
class Segment:
    """A stage of a seed.

    Attributes
    ----------
    role
        The flow that it trains.
    width
        Its share of the run's time; shares need not add up to 1.
    done
        The part of it that is done, 0 to 1.
    """

    role: Role
    width: float
    done: float


@dataclass(frozen=True)
class Headline:
    """A run in the header.

    Attributes
    ----------
    stage, left
        What the run does, and the time left or taken.
    chip, tone, help
        Its result, the tone of the chip, and the whole sentence for its tooltip.
    """

    stage: str = ""
    left: str = ""
    chip: str = ""
    tone: Literal["good", "warn", "error", "neutral"] = "neutral"
    help: str = ""


def headline_of(row: RunRow, view: RunView | None, progress: Progress | None, *, lost: str = "") -> Headline:
    """Return the headline of a run; `view` and `progress` are None where they are not known.

    `lost` says why nothing is heard of a run in training; empty while the engine is connected.
    """
    chip, tone, help_ = _result(row, view.verdict if view is not None else None)
    if row.state in LIVE:
        stage, left = _training(row, progress, lost=lost)
        return Headline(stage, left, chip, tone, help_)
    seconds = sum(summary.seconds for summary in view.summaries()) if view is not None else 0.0
    took = f"took {format_duration(seconds)}" if seconds else ""
    stopped = _stopped_early(view) if view is not None else ""
    state = row.state.capitalize()
    return Headline(f"{state} · {stopped}" if stopped else state, took, chip, tone, help_)


def _training(row: RunRow, progress: Progress | None, *, lost: str) -> tuple[str, str]:
    if lost:
        return lost, ""
    if row.state == "queued" or progress is None:
        return ("Queued", "") if row.state == "queued" else ("Starting …", "")
    stage = "Search for the weight decay" if progress.search else role_label(progress.stage)
    seed = f", seed {min(row.seeds_done + 1, row.seeds)} of {row.seeds}" if row.seeds > 1 else ""
    left = "paused" if row.state == "paused" else format_duration(progress.seconds_left)
    left = f"{left} left" if left and left != "paused" else left
    return f"{stage}{seed} · step {progress.step:,} of {progress.steps:,}", left


def _stopped_early(view: RunView) -> str:
    """Return which stage stopped early."""
    for summary in view.summaries():
        plan = view.plan(summary.seed, summary.stage)
        if summary.ended == "early" and plan is not None:
            return f"{role_name(summary.stage)} stopped early at {summary.steps:,} of {plan.steps:,}"
    return ""


def _result(row: RunRow, verdict: Verdict | None) -> tuple[str, Literal["good", "error", "neutral"], str]:
    if verdict is None or not verdict.seeds:
        if row.state in LIVE and row.student_test is not None and row.baseline_test is not None:
            ahead = "Ahead" if row.student_test < row.baseline_test else "Behind"
            return f"{ahead}, {max(row.seeds_done, 1)} of {row.seeds} seeds", "neutral", ""
        return "", "neutral", verdict.summary if verdict is not None else ""
    if len(verdict.seeds) < ENOUGH_SEEDS:
        closed = (
            f"closes {format_percent(verdict.gap_closed)}" if not math.isnan(verdict.gap_closed) else "no gap known"
        )
        return f"{closed} · {len(verdict.seeds)} of {ENOUGH_SEEDS} seeds", "neutral", verdict.summary
    match verdict.verdict:
        case "better":
            return "Student better", "good", verdict.summary
        case "worse":
            return "Student worse", "error", verdict.summary
        case _:
            return "Inconclusive", "neutral", verdict.summary


def segments_of(row: RunRow, view: RunView | None, progress: Progress | None) -> list[Segment]:
    """Return a segment for each stage of each seed; those of a run that has ended are as wide as they took time."""
    if view is not None and progress is not None and progress.shares:
        return [Segment(share.stage, share.share, _done(view, progress, share)) for share in progress.shares]
    ended = view.summaries() if view is not None and row.state not in LIVE else []
    if ended:
        return [Segment(summary.stage, max(summary.seconds, _SHORTEST), 1.0) for summary in ended]
    fraction = progress.fraction if progress is not None else row.progress
    return [Segment(progress.stage if progress is not None else "student", 1.0, fraction)]


def _done(view: RunView, progress: Progress, share: StageShare) -> float:
    now = progress.seed, progress.stage, progress.search
    if now == (share.seed, share.stage, share.search):
        return min(1.0, progress.step / max(progress.steps, 1))
    if share.search:
        return 1.0 if view.stages else 0.0
    stage = view.stages.get((share.seed, share.stage))
    return 1.0 if stage is not None and stage.summary is not None else 0.0

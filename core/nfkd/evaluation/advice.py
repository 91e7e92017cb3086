"""What to try next, from the figures of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nfkd.protocol.events import StageSummary

LARGE_GAP = 0.5
"""A baseline overfits if its train–test gap is larger than this share of its distance from the teacher."""
EARLY = 0.6
"""A baseline also overfits if its best weights are from before this share of its steps."""
LATE = 0.9
"""A student that was best after this share of its steps had not finished learning."""


def advice_of(summaries: Sequence[StageSummary], *, share: float, student_is_better: bool) -> str:
    """Return one sentence on what to try next; empty for a run without a baseline, or with figures that are not finite.

    New examples from the teacher help a student whose baseline overfits: it is far better on its training examples than
    on test data, or its best weights are from long before the end.

    Parameters
    ----------
    summaries
        Of the stages that have ended.
    share
        Part of the student's batches that are samples of the teacher.
    student_is_better
        Whether the student closes part of the gap to its teacher in likelihood.
    """
    stages = {
        stage: [found for found in summaries if found.stage == stage] for stage in ("teacher", "student", "baseline")
    }
    if not all(stages.values()) or not np.isfinite([found.test for found in summaries]).all():
        return ""
    teacher, baseline = (_mean([found.test for found in stages[stage]]) for stage in ("teacher", "baseline"))
    error = max(found.test_error for stage in ("teacher", "baseline") for found in stages[stage])
    distance = baseline - teacher
    if not distance > error:
        return (
            "The teacher is not clearly better than the baseline: train it longer, make it larger, or choose a smaller "
            "student."
        )
    gap = _mean([found.train_test_gap for found in stages["baseline"]])
    best = _best(stages["baseline"])
    size = f"{gap:.3g} {stages['baseline'][0].unit}".replace("-", "−")
    if not math.isfinite(gap):
        return ""
    if gap <= LARGE_GAP * distance and best >= EARLY:
        if share and student_is_better:
            return f"The train–test gap is small ({size}), yet the student gains: a longer budget might gain more."
        return (
            f"The baseline's train–test gap is small ({size}): new examples from the teacher will not help; a longer "
            "budget might."
        )
    early = f", best weights after {100 * best:.0f} % of its steps" if best < EARLY else ""
    rest = _next_step(stages["student"], share=share, student_is_better=student_is_better)
    return f"The baseline overfits (train–test gap {size}{early}){rest}."


def _next_step(students: Sequence[StageSummary], *, share: float, student_is_better: bool) -> str:
    """Return how the sentence ends for a baseline that overfits."""
    if not share:
        return ": new examples from the teacher (distillation.pool) will probably help"
    if not student_is_better:
        return ", but the teacher's samples did not help: a better teacher might"
    if _best(students) > LATE:
        return ", so the pool helps; the student was best at its end: a longer budget might gain more"
    return ", so the pool helps; a larger student might gain more"


def _best(summaries: Sequence[StageSummary]) -> float:
    """Return after which share of their steps flows had their best weights."""
    return _mean([found.best_step / found.steps for found in summaries if found.steps])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan

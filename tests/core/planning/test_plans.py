"""The plans of a run's stages."""

from __future__ import annotations

from pathlib import Path

import torch

import nfkd
from nfkd.data.loading import load_dataset
from nfkd.protocol import events
from nfkd.training.generators import Batches
from tests.core.tiny import moons


def steps_until_an_example_is_drawn_again(count: int, batch_size: int) -> int:
    batches, seen = Batches(count, batch_size, torch.Generator().manual_seed(0)), set[int]()
    for step in range(count + 1):
        drawn = set(batches.next().tolist())
        if seen & drawn:
            return step
        seen |= drawn
    raise AssertionError


def test_a_plan_says_how_long_an_epoch_is_and_lines_of_the_log_name_their_stage(tmp_path: Path) -> None:
    training = {"teacher_steps": 2, "student_steps": 2, "student_examples": 50, "batch_size": 30}
    config = moons(training=training)
    seen: list[events.RunEvent] = []
    nfkd.run(config, tmp_path / "run", on_event=seen.append)
    lines = [event for event in seen if isinstance(event, events.LogLine)]
    assert [(line.seed, line.stage) for line in lines if " ended at " in line.text] == [
        (1, "teacher"), (1, "student"), (1, "baseline")
    ]  # fmt: skip
    assert {(line.seed, line.stage) for line in (lines[0], lines[-1])} == {(0, "")}
    [started] = [event for event in seen if isinstance(event, events.SeedStarted)]
    counts = {"teacher": len(load_dataset(config.data).train), "student": 50, "baseline": 50}
    assert {plan.stage: plan.epoch for plan in started.stages} == {
        stage: steps_until_an_example_is_drawn_again(count, 30) for stage, count in counts.items()
    }

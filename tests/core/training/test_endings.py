"""Runs that fail, and stages that the user ends early."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import nfkd
from nfkd.protocol import events
from nfkd.runs.errors import RunError
from nfkd.runs.reader import open_run
from nfkd.training.api import prepare
from nfkd.training.control import Control
from nfkd.training.job import execute_run
from tests.core.tiny import digits, moons
from tests.core.training.runs import progress_at_every_step


def test_a_divergence_names_stage_step_and_layer_and_keeps_the_last_weights(tmp_path: Path) -> None:
    wild = {"learning_rate": 1.0, "gradient_clip": 0.0, "warmup_steps": 0, "schedule": "constant"}
    config = moons(training=wild | {"teacher_steps": 2000}, teacher={"steps": 12, "hidden": 64})
    seen: list[events.RunEvent] = []
    with pytest.raises(RunError, match=r"The teacher diverged at step \d+") as failed:
        nfkd.run(config, tmp_path / "run", on_event=seen.append)
    assert "step" in failed.value.cause or "gradient" in failed.value.cause
    assert isinstance(seen[-1], events.RunFailed)
    record = open_run(tmp_path / "run")
    assert record.row.state == "failed"
    assert record.error is not None
    values = [value for value in record.load_teacher().scaled.state_dict().values() if value.is_floating_point()]
    assert all(torch.isfinite(value).all() for value in values)


def test_a_data_file_that_disappears_during_the_run_is_named(tmp_path: Path) -> None:
    file = tmp_path / "images.h5"
    with h5py.File(file, "w") as content:
        content["images"] = np.random.default_rng(0).integers(0, 256, (100, 8, 8), np.uint8)

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.StageStarted):
            file.unlink()

    config = digits(data={"kind": "image_stack", "path": str(file)})
    with pytest.raises(RunError, match="The data can no longer be read") as failed:
        nfkd.run(config, tmp_path / "run", on_event=watch)
    assert str(file) in failed.value.cause
    assert "resume" in failed.value.action
    assert open_run(tmp_path / "run").row.state == "failed"


def test_baseline_and_ablation_make_as_many_steps_as_a_student_that_was_ended_early(tmp_path: Path) -> None:
    steps, control = {"teacher_steps": 2, "student_steps": 500, "ablations": True}, Control()
    config = moons(training=steps, distillation={"inherit": "blocks"})

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.Progress) and (event.stage, event.step) == ("student", 3):
            control.stop("stage")

    with progress_at_every_step():
        assert execute_run(prepare(config, tmp_path / "run"), config, watch, control) == "finished"
    record = open_run(tmp_path / "run")
    assert {summary.stage: summary.steps for summary in record.summary} == {
        "teacher": 2,
        "student": 3,
        "baseline": 3,
        "ablation": 3,
    }
    assert [summary.ended for summary in record.summary] == ["", "user", "", ""]
    lines = [line.text for line in record.snapshot().log]
    assert any(line.startswith("Seed 1: you ended the student at step 3 of 500; its best was step 3") for line in lines)
    assert "Seed 1: the baseline ended at step 3 of 500, the steps of its student." in lines


def test_a_teacher_that_stops_early_is_logged_with_the_reason(tmp_path: Path) -> None:
    wild = {"learning_rate": 0.5, "warmup_steps": 0, "schedule": "constant"}
    config = moons(
        training=wild | {"teacher_steps": 5000, "student_steps": 2, "early_stop": 2}, monitor={"evaluate_every": 2}
    )
    record = nfkd.run(config, tmp_path / "run")
    teacher, student, baseline = record.summary
    assert (teacher.ended, student.ended, baseline.ended) == ("early", "", "")
    assert teacher.steps == teacher.best_step + 4 < 5000  # two evaluations, each after two steps
    line = (
        f"Seed 1: the teacher stopped early at step {teacher.steps:,} of 5,000: no improvement in 2 evaluations; "
        f"its best was step {teacher.best_step:,}."
    )
    assert [entry.text for entry in record.snapshot().log if "stopped early" in entry.text] == [line]


def test_a_stage_that_makes_all_its_steps_has_no_line(tmp_path: Path) -> None:
    record = nfkd.run(moons(training={"teacher_steps": 4, "student_steps": 3}), tmp_path / "run")
    assert {summary.ended for summary in record.summary} == {""}
    assert not [entry.text for entry in record.snapshot().log if " of 4" in entry.text or " of 3" in entry.text]


def test_ending_a_stage_that_has_ended_does_not_end_the_next(tmp_path: Path) -> None:
    config, control = moons(training={"teacher_steps": 4, "student_steps": 3}), Control()

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.StageFinished) and event.stage == "teacher":
            control.stop("stage")

    assert execute_run(prepare(config, tmp_path / "run"), config, watch, control) == "finished"
    assert [summary.steps for summary in open_run(tmp_path / "run").summary] == [4, 3, 3]

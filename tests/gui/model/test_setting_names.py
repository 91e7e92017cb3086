"""Names and texts of settings, and the figures by which runs are compared."""

from __future__ import annotations

import math
from typing import Any

import pytest

from nfkd.config import ExperimentConfig
from nfkd_gui.model.compare_figures import MEASURES, figure_of, known_figures
from nfkd_gui.model.run_columns import describe_column
from nfkd_gui.model.run_groups import has_same_settings, make_group
from nfkd_gui.model.setting_names import differing_settings, find_differing, format_setting, setting_title
from nfkd_gui.model.slices import run_steps
from tests.gui.scripted_engine import row_of


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("student.hidden", "Hidden channels"),
        ("teacher.hidden", "Teacher: Hidden channels"),
        ("distillation.lkd.weight", "LKD"),
        ("distillation.lkd.schedule", "LKD: Schedule"),
        ("training.learning_rate", "Learning rate"),
        ("student.kind", "Flow"),
        ("no.such.setting", "no.such.setting"),
    ],
)
def test_settings_are_named_as_in_the_form(path: str, title: str) -> None:
    assert setting_title(path) == title


def test_every_number_of_a_preset_has_a_title() -> None:
    def paths(table: Any, before: str = "") -> list[str]:
        if not isinstance(table, dict):
            return [before]
        return [path for key, value in table.items() for path in paths(value, f"{before}.{key}" if before else key)]

    for path in paths(ExperimentConfig.load("digits").model_dump(mode="json")):
        assert setting_title(path) != path or "." not in path, path


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "on"), (64.0, "64"), (1000.0, "1,000"), (0.05, "0.05"), ("norm_corrected", "norm corrected"),
     (-2.0, "−2")],
)  # fmt: skip
def test_values_are_written_for_reading(value: Any, text: str) -> None:
    assert format_setting(value) == text


def test_only_settings_of_students_that_differ_count() -> None:
    first = {
        "student.hidden": 32.0,
        "student.steps": 2.0,
        "data.kind": "digits",
        "seeds.first": 1.0,
        "verdict": "better",
    }
    second = first | {"student.hidden": 64.0, "data.kind": "mnist", "seeds.first": 4.0, "distillation.pool.share": 0.5}
    assert differing_settings([first, second]) == ["student.hidden", "distillation.pool.share"]
    assert run_steps(find_differing([first, second], {"student.hidden", "student.steps"})) == ["student.hidden"]
    assert differing_settings([]) == []


def test_a_figure_of_one_layer_is_no_setting() -> None:
    first = {"student.steps": 2.0, "student_layer_mse.step2": 0.25, "assistant_1_layer_cosine.step1": 0.5}
    second = first | {"student_layer_mse.step2": 0.5, "assistant_1_layer_cosine.step1": 0.75}
    assert differing_settings([first, second]) == []
    row = row_of("/runs/a", "finished", seeds=1)
    old, new = (make_group([row], values, {}) for values in (first, second))
    assert has_same_settings(old, new)
    assert not has_same_settings(old, make_group([row], first | {"student.steps": 3.0}, {}))
    assert describe_column("student_layer_mse.step2").kind == "measure"


def test_the_gap_closed_is_nought_for_the_baseline_and_one_for_the_teacher() -> None:
    gap = next(figure for figure in MEASURES if figure.key() == "gap_closed")
    values = {"gap_closed": 0.7}
    flows = ("student", "baseline", "teacher")
    assert [gap.of(values, flow) for flow in flows] == [0.7, 0.0, 1.0]  # type: ignore[arg-type]
    assert math.isnan(gap.of({}, "teacher"))


def test_figures_that_no_run_has_are_not_offered() -> None:
    runs = [{"student_parameters": 12_000.0}, {"student_samples_per_second": "unknown", "student_seconds": None}]
    assert [figure.name for figure in known_figures(runs)] == ["parameters"]


def test_fid_is_a_figure_for_each_network() -> None:
    runs = [{"student_fid_0123456789ab": 20.0, "teacher_fid_0123456789ab": 10.0}, {"student_fid_ba9876543210": 30.0}]
    first, second = known_figures(runs)
    assert [first.title, second.title] == ["FID 0123456789ab", "FID ba9876543210"]
    assert [first.of(runs[0], "student"), first.of(runs[0], "teacher")] == [20.0, 10.0]
    assert math.isnan(first.of(runs[1]))
    assert figure_of(first.key()) == first
    assert not first.larger

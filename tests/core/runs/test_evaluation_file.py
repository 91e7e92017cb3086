"""The file of evaluated metrics: what is replaced, what stays, and damaged files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import astuple

from nfkd.runs.errors import RunError
from nfkd.runs.evaluation_file import (
    EVALUATION,
    EvaluatedMetric,
    Evaluation,
    add_evaluation,
    evaluation_columns,
    own_test_values,
    read_evaluations,
)


def value(metric: str, number: float, **changes: Any) -> EvaluatedMetric:
    fields: dict[str, Any] = {"stage": "student", "seed": 1, "low": 0.0, "high": 9.0, "count": 5, "reference": 1.5}
    return EvaluatedMetric(metric=metric, value=number, **fields | changes)


def test_a_run_without_the_file_has_no_evaluations(tmp_path: Path) -> None:
    assert read_evaluations(tmp_path) == []


def test_what_is_not_a_number_is_null_in_the_file(tmp_path: Path) -> None:
    add_evaluation(tmp_path, Evaluation(data="test", values=[value("sw", math.nan, high=math.inf, unit="x")]))
    stored = json.loads((tmp_path / EVALUATION).read_text())["evaluations"][0]
    assert stored["values"][0] == {
        "metric": "sw", "stage": "student", "seed": 1, "value": None, "low": 0.0, "high": None, "count": 5,
        "reference": 1.5, "unit": "x",
    }  # fmt: skip
    read = read_evaluations(tmp_path)[0].values[0]
    assert math.isnan(read.value)
    assert math.isnan(read.high)


def test_the_same_metric_flow_seed_and_data_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    first = [value("sw", 1), value("sw", 2, seed=2), value("mmd", 3), value("sw", 4, stage="baseline")]
    add_evaluation(tmp_path, Evaluation(data="test", values=first, features="ab"))
    add_evaluation(tmp_path, Evaluation(data="other", values=[value("sw", 5)]))
    add_evaluation(tmp_path, Evaluation(data="test", values=[value("sw", 6), value("fd", 7)]))
    test, other = read_evaluations(tmp_path)
    assert [each.value for each in test.values] == [6, 2, 3, 4, 7]
    assert (test.data, test.features) == ("test", "ab")
    assert astuple(other.values[0]) == astuple(value("sw", 5))


def test_columns_are_those_of_each_seed_on_the_runs_own_test_data(tmp_path: Path) -> None:
    values = [
        value("sw", 1),
        value("sw", 4, seed=2),
        value("mmd", math.nan, seed=2),
        value("sw", 9, stage="assistant-1"),
        value("fidelity_per_second", 100),
        value("fidelity_per_second", 30, stage="baseline"),
    ]
    evaluations = [Evaluation(data="pinwheel", values=[value("mmd", 3)]), Evaluation(data="test", values=values)]
    assert evaluation_columns(evaluations) == {
        1: {
            "student_sw": 1,
            "assistant_1_sw": 9,
            "student_fidelity_per_second": 100,
            "fidelity_per_second": 100,
            "baseline_fidelity_per_second": 30,
        },
        2: {"student_sw": 4},
    }
    assert len(own_test_values(evaluations)) == 6
    assert evaluation_columns(read_evaluations(tmp_path)) == {}


METRIC = '{"metric": "sw", "stage": "%s", "seed": %s, "value": 1, "low": 0, "high": 1, "count": 1, "reference": 0}'


def wrapped(metric: str) -> bytes:
    return b'{"evaluations": [{"data": "test", "values": [' + metric.encode() + b"]}]}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"evaluations": 3}',
        b'{"evaluations": [{"data": 5, "values": []}]}',
        b"[" * 100_000,
        wrapped("{}"),
        wrapped(METRIC % ("nobody", 1)),
        wrapped(METRIC % ("student", "1" + "0" * 400)),
    ],
)
def test_a_damaged_file_is_refused_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / EVALUATION).write_bytes(content)
    with pytest.raises(RunError, match=r"evaluation\.json.*Delete it"):
        read_evaluations(tmp_path)
    with pytest.raises(RunError):
        add_evaluation(tmp_path, Evaluation(data="test", values=[value("sw", 1)]))
    assert (tmp_path / EVALUATION).read_bytes() == content


def test_a_huge_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with (tmp_path / EVALUATION).open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(RunError, match="larger than"):
        read_evaluations(tmp_path)
    (tmp_path / EVALUATION).unlink()
    (tmp_path / EVALUATION).mkdir()
    with pytest.raises(RunError, match="is a directory"):
        read_evaluations(tmp_path)

"""Students and baselines that see only some of the training examples, and teachers that see all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nfkd
from nfkd.config import ConfigError, ExperimentConfig
from nfkd.data import Batch, DataError, Dataset, DataSplit, load_dataset
from nfkd.planning.describe import describe
from nfkd.planning.plans import stage_costs
from nfkd.protocol import events
from nfkd.protocol.records import SYSTEM
from nfkd.protocol.roles import Role
from nfkd.runs.log import read_log
from tests.core.tiny import digits, moons
from tests.core.training.runs import TrainedRun, assert_same, stop_run, with_assistants

Trained = Callable[[ExperimentConfig], TrainedRun]
AVAILABLE = 280  # training examples of the tiny moons
SHORT: dict[str, Any] = {"teacher_steps": 6, "student_steps": 9}


def chosen_rows(dataset: Dataset, count: int) -> np.ndarray:
    """Compute the indices of the chosen examples: the first of one fixed order."""
    return np.random.default_rng(0).permutation(len(dataset.train))[:count]


class RecordingDataset(Dataset):
    """A data set that remembers the rows of every training batch, and the size of each, by stage."""

    stage: ClassVar[Role] = "teacher"
    seen: ClassVar[defaultdict[Role, set[bytes]]] = defaultdict(set)
    sizes: ClassVar[defaultdict[Role, set[int]]] = defaultdict(set)

    def training_batch(
        self, index: np.ndarray, dequantization: torch.Generator, augmentation: torch.Generator
    ) -> Batch:
        batch = super().training_batch(index, dequantization, augmentation)
        self.seen[RecordingDataset.stage] |= {row.numpy().tobytes() for row in batch.x}
        self.sizes[RecordingDataset.stage].add(len(batch))
        return batch


def test_all_flows_but_the_teacher_see_the_same_few_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {"teacher_steps": 50, "assistant_steps": 3, "student_steps": 3}
    config = with_assistants(seeds={"count": 2}, training=steps | {"student_examples": 20})
    dataset = load_dataset(config.data)
    values = {field.name: getattr(dataset, field.name) for field in fields(dataset)}
    monkeypatch.setattr("nfkd.training.experiment.load_dataset", lambda _: RecordingDataset(**values))

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.StageStarted):
            RecordingDataset.stage = event.stage

    nfkd.run(config, tmp_path / "run", on_event=watch)
    rows = np.asarray(dataset.train.values[:])
    few = {rows[index].tobytes() for index in chosen_rows(dataset, 20)}
    assert RecordingDataset.seen == {
        "teacher": {row.tobytes() for row in rows},
        "assistant-1": few,
        "assistant-2": few,
        "student": few,
        "baseline": few,
    }
    assert RecordingDataset.sizes == {role: {32 if role == "teacher" else 20} for role in RecordingDataset.seen}


@pytest.mark.parametrize("inherit", ["none", "blocks"])
def test_nothing_but_the_chosen_rows_changes_a_student(
    inherit: str, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With NaN in every other row, initialisation, student and baseline are the same bit for bit."""
    teacher = trained(moons()).record
    given = {"teacher_weights": str(teacher.path / "teacher.safetensors"), "student_examples": 40}
    config = moons(training=SHORT | given, distillation={"inherit": inherit})
    plain = nfkd.run(config, tmp_path / "plain")
    dataset = load_dataset(config.data)
    values = np.full_like(dataset.train.values[:], np.nan)
    chosen = chosen_rows(dataset, 40)
    values[chosen] = dataset.train.values[:][chosen]
    damaged = replace(dataset, train=DataSplit(values))
    monkeypatch.setattr("nfkd.training.experiment.load_dataset", lambda _: damaged)
    other = nfkd.run(config, tmp_path / "damaged")
    for name in ("student.safetensors", "baseline.safetensors"):
        expected, found = load_file(plain.path / name), load_file(other.path / name)
        assert all(torch.equal(found[key], value) for key, value in expected.items())
    masked = [curves["masked"].values for stage, curves in other.curves.items() if stage != "teacher"]
    assert len(masked) == 2
    assert not np.any(masked)


def test_the_teacher_does_not_change(trained: Trained, tmp_path: Path) -> None:
    few, plain = nfkd.run(moons(training={"student_examples": 20}), tmp_path / "few"), trained(moons()).record
    same = {}
    for name in ("teacher", "student", "baseline"):
        found, expected = (load_file(record.path / f"{name}.safetensors") for record in (few, plain))
        same[name] = all(torch.equal(found[key], value) for key, value in expected.items())
    assert same == {"teacher": True, "student": False, "baseline": False}
    for name, curve in plain.curves["teacher"].items():
        if name.startswith(SYSTEM):
            continue  # depends on the wall time
        np.testing.assert_array_equal(few.curves["teacher"][name].values, curve.values)


def test_a_stopped_run_is_resumed_exactly(tmp_path: Path) -> None:
    config = digits(training=SHORT | {"student_examples": 100}, seeds={"count": 2})
    stop_run(tmp_path / "stopped", config, "student", 5)
    nfkd.run(config, tmp_path / "stopped", resume=True)
    nfkd.run(config, tmp_path / "whole")
    assert_same(tmp_path / "stopped", tmp_path / "whole", config)
    log = "\n".join(line.text for line in read_log(tmp_path / "whole"))
    assert "the student sees 100 of the training examples" in log


def test_the_choice_keeps_rows_contexts_and_weights_together() -> None:
    values = np.arange(60, dtype=np.float32).reshape(30, 2)
    train = DataSplit(values, values[:, :1] * 3, np.linspace(0.5, 1.5, 30, dtype=np.float32))
    whole = Dataset("numbers", train, DataSplit(values), DataSplit(values))
    few = whole.with_training_examples(8)
    index = sorted(chosen_rows(whole, 8))
    np.testing.assert_array_equal(few.train.values[:], values[index])
    np.testing.assert_array_equal(few.train.context, 3 * values[index, :1])
    assert train.weights is not None
    assert few.train.weights is not None
    weights = train.weights[index]
    np.testing.assert_allclose(few.train.weights, weights / weights.mean(), rtol=1e-6)
    assert few.validation is whole.validation
    assert few.test is whole.test
    more = whole.with_training_examples(20).train.values[:]
    assert {row.tobytes() for row in values[index]} <= {row.tobytes() for row in more}
    assert whole.with_training_examples(0) is whole.with_training_examples(30) is whole


def test_examples_without_any_weight_are_refused() -> None:
    values, weights = np.zeros((30, 2), np.float32), np.zeros(30, np.float32)
    split = DataSplit(values, None, weights)
    weights[np.random.default_rng(0).permutation(30)[-1]] = 30.0
    with pytest.raises(DataError, match=r"training\.student_examples: the weights of the chosen examples are all zero"):
        Dataset("numbers", split, split, split).with_training_examples(29)


# --- describe ---------------------------------------------------------------------------------------------------------


def messages(**training: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Return the problems and the warnings of the training section."""
    described = describe(moons(training=training))
    problems, warnings = (
        {found.path: found.message for found in each if found.path.startswith("training.")}
        for each in (described.problems, described.warnings)
    )
    return problems, warnings


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"training\.student_examples: must be at least 0 \(given: -1\)"):
        moons(training={"student_examples": -1})


def test_more_examples_than_there_are_are_refused() -> None:
    assert messages(student_examples=AVAILABLE) == ({}, {})
    problems, _ = messages(student_examples=AVAILABLE + 1)
    message = "the data has 280 training examples: give at most so many, or 0 for all"
    assert problems == {"training.student_examples": message}


def test_a_larger_batch_is_reduced_and_the_data_line_says_so() -> None:
    for count, batches in {32: "", 31: ", in batches of 31"}.items():
        described = describe(moons(training={"student_examples": count}))
        assert described.data.endswith(f"; the student sees {count} of the training examples{batches}")
        assert not described.problems
    problems, _ = messages(student_examples=3, accumulate=4)
    assert problems == {"training.accumulate": "a batch of 3 examples cannot make 4 micro-batches"}


def test_estimates_are_those_of_the_smaller_batch() -> None:
    few, half, plain = (  # without the teacher's known passes: their memory grows with the number of examples
        describe(moons(training=changes, distillation={"cache": 0}))
        for changes in ({"student_examples": 16}, {"batch_size": 16}, {})
    )
    memory = [
        (flows.teacher.memory, flows.student.memory)
        for flows in (few, half, plain)
        if flows.teacher is not None and flows.student is not None
    ]
    assert memory == [(memory[2][0], memory[1][1]), *memory[1:]]
    assert memory[1][1] < memory[2][1]
    assert few.data == plain.data + "; the student sees 16 of the training examples, in batches of 16"
    smaller, whole = (
        stage_costs(moons(training=changes, distillation={"skd": {"weight": 0.0}, "cache": 0}), plain)
        for changes in ({"student_examples": 16}, {})
    )
    assert smaller == {role: cost * (1.0 if role == "teacher" else 0.5) for role, cost in whole.items()}
